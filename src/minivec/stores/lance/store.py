"""LanceDB, embedded: ``lance://FOLDER/TABLE?column=...&key=...&where=SQL``."""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from minivec.files import is_vector
from minivec.stores.address import Address
from minivec.stores.arrow import read_vectors, rebatched, with_vectors
from minivec.stores.base import Block, Changes, Schema, Store, locked
from minivec.stores.blocks import Sized
from minivec.stores.checkpoint import Checkpoint
from minivec.stores.errors import Refused
from minivec.stores.lance import versions
from minivec.stores.lance.columns import STATE, UNFIT, UNREADABLE, check_names, functions, new_schema
from minivec.stores.renaming import RenamedTable


class LanceStore(RenamedTable, Store):
    """A table. Its rows have a lasting order and its versions stay readable, so row numbers of a version are the keys.

    A column named by ``key`` is checked to be unique, and is what errors name. A destination is a new table; every
    block is one atomic commit, so the rows in it are the checkpoint. The other tables, and indexes, are left alone.
    The version that a migration reads has a tag until all its rows are read.
    """

    kind = "arrow"
    extra = "lancedb"
    keeps_nulls = numbered = True

    def __init__(self, address: Address):
        super().__init__(address)
        self.folder, self.name = address.split()
        self.column, self.key, self.where = address.take("column", "key", "where")
        self._tables: dict[Any, Any] = {}
        self._ids: dict[Any, np.ndarray] = {}
        self._version: int | None = None
        self._gone: dict[str, Any] | None = None
        self._tag: str | None = None
        self._changing, self._held = False, ExitStack()

    @property
    def tells_changes(self) -> bool:  # type: ignore[override]
        """As long as the version that was read is there."""
        return self._gone is None

    def place(self) -> str:
        """The absolute path."""
        return f"lance://{(self.folder / self.name).resolve()}"

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
        check_names(self, fields, UNREADABLE)
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
            first = self._table().search().where(f"`{column}` IS NOT NULL").select([column]).limit(1).to_arrow()
        return len(first[column][0].as_py() or ()) if len(first) else 0

    def _rows(self, version: int | None) -> Any:
        """A query for the rows of the address."""
        query = self._table(version).search()
        return query if self.where is None else query.where(self.where)

    def count(self) -> int:
        """Rows of the newest version."""
        with self.guard():
            return self._table().count_rows(self.where)

    def check(self) -> None:
        """Every row has a vector, and keys are unique and not null, if there is a key."""
        column = str(self.schema().column)
        if not self.skip_nulls:
            with self.guard():
                only = "" if self.where is None else f"({self.where}) AND "
                nulls = self._table().count_rows(f"{only}`{column}` IS NULL")
            if nulls:
                deque(self.blocks(8_192), 0)  # which names the first of them
        if self.key is None:
            return
        keys = self.values(self.key)
        counts = keys.value_counts()
        for name, bad in (("null", keys.null_count), ("duplicate", len(keys) - len(counts))):
            if bad:
                twice = "" if name == "null" else f", such as {counts.sort(by='counts')[-1]['values'].as_py()!r}"
                raise Refused(f"{self}: key {self.key!r} has {bad} {name} values{twice}")

    def pin(self, version: Any = None) -> Any:
        """The version that is read from now on, with its number, its time, its rows and the tag that keeps it."""
        if version is not None:
            return self._pin_again(version if isinstance(version, dict) else {"number": int(version)})
        with self.guard():
            table = self._table()
            self._version, self._tag = table.version, versions.tagged(table)
            return versions.named(self._table(self._version), len(self.keys()), self._tag)

    def _pin_again(self, version: dict[str, Any]) -> dict[str, Any]:
        """The version of an earlier run; where it is gone, the newest one, of which nothing may be read."""
        with self.guard():
            newest, made = self._table().version, versions.made(self._table(), version["number"])
        anew = newest < version["number"] if made is None else made != version.get("made", made)
        if anew:
            raise Refused(f"{self}: the table was made anew since the migration began; name another destination")
        self._gone = version if made is None else None
        self._version, self._tag = (None, None) if made is None else (version["number"], version.get("tag"))
        return version

    def changes(self, since: Any) -> Changes | None:
        """Row numbers, in the newest version, of rows that the pinned one has not, and in that one of rows now gone."""
        if self._gone is not None:
            return None
        with self.guard():
            number = self._table().version
            old, new = self._table(self._version), self._table(number)
            if old.version == number:
                return Changes([], [], since)
            ids = self._numbers(number)
            written, deleted = versions.differences(old, self._numbers(self._version), new, ids)
            self._version = number
            return Changes(written, deleted, versions.named(new, len(ids)))

    def blocks(self, size: int, after: Any = None, payload: bool = True) -> Iterator[Block]:
        """Rows in the table's order; a position is the number of rows before it."""
        start = after or 0
        if self._gone is not None:
            if 0 < start < self._gone.get("rows", start + 1):
                number = self._gone["number"]
                raise Refused(f"{self}: version {number}, which the migration reads, is gone; name another destination")
            if start:
                return
        sized = Sized(size)
        first = self._read(lambda: self._rows(self._version).offset(start).limit(sized.rows), sized.rows, start)
        for block in first:  # by which the rest is measured: a scan has batches of one size
            sized.of(block)
        yield from self._read(lambda: self._rows(self._version).offset(start), sized.rows, start)
        self._let_go()

    def head(self, size: int) -> Block | None:
        """The first rows: a scan that knows its end reads no others ahead."""
        return next(self._read(lambda: self._rows(self._version).limit(size), size, 0), None)

    def _read(self, query: Callable[[], Any], size: int, start: int) -> Iterator[Block]:
        """The rows of a query, from the row of number ``start`` on."""
        schema = self.schema()
        with self.guard():
            batches = query().to_batches(batch_size=size)
        for batch in rebatched(self._guarded(iter(batches)), size):
            keys = range(start, start + len(batch))
            start += len(batch)
            vectors, missing = read_vectors(batch[schema.column], schema.width, keys, self)
            yield Block(keys, vectors, batch, start, missing)

    def comparable(self, payload: Any) -> Sequence[Any]:
        """The rows without their vectors."""
        return [{name: row[name] for name in self.schema().payload} for row in payload.to_pylist()]

    def _let_go(self) -> None:
        """Remove the tag of a version that has been read to its end: it would stand in the way of ``optimize``."""
        with self.guard():
            if self._tag is not None and self._tag in self._table().tags.list():
                self._table().tags.delete(self._tag)
        self._tag = None

    def _guarded(self, batches: Iterator[Any]) -> Iterator[Any]:
        while True:
            with self.guard():
                batch = next(batches, None)
            if batch is None:
                return
            yield batch

    def _numbers(self, version: int | None) -> np.ndarray:
        """The ids of a version's rows, in order."""
        number = self._table(version).version
        if number not in self._ids:
            self._ids[number] = versions.row_ids(self._rows(version))
        return self._ids[number]

    def keys(self) -> Sequence[int]:
        """Row numbers of the version that is read."""
        with self.guard():
            if self.where is not None:
                return range(len(self._numbers(self._version)))
            return range(self._table(self._version).count_rows())

    def values(self, column: str) -> Any:
        """One column of the rows that are read, as Arrow."""
        with self.guard():
            return self._rows(self._version).select([column]).to_arrow()[column]

    def fetch(self, keys: Sequence[int], payload: bool = True) -> Block:
        """The rows with these numbers; without those that are not there."""
        schema = self.schema()
        names = [*(schema.payload if payload else ()), str(schema.column)]
        with self.guard():
            ids = self._numbers(self._version)
            keys = [key for key in keys if key < len(ids)]
            table = versions.taken(self._table(self._version), ids[np.asarray(keys, int)], names)
        vectors, missing = read_vectors(table[schema.column].combine_chunks(), schema.width, keys, self)
        return Block(keys, vectors, table.select(names[:-1]) if payload else None, None, missing)

    def named(self, keys: Sequence[int]) -> Sequence[Any]:
        """The values of the key column in these rows, if there is one."""
        if self.key is None or not len(keys):
            return keys
        with self.guard():
            rows = self._numbers(self._version)[np.asarray(keys, int)]
            return versions.taken(self._table(self._version), rows, [self.key])[self.key].to_pylist()

    def lock(self) -> None:
        """Hold a file beside the table."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self._held.enter_context(locked(self.folder / f".{self.name}.lock"))

    def accepts(self, source: Store) -> None:
        """Arrow data, and arrays."""
        if source.kind != "array":
            super().accepts(source)
        check_names(self, [*source.schema().payload, self._new_column(source)], UNFIT)

    def checkpoint(self) -> Checkpoint | None:
        """The state that the table was made with or that it has caught up with, and the rows that are in it."""
        if not self._exists():
            return None
        with self.guard():
            table = self._table(versions.unfinished(self._table()))
            schema, rows = table.schema, table.count_rows()
        noted = (schema.metadata or {}).get(STATE)
        if noted is None:
            raise Refused(f"{self}: it exists, and no migration has made it; name another table")
        state = Checkpoint.from_json(noted, self)
        later = (schema.field(state.new_column).metadata or {}).get(STATE)
        if later is not None:
            state = Checkpoint.from_json(later, self)
        return state.but(rows=rows, position=rows)

    def create(self, source: Store, width: int, checkpoint: Checkpoint) -> Checkpoint:
        """A table with the source's columns, in their order."""
        state = checkpoint.but(new_column=self._new_column(source))
        self._make(self.folder, source, width, state)
        self.resume(state)
        return state

    def _new_column(self, source: Store) -> str:
        schema, name = source.schema(), self.column or source.schema().column or "vector"
        if name in schema.payload:
            raise Refused(f"{self}: {source} has another column {name!r}; name one for the vectors (column=)")
        return name

    def _make(self, folder: Path, source: Store, width: int, state: Checkpoint) -> Any:
        """The new table, in this folder."""
        made = new_schema(getattr(source, "arrow_schema", lambda: None)(), width, state)
        with self.guard():
            return self.client("lancedb").connect(str(folder)).create_table(self.name, schema=made)

    def rehearse(self, source: Store, width: int, block: Block) -> list[str]:
        """Make the table and write the block in a folder that is removed again."""
        column, name = source.schema().column, self._new_column(source)
        with TemporaryDirectory(prefix="minivec-lance-", ignore_cleanup_errors=True) as folder:
            table = self._make(Path(folder), source, width, Checkpoint("", "", 0, column=column, new_column=name))
            with self.guard():
                table.add(with_vectors(block, column, name))
        return self.losses(source)

    def losses(self, source: Store) -> list[str]:
        """What the new table has not."""
        names = ", ".join(functions(source.arrow_schema())) if isinstance(source, LanceStore) else ""
        with self.guard():
            made = source._table().list_indices() if isinstance(source, LanceStore) else []
        indexes = ", ".join(index.name for index in made)
        left = f"embedding functions ({names}) are left out: they would embed rows and queries by the old model"
        unmade = f"indexes ({indexes}) are not made: make them when all rows are there"
        return [*([left] if names else []), *([unmade] if indexes else [])]

    def write(self, block: Block, checkpoint: Checkpoint) -> None:
        """Append rows, in one commit, to as many as the state counts before them."""
        table, before = self._table(), checkpoint.rows - len(block.keys)
        if self.count() != before:
            raise Refused(f"{self}: {self.count()} rows where the migration has written {before}")
        with self.guard():
            table.add(with_vectors(block, checkpoint.column, str(checkpoint.new_column)))

    def replace(self, block: Block, checkpoint: Checkpoint) -> None:
        """Append rows that are new or changed; ``remove`` takes away the old ones."""
        self.change()
        with self.guard():
            self._table().add(with_vectors(block, None, str(checkpoint.new_column)))

    def remove(self, keys: Sequence[int], checkpoint: Checkpoint) -> None:
        """Delete rows by their numbers before the change, and note the version that the table has caught up with."""
        self.change()
        with self.guard():
            table = self._table()
            versions.deleted(table, versions.row_ids(table.search())[np.asarray(keys, int)])
            versions.note(table, str(checkpoint.new_column), {STATE.decode(): checkpoint.to_json()})
            table.tags.delete(versions.CATCHING_UP)
        self._changing = False

    def change(self) -> None:
        """Keep the present version until all changes are done: a run that is killed meanwhile begins them anew."""
        if not self._changing:
            with self.guard():
                versions.begin(self._table())
            self._changing = True

    def close(self) -> None:
        """Let go of the lock and the handles."""
        self._held.close()
        self._tables.clear()
        self._ids.clear()
