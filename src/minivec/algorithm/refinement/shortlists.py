"""The last transport: all rows at once, each against the few rows that can be its partners.

Where the map is nearly right, a plan has nearly all its weight on each row's nearest candidates. A plan of those costs
less than a dense plan of a sample, and uses all rows.
"""

from typing import Any, NamedTuple

import numpy as np
from keras import ops

from minivec.algorithm.problem import Problem
from minivec.algorithm.procrustes import shared_directions
from minivec.algorithm.refinement.sinkhorn import STILL, Coupling, Sides, Transport, unit_rows
from minivec.backend import compiled
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
        b, y = map(ops.convert_to_tensor, (b, y))

        def of_fold(fold: np.ndarray, near: np.ndarray, directions: Sides) -> tuple[np.ndarray, float]:
            compared, taken = (self._compared[0][fold], b), (rows[0][fold], y)
            matrix, cosine = _coupled(directions, self._beta, compared, near, taken)
            return ops.convert_to_numpy(matrix), float(cosine)

        matrices, cosines = zip(*in_threads(of_fold, self._drawn, memory.near, shared), strict=True)
        return Coupling(np.stack(matrices), float(np.mean(cosines)), memory._replace(served=memory.served + 1))

    def _look_up(self, b: np.ndarray, shared: list[tuple[np.ndarray, np.ndarray]]) -> list[np.ndarray]:
        """Each fold's shortlists among ``b`` (m, rB), by the ``shared`` directions of both spaces."""
        k, most = min(CANDIDATES, len(b)), slice(-int(LISTED * shared[0][0].shape[1]), None)

        def nearest(fold: np.ndarray, A: np.ndarray, B: np.ndarray) -> np.ndarray:
            return top_k(unit(self._compared[0][fold] @ A[:, most]), unit(b @ B[:, most]), k)[1].astype(np.int32)

        return list(in_threads(nearest, self._drawn, *zip(*shared, strict=True)))


@compiled
def _coupled(directions: Any, beta: Any, compared: Any, near: Any, rows: Any) -> tuple[Any, Any]:
    """The cross-covariance (dA, dB) of ``rows``, (n, dA) and (m, dB), and the mean cosine under their plan.

    The plan couples the ``compared`` rows, (n, rA) and (m, rB), along weighted ``directions``, as a dense plan does.
    Row i has only the candidates ``near[i]`` (n, k).
    """
    (A, B), (a, b), (x, y) = directions, compared, rows
    n = near.shape[0]
    m, listed = b.shape[0], ops.reshape(near, (-1,))
    a, b = unit_rows(ops.matmul(a, A)), unit_rows(ops.matmul(b, B))
    cosines = _by_block(lambda row, listed: ops.matmul(ops.take(b, listed, axis=0), row[..., None])[..., 0], a, near)
    K = ops.exp(beta * (cosines - 1.0))
    v = ops.ones(m, "float32")
    for _ in range(ROUNDS):
        u = 1.0 / (ops.sum(K * ops.take(v, near), 1, keepdims=True) + 1e-30)
        v = (n / m) / (ops.segment_sum(ops.reshape(K * u, (-1,)), listed, m) + 1e-30)
    plan = K * ops.take(v, near)
    plan = plan / (ops.sum(plan, 1, keepdims=True) + 1e-30)
    partners = _by_block(lambda row, listed: ops.matmul(row[:, None], ops.take(y, listed, axis=0))[:, 0], plan, near)
    return ops.matmul(ops.transpose(x), partners) / n, ops.sum(plan * cosines) / n


def _by_block(function: Any, rows: Any, near: Any) -> Any:
    """``function`` of ``rows`` (n, d) and their ``near`` (n, k), BLOCK rows at a time."""
    n = rows.shape[0]
    blocks = [ops.reshape(ops.pad(z, ((0, -n % BLOCK), (0, 0))), (-1, BLOCK, z.shape[1])) for z in (rows, near)]
    results = ops.map(lambda block: function(*block), tuple(blocks))
    return ops.reshape(results, (-1, results.shape[-1]))[:n]
