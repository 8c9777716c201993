"""Wide spaces: the fit takes place in the leading principal directions, and the other directions follow its map.

The last level takes more rows than there are directions, and the time of a step grows with their cube. The directions
that are left out have little variance.
"""

from dataclasses import replace

import numpy as np

from minivec.algorithm.problem import Problem, Solution
from minivec.algorithm.procrustes import polar
from minivec.algorithm.schedule import LEVELS, ROWS_PER_DIRECTION, evidence
from minivec.frame import unit
from minivec.search import top_k

# Figures: docs/tuning.md.
WIDEST = 768  # most directions of a fit
NARROWEST = max(level.directions or 0 for level in LEVELS)
MATCHED = 4_096  # most rows whose nearest rows match the other directions


def narrowed(problem: Problem) -> Problem:
    """The problem in the leading directions that there are rows for, WIDEST at most; ``problem`` if that is all."""
    r = min(WIDEST, evidence(problem) // ROWS_PER_DIRECTION)
    if r < max(NARROWEST, problem.settings.approx_clusters or 0) or r >= max(problem.X.shape[1], problem.Y.shape[1]):
        return problem
    X, Y = (unit(Z @ p.directions[:, :r]) for Z, p in zip((problem.X, problem.Y), problem.principal, strict=True))
    return Problem.of(X, Y, problem.pairs, problem.settings)


def widened(problem: Problem, narrow: Problem, solution: Solution) -> Solution:
    """The solution of ``problem``, with maps (dA, dB), from that of the ``narrow`` one, with maps (rA, rB).

    The further directions of both spaces are matched in blocks of falling variance: by Procrustes on rows of A, each
    with the row of B that the last map brings it nearest to.
    """
    W = solution.W
    (leading_X, rest_X), (leading_Y, rest_Y) = (
        np.split(p.directions, [r], axis=1) for p, r in zip(problem.principal, W.shape, strict=True)
    )
    rows = np.linspace(0, len(problem.X) - 1, min(MATCHED, len(problem.X))).astype(int)
    nearest = top_k(unit(narrow.X[rows] @ W), narrow.Y, 1)[1][:, 0]
    x, y = problem.X[rows] @ rest_X, problem.Y[nearest] @ rest_Y
    further = np.zeros((len(rest_X), len(rest_Y)), np.float32)
    for start in range(0, min(x.shape[1], y.shape[1]), NARROWEST):
        block = slice(start, start + NARROWEST)
        further += rest_X[:, block] @ polar(x[:, block].T @ y[:, block]) @ rest_Y[:, block].T
    names = "initial_W", "refine1_W", "W"
    return replace(solution, **{name: leading_X @ getattr(solution, name) @ leading_Y.T + further for name in names})
