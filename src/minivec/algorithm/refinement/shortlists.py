"""The last transport: of all rows at once, each against the few that can be its partners.

Where the map is nearly right, a plan has nearly all its weight on each row's nearest candidates: a plan of 10,904 rows
and 64 candidates costs half of a dense one of 5,000 rows, and is of all the evidence.
"""

from typing import Any

import numpy as np
from keras import ops

from minivec.algorithm.procrustes import shared_directions
from minivec.algorithm.refinement.sinkhorn import STILL, Transport, unit_rows
from minivec.backend import compiled
from minivec.frame import unit
from minivec.search import top_k
from minivec.threads import in_threads

CANDIDATES = 64  # of each row: 32 lose 0.008 of the ceiling (E5 -> MiniLM glosses), 128 gain 0.003
LISTED = 1 / 2  # of the directions compared, those most shared, find the candidates: all of them find no better ones
KEPT = 4  # plans that a shortlist is good for: for 8 plans, two lists, not three, save a tenth of a fit and cost 0.003
ROUNDS = 8  # of Sinkhorn's normalisation: 0.003 of the ceiling more than 3
BLOCK = 32  # rows whose candidates are gathered at once: a tenth faster than 64


class Shortlists(Transport):
    """As ``Transport``, for up to ``sample`` rows a side that stay the same, each with its CANDIDATES nearest rows."""

    evened = 0.4  # 0.880 of the ceiling for 0.875 at 0.3 (10,904 rows, E5 -> MiniLM); 0.5 gives 0.873

    def __init__(self, *args: Any):
        super().__init__(*args)
        size, candidates = self._samples
        every = len(self._rows[1])
        drawn = self._rng.permutation(every)[:candidates] if candidates < every else slice(None)
        self._drawn = [fold[:size] for fold in self._folds], drawn
        self._age, self._near = 0, list[np.ndarray]()
        self.pace, self._plans = STILL  # no sample is fresher than another

    def _couple(self, cross: np.ndarray, rows: tuple[np.ndarray, np.ndarray]) -> tuple[np.ndarray, float]:
        folds, candidates = self._drawn
        b, y = (Z[1][candidates] for Z in (self._seen, rows))
        shared = list(in_threads(shared_directions, cross))
        if self._age % KEPT == 0:
            k, most = min(CANDIDATES, len(b)), slice(-int(LISTED * shared[0][0].shape[1]), None)

            def nearest(fold: np.ndarray, A: np.ndarray, B: np.ndarray) -> np.ndarray:
                return top_k(unit(self._seen[0][fold] @ A[:, most]), unit(b @ B[:, most]), k)[1].astype(np.int32)

            self._near = list(in_threads(nearest, folds, *zip(*shared, strict=True)))
        self._age += 1
        b, y = map(ops.convert_to_tensor, (b, y))
        found = []
        for fold, near, (A, B) in zip(folds, self._near, shared, strict=True):
            matrix, cosine = _coupled(A, B, self._beta, self._seen[0][fold], b, near, rows[0][fold], y)
            found.append((ops.convert_to_numpy(matrix), float(cosine)))  # one after the other: they are large
        matrices, cosines = zip(*found, strict=True)
        return np.stack(matrices), float(np.mean(cosines))


@compiled
def _coupled(A: Any, B: Any, beta: Any, a: Any, b: Any, near: Any, x: Any, y: Any) -> tuple[Any, Any]:
    """The cross-covariance (dA, dB) of ``x`` (n, dA) with ``y`` (m, dB), coupled as ``a`` and ``b`` are.

    As in a dense plan, but row i has candidates ``near[i]`` (n, k) only. Returned with the mean cosine under the plan.
    """
    n, k = near.shape
    m, listed = b.shape[0], ops.reshape(near, (-1,))
    a, b = unit_rows(ops.matmul(a, A)), unit_rows(ops.matmul(b, B))
    cosines = _by_block(lambda row, some: ops.matmul(ops.take(b, some, axis=0), row[..., None])[..., 0], a, near)
    K = ops.exp(beta * (cosines - 1.0))
    v = ops.ones(m, "float32")
    for _ in range(ROUNDS):
        u = 1.0 / (ops.sum(K * ops.take(v, near), 1, keepdims=True) + 1e-30)
        v = (n / m) / (ops.segment_sum(ops.reshape(K * u, (-1,)), listed, m) + 1e-30)
    plan = K * ops.take(v, near)
    plan = plan / (ops.sum(plan, 1, keepdims=True) + 1e-30)
    partners = _by_block(lambda row, some: ops.matmul(row[:, None], ops.take(y, some, axis=0))[:, 0], plan, near)
    return ops.matmul(ops.transpose(x), partners) / n, ops.sum(plan * cosines) / n


def _by_block(function: Any, rows: Any, near: Any) -> Any:
    """``function`` of ``rows`` (n, d) and their ``near`` (n, k), BLOCK rows at a time."""
    n = rows.shape[0]
    blocks = [ops.reshape(ops.pad(z, ((0, -n % BLOCK), (0, 0))), (-1, BLOCK, z.shape[1])) for z in (rows, near)]
    found = ops.map(lambda block: function(*block), tuple(blocks))
    return ops.reshape(found, (-1, found.shape[-1]))[:n]
