"""``minivec probe``: what it prints and writes, and its exit codes."""

import json

import embedding_server
import numpy as np
import pytest

import probed


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The current folder, with vectors of both models, a map, and queries beside their documents."""
    monkeypatch.chdir(tmp_path)
    spaces = probed.spaces()
    rng = np.random.default_rng(0)
    rows = rng.choice(len(spaces.old), 60, replace=False)
    for name, X in (("old", spaces.old), ("new", spaces.new)):
        np.save(f"{name}.npy", X)
        np.save(f"{name}_queries.npy", X[rows] + 0.1 * rng.standard_normal(X[rows].shape).astype(np.float32))
    spaces.bridge.save("bridge.safetensors")
    (tmp_path / "qrels.tsv").write_text(
        "query-id\tcorpus-id\tscore\n" + "".join(f"{i}\t{row}\t1\n" for i, row in enumerate(rows))
    )
    return tmp_path


PROBE = "probe", "old.npy", "-a", "bridge.safetensors"
FILES = (*PROBE, "--new-documents", "new.npy", "--k", "5")
QUERIES = *FILES, "--new-queries", "new_queries.npy", "--old-queries", "old_queries.npy"


def test_it_prints_a_decision_and_every_way_to_search(folder, run):
    code, out, err = run(*FILES, "--sample", "100")
    assert (code, err) == (0, "")
    assert out.split(":")[0] in ("migrate", "adapt", "re-embed", "too few queries to tell")
    for way in ("stay", "re-embed", "migrate", "adapt", "adapt, re-rank", "nothing done"):
        assert f"\n{way} " in out


def test_relevance_adds_ndcg_and_mrr(folder, run):
    code, out, _ = run(*QUERIES, "--relevance", "qrels.tsv", "--json")
    found = json.loads(out)
    assert code == 0
    ways = {way["name"]: way for way in found["ways"]}
    assert ways["re-embed"]["ndcg"]["value"] > 0.9
    assert ways["re-embed"]["mrr"]["low"] <= ways["re-embed"]["mrr"]["value"]
    assert ways["re-embed"]["own"] is None


def test_a_gate_for_continuous_integration(folder, run):
    code, out, err = run(*QUERIES, "--min-retention", "0.999")
    assert code == 3
    assert out
    assert err.startswith("minivec: the retention is ") and err.count("\n") == 1
    assert run(*QUERIES, "--min-retention", "0.1")[0] == 0
    assert run(*PROBE, "--min-retention", "0.1")[::2] == (
        3,
        "minivec: the retention is not known, and --min-retention is 0.1\n",
    )


def test_the_report_is_one_static_page_in_which_texts_are_escaped(folder, run):
    pytest.importorskip("jinja2")
    pytest.importorskip("bokeh")
    (folder / "queries.txt").write_text("\n".join(f"<script>{i}</script>" for i in range(60)))
    code, *_ = run(*QUERIES, "--queries", "queries.txt", "--report", "probe.html")
    page = (folder / "probe.html").read_text()
    assert code == 0
    assert "<script" not in page and "&lt;script&gt;" in page
    assert "http" not in page.replace("http-equiv", "")
    assert all(way in page for way in ("stay", "re-embed", "migrate", "adapt, re-rank", "nothing done"))
    assert run(*PROBE, "--report", "blind.html")[0] == 0
    assert "neighbours that stay" in (folder / "blind.html").read_text()


def test_rows_of_known_pairs_are_left_out(folder, run):
    (folder / "pairs.csv").write_text("".join(f"{i},{i}\n" for i in range(600)))
    code, out, _ = run(*FILES, "--pairs", "pairs.csv", "--json")
    assert code == 0
    assert json.loads(out)["pool"] == 300


@pytest.mark.parametrize("name", ["queries.txt", "queries.tsv", "queries.jsonl"])
def test_queries_are_read_by_name(folder, name):
    from minivec.moving.probe import read_queries

    (folder / "queries.txt").write_text("a boat\na drum\n")
    (folder / "queries.tsv").write_text("0\ta boat\n1\ta drum\n")
    (folder / "queries.jsonl").write_text('{"_id": "0", "text": "a boat"}\n{"_id": "1", "text": "a drum"}\n')
    assert read_queries(folder / name) == {"0": "a boat", "1": "a drum"}


def test_judgements_are_trecs_or_beirs(folder):
    from minivec.moving.probe import read_relevance

    (folder / "trec").write_text("q1 0 d1 2\nq1 0 d2 0\n")
    (folder / "beir").write_text("query-id\tcorpus-id\tscore\nq1\td1\t2\nq1\td2\t0\n")
    assert read_relevance("trec") == read_relevance("beir") == {"q1": {"d1": 2.0, "d2": 0.0}}


@pytest.fixture
def beir(folder):
    """The same queries and judgements in the layout of BEIR and MTEB, with queries of another split among them."""
    layout, judged = folder / "beir", (folder / "qrels.tsv").read_text().splitlines()[1:]
    (layout / "qrels").mkdir(parents=True)
    documents = [{"_id": f"d{i}", "title": "", "text": text} for i, text in enumerate(probed.spaces().texts)]
    asked = [f"q{line.split()[0]}" for line in judged]
    queries = [{"_id": name, "text": f"query {name}"} for name in ["train-1", *asked]]
    for name, lines in (("corpus", documents), ("queries", queries)):
        (layout / f"{name}.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    rows = [f"q{query}\td{document}\t1" for query, document, _ in map(str.split, judged)]
    (layout / "qrels/test.tsv").write_text("query-id\tcorpus-id\tscore\n" + "\n".join(rows))
    (layout / "qrels/train.tsv").write_text("query-id\tcorpus-id\tscore\ntrain-1\td0\t1\n")
    keys = {"old": [row["_id"] for row in documents], "new": [row["_id"] for row in documents], "new_queries": asked}
    for name, names in {**keys, "old_queries": asked}.items():
        (folder / f"{name}.keys.jsonl").write_text("".join(f"{json.dumps(key)}\n" for key in names))
    return layout


def test_a_folder_of_beir_has_the_queries_and_their_judgements(beir, run):
    """With vectors that `minivec embed` wrote of it: the keys beside them name documents and queries, in any order."""
    from minivec.moving.probe import read_queries, read_relevance

    assert "train-1" not in read_queries(beir) and len(read_queries(beir)) == 60
    assert len(read_relevance(beir)) == 60
    order = np.random.default_rng(5).permutation(60)
    for name in ("new_queries", "old_queries"):
        np.save(f"{name}.npy", np.load(f"{name}.npy")[order])
        keys = (beir.parent / f"{name}.keys.jsonl").read_text().splitlines()
        (beir.parent / f"{name}.keys.jsonl").write_text("\n".join(keys[i] for i in order))
    code, out, err = run(*QUERIES, "--queries", beir, "--json")
    assert (code, err) == (0, "")
    ways = {way["name"]: way for way in json.loads(out)["ways"]}
    assert ways["re-embed"]["ndcg"]["value"] > 0.9


BAD = {
    "lines.txt: line 2 has 1 fields, expected 3 or 4": ("--relevance", "lines.txt"),
    "lines.jsonl: line 1 is no JSON object with _id and text: one": ("--queries", "lines.jsonl"),
    "twice.tsv: two queries have the name a": ("--queries", "twice.tsv"),
    "empty.txt: the query 0 is empty": ("--queries", "empty.txt"),
    "the output must end in .html": ("--report", "probe.pdf"),
    "wide.npy: no such file": ("--new-queries", "wide.npy"),
    "queries must be as many as new_queries, 60; got 3": ("--queries", "lines.txt"),
}


def test_a_folder_of_beir_that_is_not_whole(beir, run):
    for change, part in (
        (
            lambda: (beir / "qrels/test.tsv").rename(beir / "qrels/dev.tsv"),
            "qrels/test.tsv; there is dev.tsv, train.tsv",
        ),
        (lambda: (beir / "qrels/dev.tsv").unlink(), "new_queries.npy: no vector of the query train-1"),
        (lambda: (beir / "qrels/train.tsv").write_text("q d 1\n"), "none of its queries is judged in"),
        (lambda: (beir / "qrels/train.tsv").unlink(), "there is no .tsv file"),
    ):
        change()
        code, out, err = run(*QUERIES, "--queries", beir)
        assert (code, out) == (2, "") and part in err and err.count("\n") == 1


@pytest.mark.parametrize("message", BAD)
def test_bad_input_is_one_line_and_code_2(folder, run, message):
    (folder / "lines.txt").write_text("q d 1\none\ntwo")
    (folder / "lines.jsonl").write_text("one\n")
    (folder / "twice.tsv").write_text("a\tx\na\ty\n")
    (folder / "empty.txt").write_text("\n")
    code, out, err = run(*QUERIES, *BAD[message])
    assert (code, out) == (2, "")
    assert message in err and err.count("\n") == 1
    assert not (folder / "probe.html").exists()


@pytest.fixture
def server(folder):
    """A server of embeddings, and a table of texts with an old model's vectors of them, which its map was fitted on."""
    from minivec.fitting import fit_paired
    from minivec.record import Record

    rng = np.random.default_rng(0)
    words = [f"word{i}" for i in range(40)]
    texts = [f"{i} " + " ".join(rng.choice(words, 6)) for i in range(500)]
    new = embedding_server.tiny(texts)
    turn = np.linalg.qr(rng.standard_normal((len(new[0]),) * 2))[0].astype(np.float32)
    old = new @ turn + 0.01 * rng.standard_normal(new.shape).astype(np.float32)
    probed.write_table("texts.parquet", texts[:300], old[:300])
    fit_paired(old[300:], new[300:], "orthogonal", 0, Record(), versions={}, spaces={}).save("texts.safetensors")
    with embedding_server.Server() as running:
        yield running


TEXTS = "probe", "texts.parquet", "-a", "texts.safetensors", "--text", "body", "--k", "5", "--cache", "cache.sqlite3"


def test_texts_are_embedded_by_a_server_and_paid_for_once(folder, server, run):
    (folder / "queries.txt").write_text("\n".join(f"word{i} word{i + 1} word{i + 2}" for i in range(35)))
    command = *TEXTS, "--model", f"{server.url}#tiny", "--queries", "queries.txt", "--pool", "200", "--json"
    code, out, _ = run(*command)
    found = json.loads(out)
    assert code == 0
    assert (found["queries"], found["pool"], found["rows"]) == (35, 200, 300)
    assert {way["name"] for way in found["ways"]} >= {"re-embed", "migrate", "adapt"}
    assert len(server.embedded) == 235
    assert run(*command)[1] == out
    assert len(server.embedded) == 235


def test_what_embed_wrote_is_matched_by_its_keys(folder, server, run):
    embed = "embed", "texts.parquet", "--model", f"{server.url}#tiny", "--text", "body", "--rows", "120"
    assert run(*embed, "-o", "new.npy", "--cache", "cache.sqlite3")[0] == 0
    code, out, _ = run(*TEXTS, "--new-documents", "new.npy", "--json")
    found = json.loads(out)
    assert (code, found["pool"], found["rows"]) == (0, 120, 300)
    ways = {way["name"]: way for way in found["ways"]}
    assert ways["migrate"]["recall"]["value"] > 0.8
    assert found["subjects"][0]["words"].startswith(("word", "cluster"))
