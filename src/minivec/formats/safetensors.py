"""safetensors: a JSON header and the bytes of its tensors."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import numpy as np

from minivec.formats.base import Block, Format, Rows, choose, raw_writer

TYPES = {"F16": "<f2", "F32": "<f4", "F64": "<f8"}


class SafetensorsRows(Rows):
    """One tensor of a safetensors file, streamed."""

    def __init__(self, path: Path, column: str | None):
        from safetensors import SafetensorError, safe_open

        super().__init__(path)
        with self.damage_named(SafetensorError, OSError), safe_open(path, "numpy") as file:
            self.column = choose(path, column, list(file.keys()), "tensor", "tensors")
        with open(path, "rb") as stream:  # safe_open has checked it
            size = int.from_bytes(stream.read(8), "little")
            tensor = json.loads(stream.read(size))[self.column]
        self._start = 8 + size + tensor["data_offsets"][0]
        if tensor["dtype"] not in TYPES:
            raise ValueError(f"{self}: expected floats, got {tensor['dtype']}")
        self.describe(tuple(tensor["shape"]), np.dtype(TYPES[tensor["dtype"]]))

    def read(self, size: int) -> Iterator[Block]:
        """Blocks of rows as they lie there."""
        X = self.array()
        yield from ((X[start : start + size], None) for start in range(0, len(X), size))

    def array(self) -> np.ndarray:
        """A memory map, (n, d), in the file's own dtype."""
        return np.memmap(self.path, self.dtype, "r", self._start, self.shape)


def _header(file: IO[bytes], shape: tuple[int, int], name: str) -> None:
    """What comes before the values, in C order, of the only tensor, float32, in a safetensors file."""
    size = 4 * shape[0] * shape[1]
    header = json.dumps({name: {"dtype": "F32", "shape": list(shape), "data_offsets": [0, size]}}).encode()
    header += b" " * (-len(header) % 8)  # the values are aligned
    file.write(len(header).to_bytes(8, "little") + header)


FORMAT = Format(SafetensorsRows, raw_writer(_header), header=_header)
