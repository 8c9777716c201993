"""Mixtures of Gaussians with a known rotation between the two sides: what clusters alone can tell a fit.

They are two ends of what data look like: ``tight``, 20 round modes far apart, each a cluster of its own, and
``wide``, 100 elongated modes that overlap, where no cluster is separate and every mode has a shape.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

DIMENSION = 128
ROWS = 25_000


class Mixture(NamedTuple):
    """Unpaired rows of A and B, (n, d) each, and the rotation W (d, d): rows of A @ W are drawn as B's."""

    A: np.ndarray
    B: np.ndarray
    W: np.ndarray


def tight(rng: np.random.Generator) -> Callable[[int], np.ndarray]:
    """A sampler of 20 round modes: centres N(0, I), spread 0.05 in every direction, unequal weights."""
    return _sampler(rng, modes=20, spread=np.full((20, DIMENSION), 0.05))


def wide(rng: np.random.Generator) -> Callable[[int], np.ndarray]:
    """A sampler of 100 elongated modes: centres N(0, I), spread 4 / sqrt(i) along the i-th of random axes."""
    spread = 4 / np.sqrt(np.arange(1, DIMENSION + 1))
    return _sampler(rng, modes=100, spread=np.tile(spread, (100, 1)))


def pair(
    kind: Callable[[np.random.Generator], Callable[[int], np.ndarray]], seed: int = 0, rows: int = ROWS
) -> Mixture:
    """Both sides of a mixture: ``rows`` rows of each, drawn independently, A rotated at random."""
    rng = np.random.default_rng(seed)
    draw = kind(rng)
    W = rotation(rng)
    return Mixture(draw(rows) @ W.T, draw(rows), W)


def rotation(rng: np.random.Generator) -> np.ndarray:
    """A uniformly random orthogonal matrix, (d, d) float32."""
    Q, R = np.linalg.qr(rng.normal(size=(DIMENSION, DIMENSION)))
    return (Q * np.sign(np.diag(R))).astype(np.float32)


def _sampler(rng: np.random.Generator, modes: int, spread: np.ndarray) -> Callable[[int], np.ndarray]:
    """A function that draws rows; centres, axes and weights are drawn from ``rng`` here, once."""
    centres = rng.normal(size=(modes, DIMENSION)).astype(np.float32)
    axes = np.stack([rotation(rng) * s[:, None] for s in spread.astype(np.float32)])
    weights = rng.dirichlet(np.full(modes, 5.0))

    def draw(rows: int) -> np.ndarray:
        sizes = rng.multinomial(rows, weights)
        parts = [
            c + rng.normal(size=(n, DIMENSION)).astype(np.float32) @ a
            for c, a, n in zip(centres, axes, sizes, strict=True)
        ]
        return rng.permutation(np.concatenate(parts))

    return draw
