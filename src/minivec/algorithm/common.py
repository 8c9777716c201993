"""The space that two spaces share: a linear map into it from each of them, instead of one map from space to space.

A map from A to B is a rotation: it can neither leave out what the two spaces do not share, nor weight what they share
well. Two maps into a common space can do both.
"""

import numpy as np

from minivec.algorithm.narrowing import narrowed
from minivec.algorithm.problem import Problem
from minivec.algorithm.procrustes import shared_directions, whitened_cross
from minivec.algorithm.schedule import refine, schedule
from minivec.record import Record

WHITENING_POWER = 0.2  # of the rows of both spaces; figures: docs/tuning.md


def common_directions(problem: Problem, W: np.ndarray, record: Record) -> tuple[np.ndarray, np.ndarray]:
    """The weighted directions, (dA, k) and (dB, k), into which framed rows of both spaces are mapped.

    The last level of the fit runs again from the map ``W`` (dA, dB). The directions are the singular vectors of its
    cross-covariance, and the weights come from the singular values: see ``shared_directions``. The rows are partly
    whitened before, so that more directions count.
    """
    narrow = narrowed(problem)
    leading = [p.leading(Z.shape[1]).directions for p, Z in zip(problem.principal, (narrow.X, narrow.Y), strict=True)]
    if narrow is not problem:
        W = leading[0].T @ W @ leading[1]
    refined = refine(record, W, schedule(narrow)[-1], problem.generator(), narrow)
    shared = shared_directions(whitened_cross(refined.cross, *narrow.principal))
    source, target = (
        p.directions * p.whitening(WHITENING_POWER) @ directions
        for p, directions in zip(narrow.principal, shared, strict=True)
    )
    return (source, target) if narrow is problem else (leading[0] @ source, leading[1] @ target)
