"""How an index of Redis is made, its rows are written, and it is found by an alias."""

import json
import time
from collections.abc import Sequence
from typing import Any

from minivec.stores.base import Block
from minivec.stores.blocks import first_key
from minivec.stores.checkpoint import Checkpoint
from minivec.stores.errors import Refused
from minivec.stores.packing import pack
from minivec.stores.redis import index
from minivec.stores.redis.rows import documents_of, fields
from minivec.stores.trees import dumped, put_in

KEYS = 10_000  # keys that are asked for together
IF_THERE = {  # a row that has gone meanwhile must not come back as a vector alone
    "HSET": "if redis.call('EXISTS', KEYS[1]) == 1 then redis.call('HSET', KEYS[1], ARGV[1], ARGV[2]) end",
    "JSON.SET": "if redis.call('EXISTS', KEYS[1]) == 1 then redis.call('JSON.SET', KEYS[1], ARGV[1], ARGV[2]) end",
}
PLAIN = {  # the vectors of an index for another kind of store
    "identifier": "v", "attribute": "v", "type": "VECTOR", "algorithm": "HNSW", "data_type": "FLOAT32", "dim": 0,
    "distance_metric": "COSINE",
}  # fmt: skip


class RedisWriting:
    """The part of the store that is a destination."""

    def _target(self: Any) -> str | None:
        name = self._info()["index_name"]
        return None if name == self.name else name

    def _how(self: Any) -> str:
        return f"FT.ALIASADD ALIAS {self.name}"

    def _point(self: Any, alias: str, collection: str) -> None:
        self._ask("FT.ALIASUPDATE", alias, collection)
        self._known.clear()

    def _in_place(self: Any, source: Any) -> bool:
        return self._exists(self.name) and self.place() == source.place()

    def _plan(self: Any, source: Any, checkpoint: Checkpoint) -> Checkpoint:
        in_place, name = self._in_place(source), self._new_column(source)
        if not in_place:
            self._new_prefix(source)
        return checkpoint.but(new_column=name, in_place=in_place)

    def _new_prefix(self: Any, source: Any) -> str:
        """What the new keys begin with; no prefix of the source may be the beginning of it."""
        old = [] if (own := _of_redis(source)) is None else index.prefixes(own._info())
        for prefix in (f"{self.name}:", f"new:{self.name}:"):
            if not any(prefix.startswith(other) or other.startswith(prefix) for other in old):
                return prefix
        raise Refused(
            f"{self}: {source} takes all keys that begin with {old[0]!r}; name a new attribute of it (column=)"
        )

    def _make(self: Any, source: Any, width: int, state: Checkpoint) -> Checkpoint:
        name, own = str(state.new_column), _of_redis(source)
        like = PLAIN if own is None else own._described
        if state.in_place:
            place = f"$.{name}" if index.is_json(self._info()) else name
            if not self._has(name):
                added = index.attribute(like, attribute=name, identifier=place, dim=width)
                self._ask("FT.ALTER", self.name, "SCHEMA", "ADD", *added)
            self._known.clear()
            return state
        if self._exists(self.name):  # left empty by a run that was killed while it made it
            self._ask("FT.DROPINDEX", self.name)
        if own is not None:
            info, column = own._info(), own.schema().column
            place = f"$.{name}" if index.is_json(info) else name
            place = str(like["identifier"]) if name == column else place
            made = [index.attribute(item) for item in info["attributes"] if item["attribute"] != column]
        else:
            arrow, old, place = getattr(source, "arrow_schema", lambda: ())(), source.schema(), name
            info, made = index.plain_index(arrow, old.key, old.column)
            state = state.keep(numbers=not isinstance(first_key(source), str))
        made.append(index.attribute(like, attribute=name, identifier=place, dim=width))
        self._ask(*index.create(info, self.name, self._new_prefix(source), made))
        self._known.clear()
        return state

    def losses(self: Any, source: Any) -> list[str]:
        """Which rows expire."""
        if (own := _of_redis(source)) is None:
            return []
        with self.guard():
            expires = own._client.info("keyspace").get("db0", {}).get("expires", 0)
        told = f"{expires:,} keys of the database expire: rows do at the same times, and may go meanwhile"
        return [told] if expires else []

    def swap_steps(self: Any, source: Any) -> list[str]:
        """And the prefix of the keys that the application must write from then on."""
        steps: list[str] = super().swap_steps(source)  # type: ignore[misc]
        return [*steps, f"keys that the application writes must then begin with {self._prefix()!r}"]

    def _send(self: Any, block: Block, state: Checkpoint) -> None:
        vector, missing = self._vector(state.new_column), set(block.missing)
        write = self._set_vectors if state.in_place else self._set_rows
        if index.is_json(self._info()):
            values: list[Any] = block.vectors.tolist()
        else:
            values = list(pack(block.vectors, vector["data_type"]))
        commands, sizes = write(block, [None if i in missing else v for i, v in enumerate(values)], vector, state)

        def post(part: slice) -> None:
            self._ask_all([words for row in commands[part] for words in row])

        self._requests.send(sizes, post)

    def _set_vectors(self: Any, block: Block, values: list[Any], vector: dict[str, Any], state: Checkpoint) -> Any:
        """For each row the commands that set its vector alone, and their bytes."""
        place, json_rows = vector["identifier"], index.is_json(self._info())
        write, remove = ("JSON.SET", "JSON.DEL") if json_rows else ("HSET", "HDEL")
        commands: list[list[tuple[Any, ...]]] = []
        for key, value in zip(map(self._full, block.keys), values, strict=True):
            if value is None:
                commands.append([(remove, key, place)])
            else:
                commands.append([("EVAL", IF_THERE[write], 1, key, place, dumped(value) if json_rows else value)])
        return commands, [len(words[0][-1]) + 200 for words in commands]

    def _set_rows(self: Any, block: Block, values: list[Any], vector: dict[str, Any], state: Checkpoint) -> Any:
        """For each row the commands that write it anew, and their bytes."""
        documents, times = documents_of(block, (state.column, state.new_column))
        path = index.path_of(vector["identifier"], self) if index.is_json(self._info()) else None
        commands, sizes = [], []
        for key, value, text, until in zip(map(self._full, block.keys), values, documents, times, strict=True):
            words: list[tuple[Any, ...]] = [("DEL", key)]
            if path is not None:
                tree = json.loads(text)
                if value is not None:
                    put_in(tree, path, value)
                words.append(("JSON.SET", key, "$", dumped(tree)))
            else:
                row = fields(text) | ({} if value is None else {vector["identifier"].encode(): value})
                words.append(("HSET", key, *(part for pair in row.items() for part in pair)))
            if until is not None:
                words.append(("PEXPIREAT", key, until))
            commands.append(words)
            sizes.append(len(text) + 200 + (len(words[1][-1]) if path is not None else len(value or b"")))
        return commands, sizes

    def _delete(self: Any, keys: Sequence[Any]) -> None:
        for start in range(0, len(keys), KEYS):
            self._ask("UNLINK", *map(self._full, keys[start : start + KEYS]))

    def swap_prepare(self: Any, source: Any) -> None:
        """Wait until the index has taken all rows."""
        while int((self._told(self.name) or {}).get("indexing", 0)):
            time.sleep(0.2)


def _of_redis(source: Any) -> Any:
    """The source, if it is an index of Redis, or None."""
    return source if isinstance(source, RedisWriting) else None
