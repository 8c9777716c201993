"""DuckDB: ``duckdb:///FILE/TABLE?column=...&key=...&where=SQL``."""

import re
from collections.abc import Sequence
from functools import partial
from typing import Any, ClassVar

import numpy as np

from minivec.stores.arrow import read_vectors, vector_array, without_vectors
from minivec.stores.base import Block, Store
from minivec.stores.errors import Refused
from minivec.stores.shown import mark
from minivec.stores.sql.base import PRINT, SqlTable, quoted

VECTOR = re.compile(r"(?:FLOAT|DOUBLE)\[(\d*)\]")  # a type of vectors: of one width, or a list
WHOLE = re.compile(r"U?(?:TINY|SMALL|BIG)?INT(?:EGER)?")
TEXTS = ("UUID", "BIT", "UHUGEINT", "TIME WITH TIME ZONE", "BIGNUM", "JSON")  # which Arrow has not, or not as they are


class DuckStore(SqlTable):
    """A table. DuckDB lets one process write, so a file is opened for writing only where it is a destination."""

    extra = "duckdb"
    _open: ClassVar[dict[str, tuple[Any, bool]]] = {}  # by file: its connection, and whether for writing
    _users: ClassVar[dict[str, int]] = {}
    _file: str | None = None

    def _connect(self) -> Any:
        """The process's connection to the file: DuckDB allows no second one with other settings."""
        path = str(self.file.resolve())
        connection, writes = self._open.get(path, (None, False))
        if connection is None or self._writes and not writes:
            if connection is not None:
                connection.close()
            connection = self.client("duckdb").connect(path, read_only=not self._writes)
            self._open[path] = connection, self._writes
        if self._file is None:
            self._file, self._users[path] = path, self._users.get(path, 0) + 1
        return connection

    def close(self) -> None:
        """Let go of the lock, and of the file, if no other store uses it."""
        super().close()
        path, self._file = self._file, None
        if path is not None:
            self._users[path] -= 1
            if not self._users[path]:
                self._open.pop(path)[0].close()

    def _columns(self, name: str) -> dict[str, str]:
        query = "SELECT column_name, data_type FROM duckdb_columns() WHERE table_name = ? AND schema_name = "
        return dict(self._run(f"{query}current_schema() ORDER BY column_index", [name]))

    def _constraints(self) -> list[tuple[Any, ...]]:
        query = "SELECT constraint_type, constraint_text, constraint_column_names FROM duckdb_constraints() "
        return self._run(f"{query}WHERE table_name = ? AND schema_name = current_schema()", [self.name])

    def _unique(self) -> str | None:
        found = sorted((kind, names) for kind, _, names in self._constraints() if kind in ("PRIMARY KEY", "UNIQUE"))
        return next((names[0] for _, names in found if len(names) == 1), None)

    def _width(self, column: str) -> int | None:
        found = VECTOR.fullmatch(self._columns(self.name)[column])
        return int(found[1] or 0) if found else None

    def _first_width(self, column: str) -> int:
        found = self._run(f"SELECT len({quoted(column)}) {self._rows_of(f'{quoted(column)} IS NOT NULL')} LIMIT 1")
        return int(found[0][0]) if found else 0

    def _key(self, name: str) -> str:
        kind = self._columns(self.name).get(name, "VARCHAR")
        if kind in ("VARCHAR", "UUID"):
            return f"CAST({quoted(name)} AS VARCHAR)" if kind == "UUID" else quoted(name)
        if not WHOLE.fullmatch(kind):
            raise Refused(f"{self}: key {name!r} is of type {kind}; keys are whole numbers, texts or UUIDs")
        return quoted(name)

    def _read(self, names: Sequence[str], more: str, parameters: Sequence[Any]) -> Any:
        kinds = self._columns(self.name)

        def part(name: str) -> str:
            if name == PRINT:
                return f"{self._printed()} AS {PRINT}"
            return f"CAST({quoted(name)} AS VARCHAR) AS {quoted(name)}" if kinds[name] in TEXTS else quoted(name)

        with self.guard():
            query = f"SELECT {', '.join(map(part, names))} {more}"
            return self._connect().sql(query, params=list(parameters)).to_arrow_table()

    def _printed(self) -> str:
        return "hash(minivec_row)"

    def _among(self, keys: Sequence[Any]) -> tuple[str, Any]:
        return "IN (SELECT unnest(?))", list(keys) or [None]

    def _decoded(self, column: Any, width: int, keys: Sequence[Any]) -> tuple[np.ndarray, list[int]]:
        return read_vectors(column, width, keys, self)

    def _statements(self, source: Store, width: int, column: str) -> list[str]:
        return [self._table(source, width, column, defaults=True)]

    def _table(self, source: Store, width: int, column: str, defaults: bool) -> str:
        """The statement that makes the table; of a DuckDB table with its types, constraints and defaults."""
        key = str(source.schema().key)
        if not isinstance(source, DuckStore):
            kinds = _kinds_of(source, self.client("duckdb"))
            parts = [f"{quoted(name)} {kind}" for name, kind in kinds.items()]
            return f"CREATE TABLE {quoted(self.name)} ({', '.join(parts)}, {quoted(column)} FLOAT[{width}], " + (
                f"PRIMARY KEY ({quoted(key)}))"
            )
        old, parts = source.schema().column, []
        for name, kind, default, empty in source._described():
            if name == old:
                name, kind, default = column, f"FLOAT[{width}]", None
            parts.append(f"{quoted(name)} {kind}" + ("" if empty else " NOT NULL"))
            if default is not None and defaults and source._carried(default, self):
                parts[-1] += f" DEFAULT {default}"
        constraints = source._kept_constraints()
        if not any(names == [key] for kind, _, names in source._constraints() if kind in ("PRIMARY KEY", "UNIQUE")):
            constraints.append(f"UNIQUE ({quoted(key)})")
        return f"CREATE TABLE {quoted(self.name)} ({', '.join([*parts, *constraints])})"

    def _described(self) -> list[tuple[Any, ...]]:
        query = "SELECT column_name, data_type, column_default, is_nullable FROM duckdb_columns() WHERE table_name = ? "
        return self._run(f"{query}AND schema_name = current_schema() ORDER BY column_index", [self.name])

    def _carried(self, default: str, destination: "DuckStore") -> bool:
        """Whether a default means something in the destination's file."""
        return "nextval" not in default or self.file.resolve() == destination.file.resolve()

    def _kept_constraints(self) -> list[str]:
        """PRIMARY KEY, UNIQUE and CHECK, where the vectors are not in them."""
        kinds, column = ("PRIMARY KEY", "UNIQUE", "CHECK"), self.schema().column
        return [text for kind, text, names in self._constraints() if kind in kinds and column not in names]

    def losses(self, source: Store) -> list[str]:
        """Indexes, foreign keys, checks of the vectors, and defaults of another file's sequences."""
        if not isinstance(source, DuckStore):
            return []
        kept = source._kept_constraints()
        lost = [text for kind, text, _ in source._constraints() if kind != "NOT NULL" and text not in kept]
        lost += [f"DEFAULT {d} of {n}" for n, _, d, _ in source._described() if d and not source._carried(d, self)]
        indexes = ", ".join(name for name, _ in source._indexes(source.name))
        told = [f"not carried over: {'; '.join(lost)}"] if lost else []
        return told + ([f"indexes ({indexes}) are not made: make them when all rows are there"] if indexes else [])

    def _indexes(self, name: str) -> list[tuple[Any, ...]]:
        return self._run("SELECT index_name, sql FROM duckdb_indexes() WHERE table_name = ? ORDER BY 1", [name])

    def rehearse(self, source: Store, width: int, block: Block) -> list[str]:
        """Make the table and write the block in memory."""
        column = self._new_column(source)
        statement = self._table(source, width, column, defaults=False)
        with self.guard(), self.client("duckdb").connect() as connection:
            connection.execute(statement)
            self._insert(connection, without_vectors(block, source.schema().column), column)
        return self.losses(source)

    def _insert(self, connection: Any, block: Block, column: str) -> None:
        table = block.payload.append_column(column, vector_array(block))
        connection.register("minivec_block", table)
        names = ", ".join(map(quoted, table.column_names))
        connection.execute(f"INSERT INTO {quoted(self.name)} ({names}) SELECT {names} FROM minivec_block")
        connection.unregister("minivec_block")

    def _rename(self, old: str, new: str) -> list[str]:
        """With its indexes, which stand in the way of a rename."""
        indexes = self._indexes(old)
        drop = [f"DROP INDEX {quoted(name)}" for name, _ in indexes]
        place = partial(re.sub, r" ON (\"(?:[^\"]|\"\")*\"|\S+?)(?=[ (])", lambda _: f" ON {quoted(new)}", count=1)
        return [*drop, f"ALTER TABLE {quoted(old)} RENAME TO {quoted(new)}", *(place(string=sql) for _, sql in indexes)]


def _kinds_of(source: Any, duckdb: Any) -> dict[str, str]:
    """The types that DuckDB has for the columns of an Arrow source, but for its vectors."""
    names = source.schema().payload
    schema = source.arrow_schema()
    with duckdb.connect() as connection:
        connection.register("minivec_block", schema.empty_table().select(list(names)))
        found = connection.execute("DESCRIBE minivec_block").fetchall()
    return {row[0]: "JSON" if mark(schema.field(row[0])) else row[1] for row in found}
