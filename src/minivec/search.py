"""Exact nearest neighbours among unit rows: by cosine, and by CSLS, which corrects cosine for hubs."""

import faiss
import numpy as np
from scipy.sparse import csr_array


def top_k(Q: np.ndarray, base: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """The ``k`` rows of ``base`` (m, d) with the largest inner products with each row of ``Q`` (n, d).

    Returns similarities (n, k) float32, best first, and row numbers (n, k). The search is exact (FAISS's
    flat inner-product search, which works in blocks); its order is the cosine's where the rows of ``base``
    have length 1. Raises ValueError when the widths differ or k is not in 1..m.
    """
    if Q.shape[1] != base.shape[1]:
        raise ValueError(f"queries have width {Q.shape[1]}, the rows searched have width {base.shape[1]}")
    if not 1 <= k <= len(base):
        raise ValueError(f"k must be between 1 and the {len(base)} rows searched, got {k}")
    return faiss.knn(Q, base, k, metric=faiss.METRIC_INNER_PRODUCT)


def hubness(base: np.ndarray, Q: np.ndarray, neighbors: int) -> np.ndarray:
    """Mean cosine of each row of ``base`` (m, d) to its nearest ``neighbors`` rows of ``Q`` (n, d): (m,).

    With fewer than ``neighbors`` rows in ``Q``, all of them count.
    """
    return top_k(base, Q, min(neighbors, len(Q)))[0].mean(1)


def csls_top_k(
    Q: np.ndarray, base: np.ndarray, k: int, neighbors: int = 10, crowd: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """As ``top_k``, by cross-domain similarity local scaling (Conneau et al., 2018, section 2.3).

    CSLS(x, y) = 2 cos(x, y) - r(x) - r(y), where r is the mean cosine to the ``neighbors`` nearest rows of
    the other side. Both sides must be unit rows. The queries correct each other: give all of them at once, or rows
    of their kind as ``crowd`` (m, d).
    """
    hubs = hubness(base, Q if crowd is None else crowd, neighbors)
    # One more coordinate makes CSLS an inner product, so that the flat search finds it exactly.
    similarity, near = top_k(np.c_[2 * Q, -np.ones_like(Q[:, :1])], np.c_[base, hubs], k)
    return similarity - hubness(Q, base, neighbors)[:, None], near


def mean_of_nearest(Q: np.ndarray, keys: np.ndarray, values: np.ndarray, k: int) -> np.ndarray:
    """For each row of ``Q``, the mean of the ``values`` (m, d) of its ``k`` nearest ``keys``: (n, d)."""
    near = top_k(Q, keys, k)[1]
    ends = np.arange(0, near.size + 1, k)
    share = csr_array((np.full(near.size, 1 / k, np.float32), near.ravel(), ends), (len(Q), len(keys)))
    return share @ values
