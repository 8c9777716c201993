"""Spaces with names: recorded by the fit, shown, and used to find out which way to map."""

import io
import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import supervised
from minivec import AlignmentWarning, MiniVec2VecAligner, load, open_map
from minivec.algorithm.confidence import Verdict
from minivec.files import map_rows, open_rows
from minivec.spaces import recorded

A, B = supervised.spaces(8, 6, rows=400)
SQUARE = supervised.spaces(8, 8, rows=400)
NAMES = {"source_name": "ada-002", "target_name": "te3-small"}


@pytest.fixture
def folder(folder):
    """Also a8.npy and b8.npy, rows of two spaces of one width."""
    np.save("a8.npy", SQUARE[0])
    np.save("b8.npy", SQUARE[1])
    return folder


def test_a_fit_records_the_names_and_shows_them(folder, run, monkeypatch):
    supervised.install(monkeypatch)
    code, out, _ = run("align", "a.npy", "b.npy", "--from", "ada-002", "--to", "te3-small", "-o", "ab.keras", "-q")
    assert (code, out) == (0, "")
    assert load("ab.keras").history["spaces"] == {"source": "ada-002", "target": "te3-small"}
    assert "ada-002 -> te3-small, 8 -> 6 dimensions" in run("transform", "a.npy", "-a", "ab.keras", "-o", "o.npy")[1]
    facts = json.loads(run("info", "ab.keras", "--json")[1])
    assert (facts["source"], facts["target"]) == ("ada-002", "te3-small")
    assert "ada-002" in run("info", "ab.keras")[1]


def test_python_takes_the_names_and_prints_them(monkeypatch):
    supervised.install(monkeypatch)
    history = MiniVec2VecAligner(8).align(A, B, **NAMES)
    assert history["spaces"] == {"source": "ada-002", "target": "te3-small"}
    assert "ada-002 -> te3-small, 8 -> 6 dimensions" in repr(history)
    assert MiniVec2VecAligner.from_pairs(A, B, **NAMES).history["spaces"] == history["spaces"]


@pytest.mark.parametrize(
    ("given", "error", "words"),
    [
        (("", None), ValueError, "source_name .* ''"),
        ((None, 3), TypeError, "target_name must be text; got 3"),
        (("a\nb", None), ValueError, "printable"),
        (("x" * 101, None), ValueError, "100"),
        (("same", "same"), ValueError, "both are 'same'"),
    ],
)
def test_names_that_cannot_be_shown_are_refused(given, error, words):
    with pytest.raises(error, match=words):
        recorded(*given)


def test_refused_names_leave_the_model_as_it_was(folder, run):
    aligner = MiniVec2VecAligner(8)
    with pytest.raises(ValueError, match="both are 'x'"):
        aligner.align(A, B, source_name="x", target_name="x")
    assert not aligner.aligned
    code, _, err = run("align", "a.npy", "b.npy", "--from", "x", "--to", "x", "-o", "ab.keras", "-q")
    assert code == 2 and "both are 'x'" in err and not Path("ab.keras").exists()


def test_the_inverse_says_what_is_source_now(monkeypatch):
    solver = supervised.install(monkeypatch)
    verdict = Verdict(0.5, "doubtful", ["XB has no structure to recognise: its rows look like Gaussian noise"])
    monkeypatch.setattr(solver, "solve", lambda *given: replace(supervised.solve(*given), verdict=verdict))
    aligner = MiniVec2VecAligner(8)
    with pytest.warns(AlignmentWarning):
        aligner.align(A, B, **NAMES)
    back = aligner.inverse()
    assert back.history["spaces"] == {"source": "te3-small", "target": "ada-002"}
    assert back.history["data"]["XA"] == aligner.history["data"]["XB"]
    assert back.history["causes"][0].startswith("XA has no structure")
    assert aligner.map.inverse().history == back.history
    assert back.inverse().history == aligner.history


@pytest.mark.parametrize(
    ("file", "source", "options", "forward"),
    [
        ("square", "a8", [], True),
        ("square", "a8", ["--from", "ada-002"], True),
        ("square", "b8", ["--from", "te3-small"], False),
        ("square", "b8", ["--from", "te3-small", "--inverse"], False),
        ("square", "b8", ["--inverse"], False),
        ("wide", "a", [], True),
        ("wide", "b", [], False),
        ("wide", "b", ["--inverse"], False),
    ],
)
def test_the_direction_is_inferred(folder, run, named, file, source, options, forward):
    path, rows = named / f"{file}.keras", np.load(f"{source}.npy")
    expected = open_map(path, inverse=not forward)(rows)
    for command in ("transform", "adapt"):
        code, _, err = run(command, f"{source}.npy", "-a", path, *options, "-o", "out.npy")
        assert (code, err) == (0, "")
        np.testing.assert_array_equal(np.load("out.npy"), expected)


def test_every_command_takes_the_name_of_the_inputs_space(folder, run, named, monkeypatch):
    square, wide = named / "square.keras", named / "wide.keras"
    right = json.loads(run("evaluate", "a8.npy", "b8.npy", "-a", square, "--json")[1])
    back = json.loads(run("evaluate", "b8.npy", "a8.npy", "-a", square, "--json", "--from", "te3-small")[1])
    assert min(right["top1_accuracy"], back["top1_accuracy"]) > 0.99
    assert json.loads(run("evaluate", "b.npy", "a.npy", "-a", wide, "--json")[1])["top1_accuracy"] > 0.9
    assert run("export", square, "--from", "te3-small", "-o", "back.safetensors")[0] == 0
    assert open_map("back.safetensors").history["spaces"] == {"source": "te3-small", "target": "ada-002"}
    sides = ("--source", "b8.npy", "--target", "a8.npy")
    code, _, err = run("report", square, *sides, "--from", "te3-small", "-o", "r.png", "--paired")
    assert (code, err) == (0, "")
    monkeypatch.setattr(sys, "stdin", io.StringIO(json.dumps(B[0].tolist())))
    assert json.loads(run("adapt", "-", "-a", wide)[1]) == pytest.approx(open_map(wide, inverse=True)(B[0]).tolist())


def test_words_take_the_name_of_their_language(folder, run, named):
    for name, X in (("en", SQUARE[0]), ("fr", SQUARE[1])):
        lines = [f"{name}{i} {' '.join(map(str, row))}" for i, row in enumerate(X)]
        Path(f"{name}.vec").write_text("\n".join([f"{len(X)} 8", *lines]))
    code, out, _ = run("translate", "fr7", "fr.vec", "en.vec", "-a", named / "square.keras", "--from", "te3-small")
    assert code == 0 and out.startswith("fr7: en7 ")


def test_errors_say_the_names(folder, run, named):
    square, wide = named / "square.keras", named / "wide.keras"
    np.save("seven.npy", A[:, :7])
    cases = {
        ("a8.npy", square, "--from", "ada"): "--from 'ada': the names of the spaces of * are 'ada-002' and 'te3-small'",
        ("a8.npy", square, "--from", "ada-002", "--inverse"): "leave one out",
        ("seven.npy", wide): "7 dimensions where * has 8 (ada-002)",
        ("a.npy", wide, "--from", "te3-small"): "8 dimensions where * has 6 (te3-small)",
    }
    for (source, path, *options), words in cases.items():
        code, _, err = run("transform", source, "-a", path, "-o", "out.npy", *options)
        assert code == 2 and all(part in err for part in words.split("*")), err
        assert err.count("\n") == 1 and not Path("out.npy").exists()


def test_a_map_without_names_says_so(folder, run):
    kept = Path(__file__).parents[1] / "data" / "aligner.keras"
    code, _, err = run("transform", "a.npy", "-a", kept, "-o", "out.npy", "--from", "ada-002")
    assert code == 2 and "unknown; use --inverse" in err
    assert "source  " not in run("info", kept)[1]


@pytest.fixture
def failing(folder, run, monkeypatch):
    """The file of a failed fit, and what its command printed."""
    verdict = Verdict(0.2, "failed", ["too few rows"])
    solver = supervised.install(monkeypatch)
    monkeypatch.setattr(solver, "solve", lambda *given: replace(supervised.solve(*given), verdict=verdict))
    return "ab.keras", run("align", "a.npy", "b.npy", "-o", "ab.keras")


def test_the_last_line_of_a_failed_fit_says_so(failing):
    path, (code, out, err) = failing
    assert code == 0 and Path(path).exists() and out.splitlines()[-1].endswith("failed")
    assert err.splitlines()[-1].startswith("minivec: FAILED: ab.keras: confidence 0.20")
    assert err.splitlines()[-1].endswith("do not use it.")


@pytest.mark.parametrize("command", ["transform", "adapt"])
def test_rows_mapped_by_a_failed_fit_come_with_a_warning(failing, run, command):
    code, _, err = run(command, "a.npy", "-a", failing[0], "-o", "out.npy")
    assert code == 0 and Path("out.npy").exists()
    assert err.count("\n") == 1 and "FAILED: ab.keras" in err and "too few rows" in err


def test_python_warns_once_of_rows_mapped_by_a_failed_fit(failing):
    with pytest.warns(AlignmentWarning, match="the fit of this map failed") as caught:
        map_rows(open_map(failing[0]), open_rows("a.npy"), "out.npy", size=100)
    assert len(caught) == 1 and len(np.load("out.npy")) == len(A)
