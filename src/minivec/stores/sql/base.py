"""Tables of databases that are one file: what DuckDB and SQLite have in common."""

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import numpy as np

from minivec.stores.address import Address
from minivec.stores.arrow import without_vectors
from minivec.stores.base import MIGRATIONS, Block, Changes, Schema, Store, locked
from minivec.stores.blocks import Sized
from minivec.stores.checkpoint import Checkpoint
from minivec.stores.errors import Refused
from minivec.stores.seen import Prints
from minivec.stores.sql.renaming import RenamedInSql

TOGETHER = 4_096  # rows that are read together where a row is but two values
PRINT = "minivec_print"  # the column of a row's fingerprint in what is read


def quoted(name: str) -> str:
    """A name as SQL has it."""
    return '"' + name.replace('"', '""') + '"'


class SqlTable(RenamedInSql, Store):
    """A table of one file, read by key, a page at a time. Keys are whole numbers or texts.

    A destination is a new table of the same file or of another one. The checkpoint is a row of ``minivec_migrations``
    there, written in the transaction of the block. Rows have no versions: changes are found by fingerprints that the
    database computes, which are kept in a temporary file from when the rows are read.
    """

    kind = "arrow"
    keeps_nulls = True

    def __init__(self, address: Address):
        super().__init__(address)
        self.file, self.name = address.split()
        self.column, self.key, self.where = address.take("column", "key", "where")
        self._held, self._writes = ExitStack(), False
        self._prints: Prints | None = None

    # What a database answers in its own way.

    @abstractmethod
    def _connect(self) -> Any:
        """A connection, for writing if ``_writes``."""

    @abstractmethod
    def _columns(self, name: str) -> dict[str, str]:
        """The columns of a table and their types; empty where there is no such table."""

    @abstractmethod
    def _unique(self) -> str | None:
        """The column that is the key where none is named."""

    @abstractmethod
    def _width(self, column: str) -> int | None:
        """The width of a column of vectors, 0 where it is not known, None where it holds no vectors."""

    @abstractmethod
    def _read(self, names: Sequence[str], more: str, parameters: Sequence[Any]) -> Any:
        """These columns of the rows that ``more`` selects, as an Arrow table; PRINT among them is made of the row."""

    @abstractmethod
    def _among(self, keys: Sequence[Any]) -> tuple[str, Any]:
        """The condition that a key is one of these, and its parameter."""

    @abstractmethod
    def _decoded(self, column: Any, width: int, keys: Sequence[Any]) -> tuple[np.ndarray, list[int]]:
        """A column of vectors as (m, width) float32, and the numbers of those that are missing, if they may be."""

    @abstractmethod
    def _statements(self, source: Store, width: int, column: str) -> list[str]:
        """What makes the new table."""

    @abstractmethod
    def _insert(self, connection: Any, block: Block, column: str) -> None:
        """Insert the rows of a block."""

    @abstractmethod
    def _printed(self) -> str:
        """A row's fingerprint in SQL."""

    def _key(self, name: str) -> str:
        """The key as it is compared, in SQL."""
        return quoted(name)

    def arrow_schema(self) -> Any:
        """The key and the other columns, and behind them the vectors."""
        import pyarrow as pa

        schema, none = self.schema(), f"{self._rows_of('1 = 0')} LIMIT 0"
        fields = self._read(schema.payload, none, ()).schema
        return pa.schema([*fields, pa.field(str(schema.column), pa.list_(pa.float32(), schema.width))])

    # Questions.

    @property
    def tells_changes(self) -> bool:  # type: ignore[override]
        """Where this run has read all rows itself."""
        return self._prints is not None

    def place(self) -> str:
        """The absolute path, and the table."""
        return f"{self.address.scheme}://{self.file.resolve()}/{self.name}"

    def _run(self, query: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """The rows of a statement; none where there is no file yet."""
        if not self.file.exists() and not self._writes:
            return []
        with self.guard():
            rows: list[tuple[Any, ...]] = self._connect().execute(query, list(parameters)).fetchall()
            return rows

    def _pages(self, query: str) -> Iterator[list[tuple[Any, ...]]]:
        """The rows of a statement, some at a time; no other one may be run meanwhile."""
        with self.guard():
            rows = self._connect().execute(query)
            while page := rows.fetchmany(TOGETHER):
                yield page

    def schema(self) -> Schema:
        """The only column of vectors and the only unique key, where none are named."""
        columns = self._columns(self.name)
        if not columns:
            raise Refused(f"{self}: no table {self.name!r} in {self.file}")
        vectors = {name: width for name in columns if (width := self._width(name)) is not None}
        column = self.column or (next(iter(vectors)) if len(vectors) == 1 else None)
        if column not in vectors:
            wanted = f"no column of vectors named {column!r}" if column else "name one column of vectors (column=)"
            raise Refused(f"{self}: {wanted}; there is {', '.join(vectors) or 'none'}")
        key = self.key or self._unique()
        if key not in columns or key == column:
            wanted = f"no column {key!r} for a key" if key else "no primary key of one column; name a unique one (key=)"
            raise Refused(f"{self}: {wanted}; there is {', '.join(columns)}")
        width = vectors[column] or self._first_width(column)
        return Schema(column, key, width, tuple(name for name in columns if name != column))

    @abstractmethod
    def _first_width(self, column: str) -> int:
        """The width of the first vector."""

    def _rows_of(self, *conditions: str) -> str:
        """FROM and WHERE of a query: the address's filter, and these conditions."""
        conditions = (f"({self.where}\n)",) * (self.where is not None) + conditions
        return f"FROM {quoted(self.name)} AS minivec_row" + (f" WHERE {' AND '.join(conditions)}" if conditions else "")

    def count(self) -> int:
        """The rows of the address."""
        self.schema()
        return int(self._run(f"SELECT count(*) {self._rows_of()}")[0][0])

    def check(self) -> None:
        """Every row has a vector and a key, and no two have the same key."""
        schema = self.schema()
        key, column = quoted(str(schema.key)), quoted(str(schema.column))
        rows, keys, different = self._run(f"SELECT count(*), count({key}), count(DISTINCT {key}) {self._rows_of()}")[0]
        if different < rows:
            what = f"NULL in {rows - keys} rows" if keys < rows else "not unique"
            raise Refused(f"{self}: key {schema.key!r} is {what}")
        if not self.skip_nulls:
            nulls = self._run(f"SELECT {key} {self._rows_of(f'{column} IS NULL')} ORDER BY {key} LIMIT 6")
            self.refuse("NULL instead of a vector", range(len(nulls)), [found for (found,) in nulls])

    def pin(self, version: Any = None) -> None:
        """None; the rows that a new migration reads are remembered."""
        if version is None and self._prints is None:
            self._prints = Prints()

    def blocks(self, size: int, after: Any = None, payload: bool = True) -> Iterator[Block]:
        """Rows by key; a position is the last key."""
        if after is not None:  # what lies before it is not known
            self._prints = None
        schema, sized = self.schema(), Sized(size)
        key = self._key(str(schema.key))
        while True:
            behind, before = ([f"{key} > ?"], [after]) if after is not None else ([], [])
            page = f"SELECT {key} AS k {self._rows_of(*behind)} ORDER BY k LIMIT {sized.rows}"
            last = self._run(f"SELECT max(k) FROM ({page})", before)[0][0]
            if last is None:
                return
            rows = self._rows_of(*behind, f"{key} <= ?")
            yield sized.of(self._block(rows, [*before, last], schema, payload, self._prints))
            after = last

    def _block(
        self, rows: str, parameters: Sequence[Any], schema: Schema, payload: bool, seen: Prints | None = None
    ) -> Block:
        key, column = str(schema.key), str(schema.column)
        names = [*(schema.payload if payload else (key,)), column, *([PRINT] if seen is not None else [])]
        table = self._read(names, f"{rows} ORDER BY {self._key(key)}", parameters)
        keys = table[key].to_pylist()
        if seen is not None:
            seen.add(keys, list(map(str, table[PRINT].to_pylist())))
        vectors, missing = self._decoded(table[column].combine_chunks(), schema.width, keys)
        rest = table.select(list(schema.payload)) if payload else None
        return Block(keys, vectors, rest, keys[-1] if keys else None, missing)

    def keys(self) -> Sequence[Any]:
        """All keys, in order."""
        key = self._key(str(self.schema().key))
        return [found for (found,) in self._run(f"SELECT {key} AS k {self._rows_of()} ORDER BY k")]

    def fetch(self, keys: Sequence[Any], payload: bool = True) -> Block:
        """The rows with these keys."""
        schema = self.schema()
        condition, parameter = self._among(keys)
        block = self._block(self._rows_of(f"{self._key(str(schema.key))} {condition}"), [parameter], schema, payload)
        places = {key: i for i, key in enumerate(block.keys)}
        order, without = [places[key] for key in keys if key in places], set(block.missing)
        missing = [i for i, place in enumerate(order) if place in without]
        found = [block.keys[place] for place in order]
        rest = block.payload.take(np.array(order, np.int64)) if payload else None
        return Block(found, block.vectors[order], rest, None, missing)

    def comparable(self, payload: Any) -> Sequence[Any]:
        """The rows without their vectors."""
        rows: list[Any] = payload.select(list(self.schema().payload)).to_pylist()
        return rows

    def changes(self, since: Any) -> Changes | None:
        """The rows that are otherwise than when they were read."""
        if self._prints is None:
            return None
        key = self._key(str(self.schema().key))
        rows = self._pages(f"SELECT {key}, CAST({self._printed()} AS VARCHAR) {self._rows_of()}")
        return self._prints.changes(([key for key, _ in page], [found for _, found in page]) for page in rows)

    # As a destination.

    def lock(self) -> None:
        """Hold a file beside the database."""
        self.file.parent.mkdir(parents=True, exist_ok=True)
        self._held.enter_context(locked(self.file.with_name(f".{self.file.name}.{self.name.replace('/', '_')}.lock")))
        self._writes = True

    def _state(self, name: str) -> Checkpoint | None:
        if not self._columns(MIGRATIONS):
            return None
        found = self._run(f"SELECT state FROM {MIGRATIONS} WHERE destination = ?", [name])
        return Checkpoint.from_json(found[0][0], self) if found else None

    def checkpoint(self) -> Checkpoint | None:
        """The row about the table."""
        if not self._columns(self.name):
            return None
        state = self._state(self.name)
        if state is None:
            raise Refused(f"{self}: it exists, and no migration has made it; name another table")
        return state

    def resume(self, checkpoint: Checkpoint) -> None:
        """Take over its column and key."""
        self.column, self.key = checkpoint.new_column, checkpoint.own.get("key", self.key)

    def accepts(self, source: Store) -> None:
        """Arrow data."""
        super().accepts(source)
        if "where" in self.address.options:
            raise Refused(f"{self}: where= belongs to the source")

    def _new_column(self, source: Store) -> str:
        schema, name = source.schema(), self.column or source.schema().column or "vector"
        if name in schema.payload:
            raise Refused(f"{self}: {source} has another column {name!r}; name one for the vectors (column=)")
        return name

    @contextmanager
    def _transaction(self) -> Iterator[Any]:
        with self.guard():
            connection = self._connect()
            connection.execute("BEGIN")
            try:
                yield connection
            except BaseException:
                connection.execute("ROLLBACK")
                raise
            connection.execute("COMMIT")

    def create(self, source: Store, width: int, checkpoint: Checkpoint) -> Checkpoint:
        """A table with the source's columns, and the first checkpoint."""
        column = self._new_column(source)
        state = checkpoint.but(new_column=column).keep(key=source.schema().key)
        statements = self._statements(source, width, column)
        with self._transaction() as connection:
            for statement in statements:
                connection.execute(statement)
            self._put(connection, {self.name: state})
        self.resume(state)
        return state

    def write(self, block: Block, checkpoint: Checkpoint) -> None:
        """Rows and checkpoint in one transaction."""
        with self._transaction() as connection:
            self._insert(connection, without_vectors(block, checkpoint.column), str(checkpoint.new_column))
            self._put(connection, {self.name: checkpoint})

    def replace(self, block: Block, checkpoint: Checkpoint) -> None:
        """Delete the rows and insert them anew, in one transaction."""
        with self._transaction() as connection:
            self._delete(connection, block.keys)
            self._insert(connection, without_vectors(block, checkpoint.column), str(checkpoint.new_column))

    def remove(self, keys: Sequence[Any], checkpoint: Checkpoint) -> None:
        """Delete rows and write the checkpoint, in one transaction."""
        with self._transaction() as connection:
            self._delete(connection, keys)
            self._put(connection, {self.name: checkpoint})

    def _delete(self, connection: Any, keys: Sequence[Any]) -> None:
        if len(keys):
            condition, parameter = self._among(keys)
            key = self._key(str(self.schema().key))
            connection.execute(f"DELETE FROM {quoted(self.name)} WHERE {key} {condition}", [parameter])

    def close(self) -> None:
        """Let go of the lock."""
        self._held.close()
