"""The third moments that two spaces share, and what they add to a map."""

import numpy as np
import pytest

from minivec.algorithm import third_moments
from minivec.algorithm.problem import Problem
from minivec.algorithm.procrustes import WHITENING_POWER, polar, shared_directions, whitened_cross
from minivec.algorithm.refinement.sinkhorn import PLANS_WORTH
from minivec.algorithm.schedule import Refined
from minivec.algorithm.third_moments import WORTH, with_third_moments
from minivec.frame import Frame, unit

D = 24


@pytest.fixture(scope="module")
def turned():
    """Other rows of one skewed distribution in two spaces, and the rotation between these."""
    rng = np.random.default_rng(0)
    mixing, R = rng.standard_normal((D, D)), polar(rng.standard_normal((D, D), dtype=np.float32))
    A, B = (rng.exponential(size=(3_000, D)) @ mixing for _ in range(2))
    A = A @ R.T
    return Problem.of(Frame.of(A).apply(A), Frame.of(B).apply(B)), R


def refined_at(problem: Problem, W: np.ndarray) -> Refined:
    cross = problem.X.T @ problem.X @ W
    return Refined(W, 0.5, W, cross)


def astray(R: np.ndarray, seed: int = 1) -> np.ndarray:
    return polar(R + 0.1 * np.random.default_rng(seed).standard_normal(R.shape, dtype=np.float32))


def test_a_map_that_is_nearly_right_comes_nearer(turned):
    problem, R = turned
    for seed in range(3):
        start = refined_at(problem, astray(R, seed))
        assert np.linalg.norm(with_third_moments(problem, start).W - R) < 0.75 * np.linalg.norm(start.W - R)


def test_what_is_added_is_the_product_of_both_spaces_moments(turned, monkeypatch):
    """The kernel sums over rows what is summed here over pairs of directions."""
    monkeypatch.setattr(third_moments, "BLOCK", 700)  # a last block that is not full
    problem, R = turned
    start = refined_at(problem, astray(R))
    shared = shared_directions(whitened_cross(start.cross, *problem.principal), power=0)
    tables = []
    for Z, principal, along in zip((problem.X, problem.Y), problem.principal, shared, strict=True):
        compared = unit(Z @ (principal.directions * principal.whitening(WHITENING_POWER)) @ along)
        products = np.einsum("ij,ik->ijk", compared, compared).reshape(len(Z), -1)
        tables.append(Z.T @ (products - (products.mean(0) if Z is problem.Y else 0)))
    expected = tables[0] @ tables[1].T
    added = with_third_moments(problem, start).cross - start.cross
    np.testing.assert_allclose(added / np.linalg.norm(added), expected / np.linalg.norm(expected), atol=1e-4)


@pytest.mark.parametrize("pairs", [0, PLANS_WORTH])
def test_they_weigh_as_much_as_two_plans_beside_known_pairs(turned, pairs):
    problem, R = turned
    problem = problem.with_pairs(np.repeat(np.arange(pairs)[:, None], 2, axis=1))
    start = refined_at(problem, R)
    added = np.linalg.norm(with_third_moments(problem, start).cross - start.cross) / np.linalg.norm(start.cross)
    assert added == pytest.approx(WORTH if not pairs else WORTH / 2, rel=1e-4)


def test_with_more_rows_the_plans_alone_decide(turned, monkeypatch):
    problem, R = turned
    monkeypatch.setattr(third_moments, "ROWS", 2_999)
    start = refined_at(problem, astray(R))
    assert with_third_moments(problem, start) is start
