import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minivec.algorithm.anchors.centroids import kmeans


def clusters(k=20, n=3000, d=32, seed=0):
    """Rows of k separate round clusters, and each row's cluster."""
    rng = np.random.default_rng(seed)
    label = rng.integers(k, size=n)
    centres = rng.normal(size=(k, d))
    return (centres[label] + 0.05 * rng.normal(size=(n, d))).astype(np.float32), label


def means(X, label):
    return np.stack([X[label == i].mean(0) for i in np.unique(label)])


def nearest(C, X):
    return ((X[:, None] - C) ** 2).sum(-1).argmin(1)


@settings(max_examples=10)
@given(st.integers(0, 1000))
def test_separate_clusters_are_found_from_any_seed(seed):
    X, label = clusters(k=8, n=800, seed=seed)
    C = kmeans(X, 8, np.random.default_rng(seed))
    assert sorted(nearest(C, means(X, label))) == list(range(8))
    assert np.abs(C[nearest(C, means(X, label))] - means(X, label)).max() < 1e-4


def test_every_row_counts_however_many_there_are():
    X = np.random.default_rng(0).normal(size=(6000, 2)).astype(np.float32)
    C = kmeans(X, 2, np.random.default_rng(0))
    assert np.abs(C - means(X, nearest(C, X))).max() < 1e-2  # FAISS by itself would look at 512 rows: 0.1 off


def test_centroids_stay_where_they_started():
    X, label = clusters()
    start = means(X, label)[::-1] + np.float32(0.1)
    C = kmeans(X, 20, np.random.default_rng(0), init=start)
    assert np.abs(C - means(X, label)[::-1]).max() < 1e-4


def test_the_seed_decides():
    X = np.random.default_rng(0).normal(size=(1000, 16)).astype(np.float32)
    one, two, other = (kmeans(X, 10, np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert np.array_equal(one, two)
    assert not np.allclose(np.sort(one, 0), np.sort(other, 0))


def test_centroids_turn_with_the_rows():
    X, _ = clusters()
    Q = np.linalg.qr(np.random.default_rng(1).normal(size=(32, 32)))[0].astype(np.float32)
    assert np.allclose(
        kmeans(X @ Q, 20, np.random.default_rng(0)), kmeans(X, 20, np.random.default_rng(0)) @ Q, atol=1e-4
    )


@pytest.mark.parametrize("n", [5, 30])
def test_few_rows_are_enough_and_silent(n, capfd):
    X = np.random.default_rng(0).normal(size=(n, 8)).astype(np.float32)
    C = kmeans(X, 5, np.random.default_rng(0))
    assert C.shape == (5, 8) and np.isfinite(C).all()
    if n == 5:
        assert np.allclose(np.sort(C, 0), np.sort(X, 0), atol=1e-6)
    assert capfd.readouterr() == ("", "")


def test_rows_that_repeat_are_no_trouble():
    X = np.repeat(np.eye(3, 8, dtype=np.float32), 10, axis=0)
    assert np.isfinite(kmeans(X, 5, np.random.default_rng(0))).all()
