import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from minivec.algorithm.matching.profiles import pseudo_targets
from minivec.frame import unit


def rows(n, d, seed):
    return np.random.default_rng(seed).normal(size=(n, d)).astype(np.float32)


def rotation(d, seed):
    return np.linalg.qr(np.random.default_rng(seed).normal(size=(d, d)))[0].astype(np.float32)


def test_targets_are_means_of_the_rows_with_the_nearest_profiles():
    X, Y, AX, AY = rows(40, 6, 0), rows(50, 9, 1), rows(12, 6, 2), rows(12, 9, 3)
    cosine = unit(unit(X) @ unit(AX).T) @ unit(unit(Y) @ unit(AY).T).T
    expected = np.stack([Y[np.argsort(-row)[:5]].mean(0) for row in cosine])
    assert np.allclose(pseudo_targets(X, Y, AX, AY, 5), expected, atol=1e-5)


@settings(max_examples=20)
@given(st.integers(0, 1000))
def test_targets_turn_with_Y_and_ignore_the_basis_of_X(seed):
    X, Y, AX, AY = rows(30, 6, seed), rows(40, 9, seed + 1), rows(12, 6, seed + 2), rows(12, 9, seed + 3)
    P, Q = rotation(6, seed), rotation(9, seed)
    turned = pseudo_targets(X @ P, Y @ Q, AX @ P, AY @ Q, 40)
    assert np.allclose(turned, pseudo_targets(X, Y, AX, AY, 40) @ Q, atol=1e-5)


def test_with_true_anchors_a_row_finds_its_own_image():
    X, Q = rows(300, 16, 0), rotation(16, 1)
    found = pseudo_targets(X, X @ Q, X[:40], X[:40] @ Q, 1)
    assert np.allclose(found, X @ Q, atol=1e-5)
