"""Mixtures of Gaussians with a known rotation between the two sides: what a fit makes of clusters alone.

They are two ends of what data look like: ``tight``, 20 round modes far apart, each a cluster of its own, and
``wide``, 100 elongated modes that overlap, where no cluster is separate and every mode has a shape.
"""

from typing import NamedTuple

import numpy as np

DIMENSION = 128
ROWS = 25_000

# Modes, and each mode's standard deviations along its axes; the centres are N(0, I).
MIXTURES = {
    "tight": (20, np.full(DIMENSION, 0.05)),
    "wide": (100, 4 / np.sqrt(np.arange(1, DIMENSION + 1))),
}


class Pair(NamedTuple):
    """Unpaired rows of A and B, (n, d) each, and the rotation W (d, d): A @ W has the distribution of B."""

    A: np.ndarray
    B: np.ndarray
    W: np.ndarray


def mixture(name: str, seed: int = 0, rows: int = ROWS) -> Pair:
    """``rows`` rows a side, float32, drawn independently from one of MIXTURES, A rotated at random."""
    rng = np.random.default_rng(seed)
    modes, spread = MIXTURES[name]
    centres = rng.normal(size=(modes, DIMENSION))
    axes = [rotation(rng) * spread[:, None] for _ in range(modes)]
    weights = rng.dirichlet(np.full(modes, 5.0))
    W = rotation(rng)

    def draw() -> np.ndarray:
        parts = [
            centre + rng.normal(size=(size, DIMENSION)) @ axis
            for centre, axis, size in zip(centres, axes, rng.multinomial(rows, weights), strict=True)
        ]
        return rng.permutation(np.concatenate(parts)).astype(np.float32)

    return Pair(draw() @ W.T, draw(), W)


def rotation(rng: np.random.Generator) -> np.ndarray:
    """A uniformly random orthogonal matrix, (d, d) float32."""
    Q, R = np.linalg.qr(rng.normal(size=(DIMENSION, DIMENSION)))
    return (Q * np.sign(np.diag(R))).astype(np.float32)
