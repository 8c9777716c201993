"""What must happen to a fit when its inputs are moved, scaled, turned or put in another order."""

import numpy as np
import pytest

from minivec import MiniVec2VecAligner
from minivec.algorithm.procrustes import polar
from minivec.frame import unit

D = 24


def rows(seed: int) -> np.ndarray:
    """3,000 rows (n, 24) of 40 clusters of unequal weight and width: the same distribution, whatever the seed."""
    fixed, rng = np.random.default_rng(7), np.random.default_rng(seed)
    centres, weights, widths = fixed.normal(size=(40, D)), fixed.dirichlet(np.ones(40)), fixed.uniform(0.2, 0.6, 40)
    drawn = rng.choice(40, 3000, p=weights)
    return (centres[drawn] + widths[drawn, None] * rng.normal(size=(3000, D))).astype(np.float32)


TURN, OTHER = (polar(np.random.default_rng(seed).standard_normal((D, D))) for seed in (1, 2))
A, B, NEW = rows(1) @ TURN.T, rows(2), rows(3)


def fitted(A: np.ndarray, B: np.ndarray) -> MiniVec2VecAligner:
    aligner = MiniVec2VecAligner(D)
    aligner.align(A, B, refine1_iterations=60, refine1_sample_size=1500, approx_runs=4)
    return aligner


def alike(one, other) -> float:
    return float((unit(np.asarray(one)) * unit(np.asarray(other))).sum(1).mean())


@pytest.fixture(scope="module")
def plain():
    return fitted(A, B)


def test_the_truth_is_found(plain):
    assert alike(plain(NEW @ TURN.T), NEW) > 0.98
    W = np.asarray(plain.W)
    np.testing.assert_allclose(W @ W.T, np.eye(D), atol=1e-5)
    np.testing.assert_allclose(np.asarray(plain.inverse().W), W.T, atol=1e-6)


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda Z: 1000 * Z, id="scaled"),
        pytest.param(lambda Z: Z + np.linspace(-3, 3, D, dtype=np.float32), id="translated"),
        pytest.param(lambda Z: Z @ OTHER, id="turned"),
    ],
)
def test_a_change_of_a_is_undone_by_the_map(plain, change):
    new = NEW @ TURN.T
    assert alike(fitted(change(A), B)(change(new)), plain(new)) > 0.98


def test_a_change_of_b_comes_out_of_the_map(plain):
    moved = fitted(A, 5 * B @ OTHER)
    new = NEW @ TURN.T
    assert alike(moved(new), np.asarray(plain(new)) @ OTHER) > 0.98


def test_the_order_of_rows_does_not_matter(plain):
    rng = np.random.default_rng(0)
    new = NEW @ TURN.T
    assert alike(fitted(rng.permutation(A), rng.permutation(B))(new), plain(new)) > 0.98
