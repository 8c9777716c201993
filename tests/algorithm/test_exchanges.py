"""Tight clusters that a map carries into each other's place."""

import numpy as np
import pytest

from minivec.algorithm.exchanges import Exchange, exchangeable, likeliest, settled
from minivec.algorithm.problem import Problem, Solution
from minivec.algorithm.schedule import Refined, schedule
from minivec.frame import Frame, unit
from minivec.record import Record

D, CLASSES = 32, 30


@pytest.fixture(scope="module")
def stitched():
    """Rows of 30 tight classes in two spaces, whose centres lie alike, and the map between the spaces."""
    rng = np.random.default_rng(0)
    centres = rng.standard_normal((CLASSES, D))
    centres[1] = 0.8 * centres[0] + 0.6 * centres[1]  # two that are easily taken for each other
    W = np.linalg.qr(rng.standard_normal((D, D)))[0].astype(np.float32)

    def rows(own):
        labels = rng.integers(CLASSES, size=4_000)
        return (own[labels] + 0.25 * rng.standard_normal((4_000, D))).astype(np.float32)

    A, B = rows(centres) @ W.T, rows(centres + 0.2 * rng.standard_normal(centres.shape))
    source, target = Frame.of(A), Frame.of(B)
    problem = Problem.of(source.apply(A), target.apply(B))
    across = unit((centres[:1] - centres[1:2]).astype(np.float32))[0]
    return problem, W, Exchange(0.0, across).made(W)


def test_an_exchange_is_undone_by_itself_and_carries_one_centre_to_the_other(stitched):
    rng = np.random.default_rng(1)
    one, other = unit(rng.standard_normal((2, D)).astype(np.float32))
    exchange = Exchange(0.0, unit(one[None] - other)[0])
    np.testing.assert_allclose(one @ exchange.made(np.eye(D, dtype=np.float32)), other, atol=1e-6)
    np.testing.assert_allclose(exchange.made(exchange.made(stitched[1])), stitched[1], atol=1e-6)


def test_an_exchange_of_two_classes_is_found_and_a_right_map_is_not_doubted(stitched):
    problem, right, wrong = stitched
    found = likeliest(problem, wrong, np.random.default_rng(0))[0]
    assert found.odds < 0
    assert np.linalg.norm(found.made(wrong) - right) < 0.6 * np.linalg.norm(wrong - right)
    tight = dict(initial_W=right, refine1_W=right, objective=0.8)
    assert "exchanged" in exchangeable(problem, Solution(**tight, W=wrong))
    assert exchangeable(problem, Solution(**tight, W=right)) is None
    assert exchangeable(problem, Solution(**tight | {"objective": 0.4}, W=wrong)) is None


def test_a_fit_undoes_an_exchange(stitched):
    problem, right, wrong = stitched
    level = schedule(problem)[0]
    found = Refined(wrong, 0.7, wrong, wrong)
    W = settled(problem, found, level, Record(), np.random.default_rng(0)).W
    mapped = unit(problem.X @ W)
    assert (mapped * unit(problem.X @ right)).sum(1).mean() > 0.95
    few = Problem.of(problem.X[:300], problem.Y[:300])
    assert likeliest(few, wrong, np.random.default_rng(0)) == []
