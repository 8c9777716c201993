"""The scikit-learn estimator, by scikit-learn's own checks and in its pipelines."""

import inspect

import numpy as np
import pytest

import supervised

pytest.importorskip("sklearn")

from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.utils.estimator_checks import check_estimator, parametrize_with_checks

from minivec import MiniVec2VecAligner
from minivec.integrations.sklearn import EmbeddingAligner

A, B = supervised.spaces(8, 6, rows=400)


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    supervised.install(monkeypatch)


EXPECTED = {"check_estimators_dtypes": "its integers have a row of zeros, which is no embedding"}


@parametrize_with_checks(
    [EmbeddingAligner(target=np.random.default_rng(0).normal(size=(60, 5)))],
    expected_failed_checks=lambda estimator: EXPECTED,
)
def test_checks(estimator, check):
    """With ``target``: the labels that most checks pass as y are no second space."""
    check(estimator)


def test_the_one_check_that_fails_fails_for_the_reason_that_is_given():
    aligner = EmbeddingAligner(target=np.random.default_rng(0).normal(size=(60, 5)))
    results = check_estimator(aligner, on_fail=None, on_skip=None)
    failed = {r["check_name"]: str(r["exception"]) for r in results if r["status"] == "failed"}
    assert set(failed) == set(EXPECTED)
    assert "zero or constant rows" in failed["check_estimators_dtypes"]


def test_random_state_is_what_it_is_in_scikit_learn():
    def seeds(random_state):
        aligner = EmbeddingAligner(random_state=random_state)
        return [aligner.fit(A, B).history_["settings"]["seed"] for _ in range(2)]

    assert seeds(7) == seeds(np.int64(7)) == [7, 7]
    first, second = seeds(np.random.RandomState(5))
    assert first != second and [first, second] == seeds(np.random.RandomState(5))
    np.random.seed(3)
    drawn = seeds(None)
    np.random.seed(3)
    assert drawn == seeds(None) and drawn[0] != drawn[1]
    with pytest.raises(ValueError, match="'seven' cannot be used to seed"):
        EmbeddingAligner(random_state="seven").fit(A, B)


def test_every_option_of_align_is_a_parameter():
    own = {"target", "random_state", "options"}
    options = set(inspect.signature(MiniVec2VecAligner.align).parameters) - {"self", "XA", "XB", "seed", "pairs"}
    assert set(EmbeddingAligner().get_params()) == own | options
    with pytest.raises(TypeError, match="no parameter 'aprox_runs'"):
        EmbeddingAligner(aprox_runs=2)


def test_a_grid_search_reaches_the_options_of_align():
    grid = {"approx_runs": [2, 3], "mapping": ["orthogonal", "whitened"], "options": [{"smoothing_alpha": 0.25}]}
    search = GridSearchCV(EmbeddingAligner(target_name="B"), grid, cv=2).fit(A, B)
    assert len(search.cv_results_["params"]) == 4 and search.best_score_ > 0.9
    best = search.best_estimator_.history_
    assert best["settings"]["approx_runs"] == search.best_params_["approx_runs"]
    assert best["settings"]["mapping"] == search.best_params_["mapping"]
    assert best["settings"]["smoothing_alpha"] == 0.25 and best["spaces"]["target"] == "B"


def test_options_win_and_may_hold_known_pairs():
    pairs = np.stack([np.arange(30)] * 2, axis=1)
    aligner = EmbeddingAligner(approx_runs=2, options={"approx_runs": 3, "pairs": pairs, "seed": 9}).fit(A, B)
    assert aligner.history_["settings"]["approx_runs"] == 3 and aligner.history_["settings"]["seed"] == 9
    assert aligner.history_["pairs"] == 30


@pytest.mark.parametrize("kind", ["pandas", "polars"])
def test_tables_come_out_with_names_of_columns(kind):
    tables = pytest.importorskip(kind)
    aligner = EmbeddingAligner().set_output(transform=kind).fit(A[:300], B[:300])
    table = aligner.transform(A)
    names = [f"embeddingaligner{i}" for i in range(6)]
    assert isinstance(table, tables.DataFrame) and list(table.columns) == names
    assert aligner.get_feature_names_out().tolist() == names
    np.testing.assert_array_equal(table.to_numpy(), aligner.aligner_.map(A))


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
