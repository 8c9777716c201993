"""Refine-1: every mapped row moves towards the mean of its nearest neighbours."""

from typing import Any

import numpy as np

from minivec.algorithm.procrustes import polar
from minivec.frame import unit
from minivec.search import mean_of_nearest


def neighbors_step(
    X: np.ndarray, Y: np.ndarray, W: np.ndarray, *, sample: int | None, neighbors: int, rng: np.random.Generator
) -> tuple[np.ndarray, dict[str, Any]]:
    """The orthogonal map (dA, dB) from ``sample`` rows of ``X`` (None: all) to the means of their neighbours.

    Neighbours are the ``neighbors`` rows of ``Y`` nearest to a row mapped by ``W``. The objective is the mean
    cosine of the mapped rows to those means.
    """
    rows = X[rng.permutation(len(X))[:sample]]
    mapped = rows @ W
    targets = mean_of_nearest(mapped, Y, Y, neighbors)
    cosine = np.einsum("ij,ij->i", unit(mapped), unit(targets)).mean()
    return polar(rows.T @ targets), {"objective": float(cosine)}
