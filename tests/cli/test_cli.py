"""The command line: what it prints, its exit codes, and that it leaves nothing half-written."""

import json
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import supervised
from minivec import LinearMap, MiniVec2VecAligner, __version__, datasets, evaluate_alignment, open_map
from minivec.algorithm.confidence import Verdict

A, B = supervised.spaces(8, 6, rows=400)
# The published procedure, as quick as it gets.
PAPER = dict(approx_clusters=4, approx_runs=1, approx_neighbors=5, refine1_iterations=1, refine2_clusters=5)
OPTIONS = ["--preset", "paper"] + [w for k, v in PAPER.items() for w in (f"--{k.replace('_', '-')}", str(v))]


@pytest.fixture(scope="module")
def fitted(tmp_path_factory):
    """The file of an aligner from A to B."""
    path = tmp_path_factory.mktemp("fitted") / "ab.keras"
    with pytest.MonkeyPatch.context() as monkeypatch:
        supervised.install(monkeypatch)
        aligner = MiniVec2VecAligner(8)
        aligner.align(A, B)
        aligner.save(path)
    return path


@pytest.fixture
def fails(monkeypatch):
    """Make every fit one that knows of its failure."""
    verdict = Verdict(0.2, "failed", ["too few rows", "XB has no structure"])
    solver = supervised.install(monkeypatch)
    monkeypatch.setattr(solver, "solve", lambda *given: replace(supervised.solve(*given), verdict=verdict))


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_version_and_help(run):
    assert run("--version") == (0, f"minivec {__version__}\n", "")
    code, out, _ = run("--help")
    assert code == 0 and all(name in out for name in ("align", "transform", "evaluate", "info", "demo"))


@pytest.mark.filterwarnings("ignore:this alignment is")
def test_align_saves_what_the_library_fits(folder, run):
    code, out, _ = run("align", "a.npy", "b.npy", "-o", "ab.keras", *OPTIONS, "--seed", 3)
    assert code == 0 and "8 -> 6" in out and "confidence" in out
    assert names(folder) == ["a.npy", "ab.keras", "b.npy"]
    aligner = MiniVec2VecAligner(8)
    aligner.align(A, B, preset="paper", seed=3, **PAPER)
    saved = keras.models.load_model("ab.keras")
    np.testing.assert_allclose(np.asarray(saved(A)), np.asarray(aligner(A)), atol=1e-5)


def test_align_takes_known_pairs(folder, run, monkeypatch):
    solver = supervised.install(monkeypatch)
    Path("pairs.csv").write_text("source, target\n0,1\n 2 ,3\n\n")
    assert run("align", "a.npy", "b.npy", "-o", "ab.keras", "--pairs", "pairs.csv", "-q")[0] == 0
    np.testing.assert_array_equal(solver.solve.seen.pairs, [[0, 1], [2, 3]])
    assert keras.models.load_model("ab.keras").history["pairs"] == 2
    bad = {
        "0,400\n": "bad.csv: pairs[0] names row 400 of b.npy, which has 400 rows",
        "0,1\n2\n": "bad.csv: line 2 has 1 columns, expected 2",
        "0,1\n2,x\n": "bad.csv: line 2 has no two row numbers: 2,x",
        "-1,5\n": "bad.csv: line 1 has no two row numbers: -1,5",
        "source,target\n": "bad.csv: no pairs in it",
    }
    for text, message in bad.items():
        Path("bad.csv").write_text(text)
        code, _, err = run("align", "a.npy", "b.npy", "-o", "out.keras", "--pairs", "bad.csv", "-q")
        assert code == 2 and message in err and err.count("\n") == 1, (text, err)
    assert "No such file" in run("align", "a.npy", "b.npy", "-o", "out.keras", "--pairs", "none.csv")[2]


def test_quiet_still_warns(folder, run, fails):
    code, out, err = run("align", "a.npy", "b.npy", "-o", "ab.keras", "--quiet")
    assert (code, out) == (0, "")
    assert err == (
        "minivec: FAILED: ab.keras: confidence 0.20, failed (too few rows; b.npy has no structure). "
        "This map failed: do not use it.\n"
    )


def test_below_min_confidence_nothing_is_written(folder, run, fails):
    code, _, err = run("align", "a.npy", "b.npy", "-o", "ab.keras", "-q", "--min-confidence", "0.3")
    assert code == 3
    assert err.startswith("minivec: confidence 0.20, failed (too few rows; b.npy has no structure), below 0.3")
    assert err.count("\n") == 1
    assert names(folder) == ["a.npy", "b.npy"]


def test_transform_maps_as_the_model_does(folder, fitted, run):
    model = keras.models.load_model(fitted)
    code, out, err = run("transform", "a.npy", "-a", fitted, "-o", "out.npy", "--block-size", 150)
    assert code == 0 and "400 rows" in out and err == ""
    np.testing.assert_allclose(np.load("out.npy"), model.map.of_lengths("target")(A), rtol=1e-5, atol=1e-6)
    code, _, _ = run("transform", "b.npy", "-a", fitted, "-o", "back.npz", "--inverse")
    assert code == 0
    back = model.inverse().map.of_lengths("target")(B)
    np.testing.assert_allclose(np.load("back.npz")["embedding"], back, rtol=1e-5, atol=1e-6)


def test_transform_gives_the_lengths_of_the_target(folder, fitted, run):
    bridge = open_map(fitted)
    LinearMap({**bridge.weights, "target_norm": 7.5}, bridge.history).save("raw.safetensors")
    for options, length in (([], 7.5), (["--lengths", "unit"], 1), (["--lengths", "target"], 7.5)):
        assert run("transform", "a.npy", "-a", "raw.safetensors", "-o", "out.npy", *options)[0] == 0
        np.testing.assert_allclose(np.linalg.norm(np.load("out.npy"), axis=1), length, rtol=1e-5)
    code, _, err = run("transform", "a.npy", "-a", "raw.safetensors", "-o", "out.npy", "--lengths", "raw")
    assert code == 2 and "lengths must be unit or target; got 'raw'" in err


def test_transform_of_parquet_keeps_the_other_columns(folder, fitted, run):
    table = pa.table({"id": range(400), "v": pa.array(list(A)), "w": pa.array(list(B))})
    pq.write_table(table, "in.parquet")
    assert run("transform", "in.parquet", "-a", fitted, "-o", "out.parquet", "--column", "v")[0] == 0
    out = pq.read_table("out.parquet")
    assert out.column_names == ["id", "v", "w"] and out["w"].equals(table["w"])
    np.testing.assert_allclose(np.stack(out["v"].to_numpy()), np.asarray(keras.models.load_model(fitted)(A)), atol=1e-6)


def test_evaluate_two_columns_of_one_file(folder, fitted, run):
    pq.write_table(pa.table({"v": pa.array(list(A)), "w": pa.array(list(B))}), "pairs.parquet")
    code, out, _ = run("evaluate", "a.npy", "b.npy", "-a", fitted)
    assert code == 0 and "mean rank" in out and "top1 accuracy" in out
    both = ("--column", "v", "--column", "w")
    code, out, _ = run("evaluate", "pairs.parquet", "pairs.parquet", *both, "-a", fitted, "--json")
    assert code == 0
    assert json.loads(out) == pytest.approx(evaluate_alignment(keras.models.load_model(fitted), A, B))


def test_info(fitted, run):
    code, out, _ = run("info", fitted)
    assert code == 0 and "confidence" in out
    facts = json.loads(run("info", fitted, "--json")[1])
    assert (facts["source_dim"], facts["target_dim"]) == (8, 6)
    assert facts["keras_version"] == keras.__version__ and facts["confidence"] == 0.75
    assert (facts["verdict"], facts["preset"], facts["seed"]) == ("reliable", "auto", 0)


def bad_inputs(folder, fitted):
    """Every kind of bad input: the arguments, and words of the line that they get."""
    nan, zero = A.copy(), A.copy()
    nan[5] = np.nan
    zero[6] = 0
    for name, X in dict(
        nan=nan, zero=zero, one=A[0], none=A[:0], ints=A.astype(int), few=A[:2], seven=A[:, :7]
    ).items():
        np.save(f"{name}.npy", X)
    np.save("objects.npy", np.array([[{}]]), allow_pickle=True)
    np.savez("two.npz", x=A, y=B)
    Path("other.keras").write_bytes(Path("two.npz").read_bytes())
    Path("cut.npy").write_bytes(Path("a.npy").read_bytes()[:3000])
    Path("cut.keras").write_bytes(fitted.read_bytes()[:5000])
    Path("text.keras").write_text("hello")
    keras.Sequential([keras.Input((8,)), keras.layers.Dense(6)]).save("dense.keras")
    unaligned = MiniVec2VecAligner(8)
    unaligned.build((None, 8))
    unaligned.save("unaligned.keras")
    Path("folder.npy").mkdir()

    def align(source, *words, target="b.npy", output="out.keras", options=()):
        return ["align", source, target, "-o", output, "-q", *OPTIONS, *options], words

    def transform(source, *words, aligner=fitted, output="out.npy", options=()):
        return ["transform", source, "-a", aligner, "-o", output, *options], words

    yield from [
        (["nonsense"], ["No such command"]),
        (["align", "a.npy"], ["Missing"]),
        (["align", "a.npy", "b.npy"], ["--output"]),
        (["info", "a.npy", "--nope"], ["No such option"]),
        align("nan.npy", "nan.npy", "NaN", " 5 "),
        align("zero.npy", "zero.npy", "zero", " 6 "),
        align("a.npy", "nan.npy", target="nan.npy"),
        align("one.npy", "one.npy", "2-D", "(8,)"),
        align("none.npy", "none.npy", "empty"),
        align("ints.npy", "ints.npy", "int64"),
        align("few.npy", "few.npy has 2 rows", "approx_clusters=4"),
        align("objects.npy", "objects.npy", "pickled"),
        align("cut.npy", "cut.npy", "truncated"),
        align("folder.npy", "folder.npy", "folder"),
        align("missing.npy", "missing.npy", "no such file"),
        align("two.npz", "two.npz", "x, y", "--column"),
        align("two.npz", "'z'", "x, y", options=["--column", "z"]),
        align("two.npz", "--column given 2 times", options=["--column", "x", "--column", "y"]),
        align("a.npy", "--column given 1 times", options=["--column", "x"]),
        align("a.npy", "must end in .keras", output="out.npy"),
        align("a.npy", "no such folder", output="nowhere/out.keras"),
        align("a.npy", "preset", "'fast'", options=["--preset", "fast"]),
        align("a.npy", "mapping", "'affine'", options=["--mapping", "affine"]),
        align("a.npy", "seed", "-1", options=["--seed", "-1"]),
        align("a.npy", "approx_runs", "0", options=["--approx-runs", "0"]),
        align("a.npy", "--smoothing-alpha", options=["--smoothing-alpha", "half"]),
        align("a.npy", "--min-confidence", options=["--min-confidence", "2"]),
        transform("nan.npy", "nan.npy", "NaN", "row 5"),
        transform("zero.npy", "zero.npy", "row 6"),
        transform("seven.npy", "seven.npy", "7 dimensions", "8"),
        transform("a.npy", "a.npy", "8 dimensions", "6", options=["--inverse"]),
        transform("a.npy", "also an input", output="a.npy"),
        transform("a.npy", "must end in", output="out.csv"),
        transform("a.npy", "--block-size", options=["--block-size", "0"]),
        transform("a.npy", "cut.keras", "truncated", aligner="cut.keras"),
        transform("a.npy", "text.keras", "not a .keras file", aligner="text.keras"),
        transform("a.npy", "a.npy", "not a .keras file", aligner="a.npy"),
        transform("a.npy", "other.keras", "not a readable model", aligner="other.keras"),
        transform("a.npy", "missing.keras", "no such file", aligner="missing.keras"),
        transform("a.npy", "Sequential", aligner="dense.keras"),
        transform("a.npy", "not been aligned", aligner="unaligned.keras"),
        (["evaluate", "few.npy", "b.npy", "-a", fitted], ["2 rows", "400"]),
        (["evaluate", "a.npy", "a.npy", "-a", fitted], ["8 dimensions", "6"]),
        (["info", "cut.keras"], ["cut.keras", "truncated"]),
        (["demo", "--output", "a.npy"], ["a.npy"]),
    ]


def test_bad_input_gets_one_line_and_exit_code_2(folder, fitted, run):
    cases = list(bad_inputs(folder, fitted))
    before = names(folder)
    for arguments, words in cases:
        code, out, err = run(*arguments)
        assert (code, out) == (2, ""), arguments
        assert err.startswith("minivec: ") and err.count("\n") == 1, (arguments, err)
        assert all(word in err for word in words), (arguments, err)
        assert names(folder) == before, arguments


@pytest.mark.parametrize(("sent", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupted_transform_leaves_nothing(folder, fitted, sent, code):
    np.save("large.npy", np.tile(A, (3000, 1)))
    handler = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)"  # background shells ignore it
    command = [sys.executable, "-c", f"{handler}; from minivec.cli import main; main()", "transform", "large.npy"]
    command += ["-a", str(fitted), "-o", "out.npy", "--block-size", "16"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    before = names(folder)
    while names(folder) == before and process.poll() is None:
        time.sleep(0.02)
    time.sleep(0.5)  # past the first block: a signal while JAX compiles may be swallowed there
    process.send_signal(sent)
    _, err = process.communicate()
    assert process.returncode == code and "Traceback" not in err
    assert names(folder) == before


def test_an_interrupt_while_saving_leaves_the_old_file(folder, run, fails, monkeypatch):
    Path("ab.keras").write_text("before")

    def interrupted(self, path):
        Path(path).write_text("half")
        raise KeyboardInterrupt

    monkeypatch.setattr(MiniVec2VecAligner, "save", interrupted)
    code, _, err = run("align", "a.npy", "b.npy", "-o", "ab.keras", "-q")
    assert code == 130 and err.count("\n") == 1
    assert Path("ab.keras").read_text() == "before" and names(folder) == ["a.npy", "ab.keras", "b.npy"]


def test_demo(folder, run, monkeypatch):
    """On a small sample and with a stand-in for the fit; the real ones are tried elsewhere."""
    supervised.install(monkeypatch)
    sample = datasets.Sample(
        A[:200], B[:200], A[200:], B[200:], [f"text {i}: [a bracket] and more words" for i in range(200)]
    )
    monkeypatch.setattr(datasets, "load_sample", lambda: sample)
    code, out, _ = run("demo", "--output", "results/of/demo")
    assert code == 0
    for words in ("not one known pair", "top-1", "CSLS", "mean rank", "[a bracket]", "minivec align"):
        assert words in out
    assert names(folder / "results/of/demo") == ["demo.keras", "demo.png"]
