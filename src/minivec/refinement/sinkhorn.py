"""Sinkhorn-Procrustes: soft pairs by entropic transport between fresh samples of both spaces, then the closed form.

Grave, Joulin and Berthet, "Unsupervised alignment of embeddings with Wasserstein Procrustes" (2019), here in the
leading principal directions first.
"""

from typing import Any

import numpy as np
from keras import ops

from minivec.backend import compiled
from minivec.frame import Principal, unit
from minivec.procrustes import WHITEN, polar

ROUNDS = 3  # of Sinkhorn's normalisation
FLATTEN = 0.25  # power of the variances taken out: 0.15 loses 2 points of top-1 with E5, 0.2 loses 1
MEMORY = (
    0.4  # the newest plan's share of the running cross-covariance; 0.2 lags, and settles 8 points of top-1 too early
)


class Transport:
    """Transport plans between two spaces seen in their leading ``r`` principal directions (all of them: None).

    ``X`` (nA, dA) and ``Y`` (nB, dB) are framed rows; ``sample`` rows of each side take part in one plan, at inverse
    temperature ``beta``. The variances are partly evened out before rows are scaled to the sphere again.
    """

    def __init__(
        self,
        X: np.ndarray,
        Y: np.ndarray,
        principal: tuple[Principal, Principal],
        r: int | None,
        beta: float,
        sample: int,
        rng: np.random.Generator,
    ):
        whole = r is None or r >= min(X.shape[1], Y.shape[1])
        self._leading = [p if whole else p.leading(r) for p in principal]
        self._rows = X, Y
        self._seen = [unit(Z @ p.directions * p.evening(FLATTEN)) for Z, p in zip((X, Y), self._leading, strict=True)]
        self._beta, self._rng = np.float32(beta), rng
        self._samples = [min(sample, len(Z)) for Z in (X, Y)]
        self._running: np.ndarray | None = None

    def inside(self, W: np.ndarray) -> np.ndarray:
        """The map W (dA, dB) between the leading directions, (rA, rB), orthogonal again."""
        source, target = self._leading
        return polar(source.directions.T @ W @ target.directions)

    def propose(self, w: np.ndarray) -> tuple[np.ndarray, dict[str, Any]]:
        """One step from w (rA, rB): a fresh plan, the running cross-covariance, Procrustes.

        ``objective`` is the mean cosine under the plan, on rows that this step has not fitted.
        """
        cross, objective = self._plan(_proposal, w)
        self._running = cross if self._running is None else (1 - MEMORY) * self._running + MEMORY * cross
        source, target = self._leading
        evened = source.evening(WHITEN - FLATTEN)[:, None] * self._running * target.evening(WHITEN - FLATTEN)
        return polar(evened), {"objective": objective}

    def cross_covariance(self, w: np.ndarray, plans: int) -> tuple[np.ndarray, float]:
        """X^T P Y of the whole rows, (dA, dB), and the objective: means over ``plans`` fresh plans under w (rA, rB)."""
        found = [self._plan(_lift, w, self._rows) for _ in range(plans)]
        return np.mean([cross for cross, _ in found], 0), float(np.mean([objective for _, objective in found]))

    def _plan(self, function: Any, w: np.ndarray, *more: tuple[np.ndarray, np.ndarray]) -> tuple[np.ndarray, float]:
        """``function`` of a fresh sample of the rows as they are seen here, and of the same rows of ``more``."""
        drawn = [
            self._rng.choice(len(Z), size, replace=False) for Z, size in zip(self._seen, self._samples, strict=True)
        ]
        sampled = [Z[rows] for both in (self._seen, *more) for Z, rows in zip(both, drawn, strict=True)]
        cross, objective = function(w, self._beta, *sampled)
        return ops.convert_to_numpy(cross), float(objective)


def _couple(W: Any, beta: Any, a: Any, b: Any) -> tuple[Any, Any, Any, Any, Any]:
    """The plan between rows ``a`` (n, rA) and ``b`` (m, rB): kernel K, scalings u and v, targets, mean cosine."""
    mapped = ops.matmul(a, W)
    mapped = mapped / ops.norm(mapped, axis=1, keepdims=True)
    K = ops.exp(beta * (ops.matmul(mapped, ops.transpose(b)) - 1.0))
    v = ops.ones((b.shape[0],), "float32")
    for _ in range(ROUNDS):
        u = 1.0 / (ops.matmul(K, v) + 1e-30)
        v = (a.shape[0] / b.shape[0]) / (ops.matmul(u, K) + 1e-30)
    u = 1.0 / (ops.matmul(K, v) + 1e-30)
    targets = u[:, None] * ops.matmul(K, v[:, None] * b)
    return K, u, v, targets, ops.sum(mapped * targets) / a.shape[0]


@compiled
def _proposal(W: Any, beta: Any, a: Any, b: Any) -> tuple[Any, Any]:
    """Cross-covariance (rA, rB) of one plan in the coordinates it was made in, and its mean cosine."""
    *_, targets, objective = _couple(W, beta, a, b)
    return ops.matmul(ops.transpose(a), targets) / a.shape[0], objective


@compiled
def _lift(W: Any, beta: Any, a: Any, b: Any, x: Any, y: Any) -> tuple[Any, Any]:
    """Cross-covariance (dA, dB) of whole rows under the plan made in other coordinates, and its mean cosine."""
    K, u, v, _, objective = _couple(W, beta, a, b)
    return ops.matmul(ops.transpose(x * u[:, None]), ops.matmul(K, v[:, None] * y)) / a.shape[0], objective
