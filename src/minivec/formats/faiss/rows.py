"""The rows of a FAISS index file, and how one is written."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryFile
from threading import Lock
from typing import IO, Any

import faiss
import numpy as np

from minivec.formats.base import Block, Rows
from minivec.formats.faiss.reading import approximate, said, vectors_of
from minivec.formats.faiss.recipe import Recipe
from minivec.formats.skipping import GoodRows

SIZE = 8_192  # rows that are added to an index together
LOCK = Lock()
ERRORS = (RuntimeError, MemoryError, AssertionError, OSError)
MAPPED = getattr(faiss, "IO_FLAG_MMAP_IFC", 0)  # older FAISS reads all of a file
WHOLE = 16 << 20  # bytes of a file that is read as a whole: FAISS 1.15 can crash where a mapped header is cut off


class FaissRows(Rows):
    """The vectors of an index, in the order in which they were added.

    ``index`` is FAISS's own, over the mapped file where that is large. ``ids`` (n,) int64 are the rows' ids, None
    where these are their numbers. Of an IVF index rows with ids of their own are in the order of the ids.
    """

    def __init__(self, path: Path, column: str | None = None):
        super().__init__(path)
        self._version = _version(path)
        with open(path, "rb") as file:
            if file.read(2) == b"IB":
                raise ValueError(f"{self}: a binary index, whose vectors are bits; minivec maps vectors of numbers")
        try:
            with _bounded(path.stat().st_size):
                flags = MAPPED if path.stat().st_size > WHOLE else 0
                self.index = faiss.read_index(str(path), flags)  # downcast, it would not own itself
        except ERRORS as error:
            raise ValueError(f"{self}: damaged, or not a {path.suffix} file: {said(error)}") from error
        try:
            count, self.ids, self._read = vectors_of(self.index)
            self.describe((count, self.index.d), np.dtype("<f4"))
            self._read(0, 1)
            loss = approximate(self.index)
        except (*ERRORS, AttributeError) as error:
            kind = f"an index of kind {type(self.index).__name__}, whose vectors FAISS cannot give back"
            raise ValueError(f"{self}: {kind} ({said(error)}); use the vectors that it was built of") from error
        except ValueError as error:
            raise ValueError(str(error) if str(error).startswith(str(self)) else f"{self}: {error}") from None
        if loss is not None:
            self.told = f"its index keeps approximations of its vectors ({loss}), and these are read"

    def bounded(self, size: int, stored: int) -> None:
        """FAISS has checked that the codes are there, and a code may be a hundredth of its vector."""

    def _check_unchanged(self) -> None:
        """ValueError where the file was written since: a mapped one would give what was never a vector."""
        if _version(self.path) != self._version:
            raise ValueError(f"{self}: damaged, as it was written while it was read; write a new file and rename it")

    def read(self, size: int) -> Iterator[Block]:
        """Blocks of vectors, and the list of their ids."""
        return self.read_from(0, size)

    def read_from(self, start: int, size: int) -> Iterator[Block]:
        """Blocks of the rows from ``start`` on."""
        for first in range(start, self.shape[0], size):
            end = min(first + size, self.shape[0])
            self._check_unchanged()
            with self.damage_named(*ERRORS):
                vectors = self._read(first, end)
            self._check_unchanged()
            yield vectors, None if self.ids is None else self.ids[first:end].tolist()


@contextmanager
def _bounded(size: int) -> Iterator[None]:
    """FAISS makes no array larger than ``size`` bytes, and counts no further, where it can be told so."""
    limits = [name for name in ("vector_byte_limit", "loop_limit") if hasattr(faiss, f"set_deserialization_{name}")]
    with LOCK:  # the limits are those of the process
        before = [getattr(faiss, f"get_deserialization_{name}")() for name in limits]
        try:
            for name in limits:
                getattr(faiss, f"set_deserialization_{name}")(max(size, 1))
            yield
        finally:
            for name, limit in zip(limits, before, strict=True):
                getattr(faiss, f"set_deserialization_{name}")(limit)


def _version(path: Path) -> tuple[int, int]:
    """The size of a file and when it was written."""
    stat = path.stat()
    return stat.st_size, stat.st_mtime_ns


def record(width: int) -> np.dtype:
    """An id and its vector, as they wait in a file for their index."""
    return np.dtype([("id", "<i8"), ("vector", "<f4", (width,))])


def built(recipe: Recipe, waiting: IO[bytes], width: int) -> Any:
    """The index of a file of ``record``; only a block of them, and those that it is trained on, are in memory."""
    kind = record(width)

    def blocks() -> Iterator[tuple[np.ndarray, np.ndarray]]:
        waiting.seek(0)
        while len(rows := np.fromfile(waiting, kind, SIZE)):
            yield rows["vector"], rows["id"]

    def chosen(numbers: np.ndarray) -> np.ndarray:
        return np.asarray(np.memmap(waiting, kind, "r")["vector"][numbers])

    return recipe.build(width, waiting.seek(0, os.SEEK_END) // kind.itemsize, chosen, blocks())


def write(file: IO[bytes], blocks: Iterator[Block], rows: Rows) -> None:
    """An index like that which the rows come from, of the same ids, or a flat one."""
    given = rows.given if isinstance(rows, GoodRows) else rows
    like, count, width = given if isinstance(given, FaissRows) else None, 0, 0
    with TemporaryFile(dir=Path(file.name).parent) as waiting:
        for vectors, batch in blocks:
            width = vectors.shape[1]
            table = np.empty(len(vectors), record(width))
            own = like is not None and like.ids is not None
            table["id"] = batch if own else range(count, count + len(vectors))
            table["vector"] = vectors
            waiting.write(table.data)
            count += len(vectors)
        waiting.flush()
        old = Recipe("Flat") if like is None else Recipe.of(like.index)
        recipe = old.at(width, count, like is not None and like.ids is not None)
        rows.otherwise = recipe.otherwise(old.factory, width)
        index = built(recipe, waiting, width)
    library: Any = faiss
    library.write_index(index, library.PyCallbackIOWriter(file.write))
