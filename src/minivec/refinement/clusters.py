"""Refine-2: the mapped centroids of one space settle among the rows of the other."""

import numpy as np

from minivec.anchors.centroids import kmeans
from minivec.procrustes import polar


def clusters_step(
    X: np.ndarray, Y: np.ndarray, W: np.ndarray, clusters: int, rng: np.random.Generator
) -> np.ndarray:
    """The orthogonal map (dA, dB) between ``clusters`` centroids of ``X`` and where they settle in ``Y``.

    K-means on ``Y`` starts from the centroids mapped by ``W``, so that each keeps its counterpart.
    """
    centroids = kmeans(X, clusters, rng)
    return polar(centroids.T @ kmeans(Y, clusters, rng, init=centroids @ W))
