"""Anchors of preset "auto": independent components, which encoders trained apart share.

Yamagiwa, Oyama and Shimodaira, "Discovering universal geometry in embeddings with ICA" (2023).
"""

from dataclasses import dataclass

import numpy as np

from minivec.algorithm.procrustes import polar, retract
from minivec.frame import Principal

# Figures: docs/tuning.md.
ROWS = 16_384  # most rows that components are found from
ITERATIONS = 24  # of FastICA at most
CLIP = np.float32(3)  # standard deviations, of the clipped cube
TOLERANCE = 1e-3  # 1 - |cosine| of the slowest component between two iterations


@dataclass(frozen=True)
class Components:
    """k independent components of one space.

    ``signals`` (n, k) have unit variance and positive skewness; ``directions`` (d, k) are their mixing directions:
    the rows of the space are nearly ``signals @ directions.T``.
    """

    signals: np.ndarray
    directions: np.ndarray

    def of(self, rows: np.ndarray) -> np.ndarray:
        """The signals (m, k) of other framed rows (m, d)."""
        return rows @ np.linalg.pinv(self.directions).T


def independent_components(
    X: np.ndarray, principal: Principal, k: int, contrast: str, rng: np.random.Generator
) -> Components:
    """The k independent components of framed rows ``X`` (n, d) by symmetric FastICA (Hyvarinen, 1999).

    The leading k principal directions are whitened and rotated; ``contrast`` is "cube" (clipped at CLIP standard
    deviations, so that a few far rows do not decide) or "tanh". Signs are fixed by positive skewness.
    """
    if len(X) > ROWS:
        X = X[rng.choice(len(X), ROWS, replace=False)]
    scale = np.sqrt(principal.values[:k])
    basis = principal.directions[:, :k]
    Z = X @ (basis / scale)
    rotation = _fastica(Z, contrast, rng)
    signals = Z @ rotation
    sign = np.where((signals * signals * signals).mean(0) < 0, -1, 1).astype(np.float32)  # ** is slower
    return Components(signals * sign, (basis * scale) @ (rotation * sign))


def _fastica(Z: np.ndarray, contrast: str, rng: np.random.Generator) -> np.ndarray:
    """The rotation (k, k) of whitened rows ``Z`` (n, k) that makes the columns least Gaussian."""
    B = polar(rng.standard_normal((Z.shape[1], Z.shape[1]), dtype=np.float32))
    for _ in range(ITERATIONS):
        S = Z @ B
        if contrast == "tanh":
            G = np.tanh(S)
            slope = 1 - np.einsum("ij,ij->j", G, G) / len(Z)
        else:
            S = np.clip(S, -CLIP, CLIP)
            squares = S * S
            G = squares * S
            slope = 3 * (squares.mean(0) - CLIP**2 * (squares == CLIP**2).mean(0, dtype=np.float32))
        previous, B = B, retract(Z.T @ G / len(Z) - B * slope)
        if np.max(1 - np.abs(np.einsum("ij,ij->j", previous, B))) < TOLERANCE:
            break
    return B
