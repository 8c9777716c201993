import numpy as np
import pytest

from minivec.algorithm.anchors.components import independent_components
from minivec.algorithm.matching.moments import common_map, match_components
from minivec.datasets import load_sample
from minivec.frame import Frame, Principal


def skewed_rows(seed: int, rows: int = 4000, d: int = 24) -> tuple[np.ndarray, np.ndarray]:
    """Rows mixed from uncorrelated, skewed sources of different strengths, and the mixing (d, d)."""
    rng = np.random.default_rng(seed)
    S = rng.exponential(1, (rows, d)) - 1
    for i in range(0, d - 1, 2):
        S[rng.random(rows) < 0.02 + 0.01 * i, i : i + 2] *= 3
    S *= np.linspace(2, 1, d)
    mixing = np.linalg.qr(np.random.default_rng(99).normal(size=(d, d)))[0]
    return (S @ mixing.T).astype(np.float32), mixing


@pytest.mark.parametrize("contrast", ["cube", "tanh"])
def test_components_are_the_sources(contrast):
    rows, mixing = skewed_rows(0)
    X = rows - rows.mean(0)
    found = independent_components(X, Principal.of(X), 24, contrast, np.random.default_rng(0))
    directions = found.directions / np.linalg.norm(found.directions, axis=0)
    best = np.abs(mixing.T @ directions).max(1)
    assert np.median(best) > 0.95
    assert (found.signals**3).mean(0).min() >= 0  # signs by positive skewness
    np.testing.assert_allclose(found.signals.std(0), 1, atol=0.05)


def test_matched_components_find_the_map_between_real_encoders():
    sample = load_sample()
    source, target = Frame.of(sample.source), Frame.of(sample.target)
    X, Y = source.apply(sample.source), target.apply(sample.target)
    rng = np.random.default_rng(0)
    x, y = (independent_components(Z, Principal.of(Z), 96, "cube", rng) for Z in (X, Y))
    W, anchors = common_map([match_components(x, y, rng)], rng)
    mapped = source.apply(sample.test_source) @ W
    nearest = (mapped @ target.apply(sample.test_target).T).argmax(1)
    assert (nearest == np.arange(len(nearest))).mean() > 0.05  # by chance 0.0005
    assert anchors[0].shape == (96, 384) and anchors[1].shape == (96, 512)
