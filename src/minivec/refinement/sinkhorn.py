"""Sinkhorn-Procrustes: soft pairs by entropic transport between fresh samples of both spaces, then the closed form.

Grave, Joulin and Berthet, "Unsupervised alignment of embeddings with Wasserstein Procrustes" (2019), here in the
leading principal directions first, and cross-fitted: a map that pairs the rows it was fitted on confirms itself.
"""

from typing import Any

import numpy as np
from keras import ops

from minivec.backend import compiled
from minivec.frame import Principal, unit
from minivec.procrustes import WHITEN, polar, retract, trust

ROUNDS = 3  # of Sinkhorn's normalisation
FLATTEN = 0.25  # power of the variances taken out: 0.15 loses 2 points of top-1 with E5, 0.2 loses 1
FOLDS = 4  # of the rows of X; 4,000 rows reach 0.50 to 0.79 of the ceiling with them, 0.45 to 0.75 without
PLANS_WORTH = 700  # known pairs that weigh as much as all plans: 1,000 do as well at a third of it
NO_PAIRS = np.empty((0, 2), np.int64)


class Transport:
    """Transport plans between two spaces seen in their leading ``r`` principal directions (all of them: None).

    ``X`` (nA, dA) and ``Y`` (nB, dB) are framed rows; ``sample`` rows of each side take part in one plan, at inverse
    temperature ``beta``. The variances are partly evened out before rows are scaled to the sphere again.

    The rows of X lie in FOLDS folds, each with a map of its own, fitted on the rows of the others: w is a stack of
    maps (FOLDS, rA, rB). Known ``pairs`` (m, 2) of row numbers, in the folds of their rows of X, count beside the
    plans, each as far as the map that has not seen it agrees.
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
        pairs: np.ndarray = NO_PAIRS,
    ):
        self._leading = principal
        if r is not None and r < min(X.shape[1], Y.shape[1]):
            self._leading = principal[0].leading(r), principal[1].leading(r)
        self._rows = X, Y
        self._seen = [unit(Z @ p.directions * p.evening(FLATTEN)) for Z, p in zip((X, Y), self._leading, strict=True)]
        self._beta, self._rng = np.float32(beta), rng
        self._folds = np.array_split(rng.permutation(len(X)), FOLDS)
        self._pairs, self._their_folds = pairs, [np.isin(pairs[:, 0], fold) for fold in self._folds]
        self._samples = min(sample // FOLDS, len(X) // FOLDS), min(sample, len(Y))

    def inside(self, W: np.ndarray) -> np.ndarray:
        """The map W (dA, dB) between the leading directions, orthogonal again, for each fold: (FOLDS, rA, rB)."""
        source, target = self._leading
        return np.stack([polar(source.directions.T @ W @ target.directions)] * FOLDS)

    def propose(self, w: np.ndarray) -> tuple[np.ndarray, dict[str, Any]]:
        """One step from w (FOLDS, rA, rB): fresh plans, Procrustes on those of the other folds.

        ``objective`` is the mean cosine under the plan, on rows that this step has not fitted.
        """
        cross, objective = self._plan(_proposal, w)
        if len(self._pairs):
            cross = cross + self._pull(w, *self._seen)[0]
        source, target = self._leading
        others = cross.sum(0) - cross
        evened = source.evening(WHITEN - FLATTEN)[:, None] * others * target.evening(WHITEN - FLATTEN)
        return retract(evened), {"objective": objective}

    def cross_covariance(self, w: np.ndarray, plans: int) -> tuple[np.ndarray, float]:
        """X^T P Y of the whole rows, (dA, dB), and the objective: means over ``plans`` fresh plans under w.

        Known pairs add their own, and their cosines to the objective, each by its weight.
        """
        found = [self._plan(_lift, w, self._rows) for _ in range(plans)]
        cross, objective = (sum(values) / plans for values in zip(*found, strict=True))
        if len(self._pairs):
            pull, cosine, weight = self._pull(w, *self._rows)
            cross, objective = cross + pull, (objective + weight * cosine) / (1 + weight)
        return cross.sum(0), float(objective)

    def held_out(self, w: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Known rows of X (m, rB), each mapped by the map that has not seen it, and their partners: unit rows."""
        x, y = (Z[rows] for Z, rows in zip(self._seen, self._pairs.T, strict=True))
        mapped = np.empty_like(y)
        for fold, W in zip(self._their_folds, w, strict=True):
            mapped[fold] = unit(x[fold] @ W)
        return mapped, y

    def _pull(self, w: np.ndarray, X: np.ndarray, Y: np.ndarray) -> tuple[np.ndarray, float, float]:
        """Cross-covariances (FOLDS, d, d) of known pairs of rows of ``X`` and ``Y``, their mean cosine, their weight.

        The weight, in the cross-covariances as well, is 1 where the pairs count as much as all plans.
        """
        mapped, partners = self.held_out(w)
        cosine = (mapped * partners).sum(1)
        x, y = (Z[rows] for Z, rows in zip((X, Y), self._pairs.T, strict=True))
        x = x * (FOLDS / PLANS_WORTH * trust(cosine))[:, None]
        cross = np.stack([x[fold].T @ y[fold] for fold in self._their_folds])
        return cross, float(cosine.mean()), len(cosine) / PLANS_WORTH

    def _plan(self, function: Any, w: np.ndarray, *more: tuple[np.ndarray, np.ndarray]) -> tuple[np.ndarray, float]:
        """``function`` of a fresh sample of the rows as they are seen here, and of the same rows of ``more``."""
        size, candidates = self._samples
        rows = np.stack([self._rng.choice(fold, size, replace=False) for fold in self._folds])
        columns = self._rng.choice(len(self._seen[1]), candidates, replace=False)
        sampled = [Z[drawn] for X, Y in (self._seen, *more) for Z, drawn in ((X, rows), (Y, columns))]
        cross, objective = function(w, self._beta, *sampled)
        return ops.convert_to_numpy(cross), float(objective)


def _couple(W: Any, beta: Any, a: Any, b: Any) -> tuple[Any, Any, Any, Any, Any]:
    """The plans between rows ``a`` (folds, n, rA) and ``b`` (m, rB): kernels, scalings u and v, targets, cosine."""
    mapped = ops.matmul(a, W)
    mapped = mapped / ops.norm(mapped, axis=-1, keepdims=True)
    K = ops.exp(beta * (ops.matmul(mapped, ops.transpose(b)) - 1.0))
    v = ops.ones((a.shape[0], b.shape[0], 1), "float32")
    for _ in range(ROUNDS):
        u = 1.0 / (ops.matmul(K, v) + 1e-30)
        v = (a.shape[1] / b.shape[0]) / (ops.matmul(_transpose(K), u) + 1e-30)
    u = 1.0 / (ops.matmul(K, v) + 1e-30)
    targets = u * ops.matmul(K, v * b)
    return K, u, v, targets, ops.sum(mapped * targets) / (a.shape[0] * a.shape[1])


def _transpose(matrices: Any) -> Any:
    return ops.transpose(matrices, (0, 2, 1))


@compiled
def _proposal(W: Any, beta: Any, a: Any, b: Any) -> tuple[Any, Any]:
    """Cross-covariances (folds, rA, rB) of plans in the coordinates they were made in, and the mean cosine."""
    *_, targets, objective = _couple(W, beta, a, b)
    return ops.matmul(_transpose(a), targets) / a.shape[1], objective


@compiled
def _lift(W: Any, beta: Any, a: Any, b: Any, x: Any, y: Any) -> tuple[Any, Any]:
    """Cross-covariances (folds, dA, dB) of whole rows under plans made in other coordinates, and the mean cosine."""
    K, u, v, _, objective = _couple(W, beta, a, b)
    return ops.matmul(_transpose(x * u), ops.matmul(K, v * y)) / a.shape[1], objective
