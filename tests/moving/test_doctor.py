"""What is wrong with a store's vectors: rows that are no vectors, and vectors of two models in one column."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from minivec.datasets import load_sample
from minivec.frame import Frame
from minivec.map import LinearMap
from minivec.moving.doctor import doctor
from minivec.moving.mixture import second_model
from minivec.signature import Signature, Signatures

ROWS = 4_000


@pytest.fixture(scope="module")
def spaces():
    """E5 and USE in 384 dimensions."""
    sample = load_sample()
    cut = np.linalg.qr(np.random.default_rng(0).standard_normal((512, 384)))[0].astype(np.float32)
    return {"e5": sample.source, "use": sample.target @ cut}


@pytest.fixture(scope="module")
def bridge(spaces):
    """A map from E5 to USE as far as a doctor needs one."""
    source, target = (Frame.of(X) for X in spaces.values())
    signatures = Signatures(*(Signature.of(X) for X in spaces.values()))
    W = np.eye(384, dtype=np.float32)
    history = {"verdict": "reliable", "confidence": 1.0}
    return LinearMap.between(
        source, target, W=W, inverse_W=W.T, expected_cosine=0.7, history=history, signatures=signatures
    )


def mixed(spaces, most, rest, share):
    """Rows of two encoders in any order, and which of them are of the second."""
    n = int(ROWS * share)
    X = np.concatenate([spaces[most][: ROWS - n], spaces[rest][4_000 : 4_000 + n]])
    order = np.random.default_rng(0).permutation(ROWS)
    return X[order], order >= ROWS - n


@pytest.mark.parametrize("share", [0.01, 0.1, 0.5])
@pytest.mark.parametrize("most, rest", [("e5", "use"), ("use", "e5")])
def test_vectors_of_two_models_are_told_apart(spaces, most, rest, share):
    X, true = mixed(spaces, most, rest, share)
    lengths = np.random.default_rng(1).lognormal(0, 0.5, (len(X), 1))
    second = second_model(X * lengths)
    assert second is not None
    right = max(np.mean(second == true), np.mean(second != true)) if share == 0.5 else np.mean(second == true)
    assert right > 0.995


@pytest.mark.parametrize("encoder", ["e5", "use"])
def test_subjects_of_one_model_are_not_two_models(spaces, encoder):
    """All rows, and two groups of them that lie far apart along the first principal direction."""
    X = spaces[encoder][:ROWS]
    assert second_model(X) is None
    centred = spaces[encoder] - spaces[encoder].mean(0)
    along = centred @ np.linalg.svd(centred[:2_000], full_matrices=False)[2][0]
    order = np.argsort(along)
    assert second_model(np.concatenate([spaces[encoder][order[:1_500]], spaces[encoder][order[-1_500:]]])) is None
    assert second_model(np.concatenate([spaces[encoder][order[:3_000]], spaces[encoder][order[-300:]]])) is None


def test_repeated_and_noisy_rows_are_not_two_models(spaces):
    X = spaces["e5"][:2_000]
    assert second_model(np.concatenate([X, np.repeat(X[:1], 800, axis=0)])) is None
    assert second_model(np.random.default_rng(0).standard_normal((1_000, 384))) is None
    assert second_model(X[:20]) is None


def test_few_dimensions_are_not_two_models():
    rng = np.random.default_rng(0)
    assert second_model(np.concatenate([rng.standard_normal((300, 8)) + 5, rng.standard_normal((300, 8)) - 5])) is None


def test_a_sound_file_has_no_problems(spaces, tmp_path):
    path = tmp_path / "vectors.npy"
    np.save(path, spaces["e5"][:ROWS])
    before = path.stat()
    checkup = doctor(path, rows=1_000)
    assert checkup.healthy
    assert (checkup.rows, checkup.width, checkup.looked_at) == (ROWS, 384, 1_000)
    assert checkup.second_model == 0
    assert checkup.lengths == pytest.approx((1, 1, 1), abs=1e-3)
    assert checkup.space is None
    assert (path.stat().st_mtime_ns, list(tmp_path.iterdir())) == (before.st_mtime_ns, [path])


def test_rows_that_are_no_vectors_are_counted(spaces, tmp_path):
    X = spaces["e5"][:1_000].copy()
    X[3] = 0
    X[4, 7] = np.inf
    X[10:13] = X[9]
    path = tmp_path / "vectors.npy"
    np.save(path, X)
    checkup = doctor(path)
    assert (checkup.constant, checkup.not_finite, checkup.duplicates) == (1, 1, 3)
    assert checkup.problems == ["1 rows have NaN or infinity: 4"]


def test_missing_vectors_of_a_parquet_file_are_counted(spaces, tmp_path):
    vectors = [None if i % 10 == 0 else row.tolist() for i, row in enumerate(spaces["e5"][:200])]
    table = pa.table({"id": range(200), "vector": pa.array(vectors, pa.list_(pa.float32()))})
    pq.write_table(table, tmp_path / "vectors.parquet")
    checkup = doctor(tmp_path / "vectors.parquet")
    assert (checkup.looked_at, checkup.missing) == (200, 20)
    assert any("--skip-nulls" in note for note in checkup.notes)


@pytest.mark.parametrize("factory, approximates", [("PQ8", True), ("SQ8", True), ("Flat", False), ("HNSW8", False)])
def test_an_index_of_approximations_is_a_note(spaces, tmp_path, factory, approximates):
    faiss = pytest.importorskip("faiss")
    X, path = np.ascontiguousarray(spaces["e5"][:1_000]), tmp_path / "vectors.faiss"
    index = faiss.index_factory(384, factory, faiss.METRIC_INNER_PRODUCT)
    index.train(X)
    index.add(X)
    faiss.write_index(index, str(path))
    checkup = doctor(path)
    assert checkup.healthy
    assert any("approximations of its vectors" in note for note in checkup.notes) == approximates


def test_the_second_models_rows_are_named_in_a_database(spaces, tmp_path):
    lancedb = pytest.importorskip("lancedb")
    X, true = mixed(spaces, "use", "e5", 0.1)
    table = pa.table({"vector": pa.FixedSizeListArray.from_arrays(pa.array(X.ravel(), pa.float32()), 384)})
    lancedb.connect(tmp_path / "db").create_table("texts", table)
    checkup = doctor(f"lance://{tmp_path}/db/texts")
    assert checkup.second_model == pytest.approx(0.1, abs=0.005)
    assert checkup.second_model_keys
    assert set(checkup.second_model_keys) <= set(np.flatnonzero(true).tolist())
    assert "two models" in checkup.problems[0]


@pytest.mark.parametrize("which, space", [("e5", "own"), ("use", "other"), ("turned", "foreign")])
def test_the_aligner_tells_what_the_vectors_are(spaces, bridge, tmp_path, which, space):
    turn = np.linalg.qr(np.random.default_rng(5).standard_normal((384, 384)))[0].astype(np.float32)
    X = spaces["e5"] @ turn if which == "turned" else spaces[which]
    np.save(tmp_path / "vectors.npy", X[4_000:5_000])
    checkup = doctor(tmp_path / "vectors.npy", bridge)
    assert checkup.space == space
    assert checkup.healthy == (space == "own")


def test_other_lengths_than_the_fits_are_a_note(spaces, bridge, tmp_path):
    np.save(tmp_path / "vectors.npy", 7 * spaces["e5"][:1_000])
    checkup = doctor(tmp_path / "vectors.npy", bridge)
    assert checkup.healthy
    assert "lengths 7 to 7, those of the fit 1 to 1" in checkup.notes[0]


def test_another_width_than_the_aligners_is_a_problem(spaces, bridge, tmp_path):
    np.save(tmp_path / "vectors.npy", spaces["e5"][:500, :300])
    assert "300 dimensions where the aligner takes 384" in doctor(tmp_path / "vectors.npy", bridge).problems


def test_the_command_prints_and_exits(spaces, bridge, tmp_path, run):
    path, file = tmp_path / "vectors.npy", tmp_path / "bridge.safetensors"
    bridge.save(file)
    np.save(path, spaces["e5"][:ROWS])
    code, out, _ = run("doctor", path, "-a", file, "--rows", 500)
    assert code == 0
    assert "4,000 rows of 384 dimensions, looked at 500 drawn at random" in out
    assert "no problems" in out
    np.save(path, mixed(spaces, "e5", "use", 0.5)[0])
    code, out, _ = run("doctor", path, "--json")
    assert code == 3
    facts = json.loads(out)
    assert facts["second_model"] == pytest.approx(0.5, abs=0.01)
    assert not facts["healthy"]
    code, _, err = run("doctor", tmp_path / "none.npy")
    assert code == 2
    assert "none.npy" in err
