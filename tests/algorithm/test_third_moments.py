"""The third moments that two spaces share, and what they add to a map."""

import numpy as np
import pytest

from minivec.algorithm.problem import Problem
from minivec.algorithm.procrustes import (
    WHITENING_POWER,
    polar,
    shared_directions,
    whitened_cross,
    whitened_procrustes,
)
from minivec.algorithm.refinement.shortlists import MomentShortlists, Shortlists
from minivec.algorithm.refinement.sinkhorn import PLANS_WORTH
from minivec.algorithm.refinement.third_moments import WORTH, with_moments
from minivec.algorithm.schedule import Refined, schedule, with_third_moments
from minivec.frame import Frame, unit
from minivec.record import Record

D = 24


@pytest.fixture(scope="module")
def turned():
    """Other rows of one skewed distribution in two spaces, and the rotation between these."""
    rng = np.random.default_rng(0)
    mixing, R = rng.standard_normal((D, D)), polar(rng.standard_normal((D, D), dtype=np.float32))
    A, B = (rng.exponential(size=(3_000, D)) @ mixing for _ in range(2))
    A = A @ R.T
    return Problem.of(Frame.of(A).apply(A), Frame.of(B).apply(B)), R


def cross_at(problem: Problem, W: np.ndarray) -> np.ndarray:
    return problem.X.T @ problem.X @ W


def moments_beside(cross: np.ndarray, mean: np.ndarray, worth: float = WORTH) -> np.ndarray:
    """What was mixed with ``cross`` to give ``mean``, times its weight."""
    return (1 + worth) * mean - cross


def astray(R: np.ndarray, seed: int = 1) -> np.ndarray:
    return polar(R + 0.1 * np.random.default_rng(seed).standard_normal(R.shape, dtype=np.float32))


def test_a_map_that_is_nearly_right_comes_nearer(turned):
    problem, R = turned
    for seed in range(3):
        W = astray(R, seed)
        nearer = whitened_procrustes(with_moments(problem, cross_at(problem, W)), *problem.principal)
        assert np.linalg.norm(nearer - R) < 0.75 * np.linalg.norm(W - R)


def test_what_is_mixed_in_is_the_product_of_both_spaces_moments(turned, monkeypatch):
    """The kernel sums over rows what is summed here over pairs of directions."""
    monkeypatch.setattr("minivec.algorithm.refinement.third_moments.BLOCK", 700)  # a last block that is not full
    problem, R = turned
    cross = cross_at(problem, astray(R))
    shared = shared_directions(whitened_cross(cross, *problem.principal), power=0)
    tables = []
    for Z, principal, along in zip((problem.X, problem.Y), problem.principal, shared, strict=True):
        compared = unit(Z @ (principal.directions * principal.whitening(WHITENING_POWER)) @ along)
        products = np.einsum("ij,ik->ijk", compared, compared).reshape(len(Z), -1)
        tables.append(Z.T @ (products - (products.mean(0) if Z is problem.Y else 0)))
    expected = tables[0] @ tables[1].T
    moments = moments_beside(cross, with_moments(problem, cross))
    np.testing.assert_allclose(moments / np.linalg.norm(moments), expected / np.linalg.norm(expected), atol=1e-4)


@pytest.mark.parametrize("pairs", [0, PLANS_WORTH])
def test_they_weigh_as_much_as_two_plans_beside_known_pairs(turned, pairs):
    problem, R = turned
    problem = problem.with_pairs(np.repeat(np.arange(pairs)[:, None], 2, axis=1))
    cross, worth = cross_at(problem, R), WORTH if not pairs else WORTH / 2
    moments = moments_beside(cross, with_moments(problem, cross), worth)
    assert np.linalg.norm(moments) == pytest.approx(worth * np.linalg.norm(cross), rel=1e-4)


def test_with_more_rows_the_plans_alone_decide(turned, monkeypatch):
    problem, R = turned
    refined = Refined(astray(R), 0.5, R, cross_at(problem, astray(R)))
    more, record = with_third_moments(problem, refined, Record()), Record()
    assert np.linalg.norm(more.W - R) < np.linalg.norm(refined.W - R) and more.inside is R
    monkeypatch.setattr("minivec.algorithm.schedule.MOMENT_ROWS", 2_999)
    assert with_third_moments(problem, refined, record) is refined
    assert not record.seconds  # no stage is shown


@pytest.mark.parametrize(
    ("rows", "width", "refinement", "runs"),
    [(4_000, 384, MomentShortlists, 1), (8_000, 384, Shortlists, 1), (4_000, 96, Shortlists, 3)],
)
def test_they_count_in_every_step_of_a_wide_last_level_of_few_rows(rows, width, refinement, runs):
    last = schedule(Problem.of(*[np.zeros((rows, width), np.float32)] * 2))[-1]
    assert (last.refinement, last.bags) == (refinement, runs)


def test_a_step_with_third_moments_goes_nearer_to_the_truth_than_a_plan_alone(turned):
    problem, R = turned
    distances = []
    for kind in (Shortlists, MomentShortlists):
        level = kind(problem, directions=None, beta=32, sample=3_000, folds=4, rng=np.random.default_rng(0))
        cross, _ = level.lift(*level.init(astray(R)))
        distances.append(np.linalg.norm(whitened_procrustes(cross, *problem.principal) - R))
    plan, both = distances
    assert both < 0.9 * plan
