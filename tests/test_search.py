import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minivec.frame import unit
from minivec.search import csls_top_k, mean_of_nearest, top_k


def rows(n, d=8, seed=0):
    return unit(np.random.default_rng(seed).normal(size=(n, d)).astype(np.float32))


@given(st.integers(1, 40), st.integers(1, 60), st.integers(2, 20), st.data())
def test_top_k_is_the_k_best_of_a_full_sort(n, m, d, data):
    k = data.draw(st.integers(1, m))
    Q, base = rows(n, d, seed=n), rows(m, d, seed=100 + m)
    similarity, near = top_k(Q, base, k)
    cosine = Q @ base.T
    assert np.allclose(similarity, -np.sort(-cosine, axis=1)[:, :k], atol=1e-5)
    assert np.allclose(np.take_along_axis(cosine, near, 1), similarity, atol=1e-5)
    assert all(len(set(row)) == k for row in near)


def test_top_k_stays_exact_beyond_one_block_of_faiss():
    Q, base = rows(5000, 16), rows(3000, 16, seed=1)
    assert (top_k(Q, base, 1)[1][:, 0] == (Q @ base.T).argmax(1)).mean() > 0.999
    assert np.allclose(top_k(Q, base, 30)[0], -np.sort(-(Q @ base.T), axis=1)[:, :30], atol=1e-5)


@pytest.mark.parametrize("k", [0, 5])
def test_k_out_of_range_is_refused_with_its_value(k):
    with pytest.raises(ValueError, match=f"4 rows searched, got {k}"):
        top_k(rows(3), rows(4), k)


def test_rows_of_another_width_are_refused():
    with pytest.raises(ValueError, match="width 8.*width 9"):
        top_k(rows(3), rows(4, 9), 1)


@pytest.mark.parametrize(("n", "m"), [(50, 70), (4, 3)])
def test_csls_is_its_published_formula(n, m):
    Q, base = rows(n), rows(m, seed=1)
    cosine = Q @ base.T
    of_Q = np.sort(cosine, axis=1)[:, -10:].mean(1)
    of_base = np.sort(cosine, axis=0)[-10:].mean(0)
    csls = 2 * cosine - of_Q[:, None] - of_base
    similarity, near = csls_top_k(Q, base, 3)
    assert np.allclose(similarity, -np.sort(-csls, axis=1)[:, :3], atol=1e-5)
    assert np.allclose(np.take_along_axis(csls, near, 1), similarity, atol=1e-5)


def test_csls_passes_over_a_hub_that_cosine_falls_for():
    rng = np.random.default_rng(0)
    Q = unit(rng.normal(size=(200, 30)).astype(np.float32) + 0.5)
    base = unit(Q + 0.9 * rng.normal(size=Q.shape).astype(np.float32))
    base[0] = unit(Q.mean(0, keepdims=True))
    by_cosine, by_csls = top_k(Q, base, 1)[1], csls_top_k(Q, base, 1)[1]
    assert (by_csls == 0).mean() < (by_cosine == 0).mean() / 2


def test_mean_of_nearest_averages_the_values_of_the_nearest_keys():
    Q, keys, values = rows(30), rows(40, seed=1), rows(40, 5, seed=2)
    near = np.argsort(-(Q @ keys.T), axis=1)[:, :7]
    assert np.allclose(mean_of_nearest(Q, keys, values, 7), values[near].mean(1), atol=1e-6)
