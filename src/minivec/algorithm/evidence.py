"""What a fit is made from, and how it falls into halves that know nothing of each other."""

from typing import NamedTuple

import numpy as np

NO_PAIRS = np.empty((0, 2), np.int64)


class Evidence(NamedTuple):
    """Framed rows of both spaces, and the ``pairs`` (m, 2) of their numbers that are known."""

    X: np.ndarray
    Y: np.ndarray
    pairs: np.ndarray

    @property
    def known(self) -> tuple[np.ndarray, np.ndarray]:
        """The rows of the known pairs, (m, dA) and (m, dB)."""
        return self.X[self.pairs[:, 0]], self.Y[self.pairs[:, 1]]

    def held_out(self, fewest: int, most: int, rng: np.random.Generator) -> tuple["Evidence", "Evidence"]:
        """A fifth of the pairs, ``most`` at most, and the rest; where that is less than ``fewest``, none and all."""
        order = rng.permutation(len(self.pairs))
        n = min(len(order) // 5, most)
        held, rest = np.split(order, [n if n >= fewest else 0])
        return self._replace(pairs=self.pairs[held]), self._replace(pairs=self.pairs[rest])

    def halves(self) -> list["Evidence"]:
        """Every other row and known pair, and the rest; the two rows of a pair stay together."""
        sides = [np.arange(len(Z)) % 2 for Z in (self.X, self.Y)]
        for side, column in zip(sides, self.pairs.T, strict=True):
            side[column] = np.arange(len(column)) % 2
        found = []
        for i in (0, 1):
            rows = [np.flatnonzero(side == i) for side in sides]
            pairs = self.pairs[(sides[0][self.pairs[:, 0]] == i) & (sides[1][self.pairs[:, 1]] == i)]
            numbers = [np.searchsorted(some, column) for some, column in zip(rows, pairs.T, strict=True)]
            found.append(Evidence(self.X[rows[0]], self.Y[rows[1]], np.stack(numbers, 1)))
        return found
