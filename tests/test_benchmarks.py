"""The benchmark beside peers: rows that no side shares, a table that can be read, a run that goes on where it ended."""

import argparse
import importlib
import itertools
import struct
import sys
from pathlib import Path

import numpy as np
import pytest
from benchmarks import (
    cells,
    confidence,
    corpora,
    encoders,
    paper_encoders,
    peers,
    rivals,
    searches,
    sentences,
    strength,
)
from benchmarks.adapters import residual_mlp
from matplotlib.image import imread

from minivec.algorithm.expected import Curve
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


def catalogue(messages):
    """The bytes of a .mo file."""
    both = [[text.encode() for text in side] for side in (messages, messages.values())]
    tables, strings, start = b"", b"", 28 + 16 * len(messages)
    for text in itertools.chain(*both):
        tables += struct.pack("<2I", len(text), start + len(strings))
        strings += text + b"\0"
    return struct.pack("<7I", 0x950412DE, 0, len(messages), 28, 28 + 8 * len(messages), 0, 0) + tables + strings


def test_translated_sentences_are_plain_and_distinct_and_in_one_order(tmp_path, monkeypatch):
    messages = {
        "": "Language: fr",
        "We must leave here now. They will be here soon!": "Il nous faut partir. À moins qu'ils n'arrivent bientôt !",
        "Who is there? Nobody answers me.": "Qui est là ? Personne ne me répond.",
        "Close _the file without saving it?": "Fermer le fichier sans l'enregistrer ?",
        "She closes the file, and does not save it.": "Fermer le fichier sans l'enregistrer ?",
        "female^I am <b>not</b> your\nenemy here.": "Je ne suis pas ton ennemie ici.",
        "menu\4You have to choose a name first.": "Vous devez d'abord choisir un nom.",
        "You have %d gold pieces left.": "Il vous reste %d pièces d'or.",
        "Nobody has translated this one yet.": "Nobody has translated this one yet.",
        "Save the file under another name": "Enregistrer le fichier sous un autre nom",
    }
    place = tmp_path / "package/fr/LC_MESSAGES"
    place.mkdir(parents=True)
    (place / "program.mo").write_bytes(catalogue(messages))
    monkeypatch.setenv("MINIVEC_BENCH_CACHE", str(tmp_path))
    monkeypatch.setattr(corpora, "debian_package", lambda name: tmp_path / "package")
    english, french = (corpora.texts(f"{language}-sentences") for language in ("english", "french"))
    found = dict(zip(english, french, strict=True))
    assert found.pop("They will be here soon!") == "À moins qu'ils n'arrivent bientôt !"
    assert found.pop("I am not your enemy here.") == "Je ne suis pas ton ennemie ici."
    assert found.pop("You have to choose a name first.") == "Vous devez d'abord choisir un nom."
    assert list(found.values()) == ["Fermer le fichier sans l'enregistrer ?"] and "_" not in next(iter(found))


def test_sentences_of_two_languages_share_no_row_and_are_scored_with_more_and_more_pairs(monkeypatch, capsys):
    B = clustered(np.random.default_rng(0), 400)
    monkeypatch.setattr(sentences, "texts", lambda corpus: ["a sentence"] * 400)
    monkeypatch.setattr(sentences, "embeddings", lambda corpus, encoder, rows: B[:rows])
    rows = np.arange(230, dtype=np.float32)[:, None] * np.eye(1, 3, dtype=np.float32)
    held, second, XA = sentences.draw(rows, rows[:130], argparse.Namespace(test=30), seed=1)
    assert sorted(np.concatenate([held[1], second[1]])[:, 0]) == list(range(130))
    assert all(np.allclose(np.linalg.norm(A, axis=1), B[:, 0], rtol=1e-4) for A, B in (held, second))
    assert np.allclose(np.linalg.norm(XA, axis=1), np.arange(130, 230), rtol=1e-4)
    sentences.main("--rows 100 --test 30 --pairs 0 20 --seeds 1 --encoders use".split())
    table = [line.split(" | ") for line in capsys.readouterr().out.splitlines() if "sh -> use, " in line]
    assert [row[2] for row in table] == ["0", "20", "ceiling: 100"] * 3
    assert table[0][0] == "| minilm, english -> use, french" and table[-1][0] == "| use, english -> use, french"
    assert all(row[3] == "1.000" for row in table if row[2].startswith("ceiling"))
    assert table[0][6] in ("reliable", "doubtful", "failed") and " to " in table[0][8]


@pytest.mark.parametrize("kind", strength.KINDS)
def test_noise_has_the_covariance_of_the_rows(kind):
    B = clustered(np.random.default_rng(0), 20_000)
    changed = strength.noisy(B, kind, 2.0, np.random.default_rng(1))
    assert np.abs(changed.mean(0) - B.mean(0)).max() < 0.1
    want = 5 * np.cov(B, rowvar=False)
    assert np.abs(np.cov(changed, rowvar=False) - want).max() < 0.05 * np.abs(want).max()


def test_a_pair_is_made_worse_level_by_level_and_a_useless_map_called_reliable_is_counted(tmp_path, capsys):
    written(tmp_path, 240)
    given = f"--data {tmp_path} --pairs one:other --rows 100 --test 40 --seeds 1 --levels 0 9"
    strength.main(given.split())
    out = capsys.readouterr().out
    assert "one:other gaussian 0, seed 0: ceiling 1.000" in out and "| one:other | rows | 9 | 0." in out
    fit = {"ceiling": 0.5, "top1": 0.1, "verdict": "reliable", "confidence": 0.9}
    fit["expected_top1"] = {"low": 0.3, "high": 0.6}
    table = strength.summary({("one:other", "rows", 2.0): [fit, {**fit, "top1": 0.4}]})
    assert "| one:other | rows | 2 | 0.50 | 0.10 to 0.40 | 2 reliable | 0.90 |" in table
    assert "of 1 fits with a top-1 under 0.2, called reliable: 1" in table and "expected_top1: 1 of 2" in table


def test_searches_tell_mapped_rows_that_are_right_from_those_that_never_come_up():
    rng = np.random.default_rng(0)
    own = unit(rng.standard_normal((400, 16)) + 4).astype(np.float32)
    right = searches.figures(own, own, own, np.random.default_rng(1))
    np.testing.assert_allclose(right, [1, 1, 1, 0.5, 1, 1], atol=0.06)
    away = searches.figures(-own, own, own, np.random.default_rng(1))
    assert away[0] < 0.05 and away[1] < 0.1 and away[3] == 0 and away[4] < 0.05
    assert away[2] == pytest.approx(0.5, abs=0.06)  # what is stored of B's own


def test_what_a_fit_is_to_expect_is_calibrated_on_fits_and_fails_where_a_group_follows_another_law():
    rng, curve = np.random.default_rng(0), Curve(most=0.95, least=0.1, scale=0.3, sideways=0.0, upwards=0.0)
    agreements = rng.uniform(0, 0.6, 200)
    fits = [
        {"agreement": [0.0, a], "top1": abs(curve.top1(a).value + error), "pair": ["one", str(i % 5)]}
        for i, (a, error) in enumerate(zip(agreements, 0.02 * rng.standard_normal(200), strict=True))
    ]
    found = confidence.calibrated(fits)
    assert abs(found.least - 0.1) < 0.02 and abs(found.scale - 0.3) < 0.03 and found.upwards < 0.06
    assert confidence.left_out(fits, lambda fit: fit["pair"][1]) >= 180
    for fit in fits[:40]:
        fit["pair"], fit["top1"] = ["other", "law"], 1.0
    assert confidence.left_out(fits, lambda fit: fit["pair"][0]) < 165
