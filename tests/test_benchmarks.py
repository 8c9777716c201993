"""The benchmark beside peers: rows that no side shares, a table that can be read, a run that goes on where it ended."""

import importlib
import sys
from pathlib import Path

import numpy as np
import pytest
from benchmarks import cells, corpora, encoders, paper_encoders, peers, rivals
from benchmarks.adapters import residual_mlp
from matplotlib.image import imread

from minivec.algorithm.procrustes import polar
from minivec.frame import Frame, unit

ROOT = Path(__file__).parents[1]
COMMANDS = sorted(path.stem for path in (ROOT / "benchmarks").glob("*.py") if "argparse" in path.read_text())
RUN = {"top1_accuracy": 0.75, "csls_top1_accuracy": 0.8, "mean_rank": 1234.56, "seconds": 9.96, "peak_mb": 100.4}


def test_the_page_of_benchmarks_names_every_module():
    page = (ROOT / "docs/benchmarks.md").read_text()
    for module in (ROOT / "benchmarks").glob("[!_]*.py"):
        assert f"benchmarks.{module.stem}" in page or f"benchmarks/{module.name}" in page, module.name


def test_the_held_out_pairs_and_both_sides_share_no_row():
    held, first, second = (np.arange(100)[part] for part in peers.sides(20, 35))
    assert [*held, *first, *second] == list(range(20 + 2 * 35))
    assert len(first) == len(second) == 35


def test_a_row_of_the_table_gives_the_range_over_seeds_the_share_and_what_failed():
    runs = [{**RUN, "confidence": 0.9}, {**RUN, "top1_accuracy": 0.5, "confidence": 0.9}, {"failed": "exit status 1"}]
    expected = "| a -> b | auto (exit status 1) | 0.500 to 0.750 | 0.50 to 0.75 | 0.800 | 1,234.6 | 0.90 | 10.0 | 100 |"
    assert peers.table_row("a -> b", "auto", runs, 1.0) == expected
    assert peers.table_row("a -> b", "paper", [{"failed": "x"}], 1.0) == "| a -> b | paper (x) |" + " - |" * 7


def test_a_run_goes_on_with_the_fits_that_succeeded_if_the_settings_are_the_same(tmp_path):
    path, settings = tmp_path / "runs.json", {"source": "glosses", "rows": 10, "test": 5}
    assert peers.resume(path, settings) == {}
    peers.save(path, settings, {("a -> b", "auto", 0): RUN, ("a -> b", "auto", 1): {"failed": "exit status 1"}})
    assert peers.resume(path, settings) == {("a -> b", "auto", 0): RUN}
    with pytest.raises(ValueError, match="other settings"):
        peers.resume(path, {**settings, "rows": 11})


def test_a_run_prints_its_table_and_pictures_and_the_next_fits_nothing_again(tmp_path, monkeypatch, capsys):
    written(tmp_path, 140)
    given = (
        f"peers --data {tmp_path} --pairs one:other --methods supervised --rows 50 --test 40 --json {tmp_path}/x.json"
    )
    monkeypatch.setattr(sys, "argv", f"{given} --plots {tmp_path}".split())
    peers.main()
    first = capsys.readouterr().out
    assert "| one -> other (held out) | supervised 50 | 1.000 | 1.00 |" in first
    assert imread(tmp_path / "accuracy.png").std() > 0.01 and imread(tmp_path / "cost.png").std() > 0.01

    monkeypatch.setattr(peers, "measure", None)
    peers.main()
    assert capsys.readouterr().out == first
    monkeypatch.setattr(sys, "argv", f"{given} --test 30".split())
    with pytest.raises(SystemExit):
        peers.main()
    assert "other settings" in capsys.readouterr().err


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_tells_its_options(command, monkeypatch, capsys):
    if command == "ray_transform":
        pytest.importorskip("ray")
    monkeypatch.setattr(sys, "argv", [command, "--help"])
    with pytest.raises(SystemExit) as end:
        importlib.import_module(f"benchmarks.{command}").main()
    assert end.value.code == 0 and "usage:" in capsys.readouterr().out


def clustered(rng, rows, dimensions=16, clusters=40):
    """Rows around centres of their own, each cluster of another size."""
    centres = np.random.default_rng(1).normal(size=(clusters, dimensions))
    weights = np.arange(1, clusters + 1) / np.arange(1, clusters + 1).sum()
    return (centres[rng.choice(clusters, rows, p=weights)] + rng.normal(scale=0.3, size=(rows, dimensions))).astype(
        "f4"
    )


def test_the_rival_finds_the_rotation_between_other_rows_of_the_same_clusters(monkeypatch):
    for name, fewer in (("RESTARTS", 5), ("STARTS", 10), ("STEPS", 300)):
        monkeypatch.setattr(rivals, name, fewer)
    rng = np.random.default_rng(0)
    A, B, turn = clustered(rng, 800), clustered(rng, 800), polar(rng.normal(size=(16, 16))).astype("f4")
    W, cosine = rivals.unpaired_rosetta(A, B @ turn, seed=0, fits=2, rounds=10)
    X = Frame.of(A).apply(A)
    assert (unit(X @ W) * unit(X @ turn)).sum(1).mean() > 0.95
    assert 0.5 < cosine <= 1


def test_the_residual_mlp_learns_what_no_rotation_can():
    rng = np.random.default_rng(0)
    X = unit(rng.normal(size=(2_000, 8))).astype("f4")
    Y = unit(np.tanh(6 * X) @ polar(rng.normal(size=(8, 12)))).astype("f4")
    rest, held = slice(400, None), slice(400)
    fitted = residual_mlp(X[rest], Y[rest], seed=0)(X[held])
    errors = [((mapped - Y[held]) ** 2).sum(1).mean() for mapped in (fitted, X[held] @ polar(X[rest].T @ Y[rest]))]
    assert errors[0] < 0.5 * errors[1]


def written(folder, rows):
    """Two encoders' 8-bit rows of the same texts, one the other turned."""
    rng = np.random.default_rng(0)
    A = rng.integers(-99, 99, (rows, 8)).astype(np.int8)
    for name, turned in (("one", A), ("other", np.rint(A @ polar(rng.normal(size=(8, 8)))).clip(-127, 127))):
        np.savez(folder / f"text_{name}.npz", q=turned.astype(np.int8), s=np.full(rows, 0.01, np.float32))


def test_cells_give_medians_over_draws_of_the_halves_and_go_on_from_a_file(tmp_path, monkeypatch, capsys):
    written(tmp_path, 60)
    drawn = []

    def measure(method, seed, folder, score):
        A, partners, held = (np.load(folder / f"{name}.npy") for name in ("A", "partners", "held"))
        drawn.append(A)
        assert len(A) == 30 and np.array_equal(A, held)
        return {**score(partners if seed else partners[::-1]), "seconds": 1 + seed}

    monkeypatch.setattr(cells, "measure", measure)
    given = f"--data {tmp_path} --pairs one:other --documents 60 --methods auto --json {tmp_path}/x.json".split()
    cells.main(given)
    first = capsys.readouterr().out
    assert "| 60 | one → other | 1.000 (0.000 to 1.000) | 0.0000 (0.0000 to " in first and "| 2 (1 to 3) |" in first
    assert len(drawn) == 3 and not np.array_equal(drawn[0], drawn[1])
    monkeypatch.setattr(cells, "measure", None)
    cells.main(given)
    assert capsys.readouterr().out == first


def test_a_file_of_texts_stands_in_for_natural_questions(tmp_path, monkeypatch):
    monkeypatch.setenv("MINIVEC_BENCH_CACHE", str(tmp_path))
    path = tmp_path / "lines.txt"
    path.write_text("one\ntwo\n\ntwo\n")
    given = []
    monkeypatch.setattr(peers, "main", given.extend)
    paper_encoders.main(["--texts", str(path), "--encoders", "minilm", "use", "--rows", "7", "--test", "5"])
    corpus = given[given.index("--corpus") + 1]
    assert sorted(corpora.texts(corpus)) == ["one", "two"]
    assert given[2:] == ["--encoders", "minilm", "use", "--rows", "7", "--test", "5"]
    with pytest.raises(ValueError, match="corpus must be one of"):
        corpora.texts("no-such-corpus")


def test_the_papers_encoders_share_an_environment_and_may_reach_the_hub(tmp_path, monkeypatch):
    monkeypatch.setenv("MINIVEC_BENCH_CACHE", str(tmp_path))
    runs = []
    monkeypatch.setattr(encoders, "environment", lambda name, *_: runs.append(name) or Path("python"))

    def embed(command, env, **_):
        runs.append(env["HF_HUB_OFFLINE"])
        np.save(tmp_path / f"nq_{command[-2]}.npy", np.ones((3, 2), np.float16))

    monkeypatch.setattr(encoders.subprocess, "run", embed)
    for name in ("gtr", "granite", "minilm"):
        assert encoders.embeddings("nq", name, 3).shape == (3, 2)
    assert runs == ["hub", "0", "hub", "0", "minilm", "1"]
