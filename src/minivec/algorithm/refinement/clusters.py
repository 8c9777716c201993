"""Refine-2: the mapped centroids of one space move to clusters of the other."""

from typing import Any

import numpy as np

from minivec.algorithm.anchors.centroids import kmeans
from minivec.algorithm.procrustes import polar
from minivec.frame import unit


def clusters_step(
    X: np.ndarray, Y: np.ndarray, W: np.ndarray, *, clusters: int, rng: np.random.Generator
) -> tuple[np.ndarray, dict[str, Any]]:
    """The orthogonal map (dA, dB) from ``clusters`` centroids of ``X`` to their counterparts in ``Y``.

    K-means on ``Y`` starts from the centroids mapped by ``W``, so that each keeps its counterpart. The
    objective is the mean cosine of the mapped centroids to their counterparts.
    """
    centroids = kmeans(X, clusters, rng)
    counterparts = kmeans(Y, clusters, rng, init=centroids @ W)
    cosine = np.einsum("ij,ij->i", unit(centroids @ W), unit(counterparts)).mean()
    return polar(centroids.T @ counterparts), {"objective": float(cosine)}
