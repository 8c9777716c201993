from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minivec.algorithm.matching.assignment import centroid_start, gram, match_2opt, match_tabu, matched_centroids
from minivec.frame import unit


def random_grams(m, k, seed=0):
    rng = np.random.default_rng(seed)
    return gram(rng.normal(size=(m, k, 9))), gram(rng.normal(size=(m, k, 9)))


def permuted(k, noise, seed=0):
    """A Gram matrix, a noisy copy in another order, and that order: GY[p][:, p] is near GX."""
    rng = np.random.default_rng(seed)
    C = rng.normal(size=(k, 30))
    p = rng.permutation(k)
    D = np.empty_like(C)
    D[p] = C + noise * rng.normal(size=C.shape)
    return gram(C), gram(D), p


def rotation(d, rng):
    return np.linalg.qr(rng.normal(size=(d, d)))[0].astype(np.float32)


def tight_clusters(dA, dB, n=3000, k=20, seed=0):
    """Unpaired unit rows of the same k round clusters in two spaces, and the map between them."""
    rng = np.random.default_rng(seed)
    d = min(dA, dB)
    W = rotation(dA, rng)[:, :d] @ rotation(dB, rng)[:d]
    centres = rng.normal(size=(k, d)) @ np.linalg.qr(rng.normal(size=(dA, d)))[0].T
    A, B = (centres[rng.integers(k, size=n)] + 0.05 * rng.normal(size=(n, dA)) for _ in range(2))
    A, B = A.astype(np.float32), B.astype(np.float32) @ W
    return unit(A - A.mean(0)), unit(B - B.mean(0)), W


def test_gram_matrices_are_blind_to_shifts_and_rotations():
    rng = np.random.default_rng(0)
    C = rng.normal(size=(3, 6, 5))
    Q = np.linalg.qr(rng.normal(size=(5, 5)))[0]
    assert np.allclose(gram(C), gram(C @ Q + 7))
    assert np.allclose(gram(C[1]), gram(C)[1])


@settings(max_examples=25)
@given(st.integers(2, 6), st.integers(1, 4), st.integers(0, 1000))
def test_tabu_finds_the_best_of_all_permutations(k, m, seed):
    GX, GY = random_grams(m, k, seed)
    p, score = match_tabu(GX, GY, np.random.default_rng(seed), iterations=100)
    every = np.array(list(permutations(range(k))))
    for i in range(m):
        values = (GX[i] * GY[i][every[:, :, None], every[:, None, :]]).sum((1, 2))
        assert score[i] == pytest.approx(values.max())
        assert (GX[i] * GY[i][np.ix_(p[i], p[i])]).sum() == pytest.approx(values.max())


@settings(max_examples=25)
@given(st.integers(2, 30), st.integers(1, 60), st.integers(0, 1000))
def test_the_score_kept_step_by_step_is_the_score_of_the_permutation(k, iterations, seed):
    GX, GY = random_grams(3, k, seed)
    p, score = match_tabu(GX, GY, np.random.default_rng(seed), starts=2, iterations=iterations)
    for i in range(3):
        assert sorted(p[i]) == list(range(k))
        assert score[i] == pytest.approx((GX[i] * GY[i][np.ix_(p[i], p[i])]).sum())


def test_tabu_solves_twenty_noisy_centroids_and_beats_2opt():
    problems = [permuted(20, 0.3, seed) for seed in range(4)]
    GX, GY, truth = map(np.stack, zip(*problems, strict=True))
    p, score = match_tabu(GX, GY, np.random.default_rng(0))
    assert np.array_equal(p, truth)
    GX, GY = random_grams(2, 20)
    _, score = match_tabu(GX, GY, np.random.default_rng(0))
    for i in range(2):
        q = match_2opt(GX[i], GY[i], np.random.default_rng(0), restarts=3)
        assert score[i] >= (GX[i] * GY[i][np.ix_(q, q)]).sum() - 1e-9


def test_2opt_restarts_until_it_has_the_permutation():
    GX, GY, truth = permuted(10, 0.05)
    assert np.array_equal(match_2opt(GX, GY, np.random.default_rng(0)), truth)
    scores = []
    for restarts in (1, 10):
        GX, GY = (G[0] for G in random_grams(1, 12))
        p = match_2opt(GX, GY, np.random.default_rng(3), restarts)
        scores.append((GX * GY[np.ix_(p, p)]).sum())
    assert scores[1] > scores[0]


@pytest.mark.parametrize("match", [match_2opt, match_tabu])
def test_the_seed_decides(match):
    GX, GY = random_grams(1, 12)
    if match is match_2opt:
        GX, GY = GX[0], GY[0]
    one, two = (match(GX, GY, np.random.default_rng(5)) for _ in range(2))
    assert np.array_equal(one[0], two[0])


def test_matched_centroids_are_each_others_images():
    X, Y, W = tight_clusters(32, 32, k=6)
    X, Y = X[np.argsort(X[:, 0])], Y[np.argsort(Y[:, 0])]  # cluster by cluster, as real files can be
    CX, CY = matched_centroids(X, Y, 6, np.random.default_rng(0), sample=1000)
    assert np.abs(CX @ W - CY).max() < 0.05


@pytest.mark.parametrize(("dA", "dB"), [(64, 64), (64, 96), (96, 64)])
def test_centroids_solve_tight_clusters(dA, dB):
    X, Y, W = tight_clusters(dA, dB)
    found = centroid_start(X, Y, 20, 2, np.random.default_rng(0), sample=2000)
    assert found.shape == (dA, dB)
    small = found.T @ found if dA > dB else found @ found.T
    assert np.allclose(small, np.eye(min(dA, dB)), atol=1e-5)
    assert np.einsum("ij,ij->i", unit(X @ found), unit(X @ W)).mean() > 0.98
