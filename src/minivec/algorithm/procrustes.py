"""Closed-form maps between paired rows: the last word of every step."""

from typing import Any

import numpy as np

from minivec.frame import Principal, unit

SHARED = 0.25  # power of the singular values by which rows are compared: 0.5 gains no more, and drifts
LEAST = 1 / 3  # of the directions, those least shared, are not compared: 2,000 rows reach 0.59 of the ceiling for 0.55
WHITEN = 0.35  # power of the variances taken out of a cross-covariance on each side
RIDGES = tuple(10.0**power for power in np.arange(-4, 2.5, 0.5))  # in units of the mean variance
RESIDUAL_RIDGES = (0.01, 0.1, 1.0, 10.0)
RANKS = (8, 16, 32, 64, 128, 256)
HELD_OUT, CROWD = 1_000, 4_000  # rows at most that choose rank and ridge, and that their partners are looked for among


def polar(M: np.ndarray) -> np.ndarray:
    """The (semi-)orthogonal matrix nearest to ``M``, shape (dA, dB): U V^T of its thin SVD. Also stacks of them.

    With M = X^T Y this is orthogonal Procrustes (Schoenemann, 1966): it minimises ||X W - Y||. Where dA <= dB the rows
    of W are orthonormal, otherwise its columns are.
    """
    U, _, Vt = np.linalg.svd(M, full_matrices=False)
    return (U @ Vt).astype(np.float32, copy=False)


def retract(M: np.ndarray) -> np.ndarray:
    """``polar`` of matrices (..., dA, dB) to 1e-3, for a step among many: two to three times as fast."""
    U, _, V = _quick_svd(M)
    return U @ np.swapaxes(V, -1, -2)


def shared_directions(M: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where two spaces with cross-covariances ``M`` (..., dA, dB) are to be compared: (..., dA, k) and (..., dB, k).

    For M = U S V^T, scaled to a largest singular value of 1: U S^SHARED and V S^SHARED. With all of S equal that is
    the polar factor's comparison; the less a direction is shared, the less it says, and the least shared third of them
    has no say at all.
    """
    U, S, V = _quick_svd(M)
    least = int(LEAST * S.shape[-1])
    U, S, V = U[..., least:], S[..., least:], V[..., least:]
    weights = (S / S[..., -1:])[..., None, :] ** SHARED
    return U * weights, V * weights


def _quick_svd(M: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """U (..., dA, k), S (..., k), rising, and V (..., dB, k) of M = U S V^T, to 1e-3.

    From the eigenvectors of the smaller Gram matrix, which squares the condition of ``M``.
    """
    transposed = np.swapaxes(M, -1, -2)
    if M.shape[-2] > M.shape[-1]:
        V, S, U = _quick_svd(transposed)
        return U, S, V
    values, U = np.linalg.eigh(M @ transposed)
    S = np.sqrt(np.maximum(values, 1e-9 * values[..., -1:]))
    return U, S, transposed @ (U / S[..., None, :])


def even_procrustes(cross: np.ndarray, source: Principal, target: Principal) -> np.ndarray:
    """The (semi-)orthogonal map (dA, dB) from a cross-covariance of rows, all directions heard about equally.

    A soft plan's cross-covariance is loudest where the variances are large. Partly whitened first, 0.779 -> 0.798 top-1
    (E5 -> MiniLM glosses).
    """
    inside = source.directions.T @ cross @ target.directions
    evened = source.evening(WHITEN)[:, None] * inside * target.evening(WHITEN)
    return source.directions @ polar(evened) @ target.directions.T


def ridge(X: np.ndarray, Y: np.ndarray) -> tuple[np.ndarray, dict[str, Any]]:
    """The linear map (dA, dB) from paired rows ``X`` (m, dA) to ``Y`` (m, dB) that predicts a row left out best.

    Ridge regression; of RIDGES, the one with the least error of each row predicted from all others, which is known
    in closed form (Allen's PRESS). Returns the map and that ``ridge``. It wins with fewer pairs than dimensions; with
    many, what it shrinks costs more top-1 than it gains.
    """
    values, V = np.linalg.eigh((X.T @ X).astype(np.float64))
    P, scale = X @ V, max(values.mean(), 1e-12)
    cross = P.T @ Y
    errors = []
    for ridge in RIDGES:
        damped = np.maximum(values, 0) + ridge * scale
        leverage = (P * P / damped).sum(1)
        errors.append(np.square((Y - P @ (cross / damped[:, None])) / (1 - leverage)[:, None]).sum())
    best = RIDGES[int(np.argmin(errors))]
    W = V @ (cross / (np.maximum(values, 0) + best * scale)[:, None])
    return W.astype(np.float32), {"ridge": best}


def low_rank(X: np.ndarray, Y: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, dict[str, Any]]:
    """Procrustes and what it leaves over, as far as few directions tell: c Q + U V^T, shape (dA, dB).

    Q is the orthogonal map of paired rows ``X`` (m, dA) to ``Y`` (m, dB), c its least-squares scale, U V^T the reduced-
    rank ridge regression of Y - c X Q on X: Drift-Adapter's low-rank affine map (arXiv 2509.23471), started from its
    orthogonal one, in closed form. ``rank`` (0: Q alone) and ``ridge`` are those by which a fifth of the rows, held
    out, find their partners best; they are returned beside the map.
    """
    order = rng.permutation(len(X))
    n = min(len(X) // 5, HELD_OUT)
    held, rest, crowd = order[:n], order[n:], order[:CROWD]
    best, chosen = _success(X[held] @ polar(X[rest].T @ Y[rest]), Y[crowd]), (0, 0.0)
    for ridge in RESIDUAL_RIDGES:
        cQ, B, V = _residual(X[rest], Y[rest], ridge)
        for rank in (r for r in RANKS if r < len(V)):
            found = _success(X[held] @ (cQ + B @ V[:, :rank] @ V[:, :rank].T), Y[crowd])
            if found > best:
                best, chosen = found, (rank, ridge)
    rank, ridge = chosen
    if rank == 0:
        return polar(X.T @ Y), {"rank": 0, "ridge": None}
    cQ, B, V = _residual(X, Y, ridge)
    return (cQ + B @ V[:, :rank] @ V[:, :rank].T).astype(np.float32), {"rank": rank, "ridge": ridge}


def _residual(X: np.ndarray, Y: np.ndarray, ridge: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Scaled Procrustes (dA, dB), the ridge regression of its residual, and directions (dB, dB), loudest first."""
    Q = polar(X.T @ Y)
    mapped = X @ Q
    cQ = Q * (np.vdot(mapped, Y) / np.vdot(mapped, mapped))
    gram = X.T @ X
    damping = ridge * np.trace(gram) / len(gram) * np.eye(len(gram), dtype=np.float32)
    B = np.linalg.solve(gram + damping, X.T @ (Y - X @ cQ))
    return cQ, B, np.linalg.eigh(B.T @ gram @ B)[1][:, ::-1]


def partner_ranks(mapped: np.ndarray, Y: np.ndarray) -> np.ndarray:
    """The rank (n,), from 1, of row i of ``Y`` (m, d) for row i of ``mapped`` (n, d) by cosine among all m rows."""
    cosine = unit(mapped) @ unit(Y).T
    own = np.diagonal(cosine).copy()
    np.fill_diagonal(cosine, -np.inf)  # a row is no rival of itself, whatever rounding says
    return 1 + (cosine >= own[:, None]).sum(1)


def trust(cosine: np.ndarray) -> np.ndarray:
    """How far pairs count, from 0 to 1, by the ``cosine`` (m,) of each under a map that has not seen it.

    In full from half the median on. What a right pair loses is a bias towards the map (full trust from the upper
    quartile on: 0.872 for 0.885 top-1); a wrong one, of cosine about zero, keeps some tenth of its weight.
    """
    return np.clip(2 * cosine / max(float(np.median(cosine)), 1e-6), 0, 1) ** 2


def _success(mapped: np.ndarray, Y: np.ndarray) -> tuple[float, float]:
    """How well ``mapped`` rows find their partners in ``Y``: mean reciprocal rank, then mean cosine."""
    cosine = (unit(mapped) * unit(Y[: len(mapped)])).sum(1).mean()
    return round(float((1 / partner_ranks(mapped, Y)).mean()), 3), float(cosine)
