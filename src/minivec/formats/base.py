"""What file formats share: rows in blocks, checks of every row, bounds against bombs, damage named."""

import zipfile
import zlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import IO, Any

import numpy as np

from minivec.arrow import list_vectors, list_vectors_or_nan
from minivec.formats.scaled import Scale
from minivec.validation import constant, not_finite

NAME = "embedding"  # of the array or column of an output whose input has no name for it
WORD = "word"  # the column of a Parquet file that holds the words of its rows
ID = "id"  # and the one for the ids of an index's rows

# Rows may take this many times the bytes of their file, or this many bytes: more is a decompression bomb, and real
# embeddings compress at most a few times.
EXPANSION, ALWAYS_FINE = 100, 256 << 20

STREAM_ERRORS = (zipfile.BadZipFile, zlib.error, EOFError, OSError, RuntimeError)

# Some rows as float32 (m, d), and what else there is of them: a record batch of a Parquet file, or the list of their
# words or ids.
Block = tuple[np.ndarray, Any]


class Rows(ABC):
    """The vectors of one file: ``shape`` (n, d) and ``dtype`` are known, the rows are read when asked for."""

    column: str | None = None
    scale: Scale | None = None  # of integers
    told: str | None = None  # what a reader of these rows should know
    otherwise: str | None = None  # how a file that was written of them is not like theirs
    mapped = False  # whether ``array`` is a memory map
    lenient = False  # whether ``read`` gives NaN for nulls, where it would refuse them

    def __init__(self, path: Path):
        self.path = path

    def describe(self, shape: tuple[int, ...], dtype: np.dtype, size: int | None = None) -> None:
        """Take the shape and type that the file tells, unless they cannot be embeddings or ``size`` bytes."""
        if len(shape) != 2:
            raise ValueError(f"{self}: expected a 2-D array of rows, got shape {shape}")
        if min(shape) < 1:
            raise ValueError(f"{self}: it is empty, shape {shape}")
        if dtype in (np.dtype("V2"), np.dtype("V1")):
            raise ValueError(f"{self}: values without a type, as NumPy saves bfloat16; save X.astype(np.float32)")
        if dtype.kind in "iu" and self.scale is None:
            what = "multiply by their scale, or store it beside them as NAME_scale in an .npz or .safetensors file"
            raise ValueError(f"{self}: expected floats, got {dtype}: {what}")
        if dtype.kind != "f" and self.scale is None:
            raise ValueError(f"{self}: expected floats, got {dtype}")
        if size is not None and size < shape[0] * shape[1] * dtype.itemsize:
            raise ValueError(f"{self}: truncated, {size} bytes cannot hold {shape[0]} x {shape[1]} {dtype}")
        self.bounded(shape[0] * shape[1] * dtype.itemsize, self.stored())
        self.shape, self.dtype = shape, dtype if self.scale is None else np.dtype("f4")

    def stored(self) -> int:
        """The bytes that the rows take on disk."""
        return self.path.stat().st_size

    def bounded(self, size: int, stored: int) -> None:
        """ValueError for ``size`` bytes that come out of fewer ``stored`` ones than embeddings ever do."""
        if size > max(EXPANSION * stored, ALWAYS_FINE):
            raise ValueError(f"{self}: refused, {stored:,} bytes that claim to hold {size:,}")

    def __str__(self) -> str:
        return str(self.path) if self.column is None else f"{self.path} ({self.column})"

    def damage_named(self, *errors: type[Exception]) -> AbstractContextManager[None]:
        """Turn these errors of a broken file into a ValueError of one line that names the file."""
        return damage_named(self, self.path.suffix, *errors)

    @abstractmethod
    def read(self, size: int) -> Iterator[Block]:
        """Blocks of at most ``size`` rows, in order, not yet checked."""

    def read_from(self, start: int, size: int) -> Iterator[Block]:
        """As ``read``, from row ``start`` on. Here the rows before it are read and left out."""
        for vectors, batch in self.read(size):
            cut, start = start, max(0, start - len(vectors))
            if cut < len(vectors):
                yield vectors[cut:], None if batch is None else batch[cut:]

    def floats(self, size: int, start: int = 0) -> Iterator[Block]:
        """Blocks of at most ``size`` rows as float32, in order from row ``start`` on, not yet checked."""
        first = start
        for vectors, batch in self.read_from(start, size) if start else self.read(size):
            if self.scale is not None:
                vectors = self.scale.apply(vectors, first)
            first += len(vectors)
            with np.errstate(over="ignore"):  # not around the yield: a generator may be closed in another context
                vectors = np.ascontiguousarray(vectors, np.float32)
            yield vectors, batch

    def unchecked(self, size: int, start: int = 0) -> Iterator[Block]:
        """As ``batches``, from row ``start`` on, with the rows that are no embeddings."""
        first = start
        for vectors, batch in self.floats(size, start):
            first += len(vectors)
            if first > self.shape[0]:
                break
            yield vectors, batch
        if first != self.shape[0]:
            raise ValueError(f"{self}: damaged, it claims {self.shape[0]} rows and has {first}")

    def batches(self, size: int) -> Iterator[Block]:
        """Blocks of at most ``size`` rows, in order; ValueError naming the rows that are no embeddings."""
        first = 0
        for vectors, batch in self.unchecked(size):
            yield checked(vectors, self, first), batch
            first += len(vectors)

    def words(self, batch: Any) -> list[str]:
        """The words of the rows of one of ``batches``; ValueError where the file has none."""
        raise ValueError(f"{self}: its rows have no words; word files and Parquet files with a column {WORD!r} have")

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


@contextmanager
def damage_named(where: Any, suffix: str, *errors: type[Exception]) -> Iterator[None]:
    """Turn these errors of a broken file into a ValueError of one line that says ``where``."""
    try:
        yield
    except errors as error:
        what = " ".join(str(error).split())
        raise ValueError(f"{where}: damaged, or not a {suffix} file: {what}") from error


def choose(path: Path, column: str | None, names: list[str], one: str, many: str) -> str:
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
        raise error(f"{where}: {what} {'row' if len(rows) == 1 else 'rows'} {listed([names[i] for i in rows])}")


def listed(names: Sequence[Any]) -> str:
    """At most five of ``names``, and how many more there are."""
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return ", ".join(map(str, names[:5])) + more


def float_lists(column: Any, width: int, where: Any, first: int = 0, lenient: bool = False) -> np.ndarray:
    """A PyArrow list array as an array (m, width); ValueError on nulls and on other lengths, naming the rows.

    ``where`` says whose rows they are, ``first`` is the number of the first. ``lenient`` gives NaN for nulls and empty
    lists.
    """
    names = range(first, first + len(column))
    read = list_vectors_or_nan if lenient else list_vectors
    return read(column, width, lambda what, rows: refuse(where, f"{what} in", rows, names))


# Writes what comes before the values, float32 in C order, of an array of this shape and name.
Header = Callable[[IO[bytes], tuple[int, int], str], None]

# Writes blocks of mapped rows to a file; the rows are those that the blocks come from.
Writer = Callable[[IO[bytes], Iterator[Block], Rows], None]


@dataclass(frozen=True)
class Format:
    """A file format.

    ``open(path, column)`` gives the rows of a file and ``write(file, blocks, rows)`` writes one. ``named``: its arrays
    or columns have names, of which ``column`` is one. ``words``: each row has a word. ``nulls``: a row may have no
    vector, which is NaN in a block to be written. ``header``, where a file is a header and the bytes of its rows, lets
    a migration write such a file block by block.
    """

    open: Callable[[Path, str | None], Rows]
    write: Writer
    named: bool = True
    words: bool = False
    nulls: bool = False
    header: Header | None = None


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


def raw_writer(header: Header) -> Writer:
    """The writer of a format whose files are this header and the bytes of all rows."""

    def write(file: IO[bytes], blocks: Iterator[Block], rows: Rows) -> None:
        first = next(blocks)
        header(file, (rows.shape[0], first[0].shape[1]), rows.column or NAME)
        for vectors, _ in chain([first], blocks):
            file.write(vectors.astype("<f4", copy=False).data)

    return write
