"""Retrieval metrics of a map, measured on true pairs."""

from collections.abc import Callable
from typing import Any

import numpy as np

from minivec.frame import unit
from minivec.map import LinearMap
from minivec.search import hubness
from minivec.validation import as_array, as_rows

TIE = 1e-6  # cosines this close are equal: float32 is off by a few 1e-7
NEIGHBORS = 10  # of CSLS, as published


def evaluate_alignment(
    aligner: Callable[[np.ndarray], Any], A: Any, B: Any, block_size: int = 4096
) -> dict[str, float]:
    """Retrieval metrics of ``aligner`` on true pairs, row i of ``A`` (n, dA) with row i of ``B`` (n, dB).

    ``aligner`` maps raw rows of A to rows that can be compared by cosine with raw rows of B: an aligned
    ``MiniVec2VecAligner`` or a ``LinearMap``, which map them ``for_queries``, or any callable of that kind. Every
    mapped row ranks all n rows of B:

    - ``top1_accuracy``, ``recall_at_5``, ``recall_at_10``: share of partners among the first 1, 5, 10
    - ``mean_rank`` (1 is best), ``mean_reciprocal_rank``
    - ``mean_cosine_similarity`` to the partner
    - ``csls_top1_accuracy``: top-1 under CSLS with 10 neighbours (Conneau et al., 2018)

    Ties count against: the rank is 1 + the number of *other* rows at least as similar as the partner, to
    within 1e-6. The search is exact, ``block_size`` x ``block_size`` cosines at a time. Raises ValueError for
    A and B of different lengths, and as ``align`` does for what is no embedding.
    """
    A, B = as_rows(A, "A"), as_rows(B, "B")
    if len(A) != len(B):
        raise ValueError(f"A and B must be true pairs, row by row: A has {len(A)} rows, B has {len(B)}")
    if block_size < 1:
        raise ValueError(f"block_size must be at least 1, got {block_size}")
    starts, aligner = range(0, len(A), block_size), asking(aligner)
    blocks = [aligner(np.asarray(A[i : i + block_size], np.float32)) for i in starts]
    mapped = as_rows(np.concatenate([as_array(b, "the aligner's output") for b in blocks]), "the aligner's output")
    if mapped.shape != B.shape:
        raise ValueError(f"the aligner returned shape {mapped.shape} for A, but B has shape {B.shape}")
    U, V = unit(mapped), unit(np.asarray(B, np.float32))

    return retrieval_metrics(*partner_ranks(U, V, block_size))


def asking(aligner: Callable[[np.ndarray], Any]) -> Callable[[np.ndarray], Any]:
    """The map of an aligned model, or a ``LinearMap``, for rows that ask; any other callable as it is."""
    bridge = getattr(aligner, "map", aligner)
    return bridge.for_queries() if isinstance(bridge, LinearMap) else aligner


def partner_ranks(U: np.ndarray, V: np.ndarray, block_size: int = 4096) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Where each row of ``U`` (n, d) finds its partner, the same row of ``V`` (n, d), both of unit rows.

    Returns the partners' cosines (n,), their ranks among all of ``V`` by cosine and their ranks by CSLS, 1 the best,
    ties as ``evaluate_alignment`` counts them.
    """
    starts = range(0, len(U), block_size)
    own = np.einsum("ij,ij->i", U, V)
    hubs = hubness(V, U, NEIGHBORS)
    rank, csls_rank = np.ones(len(U), int), np.ones(len(U), int)
    for i in starts:
        rows = slice(i, i + block_size)
        for j in starts:
            columns = slice(j, j + block_size)
            cosine = U[rows] @ V[columns].T
            if i == j:
                np.fill_diagonal(cosine, -np.inf)  # rounding must not make a row its own rival
            rank[rows] += (cosine >= own[rows, None] - TIE).sum(1)
            corrected = cosine - hubs[columns] / 2
            csls_rank[rows] += (corrected >= (own - hubs / 2)[rows, None] - TIE).sum(1)
    return own, rank, csls_rank


def retrieval_metrics(own: np.ndarray, rank: np.ndarray, csls_rank: np.ndarray) -> dict[str, float]:
    """The metrics of ``evaluate_alignment`` from the cosines and ranks that ``partner_ranks`` returns."""
    return {
        "top1_accuracy": float((rank == 1).mean()),
        "recall_at_5": float((rank <= 5).mean()),
        "recall_at_10": float((rank <= 10).mean()),
        "mean_rank": float(rank.mean()),
        "mean_reciprocal_rank": float((1 / rank).mean()),
        "mean_cosine_similarity": float(own.mean()),
        "csls_top1_accuracy": float((csls_rank == 1).mean()),
    }
