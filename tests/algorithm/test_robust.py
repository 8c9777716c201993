"""What a fit of the bundled sample must bear: ``python -m pytest -m slow tests/algorithm/test_robust.py``."""

import numpy as np
import pytest

from minivec import MiniVec2VecAligner, evaluate_alignment
from minivec.datasets import load_sample

pytestmark = pytest.mark.slow
RNG = np.random.default_rng(0)


@pytest.fixture(scope="module")
def sample():
    return load_sample()


def top1(sample, change, test=lambda Z: Z):
    """The top-1 of a fit of the changed rows, and its verdict; ``test`` changes rows to be mapped and found."""
    source, target = change(sample.source), change(sample.target)
    aligner = MiniVec2VecAligner(source.shape[1])
    verdict = aligner.align(source, target)["verdict"]
    return evaluate_alignment(aligner, test(sample.test_source), test(sample.test_target))["top1_accuracy"], verdict


@pytest.fixture(scope="module")
def plain(sample):
    return top1(sample, lambda Z: Z)[0]


def duplicated(Z):
    """One row 800 times."""
    Z = Z.copy()
    Z[RNG.choice(len(Z), 800, replace=False)] = Z[5]
    return Z


def with_far_rows(Z):
    """A thousandth of the rows is noise, far away."""
    Z = Z.copy()
    Z[RNG.choice(len(Z), 8, replace=False)] = 100 * RNG.standard_normal((8, Z.shape[1]))
    return Z


def long_rows(Z):
    """Every hundredth row is a hundred times as long."""
    return Z * np.where(np.arange(len(Z)) % 100, 1, 100)[:, None]


@pytest.mark.parametrize("change, cost", [(duplicated, 0.015), (with_far_rows, 0.01), (long_rows, 0.01)])
def test_odd_rows_cost_little(sample, plain, change, cost):
    found, verdict = top1(sample, change)
    assert found > plain - cost and verdict == "reliable"


def constant(Z):
    return np.concatenate([Z, np.full((len(Z), 1), Z.std(), Z.dtype)], 1)


def half(Z):
    return Z.astype(np.float16)


def wide(Z):
    """3,072 dimensions, as docs/index.md says."""
    Q = np.linalg.qr(np.random.default_rng(Z.shape[1]).standard_normal((3072, Z.shape[1])))[0].T
    return Z @ Q.astype(np.float32)


@pytest.mark.parametrize("change, cost", [(constant, 0.01), (half, 0.01), (wide, 0.01)])
def test_other_forms_of_the_same_rows_cost_little(sample, plain, change, cost):
    found, verdict = top1(sample, change, change)
    assert found > plain - cost and verdict == "reliable"


@pytest.mark.parametrize("setting", [{"approx_runs": 1}, {"refine1_iterations": 8}, {"refine1_sample_size": 300}])
@pytest.mark.filterwarnings("ignore::minivec.AlignmentWarning")
def test_settings_that_leave_no_evidence_are_never_reliable(sample, setting):
    history = MiniVec2VecAligner(sample.source.shape[1]).align(sample.source, sample.target, **setting)
    assert history["verdict"] != "reliable" and history["confidence"] <= 0.5 and history["expected_top1"] is None
    assert history["causes"][0].startswith("{}={}".format(*next(iter(setting.items()))))
