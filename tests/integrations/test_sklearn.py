"""The scikit-learn estimator, by scikit-learn's own checks and in its pipelines."""

import numpy as np
import pytest

import supervised

pytest.importorskip("sklearn")

from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.utils.estimator_checks import check_estimator

from minivec.integrations.sklearn import EmbeddingAligner

A, B = supervised.spaces(8, 6, rows=400)


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    supervised.install(monkeypatch)


def test_checks():
    """All of them with ``target``; the labels that most checks pass instead are no second space."""
    aligner = EmbeddingAligner(target=np.random.default_rng(0).normal(size=(60, 5)))
    results = check_estimator(aligner, on_fail=None, on_skip=None)
    failed = {r["check_name"]: str(r["exception"]) for r in results if r["status"] == "failed"}
    assert len(results) > 40
    assert set(failed) == {"check_estimators_dtypes"}  # its integers have a row of zeros, which is no embedding
    assert "zero or constant rows" in failed["check_estimators_dtypes"]


def test_two_spaces():
    aligner = EmbeddingAligner().fit(A[:300], B[:300])
    assert aligner.n_features_in_ == 8 and aligner.history_["verdict"] == "reliable"
    assert aligner.transform(A).shape == (400, 6) and aligner.inverse_transform(B).shape == (400, 8)
    np.testing.assert_allclose(aligner.transform(A), np.asarray(aligner.aligner_(A)), atol=1e-6)
    np.testing.assert_allclose(aligner.inverse_transform(B), np.asarray(aligner.aligner_.inverse()(B)), atol=1e-6)
    assert aligner.score(A[300:], B[300:]) == 1
    assert aligner.score(A) == 0.75  # the confidence
    with pytest.raises(ValueError, match="no second space"):
        EmbeddingAligner().fit(A)


def test_pipelines():
    scale = FunctionTransformer(lambda X: 2 * X)
    moved = make_pipeline(scale, EmbeddingAligner()).fit(A[:300], B[:300])
    assert moved.score(A[300:], B[300:]) == 1
    labels = (B[:, 0] > B[:, 0].mean()).astype(int)  # known in B's space, and predicted there
    bridge = EmbeddingAligner(target=B)
    model = make_pipeline(bridge, LogisticRegression(C=100)).fit(A[:300], labels[:300])
    assert model.score(A[300:], labels[300:]) > 0.9
    assert clone(bridge).set_params(random_state=3).random_state == 3
