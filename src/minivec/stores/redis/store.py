"""Redis with RediSearch: ``redis://HOST:PORT/INDEX?column=...``, or ``rediss://`` with TLS."""

import json
import re
from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np

from minivec.stores.address import Address
from minivec.stores.base import MIGRATIONS, Block, Schema
from minivec.stores.checkpoint import Checkpoint
from minivec.stores.errors import Refused
from minivec.stores.keyed import Keyed
from minivec.stores.packing import size, unpack
from minivec.stores.redis import index
from minivec.stores.redis.rows import COLUMNS, document, table
from minivec.stores.redis.writing import KEYS, RedisWriting
from minivec.stores.trees import dumped, taken_out, vectors_of

TIMEOUT = 60  # seconds that a request may take


class RedisStore(RedisWriting, Keyed):
    """An index on hashes or on JSON documents. ``column`` names the attribute of vectors where there are several.

    ``USER:PASSWORD@`` or ``:PASSWORD@`` is sent as the credentials. The keys are those of Redis, without the index's
    prefix if it has but one. A destination is a new index with a prefix of its own, or a new attribute of the
    source's own rows. The checkpoint is a key of its own, written behind the rows. The vectors may be FLOAT32,
    FLOAT64, FLOAT16 or BFLOAT16. It takes Redis 7 and RediSearch 2.8.
    """

    extra = "redis"
    keeps_nulls = True

    def __init__(self, address: Address):
        super().__init__(address)
        address.refuse_filter("all keys under the index's prefixes are read, without a look at the index")
        (self.column,) = address.take("column")
        self._asked = self.column
        self._numbers = False  # whether the keys are whole numbers, as a destination of another kind of store
        self._known: dict[str, dict[str, Any]] = {}
        if not address.host or not address.path:
            raise Refused(f"{self}: expected redis://HOST:PORT/INDEX")
        self.name = address.path

    def place(self) -> str:
        """The host and port, and the index."""
        return f"redis://{self.address.host}:{self.address.port or 6379}/{self.name}"

    @cached_property
    def _client(self) -> Any:
        redis = self.client("redis")
        given = {"username": self.address.user, "password": self.address.password}
        with self.guard():
            return redis.Redis(
                self.address.host,
                self.address.port or 6379,
                protocol=3,
                ssl=self.address.scheme == "rediss",
                socket_timeout=TIMEOUT,
                socket_connect_timeout=TIMEOUT / 6,
                **{name: value for name, value in given.items() if value is not None},
            )

    def _ask(self, *words: Any) -> Any:
        """What the server answers to a command."""
        client = self._client
        with self.guard():
            return client.execute_command(*words)

    def _ask_all(self, commands: list[tuple[Any, ...]]) -> list[Any]:
        """What the server answers to these commands, which are sent together."""
        client = self._client
        with self.guard():
            pipeline = client.pipeline(transaction=False)
            for words in commands:
                pipeline.execute_command(*words)
            return list(pipeline.execute())

    def _exists(self, name: str) -> bool:
        return self._told(name) is not None

    def _told(self, name: str) -> dict[str, Any] | None:
        """What the server tells of an index, or None where there is none."""
        client, unknown = self._client, self.client("redis.exceptions").ResponseError
        with self.guard():
            try:
                return index.plain(client.execute_command("FT.INFO", name))
            except unknown as error:
                if re.search("unknown index|no such index", str(error), re.IGNORECASE):
                    return None
                raise

    def _info(self) -> dict[str, Any]:
        """The settings of the index; Refused where there is no such index."""
        if self.name not in self._known:
            told = self._told(self.name)
            if told is None:
                raise Refused(f"{self}: no index {self.name!r}")
            self._known[self.name] = told
        return self._known[self.name]

    def _has(self, column: str) -> bool:
        return any(item["attribute"] == column for item in self._info()["attributes"])

    def _vector(self, column: str | None) -> dict[str, Any]:
        """The attribute of vectors of this name, or the only one."""
        found = index.vectors(self._info())
        column = column or (next(iter(found)) if len(found) == 1 else None)
        if column is None or column not in found:
            wanted = f"no vectors of floats named {column!r}" if column else "name one attribute of vectors (column=)"
            raise Refused(f"{self}: {wanted}; there is {', '.join(found) or 'none'}")
        return found[column]

    @cached_property
    def _described(self) -> dict[str, Any]:  # an attribute that is added later does not make it ambiguous
        return self._vector(self.column)

    def schema(self) -> Schema:
        """The only attribute of vectors of floats, where none is named."""
        vector = self._described
        own = COLUMNS if self._old_column is None else ()  # the rows are the source's
        return Schema(vector["attribute"], "key", int(vector["dim"]), own)

    def arrow_schema(self) -> Any:
        """The key, the rest of the row as JSON, the time when it expires, and the vectors."""
        pa, schema = self.client("pyarrow"), self.schema()
        vector = (str(schema.column), pa.list_(pa.float32(), schema.width))
        return pa.schema([*table([], [], []).schema, vector])

    def _prefix(self) -> str:
        """What stands before each key of a row."""
        prefixes = index.prefixes(self._info())
        return prefixes[0] if len(prefixes) == 1 else ""

    def count(self) -> int:
        """The rows under the index's prefixes, whether the index could take them or not."""
        return len(self._found())

    def _found(self) -> set[Any]:
        """All keys under the prefixes."""
        client, start = self._client, len(self._prefix())
        kind = "ReJSON-RL" if index.is_json(self._info()) else "hash"
        found: set[Any] = set()
        with self.guard():
            for prefix in index.prefixes(self._info()):
                pattern = re.sub(r"([\[\]*?\\^])", r"\\\1", prefix) + "*"
                for key in client.scan_iter(match=pattern, count=KEYS, _type=kind):
                    try:
                        text = key.decode()[start:]
                    except UnicodeDecodeError:
                        raise Refused(f"{self}: key {key!r} is no text") from None
                    found.add(int(text) if self._numbers else text)
        return found

    def keys(self) -> Sequence[Any]:
        """All keys under the prefixes, sorted."""
        return sorted(self._found())

    def check(self) -> None:
        """Every row has the vector, unless they may be missing."""
        if self.skip_nulls:
            return
        keys, place = self.keys(), self._described["identifier"]
        ask = "JSON.ARRLEN" if index.is_json(self._info()) else "HSTRLEN"
        for start in range(0, len(keys), KEYS):
            some = keys[start : start + KEYS]
            told = self._ask_all([(ask, self._full(key), place) for key in some])
            self.refuse("no vector", [i for i, length in enumerate(told) if length in (None, 0, [])], some)

    def _full(self, key: Any) -> str:
        return f"{self._prefix()}{key}"

    def fetch(self, keys: Sequence[Any], payload: bool = True) -> Block:
        """The rows with these keys."""
        json_rows, there, rows, times = index.is_json(self._info()), list[Any](), list[Any](), list[int | None]()
        page = self._page(KEYS)
        for start in range(0, len(keys), page):
            some = keys[start : start + page]
            read = ("JSON.GET", "$") if json_rows else ("HGETALL",)
            asked = [(read[0], self._full(key), *read[1:]) for key in some]
            asked += [("PEXPIRETIME", self._full(key)) for key in some]
            told = self._ask_all(asked)
            for key, row, until in zip(some, told[: len(some)], told[len(some) :], strict=True):
                if row:
                    there.append(key)
                    rows.append(row)
                    times.append(until if until >= 0 else None)
        block = self._json_block(there, rows, times) if json_rows else self._hash_block(there, rows, times)
        return block if payload else block._replace(payload=None)

    def _hash_block(self, keys: list[Any], rows: list[dict[bytes, bytes]], times: list[int | None]) -> Block:
        vector, width = self._described, self.schema().width
        name, kind = vector["identifier"].encode(), vector["data_type"]
        blobs = [row.pop(name, None) for row in rows]
        bad = [i for i, blob in enumerate(blobs) if blob is not None and len(blob) != width * size(kind)]
        self.refuse(f"other than {width} numbers of {kind}", bad, keys)
        zero = bytes(width * size(kind))
        X = unpack([zero if blob is None else blob for blob in blobs], kind, width)
        return self._block(keys, X, blobs, table([str(key) for key in keys], list(map(document, rows)), times))

    def _json_block(self, keys: list[Any], rows: list[Any], times: list[int | None]) -> Block:
        path = index.path_of(self._described["identifier"], self)
        trees = [(json.loads(row) if isinstance(row, (str, bytes)) else row)[0] for row in rows]
        values, width = [taken_out(tree, path) for tree in trees], self.schema().width
        self.refuse(f"other than {width} numbers", [i for i, v in enumerate(values) if v and len(v) != width], keys)
        rest = table([str(key) for key in keys], list(map(dumped, trees)), times)
        return self._block(keys, vectors_of(values, width), values, rest)

    def _block(self, keys: list[Any], X: np.ndarray, given: list[Any], payload: Any) -> Block:
        missing = [i for i, value in enumerate(given) if value is None]
        if not self.skip_nulls:
            self.refuse("no vector", missing, keys)
        return Block(keys, X, payload, keys[-1] if keys else None, missing)

    def resume(self, checkpoint: Checkpoint) -> None:
        """Take over its attribute."""
        super().resume(checkpoint)
        vars(self).pop("_described", None)
        self._numbers = checkpoint.own.get("numbers", False)

    def _read_note(self, name: str) -> str | None:
        text = self._ask("GET", f"{MIGRATIONS}:{name}")
        return None if text is None else text.decode()

    def _write_note(self, name: str, text: str | None) -> None:
        place = f"{MIGRATIONS}:{name}"
        self._ask("DEL", place) if text is None else self._ask("SET", place, text)

    def _note_names(self) -> list[str]:
        client, start = self._client, len(MIGRATIONS) + 1
        with self.guard():
            return sorted(key.decode()[start:] for key in client.scan_iter(match=f"{MIGRATIONS}:*", _type="string"))
