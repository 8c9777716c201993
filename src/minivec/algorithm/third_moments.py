"""What third moments say of a map, beside the plans: encoders trained apart have nearly the same ones.

The moment of three directions, E[x_i x_j x_k], is an average over one space alone. Where the map is nearly right, the
moments of a direction with all pairs of well-known directions tell to which direction of the other space it belongs.
Unlike a plan, they need no row to lie near another one.
"""

import numpy as np

from minivec.algorithm.problem import Problem
from minivec.algorithm.procrustes import WHITENING_POWER, shared_directions, whitened_cross, whitened_procrustes
from minivec.algorithm.refinement.sinkhorn import PLANS_WORTH
from minivec.algorithm.schedule import Refined
from minivec.frame import unit
from minivec.threads import in_threads

# Figures: docs/tuning.md.
WORTH = 2.0  # plans that the third moments weigh as much as
ROWS = 16_384  # a side at most: with more rows, plans alone tell as much
BLOCK = 256  # rows of X at a time, whose kernel each thread keeps


def with_third_moments(problem: Problem, refined: Refined) -> Refined:
    """``refined`` with the agreement of both spaces' third moments added to its cross-covariance.

    ``refined`` itself where there are more than ROWS rows.
    """
    X, Y, principal = problem.X, problem.Y, problem.principal
    if max(len(X), len(Y)) > ROWS:
        return refined
    shared = shared_directions(whitened_cross(refined.cross, *principal), power=0)
    a, b = (
        unit(Z @ (p.directions * p.whitening(WHITENING_POWER) @ along))
        for Z, p, along in zip((X, Y), principal, shared, strict=True)
    )

    def of_block(start: int) -> np.ndarray:
        rows = slice(start, start + BLOCK)
        K = np.square(a[rows] @ b.T)  # sums over all pairs of shared directions
        K -= K.mean(1, keepdims=True)
        return X[rows].T @ (K @ Y)

    moments = sum(in_threads(of_block, range(0, len(X), BLOCK)))
    worth = WORTH * PLANS_WORTH / (PLANS_WORTH + len(problem.pairs))
    cross = refined.cross + worth * np.linalg.norm(refined.cross) / np.linalg.norm(moments) * moments
    return refined._replace(W=whitened_procrustes(cross, *principal), cross=cross)
