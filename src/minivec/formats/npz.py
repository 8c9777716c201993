"""NumPy's .npz: a ZIP archive of arrays."""

import shutil
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO

import numpy as np

from minivec.formats.base import NAME, STREAM_ERRORS, Block, Format, Rows, choose
from minivec.formats.npy import FORMAT as NPY
from minivec.formats.npy import NumpyRows
from minivec.formats.scaled import SCALE, Scale, without_scales

INTEGERS = (np.dtype(np.int8), np.dtype(np.uint8))


class NpzRows(NumpyRows):
    """One array of an .npz archive, compressed or not, streamed."""

    def __init__(self, path: Path, column: str | None):
        super().__init__(path)
        with self.damage_named(*STREAM_ERRORS), zipfile.ZipFile(path) as archive:
            names = [name.removesuffix(".npy") for name in archive.namelist() if name.endswith(".npy")]
            self.column = choose(path, column, without_scales(names), "array", "arrays")
            member = archive.getinfo(f"{self.column}.npy")
            if ".." in self.column.split("/") or self.column.startswith("/") or "\\" in self.column:
                raise ValueError(f"{self}: refused, an array whose name leads out of the archive")
            if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                raise ValueError(f"{self}: refused, compressed as NumPy never does (type {member.compress_type})")
            self.bounded(member.file_size, min(member.compress_size, path.stat().st_size))
            with self._stream() as file:
                shape, _, dtype = self._header(file)
                if dtype in INTEGERS and len(shape) == 2 and f"{self.column}{SCALE}" in names:
                    self.scale = Scale(self.column, shape, partial(self._beside, archive), self)
                self.describe(shape, dtype, member.file_size - file.tell())

    @contextmanager
    def _stream(self) -> Iterator[IO[bytes]]:
        with zipfile.ZipFile(self.path) as archive, archive.open(f"{self.column}.npy") as file:
            yield file

    def _beside(self, archive: zipfile.ZipFile, name: str) -> np.ndarray | None:
        """Another array of the archive, a scale: small."""
        try:
            member = archive.getinfo(f"{name}.npy")
        except KeyError:
            return None
        self.bounded(member.file_size, min(member.compress_size, self.path.stat().st_size))
        with archive.open(member) as file:
            shape, _, dtype = self._header(file)
            return np.frombuffer(file.read(), dtype).reshape(shape)

    def _scattered(self) -> np.ndarray:
        with self._stream() as member, TemporaryFile() as file:
            shape, _, dtype = self._header(member)
            shutil.copyfileobj(member, file)
            if file.tell() < shape[0] * shape[1] * dtype.itemsize:
                raise EOFError(f"the data end before row {shape[0]}")
            return np.memmap(file, dtype, "r", shape=shape, order="F")


def _write(file: IO[bytes], blocks: Iterator[Block], rows: Rows) -> None:
    name = (rows.column or NAME).replace("/", "_").replace("\\", "_")  # another file's: it must not lead anywhere
    with zipfile.ZipFile(file, "w") as archive:
        with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
            NPY.write(member, blocks, rows)


FORMAT = Format(NpzRows, _write)
