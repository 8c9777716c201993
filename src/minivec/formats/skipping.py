"""Rows without those that are no embeddings, as of empty texts."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from minivec.formats.base import Block, Rows, listed
from minivec.validation import constant, not_finite

BLOCK = 16384


class GoodRows(Rows):
    """The rows of a file that can be embeddings: no nulls, NaN, infinity, or one repeated value.

    ``given`` are all rows. ``bad`` (k,) are the numbers of the others, found by reading the file once. ``shape``
    and all that is read leave them out; ``with_bad`` does not.
    """

    def __init__(self, rows: Rows):
        super().__init__(rows.path)
        self.given, self.column, self.told, rows.lenient = rows, rows.column, rows.told, True
        bad, first = [], 0
        for vectors, _ in rows.floats(BLOCK):
            bad.append(first + np.flatnonzero(~_good(vectors)))
            first += len(vectors)
        self.bad = np.concatenate([*bad, np.zeros(0, int)])
        if len(self.bad) == first:
            raise ValueError(f"{rows}: none of its {first} rows is an embedding")
        self.shape, self.dtype = (first - len(self.bad), rows.shape[1]), rows.dtype

    def read(self, size: int) -> Iterator[Block]:
        """Blocks of the good rows."""
        for vectors, batch in self.given.floats(size):
            good = _good(vectors)
            if good.any():
                yield vectors[good], _kept(batch, good)

    def with_bad(self, size: int) -> Iterator[tuple[np.ndarray, Any, np.ndarray]]:
        """Blocks of all rows, and which of them (m,) are good; the others hold a vector that means nothing."""
        for vectors, batch in self.given.floats(size):
            good = _good(vectors)
            yield np.where(good[:, None], vectors, np.eye(1, vectors.shape[1], dtype=np.float32)), batch, good

    def words(self, batch: Any) -> list[str]:
        """The words of the good rows."""
        return self.given.words(batch)

    def skipped(self) -> str:
        """Which rows are left out, in words."""
        return f"{len(self.bad):,} of {len(self.bad) + self.shape[0]:,} rows ({listed(list(self.bad))})"


def _good(vectors: np.ndarray) -> np.ndarray:
    good = np.ones(len(vectors), bool)
    good[not_finite(vectors)] = good[constant(vectors)] = False
    return good


def _kept(batch: Any, good: np.ndarray) -> Any:
    if batch is None or good.all():
        return batch
    if isinstance(batch, list):
        return [word for word, kept in zip(batch, good, strict=True) if kept]
    return batch.filter(good)
