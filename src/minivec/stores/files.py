"""Embeddings in files as a store: row numbers are the keys, and a destination grows beside its final name."""

import os
from abc import abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

from minivec import files
from minivec.arrow import word_array
from minivec.settings import FIT_ROWS
from minivec.stores.address import Address
from minivec.stores.arrow import joined, picked, with_vectors
from minivec.stores.base import Block, Changes, Schema, Store, locked
from minivec.stores.checkpoint import Checkpoint
from minivec.stores.errors import Refused
from minivec.stores.renaming import STATE, RenamedFile

STATE_INSIDE = "_migration.json"  # in a folder
HEADERS = {suffix: known.header for suffix, known in files.FORMATS.items() if known.header}


class FileStore(RenamedFile, Store):
    """What files have in common: how they are read, and a checkpoint of two parts.

    The state that a migration began with lies in ``_state``; how far it has come is the number of rows that are there.
    """

    kind = "array"
    fetched = FIT_ROWS  # whose every fetch reads the file
    keeps_nulls = True  # as a row of NaN, or as null where the format has it
    numbered = True
    tells_changes = fixed = True  # by size and time

    def __init__(self, address: Address, path: Path, column: str | None):
        super().__init__(address)
        self.path, self.column = path, column
        self._opened: files.Rows | None = None
        self._held = ExitStack()

    def __str__(self) -> str:
        return str(self.path)

    @property
    def _rows(self) -> files.Rows:
        if self._opened is None:
            self._opened = files.open_rows(self.path, self.column)
        return self._opened

    @property
    def _state(self) -> Path:
        return self.path.with_name(f"{self.path.name}{STATE}")

    def schema(self) -> Schema:
        """The width and the column are the file's."""
        return Schema(self._rows.column, None, self._rows.shape[1], self._payload())

    def _payload(self) -> tuple[str, ...]:
        return ()

    def count(self) -> int:
        """The rows that the file says it has."""
        return self._rows.shape[0]

    def pin(self, version: Any = None) -> Any:
        """A file is its size and the time it was changed; another one is not read on."""
        folder = self.path if self.path.is_dir() else self.path.parent
        stats = [(file.relative_to(folder).as_posix(), file.stat()) for file in self._files()]
        now = [[name, stat.st_size, stat.st_mtime_ns] for name, stat in stats]
        if version not in (None, now):
            raise Refused(f"{self}: changed since the migration began")
        return now

    def changes(self, since: Any) -> Changes:
        """None; ValueError where the file is another one."""
        return Changes([], [], self.pin(since))

    def _files(self) -> list[Path]:
        return [self.path]

    def blocks(self, size: int, after: Any = None, payload: bool = True) -> Iterator[Block]:
        """Rows in order; a position is the number of rows before it."""
        start = after or 0
        self._rows.lenient = self.skip_nulls
        for vectors, batch in self._rows.unchecked(size, start):
            missing = np.flatnonzero(np.isnan(vectors).all(1)).tolist() if self.skip_nulls else []
            first, start = start, start + len(vectors)
            yield Block(range(first, start), vectors, batch, start, missing)

    def keys(self) -> Sequence[int]:
        """Row numbers."""
        return range(self.count())

    def fetch(self, keys: Sequence[int], payload: bool = True) -> Block:
        """The rows with these numbers. What lies before the first and behind the last of them is not read."""
        numbers = np.asarray(keys, int)
        if (gone := numbers >= self.count()).any():
            numbers = numbers[~gone]
            keys = numbers.tolist()
        order = np.argsort(numbers, kind="stable")
        wanted, column = numbers[order], self._rows.column
        vectors, place = np.empty((len(wanted), self._rows.shape[1]), np.float32), 0
        rest: list[Any] = []
        for block in self.blocks(16384, int(wanted[0]) if len(wanted) else 0):
            end = int(np.searchsorted(wanted, block.position))
            here = wanted[place:end] - block.keys[0]
            vectors[place:end] = block.vectors[here]
            rest.append(picked(block.payload, here, column))
            place = end
            if place == len(wanted):
                break
        back = np.argsort(order, kind="stable")
        vectors = vectors[back]
        missing = np.flatnonzero(np.isnan(vectors).all(1)).tolist() if self.skip_nulls else []
        return Block(keys, vectors, joined(rest, back), None, missing)

    def values(self, column: str) -> Any:
        """One column of the rows, as Arrow."""
        return self.client("pyarrow").chunked_array([block.payload[column] for block in self.blocks(16384)])

    def change(self) -> None:
        """Refused: a file only grows."""
        raise Refused(f"{self}: rows that are written cannot be changed")

    def place(self) -> str:
        """The absolute path."""
        return str(self.path.resolve())

    def checkpoint(self) -> Checkpoint | None:
        """The state that the migration began with, and the rows that are there."""
        if not self._state.exists():
            if self._exists():
                raise Refused(f"{self}: it exists, and no migration has made it; name another destination")
            return None
        state = Checkpoint.from_json(self._state.read_bytes(), self)
        rows = self._written(state)
        return state.but(rows=rows, position=rows)

    def create(self, source: Store, width: int, checkpoint: Checkpoint) -> Checkpoint:
        """Note the state, and what it takes to go on from it."""
        state = self._begin(source, width, checkpoint)
        self.note(state)
        self.resume(state)
        return state

    def note(self, checkpoint: Checkpoint, **own: Any) -> None:
        """Write the state with these values, whole or not at all."""
        with files.replacing(self._state) as temporary:
            temporary.write_text(checkpoint.keep(**own).to_json())

    def lock(self) -> None:
        """Hold a file beside the destination; an error where none can be made there."""
        lock = self.path.with_name(f".{self.path.name}.lock")
        files.check_output(lock, (".lock",))
        self._held.enter_context(locked(lock))

    def close(self) -> None:
        """Let go of the lock."""
        self._held.close()

    def _exists(self) -> bool:
        return self.path.exists()

    @abstractmethod
    def _begin(self, source: Store, width: int, state: Checkpoint) -> Checkpoint:
        """Make what the first block needs; the state with what the store keeps for itself."""

    @abstractmethod
    def _written(self, state: Checkpoint) -> int:
        """The rows that are there."""


class ArrayStore(FileStore):
    """A .npy, .npz or .safetensors file: one array, and nothing beside it. An .npz cannot be a destination.

    A destination grows as a hidden file and gets its name when it has all its rows.
    """

    @property
    def _partial(self) -> Path:
        return self.path.with_name(f".{self.path.name}.partial")

    def accepts(self, source: Store) -> None:
        """Only what has no payload that would be lost."""
        if self.path.suffix.lower() not in HEADERS:
            raise Refused(f"{self}: a destination is a {' or '.join(HEADERS)} file, or a folder for Parquet files")
        if source.schema().payload or source.kind not in ("array", "arrow"):
            raise Refused(f"{self}: {source} has more than vectors, which this file cannot keep")

    def _begin(self, source: Store, width: int, state: Checkpoint) -> Checkpoint:
        name = self.column or source.schema().column or files.NAME
        with open(self._partial, "wb") as file:
            HEADERS[self.path.suffix.lower()](file, (state.count, width), name)
            state = state.keep(start=file.tell(), row_bytes=4 * width)
        return state.but(new_column=name if files.takes_column(self.path) else None)

    def _written(self, state: Checkpoint) -> int:
        if self._partial.exists():
            return max(0, self._partial.stat().st_size - state.own["start"]) // state.own["row_bytes"]
        if self.path.exists():
            return state.count
        raise Refused(f"{self}: it is gone, but {self._state.name} is there; remove that file to migrate anew")

    def write(self, block: Block, checkpoint: Checkpoint) -> None:
        """Append rows behind those that were there before; what lay there is cut off. No vector is a row of NaN."""
        rows, own = self._packed(block, checkpoint), checkpoint.own
        with open(self._partial, "rb+") as file:
            file.truncate(own["start"] + (checkpoint.rows - len(rows)) * own["row_bytes"])
            file.seek(0, os.SEEK_END)
            file.write(rows.data)
            file.flush()
            os.fsync(file.fileno())

    def _packed(self, block: Block, state: Checkpoint) -> np.ndarray:
        """The rows as they lie in the file."""
        rows = np.array(block.vectors, "<f4", order="C")
        rows[np.asarray(block.missing, int)] = np.nan
        return rows

    def finish(self) -> None:
        """Give the file its name."""
        if self._partial.exists():
            self._partial.replace(self.path)


class ParquetStore(FileStore):
    """A .parquet file, or a folder of them. A destination is a folder, and a block is a file in it."""

    kind = "arrow"
    extra = "parquet"

    @property
    def _state(self) -> Path:
        return self.path / STATE_INSIDE

    def _payload(self) -> tuple[str, ...]:
        names = self.arrow_schema().names
        return tuple(name for name in names if name != self._rows.column)

    def arrow_schema(self) -> Any:
        """The schema that the columns of all files have in common."""
        rows: Any = self._rows
        return rows.schema

    def _files(self) -> list[Path]:
        return files.parquet_parts(self.path) if self.path.is_dir() else [self.path]

    def accepts(self, source: Store) -> None:
        """Arrow data, and arrays."""
        if self.path.suffix.lower() == ".parquet":
            raise Refused(f"{self}: a destination is a folder for Parquet files, so that it can be resumed")
        if source.kind != "array":
            super().accepts(source)

    def _exists(self) -> bool:
        return self.path.exists() and (not self.path.is_dir() or any(self.path.iterdir()))

    def _new_column(self, source: Store) -> str:
        return self.column or source.schema().column or files.NAME

    def plan(self, source: Store, width: int) -> None:
        """Refused where the vectors would have the name of another column."""
        if (name := self._new_column(source)) in source.schema().payload:
            raise Refused(f"{self}: {source} has another column {name!r}; name one for the vectors (?column=)")

    def _begin(self, source: Store, width: int, state: Checkpoint) -> Checkpoint:
        self.path.mkdir(exist_ok=True)
        return state.but(new_column=self._new_column(source))

    def _written(self, state: Checkpoint) -> int:
        read = self.client("pyarrow.parquet").read_metadata
        return sum(read(path).num_rows for path in self._files())

    def write(self, block: Block, checkpoint: Checkpoint) -> None:
        """A file, whole or not at all, named by the number of its first row."""
        table = with_vectors(block, checkpoint.column, str(checkpoint.new_column))
        with files.replacing(self.path / f"part-{checkpoint.rows - len(block.keys):012d}.parquet") as temporary:
            self.client("pyarrow.parquet").write_table(table, temporary)
        self._opened = None


class WordStore(ArrayStore):
    """A .vec or .bin file, whose words are a column "word" where they go to. It cannot be a destination."""

    kind = "arrow"
    extra = "parquet"

    def _payload(self) -> tuple[str, ...]:
        return (files.WORD,)

    def arrow_schema(self) -> Any:
        """The words'."""
        pa = self.client("pyarrow")
        return pa.schema([(files.WORD, pa.string())])

    def blocks(self, size: int, after: Any = None, payload: bool = True) -> Iterator[Block]:
        """Rows in order, with their words as a record batch; a position is the number of rows before it."""
        pa, schema = self.client("pyarrow"), self.arrow_schema()
        for block in super().blocks(size, after):
            words = word_array(block.payload, self)
            yield block._replace(payload=pa.record_batch([words], schema))
