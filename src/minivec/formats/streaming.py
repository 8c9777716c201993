"""Rows of a large file as an input of a fit: they stay in the file and are read when they are needed."""

from typing import Any

import numpy as np

from minivec.formats.base import Rows
from minivec.frame import Frame, sums
from minivec.validation import Streamed

LARGE = 1 << 31  # bytes in float32 from which on rows are not held in memory
BLOCK = 65_536  # rows of a frame's sums, as ``Frame.of`` takes them


class RowsInFile(Streamed):
    """The ``rows`` of a file in place of an array. Each use of them reads the file, and checks what it reads."""

    def __init__(self, rows: Rows):
        self._rows = rows
        n, width = rows.shape
        self.shape = n, width

    def __getitem__(self, rows: Any) -> np.ndarray:
        """The rows of a slice, or of numbers (m,) in any order, as (m, d) float32."""
        wanted = np.arange(*rows.indices(len(self))) if isinstance(rows, slice) else np.asarray(rows)
        order = np.argsort(wanted, kind="stable")
        rising = wanted[order]
        found = np.empty((len(wanted), self.shape[1]), np.float32)
        start = first = 0
        for block in self._rows.blocks(BLOCK):
            end = int(np.searchsorted(rising, first + len(block)))
            found[order[start:end]] = block[rising[start:end] - first]
            start, first = end, first + len(block)
            if start == len(wanted):
                break
        return found

    def frame(self) -> Frame:
        """The frame of all rows."""
        return Frame.of_sums(*sums(self._rows.blocks(BLOCK)))


def to_fit(rows: Any) -> Any:
    """What ``align`` takes of opened rows: an array (n, d), or ``RowsInFile`` where it would be large."""
    in_memory = not isinstance(rows, Rows) or rows.mapped
    return rows.array() if in_memory or 4 * rows.shape[0] * rows.shape[1] < LARGE else RowsInFile(rows)
