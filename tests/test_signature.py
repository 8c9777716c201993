"""Vectors of another space are recognised, and those of the right one are not refused."""

import pickle

import keras
import numpy as np
import pytest

from minivec import LinearMap, MiniVec2VecAligner, load, open_map
from minivec.datasets import load_sample
from minivec.frame import unit
from minivec.persistence import write_tensors
from minivec.signature import Signature, Signatures, WrongVectorsWarning, number_of_directions, recognise

SIZES = (3, 10, 30, 100, 1000)


@pytest.fixture(scope="module")
def sample():
    return load_sample()


@pytest.fixture(scope="module")
def spaces(sample):
    """E5 and USE in 384 dimensions: fitted rows, and rows to judge."""
    rng = np.random.default_rng(0)
    cut = np.linalg.qr(rng.standard_normal((512, 384)))[0].astype(np.float32)
    return {
        "e5": (sample.source, sample.test_source),
        "use": (sample.target @ cut, sample.test_target @ cut),
    }


@pytest.fixture(scope="module")
def signatures(spaces):
    return {name: Signature.of(fit) for name, (fit, _) in spaces.items()}


@pytest.mark.parametrize("own, other", [("e5", "use"), ("use", "e5")])
@pytest.mark.parametrize("size", SIZES)
def test_batches_of_the_right_space_pass(spaces, signatures, own, other, size):
    rng = np.random.default_rng(size)
    for _ in range(20):
        rows = spaces[own][1][rng.choice(2000, size, replace=False)]
        assert recognise(rows, signatures[own], signatures[other]).space == "own"


@pytest.mark.parametrize("own, other", [("e5", "use"), ("use", "e5")])
@pytest.mark.parametrize("size", SIZES)
def test_vectors_of_the_target_space_are_named(spaces, signatures, own, other, size):
    rng = np.random.default_rng(size)
    for _ in range(20):
        rows = spaces[other][1][rng.choice(2000, size, replace=False)]
        verdict = recognise(rows, signatures[own], signatures[other])
        assert verdict.space == "other"
        assert verdict.wrong
        assert "--inverse" in verdict.cause


@pytest.mark.parametrize("own", ["e5", "use"])
@pytest.mark.parametrize("change", ["turned", "shuffled coordinates", "noise"])
def test_vectors_of_neither_space_are_foreign(spaces, signatures, own, change):
    rng = np.random.default_rng(1)
    rows = spaces[own][1]
    if change == "turned":
        rows = rows @ np.linalg.qr(rng.standard_normal((384, 384)))[0].astype(np.float32)
    elif change == "shuffled coordinates":
        rows = rows[:, rng.permutation(384)]
    else:
        rows = rng.standard_normal((1000, 384))
    for size in (30, 100, 1000):
        verdict = recognise(rows[:size], signatures[own], None)
        assert verdict.space == "foreign"
        assert "another model" in verdict.cause


def test_one_foreign_row_is_too_few_to_refuse(spaces, signatures):
    foreign = np.random.default_rng(0).standard_normal((50, 384))
    spaces_found = {recognise(row[None], signatures["e5"], None).space for row in foreign}
    assert "own" not in spaces_found
    assert "unknown" in spaces_found


def test_repeated_rows_count_once(spaces, signatures):
    """A thousand times one odd row tells as much as the row itself."""
    levels = signatures["use"].levels(unit(spaces["use"][1]))
    odd = spaces["use"][1][[levels.argmin()]]
    once, often = (recognise(np.repeat(odd, n, axis=0), signatures["use"], None) for n in (1, 1000))
    assert once.space == often.space != "foreign"
    assert often.rows == 1


@pytest.mark.parametrize("scale", [1e-6, 7.0, 1e6])
def test_lengths_change_no_verdict(spaces, signatures, scale):
    fit, rows = spaces["e5"]
    lengths = scale * np.random.default_rng(0).lognormal(0, 1, (len(rows), 1))
    verdict = recognise(rows * lengths, signatures["e5"], signatures["use"])
    assert verdict.space == "own"
    assert "lengths" in verdict.note
    stretched = Signature.of(fit * np.random.default_rng(1).lognormal(0, 1, (len(fit), 1)))
    assert recognise(rows, stretched, signatures["use"]).space == "own"
    assert "lengths" in recognise(rows, stretched, None).note
    assert recognise(rows, signatures["e5"], None).note == ""


def test_rows_that_are_not_finite_or_zero_are_left_out(spaces, signatures):
    rows = spaces["e5"][1][:100].copy()
    rows[:40] = 0
    rows[40] = np.nan
    rows[41] = np.inf
    assert recognise(rows, signatures["e5"], None).space == "own"
    assert recognise(rows[:42], signatures["e5"], None).space == "unknown"


@pytest.mark.parametrize("width", [2, 8, 64, 384])
def test_a_space_without_leading_directions_is_unknown(width):
    """Gaussian rows spread evenly: nothing tells them from others, so nothing is refused."""
    rng = np.random.default_rng(0)
    signature = Signature.of(rng.standard_normal((2000, width)).astype(np.float32))
    assert recognise(rng.standard_normal((500, width)), signature, signature).space == "unknown"


def test_no_signature_is_unknown(spaces):
    assert recognise(spaces["e5"][1], None, None).space == "unknown"


def test_a_target_of_another_width_does_not_count(sample):
    own, other = Signature.of(sample.source), Signature.of(sample.target)
    assert recognise(sample.test_source, own, other).space == "own"


def test_few_rows_make_a_signature(spaces, signatures):
    signature = Signature.of(spaces["e5"][0][:300])
    assert recognise(spaces["e5"][1], signature, None).space == "own"
    assert recognise(spaces["use"][1], signature, None).space == "foreign"


def test_a_signature_is_small_and_the_same_each_time(spaces):
    rows = spaces["e5"][0]
    first, second = Signature.of(rows).arrays(), Signature.of(rows).arrays()
    assert all(np.array_equal(first[name], second[name]) for name in first)
    for width in (384, 768, 1536, 3072):
        assert 4 * width * (number_of_directions(width) + 1) < 250_000


def test_a_signature_comes_back_from_its_arrays(signatures):
    both = Signatures(signatures["e5"], signatures["use"])
    back = Signatures.from_arrays(both.arrays(), (384, 384))
    for name, array in both.arrays().items():
        assert np.array_equal(array, back.arrays()[name])
    assert both.swapped().source is both.target
    assert Signatures.from_arrays({"W": np.eye(2)}, (384, 384)) is None


@pytest.mark.parametrize(
    "name, value, told",
    [
        ("source_signature_mean", None, "no 'mean'"),
        ("source_signature_mean", np.zeros(383), "'mean' must be finite, of shape (384,)"),
        ("target_signature_directions", np.zeros((65, 384)), "'directions' must be finite, of shape (64, 384)"),
        ("target_signature_shares", np.full(5, np.nan), "'shares' must be finite"),
    ],
)
def test_damaged_arrays_are_named(signatures, name, value, told):
    arrays = Signatures(signatures["e5"], signatures["use"]).arrays()
    arrays[name] = value
    if value is None:
        del arrays[name]
    with pytest.raises(ValueError) as raised:
        Signatures.from_arrays(arrays, (384, 384))
    assert told in str(raised.value)


@pytest.fixture(scope="module")
def aligner(sample, spaces):
    """A model of true pairs, from E5 to USE in 384 dimensions."""
    return MiniVec2VecAligner.from_pairs(sample.test_source, spaces["use"][1])


def copies(aligner, folder):
    """The map, and what comes back of it from each kind of file."""
    aligner.save(folder / "a.keras")
    aligner.export(folder / "a.safetensors")
    aligner.save_pretrained(folder / "a")
    yield "map", aligner.map
    yield "pickle", pickle.loads(pickle.dumps(aligner.map))
    yield "lengths", aligner.map.of_lengths("target")
    for name in ("a.keras", "a.safetensors", "a"):
        yield name, open_map(folder / name)
    yield "load", load(folder / "a.keras").map
    yield "keras", keras.saving.load_model(folder / "a.keras").map
    yield "inverse", open_map(folder / "a.keras", inverse=True).inverse()


def test_signatures_are_saved_with_a_map(aligner, tmp_path):
    expected = aligner.map.signatures.arrays()
    for name, bridge in copies(aligner, tmp_path):
        assert bridge.signatures is not None, name
        for key, array in bridge.signatures.arrays().items():
            assert np.array_equal(array, expected[key]), (name, key)
        if name != "lengths":
            assert bridge.fingerprint == aligner.map.fingerprint, name
    assert np.array_equal(aligner.map.inverse().signatures.source.mean, expected["target_signature_mean"])


def test_a_map_without_signatures_warns_of_nothing(aligner, spaces, tmp_path):
    bare = LinearMap(aligner.map.weights, aligner.map.history)
    assert bare.fingerprint == aligner.map.fingerprint
    bare(spaces["use"][1])
    bare.save(tmp_path / "bare.safetensors")
    assert open_map(tmp_path / "bare.safetensors").signatures is None
    assert bare.inverse().signatures is None


def test_a_damaged_signature_is_an_error_that_names_the_file(aligner, tmp_path):
    bridge, path = aligner.map, tmp_path / "damaged.safetensors"
    arrays = bridge.signatures.arrays()
    arrays["source_signature_mean"] = np.zeros(7, np.float32)
    write_tensors(path, {**bridge.weights, **arrays}, bridge.history)
    with pytest.raises(ValueError, match=r"damaged\.safetensors.*'mean' must be finite, of shape \(384,\)"):
        open_map(path)


@pytest.mark.parametrize("kind", ["map", "keras"])
def test_a_call_warns_once_of_the_target_spaces_vectors(aligner, spaces, kind):
    mapped = aligner.map if kind == "map" else MiniVec2VecAligner.from_map(aligner.map)
    with pytest.warns(WrongVectorsWarning, match="target space.*inverse") as seen:
        mapped(spaces["use"][1][:100])
    assert [warning.filename for warning in seen] == [__file__]
    mapped(spaces["use"][1])


def test_predict_warns_once_of_the_target_spaces_vectors(aligner, spaces):
    model = MiniVec2VecAligner.from_map(aligner.map)
    with pytest.warns(WrongVectorsWarning, match="target space.*inverse") as seen:
        model.predict(spaces["use"][1][:100], verbose=0)
    assert [warning.filename for warning in seen] == [__file__]
    model.predict(spaces["use"][1], verbose=0)
    right = MiniVec2VecAligner.from_map(aligner.map)
    right.predict(spaces["e5"][0][:100].astype(np.float64), verbose=0)
    assert right._watch is None


@pytest.mark.parametrize("kind", ["map", "keras"])
def test_a_call_with_the_right_vectors_is_silent(aligner, spaces, kind):
    mapped = aligner.map if kind == "map" else MiniVec2VecAligner.from_map(aligner.map)
    mapped(spaces["e5"][0][:100])
    assert mapped._watch is None


def test_single_wrong_rows_are_warned_of_after_a_few(aligner, spaces):
    bridge = aligner.map
    with pytest.warns(WrongVectorsWarning):
        for row in spaces["use"][1][:16]:
            bridge(row)


def test_apply_does_not_look(aligner, spaces):
    bridge = aligner.map
    rows = spaces["use"][1][:100]
    mapped = bridge.apply(rows)
    with pytest.warns(WrongVectorsWarning):
        assert np.array_equal(mapped, bridge(rows))


def test_rows_that_are_mapped_already_look_like_the_target(aligner, spaces):
    bridge = aligner.map
    assert recognise(bridge(spaces["e5"][0][:1000]), *bridge.signatures).space == "other"


def test_weights_of_another_model_come_without_its_signatures(aligner):
    model = MiniVec2VecAligner.from_map(aligner.map)
    model.set_weights(aligner.get_weights())
    assert model.map.signatures is None
