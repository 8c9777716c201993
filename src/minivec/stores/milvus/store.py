"""Milvus: ``milvus://HOST:PORT/COLLECTION?column=...``, or ``milvus:///FILE.db/COLLECTION`` for Milvus Lite."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from typing import Any

from minivec.stores.address import Address, says_yes
from minivec.stores.base import Block, Schema
from minivec.stores.blocks import Sized
from minivec.stores.errors import Refused
from minivec.stores.keyed import Keyed
from minivec.stores.milvus import settings
from minivec.stores.milvus.notes import KEYS, STRONG, MilvusNotes
from minivec.stores.milvus.rows import (
    META,
    PARTITION,
    VECTORS,
    among,
    arrow_field,
    cells,
    json_text,
    name_of,
    quoted,
    vectors_of,
)
from minivec.stores.milvus.writing import MilvusWriting
from minivec.stores.quiet import quiet
from minivec.stores.shown import FIELDS, marked

TIMEOUT = 60  # seconds that a request may take
QUIET = {"grpc.keepalive_time_ms": 600_000}  # Milvus Lite complains of more frequent signs of life


class MilvusStore(MilvusWriting, MilvusNotes, Keyed):
    """A collection, by primary key. ``column`` names the field of vectors where there are several.

    What follows the scheme is a path where it starts with ``/``, ``.`` or ``~``, and a host otherwise.
    ``USER:PASSWORD@`` or ``:TOKEN@``, ``database`` and ``https=true`` are options, and ``where`` is an expression of
    Milvus. A destination is a new collection with the same fields, indexes and properties. The checkpoint lies in a
    collection of its own, written behind the rows, which are upserted. A collection that is read is loaded, if it is
    not. The vectors may be FLOAT_VECTOR, FLOAT16_VECTOR or BFLOAT16_VECTOR.
    """

    extra = "milvus"
    note_bytes = settings.TEXT

    def __init__(self, address: Address):
        super().__init__(address)
        self.column, self.where, self.database, self.tls = address.take("column", "where", "database", "https")
        self._asked = self.column
        self._known: dict[str, dict[str, Any]] = {}
        self._loaded: set[str] = set()
        if address.local:
            self.folder, self.name = address.split()
        elif not address.host or not address.path or "/" in address.path:
            raise Refused(f"{self}: expected milvus://HOST:PORT/COLLECTION or milvus:///FILE.db/COLLECTION")
        else:
            self.name = address.path

    def place(self) -> str:
        """The absolute path, or the host and port, with the database."""
        if self.address.local:
            return f"milvus://{self.folder.resolve() / self.name}"
        place = f"milvus://{self.address.host}:{self.address.port or 19530}/{self.name}"
        return f"{place}/{self.database}" if self.database else place

    @cached_property
    def _client(self) -> Any:
        pymilvus = self.client("pymilvus")
        with self.guard():
            if self.address.local:
                if self.folder.suffix != ".db":
                    raise Refused(f"{self}: a file of Milvus Lite ends in .db")
                return pymilvus.MilvusClient(str(self.folder.resolve()), grpc_options=QUIET)
            tls = says_yes(self.tls)
            uri = f"{'https' if tls else 'http'}://{self.address.host}:{self.address.port or 19530}"
            user, password = self.address.user, self.address.password or ""
            token = f"{user}:{password}" if user else password
            given = {"token": token, "db_name": self.database or "", "timeout": TIMEOUT}
            return pymilvus.MilvusClient(uri, grpc_options=QUIET, **given)

    @contextmanager
    def guard(self) -> Iterator[None]:
        """And the client and Milvus Lite keep their log of errors, with tracebacks, to themselves."""
        with quiet("pymilvus", "milvus_lite", "grpc"), super().guard():
            yield

    def _ask(self, method: str, *given: Any, **options: Any) -> Any:
        """What the client's method returns."""
        client = self._client
        with self.guard():
            return getattr(client, method)(*given, timeout=TIMEOUT, **options)

    @staticmethod
    def _too_large(error: Exception) -> bool:
        return "larger than max" in str(error)

    def _exists(self, name: str) -> bool:
        if self.address.local and not self.folder.exists():  # the client would make it
            return False
        return self._ask("has_collection", name)

    def _info(self, name: str | None = None) -> dict[str, Any]:
        """The fields and settings of a collection; Refused where there is no such collection."""
        name = name or self.name
        if name not in self._known:
            if not self._exists(name):
                raise Refused(f"{self}: no collection {name!r}")
            info = self._ask("describe_collection", name)
            info["fields"] = [field for field in info["fields"] if not field.get("is_dynamic")]
            self._known[name] = info
        return self._known[name]

    def _fields(self) -> dict[str, dict[str, Any]]:
        """The fields that rows bring, by name."""
        computed = settings.outputs(self._info())
        return {field["name"]: field for field in self._info()["fields"] if field["name"] not in computed}

    def _key(self) -> str:
        return next(field["name"] for field in self._info()["fields"] if field.get("is_primary"))

    def _has(self, column: str) -> bool:
        return any(field["name"] == column for field in self._info()["fields"])

    @cached_property
    def _partitions(self) -> list[str]:
        """The partitions that the user has made."""
        if any(field.get("is_partition_key") for field in self._info()["fields"]):
            return []
        return [name for name in self._ask("list_partitions", self.name) if name != "_default"]

    def schema(self) -> Schema:
        """The only field of vectors of floats, where none is named."""
        fields = {field["name"]: field for field in self._info()["fields"]}
        vectors = [name for name, field in fields.items() if name_of(field["type"]) in VECTORS]
        column = self.column or (vectors[0] if len(vectors) == 1 else None)
        if column is None or column not in vectors:
            wanted = f"no vectors of floats named {column!r}" if column else "name one field of vectors (column=)"
            raise Refused(f"{self}: {wanted}; there is {', '.join(vectors) or 'none'}")
        return Schema(
            column,
            self._key(),
            int(fields[column]["params"]["dim"]),
            tuple(field.name for field in self._payload_fields(column)),
        )

    def _payload_fields(self, column: str) -> list[Any]:
        """The columns beside the vectors, as Arrow fields."""
        pa = self.client("pyarrow")
        made = [arrow_field(field) for name, field in self._fields().items() if name != column]
        made += [marked(META, FIELDS)] if self._info()["enable_dynamic_field"] else []
        return made + ([pa.field(PARTITION, pa.string())] if self._partitions else [])

    def arrow_schema(self) -> Any:
        """The types of all columns; the vectors are the last."""
        pa, schema = self.client("pyarrow"), self.schema()
        vectors = pa.field(str(schema.column), pa.list_(pa.float32(), schema.width))
        return pa.schema([*self._payload_fields(str(schema.column)), vectors])

    def _query(self, condition: str, fields: list[str], **options: Any) -> list[dict[str, Any]]:
        self._load()
        return list(self._ask("query", self.name, filter=condition, output_fields=fields, **STRONG, **options))

    def _load(self) -> None:
        """Only a collection that is in memory can be read."""
        if self.name not in self._loaded:
            if name_of(self._ask("get_load_state", self.name)["state"]) != "Loaded":
                self._ask("load_collection", self.name)
            self._loaded.add(self.name)

    def count(self) -> int:
        """The rows that meet the condition, if there is one."""
        return int(self._query(self.where or "", ["count(*)"])[0]["count(*)"])

    def check(self) -> None:
        """Milvus takes rows with the same key, of which only one is read."""
        rows, keys = self.count(), len(self.keys())
        if rows > keys:
            raise Refused(f"{self}: {rows - keys} rows have a key that another row has too; delete them first")

    def _pages(self, sized: Sized, after: Any, fields: list[str]) -> Iterator[list[dict[str, Any]]]:
        """Rows in the order of their keys, behind ``after``."""
        self._load()
        key, where = self._key(), [f"({self.where})"] if self.where else []
        while True:  # an iterator alone cannot go on behind a key with quotes or line breaks
            behind = [] if after is None else [f"{key} > {quoted(after)}"]
            options = {"batch_size": sized.rows, "filter": " and ".join(where + behind), "output_fields": fields}
            pages = self._ask("query_iterator", self.name, **options, **STRONG)
            with self.guard():
                page = pages.next()
                pages.close()
            if not page:
                return
            yield page
            after = page[-1][key]

    def keys(self) -> Sequence[Any]:
        """All keys, in order."""
        key = self._key()
        return [row[key] for page in self._pages(Sized(KEYS, large=False), None, [key]) for row in page]

    def _blocks(self, size: int, after: Any = None) -> Iterator[Block]:
        sized = Sized(min(KEYS, self._page(size)))
        for page in self._pages(sized, after, self._wanted(self._payload)):
            yield sized.of(self._block(page, self._payload))

    def _wanted(self, payload: bool) -> list[str]:
        return ["*"] if payload else [self._key(), str(self.schema().column)]

    def fetch(self, keys: Sequence[Any], payload: bool = True) -> Block:
        """The rows with these keys."""
        key, size, fields = self._key(), min(KEYS, self._page(KEYS)), self._wanted(payload)
        found: dict[Any, Any] = {}
        for start in range(0, len(keys), size):
            found |= {row[key]: row for row in self._query(among(key, keys[start : start + size]), fields)}
        return self._block([found[key] for key in keys if key in found], payload)

    def _block(self, rows: list[dict[str, Any]], payload: bool) -> Block:
        schema = self.schema()
        column, key = str(schema.column), str(schema.key)
        kind = next(field for field in self._info()["fields"] if field["name"] == column)["type"]
        keys = [row[key] for row in rows]
        vectors = vectors_of(name_of(kind), [row[column] for row in rows], schema.width)
        rest = self._rest(rows, keys, column) if payload else None
        return Block(keys, vectors, rest, keys[-1] if keys else None)

    def _rest(self, rows: list[dict[str, Any]], keys: list[Any], column: str) -> Any:
        """What rows have beside the vectors, as an Arrow table."""
        pa, fields = self.client("pyarrow"), self._fields()
        known = {field["name"] for field in self._info()["fields"]}
        columns, arrow = [], self._payload_fields(column)
        for name in (field.name for field in arrow):
            if name == META:
                dynamic = [{key: value for key, value in row.items() if key not in known} for row in rows]
                columns.append(pa.array([json_text(values) if values else None for values in dynamic], pa.string()))
            elif name == PARTITION:
                columns.append(pa.array(self._places(keys), pa.string()))
            else:
                columns.append(cells(fields[name], rows))
        return pa.Table.from_arrays(columns, schema=pa.schema(arrow))

    def _places(self, keys: list[Any]) -> list[str]:
        """The partition of each key, "" for the default one."""
        key, places = self._key(), dict[Any, str]()
        for partition in self._partitions if keys else ():
            rows = self._query(among(key, keys), [key], partition_names=[partition])
            places |= {row[key]: partition for row in rows}
        return [places.get(key, "") for key in keys]
