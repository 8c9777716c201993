"""The benchmark beside peers: rows that no side shares, a table that can be read, a run that goes on where it ended."""

import sys
from pathlib import Path

import numpy as np
import pytest
from benchmarks import peers
from matplotlib.image import imread

from minivec.algorithm.procrustes import polar

RUN = {"top1_accuracy": 0.75, "csls_top1_accuracy": 0.8, "mean_rank": 1234.56, "seconds": 9.96, "peak_mb": 100.4}


def test_the_page_of_benchmarks_names_every_module():
    root = Path(__file__).parents[1]
    page = (root / "docs/benchmarks.md").read_text()
    for module in (root / "benchmarks").glob("[!_]*.py"):
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
    rng = np.random.default_rng(0)
    A = rng.integers(-99, 99, (140, 8)).astype(np.int8)
    for name, rows in (("one", A), ("other", np.rint(A @ polar(rng.normal(size=(8, 8)))).clip(-127, 127))):
        np.savez(tmp_path / f"text_{name}.npz", q=rows.astype(np.int8), s=np.full(140, 0.01, np.float32))
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
