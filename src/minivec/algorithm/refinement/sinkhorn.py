"""Sinkhorn-Procrustes: soft pairs by entropic transport between fresh samples of both spaces, then the closed form.

Grave, Joulin and Berthet, "Unsupervised alignment of embeddings with Wasserstein Procrustes" (2019), here in the
leading principal directions first; cross-fitted, because a map that pairs the rows it was fitted on confirms itself;
and with rows compared most by what the two spaces have been found to share.
"""

from typing import Any

import numpy as np
from keras import ops

from minivec.algorithm.evidence import NO_PAIRS
from minivec.algorithm.procrustes import polar, retract, shared_directions, trust
from minivec.backend import compiled
from minivec.frame import Principal, unit

ROUNDS = 3  # of Sinkhorn's normalisation
SMALL = 1e-3  # of cross-covariances that have no plan yet
FOLDS = 4  # of the rows of X; 4,000 rows reach 0.50 to 0.79 of the ceiling with them, 0.45 to 0.75 without
# Pace, and plans that carry a map to another level, where every plan has a sample of its own: with two, 4,000 rows of
# prose, E5 -> USE, fell from 0.90 of the ceiling to 0.78.
FRESH = 1, 4
STILL = 3, 1  # where every row takes part, so that a step has no noise of sampling to smooth
PLANS_WORTH = 700  # known pairs that weigh as much as all plans: 1,000 do as well at a third of it


class Transport:
    """Transport plans between two spaces seen in their leading ``r`` principal directions (all of them: None).

    ``X`` (nA, dA) and ``Y`` (nB, dB) are framed rows; ``sample`` rows of each side take part in one plan, at inverse
    temperature ``beta``. The rows of X lie in FOLDS folds. What is refined is a stack of cross-covariances
    (FOLDS, rA, rB), in coordinates whose variances are partly evened out: each fold's is of the rows of the others,
    and says how the rows of this one are compared with those of Y. Known ``pairs`` (m, 2) of row numbers lie in the
    folds of their rows of X and count beside the plans, each as far as the map that has not seen it agrees.
    """

    evened = 0.3  # power of the variances taken out of the rows that are compared

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
        source, target = self._leading
        evening = source.evening(self.evened), target.evening(self.evened)
        self._seen = X @ source.directions * evening[0], Y @ target.directions * evening[1]
        self._beta, self._rng = np.float32(beta), rng
        self._folds = np.array_split(rng.permutation(len(X)), FOLDS)
        self._pairs, self._their_folds = pairs, [np.isin(pairs[:, 0], fold) for fold in self._folds]
        self._samples = min(sample // FOLDS, len(X) // FOLDS), min(sample, len(Y))
        self.pace, self._plans = STILL if sample >= max(len(X), len(Y)) else FRESH

    def inside(self, W: np.ndarray) -> np.ndarray:
        """The cross-covariances to start from, (FOLDS, rA, rB): those of rows of which W (dA, dB) maps A's to B's.

        They are small, so that the first plans take their place rather than being averaged with them.
        """
        source, target = self._leading
        a, b = (np.sqrt(np.square(Z).mean(0)) for Z in self._seen)
        cross = a[:, None] * polar(source.directions.T @ W @ target.directions) * b
        return np.stack([SMALL * cross / np.linalg.norm(cross)] * FOLDS)

    def propose(self, cross: np.ndarray) -> tuple[np.ndarray, dict[str, Any]]:
        """One step from cross-covariances (FOLDS, rA, rB): those of fresh plans, scaled to norm 1.

        ``objective`` is the mean cosine under the plan, on rows that this step has not fitted.
        """
        found, objective = self._plan(cross, self._seen)
        others = found.sum(0) - found
        return others / np.linalg.norm(others, axis=(1, 2), keepdims=True), {"objective": objective}

    def cross_covariance(self, cross: np.ndarray) -> tuple[np.ndarray, float]:
        """X^T P Y of the whole rows, (dA, dB), and the objective: means over several plans where samples differ."""
        found = [self._plan(cross, self._rows) for _ in range(self._plans)]
        return sum(lifted.sum(0) for lifted, _ in found), float(np.mean([objective for _, objective in found]))

    def held_out(self, cross: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Known rows of X (m, rB), each turned by the map of the other folds, and their partners: unit rows.

        That map has not been fitted to them here, but the one that this level began with may have been.
        """
        x, y = (unit(Z[rows]) for Z, rows in zip(self._seen, self._pairs.T, strict=True))
        mapped = np.empty_like(y)
        for fold, W in zip(self._their_folds, retract(cross), strict=True):
            mapped[fold] = unit(x[fold] @ W)
        return mapped, y

    def _plan(self, cross: np.ndarray, rows: tuple[np.ndarray, np.ndarray]) -> tuple[np.ndarray, float]:
        """The cross-covariances of ``rows``, (nA, dA) and (nB, dB), under a plan; the mean cosine.

        Known pairs add their own, and their cosines, each by its weight: 1 where they count as much as all plans.
        """
        found, objective = self._couple(cross, rows)
        m = len(self._pairs)
        if m:
            mapped, partners = self.held_out(cross)
            cosine = (mapped * partners).sum(1)
            x, y = (Z[known] for Z, known in zip(rows, self._pairs.T, strict=True))
            x = x * (FOLDS / PLANS_WORTH * trust(cosine))[:, None]
            found = found + np.stack([x[fold].T @ y[fold] for fold in self._their_folds])
            objective = (PLANS_WORTH * objective + m * float(cosine.mean())) / (PLANS_WORTH + m)
        return found, objective

    def _couple(self, cross: np.ndarray, rows: tuple[np.ndarray, np.ndarray]) -> tuple[np.ndarray, float]:
        """What the rows alone say: those of a fresh sample, each against all of the other side's."""
        size, candidates = self._samples
        drawn = (
            np.stack([self._rng.choice(fold, size, replace=False) for fold in self._folds]),
            self._rng.choice(len(rows[1]), candidates, replace=False),
        )
        a, b = x, y = [Z[some] for Z, some in zip(self._seen, drawn, strict=True)]
        if rows is not self._seen:
            x, y = (Z[some] for Z, some in zip(rows, drawn, strict=True))
        plan, objective = _plan_of(*shared_directions(cross), self._beta, a, b)
        return ops.convert_to_numpy(_cross(plan, x, y)), float(objective)


def unit_rows(rows: Any) -> Any:
    """``rows`` (..., d) at length 1, for a compiled step."""
    return rows / ops.norm(rows, axis=-1, keepdims=True)


def _transpose(matrices: Any) -> Any:
    return ops.transpose(matrices, (0, 2, 1))


@compiled
def _plan_of(A: Any, B: Any, beta: Any, a: Any, b: Any) -> tuple[Any, Any]:
    """Transport plans (folds, n, m) whose rows add up to 1, and the mean cosine under them.

    Rows ``a`` (folds, n, rA) and ``b`` (m, rB) are compared where A (folds, rA, k) and B (folds, rB, k) put them.
    """
    cosines = ops.matmul(unit_rows(ops.matmul(a, A)), _transpose(unit_rows(ops.matmul(b, B))))
    K = ops.exp(beta * (cosines - 1.0))
    folds, n, m = K.shape
    v = ops.ones((folds, m, 1), "float32")
    for _ in range(ROUNDS):
        u = 1.0 / (ops.matmul(K, v) + 1e-30)
        v = (n / m) / (ops.matmul(_transpose(K), u) + 1e-30)
    u = 1.0 / (ops.matmul(K, v) + 1e-30)
    plan = u * K * _transpose(v)
    return plan, ops.sum(plan * cosines) / (folds * n)


@compiled
def _cross(plan: Any, x: Any, y: Any) -> Any:
    """Cross-covariances (folds, dA, dB) of ``x`` (folds, n, dA) with ``y`` (m, dB) under ``plan`` (folds, n, m)."""
    return ops.matmul(_transpose(x), ops.matmul(plan, y)) / x.shape[1]
