import numpy as np
import pytest

from minivec.algorithm.expected import AMONG, MEASURED, expected_cosine, top1_of_pairs
from minivec.frame import unit
from minivec.history import top1_in_words
from minivec.spaces import inverted


def test_the_more_halves_agree_the_more_partners_are_expected():
    found = [MEASURED.top1(agreement) for agreement in np.linspace(-0.2, 1, 60)]
    for name in ("value", "low", "high"):
        values = [getattr(top1, name) for top1 in found]
        assert values == sorted(values) and 0 <= values[0] and values[-1] <= 1
    assert all(top1.low <= top1.value <= top1.high for top1 in found)
    assert found[0].value == 0 and found[-1].value > 0.9


@pytest.mark.parametrize("noise, least, most", [(0.0, 0.99, 1.0), (1.5, 0.2, 0.8), (50.0, 0.0, 0.05)])
def test_known_pairs_are_counted_among_other_rows_of_b(noise, least, most):
    rng = np.random.default_rng(0)
    Y = unit(rng.standard_normal((3000, 32)))
    mapped = Y[:200] + noise * rng.standard_normal((200, 32)) / np.sqrt(32)
    top1 = top1_of_pairs(mapped, Y[:200], Y)  # the partners are rows of B themselves
    cosines = unit(mapped) @ Y[:AMONG].T
    assert top1.value == pytest.approx((cosines.argmax(1) == np.arange(200)).mean())
    assert least <= top1.value <= most and top1.low <= top1.value <= top1.high and top1.among == AMONG


def test_wilsons_interval_holds_the_truth_nine_times_in_ten():
    rng, held = np.random.default_rng(1), 0
    Y = np.array([[1.0, 0.0], [0.0, 1.0]])
    for _ in range(400):
        right = rng.random(60) < 0.7
        mapped = np.where(right[:, None], [1.0, 0.2], [0.2, 1.0])
        top1 = top1_of_pairs(mapped, np.tile(Y[0], (60, 1)), Y)
        held += top1.low <= 0.7 <= top1.high
    assert 0.85 < held / 400 < 0.95


def test_it_is_said_in_words_and_not_of_the_other_direction():
    history = {"expected_top1": MEASURED.top1(0.7)._asdict()}
    assert top1_in_words(history).startswith("94% (") and "among 2,000 rows of B" in top1_in_words(history)
    assert top1_in_words(inverted(history)) == "" == top1_in_words({"expected_top1": None})


def test_the_expected_cosine_is_no_higher_than_the_halves_of_the_evidence_allow():
    rng = np.random.default_rng(0)
    X = unit(rng.standard_normal((500, 8)).astype(np.float32))
    cosines = [expected_cosine(X, X, np.eye(8, dtype=np.float32), agreement) for agreement in (None, 1.0, 0.25, -0.1)]
    assert cosines == pytest.approx([1, 1, 0.5, 0], abs=1e-3)
