"""embed, and align with --model: from texts to vectors and to a map."""

import json
import os
import signal
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest

import supervised
from embedders.embedding_server import Server, tiny
from minivec import open_map
from minivec.moving.paired import paired
from small import command

pytest.importorskip("httpx", reason="needs httpx")

TEXTS = [f"text number {i}" for i in range(40)]


@pytest.fixture
def server():
    with Server() as running:
        yield running


@pytest.fixture
def texts(tmp_path, monkeypatch):
    """The current folder, with texts.txt in it; the user's cache is there too."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    Path("texts.txt").write_text("\n".join([*TEXTS[:10], "", *TEXTS[10:]]))
    return tmp_path


def keys(path):
    return [json.loads(line) for line in Path(path).read_text().splitlines()]


def test_vectors_and_their_keys(texts, server, run):
    code, out, err = run("embed", "texts.txt", "--model", f"{server.url}#tiny", "-o", "new.npy")
    assert code == 0 and out.startswith("new.npy: 40 rows of 16 dimensions; 40 of 40 texts, 120 tokens, ")
    assert err == "minivec: note: 1 texts are empty and were not embedded: 10\n"
    np.testing.assert_allclose(np.load("new.npy"), tiny(TEXTS), rtol=1e-6)
    assert keys("new.keys.jsonl") == [*range(10), *range(11, 41)]
    code, out, _ = run("embed", "texts.txt", "--model", f"{server.url}#tiny", "-o", "again.npy", "--rows", 9, "--json")
    facts = json.loads(out)
    assert (facts["rows"], facts["cached"], facts["tokens"], len(server.embedded)) == (9, 9, 0, 40)
    assert len(keys("again.keys.jsonl")) == 9


def test_a_parquet_file_has_both(texts, server, run):
    pq = pytest.importorskip("pyarrow.parquet", reason="needs pyarrow")
    Path("q.jsonl").write_text('{"_id": "q1", "text": "one"}\n{"_id": "q2", "text": "two"}\n')
    model = f"{server.url}?query_prompt=q: #tiny"
    code, _, err = run("embed", "q.jsonl", "--model", model, "-o", "new.parquet", "--kind", "query", "--cache", "c.db")
    assert (code, err) == (0, "") and Path("c.db").exists() and not Path("cache").exists()
    rows = pq.read_table("new.parquet").to_pylist()
    assert [row["key"] for row in rows] == ["q1", "q2"] and server.embedded == ["q: one", "q: two"]
    np.testing.assert_allclose([row["embedding"] for row in rows], tiny(["q: one", "q: two"]), rtol=1e-6)


def test_a_folder_of_beir(texts, server, run):
    Path("beir").mkdir()
    Path("beir/corpus.jsonl").write_text(
        '{"_id": "d1", "title": "One", "text": "text"}\n{"_id": "d2", "text": "two"}\n'
    )
    Path("beir/queries.jsonl").write_text('{"_id": "q1", "text": "one"}\n')
    model = f"{server.url}?query_prompt=q: #tiny"
    for kind, names, embedded in (("document", ["d1", "d2"], ["One text", "two"]), ("query", ["q1"], ["q: one"])):
        assert run("embed", "beir", "--model", model, "-o", f"{kind}.npy", "--kind", kind)[0] == 0
        assert keys(f"{kind}.keys.jsonl") == names
        np.testing.assert_allclose(np.load(f"{kind}.npy"), tiny(embedded), rtol=1e-6)


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (("none.txt",), "none.txt: no such file"),
        (("texts.txt", "--model", "tiny"), "model must be sentence-transformers:NAME_OR_FOLDER or https://"),
        (("texts.txt", "-o", "new.npz"), "must end in .npy or .parquet"),
        (("texts.txt", "--text", "body"), "lines are texts without a name"),
        (("texts.txt", "--kind", "doc"), "kind must be document or query"),
        (("lance://./db/t", "--text", "body"), "db"),
    ],
)
def test_bad_input_is_one_line_and_writes_nothing(texts, server, run, arguments, part):
    before = set(texts.rglob("*"))
    code, out, err = run("embed", "--model", f"{server.url}#tiny", "-o", "new.npy", *arguments)
    assert (code, out) == (2, "") and part in err and err.count("\n") == 1
    assert set(texts.rglob("*")) == before and not server.requests


def test_a_server_that_fails_is_one_line_without_the_key(texts, run, monkeypatch):
    monkeypatch.setenv("MINIVEC_API_KEY", "very-secret")
    with Server(key="another") as server:
        code, out, err = run("embed", "texts.txt", "--model", f"{server.url}#tiny", "-o", "new.npy")
    assert (code, out) == (2, "") and err.endswith("401: the server refuses the key\n") and "secret" not in err
    assert not list(texts.glob("*new*"))


def test_an_interrupted_command_tells_its_cost_and_goes_on(texts, server):
    server.slow = 0.1
    Path("many.txt").write_text("\n".join(f"text number {i}" for i in range(6_000)))
    arguments = command("embed", "many.txt", "--model", f"{server.url}#tiny", "-o", "new.npy")
    running = subprocess.Popen(arguments, stderr=subprocess.PIPE, text=True)
    while len(server.embedded) < 1_500:
        time.sleep(0.01)
    os.kill(running.pid, signal.SIGINT)
    _, err = running.communicate(timeout=60)
    assert running.returncode == 130
    assert "so far 1," in err and "of 6,000 texts" in err and "run it again" in err and "Traceback" not in err
    assert not list(texts.glob("*new*"))
    server.slow = 0
    assert subprocess.run(arguments).returncode == 0
    assert len(server.embedded) == len(set(server.embedded)) == 6_000
    assert len(np.load("new.npy")) == 6_000


@pytest.fixture
def table(texts, monkeypatch):
    """A LanceDB table of vectors and texts in ./db, and a solver that needs no time."""
    lancedb = pytest.importorskip("lancedb", reason="needs lancedb")
    import pyarrow as pa

    supervised.install(monkeypatch)
    X = np.random.default_rng(0).standard_normal((40, 6)).astype(np.float32)
    lancedb.connect("db").create_table("t", pa.table({"v": list(X), "body": [*TEXTS[:39], ""]}))
    return "lance://./db/t"


def test_align_makes_known_pairs_of_a_stores_texts(table, server, run):
    model = f"{server.url}#tiny"
    code, out, err = run("align", table, "--model", model, "--text", "body", "--rows", 30, "-o", "b.keras", "-q")
    assert (code, out) == (0, "")
    assert "embedded 29 of 29 texts" in err or "embedded 30 of 30 texts" in err
    problem = supervised.solve.seen
    assert len(problem.pairs) in (29, 30) and problem.X.shape == (40, 6) and problem.Y.shape[1] == 16
    history = open_map("b.keras").history
    assert history["pairs"] == len(problem.pairs) and history["spaces"]["target"] == "tiny"
    assert history["paired_rows"]["rows"] == history["pairs"]
    vectors = np.random.default_rng(0).standard_normal((40, 6)).astype(np.float32)
    assert np.flatnonzero(paired(history, vectors)).tolist() == problem.pairs[:, 0].tolist()


def test_align_with_a_corpus_for_a_store_without_texts(table, server, run):
    np.save("old.npy", np.random.default_rng(1).standard_normal((50, 6)).astype(np.float32))
    arguments = ("--model", f"{server.url}#tiny", "--target", "texts.txt", "-o", "b.keras")
    code, out, err = run("align", "old.npy", *arguments, "--to", "new")
    assert code == 0 and "saved" in out or "b.keras" in out
    assert "1 texts are empty" in err and "embedded 40 of 40 texts" in err
    assert len(supervised.solve.seen.pairs) == 0 and supervised.solve.seen.Y.shape == (40, 16)
    assert open_map("b.keras").history["spaces"]["target"] == "new"


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (("--model", "MODEL"), "name the column of the store's texts"),
        (("texts.npy", "--model", "MODEL", "--text", "body"), "TARGET is not for --model"),
        (("--model", "MODEL", "--text", "body", "--pairs", "p.csv"), "--pairs is not for --model"),
        (("--model", "MODEL", "--text", "body", "--skip-bad-rows"), "--skip-bad-rows is not for --model"),
        (("--text", "body"), "name TARGET; or name --model"),
        ((), "name TARGET; or name --model"),
        (("--model", "MODEL", "--text", "other"), "no column 'other'; there is body"),
    ],
)
def test_align_refuses_what_does_not_go_together(table, server, run, arguments, part):
    arguments = [f"{server.url}#tiny" if argument == "MODEL" else argument for argument in arguments]
    code, out, err = run("align", table, *arguments, "-o", "b.keras")
    assert (code, out) == (2, "") and part in err and err.count("\n") == 1
    assert not Path("b.keras").exists() and not server.requests
