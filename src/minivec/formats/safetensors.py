"""safetensors: a JSON header and the bytes of its tensors."""

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import numpy as np

from minivec.formats.base import Block, Format, Rows, choose, raw_writer
from minivec.formats.scaled import SCALE, Scale, without_scales

TYPES = {"F16": "<f2", "F32": "<f4", "F64": "<f8", "BF16": "<u2"}
INTEGERS = {"I8": "<i1", "U8": "<u1"}


class SafetensorsRows(Rows):
    """One tensor of a safetensors file, streamed."""

    def __init__(self, path: Path, column: str | None):
        from safetensors import SafetensorError, safe_open

        super().__init__(path)
        with self.damage_named(SafetensorError, OSError), safe_open(path, "numpy") as file:
            self.column = choose(path, column, without_scales(file.keys()), "tensor", "tensors")
        with open(path, "rb") as stream:  # safe_open has checked it
            size = int.from_bytes(stream.read(8), "little")
            self._tensors = json.loads(stream.read(size))
        self._start = 8 + size
        tensor = self._tensors[self.column]
        self._bfloat16 = tensor["dtype"] == "BF16"
        if tensor["dtype"] in INTEGERS and len(tensor["shape"]) == 2 and f"{self.column}{SCALE}" in self._tensors:
            self.scale = Scale(self.column, tuple(tensor["shape"]), self._beside, self)
        elif tensor["dtype"] not in TYPES and tensor["dtype"] not in INTEGERS:
            raise ValueError(f"{self}: expected floats, got {tensor['dtype']}")
        dtype = np.dtype("f4") if self._bfloat16 else np.dtype((TYPES | INTEGERS)[tensor["dtype"]])
        self.mapped = not (self._bfloat16 or self.scale)
        self.describe(tuple(tensor["shape"]), dtype)

    def _beside(self, name: str) -> np.ndarray | None:
        return self._tensor(name) if name in self._tensors else None

    def _tensor(self, name: str) -> np.ndarray:
        """A memory map of a tensor, of 16-bit integers where it is of bfloat16."""
        tensor = self._tensors[name]
        if not math.prod(tensor["shape"]) or tensor["dtype"] not in TYPES | INTEGERS:
            raise ValueError(f"{self}: {name}: expected floats, got {tensor['dtype']} of shape {tensor['shape']}")
        start, dtype = self._start + tensor["data_offsets"][0], (TYPES | INTEGERS)[tensor["dtype"]]
        return np.memmap(self.path, dtype, "r", start, tuple(tensor["shape"]))

    def read(self, size: int) -> Iterator[Block]:
        """Blocks of rows as they lie there."""
        return self.read_from(0, size)

    def read_from(self, start: int, size: int) -> Iterator[Block]:
        """Blocks of the rows from ``start`` on."""
        X = self._tensor(str(self.column))
        for first in range(start, len(X), size):
            block = X[first : first + size]
            yield (block.astype(np.uint32) << 16).view(np.float32) if self._bfloat16 else block, None

    def array(self) -> np.ndarray:
        """All rows, (n, d): a memory map in the file's own dtype, if NumPy has it and there is no scale."""
        return self._tensor(str(self.column)) if self.mapped else super().array()


def _header(file: IO[bytes], shape: tuple[int, int], name: str) -> None:
    """What comes before the values, in C order, of the only tensor, float32, in a safetensors file."""
    size = 4 * shape[0] * shape[1]
    header = json.dumps({name: {"dtype": "F32", "shape": list(shape), "data_offsets": [0, size]}}).encode()
    header += b" " * (-len(header) % 8)  # the values are aligned
    file.write(len(header).to_bytes(8, "little") + header)


FORMAT = Format(SafetensorsRows, raw_writer(_header), header=_header)
