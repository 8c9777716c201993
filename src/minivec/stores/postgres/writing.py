"""Writing rows and vectors by COPY."""

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np

from minivec.stores.base import Block, Store
from minivec.stores.errors import Refused
from minivec.stores.postgres.reading import Reader


class Writer(Reader):
    """The statements that write one block."""

    _source: Reader
    _types: Sequence[str] = ()  # of the values of other kinds of source; PostgreSQL's own are bytes already

    def accepts(self, source: Store) -> None:
        """Accept a PostgreSQL source, and let it ask this destination what it has written."""
        super().accepts(source)
        if "where" in self.address.options:
            raise Refused(f"{self}: where= belongs to the source")
        if isinstance(source, Reader):
            self._source, source._beside = source, self

    def _processes(self) -> list[int]:
        return [*super()._processes(), self._source._connection.info.backend_pid]

    def _silence(self) -> None:
        """Prevent triggers in this transaction, if that is wanted."""
        if self.without_triggers and self.in_place:
            self._run("SET LOCAL session_replication_role = replica")

    def _copy(self, block: Block, vectors: list[bytes | None]) -> None:
        """Insert whole rows into the new table."""
        self._load(self._name(self.table), [*self._key_columns, *self._source.schema().payload], block, vectors)

    def _update(self, block: Block, vectors: list[bytes | None]) -> None:
        """Update the rows that are still as they were read; ``changes`` finds the others."""
        names: dict[str, Any] = {"keys": list(self._key_columns), "new": self.column}
        self._run(
            "CREATE TEMP TABLE minivec_block ON COMMIT DROP AS SELECT {keys}, NULL::xid AS minivec_version, {new} "
            "FROM {table} WITH NO DATA",
            **names,
        )
        self._load(self._quoted("minivec_block"), [*self._key_columns, "minivec_version"], block, vectors)
        same = " AND ".join(f"t.{{key{i}}} = b.{{key{i}}}" for i in range(len(self._key_columns)))
        names |= {f"key{i}": key for i, key in enumerate(self._key_columns)}
        if self._indexed:  # an index scan for each row is faster than a scan of the table for each block
            self._run("SET LOCAL enable_hashjoin = off; SET LOCAL enable_mergejoin = off")
        update = "UPDATE {table} t SET {new} = b.{new} FROM minivec_block b WHERE "
        self._run(f"{update}{same} AND t.xmin = b.minivec_version", **names)
        self._run("DROP TABLE pg_temp.minivec_block")  # a transaction may have several blocks

    @cached_property
    def _indexed(self) -> bool:
        return any(set(unique) <= set(self._key_columns) for unique in self._unique())

    def _upsert(self, block: Block, vectors: list[bytes | None]) -> None:
        """Insert whole rows, or update those with their keys: a DELETE would follow the foreign keys of other rows."""
        keys, columns = list(self._key_columns), [*self._source.schema().payload, self.column or ""]
        names: dict[str, Any] = {"keys": keys, "columns": [*keys, *columns]}
        self._run(
            "CREATE TEMP TABLE minivec_block ON COMMIT DROP AS SELECT {columns} FROM {table} WITH NO DATA", **names
        )
        self._load(self._quoted("minivec_block"), [*keys, *columns[:-1]], block, vectors)
        identities = {name for name, column in self._columns().items() if column.identity == "a"}
        sets = [self._compose("{c} = excluded.{c}", c=name) for name in names["columns"] if name not in identities]
        self._run(
            "INSERT INTO {table} ({columns}) OVERRIDING SYSTEM VALUE SELECT {columns} FROM minivec_block "
            "ON CONFLICT ({keys}) DO UPDATE SET {sets}",
            sets=self._sql.SQL(", ").join(sets), **names,
        )  # fmt: skip
        self._run("DROP TABLE pg_temp.minivec_block")

    def _load(self, table: Any, columns: list[str], block: Block, vectors: list[bytes | None]) -> None:
        query = self._compose(
            "COPY {into} ({columns}) FROM STDIN (FORMAT BINARY)", into=table, columns=[*columns, self.column]
        )
        with self._connection.cursor() as cursor, cursor.copy(self.shown(query)) as copy:
            if self._types:
                copy.set_types([*self._types, "bytea"])
            for others, value in zip(block.payload, vectors, strict=True):
                copy.write_row((*others, value))

    def _encode(self, vectors: np.ndarray, missing: Sequence[int] = ()) -> list[bytes | None]:
        """Each row in the binary form of its type, None for the missing ones."""
        form = self._form(vectors.shape[1])
        data = np.zeros(len(vectors), form)
        data["width"], data["values"] = vectors.shape[1], vectors
        encoded: list[bytes | None] = data.view(f"V{form.itemsize}").tolist()
        for i in missing:
            encoded[i] = None
        return encoded
