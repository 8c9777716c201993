"""Match centroids to centroids: the quadratic assignment problem between their Gram matrices."""

import numpy as np
from scipy.optimize import quadratic_assignment

from minivec.algorithm.anchors.centroids import kmeans
from minivec.algorithm.procrustes import polar


def matched_centroids(
    X: np.ndarray, Y: np.ndarray, clusters: int, rng: np.random.Generator, sample: int = 10_000
) -> tuple[np.ndarray, np.ndarray]:
    """One of the paper's runs: centroids of at most ``sample`` rows of each space, matched row by row.

    Shapes (clusters, dA) and (clusters, dB).
    """
    CX, CY = (kmeans(Z[rng.permutation(len(Z))[:sample]], clusters, rng) for Z in (X, Y))
    return CX, CY[match_2opt(gram(CX), gram(CY), rng)]


def centroid_start(
    X: np.ndarray, Y: np.ndarray, clusters: int, runs: int, rng: np.random.Generator, sample: int = 5000
) -> np.ndarray:
    """The orthogonal map (dA, dB) between the best-matched two of ``runs`` sets of centroids a side.

    All pairs of sets are tried; the correlation of their Gram matrices decides. Where the rows are ``clusters``
    separate clusters the map is right at once. Elsewhere it is a guess to be compared with others.
    """
    CX, CY = (
        np.stack([kmeans(Z[rng.permutation(len(Z))[:sample]], clusters, rng) for _ in range(runs)]) for Z in (X, Y)
    )
    CX, CY = np.repeat(CX, runs, 0), np.tile(CY, (runs, 1, 1))
    GX, GY = gram(CX), gram(CY)
    p, score = match_tabu(GX, GY, rng)
    best = (score / np.linalg.norm(GX, axis=(1, 2)) / np.linalg.norm(GY, axis=(1, 2))).argmax()
    return polar(CX[best].T @ CY[best][p[best]])


def gram(C: np.ndarray) -> np.ndarray:
    """Inner products of the rows of ``C`` (..., k, d) around their mean, (..., k, k)."""
    C = C - C.mean(-2, keepdims=True)
    return C @ C.swapaxes(-1, -2)


def match_2opt(GX: np.ndarray, GY: np.ndarray, rng: np.random.Generator, restarts: int = 30) -> np.ndarray:
    """The permutation p (k,) with the largest sum of GX * GY[p][:, p] of ``restarts`` runs of SciPy's 2-opt.

    As published; ``match_tabu`` finds better ones in less time.
    """
    options = {"maximize": True, "rng": rng}
    results = [quadratic_assignment(GX, GY, method="2opt", options=options) for _ in range(restarts)]
    return max(results, key=lambda result: result.fun).col_ind


def match_tabu(
    GX: np.ndarray, GY: np.ndarray, rng: np.random.Generator, starts: int = 10, iterations: int = 300
) -> tuple[np.ndarray, np.ndarray]:
    """Permutations p (m, k) with the largest sums of GX[i] * GY[i][p[i]][:, p[i]], and those sums (m,).

    Robust tabu search (Taillard, 1991) over swaps, for all m problems, GX and GY (m, k, k), symmetric, and
    all their random starts in one batch. A step takes the best swap even when it loses, except one that puts
    both rows back where they were about k steps ago, unless that makes the best sum so far.
    """
    A, B = (np.repeat(np.asarray(G, np.float64), starts, axis=0) for G in (GX, GY))
    runs, k = A.shape[:2]
    run = np.arange(runs)
    first, second = np.triu_indices(k, 1)
    p = rng.permuted(np.tile(np.arange(k), (runs, 1)), axis=1)
    B = B[run[:, None, None], p[:, :, None], p[:, None, :]]  # from here on as p has it
    AB = A @ B

    def squared_distances(G: np.ndarray) -> np.ndarray:
        own = np.einsum("rii->ri", G)
        return own[:, first] + own[:, second] - G[:, first, second] - G[:, second, first]

    distances = squared_distances(A)
    tabu = np.zeros((runs, k, k), int)  # until which step row i may not go back to where row j is now
    score = np.einsum("rii->r", AB)
    best, best_score = p.copy(), score.copy()
    for step in range(iterations):
        gain = distances * squared_distances(B) - 2 * squared_distances(AB)
        back = np.minimum(tabu[:, first, second], tabu[:, second, first]) > step
        barred = back & (score[:, None] + gain <= best_score[:, None])
        swap = np.where(barred, -np.inf, gain).argmax(1)

        i, j = first[swap], second[swap]
        score += gain[run, swap]
        AB += (A[run, :, i] - A[run, :, j])[:, :, None] * (B[run, j] - B[run, i])[:, None, :]
        for table in AB, B, tabu:
            table[run, :, i], table[run, :, j] = table[run, :, j], table[run, :, i]
        B[run, i], B[run, j] = B[run, j], B[run, i]
        p[run, i], p[run, j] = p[run, j], p[run, i]
        tabu[run, i, j] = tabu[run, j, i] = step + rng.integers(int(0.9 * k), int(1.1 * k) + 2, runs)

        better = score > best_score
        best[better], best_score[better] = p[better], score[better]
    winner = np.arange(len(GX)), best_score.reshape(-1, starts).argmax(1)
    return best.reshape(-1, starts, k)[winner], best_score.reshape(-1, starts)[winner]
