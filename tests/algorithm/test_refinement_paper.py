import numpy as np
import pytest

from minivec.algorithm.procrustes import polar
from minivec.algorithm.refinement.clusters import clusters_step
from minivec.algorithm.refinement.neighbors import neighbors_step
from minivec.frame import unit


def spaces(dA=24, dB=24, n=2000, seed=0):
    """Unpaired unit rows of one elongated, clustered cloud in two spaces, and the map between them."""
    rng = np.random.default_rng(seed)
    d = min(dA, dB)
    W = np.linalg.qr(rng.normal(size=(max(dA, dB), d)))[0]
    W = (W if dA > dB else W.T).astype(np.float32)
    scale = np.linspace(2, 0.5, d)
    centres = 3 * rng.normal(size=(60, d))
    X, Y = (unit((centres[rng.integers(60, size=n)] + rng.normal(size=(n, d))) * scale) for _ in range(2))
    X, Y = X.astype(np.float32), Y.astype(np.float32)
    return (X @ W.T, Y, W) if dA > dB else (X, Y @ W, W)


def disturbed(W, amount, seed=1):
    noise = np.random.default_rng(seed).normal(size=W.shape) / np.sqrt(max(W.shape))
    return polar(W + amount * noise)


def cosine(X, W, truth):
    return np.einsum("ij,ij->i", unit(X @ W), unit(X @ truth)).mean()


STEPS = {
    "neighbors": lambda X, Y, W, rng: neighbors_step(X, Y, W, sample=1500, neighbors=10, rng=rng),
    "clusters": lambda X, Y, W, rng: clusters_step(X, Y, W, clusters=60, rng=rng),
}


@pytest.mark.parametrize("name", STEPS)
@pytest.mark.parametrize(("dA", "dB"), [(24, 24), (24, 40), (40, 24)])
def test_a_step_brings_a_disturbed_map_nearer_and_keeps_it_orthogonal(name, dA, dB):
    X, Y, truth = spaces(dA, dB)
    start = disturbed(truth, 0.5)
    W, seen = STEPS[name](X, Y, start, np.random.default_rng(0))
    assert W.shape == (dA, dB)
    small = W.T @ W if dA > dB else W @ W.T
    assert np.allclose(small, np.eye(min(dA, dB)), atol=1e-5)
    assert 1 - cosine(X, W, truth) < 0.5 * (1 - cosine(X, start, truth))
    assert seen["objective"] < STEPS[name](X, Y, W, np.random.default_rng(0))[1]["objective"] < 1


@pytest.mark.parametrize("name", STEPS)
def test_the_seed_decides(name):
    X, Y, truth = spaces()
    one, two, other = (STEPS[name](X, Y, truth, np.random.default_rng(seed))[0] for seed in (1, 1, 2))
    assert np.array_equal(one, two)
    assert not np.allclose(one, other, atol=1e-3)  # other rows, or other clusters


def test_a_neighbors_step_is_procrustes_on_the_means_of_neighbours():
    X, Y, W = spaces(n=200)
    near = np.argsort(-(X @ W @ Y.T), axis=1)[:, :7]
    expected = polar(X.T @ Y[near].mean(1))
    for sample in (200, 10_000):
        found, seen = neighbors_step(X, Y, W, sample=sample, neighbors=7, rng=np.random.default_rng(0))
        assert np.allclose(found, expected, atol=1e-4)
        targets = unit(Y[near].mean(1))
        assert seen["objective"] == pytest.approx((X @ W * targets).sum(1).mean(), abs=1e-5)
