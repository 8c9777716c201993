"""The space that two spaces share."""

import pickle

import numpy as np
import pytest

from minivec import LinearMap, MiniVec2VecAligner, WrongVectorsWarning, evaluate_alignment, open_map
from minivec.cli import main
from minivec.datasets import load_sample

SAMPLE = load_sample()
A, B = SAMPLE.source[:3000], SAMPLE.target[3000:6500]


@pytest.fixture(scope="module")
def aligner():
    """A weak map of few known pairs, of real encoders."""
    model = MiniVec2VecAligner.from_pairs(
        SAMPLE.test_source[:300], SAMPLE.test_target[:300], source_name="old", target_name="new"
    )
    return model


@pytest.fixture(scope="module")
def common(aligner):
    return aligner.common(A, B)


def test_rows_find_their_partners_more_often_than_through_the_map(aligner, common):
    X, Y = SAMPLE.test_source[300:], SAMPLE.test_target[300:]
    shared = evaluate_alignment(common.source, X, common.target(Y))
    assert shared["top1_accuracy"] > evaluate_alignment(aligner, X, Y)["top1_accuracy"] + 0.05


def test_both_maps_give_unit_rows_of_the_same_few_dimensions(common):
    rows = common.source(A[:10]), common.target(B[:10])
    assert {z.shape for z in rows} == {(10, 250)}  # two thirds of the directions that 3,000 rows are enough for
    for z in rows:
        np.testing.assert_allclose(np.linalg.norm(z, axis=1), 1, rtol=1e-5)


def test_the_lengths_of_rows_do_not_matter(aligner, common):
    lengths = np.random.default_rng(0).uniform(0.1, 10, (len(A), 1)).astype(np.float32)
    again = aligner.common(A * lengths, B)
    cosines = [maps.source(A[:50]) @ maps.target(B[:50]).T for maps in (again, common)]
    np.testing.assert_allclose(*cosines, atol=0.02)


def test_the_history_has_the_names_and_the_verdict_and_the_maps_have_one_direction(aligner, common):
    assert [bridge.history["spaces"] for bridge in common] == [
        {"source": "old", "target": "common space"},
        {"source": "new", "target": "common space"},
    ]
    assert common.target.history["verdict"] == aligner.history["verdict"]
    assert "expected_top1" not in common.source.history
    with pytest.raises(ValueError, match="one direction only"):
        common.source.inverse()


def test_they_are_saved_and_read(common, tmp_path):
    common.source.save(tmp_path / "source.safetensors")
    read = open_map(tmp_path / "source.safetensors")
    assert isinstance(read, LinearMap)
    np.testing.assert_array_equal(read(A[:5]), common.source(A[:5]))


def test_vectors_of_another_space_are_refused(aligner):
    with pytest.raises(ValueError, match="XA"):
        aligner.common(B, A)
    noise = np.random.default_rng(0).standard_normal(A.shape)
    with pytest.raises(ValueError, match="XA: these do not look like vectors of the space"):
        aligner.common(noise, B)
    with pytest.raises(ValueError, match="at least"):
        aligner.common(A[:10], B)


def test_the_maps_recognise_vectors_of_another_space(common):
    fresh = pickle.loads(pickle.dumps(common.source))  # which has seen no rows yet
    with pytest.warns(WrongVectorsWarning, match="another model made them"):
        fresh(np.random.default_rng(1).standard_normal((500, 384)).astype(np.float32))


def test_on_the_command_line(aligner, common, tmp_path, capsys):
    for name, rows in (("a", A), ("b", B)):
        np.save(tmp_path / f"{name}.npy", rows)
    aligner.save(tmp_path / "bridge.keras")
    words = ["common", *(str(tmp_path / name) for name in ("a.npy", "b.npy"))]
    with pytest.raises(SystemExit) as done:
        main([*words, "-a", str(tmp_path / "bridge.keras"), "-o", str(tmp_path / "shared")])
    assert not done.value.code
    assert "old -> common space, 384 -> 250 dimensions" in capsys.readouterr().out
    read = open_map(tmp_path / "shared" / "target.safetensors")
    np.testing.assert_allclose(read(B[:20]), common.target(B[:20]), atol=1e-4)
    mapped = tmp_path / "mapped.npy"
    with pytest.raises(SystemExit) as done:
        source = str(tmp_path / "shared" / "source.safetensors")
        main(["transform", words[1], "-a", source, "-o", str(mapped)])
    assert not done.value.code and np.load(mapped).shape == (3000, 250)
