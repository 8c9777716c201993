"""Where embeddings come from and go to: .npy, .npz, safetensors, Parquet and word2vec files, in blocks of rows."""

import csv
import json
import os
import zipfile
import zlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import chain, islice
from pathlib import Path
from tokenize import TokenError
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy

from minivec.extras import missing
from minivec.validation import constant, not_finite

WORD_SUFFIXES = (".vec", ".bin")
SUFFIXES = (".npy", ".npz", ".safetensors", ".parquet", *WORD_SUFFIXES)
NAME = "embedding"  # of the array or column of an output whose input has no name for it
WORD = "word"  # the column of a Parquet file that holds the words of its rows

# Rows may take this many times the bytes of their file, or this many bytes: more is a decompression bomb, and real
# embeddings compress at most a few times.
EXPANSION, ALWAYS_FINE = 100, 256 << 20

CHUNK = 1 << 20  # bytes of a word2vec file read at a time, and more than any word has

SAFETENSORS = {"F16": "<f2", "F32": "<f4", "F64": "<f8"}

STREAM_ERRORS = (zipfile.BadZipFile, zlib.error, EOFError, OSError, RuntimeError)

# Some rows as float32 (m, d), and what else there is of them: the record batch of a Parquet file, or their words.
Block = tuple[np.ndarray, Any]


class Rows(ABC):
    """The vectors of one file: ``shape`` (n, d) and ``dtype`` are known, the rows are read when asked for."""

    column: str | None = None

    def __init__(self, path: Path):
        self.path = path

    def _describe(self, shape: tuple[int, ...], dtype: np.dtype, size: int | None = None) -> None:
        """Take the shape and type that the file tells, unless they cannot be embeddings or ``size`` bytes."""
        if len(shape) != 2:
            raise ValueError(f"{self}: expected a 2-D array of rows, got shape {shape}")
        if min(shape) < 1:
            raise ValueError(f"{self}: it is empty, shape {shape}")
        if dtype.kind != "f":
            raise ValueError(f"{self}: expected floats, got {dtype}")
        if size is not None and size < shape[0] * shape[1] * dtype.itemsize:
            raise ValueError(f"{self}: truncated, {size} bytes cannot hold {shape[0]} x {shape[1]} {dtype}")
        self._bounded(shape[0] * shape[1] * dtype.itemsize, self.path.stat().st_size)
        self.shape, self.dtype = shape, dtype

    def _bounded(self, size: int, stored: int) -> None:
        """ValueError for ``size`` bytes that come out of fewer ``stored`` ones than embeddings ever do."""
        if size > max(EXPANSION * stored, ALWAYS_FINE):
            raise ValueError(f"{self}: refused, {stored:,} bytes that claim to hold {size:,}")

    def __str__(self) -> str:
        return str(self.path) if self.column is None else f"{self.path} ({self.column})"

    @contextmanager
    def _damage_named(self, *errors: type[Exception]) -> Iterator[None]:
        """Whatever a library says of a broken file, as a ValueError of one line that names the file."""
        try:
            yield
        except errors as error:
            what = " ".join(str(error).split())
            raise ValueError(f"{self}: damaged, or not a {self.path.suffix} file: {what}") from error

    @abstractmethod
    def _read(self, size: int) -> Iterator[Block]:
        """Blocks of at most ``size`` rows, in order, not yet checked."""

    def batches(self, size: int) -> Iterator[Block]:
        """Blocks of at most ``size`` rows, in order; ValueError naming the rows that are no embeddings."""
        first = 0
        for vectors, batch in self._read(size):
            vectors = checked(vectors, self, first)
            first += len(vectors)
            if first > self.shape[0]:
                break
            yield vectors, batch
        if first != self.shape[0]:
            raise ValueError(f"{self}: damaged, it claims {self.shape[0]} rows and has {first}")

    def words(self, batch: Any) -> list[str]:
        """The words of the rows of one of ``batches``; ValueError where the file has none."""
        raise ValueError(f"{self}: its rows have no words; .vec, .bin and Parquet files with a column {WORD!r} have")

    def blocks(self, size: int) -> Iterator[np.ndarray]:
        """The vectors of ``batches``: float32 arrays of at most ``size`` rows."""
        return (vectors for vectors, _ in self.batches(size))

    def array(self) -> np.ndarray:
        """All rows, (n, d): a memory map of a .npy, float32 in memory otherwise."""
        X, filled = np.empty(self.shape, np.float32), 0
        for block in self.blocks(16384):
            X[filled : filled + len(block)] = block
            filled += len(block)
        return X


class _NumpyRows(Rows):
    """What .npy and .npz have in common: a stream in NumPy's own format."""

    @abstractmethod
    def _stream(self) -> IO[bytes]:
        """The bytes of the array, from its header on."""

    def _header(self, file: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype]:
        """Shape, Fortran order and dtype at the start of ``file``, which is left at the first value."""
        with self._damage_named(ValueError, SyntaxError, TokenError, RecursionError):
            read = npy.read_array_header_1_0 if npy.read_magic(file) == (1, 0) else npy.read_array_header_2_0
            shape, fortran, dtype = read(file)
        if dtype.hasobject:
            raise ValueError(f"{self}: it holds pickled Python objects, which are never loaded")
        return shape, fortran, dtype

    def _read(self, size: int) -> Iterator[Block]:
        n, width = self.shape
        with self._damage_named(*STREAM_ERRORS), self._stream() as file:
            if self._header(file)[1]:  # Fortran order: every row lies scattered over the whole stream
                X = self._scattered()
                yield from ((X[start : start + size], None) for start in range(0, n, size))
                return
            for start in range(0, n, size):
                wanted = min(size, n - start) * width * self.dtype.itemsize
                data = file.read(wanted)
                if len(data) < wanted:
                    raise EOFError(f"the data end before row {n}")
                yield np.frombuffer(data, self.dtype).reshape(-1, width), None

    @abstractmethod
    def _scattered(self) -> np.ndarray:
        """All of an array in Fortran order."""


class NpyRows(_NumpyRows):
    """A .npy file, memory-mapped as a whole and read as a stream. Pickled objects are never loaded."""

    def __init__(self, path: Path):
        super().__init__(path)
        with self._stream() as file:
            shape, _, dtype = self._header(file)
            self._describe(shape, dtype, path.stat().st_size - file.tell())

    def _stream(self) -> IO[bytes]:
        return open(self.path, "rb")

    def array(self) -> np.ndarray:
        """A memory map, (n, d), in the file's own dtype."""
        return npy.open_memmap(self.path, mode="r")

    _scattered = array


class NpzRows(_NumpyRows):
    """One array of an .npz archive, compressed or not, streamed."""

    def __init__(self, path: Path, column: str | None):
        super().__init__(path)
        with self._damage_named(*STREAM_ERRORS), zipfile.ZipFile(path) as archive:
            names = [name.removesuffix(".npy") for name in archive.namelist() if name.endswith(".npy")]
            self.column = _choose(path, column, names, "array", "arrays")
            member = archive.getinfo(f"{self.column}.npy")
            if ".." in self.column.split("/") or self.column.startswith("/") or "\\" in self.column:
                raise ValueError(f"{self}: refused, an array whose name leads out of the archive")
            if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                raise ValueError(f"{self}: refused, compressed as NumPy never does (type {member.compress_type})")
            self._bounded(member.file_size, min(member.compress_size, path.stat().st_size))
            with self._stream() as file:
                shape, _, dtype = self._header(file)
                self._describe(shape, dtype, member.file_size - file.tell())

    def _stream(self) -> IO[bytes]:
        return zipfile.ZipFile(self.path).open(f"{self.column}.npy")

    def _scattered(self) -> np.ndarray:
        with self._stream() as file:
            return npy.read_array(file, allow_pickle=False)


class ParquetRows(Rows):
    """One column of lists of floats of a Parquet file, streamed by record batches."""

    def __init__(self, path: Path, column: str | None):
        super().__init__(path)
        self._errors = (_pyarrow().lib.ArrowException, OSError)
        with self._damage_named(*self._errors):  # unbuffered it would hold whole row groups in memory
            self._file = _pyarrow().parquet.ParquetFile(path, buffer_size=1 << 20, pre_buffer=False)
            schema = self._file.schema_arrow
        fields = {field.name: field.type for field in schema}
        if len(fields) < len(schema):
            raise ValueError(f"{path}: several columns of one name")
        vectors = [name for name, kind in fields.items() if is_vector(kind)]
        if column in fields and column not in vectors:
            raise ValueError(f"{path}: column {column!r} is of type {fields[column]}, not a list of floats")
        self.column = _choose(path, column, vectors, "column of float lists", "columns of float lists")
        kind, n = fields[self.column], self._file.metadata.num_rows
        self._width = getattr(kind, "list_size", 0)
        if n and not self._width:
            with self._damage_named(*self._errors):
                first = next(self._file.iter_batches(1, columns=[self.column]), [None])[0]
            if first is None:
                raise ValueError(f"{path}: damaged, it claims {n} rows and has none")
            self._width = len(first[0].as_py() or ())
            float_lists(first, self._width, self)
        self._describe((n, self._width), np.dtype(f"f{kind.value_type.bit_width // 8}"))

    def _read(self, size: int) -> Iterator[Block]:
        first = 0
        with self._damage_named(*self._errors):
            for batch in self._file.iter_batches(size):
                yield float_lists(batch[self.column], self._width, self, first), batch
                first += len(batch)

    def words(self, batch: Any) -> list[str]:
        """Those in the column "word"."""
        if WORD not in batch.schema.names or not _pyarrow().types.is_string(batch.schema.field(WORD).type):
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
        self._describe((sum(part.shape[0] for part in self._parts), width), self._parts[0].dtype)

    def words(self, batch: Any) -> list[str]:
        """Those in the column "word"."""
        return self._parts[0].words(batch)

    def _read(self, size: int) -> Iterator[Block]:
        for part in self._parts:
            yield from part._read(size)


class SafetensorsRows(Rows):
    """One tensor of a safetensors file, streamed."""

    def __init__(self, path: Path, column: str | None):
        from safetensors import SafetensorError, safe_open

        super().__init__(path)
        with self._damage_named(SafetensorError, OSError), safe_open(path, "numpy") as file:
            self.column = _choose(path, column, list(file.keys()), "tensor", "tensors")
        with open(path, "rb") as stream:  # safe_open has checked it
            size = int.from_bytes(stream.read(8), "little")
            tensor = json.loads(stream.read(size))[self.column]
        self._start = 8 + size + tensor["data_offsets"][0]
        if tensor["dtype"] not in SAFETENSORS:
            raise ValueError(f"{self}: expected floats, got {tensor['dtype']}")
        self._describe(tuple(tensor["shape"]), np.dtype(SAFETENSORS[tensor["dtype"]]))

    def _read(self, size: int) -> Iterator[Block]:
        X = self.array()
        yield from ((X[start : start + size], None) for start in range(0, len(X), size))

    def array(self) -> np.ndarray:
        """A memory map, (n, d), in the file's own dtype."""
        return np.memmap(self.path, self.dtype, "r", self._start, self.shape)


class WordRows(Rows):
    """A word2vec file, text (.vec) or binary (.bin): each row a word and its vector. Streamed, words included."""

    def __init__(self, path: Path):
        super().__init__(path)
        self._binary = path.suffix.lower() == ".bin"
        with open(path, "rb") as file:
            header = file.readline(64).split()
        if len(header) != 2 or not all(map(bytes.isdigit, header)):
            raise ValueError(f"{self}: a word2vec file starts with a line of two numbers, of words and of dimensions")
        n, width = map(int, header)
        self._describe((n, width), np.dtype("<f4"), path.stat().st_size if self._binary else None)

    def words(self, batch: Any) -> list[str]:
        """Those that stand before the vectors."""
        return list(batch)

    def _read(self, size: int) -> Iterator[Block]:
        n = self.shape[0]
        with self._damage_named(EOFError, OSError), open(self.path, "rb") as file:
            file.readline()
            rows = self._binary_rows(file) if self._binary else self._text_rows(file)
            for start in range(0, n, size):
                block = list(islice(rows, min(size, n - start)))
                if len(block) < min(size, n - start):
                    raise EOFError(f"the data end before row {n}")
                words, vectors = zip(*block, strict=True)
                yield np.stack(vectors), [word.decode(errors="replace") for word in words]

    def _text_rows(self, file: IO[bytes]) -> Iterator[tuple[bytes, np.ndarray]]:
        width = self.shape[1]
        for number, line in enumerate(file):
            word, *values = line.rsplit(None, width) or [b""]  # from the right: a word may hold a space
            try:
                vector = np.array(values, np.float32)
            except ValueError:
                values = []
            if len(values) != width:
                raise ValueError(f"{self}: row {number} (line {number + 2}) is not a word and {width} numbers")
            yield word, vector

    def _binary_rows(self, file: IO[bytes]) -> Iterator[tuple[bytes, np.ndarray]]:
        length, data = 4 * self.shape[1], b""
        while chunk := file.read(max(CHUNK, length)):
            data, place = data + chunk, 0
            while (space := data.find(b" ", place)) >= 0 and space + length < len(data):
                vector = np.frombuffer(data, "<f4", self.shape[1], space + 1)
                yield data[place:space].lstrip(b"\n"), vector  # some writers end each row with a newline
                place = space + 1 + length
            data = data[place:]
            if len(data) > 2 * max(CHUNK, length):  # or a file without a space would be searched again and again
                raise EOFError(f"a word of more than {CHUNK:,} bytes")


def float_lists(column: Any, width: int, where: Any, first: int = 0) -> np.ndarray:
    """A PyArrow list array as an array (m, width); ValueError on nulls and on other lengths, naming the rows.

    ``where`` says whose rows they are, ``first`` is the number of the first.
    """
    names = range(first, first + len(column))
    return list_vectors(column, width, lambda what, rows: refuse(where, f"{what} in", rows, names))


def checked(vectors: np.ndarray, where: Any, first: int = 0) -> np.ndarray:
    """Rows (m, d) as float32, copied only if need be; ValueError naming those that are no embeddings.

    ``where`` says whose rows they are, ``first`` is the number of the first.
    """
    with np.errstate(over="ignore"):
        vectors = np.ascontiguousarray(vectors, np.float32)
    names = range(first, first + len(vectors))
    refuse(where, "NaN or infinity in", not_finite(vectors), names)
    refuse(where, "one repeated value in", constant(vectors), names)
    return vectors


def refuse(where: Any, what: str, rows: Any, names: Sequence[Any], error: type[ValueError] = ValueError) -> None:
    """Raise ``error`` with the names of at most five of these row numbers, if there are any."""
    if len(rows):
        more = f" and {len(rows) - 5} more" if len(rows) > 5 else ""
        listed = ", ".join(str(names[i]) for i in rows[:5])
        raise error(f"{where}: {what} {'row' if len(rows) == 1 else 'rows'} {listed}{more}")


def open_rows(path: str | Path, column: str | None = None) -> Rows:
    """The rows of ``path``: a file with one of the SUFFIXES, or a folder of .parquet files.

    ``column`` names the array, tensor or column of a file, needed only where it has several.
    Raises FileNotFoundError, IsADirectoryError, or ValueError saying what is wrong with the file.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if not path.exists():
        raise FileNotFoundError(f"{path}: no such file")
    if not os.access(path, os.R_OK):
        raise PermissionError(f"{path}: no permission to read it")
    if path.is_dir():
        return ParquetFolderRows(path, column)
    if not path.is_file():
        raise ValueError(f"{path}: not a regular file")
    if suffix == ".npz":
        return NpzRows(path, column)
    if suffix == ".safetensors":
        return SafetensorsRows(path, column)
    if suffix == ".parquet":
        return ParquetRows(path, column)
    if suffix not in SUFFIXES:
        raise ValueError(f"{path}: expected a file ending in {', '.join(SUFFIXES)}")
    if column is not None:
        raise ValueError(f"{path}: a {suffix} file holds one array without a name, got column {column!r}")
    return NpyRows(path) if suffix == ".npy" else WordRows(path)


def read_words(rows: Rows, limit: int | None = None, block: int = 16384) -> tuple[list[str], np.ndarray]:
    """The words and the vectors (n, d) float32 of ``rows``, or of the first ``limit`` of them.

    Raises ValueError where the file has no words for its rows.
    """
    n = min(rows.shape[0], limit or rows.shape[0])
    words: list[str] = []
    X = np.empty((n, rows.shape[1]), np.float32)
    for vectors, batch in rows.batches(min(block, n)):
        X[len(words) : len(words) + len(vectors)] = vectors[: n - len(words)]
        words += rows.words(batch)[: n - len(words)]
        if len(words) == n:
            break
    return words, X


def read_pairs(path: str | Path) -> np.ndarray:
    """Known pairs (m, 2) of a CSV file: two columns of row numbers, from 0; a header may come first.

    Raises OSError for no such file, and ValueError naming the line that holds anything else.
    """
    path, pairs = Path(path), []
    with open(path, newline="", encoding="utf-8-sig") as file:
        try:
            for fields in filter(None, reader := csv.reader(file)):
                if len(fields) != 2:
                    raise ValueError(f"{path}: line {reader.line_num} has {len(fields)} columns, expected 2: {fields}")
                if all(field.strip().isdecimal() for field in fields):
                    pairs.append([int(field) for field in fields])
                elif reader.line_num > 1 or not all(field.strip()[:1].isalpha() for field in fields):
                    raise ValueError(f"{path}: line {reader.line_num} has no two row numbers: {','.join(fields)}")
        except (csv.Error, UnicodeDecodeError) as error:
            raise ValueError(f"{path}: not a CSV file: {error}") from error
    if not pairs:
        raise ValueError(f"{path}: no pairs in it")
    return np.array(pairs)


def map_rows(function: Callable[[np.ndarray], np.ndarray], rows: Rows, path: str | Path, size: int) -> None:
    """Write ``function(block)``, (m, d) -> (m, width) float32, of each block of ``size`` rows to ``path``.

    The format follows the suffix. From Parquet to Parquet the other columns and all metadata pass through,
    and the column keeps its name as a fixed-size list. Words stay with their vectors between .vec, .bin and
    Parquet (column "word"); .npy and .npz have no place for them. Memory holds a few blocks, however large the file.
    ``path`` appears when everything is written, or not at all.
    """
    path = Path(path)
    write = WRITERS[path.suffix.lower()]
    mapped = ((np.ascontiguousarray(function(X), np.float32), batch) for X, batch in rows.batches(size))
    with replacing(path) as temporary, open(temporary, "wb") as file:
        write(file, mapped, rows)


def check_output(path: str | Path, suffixes: tuple[str, ...], *inputs: Path) -> None:
    """Raise, before any work, where ``path`` cannot be written: suffix, folder, or an input of that name."""
    path = Path(path)
    if path.suffix.lower() not in suffixes:
        raise ValueError(f"{path}: the output must end in {' or '.join(suffixes)}")
    if path.suffix.lower() == ".parquet":
        _pyarrow()
    if path.is_dir():
        raise IsADirectoryError(f"{path}: a folder, not a file name to write to")
    if not path.parent.is_dir():
        raise NotADirectoryError(f"{path.parent}: no such folder to write {path.name} to")
    if not os.access(path.parent, os.W_OK):
        raise PermissionError(f"{path.parent}: no permission to write {path.name} there")
    for given in inputs:
        if path.exists() and path.samefile(given):
            raise ValueError(f"{path}: the output is also an input")


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """A temporary name beside ``path``, of the same suffix, to write to.

    It takes the place of ``path`` in one step when the block ends, and is removed when the block raises
    anything, KeyboardInterrupt and SystemExit included.
    """
    path = Path(path).resolve()
    temporary = path.with_name(f".{path.stem}.{os.getpid()}{path.suffix}")
    try:
        yield temporary
        with open(temporary, "rb+") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def write_npy_header(file: IO[bytes], shape: tuple[int, int], name: str) -> None:
    """What comes before the values, in C order, of a float32 array in a .npy file, which has no name."""
    npy.write_array_header_1_0(file, {"descr": "<f4", "fortran_order": False, "shape": shape})


def write_safetensors_header(file: IO[bytes], shape: tuple[int, int], name: str) -> None:
    """What comes before the values, in C order, of the only tensor, float32, in a safetensors file."""
    size = 4 * shape[0] * shape[1]
    header = json.dumps({name: {"dtype": "F32", "shape": list(shape), "data_offsets": [0, size]}}).encode()
    header += b" " * (-len(header) % 8)  # the values are aligned
    file.write(len(header).to_bytes(8, "little") + header)


def _write_raw(header: Callable[[IO[bytes], tuple[int, int], str], None]) -> Callable[..., None]:
    def write(file: IO[bytes], blocks: Iterator[Block], rows: Rows) -> None:
        first = next(blocks)
        header(file, (rows.shape[0], first[0].shape[1]), rows.column or NAME)
        for vectors, _ in chain([first], blocks):
            file.write(vectors.astype("<f4", copy=False).data)

    return write


_write_npy = _write_raw(write_npy_header)


def _write_npz(file: IO[bytes], blocks: Iterator[Block], rows: Rows) -> None:
    name = (rows.column or NAME).replace("/", "_").replace("\\", "_")  # another file's: it must not lead anywhere
    with zipfile.ZipFile(file, "w") as archive:
        with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
            _write_npy(member, blocks, rows)


def _write_words(file: IO[bytes], blocks: Iterator[Block], rows: Rows, binary: bool) -> None:
    first = next(blocks)
    width = first[0].shape[1]
    file.write(f"{rows.shape[0]} {width}\n".encode())
    line = " ".join(["%.7g"] * width) + "\n"
    for vectors, batch in chain([first], blocks):
        for word, vector in zip(rows.words(batch), vectors, strict=True):
            name = word.encode()
            if name.split() != [name]:
                raise ValueError(
                    f"{rows}: the word {word!r} is empty or holds white space, which word2vec files cannot"
                )
            file.write(name + b" " + (vector.astype("<f4").tobytes() if binary else (line % tuple(vector)).encode()))


def _write_parquet(file: IO[bytes], blocks: Iterator[Block], rows: Rows) -> None:
    pa, parquet = _pyarrow(), _pyarrow().parquet
    first = next(blocks)
    width = first[0].shape[1]
    schema = pa.schema([pa.field(rows.column or NAME, pa.list_(pa.float32(), width))])
    place = 0
    if isinstance(rows, WordRows):
        schema, place = schema.insert(0, pa.field(WORD, pa.string())), 1
    elif first[1] is not None:
        place = first[1].schema.get_field_index(rows.column)
        schema = first[1].schema.set(place, first[1].schema.field(place).with_type(schema.field(0).type))
    with parquet.ParquetWriter(file, schema) as writer:
        for vectors, batch in chain([first], blocks):
            columns = [None] if batch is None else [batch, None] if isinstance(rows, WordRows) else batch.columns
            columns[place] = pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), width)
            # A row group of its own: write_batch would keep a million rows in memory for the next one.
            writer.write_table(pa.Table.from_arrays(columns, schema=schema))


WRITERS: dict[str, Callable[[IO[bytes], Iterator[Block], Rows], None]] = {
    ".npy": _write_npy,
    ".npz": _write_npz,
    ".safetensors": _write_raw(write_safetensors_header),
    ".parquet": _write_parquet,
    ".vec": partial(_write_words, binary=False),
    ".bin": partial(_write_words, binary=True),
}


def parquet_parts(folder: Path) -> list[Path]:
    """The Parquet files of a folder by name, but for hidden ones, which are still being written."""
    return sorted(path for path in folder.glob("*.parquet") if not path.name.startswith((".", "_")))


def list_vectors(column: Any, width: int, refuse: Callable[[str, Any], None]) -> np.ndarray:
    """An Arrow array of lists as an (m, width) array, a view where it can be one.

    ``refuse(what, rows)`` hears the numbers of the rows that are null, of another length, or hold nulls.
    """
    lengths = _pyarrow().compute.list_value_length(column).fill_null(-1).to_numpy(zero_copy_only=False)
    refuse("null instead of a vector", np.flatnonzero(column.is_null()))
    refuse(f"another length than {width}", np.flatnonzero(lengths != width))
    values = column.flatten()
    if values.null_count:
        nulls = values.is_null().to_numpy(zero_copy_only=False).reshape(-1, width)
        refuse("null inside the vector", np.flatnonzero(nulls.any(axis=1)))
    return values.to_numpy(zero_copy_only=False).reshape(len(column), width)


def _choose(path: Path, column: str | None, names: list[str], one: str, many: str) -> str:
    """The named one of ``names``, or the only one."""
    if column is None and len(names) == 1:
        return names[0]
    if column in names:
        return column
    if not names:
        raise ValueError(f"{path}: no {one} in it")
    listed = ", ".join(names[:20]) + (", ..." if len(names) > 20 else "")
    if column is None:
        raise ValueError(f"{path}: several {many}, name one with column (--column): {listed}")
    raise ValueError(f"{path}: no {one} named {column!r}; there is {listed}")


def is_vector(kind: Any) -> bool:
    """Whether an Arrow type is a list of floats."""
    types = _pyarrow().types
    is_list = types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind)
    return is_list and types.is_floating(kind.value_type)


def _pyarrow() -> Any:
    try:
        import pyarrow
        import pyarrow.compute
        import pyarrow.parquet
        import pyarrow.types
    except ImportError as error:
        raise missing("Parquet files need PyArrow", "parquet") from error
    return pyarrow
