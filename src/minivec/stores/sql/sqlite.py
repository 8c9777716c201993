"""SQLite: ``sqlite:///FILE/TABLE?column=...&key=...&where=SQL``, of tables and of sqlite-vec's ``vec0`` tables."""

import json
import re
import sqlite3
from collections.abc import Sequence
from functools import cached_property
from importlib import import_module
from typing import Any

import numpy as np

from minivec.arrow import is_text
from minivec.stores.arrow import without_vectors
from minivec.stores.base import Block, Store
from minivec.stores.errors import Refused
from minivec.stores.shown import MARK, columns_of, same
from minivec.stores.sql.base import PRINT, SqlTable, quoted
from minivec.stores.sql.sqlite_values import ANY, KINDS, fingerprint, kept, of_any, told, type_of

WAITING = 5.0  # seconds for another connection's lock
ROWID = "rowid"  # the key where a table names none
VEC0 = re.compile(r"USING\s+vec0\s*\((.*)\)\s*$", re.IGNORECASE | re.DOTALL)
FLOATS = re.compile(r"(\S+)\s+float\s*\[\s*(\d+)\s*\]", re.IGNORECASE)  # a column of vectors in vec0's arguments
UNMADE = ("CHECK", "UNIQUE", "REFERENCES", "AUTOINCREMENT", "COLLATE", "GENERATED", "STRICT", "WITHOUT ROWID")


class SqliteStore(SqlTable):
    """A table whose vectors are the bytes of float32, in a column of BLOBs or of a ``vec0`` table.

    A ``vec0`` table becomes a new one with the same columns and settings, a table a new table; rows of other kinds of
    store become a table. A table without a key has ``rowid`` for one.
    """

    extra = "sqlite"
    _connection: Any = None
    _opened_to_write = False

    @property
    def keeps_nulls(self) -> bool:  # type: ignore[override]
        """But for ``vec0``, which needs a vector in each row."""
        return self._vec0(self.name) is None

    @cached_property
    def _module(self) -> Any:
        """Python's sqlite3, or pysqlite3 where that cannot load extensions."""
        if hasattr(sqlite3.Connection, "enable_load_extension"):
            return sqlite3
        try:
            return import_module("pysqlite3")
        except ImportError:
            return sqlite3

    def _connect(self) -> Any:
        if self._connection is None or self._writes and not self._opened_to_write:
            self._let_go()
            mode, self._opened_to_write = "rwc" if self._writes else "ro", self._writes
            self._connection = self._prepared(f"{self.file.resolve().as_uri()}?mode={mode}")
        return self._connection

    def _prepared(self, place: str) -> Any:
        """A connection that knows ``vec0``, where that is possible, and fingerprints."""
        made = self._module.connect(place, uri=True, timeout=WAITING, isolation_level=None, check_same_thread=False)
        made.create_function("minivec_print", -1, fingerprint)
        if hasattr(made, "enable_load_extension"):
            try:
                path = import_module("sqlite_vec").loadable_path()
            except ImportError:
                return made
            made.enable_load_extension(True)
            made.load_extension(path)
            made.enable_load_extension(False)
        return made

    def _let_go(self) -> None:
        if self._connection is not None:
            self._connection.close()
        self._connection = None

    def close(self) -> None:
        """Let go of the lock and of the file."""
        super().close()
        self._let_go()
        vars(self).pop("_kinds", None)

    def _vec0(self, name: str) -> str | None:
        """The arguments of a ``vec0`` table, or None."""
        sql = self._run("SELECT sql FROM sqlite_master WHERE name = ? AND type = 'table'", [name])
        found = VEC0.search(sql[0][0]) if sql else None
        if found and not hasattr(self._connect(), "enable_load_extension"):
            raise Refused(
                f"{self}: a vec0 table, and this Python's sqlite3 cannot load extensions: pip install pysqlite3-binary"
            )
        if found:
            self.client("sqlite_vec")
        return found[1] if found else None

    def _described(self) -> list[tuple[Any, ...]]:
        """Name, type, whether it must not be NULL, default, and place in the primary key, of each plain column."""
        rows = self._run(f"PRAGMA table_xinfo({quoted(self.name)})")
        return [row[1:6] for row in rows if row[6] == 0]

    def _columns(self, name: str) -> dict[str, str]:
        self._vec0(name)  # which says what a vec0 table needs
        rows = self._run(f"PRAGMA table_xinfo({quoted(name)})")
        columns = {row[1]: row[2].upper() for row in rows if row[6] == 0}
        keyed = ROWID in columns or not rows or (self.key or self._unique_in(rows)) != ROWID
        return columns if keyed else {ROWID: "INTEGER", **columns}

    @staticmethod
    def _unique_in(rows: list[tuple[Any, ...]]) -> str:
        keys = [row[1] for row in rows if row[5]]
        return keys[0] if len(keys) == 1 else ROWID

    def _unique(self) -> str | None:
        return self._unique_in(self._run(f"PRAGMA table_xinfo({quoted(self.name)})"))

    def _width(self, column: str) -> int | None:
        if (arguments := self._vec0(self.name)) is not None:
            widths = {name: int(width) for name, width in FLOATS.findall(arguments)}
            return widths.get(column)
        if self._columns(self.name)[column] not in ("BLOB", ""):
            return None
        name = quoted(column)
        found = self._run(f"SELECT typeof({name}), length({name}) {self._rows_of(f'{name} IS NOT NULL')} LIMIT 1")
        if not found:
            return 0
        return found[0][1] // 4 if found[0][0] == "blob" and found[0][1] and found[0][1] % 4 == 0 else None

    def _first_width(self, column: str) -> int:
        return 0

    @cached_property
    def _kinds(self) -> dict[str, Any]:
        """The Arrow type of each column, by the types of the values that it holds."""
        import pyarrow as pa

        names = list(self._columns(self.name))
        parts = ", ".join(f"group_concat(DISTINCT typeof({quoted(name)}))" for name in names)
        found = self._run(f"SELECT {parts} {self._rows_of()}")[0]
        kinds: dict[str, Any] = {}
        for name, types_found in zip(names, found, strict=True):
            types = sorted(set((types_found or "").split(",")) - {"null", ""})
            several = pa.struct([(kind, getattr(pa, arrow)()) for kind, arrow in KINDS.items()])
            kinds[name] = getattr(pa, KINDS[types[0]])() if len(types) == 1 else several if types else pa.string()
        return kinds

    def _read(self, names: Sequence[str], more: str, parameters: Sequence[Any]) -> Any:
        import pyarrow as pa

        vectors = str(self.schema().column)
        parts = [self._printed() if name == PRINT else quoted(name) for name in names]
        rows = self._run(f"SELECT {', '.join(parts)} {more}", parameters)
        columns = [*zip(*rows, strict=True)] if rows else [()] * len(names)
        arrays, fields, kinds = [], [], {**self._kinds, vectors: pa.binary(), PRINT: pa.int64()}
        for name, values in zip(names, columns, strict=True):
            kind = kinds[name]
            several = pa.types.is_struct(kind)
            with self.guard():
                arrays.append(pa.array([told(value) for value in values] if several else values, kind))
            fields.append(pa.field(name, kind, metadata={MARK: ANY} if several else None))
        return pa.Table.from_arrays(arrays, schema=pa.schema(fields))

    def _printed(self) -> str:
        return f"minivec_print({', '.join(map(quoted, self._columns(self.name)))})"

    def _among(self, keys: Sequence[Any]) -> tuple[str, Any]:
        return "IN (SELECT value FROM json_each(?))", json.dumps(list(keys))

    def _decoded(self, column: Any, width: int, keys: Sequence[Any]) -> tuple[np.ndarray, list[int]]:
        values = column.to_pylist()
        missing = [i for i, value in enumerate(values) if value is None]
        if not self.skip_nulls:
            self.refuse("NULL instead of a vector", missing, keys)
        wrong = [i for i, value in enumerate(values) if value is not None and len(value) != 4 * width]
        self.refuse(f"another length than {width} float32 numbers", wrong, keys)
        data = b"".join(bytes(4 * width) if value is None else value for value in values)
        return np.frombuffer(data, "<f4").reshape(len(values), width).astype(np.float32), missing

    def alike(self, one: Any, other: Any) -> bool:
        """Whether values mean the same: SQLite has texts for dates, decimals and what is nested."""
        return one.keys() == other.keys() and all(same(value, other[name]) for name, value in one.items())

    # As a destination.

    def _statements(self, source: Store, width: int, column: str) -> list[str]:
        key, name = str(source.schema().key), quoted(self.name)
        if not isinstance(source, SqliteStore):
            parts = [f"{quoted(field.name)} {type_of(field.type)}" for field in columns_of(source)]
            return [f"CREATE TABLE {name} ({', '.join(parts)}, {quoted(column)} BLOB, PRIMARY KEY ({quoted(key)}))"]
        old = str(source.schema().column)
        if (arguments := source._vec0(source.name)) is not None:

            def wider(found: re.Match[str]) -> str:
                return f"{column} float[{width}]" if found[1] == old else found[0]

            made = FLOATS.sub(wider, arguments)
            return [f"CREATE VIRTUAL TABLE {name} USING vec0({made})"]
        described = source._described()
        keys = [quoted(found) for found, *_, place in sorted(described, key=lambda row: row[4]) if place]
        parts = []
        for found, kind, required, default, place in described:
            inline = " PRIMARY KEY" if place and len(keys) == 1 else ""  # as it must be for whole numbers
            rest = (" NOT NULL" if required else "") + ("" if default is None else f" DEFAULT ({default})")
            parts.append(f"{quoted(column if found == old else found)} {kind}{inline}{rest}")
        parts += [f"PRIMARY KEY ({', '.join(keys)})"] if len(keys) > 1 else []
        parts += [f"UNIQUE ({quoted(key)})"] if key != ROWID and keys != [quoted(key)] else []
        return [f"CREATE TABLE {name} ({', '.join(parts)})"]

    def losses(self, source: Store) -> list[str]:
        """Of a table, what follows its columns; of other kinds of store, what becomes text."""
        if not isinstance(source, SqliteStore):
            others = [
                field for field in columns_of(source) if type_of(field.type) == "TEXT" and not is_text(field.type)
            ]
            texts = [f"{field.name} ({field.type})" for field in others]
            return [f"columns become texts: {', '.join(texts)}"] if texts else []
        rows = source._run("SELECT type, name, sql FROM sqlite_master WHERE tbl_name = ? ORDER BY 1, 2", [source.name])
        made = " ".join((sql or "").upper() for kind, _, sql in rows if kind == "table")
        lost = [what for what in UNMADE if what in made and source._vec0(source.name) is None]
        lost += [f"{kind} {name}" for kind, name, sql in rows if kind in ("index", "trigger") and sql]
        return [f"not carried over: {', '.join(lost)}"] if lost else []

    def rehearse(self, source: Store, width: int, block: Block) -> list[str]:
        """Make the table and write the block in memory."""
        column = self._new_column(source)
        statements = self._statements(source, width, column)
        with self.guard():
            connection = self._prepared("file::memory:")
            for statement in statements:
                connection.execute(statement)
            self._insert(connection, without_vectors(block, source.schema().column), column)
            connection.close()
        return self.losses(source)

    def _insert(self, connection: Any, block: Block, column: str) -> None:
        import pyarrow as pa

        columns = []
        for field, values in zip(block.payload.schema, block.payload.columns, strict=True):
            several = (field.metadata or {}).get(MARK) == ANY
            timed = pa.types.is_temporal(field.type) and getattr(field.type, "unit", None) == "ns"
            read = (values.cast(pa.string()) if timed else values).to_pylist()
            columns.append([of_any(value) if several else kept(value) for value in read])
        vectors: list[bytes | None] = [row.tobytes() for row in np.ascontiguousarray(block.vectors, "<f4")]
        for i in block.missing:
            vectors[i] = None
        names = [*block.payload.column_names, column]
        query = (
            f"INSERT INTO {quoted(self.name)} ({', '.join(map(quoted, names))}) VALUES ({', '.join('?' * len(names))})"
        )
        connection.executemany(query, zip(*columns, vectors, strict=True))
        vars(self).pop("_kinds", None)

    def changes(self, since: Any) -> Any:
        """As of any table; columns may hold other types now."""
        vars(self).pop("_kinds", None)
        return super().changes(since)

    def _rename(self, old: str, new: str) -> list[str]:
        """Views, triggers and foreign keys of other tables go on naming the old name."""
        if self._vec0(old) is not None:
            raise Refused(f"{self}: a vec0 table cannot be renamed: point the application to the new table by hand")
        return ["PRAGMA legacy_alter_table = ON", f"ALTER TABLE {quoted(old)} RENAME TO {quoted(new)}"]
