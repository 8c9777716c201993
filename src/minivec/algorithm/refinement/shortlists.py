"""The last transport: all rows at once, each against the few rows that can be its partners.

Where the map is nearly right, a plan has nearly all its weight on each row's nearest candidates. A plan of those costs
less than a dense plan of a sample, and uses all rows.
"""

from typing import Any, NamedTuple

import numpy as np
from scipy.sparse import csr_array

from minivec.algorithm.problem import Problem
from minivec.algorithm.procrustes import shared_directions
from minivec.algorithm.refinement.sinkhorn import STILL, Coupling, Sides, Transport, balanced, coupled
from minivec.algorithm.refinement.third_moments import WORTH, cross_of_moments, mixed
from minivec.frame import unit
from minivec.search import top_k
from minivec.threads import in_threads

# Figures: docs/tuning.md.
CANDIDATES = 64  # of each row
LISTED = 1 / 2  # share of the compared directions, the most shared ones, by which candidates are looked up
KEPT = 4  # plans that a shortlist serves
ROUNDS = 8  # of Sinkhorn's normalisation
BLOCK = 32  # rows whose candidates are gathered at once


class Lists(NamedTuple):
    """Each fold's shortlists, (n, CANDIDATES) numbers among the drawn rows of Y, and the plans they have served."""

    near: list[np.ndarray]
    served: int


class Shortlists(Transport):
    """As ``Transport``, for up to ``sample`` rows a side that stay the same, each with its CANDIDATES nearest rows."""

    whitening_power = 0.4

    def __init__(self, problem: Problem, *, sample: int, rng: np.random.Generator, **level: Any):
        super().__init__(problem, sample=sample, rng=rng, **level)
        size, candidates = self._samples
        every = len(problem.Y)
        self._drawn = [fold[:size] for fold in self._folds]
        self._candidates = rng.permutation(every)[:candidates] if candidates < every else slice(None)
        self.pace, self._plans = STILL  # no sample is fresher than another

    def init(self, W: np.ndarray) -> tuple[np.ndarray, Lists]:
        """As ``Transport`` has it; the memory holds no shortlist yet."""
        return super().init(W)[0], Lists([], KEPT)

    def _couple(self, M: np.ndarray, rows: Sides, memory: Lists) -> Coupling:
        b, y = (Z[1][self._candidates] for Z in (self._compared, rows))
        shared = list(in_threads(shared_directions, M))
        if memory.served == KEPT:
            memory = Lists(self._look_up(b, shared), 0)

        def of_fold(fold: np.ndarray, near: np.ndarray, directions: Sides) -> tuple[np.ndarray, float]:
            A, B = directions
            cosines = _cosines(unit(self._compared[0][fold] @ A), unit(b @ B), near)
            kernel = np.exp(self._beta * (cosines - 1))
            ends = np.arange(0, near.size + 1, near.shape[1])
            K = csr_array((kernel.ravel(), near.ravel(), ends), (len(fold), len(b)))
            u, v = balanced(K, ROUNDS)
            plan = kernel * u[:, None] * v[near]
            K.data = plan.ravel()
            cross = rows[0][fold].T @ (K @ y) / len(fold)
            return self._completed(cross, fold, rows, directions), float(np.vdot(plan, cosines)) / len(fold)

        return coupled(in_threads(of_fold, self._drawn, memory.near, shared), memory._replace(served=memory.served + 1))

    def _completed(self, cross: np.ndarray, fold: np.ndarray, rows: Sides, directions: Sides) -> np.ndarray:
        """The cross-covariance of a fold's ``rows`` with Y: that of its plan, ``cross``."""
        return cross

    def _look_up(self, b: np.ndarray, shared: list[tuple[np.ndarray, np.ndarray]]) -> list[np.ndarray]:
        """Each fold's shortlists among ``b`` (m, rB), by the ``shared`` directions of both spaces."""
        k, most = min(CANDIDATES, len(b)), slice(-int(LISTED * shared[0][0].shape[1]), None)

        def nearest(fold: np.ndarray, A: np.ndarray, B: np.ndarray) -> np.ndarray:
            return top_k(unit(self._compared[0][fold] @ A[:, most]), unit(b @ B[:, most]), k)[1].astype(np.int32)

        return list(in_threads(nearest, self._drawn, *zip(*shared, strict=True)))


class MomentShortlists(Shortlists):
    """As ``Shortlists``, with the third moments beside the plan in every step."""

    def _completed(self, cross: np.ndarray, fold: np.ndarray, rows: Sides, directions: Sides) -> np.ndarray:
        a, b = (
            unit(Z[drawn] @ (along / np.linalg.norm(along, axis=0)))
            for Z, drawn, along in zip(self._compared, (fold, self._candidates), directions, strict=True)
        )
        return mixed(cross, cross_of_moments(a, b, rows[0][fold], rows[1][self._candidates]), WORTH)


def _cosines(a: np.ndarray, b: np.ndarray, near: np.ndarray) -> np.ndarray:
    """The inner products (n, k) of each row of ``a`` (n, d) with its ``near`` (n, k) rows of ``b`` (m, d)."""
    cosines = np.empty(near.shape, np.float32)
    for start in range(0, len(a), BLOCK):
        block = slice(start, start + BLOCK)
        np.matmul(b[near[block]], a[block, :, None], out=cosines[block, :, None])
    return cosines
