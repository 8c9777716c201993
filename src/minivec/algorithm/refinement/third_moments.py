"""What third moments say of a map, beside the plans: encoders trained apart have nearly the same ones.

The moment of three directions, E[x_i x_j x_k], is an average over one space alone. Where the map is nearly right, the
moments of a direction with all pairs of well-known directions tell to which direction of the other space it belongs.
Unlike a plan, they need no row to lie near another one.
"""

from itertools import repeat

import numpy as np

from minivec.algorithm.problem import Problem
from minivec.algorithm.procrustes import WHITENING_POWER, shared_directions, whitened_cross
from minivec.algorithm.refinement.sinkhorn import PLANS_WORTH
from minivec.frame import unit
from minivec.threads import in_threads

# Figures: docs/tuning.md.
WORTH = 2.0  # plans that the third moments weigh as much as
BLOCK = 256  # rows of X at a time, whose kernel each thread keeps


def with_moments(problem: Problem, cross: np.ndarray) -> np.ndarray:
    """The cross-covariance ``cross`` (dA, dB) of plans, mixed with that of the third moments of all rows."""
    X, Y, principal = problem.X, problem.Y, problem.principal
    blocks = range(BLOCK, len(X), BLOCK)
    shared = shared_directions(whitened_cross(cross, *principal), power=0)
    a, b = (
        unit(Z @ (p.directions * p.whitening(WHITENING_POWER) @ along))
        for Z, p, along in zip((X, Y), principal, shared, strict=True)
    )
    moments = sum(in_threads(cross_of_moments, np.split(a, blocks), repeat(b), np.split(X, blocks), repeat(Y)))
    return mixed(cross, moments, WORTH * PLANS_WORTH / (PLANS_WORTH + len(problem.pairs)))


def cross_of_moments(a: np.ndarray, b: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """The cross-covariance (dA, dB) that the third moments of rows ``x`` (n, dA) and ``y`` (m, dB) imply.

    ``a`` (n, k) and ``b`` (m, k) are the same rows, at length 1, along k directions that the spaces are known to share.
    """
    K = np.square(a @ b.T)  # sums over all pairs of shared directions
    K -= K.mean(1, keepdims=True)
    return x.T @ (K @ y)


def mixed(cross: np.ndarray, moments: np.ndarray, worth: float) -> np.ndarray:
    """The mean of ``cross``, at a weight of 1, and of ``moments`` scaled to its norm, at a weight of ``worth``."""
    return (cross + worth * np.linalg.norm(cross) / np.linalg.norm(moments) * moments) / (1 + worth)
