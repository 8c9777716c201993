"""The map as a value: one formula in every library, files of every kind, both directions."""

import pickle
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
from safetensors.numpy import load_file

import minivec
import supervised
from minivec import LinearMap, MiniVec2VecAligner, evaluate_alignment, open_map
from minivec.frame import unit
from minivec.runtime import QueryAdapter

DATA = Path(__file__).parent / "data"  # files that version 0.1.0 wrote, and rows with what it mapped them to
KEPT = [DATA / name for name in ("aligner.keras", "bridge.safetensors", "folder")]
BOTH_WAYS = [KEPT[0], KEPT[2]]
ROWS = dict(np.load(DATA / "rows.npz"))
WIDTHS = [(16, 16), (16, 24), (24, 16)]


def fitted(widths=(16, 24), **options):
    """An aligned model between spaces of these widths, and rows of the first."""
    A, B = supervised.spaces(*widths)
    with pytest.MonkeyPatch.context() as monkeypatch:
        supervised.install(monkeypatch)
        aligner = MiniVec2VecAligner(widths[0])
        aligner.align(2 * A + 0.1, 3 * B, **options)
    return aligner, 2 * A + 0.1


def by_keras(bridge, rows, folder):
    return keras.ops.convert_to_numpy(MiniVec2VecAligner.from_map(bridge)(rows))


def by_single_rows(bridge, rows, folder):
    return np.stack([bridge(row) for row in rows])


def by_torch(bridge, rows, folder):
    torch = pytest.importorskip("torch")
    from minivec.integrations.torch import TorchAdapter

    return TorchAdapter(bridge)(torch.tensor(rows)).numpy()


def by_onnx(bridge, rows, folder):
    pytest.importorskip("onnx")
    runtime = pytest.importorskip("onnxruntime")
    from minivec.integrations import onnx

    onnx.save(bridge, folder / "bridge.onnx")
    session = runtime.InferenceSession(folder / "bridge.onnx", providers=["CPUExecutionProvider"])
    return session.run(None, {"x": rows})[0]


def directions(rows):
    """Rows at length 1, or zero where no entry is above 1e-30."""
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.where(abs(rows).max(1, keepdims=True) >= 1e-30, rows / np.maximum(lengths, 1e-300), 0)


def formula(bridge, rows):
    """The map as the documentation of ``LinearMap`` writes it, in double precision."""
    w = {name: np.asarray(value, np.float64) for name, value in bridge.weights.items()}
    rows = rows.astype(np.float64)
    z = ((directions(rows) if w["unit"] else rows) - w["source_mean"]) @ w["W"]
    lengths = np.linalg.norm(z, axis=1, keepdims=True)
    v = np.where(lengths > 1e-5 * np.linalg.norm(w["source_mean"]), z / np.maximum(lengths, 1e-300), 0)
    along = (v @ w["target_mean"])[:, None]
    norm = 1 if w["unit"] else w["target_norm"]
    beyond = norm**2 - w["target_mean"] @ w["target_mean"]
    reach, cosine = np.sqrt(along**2 + beyond) - along, w["expected_cosine"]
    if w["unit"] == 2:
        return unit(w["target_mean"] + (cosine * reach + (1 - cosine) * np.sqrt(beyond)) * v)
    return unit(cosine * w["target_mean"] + reach * v)


def of_raw_rows(bridge):
    """A map of the same sizes as version 0.1.0 fitted them: the means are of rows of any length."""
    means = {name: 2 * bridge.weights[name] + 0.1 for name in ("source_mean", "target_mean")}
    return LinearMap({**bridge.weights, **means, "target_norm": 3.0, "unit": 0.0})


def as_before(bridge):
    """A map as it was fitted before the expected cosine told how far from the mean a row lies."""
    return LinearMap({**bridge.weights, "unit": 1.0})


def test_queries_are_mapped_as_all_rows_were_before():
    aligner, rows = fitted()
    queries = aligner.map.for_queries()
    np.testing.assert_array_equal(queries(rows), as_before(aligner.map)(rows))
    for same in (queries.of_lengths(3.0), pickle.loads(pickle.dumps(queries)), queries.for_queries()):
        np.testing.assert_allclose(unit(same(rows)), queries(rows), atol=1e-6)
    assert queries.fingerprint == aligner.map.fingerprint


def test_rows_are_evaluated_as_rows_that_ask():
    aligner, rows = fitted()
    bridge = LinearMap({**aligner.map.weights, "expected_cosine": 0.3})
    others = np.random.default_rng(0).permutation(bridge(rows))
    found = [evaluate_alignment(way, rows, others) for way in (bridge, bridge.for_queries(), lambda X: bridge(X))]
    assert found[0] == found[1] != found[2]


@pytest.mark.parametrize("widths", WIDTHS)
@pytest.mark.parametrize("share", [0.6, 1.0])
@pytest.mark.parametrize("make", [lambda bridge: bridge, as_before, of_raw_rows], ids=["present", "before", "raw"])
def test_one_formula(widths, share, make, tmp_path):
    aligner, rows = fitted(widths)
    bridge = make(LinearMap({**aligner.map.weights, "expected_cosine": share}))
    rows = np.vstack([rows[:50], bridge.weights["source_mean"], np.zeros(widths[0]), rows[:5] * 1e-37]).astype("f4")
    rows = np.vstack([rows, *(rows[:3] * np.float32(scale) for scale in (1e20, 1e37, 1e-12, 1e-20))])
    expected = formula(bridge, rows)
    np.testing.assert_allclose(np.linalg.norm(expected, axis=1), 1, atol=1e-6)
    np.testing.assert_allclose(bridge(rows), expected, atol=2e-6)
    for implementation in (by_keras, by_single_rows, by_torch, by_onnx):
        found = implementation(bridge, rows, tmp_path)
        np.testing.assert_allclose(found, expected, atol=2e-6, err_msg=implementation.__name__)


def test_mapped_rows_are_found_among_those_of_a_space_whose_mean_is_long():
    """Multilingual E5 is such a space. Before, mapped rows beside its own never came up: they were too far from it."""
    rng = np.random.default_rng(0)
    d, n, k = 64, 3000, 10
    content = rng.standard_normal((n, d)) * np.linspace(1.5, 0.5, d)
    A = content + 1.7 * rng.standard_normal((n, d))
    B = unit(content + 16 * np.eye(d)[0])
    assert np.linalg.norm(B.mean(0)) > 0.85
    bridge = MiniVec2VecAligner.from_pairs(A[:2000], B[:2000], mapping="orthogonal").map
    own, half = B[2000:].astype("f4"), np.arange(1000) % 2 == 0
    asked, kept = own[:250], np.arange(1000) >= 250

    def found(rows):
        return np.argsort(-(asked @ rows[kept].T), axis=1)[:, :k]

    def share_found(rows):
        return np.mean([len(set(a) & set(b)) / k for a, b in zip(found(rows), found(own), strict=True)])

    before, mapped = as_before(bridge)(A[2000:]), bridge(A[2000:])
    assert share_found(mapped) > 1.2 * share_found(before)
    among = [half[kept][found(np.where(half[:, None], rows, own))].mean() for rows in (before, mapped)]
    assert among[0] < 0.1 and 0.35 < among[1] < 0.65


def test_a_map_of_a_newer_version_is_refused():
    aligner, _ = fitted()
    with pytest.raises(ValueError, match="a newer version of minivec made this map"):
        LinearMap({**aligner.map.weights, "unit": 3.0})


def test_lengths_do_not_matter():
    aligner, rows = fitted()
    scales = np.exp(np.random.default_rng(0).normal(size=(len(rows), 1)) * 5)
    mapped = aligner.map(rows)
    np.testing.assert_allclose(aligner.map((rows * scales).astype("f4")), mapped, atol=1e-6)
    np.testing.assert_array_equal(aligner.map(rows * 4), mapped)


@pytest.mark.parametrize("path", KEPT, ids=lambda path: path.name)
def test_files_of_version_0_1_map_as_they_did(path):
    bridge = open_map(path)
    assert bridge.shape == (8, 6) and bridge.history["settings"]["mapping"] == "whitened"
    np.testing.assert_allclose(bridge(ROWS["A"]), ROWS["mapped"], atol=1e-6)
    np.testing.assert_allclose(bridge(ROWS["A"][3]), ROWS["mapped"][3], atol=1e-6)
    assert bridge.fingerprint == "d617339cb716f62c1fc5ce14c9bac1c9"  # a migration that version 0.1.0 began goes on


@pytest.mark.parametrize("path", BOTH_WAYS, ids=lambda path: path.name)
def test_files_of_version_0_1_map_back_as_they_did(path):
    np.testing.assert_allclose(open_map(path, inverse=True)(ROWS["B"]), ROWS["mapped_back"], atol=1e-6)
    model = minivec.load(path)
    assert isinstance(model, MiniVec2VecAligner)
    np.testing.assert_allclose(model(ROWS["A"]), ROWS["mapped"], atol=5e-7)
    np.testing.assert_allclose(model.inverse()(ROWS["B"]), ROWS["mapped_back"], atol=5e-7)


def test_other_doors_to_the_same_files():
    loaded = keras.models.load_model(KEPT[0])
    assert loaded.name == minivec.load(KEPT[0]).name == "kept"
    others = MiniVec2VecAligner.from_pretrained(KEPT[2]), loaded
    maps = [LinearMap.load(KEPT[2] / "model.safetensors"), QueryAdapter.load(KEPT[1]), *(m.map for m in others)]
    for bridge in maps:
        np.testing.assert_allclose(bridge(ROWS["A"]), ROWS["mapped"], atol=1e-6)


def test_a_bridge_of_version_0_1_has_one_direction():
    with pytest.raises(ValueError, match=r"bridge\.safetensors: .*one direction only"):
        open_map(KEPT[1], inverse=True)
    with pytest.raises(ValueError, match="one direction only"):
        open_map(KEPT[1]).inverse()
    with pytest.raises(ValueError, match=r"bridge\.safetensors: .*one direction only"):
        minivec.load(KEPT[1])


@pytest.mark.parametrize("mapping", ["orthogonal", "whitened"])
def test_a_new_bridge_maps_both_ways(mapping, tmp_path):
    aligner, rows = fitted(mapping=mapping)
    path = tmp_path / "bridge.safetensors"
    aligner.export(path)
    assert ("inverse_W" in load_file(path)) == (mapping == "whitened")  # the transpose of W needs no room
    bridge = open_map(path)
    mapped = bridge(rows)
    np.testing.assert_array_equal(bridge.inverse()(mapped), aligner.map.inverse()(mapped))
    np.testing.assert_array_equal(bridge.inverse().inverse()(rows), mapped)
    np.testing.assert_array_equal(
        keras.ops.convert_to_numpy(minivec.load(path)(rows)), keras.ops.convert_to_numpy(aligner(rows))
    )


def test_it_is_read_only_and_a_copy():
    aligner, rows = fitted()
    given = {name: np.array(value) for name, value in aligner.map.weights.items()}
    bridge = LinearMap(given, aligner.history)
    before = bridge(rows)
    given["W"][:] = 0
    np.testing.assert_array_equal(bridge(rows), before)
    with pytest.raises(AttributeError, match="read-only"):
        bridge.share = 0.5
    with pytest.raises(TypeError):
        bridge.weights["W"] = given["W"]
    with pytest.raises(ValueError, match="read-only"):
        bridge.weights["W"][0] = 0
    again = pickle.loads(pickle.dumps(bridge))
    np.testing.assert_array_equal(again(rows), before)
    assert again.fingerprint == bridge.fingerprint and again.history == bridge.history


def test_of():
    aligner, _ = fitted()
    bridge = aligner.map
    assert LinearMap.of(bridge) is bridge and LinearMap.of(aligner).fingerprint == bridge.fingerprint
    assert QueryAdapter is LinearMap
    with pytest.raises(minivec.NotAlignedError):
        LinearMap.of(MiniVec2VecAligner(4))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"W": None}, "no weight 'W'"),
        ({"inverse_W": None}, "no weight 'inverse_W'"),
        ({"inverse_W": np.ones((16, 24))}, "do not fit together"),
        ({"source_norm": np.ones(2)}, "do not fit together"),
        ({"W": np.ones(16)}, "do not fit together"),
        ({"inverse_W": np.full((24, 16), np.nan)}, "NaN or infinity: inverse_W"),
    ],
)
def test_bad_weights(change, message):
    aligner, _ = fitted()
    weights = {**aligner.map.weights, **change}
    with pytest.raises(ValueError, match=message):
        LinearMap({name: value for name, value in weights.items() if value is not None})


def test_a_report_needs_the_history_of_the_fit():
    from minivec.report import Report

    aligner, rows = fitted()
    bare = LinearMap(aligner.map.weights)
    with pytest.raises(ValueError, match="needs the history"):
        Report.of(bare, rows, rows)


COMMANDS = """
import sys
from minivec.cli import main

def run(*arguments):
    try:
        main(list(arguments))
    except SystemExit as end:
        assert not end.code, (arguments, end.code)

for number, path in enumerate(sys.argv[1:]):
    run("info", path)
    run("transform", "A.npy", "-a", path, "-o", f"moved-{number}.npy")
    run("evaluate", "A.npy", "mapped.npy", "-a", path)
    run("adapt", "A.npy", "-a", path, "-o", f"adapted-{number}.npy")
    run("export", path, "-o", f"again-{number}.safetensors")
    run("migrate", "A.npy", f"migrated-{number}.npy", "-a", path, "--verify")
    run("translate", "a0", "A.vec", "mapped.vec", "-a", path)
    run("dictionary", "A.vec", "mapped.vec", "-a", path, "-o", f"lexicon-{number}.tsv")
    run("report", path, "--source", "A.npy", "--target", "mapped.npy", "-o", f"report-{number}.png")
assert not {"keras", "jax", "torch", "tensorflow"} & set(sys.modules)
"""


def test_every_command_takes_every_kind_of_file_and_needs_no_keras(tmp_path):
    for name in ("A", "mapped"):
        np.save(tmp_path / f"{name}.npy", ROWS[name])
        lines = [f"{name[0].lower()}{i} {' '.join(map(str, row))}\n" for i, row in enumerate(ROWS[name])]
        (tmp_path / f"{name}.vec").write_text(f"{len(lines)} {ROWS[name].shape[1]}\n" + "".join(lines))
    command = [sys.executable, "-c", COMMANDS, *map(str, KEPT)]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert result.stdout.count("a0: m0") == len(KEPT)
    for number in range(len(KEPT)):
        for name in ("moved", "adapted", "migrated"):
            np.testing.assert_allclose(np.load(tmp_path / f"{name}-{number}.npy"), ROWS["mapped"], atol=1e-6)
        assert (tmp_path / f"lexicon-{number}.tsv").read_text().startswith("a0\tm0\t")
        again = open_map(tmp_path / f"again-{number}.safetensors")
        np.testing.assert_allclose(again(ROWS["A"]), ROWS["mapped"], atol=1e-6)


@pytest.mark.parametrize("path", BOTH_WAYS, ids=lambda path: path.name)
def test_commands_map_back(path, tmp_path, monkeypatch, run):
    monkeypatch.chdir(tmp_path)
    for name in ("B", "mapped_back"):
        np.save(f"{name}.npy", ROWS[name])
    for command in (("transform", "B.npy"), ("adapt", "B.npy")):
        code, _, err = run(*command, "-a", path, "--inverse", "-o", "out.npy")
        assert code == 0, err
        np.testing.assert_allclose(np.load("out.npy"), ROWS["mapped_back"], atol=1e-6)
    assert run("evaluate", "B.npy", "mapped_back.npy", "-a", path, "--inverse")[0] == 0
    assert run("export", path, "--inverse", "-o", "back.safetensors")[0] == 0
    assert run("migrate", "B.npy", "migrated.npy", "-a", "back.safetensors")[0] == 0
    np.testing.assert_allclose(np.load("migrated.npy"), ROWS["mapped_back"], atol=1e-6)


@pytest.mark.parametrize("command", ["transform", "adapt"])
def test_the_way_back_of_an_old_bridge_is_one_line(command, tmp_path, monkeypatch, run):
    monkeypatch.chdir(tmp_path)
    np.save("B.npy", ROWS["B"])
    code, out, err = run(command, "B.npy", "-a", KEPT[1], "--inverse", "-o", "out.npy")
    assert (code, out, err.count("\n")) == (2, "", 1) and "bridge.safetensors" in err and "one direction only" in err
    assert not Path("out.npy").exists()


@pytest.mark.parametrize("path", KEPT, ids=lambda path: path.name)
def test_info_shows_what_it_can(path, run):
    code, out, _ = run("info", path)
    assert code == 0
    facts = dict(line.split(None, 1) for line in out.replace("source dim", "dim").splitlines())
    assert facts["dim"] == "8" and facts["verdict"] == "reliable" and "0.7500" in out
    assert ("source norm" in out) == (path != KEPT[1])
    assert ("A to B" in out) == (path == KEPT[1])
    assert ("unknown" in facts["date"]) == (path != KEPT[0])


def test_mapped_rows_can_be_as_long_as_the_target_s():
    aligner, rows = fitted()
    B = 3 * supervised.spaces(16, 24)[1]
    bridge = aligner.map
    long = bridge.of_lengths("target")
    assert long.length == pytest.approx(np.exp(np.log(np.linalg.norm(B, axis=1)).mean()), rel=1e-5)
    np.testing.assert_allclose(long(rows), bridge(rows) * long.length, rtol=1e-6)
    np.testing.assert_array_equal(long(rows[0]), bridge(rows[0]) * np.float32(long.length))
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(long))(rows), long(rows))
    assert long.of_lengths("unit").length == 1 and bridge.of_lengths(long.length).length == long.length
    assert long.inverse().length == bridge.inverse().length == 1
    with pytest.raises(ValueError, match="lengths must be unit or target; got 'raw'"):
        bridge.of_lengths("raw")


@pytest.mark.parametrize("path", KEPT, ids=lambda path: path.name)
def test_lengths_of_1_stay_1(path):
    bridge = open_map(path)  # migrations that version 0.1.0 began go on
    assert bridge.of_lengths("target") is bridge
    A, B = supervised.spaces(16, 24)
    with pytest.MonkeyPatch.context() as monkeypatch:
        supervised.install(monkeypatch)
        aligner = MiniVec2VecAligner(16)
        aligner.align(A, unit(B))
    assert aligner.map.of_lengths("target").length == 1
