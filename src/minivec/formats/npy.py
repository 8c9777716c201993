"""NumPy's .npy: one array without a name."""

import os
from abc import abstractmethod
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from tokenize import TokenError
from typing import IO

import numpy as np
from numpy.lib import format as npy

from minivec.formats.base import STREAM_ERRORS, Block, Format, Rows, raw_writer


class NumpyRows(Rows):
    """What .npy and .npz have in common: a stream in NumPy's own format."""

    @abstractmethod
    def _stream(self) -> AbstractContextManager[IO[bytes]]:
        """The bytes of the array, from its header on."""

    def _header(self, file: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype]:
        """Shape, Fortran order and dtype at the start of ``file``, which is left at the first value."""
        with self.damage_named(ValueError, SyntaxError, TokenError, RecursionError):
            read = npy.read_array_header_1_0 if npy.read_magic(file) == (1, 0) else npy.read_array_header_2_0
            shape, fortran, dtype = read(file)
        if dtype.hasobject:
            raise ValueError(f"{self}: it holds pickled Python objects, which are never loaded")
        return shape, fortran, dtype

    def read(self, size: int) -> Iterator[Block]:
        """Blocks of rows as they lie there."""
        return self.read_from(0, size)

    def read_from(self, start: int, size: int) -> Iterator[Block]:
        """Blocks of the rows from ``start`` on."""
        n, width = self.shape
        with self.damage_named(*STREAM_ERRORS), self._stream() as file:
            _, fortran, dtype = self._header(file)
            if fortran:  # Fortran order: every row lies scattered over the whole stream
                X = self._scattered()
                yield from ((X[first : first + size], None) for first in range(start, n, size))
                return
            file.seek(start * width * dtype.itemsize, os.SEEK_CUR)
            for first in range(start, n, size):
                wanted = min(size, n - first) * width * dtype.itemsize
                data = file.read(wanted)
                if len(data) < wanted:
                    raise EOFError(f"the data end before row {n}")
                yield np.frombuffer(data, dtype).reshape(-1, width), None

    @abstractmethod
    def _scattered(self) -> np.ndarray:
        """All of an array in Fortran order."""


class NpyRows(NumpyRows):
    """A .npy file, memory-mapped as a whole and read as a stream. Pickled objects are never loaded."""

    mapped = True

    def __init__(self, path: Path, column: str | None = None):
        super().__init__(path)
        with self._stream() as file:
            shape, _, dtype = self._header(file)
            self.describe(shape, dtype, path.stat().st_size - file.tell())

    def _stream(self) -> IO[bytes]:
        return open(self.path, "rb")

    def array(self) -> np.ndarray:
        """A memory map, (n, d), in the file's own dtype."""
        return npy.open_memmap(self.path, mode="r")

    _scattered = array


def _header(file: IO[bytes], shape: tuple[int, int], name: str) -> None:
    """What comes before the values, in C order, of a float32 array in a .npy file, which has no name."""
    npy.write_array_header_1_0(file, {"descr": "<f4", "fortran_order": False, "shape": shape})


FORMAT = Format(NpyRows, raw_writer(_header), named=False, header=_header)
