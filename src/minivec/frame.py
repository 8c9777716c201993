"""The frame that maps are fitted and applied in: rows of length 1, centred by their mean, at length 1 again."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

TINY = 1e-30  # entries of a row below it count as zero


def unit(X: np.ndarray) -> np.ndarray:
    """Rows scaled to length 1, shape (n, d); a zero row stays zero."""
    return X / np.maximum(np.linalg.norm(X, axis=1, keepdims=True), 1e-12)


def directions(X: np.ndarray) -> np.ndarray:
    """Raw rows (n, d), finite and of any length, scaled to length 1; a row with no entry above ``TINY`` fades to zero.

    The largest entry is divided out first, because float32 cannot square 1e20.
    """
    X = X / np.maximum(np.abs(X).max(1, keepdims=True), TINY)
    return X / np.maximum(np.linalg.norm(X, axis=1, keepdims=True), 1)


@dataclass(frozen=True)
class Frame:
    """Where one space's raw rows lie: the mean (d,) of their directions, and the geometric mean of their lengths.

    Cosine knows directions only. The mean is therefore that of the rows at length 1, which no long row rules.
    """

    mean: np.ndarray
    norm: float

    @classmethod
    def of(cls, X: np.ndarray, block: int = 65536) -> "Frame":
        """The frame of raw rows ``X`` (n, d), read in blocks (a memory map is never loaded whole)."""
        return cls.of_sums(*sums(X[start : start + block] for start in range(0, len(X), block)))

    @classmethod
    def of_sums(cls, n: int, total: np.ndarray, logs: float) -> "Frame":
        """The frame of n rows, from the ``sums`` of all their blocks."""
        return cls((total / n).astype(np.float32), float(np.exp(logs / n)))

    def apply(self, X: np.ndarray) -> np.ndarray:
        """Raw rows (n, d) to unit rows around the mean, float32."""
        return unit(directions(np.asarray(X, np.float32)) - self.mean)


def sums(blocks: Iterable[np.ndarray]) -> tuple[int, np.ndarray, float]:
    """What a frame is made of: the number of raw rows, the sum (d,) of their directions, that of their log lengths."""
    n, total, logs = 0, np.zeros(1), 0.0
    for block in blocks:
        X = np.asarray(block, np.float64)
        lengths = np.maximum(np.linalg.norm(X, axis=1), TINY)
        n, total, logs = n + len(X), total + (X / lengths[:, None]).sum(0), logs + float(np.log(lengths).sum())
    return n, total, logs


@dataclass(frozen=True)
class Principal:
    """The principal directions of framed rows: variances (d,), falling, and directions (d, d) in columns."""

    values: np.ndarray
    directions: np.ndarray

    @classmethod
    def of(cls, X: np.ndarray) -> "Principal":
        """Those of framed rows ``X`` (n, d): the eigenvectors of their covariance."""
        values, directions = np.linalg.eigh((X.T @ X / len(X)).astype(np.float64))
        floor = values[-1] * 1e-7  # directions without variance are never divided by
        return cls(
            np.maximum(values[::-1], floor).astype(np.float32),
            np.ascontiguousarray(directions[:, ::-1].astype(np.float32)),
        )

    def leading(self, r: int) -> "Principal":
        """The first r of them."""
        return Principal(self.values[:r], self.directions[:, :r])

    def whitening(self, power: float) -> np.ndarray:
        """Factors (d,) that whiten coordinates along the directions by ``power``: 0 leaves them, 0.5 is full whitening.

        The factors are variances to the power -``power``, in units of the mean variance. A twentieth of the mean is
        added to each variance, so that directions of noise stay small.
        """
        return (self.values / self.values.mean() + 0.05) ** -power

    def whitening_matrix(self, power: float) -> np.ndarray:
        """The symmetric matrix (d, d) that whitens rows by ``power``."""
        return (self.directions * self.whitening(power)) @ self.directions.T
