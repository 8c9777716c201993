"""Wide spaces: which of their directions a fit looks at, and what becomes of the others."""

import numpy as np

from minivec.algorithm.narrowing import narrowed, widened
from minivec.algorithm.problem import Problem, Solution
from minivec.algorithm.procrustes import orthogonal, polar
from minivec.algorithm.schedule import LEVELS, schedule
from minivec.frame import unit
from minivec.settings import resolve


def rows(n: int, d: int, seed: int) -> np.ndarray:
    """Rows whose variance falls from one direction to the next."""
    return unit((np.random.default_rng(seed).standard_normal((n, d)) / np.sqrt(1 + np.arange(d))).astype(np.float32))


def test_a_wide_problem_is_narrowed_until_its_last_level_has_the_rows():
    problem = Problem.of(rows(2400, 400, 0), rows(2400, 320, 1))
    assert len(schedule(problem)) < len(LEVELS)
    narrow = narrowed(problem)
    assert narrow.X.shape == narrow.Y.shape == (2400, 300)
    assert len(schedule(narrow)) == len(LEVELS)
    np.testing.assert_allclose(np.linalg.norm(narrow.X, axis=1), 1, rtol=1e-5)


def test_a_problem_with_rows_enough_or_far_too_few_or_more_anchors_stays_as_it_is():
    X, Y = rows(2400, 300, 0), rows(2400, 200, 1)
    for problem in (
        Problem.of(X, Y),
        Problem.of(X[:2000], Y[:2000]),
        Problem.of(rows(2400, 400, 0), Y, settings=resolve(approx_clusters=301)),
    ):
        assert narrowed(problem) is problem


def test_known_pairs_count_as_rows():
    X, Y = rows(2400, 400, 0), rows(2400, 320, 1)
    assert narrowed(Problem.of(X, Y, np.stack([np.arange(200)] * 2, 1))).X.shape[1] == 350


def test_the_other_directions_follow_the_map():
    """All of a turn is found where the narrow map is that of its leading directions."""
    X = rows(2400, 400, 0)
    turn = polar(np.random.default_rng(1).standard_normal((400, 400)))
    problem = Problem.of(X, X @ turn)
    narrow = narrowed(problem)
    W = polar(narrow.X.T @ narrow.Y)
    solution = widened(problem, narrow, Solution(W, W, W))
    np.testing.assert_allclose(solution.W @ solution.W.T, np.eye(400), atol=1e-4)
    assert ((X @ solution.W) * (X @ turn)).sum(1).min() > 0.999
    np.testing.assert_array_equal(solution.W, solution.initial_W)


def test_a_nearly_orthogonal_matrix_becomes_orthogonal():
    rng = np.random.default_rng(0)
    for shape in ((30, 20), (20, 30), (20, 20)):
        W = polar(rng.standard_normal(shape)) + 0.002 * rng.standard_normal(shape).astype(np.float32)
        np.testing.assert_allclose(orthogonal(W), polar(W.astype(np.float64)), atol=1e-6)
