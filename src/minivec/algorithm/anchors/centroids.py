"""Anchors of preset "paper": the centroids of k-means."""

import faiss
import numpy as np

ITERATIONS = 25  # of Lloyd; figures: docs/tuning.md


def kmeans(X: np.ndarray, clusters: int, rng: np.random.Generator, init: np.ndarray | None = None) -> np.ndarray:
    """Centroids (clusters, d) of all rows of ``X`` (n, d), at least as many as clusters.

    Lloyd's iterations from ``init`` (clusters, d), or from greedy k-means++ (Arthur and Vassilvitskii, 2007),
    which finds separate clusters nearly every time where random rows never do.
    """
    lloyd = faiss.Kmeans(
        X.shape[1],
        clusters,
        niter=ITERATIONS,
        seed=int(rng.integers(2**31)),
        min_points_per_centroid=1,
        max_points_per_centroid=len(X),
    )
    lloyd.train(X, init_centroids=_plus_plus(X, clusters, rng) if init is None else init)
    return np.asarray(lloyd.centroids)


def _plus_plus(X: np.ndarray, clusters: int, rng: np.random.Generator) -> np.ndarray:
    """Rows to start from, each the best of a few drawn in proportion to squared distance from the others."""
    draws = 2 + int(np.log(clusters))
    squares = np.einsum("ij,ij->i", X, X)

    def distances(rows: np.ndarray) -> np.ndarray:
        return np.maximum(squares[:, None] + X @ (-2 * X[rows].T) + squares[rows], 0)

    chosen = rng.integers(len(X), size=1)
    nearest = distances(chosen)[:, 0]
    while len(chosen) < clusters:
        mass = np.cumsum(nearest, dtype=np.float64)
        drawn = np.searchsorted(mass, rng.random(draws) * mass[-1]).clip(max=len(X) - 1)
        nearer = np.minimum(nearest[:, None], distances(drawn))
        best = nearer.sum(0).argmin()
        chosen, nearest = np.append(chosen, drawn[best]), nearer[:, best]
    return X[chosen]
