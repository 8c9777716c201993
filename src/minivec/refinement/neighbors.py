"""Refine-1: every mapped row is drawn to the mean of its nearest neighbours."""

import numpy as np

from minivec.procrustes import polar
from minivec.search import mean_of_nearest


def neighbors_step(
    X: np.ndarray, Y: np.ndarray, W: np.ndarray, sample: int, neighbors: int, rng: np.random.Generator
) -> np.ndarray:
    """The orthogonal map (dA, dB) from ``sample`` rows of ``X``, or all, to their neighbours' means.

    Those are the means of the ``neighbors`` rows of ``Y`` nearest to each row mapped by ``W``.
    """
    rows = X[rng.permutation(len(X))[:sample]]
    return polar(rows.T @ mean_of_nearest(rows @ W, Y, Y, neighbors))
