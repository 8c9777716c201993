"""Parquet: a column of lists in a file, or in all files of a folder."""

from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import IO, Any

import numpy as np

from minivec.arrow import is_vector, pyarrow
from minivec.formats.base import NAME, WORD, Block, Format, Rows, choose, float_lists


class ParquetRows(Rows):
    """One column of lists of floats of a Parquet file, streamed by record batches."""

    def __init__(self, path: Path, column: str | None):
        super().__init__(path)
        self._errors = (pyarrow().lib.ArrowException, OSError)
        with self.damage_named(*self._errors):  # unbuffered it would hold whole row groups in memory
            self._file = pyarrow().parquet.ParquetFile(path, buffer_size=1 << 20, pre_buffer=False)
            schema = self._file.schema_arrow
        fields = {field.name: field.type for field in schema}
        if len(fields) < len(schema):
            raise ValueError(f"{path}: several columns of one name")
        vectors = [name for name, kind in fields.items() if is_vector(kind)]
        if column in fields and column not in vectors:
            raise ValueError(f"{path}: column {column!r} is of type {fields[column]}, not a list of floats")
        self.column = choose(path, column, vectors, "column of float lists", "columns of float lists")
        kind, n = fields[self.column], self._file.metadata.num_rows
        self._width = getattr(kind, "list_size", 0)
        if n and not self._width:
            with self.damage_named(*self._errors):
                first = next(self._file.iter_batches(1, columns=[self.column]), [None])[0]
            if first is None:
                raise ValueError(f"{path}: damaged, it claims {n} rows and has none")
            self._width = len(first[0].as_py() or ())
            float_lists(first, self._width, self)
        self.describe((n, self._width), np.dtype(f"f{kind.value_type.bit_width // 8}"))

    def read(self, size: int) -> Iterator[Block]:
        """Blocks of rows as they lie there."""
        first = 0
        with self.damage_named(*self._errors):
            for batch in self._file.iter_batches(size):
                yield float_lists(batch[self.column], self._width, self, first), batch
                first += len(batch)

    def words(self, batch: Any) -> list[str]:
        """Those in the column "word"."""
        if WORD not in batch.schema.names or not pyarrow().types.is_string(batch.schema.field(WORD).type):
            return super().words(batch)
        words: list[str] = batch[WORD].to_pylist()
        if None in words:
            raise ValueError(f"{self}: null in the column {WORD!r}")
        return words


class ParquetFolderRows(Rows):
    """One column of all .parquet files of a folder, in the order of their names."""

    def __init__(self, path: Path, column: str | None):
        super().__init__(path)
        files = parquet_parts(path)
        if not files:
            raise IsADirectoryError(f"{path}: a folder without .parquet files, not a file of embeddings")
        self._parts = [ParquetRows(file, column) for file in files]
        self.column, width = self._parts[0].column, self._parts[0].shape[1]
        for part in self._parts:
            if (part.column, part.shape[1]) != (self.column, width):
                raise ValueError(f"{part}: {part.shape[1]} dimensions where {self._parts[0]} has {width}")
        self.describe((sum(part.shape[0] for part in self._parts), width), self._parts[0].dtype)

    def words(self, batch: Any) -> list[str]:
        """Those in the column "word"."""
        return self._parts[0].words(batch)

    def read(self, size: int) -> Iterator[Block]:
        """Blocks of rows as they lie there."""
        for part in self._parts:
            yield from part.read(size)


def parquet_parts(folder: Path) -> list[Path]:
    """The Parquet files of a folder by name, but for hidden ones, which are still being written."""
    return sorted(path for path in folder.glob("*.parquet") if not path.name.startswith((".", "_")))


def _write(file: IO[bytes], blocks: Iterator[Block], rows: Rows) -> None:
    pa, parquet = pyarrow(), pyarrow().parquet
    first = next(blocks)
    width = first[0].shape[1]
    schema = pa.schema([pa.field(rows.column or NAME, pa.list_(pa.float32(), width))])
    place = 0
    if isinstance(first[1], list):
        schema, place = schema.insert(0, pa.field(WORD, pa.string())), 1
    elif first[1] is not None:
        place = first[1].schema.get_field_index(rows.column)
        schema = first[1].schema.set(place, first[1].schema.field(place).with_type(schema.field(0).type))
    with parquet.ParquetWriter(file, schema) as writer:
        for vectors, batch in chain([first], blocks):
            columns = [None] if batch is None else [batch, None] if isinstance(batch, list) else batch.columns
            columns[place] = pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), width)
            # A row group of its own: write_batch would keep a million rows in memory for the next one.
            writer.write_table(pa.Table.from_arrays(columns, schema=schema))


FORMAT = Format(ParquetRows, _write)
