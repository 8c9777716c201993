"""NumPy's .npz: a ZIP archive of arrays."""

import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import numpy as np
from numpy.lib import format as npy

from minivec.formats.base import NAME, STREAM_ERRORS, Block, Format, Rows, choose
from minivec.formats.npy import FORMAT as NPY
from minivec.formats.npy import NumpyRows


class NpzRows(NumpyRows):
    """One array of an .npz archive, compressed or not, streamed."""

    def __init__(self, path: Path, column: str | None):
        super().__init__(path)
        with self.damage_named(*STREAM_ERRORS), zipfile.ZipFile(path) as archive:
            names = [name.removesuffix(".npy") for name in archive.namelist() if name.endswith(".npy")]
            self.column = choose(path, column, names, "array", "arrays")
            member = archive.getinfo(f"{self.column}.npy")
            if ".." in self.column.split("/") or self.column.startswith("/") or "\\" in self.column:
                raise ValueError(f"{self}: refused, an array whose name leads out of the archive")
            if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                raise ValueError(f"{self}: refused, compressed as NumPy never does (type {member.compress_type})")
            self.bounded(member.file_size, min(member.compress_size, path.stat().st_size))
            with self._stream() as file:
                shape, _, dtype = self._header(file)
                self.describe(shape, dtype, member.file_size - file.tell())

    @contextmanager
    def _stream(self) -> Iterator[IO[bytes]]:
        with zipfile.ZipFile(self.path) as archive, archive.open(f"{self.column}.npy") as file:
            yield file

    def _scattered(self) -> np.ndarray:
        with self._stream() as file:
            return npy.read_array(file, allow_pickle=False)


def _write(file: IO[bytes], blocks: Iterator[Block], rows: Rows) -> None:
    name = (rows.column or NAME).replace("/", "_").replace("\\", "_")  # another file's: it must not lead anywhere
    with zipfile.ZipFile(file, "w") as archive:
        with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
            NPY.write(member, blocks, rows)


FORMAT = Format(NpzRows, _write)
