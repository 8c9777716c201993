"""The frame that maps are fitted and applied in: centred by the mean, scaled to the unit sphere."""

from dataclasses import dataclass

import numpy as np


def unit(X: np.ndarray) -> np.ndarray:
    """Rows scaled to length 1, shape (n, d); a zero row stays zero."""
    return X / np.maximum(np.linalg.norm(X, axis=1, keepdims=True), 1e-12)


@dataclass(frozen=True)
class Frame:
    """Where one space's raw rows lie: their mean (d,) and the root mean square of their norms."""

    mean: np.ndarray
    norm: float

    @classmethod
    def of(cls, X: np.ndarray, block: int = 65536) -> "Frame":
        """The frame of raw rows ``X`` (n, d), read in blocks (a memory map is never loaded whole)."""
        total, square = np.zeros(X.shape[1]), 0.0
        for start in range(0, len(X), block):
            rows = np.asarray(X[start : start + block], np.float64)
            total += rows.sum(0)
            square += float(np.vdot(rows, rows))
        return cls((total / len(X)).astype(np.float32), float(np.sqrt(square / len(X))))

    def apply(self, X: np.ndarray) -> np.ndarray:
        """Raw rows (n, d) to unit rows around the mean, float32."""
        return unit(np.asarray(X, np.float32) - self.mean)


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
