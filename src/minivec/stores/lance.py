"""LanceDB, embedded: ``lance://FOLDER/TABLE?column=...&key=...``."""

import json
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from typing import Any

import numpy as np

from minivec.files import is_vector, list_vectors
from minivec.stores.arrow import rebatched, schema_like, with_vectors
from minivec.stores.base import Address, Block, Refused, Schema, Store, locked

STATE = b"minivec.migration"  # in the metadata of a destination's schema


class LanceStore(Store):
    """A table. Its rows have a lasting order and its versions stay readable, so row numbers of a version are the keys.

    A column named by ``key`` is checked to be unique, and is what errors name. A destination is a new table; every
    block is one atomic commit, so the rows in it are the checkpoint. The other tables, and indexes, are left alone.
    """

    kind = "arrow"
    extra = "lancedb"

    def __init__(self, address: Address):
        super().__init__(address)
        self.folder, self.name = address.split()
        self.column, self.key = address.take("column", "key")
        self._tables: dict[Any, Any] = {}
        self._version: int | None = None
        self._held = ExitStack()

    def _table(self, version: int | None = None) -> Any:
        """The table at its newest version, or at a pinned one, which is another handle."""
        if version not in self._tables:
            lancedb = self.client("lancedb")
            if not self._exists():
                raise Refused(f"{self}: no table {self.name!r} in {self.folder}")
            with self.guard():
                table = lancedb.connect(str(self.folder)).open_table(self.name)
                if version is not None:
                    table.checkout(version)
            self._tables[version] = table
        elif version is None:
            with self.guard():
                self._tables[None].checkout_latest()
        return self._tables[version]

    def _exists(self) -> bool:
        return (self.folder / f"{self.name}.lance").is_dir()

    def arrow_schema(self) -> Any:
        """The table's, as it is now."""
        with self.guard():
            return self._table().schema

    def schema(self) -> Schema:
        """The vectors are in the only column of float lists where none is named."""
        fields = {field.name: field.type for field in self.arrow_schema()}
        vectors = [name for name, kind in fields.items() if is_vector(kind)]
        column = self.column or (vectors[0] if len(vectors) == 1 else None)
        if column not in vectors:
            found = ", ".join(vectors) or "none"
            wanted = f"no column of float lists named {column!r}" if column else "name one column of float lists"
            raise Refused(f"{self}: {wanted} (column=); there is {found}")
        if self.key is not None and self.key not in fields:
            raise Refused(f"{self}: no column {self.key!r} for a key; there is {', '.join(fields)}")
        width = getattr(fields[column], "list_size", 0) or self._first_width(column)
        return Schema(column, self.key, width, tuple(name for name in fields if name != column))

    def _first_width(self, column: Any) -> int:
        with self.guard():
            first = self._table().search().select([column]).limit(1).to_arrow()
        return len(first[column][0].as_py() or ()) if len(first) else 0

    def count(self) -> int:
        """Rows of the newest version."""
        with self.guard():
            return self._table().count_rows()

    def check(self) -> None:
        """Every row has a vector, and keys are unique and not null, if there is a key."""
        column = str(self.schema().column)
        with self.guard():  # a name with a backtick cannot be quoted: reading will find what is wrong
            nulls = "`" not in column and self._table().count_rows(f"`{column}` IS NULL")
        if nulls:
            deque(self.blocks(8_192), 0)  # which names the first of them
        if self.key is None:
            return
        with self.guard():
            keys = self._table().search().select([self.key]).to_arrow()[self.key]
        counts = keys.value_counts()
        for name, bad in (("null", keys.null_count), ("duplicate", len(keys) - len(counts))):
            if bad:
                twice = "" if name == "null" else f", such as {counts.filter(_many(counts))[0]['values'].as_py()!r}"
                raise Refused(f"{self}: key {self.key!r} has {bad} {name} values{twice}")

    def pin(self, version: Any = None) -> Any:
        """The number of the version that is read from now on."""
        with self.guard():
            self._version = self._table().version if version is None else int(version)
            self._table(self._version)
        return self._version

    def blocks(self, size: int, after: Any = None, payload: bool = True) -> Iterator[Block]:
        """Rows in the table's order; a position is the number of rows before it."""
        schema, start = self.schema(), after or 0
        with self.guard():
            batches = self._table(self._version).search().offset(start).to_batches(batch_size=size)
        for batch in rebatched(self._guarded(iter(batches)), size):
            keys = batch[self.key].to_pylist() if self.key else range(start, start + len(batch))
            start += len(batch)
            yield Block(keys, self._vectors(batch[schema.column], schema, keys), batch, start)

    def _guarded(self, batches: Iterator[Any]) -> Iterator[Any]:
        while True:
            with self.guard():
                batch = next(batches, None)
            if batch is None:
                return
            yield batch

    def _vectors(self, column: Any, schema: Schema, keys: Sequence[Any]) -> np.ndarray:
        vectors = list_vectors(column, schema.width, lambda what, rows: self.refuse(what, rows, keys))
        return np.asarray(vectors, np.float32)

    def keys(self) -> Sequence[int]:
        """Row numbers of the version that is read."""
        with self.guard():
            return range(self._table(self._version).count_rows())

    def fetch(self, keys: Sequence[int]) -> Block:
        """The rows with these numbers."""
        numbers, schema = np.asarray(keys, int), self.schema()
        order = np.argsort(numbers, kind="stable")
        with self.guard():
            table = self._table(self._version).take_offsets(numbers[order].tolist()).to_arrow()
        table = table.take(np.argsort(order, kind="stable"))
        vectors = self._vectors(table[schema.column].combine_chunks(), schema, keys)
        return Block(keys, vectors, table.select(list(schema.payload)).replace_schema_metadata(None), None)

    def lock(self) -> None:
        """Hold a file beside the table."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self._held.enter_context(locked(self.folder / f".{self.name}.lock"))

    def accepts(self, source: Store) -> None:
        """Arrow data, and arrays."""
        if source.kind != "array":
            super().accepts(source)

    def checkpoint(self) -> dict[str, Any] | None:
        """The state that the table was made with, and the rows that are in it."""
        if not self._exists():
            return None
        noted = (self.arrow_schema().metadata or {}).get(STATE)
        if noted is None:
            raise Refused(f"{self}: it exists, and no migration has made it; name another table")
        rows = self.count()
        return {**json.loads(noted), "rows": rows, "position": rows}

    def create(self, source: Store, width: int, state: dict[str, Any]) -> None:
        """A table with the source's columns, in their order."""
        schema = source.schema()
        name = self.column or schema.column or "vector"
        if name in schema.payload:
            raise Refused(f"{self}: {source} has another column {name!r}; name one for the vectors (column=)")
        state["column"], state["new_column"] = schema.column, name
        arrow = getattr(source, "arrow_schema", lambda: None)()
        like = schema_like(arrow, schema.column, name, width)
        metadata = {**(like.metadata or {}), STATE: json.dumps(state).encode()}
        with self.guard():
            self.client("lancedb").connect(str(self.folder)).create_table(
                self.name, schema=like.with_metadata(metadata)
            )

    def write(self, block: Block, state: dict[str, Any]) -> None:
        """Append rows, in one commit, to as many as the state counts before them."""
        table, before = self._table(), state["rows"] - len(block.keys)
        if self.count() != before:
            raise Refused(f"{self}: {self.count()} rows where the migration has written {before}")
        with self.guard():
            table.add(with_vectors(block.payload, state["column"], block.vectors, state["new_column"]))

    def close(self) -> None:
        """Let go of the lock and the handles."""
        self._held.close()
        self._tables.clear()


def _many(counts: Any) -> Any:
    import pyarrow.compute as pc

    return pc.greater(counts.field("counts"), 1)
