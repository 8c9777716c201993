"""Refine-2: the mapped centroids of one space settle among the rows of the other."""

from typing import Any

import numpy as np

from minivec.algorithm.anchors.centroids import kmeans
from minivec.algorithm.procrustes import polar
from minivec.frame import unit


def clusters_step(
    X: np.ndarray, Y: np.ndarray, W: np.ndarray, clusters: int, rng: np.random.Generator
) -> tuple[np.ndarray, dict[str, Any]]:
    """The orthogonal map (dA, dB) between ``clusters`` centroids of ``X`` and where they settle in ``Y``.

    K-means on ``Y`` starts from the centroids mapped by ``W``, so that each keeps its counterpart. The
    objective is the mean cosine of the mapped centroids to where they settle.
    """
    centroids = kmeans(X, clusters, rng)
    settled = kmeans(Y, clusters, rng, init=centroids @ W)
    cosine = np.einsum("ij,ij->i", unit(centroids @ W), unit(settled)).mean()
    return polar(centroids.T @ settled), {"objective": float(cosine)}
