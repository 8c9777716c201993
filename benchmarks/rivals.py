"""A rival's fit without pairs: the Wasserstein Procrustes of "Shared Geometry as a Rosetta Stone" (arXiv 2610.09411).

The name of its code is unpaired-rosetta. We wrote the procedure anew, from the paper's two algorithms as the authors'
README and notebook state them; their code is not used. From the paper, with its settings:

- Start: 30 times, k-means with 30 clusters in up to 10,000 rows of each space; the permutation P of the centroids that
  maximizes the centred kernel alignment tr(K_A P K_B P^T), a quadratic assignment; the mean M of A^T P B.
- Read-out: blocks of rows of both spaces, assigned one to one by the scores X M Y^T; Procrustes on all of these pairs.
- Refinement: 100 times, a random batch of both spaces, assigned by the cosines under the map; Procrustes.

Ours:

- FAISS makes the centroids and tabu search solves the quadratic assignments. The authors use scikit-learn and MPOpt. On
  E5 and MiniLM the sums that tabu search found were as large as those of MPOpt or larger; those of SciPy were smaller.
- Several whole fits, from other random numbers, compete. The one with the highest mean cosine of matched rows wins,
  among rows that no fit has seen: a tenth of both sides, assigned one to one.
- A batch is at most half of the rows. With all of them, as the paper's 10,000 means where there are fewer, the first
  assignment reproduces itself, and no later round changes the map.
"""

import numpy as np
from scipy.optimize import linear_sum_assignment

from minivec.algorithm.anchors.centroids import kmeans
from minivec.algorithm.matching.assignment import gram, match_tabu
from minivec.algorithm.procrustes import polar
from minivec.frame import Frame

CLUSTERS, RESTARTS, BATCH, ROUNDS = 30, 30, 10_000, 100  # the paper's C, S, b, R
STARTS, STEPS = 30, 1_000  # of tabu search for a quadratic assignment
FITS = 3  # that compete
HELD_OUT = 1_000  # most rows a side that judge them


def unpaired_rosetta(
    A: np.ndarray, B: np.ndarray, seed: int, *, fits: int = FITS, rounds: int = ROUNDS
) -> tuple[np.ndarray, float]:
    """Map raw rows ``A`` (n, dA) to the space of ``B`` (m, dB), without pairs.

    Returns the map (dA, dB) of framed rows and the mean cosine by which it won against the other ``fits``, at least 1.
    ``rounds`` are those of the refinement.
    """
    rng = np.random.default_rng(seed)
    X, Y = (Frame.of(rows).apply(rng.permutation(rows)) for rows in (A, B))
    held = min(len(X) // 10, len(Y) // 10, HELD_OUT)
    candidates = []
    for _ in range(fits):
        W = _one_fit(X[held:], Y[held:], rounds, rng)
        candidates.append((_matched(X[:held] @ W, Y[:held])[2], W))
    cosine, W = max(candidates, key=lambda candidate: candidate[0])
    return W, cosine


def _one_fit(X: np.ndarray, Y: np.ndarray, rounds: int, rng: np.random.Generator) -> np.ndarray:
    W = _read_out(X, Y, geometric_start(X, Y, rng), rng)
    batch = min(BATCH, len(X) // 2, len(Y) // 2)
    for _ in range(rounds):
        x, y = (rows[rng.choice(len(rows), batch, replace=False)] for rows in (X, Y))
        rows, columns, _ = _matched(x @ W, y)
        W = polar(x[rows].T @ y[columns])
    return W


def geometric_start(X: np.ndarray, Y: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The mean (dA, dB) of A^T P B / CLUSTERS over RESTARTS, of framed rows ``X`` (n, dA) and ``Y`` (m, dB)."""
    total = np.zeros((X.shape[1], Y.shape[1]), np.float32)
    for _ in range(RESTARTS):
        a, b = (kmeans(rows[rng.permutation(len(rows))[:BATCH]], CLUSTERS, rng) for rows in (X, Y))
        (partners,), _ = match_tabu(gram(a)[None], gram(b)[None], rng, starts=STARTS, iterations=STEPS)
        total += a.T @ b[partners] / (RESTARTS * CLUSTERS)
    return total


def _read_out(X: np.ndarray, Y: np.ndarray, M: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    X, Y = rng.permutation(X), rng.permutation(Y)
    total = np.zeros(M.shape, np.float32)
    for start in range(0, min(len(X), len(Y)), BATCH):
        x, y = (rows[start : start + BATCH] for rows in (X, Y))
        rows, columns, _ = _matched(x @ M, y)
        total += x[rows].T @ y[columns]
    return polar(total)


def _matched(mapped: np.ndarray, Y: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
    """Rows of ``mapped`` (n, d), each with a row of its own of ``Y`` (m, d): both numbers, and the mean product."""
    scores = mapped @ Y.T
    rows, columns = linear_sum_assignment(scores, maximize=True)
    return rows, columns, float(scores[rows, columns].mean())
