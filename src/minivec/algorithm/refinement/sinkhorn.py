"""Sinkhorn-Procrustes: soft pairs by entropic transport between fresh samples of both spaces, then the closed form.

Grave, Joulin and Berthet, "Unsupervised alignment of embeddings with Wasserstein Procrustes" (2019), with three
differences. The leading principal directions come first. The fit is cross-fitted, because a map that pairs the rows it
was fitted on confirms itself. Rows are compared most along the directions that the two spaces are known to share.
"""

from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np

from minivec.algorithm.problem import Problem
from minivec.algorithm.procrustes import polar, retract, shared_directions, trust
from minivec.algorithm.refinement.loop import Proposal
from minivec.frame import TINY, unit
from minivec.threads import in_threads

# Figures: docs/tuning.md.
ROUNDS = 3  # of Sinkhorn's normalisation
SMALL = 1e-3  # norm of cross-covariances that have no plan yet
# A step goes so many times smoothing_alpha, and a level's map is made of so many plans.
FRESH = 1, 4  # where every plan has a sample of its own
STILL = 3, 1  # where every row takes part, so that a step has no noise of sampling to smooth
PLANS_WORTH = 700  # known pairs that weigh as much as all plans

Sides = tuple[np.ndarray, np.ndarray]  # one array of each space


class Coupling(NamedTuple):
    """A plan's results: cross-covariances, one a fold, the mean cosine under the plan, and the next step's memory."""

    cross: np.ndarray
    objective: float
    memory: Any


class Transport:
    """Transport plans between two spaces in their leading principal ``directions`` (None: all of them).

    ``sample`` rows a side take part in one plan, at inverse temperature ``beta``. The rows of X lie in ``folds`` folds.
    What is refined is a stack of cross-covariances (folds, rA, rB), in partly whitened coordinates. Each fold has that
    of the other folds' rows, which decides how its own rows are compared with those of Y. Known pairs lie in the folds
    of their rows of X and count beside the plans, each by how well the map that has not seen it agrees.

    A step goes ``pace`` times smoothing_alpha.
    """

    whitening_power = 0.3  # of the rows that are compared

    def __init__(
        self,
        problem: Problem,
        *,
        directions: int | None,
        beta: float,
        sample: int,
        folds: int,
        rng: np.random.Generator,
    ):
        X, Y, self._pairs = problem.X, problem.Y, problem.pairs
        self._leading = problem.principal
        if directions is not None and directions < min(X.shape[1], Y.shape[1]):
            self._leading = problem.principal[0].leading(directions), problem.principal[1].leading(directions)
        self._rows = X, Y
        source, target = self._leading
        factors = source.whitening(self.whitening_power), target.whitening(self.whitening_power)
        self._compared = X @ source.directions * factors[0], Y @ target.directions * factors[1]
        self._beta, self._rng = np.float32(beta), rng
        self._folds = np.array_split(rng.permutation(len(X)), folds)
        self._pair_folds = [np.isin(self._pairs[:, 0], fold) for fold in self._folds]
        self._samples = min(sample // folds, len(X) // folds), min(sample, len(Y))
        self.pace, self._plans = STILL if sample >= max(len(X), len(Y)) else FRESH

    def init(self, W: np.ndarray) -> tuple[np.ndarray, Any]:
        """The cross-covariances (folds, rA, rB) of rows that W (dA, dB) maps onto their partners, and the memory.

        They are small, so that the first plans replace them instead of being averaged with them.
        """
        source, target = self._leading
        a, b = (np.sqrt(np.square(Z).mean(0)) for Z in self._compared)
        cross = a[:, None] * polar(source.directions.T @ W @ target.directions) * b
        return np.stack([SMALL * cross / np.linalg.norm(cross)] * len(self._folds)), None

    def step(self, M: np.ndarray, memory: Any) -> Proposal:
        """Propose the cross-covariances of the plans that ``M`` (folds, rA, rB) leads to, scaled to norm 1.

        ``objective`` is the mean cosine under the plan, on rows that this step has not fitted.
        """
        by_fold, objective, memory = self._plan(M, self._compared, memory)
        others = by_fold.sum(0) - by_fold
        proposal = others / np.linalg.norm(others, axis=(1, 2), keepdims=True)
        return Proposal(proposal, memory, {"objective": objective})

    def project(self, M: np.ndarray) -> np.ndarray:
        """``M`` itself: every cross-covariance is allowed."""
        return M

    def inside(self, M: np.ndarray) -> np.ndarray:
        """The orthogonal map (rA, rB) nearest to the folds' mean."""
        return polar(M.mean(0))

    def lift(self, M: np.ndarray, memory: Any) -> tuple[np.ndarray, float]:
        """X^T P Y of the whole rows, (dA, dB), and the objective: means over several plans where samples differ."""
        couplings = []
        for _ in range(self._plans):
            couplings.append(self._plan(M, self._rows, memory))
            memory = couplings[-1].memory
        cross = sum(coupling.cross.sum(0) for coupling in couplings)
        return np.asarray(cross), float(np.mean([coupling.objective for coupling in couplings]))

    def unseen_pairs(self, M: np.ndarray) -> Sides:
        """Known rows of X (m, rB), each mapped by the map of the other folds, and their partners: unit rows.

        That map has not been fitted to them at this level; the map that the level began with may have been.
        """
        x, y = (unit(Z[rows]) for Z, rows in zip(self._compared, self._pairs.T, strict=True))
        mapped = np.empty_like(y)
        for fold, W in zip(self._pair_folds, retract(M), strict=True):
            mapped[fold] = unit(x[fold] @ W)
        return mapped, y

    def _plan(self, M: np.ndarray, rows: Sides, memory: Any) -> Coupling:
        """The coupling of ``rows``, (nA, dA) and (nB, dB), by a plan and by the known pairs.

        Each pair adds its cross-covariance and its cosine, by its weight: 1 where it counts as much as all plans.
        """
        coupling = self._couple(M, rows, memory)
        m = len(self._pairs)
        if not m:
            return coupling
        mapped, partners = self.unseen_pairs(M)
        cosine = (mapped * partners).sum(1)
        x, y = (Z[known] for Z, known in zip(rows, self._pairs.T, strict=True))
        x = x * (len(self._folds) / PLANS_WORTH * trust(cosine))[:, None]
        cross = coupling.cross + np.stack([x[fold].T @ y[fold] for fold in self._pair_folds])
        objective = (PLANS_WORTH * coupling.objective + m * float(cosine.mean())) / (PLANS_WORTH + m)
        return Coupling(cross, objective, coupling.memory)

    def _couple(self, M: np.ndarray, rows: Sides, memory: Any) -> Coupling:
        """The coupling of ``rows`` without known pairs: a fresh sample of each fold, against one of Y."""
        size, candidates = self._samples
        drawn = [self._rng.choice(fold, size, replace=False) for fold in self._folds]
        taken = self._rng.choice(len(rows[1]), candidates, replace=False)
        b, y = self._compared[1][taken], rows[1][taken]

        def of_fold(matrix: np.ndarray, fold: np.ndarray) -> tuple[np.ndarray, float]:
            A, B = shared_directions(matrix)
            cosines = unit(self._compared[0][fold] @ A) @ unit(b @ B).T
            plan = np.exp(self._beta * (cosines - 1))
            u, v = balanced(plan, ROUNDS)
            plan *= u[:, None]
            plan *= v
            return rows[0][fold].T @ (plan @ y) / size, float(np.vdot(plan, cosines)) / size

        return coupled(in_threads(of_fold, M, drawn), memory)


def balanced(K: Any, rounds: int) -> Sides:
    """The factors u (n,) and v (m,) that ``rounds`` give the rows and columns of a kernel ``K`` (n, m), of any kind.

    In the plan u K v every row adds up to 1, and the columns come near to having equal sums (Sinkhorn, 1967).
    """
    n, m = K.shape
    v = np.ones(m, np.float32)
    for _ in range(rounds):
        v = (n / m) / (K.T @ (1 / (K @ v + TINY)) + TINY)
    return 1 / (K @ v + TINY), v


def coupled(folds: Iterable[tuple[np.ndarray, float]], memory: Any) -> Coupling:
    """The coupling of all folds, from each one's cross-covariance and mean cosine."""
    crosses, cosines = zip(*folds, strict=True)
    return Coupling(np.stack(crosses), float(np.mean(cosines)), memory)
