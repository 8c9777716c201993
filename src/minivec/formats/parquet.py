"""Parquet: a column of vectors in a file, or in all files of a folder, whose columns are unified by name."""

from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path
from typing import IO, Any
from urllib.parse import unquote

import numpy as np

from minivec.arrow import (
    decoded,
    fixed_size,
    float_bits,
    is_encoded,
    is_text,
    is_vector,
    plain_field,
    pyarrow,
    word_array,
)
from minivec.formats.base import ID, NAME, WORD, Block, Format, Rows, choose, damage_named, float_lists, refuse

HIVE_NULL = "__HIVE_DEFAULT_PARTITION__"
EXACT = 2**53  # up to here a double holds every integer
BYTES = 256 << 20  # of a block: rows may be far larger than their vectors


@dataclass
class _Part:
    """A file: its schema, its number of rows, and the values that its folders' names give (``lang=en/``).

    ``row_bytes`` are those of a row, uncompressed, in the row group where they are most.
    """

    path: Path
    schema: Any
    rows: int
    partition: dict[str, str | None]
    row_bytes: int

    @classmethod
    def of(cls, path: Path, folder: Path) -> "_Part":
        if not path.is_file():
            raise ValueError(f"{path}: not a regular file")
        with _damage(path):
            with _opened(path) as file:
                schema, rows, groups = file.schema_arrow, file.metadata.num_rows, _groups(file)
        if len(set(schema.names)) < len(schema):
            raise ValueError(f"{path}: several columns of one name")
        named = [part.partition("=") for part in path.relative_to(folder).parts[:-1]]
        values = {key: None if value == HIVE_NULL else unquote(value) for key, _, value in named}
        partition = {key: value for key, value in values.items() if key not in schema.names}
        row_bytes = max((group.total_byte_size // max(group.num_rows, 1) for group in groups), default=0)
        return cls(path, schema, rows, partition, row_bytes)

    def batches(self, size: int, columns: list[str] | None = None, start: int = 0) -> Iterator[Any]:
        """Record batches of at most ``size`` rows, from row ``start`` on; row groups before it are not read."""
        with _damage(self.path), _opened(self.path) as file:
            wanted = list(range(file.metadata.num_row_groups)) if start else None
            while wanted and start >= (rows := file.metadata.row_group(wanted[0]).num_rows):
                start -= rows
                del wanted[0]
            size = max(1, min(size, BYTES // max(self.row_bytes, 1)))
            for batch in file.iter_batches(size, row_groups=wanted, columns=columns):
                cut, start = start, max(0, start - len(batch))
                if cut < len(batch):
                    yield batch.slice(cut)

    def type_of(self, column: str) -> Any:
        """The Arrow type of a column, or None where the file has no such column or only nulls in it."""
        place = self.schema.get_field_index(column)
        return None if place < 0 or pyarrow().types.is_null(self.schema.field(place).type) else self.schema.types[place]

    def largest(self, column: str) -> int:
        """The largest magnitude of a column of integers, as far as the file's statistics tell."""
        with _damage(self.path), _opened(self.path) as file:
            chunks = [group.column(i) for group in _groups(file) for i in range(group.num_columns)]
            told = [chunk.statistics for chunk in chunks if chunk.path_in_schema == column and chunk.statistics]
            return max((abs(x) for known in told if known.has_min_max for x in (known.min, known.max)), default=0)

    def unified(self, batch: Any, schema: Any) -> list[Any]:
        """The columns of ``schema``, out of a batch of this file."""
        pa, columns = pyarrow(), []
        for field in schema:
            place = batch.schema.get_field_index(field.name)
            if place < 0:
                value = self.partition.get(field.name)
                nulls = pa.nulls(len(batch), field.type)
                columns.append(nulls if value is None else pa.repeat(value, len(batch)).cast(field.type))
            elif batch.schema.types[place] == field.type:
                columns.append(batch.column(place))
            else:
                try:
                    columns.append(batch.column(place).cast(field.type))
                except pa.ArrowException as error:
                    kind = batch.schema.types[place]
                    what = f"column {field.name!r} of {kind} as {field.type}: {error}"
                    raise ValueError(f"{self.path}: {what}") from error
        return columns


class ParquetRows(Rows):
    """One column of vectors of a Parquet file or of all files of a folder, streamed by record batches.

    The files of a folder follow one another in the order of their names. ``schema`` is that of all their columns.
    """

    column: str

    def __init__(self, path: Path, column: str | None = None):
        super().__init__(path)
        pyarrow()
        files = parquet_parts(path) if path.is_dir() else [path]
        if not files:
            raise IsADirectoryError(f"{path}: a folder without .parquet files, not a file of embeddings")
        parts = [_Part.of(file, path if path.is_dir() else file.parent) for file in files]
        self.column = self._chosen(parts, column)
        self._parts = [part for part in parts if part.rows] or parts[:1]
        self._width, dtype = self._measured()
        self.describe((sum(part.rows for part in self._parts), self._width), dtype)
        self.schema = self._unified(parts)

    def stored(self) -> int:
        """The bytes of all files."""
        return sum(part.path.stat().st_size for part in self._parts)

    def _chosen(self, parts: list[_Part], column: str | None) -> str:
        """The name of the column of vectors; ValueError where none or several fit."""
        named = {field.name: field.type for part in parts for field in part.schema}
        kinds = {name: next(filter(None, (part.type_of(name) for part in parts)), kind) for name, kind in named.items()}
        vectors = [name for name, kind in kinds.items() if is_vector(kind)]
        if column is not None and column in kinds and column not in vectors:
            if not is_encoded(kinds[column]):
                raise ValueError(f"{self.path}: column {column!r} is of type {kinds[column]}, not a list of floats")
            return column
        for name, kind in kinds.items():
            if pyarrow().types.is_struct(kind) and (not vectors or (column or "").startswith(f"{name}.")):
                what = f"column {name!r} is a struct; write its fields as columns (PyArrow's table.flatten())"
                raise ValueError(f"{self.path}: {what}")
        return choose(self.path, column, vectors, "column of float lists", "columns of float lists")

    def _measured(self) -> tuple[int, np.dtype]:
        """The width of the vectors, the same in all files, and their widest type."""
        widths: dict[int, _Part] = {}
        dtypes = []
        for part in self._parts:
            kind = part.type_of(self.column)
            if part.rows and self.column not in part.schema.names:
                raise ValueError(f"{part.path}: no column {self.column!r}, which other files of {self.path} have")
            if kind is None:
                continue
            if not (is_vector(kind) or is_encoded(kind)):
                raise ValueError(f"{part.path}: column {self.column!r} is of type {kind}, not a list of floats")
            if width := self._part_width(part):
                widths.setdefault(width, part)
            dtypes.append(np.dtype(f"f{float_bits(kind) // 8}"))
        (width, first), *others = widths.items() or [(0, self._parts[0])]
        for other, part in others:
            raise ValueError(
                f"{part.path}: column {self.column!r} has {other} dimensions where {first.path} has {width}"
            )
        return width, np.result_type(*dtypes) if dtypes else np.dtype("f4")

    def _part_width(self, part: _Part) -> int:
        """The width that a file's schema or its first vector tells; 0 where there is none."""
        if size := fixed_size(part.type_of(self.column)):
            return size
        rows = 0
        for batch in part.batches(1024, [self.column]):
            lists = decoded(batch[self.column], partial(self._refuse, part, rows))
            lengths = pyarrow().compute.list_value_length(lists).fill_null(0).to_numpy(zero_copy_only=False)
            rows += len(batch)
            if lengths.any():
                return int(lengths[np.flatnonzero(lengths)[0]])
        if part.rows and not rows:
            raise ValueError(f"{part.path}: damaged, it claims {part.rows} rows and has none")
        return 0

    def _unified(self, parts: list[_Part]) -> Any:
        """One schema for the columns of all files, by name: the types are widened, and missing values are null."""
        pa = pyarrow()
        fields: dict[str, Any] = {}
        for part in parts:
            hive = [pa.field(name, pa.string()) for name in part.partition]
            for field in [*part.schema, *hive]:
                known = fields.get(field.name, field)
                fields[field.name] = field if field.name == self.column else _merged(known, field, part, parts[0])
        for part in self._parts:
            for field in part.schema:
                to_double = pa.types.is_integer(field.type) and pa.types.is_floating(fields[field.name].type)
                if to_double and part.largest(field.name) > EXACT:
                    raise ValueError(f"{part.path}: column {field.name!r} has integers that double cannot hold")
        for name, field in fields.items():
            if any(name not in part.schema.names for part in parts):
                fields[name] = field.with_nullable(True)
        kinds = {part.type_of(self.column) for part in self._parts}
        vectors = self._parts[0].schema.field(self.column)
        if len(kinds) > 1:
            vectors = plain_field(vectors).with_type(pa.list_(pa.float32(), self._width))
        fields[self.column] = vectors
        return pa.schema(fields.values(), metadata=parts[0].schema.metadata)

    def read(self, size: int) -> Iterator[Block]:
        """Blocks of rows as they lie there, each with a record batch of all columns."""
        return self.read_from(0, size)

    def read_from(self, start: int, size: int) -> Iterator[Block]:
        """Blocks of the rows from ``start`` on."""
        return _joined(self._read(start, size), size)

    def _read(self, start: int, size: int) -> Iterator[Block]:
        pa = pyarrow()
        place = self.schema.get_field_index(self.column)
        for part in self._parts:
            first, start = start, max(0, start - part.rows)
            if first and first >= part.rows:
                continue
            others = self.schema.remove(place)
            for batch in part.batches(size, start=first):
                column = batch[self.column]
                if pa.types.is_null(column.type):
                    column = pa.nulls(len(batch), pa.list_(pa.float32(), self._width))
                refused = partial(self._refuse, part, first)
                vectors = float_lists(
                    decoded(column, refused), self._width, f"{part.path} ({self.column})", first, self.lenient
                )
                columns = part.unified(batch, others)
                if column.type != self.schema.types[place]:
                    flat = np.ascontiguousarray(vectors, np.float32).ravel()
                    column = pa.FixedSizeListArray.from_arrays(flat, self._width)
                columns.insert(place, column)
                yield vectors, pa.RecordBatch.from_arrays(columns, schema=self.schema)
                first += len(batch)

    def _refuse(self, part: _Part, first: int, what: str, rows: Any) -> None:
        length = int(max(rows)) + 1 if len(rows) else 0
        refuse(f"{part.path} ({self.column})", f"{what} in", rows, range(first, first + length))

    def words(self, batch: Any) -> list[str]:
        """The words in the column "word"."""
        if WORD not in batch.schema.names or not is_text(batch.schema.field(WORD).type):
            return super().words(batch)
        words: list[str] = batch[WORD].to_pylist()
        if None in words:
            raise ValueError(f"{self}: null in the column {WORD!r}")
        return words


def _joined(blocks: Iterator[Block], size: int) -> Iterator[Block]:
    """The same rows, with the blocks of small files joined to blocks of at most ``size`` rows and BYTES bytes."""
    held: list[Block] = []
    rows = taken = 0
    for block in blocks:
        more = block[0].nbytes + block[1].nbytes
        if held and (rows + len(block[0]) > size or taken + more > BYTES):
            yield _one(held)
            held, rows, taken = [], 0, 0
        held.append(block)
        rows, taken = rows + len(block[0]), taken + more
    if held:
        yield _one(held)


def _one(blocks: list[Block]) -> Block:
    if len(blocks) == 1:
        return blocks[0]
    vectors, batches = zip(*blocks, strict=True)
    return np.concatenate(vectors), pyarrow().concat_batches(batches)


def _groups(file: Any) -> list[Any]:
    return [file.metadata.row_group(i) for i in range(file.metadata.num_row_groups)]


def _opened(path: Path) -> Any:
    # Unbuffered it would hold whole row groups in memory.
    return pyarrow().parquet.ParquetFile(path, buffer_size=1 << 20, pre_buffer=False)


def _damage(path: Path) -> AbstractContextManager[None]:
    return damage_named(path, ".parquet", pyarrow().lib.ArrowException, OSError)


def _merged(one: Any, other: Any, part: _Part, first: _Part) -> Any:
    """A field that holds the values of both, or ValueError."""
    pa = pyarrow()
    if one.type == other.type:
        return one.with_nullable(one.nullable or other.nullable)
    if is_text(one.type) and is_text(other.type):
        return one.with_type(pa.large_string()).with_nullable(one.nullable or other.nullable)
    try:
        return pa.unify_schemas([pa.schema([one]), pa.schema([other])], promote_options="permissive").field(0)
    except pa.ArrowException:
        raise ValueError(
            f"{part.path}: column {one.name!r} is of type {other.type}, and in {first.path} or others of {one.type}"
        ) from None


def parquet_parts(folder: Path) -> list[Path]:
    """The Parquet files of a folder by name, then those of its folders with names such as ``lang=en``.

    Hidden files are left out: they are still being written.
    """
    files = sorted(path for path in folder.glob("*.parquet") if not path.name.startswith((".", "_")))
    return files + [
        file for inner in sorted(folder.glob("[!._]*=*")) if inner.is_dir() for file in parquet_parts(inner)
    ]


def _write(file: IO[bytes], blocks: Iterator[Block], rows: Rows) -> None:
    pa, parquet = pyarrow(), pyarrow().parquet
    first = next(blocks)
    width = first[0].shape[1]
    kind = pa.list_(pa.float32(), width)
    schema, place = pa.schema([pa.field(rows.column or NAME, kind)]), 0
    ids = isinstance(first[1], list) and isinstance(first[1][0], int)
    if isinstance(first[1], list):
        schema, place = schema.insert(0, pa.field(ID, pa.int64()) if ids else pa.field(WORD, pa.string())), 1
    elif first[1] is not None:
        place = first[1].schema.get_field_index(rows.column)
        schema = first[1].schema.set(place, plain_field(first[1].schema.field(place)).with_type(kind))
    with parquet.ParquetWriter(file, schema) as writer:
        for vectors, batch in chain([first], blocks):
            if isinstance(batch, list):
                columns = [pa.array(batch, pa.int64()) if ids else word_array(batch, rows), None]
            else:
                columns = [None] if batch is None else batch.columns
            without = np.isnan(vectors[:, 0])  # rows that --skip-bad-rows keeps without a vector
            mask = pa.array(without) if without.any() else None
            columns[place] = pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), width, mask=mask)
            # A row group of its own: write_batch would keep a million rows in memory for the next one.
            writer.write_table(pa.Table.from_arrays(columns, schema=schema))


FORMAT = Format(ParquetRows, _write, nulls=True)
