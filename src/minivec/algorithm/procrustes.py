"""Closed-form maps between paired rows, by which every step ends."""

from typing import Any

import numpy as np

from minivec.frame import Principal, unit

# Figures: docs/tuning.md.
SHARED = 0.25  # power of the singular values that weight the directions by which rows are compared
LEAST = 1 / 3  # share of the directions, the least shared ones, by which rows are not compared
WHITENING_POWER = 0.35  # of a cross-covariance, on each side
NEWTON_STEPS = 3
RIDGES = tuple(10.0**power for power in np.arange(-4, 2.5, 0.5))  # in units of the mean variance
RESIDUAL_RIDGES = (0.01, 0.1, 1.0, 10.0)
RANKS = (8, 16, 32, 64, 128, 256)
RANK_HELD_OUT, RANK_CROWD = (
    1_000,
    4_000,
)  # most rows that choose rank and ridge, and most rows that their partners compete with


def polar(M: np.ndarray) -> np.ndarray:
    """The (semi-)orthogonal matrix nearest to ``M``, shape (dA, dB): U V^T of its thin SVD. Also stacks of them.

    With M = X^T Y this is orthogonal Procrustes (Schoenemann, 1966): it minimises ||X W - Y||. Where dA <= dB the rows
    of W are orthonormal, otherwise its columns are.
    """
    U, _, Vt = np.linalg.svd(M, full_matrices=False)
    return (U @ Vt).astype(np.float32, copy=False)


def orthogonal(W: np.ndarray) -> np.ndarray:
    """A nearly (semi-)orthogonal ``W`` (dA, dB), off by 0.01 at most, made orthogonal to the last digit of float32.

    By Newton and Schulz's iteration for the polar factor, whose error is squared in every step.
    """
    tall = W.shape[0] > W.shape[1]
    M = (W.T if tall else W).astype(np.float64)
    for _ in range(NEWTON_STEPS):
        M = 1.5 * M - 0.5 * (M @ M.T) @ M
    return (M.T if tall else M).astype(np.float32)


def retract(M: np.ndarray) -> np.ndarray:
    """``polar`` of matrices (..., dA, dB) to 1e-3, for a step among many: faster."""
    U, _, V = _quick_svd(M)
    return U @ np.swapaxes(V, -1, -2)


def shared_directions(M: np.ndarray, power: float = SHARED) -> tuple[np.ndarray, np.ndarray]:
    """The weighted directions, (..., dA, k) and (..., dB, k), by which to compare rows of two spaces.

    ``M`` (..., dA, dB) are cross-covariances of the spaces. For M = U S V^T, scaled to a largest singular value of 1,
    the directions are U S^power and V S^power without the least shared third. With all of S equal, the comparison is
    that of the polar factor; the less a direction is shared, the less it counts.
    """
    U, S, V = _quick_svd(M)
    least = int(LEAST * S.shape[-1])
    U, S, V = U[..., least:], S[..., least:], V[..., least:]
    weights = (S / S[..., -1:])[..., None, :] ** power
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


def whitened_procrustes(cross: np.ndarray, source: Principal, target: Principal) -> np.ndarray:
    """The (semi-)orthogonal map (dA, dB) from a cross-covariance (dA, dB) that is partly whitened first.

    The directions of large variance dominate a soft plan's cross-covariance; whitening lets the others count.
    """
    return source.directions @ polar(whitened_cross(cross, source, target)) @ target.directions.T


def whitened_cross(cross: np.ndarray, source: Principal, target: Principal) -> np.ndarray:
    """A cross-covariance (dA, dB) in the principal directions of both spaces, partly whitened."""
    inside = source.directions.T @ cross @ target.directions
    whitened: np.ndarray = source.whitening(WHITENING_POWER)[:, None] * inside * target.whitening(WHITENING_POWER)
    return whitened


def ridge(X: np.ndarray, Y: np.ndarray) -> tuple[np.ndarray, dict[str, Any]]:
    """The linear map (dA, dB) from paired rows ``X`` (m, dA) to ``Y`` (m, dB) by ridge regression.

    The ridge is the one of RIDGES with the least error of each row predicted from all others, which has a closed form
    (Allen's PRESS). Returns the map and that ``ridge``. Do not use it with many more pairs than dimensions: it then
    loses more top-1 than it gains.
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
    """Procrustes with a low-rank correction, c Q + U V^T, shape (dA, dB).

    Q is the orthogonal map of paired rows ``X`` (m, dA) to ``Y`` (m, dB) and c its least-squares scale. U V^T is the
    reduced-rank ridge regression of Y - c X Q on X. This is Drift-Adapter's low-rank affine map (arXiv 2509.23471) in
    closed form, started from its orthogonal map. A fifth of the rows, held out, selects ``rank`` (0: Q alone) and
    ``ridge``; both are returned beside the map.
    """
    order = rng.permutation(len(X))
    n = min(len(X) // 5, RANK_HELD_OUT)
    held, rest, crowd = order[:n], order[n:], order[:RANK_CROWD]
    best, chosen = _success(X[held] @ polar(X[rest].T @ Y[rest]), Y[crowd]), (0, 0.0)
    for ridge in RESIDUAL_RIDGES:
        cQ, B, V = _residual(X[rest], Y[rest], ridge)
        for rank in (r for r in RANKS if r < len(V)):
            success = _success(X[held] @ (cQ + B @ V[:, :rank] @ V[:, :rank].T), Y[crowd])
            if success > best:
                best, chosen = success, (rank, ridge)
    rank, ridge = chosen
    if rank == 0:
        return polar(X.T @ Y), {"rank": 0, "ridge": None}
    cQ, B, V = _residual(X, Y, ridge)
    return (cQ + B @ V[:, :rank] @ V[:, :rank].T).astype(np.float32), {"rank": rank, "ridge": ridge}


def _residual(X: np.ndarray, Y: np.ndarray, ridge: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Scaled Procrustes (dA, dB), the ridge regression of its residual, and directions (dB, dB), strongest first."""
    Q = polar(X.T @ Y)
    mapped = X @ Q
    cQ = Q * (np.vdot(mapped, Y) / np.vdot(mapped, mapped))
    gram = X.T @ X
    damping = ridge * np.trace(gram) / len(gram) * np.eye(len(gram), dtype=np.float32)
    B = np.linalg.solve(gram + damping, X.T @ (Y - X @ cQ))
    return cQ, B, np.linalg.eigh(B.T @ gram @ B)[1][:, ::-1]


def cosine_ranks(mapped: np.ndarray, Y: np.ndarray) -> np.ndarray:
    """The rank (n,), from 1, of row i of ``Y`` (m, d) for row i of ``mapped`` (n, d) by cosine among all m rows."""
    cosine = unit(mapped) @ unit(Y).T
    own = np.diagonal(cosine).copy()
    np.fill_diagonal(cosine, -np.inf)  # rounding must not make a row its own rival
    return 1 + (cosine >= own[:, None]).sum(1)


def trust(cosine: np.ndarray) -> np.ndarray:
    """The weights (m,) of pairs, from 0 to 1, by the ``cosine`` (m,) of each under a map that has not seen it.

    A pair counts in full from half the median cosine on. A wrong pair has a cosine of about zero and keeps little.
    """
    return np.clip(2 * cosine / max(float(np.median(cosine)), 1e-6), 0, 1) ** 2


def _success(mapped: np.ndarray, Y: np.ndarray) -> tuple[float, float]:
    """How well ``mapped`` rows find their partners in ``Y``: mean reciprocal rank, then mean cosine."""
    cosine = (unit(mapped) * unit(Y[: len(mapped)])).sum(1).mean()
    return round(float((1 / cosine_ranks(mapped, Y)).mean()), 3), float(cosine)
