"""The before/after picture: written for every shape of input, with the pairs brought together."""

import numpy as np
import pytest
from matplotlib.image import imread

from minivec.frame import unit
from minivec.picture import agreeing_view, before_after

rng = np.random.default_rng(0)
B = unit(rng.normal(size=(300, 12)) * np.linspace(3, 1, 12)).astype(np.float32)
NOISE = rng.normal(size=B.shape).astype(np.float32)


@pytest.mark.parametrize(("width", "n"), [(12, 300), (16, 300), (8, 300), (12, 4)])
def test_a_legible_png_whatever_the_widths_and_numbers(tmp_path, width, n):
    W = np.linalg.qr(rng.normal(size=(16, 16)))[0][:width, :12].astype(np.float32)
    A = B[:n] @ W.T
    texts = [f"text {i} with $dollars$ and\nlines" for i in range(n)]
    before_after(lambda X: unit(X @ W), A, B[:n], tmp_path / "picture.png", texts)
    image = imread(tmp_path / "picture.png")
    assert image.shape[0] > 500 and image.shape[1] > 900 and image.std() > 0.01


def test_neither_side_is_painted_over_the_other(tmp_path):
    """Where all rows of both sides lie in the same places, both colours are to be seen, as if rows took turns."""
    same = np.repeat(B, 4, axis=0)
    before_after(lambda X: X, same, same, tmp_path / "picture.png", ["text"] * len(same))
    pixels = imread(tmp_path / "picture.png")[..., :3].reshape(-1, 3)
    red, _, blue = pixels.T
    bluish, reddish = (blue - red > 0.15).sum(), (red - blue > 0.15).sum()
    assert 1 / 3 < bluish / reddish < 3


def test_too_few_pairs_are_refused(tmp_path):
    with pytest.raises(ValueError, match="at least 4 pairs, got 3"):
        before_after(lambda X: X, B[:3], B[:3], tmp_path / "picture.png", ["text"] * 3)
    assert not list(tmp_path.iterdir())


def test_directions_in_which_pairs_agree():
    """Noise in the directions of greatest variance does not hide the two that both sides share."""
    P, Q = 0.1 * NOISE, 0.1 * rng.normal(size=B.shape)
    P[:, 5:7] = Q[:, 5:7] = rng.normal(size=(300, 2))
    P[:, 0], Q[:, 1] = 3 * NOISE[:, 0], 3 * NOISE[:, 1]
    view = agreeing_view(P, Q)
    shared = np.linalg.norm(view[5:7], axis=0) / np.linalg.norm(view, axis=0)
    assert (shared > 0.95).all()
