"""Databases as inputs: alike in every command that reads vectors."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

import supervised
from minivec import open_map
from minivec.cli.common import open_all
from minivec.stores import StoreRows, is_url, open_store, redact

A, B = supervised.spaces(8, 6, rows=400)
SQUARE = supervised.spaces(8, 8, rows=400)

lancedb = pytest.importorskip("lancedb", reason="needs lancedb")


def fill(name, X, **columns):
    """A LanceDB table of these vectors in ./db, and its URL."""
    lancedb.connect("db").create_table(name, pa.table({"v": list(X), **columns}))
    return f"lance://./db/{name}"


def test_evaluate_and_report_read_databases(folder, run, named):
    old, new, aligner = fill("old", A), fill("new", B), named / "wide.keras"
    expected = json.loads(run("evaluate", "a.npy", "b.npy", "-a", aligner, "--json")[1])
    for inputs in ((old, new), (old, "b.npy"), ("a.npy", new)):
        code, out, err = run("evaluate", *inputs, "-a", aligner, "--json")
        assert (code, err) == (0, "") and json.loads(out) == pytest.approx(expected)
    code, out, err = run("report", aligner, "--source", old, "--target", new, "--paired", "-o", "report.png")
    assert (code, err) == (0, "") and Path("report.png").exists()


def test_adapt_reads_databases(folder, run, named):
    queries = fill("queries", B)
    code, _, err = run("adapt", queries, "-a", named / "wide.keras", "-o", "out.npy")
    assert (code, err) == (0, "")
    np.testing.assert_array_equal(np.load("out.npy"), open_map(named / "wide.keras", inverse=True)(B))


def test_transform_of_a_database_says_what_does_it(folder, run, named):
    code, _, err = run("transform", fill("old", A), "-a", named / "wide.keras", "-o", "out.npy")
    assert code == 2 and "minivec migrate" in err and err.count("\n") == 1


def test_words_do_not_come_from_a_database(folder, run, named):
    code, _, err = run("translate", "word", fill("old", A), "b.npy", "-a", named / "wide.keras")
    assert code == 2 and "lance://./db/old" in err and "database" in err and err.count("\n") == 1


def test_what_counts_rows_refuses_a_sample(folder, run, named, monkeypatch):
    """Of a large table a sample is read: known pairs, texts and true pairs would then name other rows."""
    monkeypatch.setattr(open_all, "__defaults__", (False, 100))
    old, aligner = fill("old", A), named / "wide.keras"
    Path("pairs.csv").write_text("0,1\n")
    Path("texts.txt").write_text("text\n" * 100)
    sides = ("--source", old, "--target", "b.npy")
    for arguments in (
        ("align", old, "b.npy", "--pairs", "pairs.csv", "-o", "ab.keras", "--max-rows", "100"),
        ("evaluate", old, "b.npy", "-a", aligner),
        ("adapt", old, "-a", aligner),
        ("report", aligner, *sides, "--texts", "texts.txt", "-o", "report.png"),
    ):
        code, _, err = run(*arguments)
        assert code == 2 and "400 rows" in err and "at most 100" in err and err.count("\n") == 1, (arguments, err)
    assert not Path("ab.keras").exists() and not Path("report.png").exists()
    code, _, err = run("evaluate", old, fill("new", B), "-a", aligner)  # the same rows are drawn of both
    assert (code, err) == (0, "")


def test_align_reads_as_many_rows_of_a_database_as_it_is_told(folder, run):
    code, _, err = run("align", fill("old", A), fill("new", B), "-o", "ab.keras", "--max-rows", "150")
    shapes = [data["shape"] for data in open_map("ab.keras").history["data"].values()]
    assert code == 0 and shapes == [[150, 8], [150, 6]], err


def test_a_wrong_setting_is_refused_before_anything_is_read(folder, run):
    code, _, err = run("align", "lance://./nowhere/old", "b.npy", "-o", "ab.keras", "--max-rows", "0")
    assert code == 2 and "max_rows" in err and err.count("\n") == 1


def test_two_databases_are_pairs_only_with_the_same_keys(folder, run, named, tmp_path):
    chromadb = pytest.importorskip("chromadb", reason="needs chromadb")
    client = chromadb.PersistentClient(str(tmp_path / "chroma"))
    for name, X, first in (("old", SQUARE[0], 0), ("new", SQUARE[1], 0), ("shifted", SQUARE[1], 1)):
        client.create_collection(name).add(ids=[f"{first + i:04}" for i in range(400)], embeddings=X)
    old, new, shifted = (f"chroma://{tmp_path}/chroma/{name}" for name in ("old", "new", "shifted"))
    code, _, err = run("evaluate", old, shifted, "-a", named / "square.keras")
    assert code == 2 and "'0000'" in err and "'0001'" in err and err.count("\n") == 1
    code, out, err = run("evaluate", old, new, "-a", named / "square.keras", "--json")
    assert (code, err) == (0, "") and json.loads(out)["top1_accuracy"] > 0.99


def test_two_databases_of_unequal_length_are_no_pairs(folder, run, named, monkeypatch):
    monkeypatch.setattr(open_all, "__defaults__", (False, 100))
    code, _, err = run("evaluate", fill("old", A), fill("new", B[:300]), "-a", named / "wide.keras")
    assert code == 2 and "400 rows" in err and "300" in err and err.count("\n") == 1


@pytest.mark.parametrize("scheme", ["lance", "chroma", "qdrant"])
def test_a_folder_without_a_table_is_refused(folder, run, named, scheme):
    fill("docs", A)
    if scheme == "chroma":
        pytest.importorskip("chromadb", reason="needs chromadb").PersistentClient("db").heartbeat()
    if scheme == "qdrant":
        pytest.importorskip("qdrant_client", reason="needs qdrant-client").QdrantClient(path="db").close()
    before = sorted(path.name for path in folder.iterdir())
    for url in (f"{scheme}://./data", f"{scheme}://./db", f"{scheme}://{folder}/db"):
        code, _, err = run("migrate", "lance://./db/docs", url, "-a", named / "wide.keras")
        assert code == 2 and f"expected {scheme}://FOLDER/NAME" in err and err.count("\n") == 1, err
    assert sorted(path.name for path in folder.iterdir()) == before


def test_paths_of_windows():
    assert not is_url(r"C:\data\a.npy") and not is_url("C://data/a.npy") and is_url("qdrant://host/docs")
    for url in (r"lance://C:\data\docs", "lance://C:/data/docs", "lance:///C:/data/docs", r"lance:///C:\data\docs"):
        store = open_store(url)
        assert (store.folder.as_posix(), store.name) == ("C:/data", "docs"), url
        assert store.address.local, url
    assert redact(r"C:/me@home/a.npy: no such file") == r"C:/me@home/a.npy: no such file"


def test_rows_of_a_store_know_whether_they_are_all(folder):
    rows = StoreRows(fill("docs", A))
    assert rows.whole and rows.count == 400 and rows.keys() == range(400)
    rows = StoreRows("lance://./db/docs", most=100)
    assert not rows.whole and (rows.count, rows.shape) == (400, (100, 8)) and rows.array().shape == (100, 8)


def holes(name):
    """A table in which row 3 is NULL, row 5 zero and row 7 NaN; its URL."""
    rows = [*A]
    rows[3], rows[5], rows[7] = None, np.zeros(8), np.full(8, np.nan)
    lancedb.connect("db").create_table(name, pa.table({"v": pa.array(rows, pa.list_(pa.float32(), 8))}))
    return f"lance://./db/{name}"


def test_a_sample_counts_and_names_the_rows_that_it_leaves_out(folder, run):
    url = holes("old")
    code, out, err = run("sample", url, "-o", "x.npy")
    assert code == 2 and out == "" and "NaN or infinity in row 7" in err
    code, out, err = run("sample", url, "-o", "x.npy", "--skip-bad-rows")
    assert code == 0 and "397 rows" in out and "no embeddings in 3 of 400 rows (3, 5, 7), which are skipped" in err
    np.testing.assert_array_equal(np.load("x.npy"), np.delete(A, [3, 5, 7], axis=0))
    rows = A.copy()
    rows[5] = 0
    np.save("holes.npy", rows)
    code, out, err = run("sample", "holes.npy", "-o", "x.npy", "--skip-bad-rows")
    assert code == 0 and "no embeddings in 1 of 400 rows (5), which are skipped" in err


def test_align_leaves_the_same_rows_out_of_databases_and_files(folder, run, monkeypatch):
    supervised.install(monkeypatch)
    rows = B.copy()
    rows[5] = 0
    np.save("holes.npy", rows)
    url = holes("old")
    code, _, err = run("align", url, "holes.npy", "-o", "ab.keras", "-q")
    assert code == 2 and "row 7" in err or "row 5" in err
    code, _, err = run("align", url, "holes.npy", "-o", "ab.keras", "-q", "--skip-bad-rows")
    assert code == 0, err
    assert "no embeddings in 3 of 400 rows (3, 5, 7)" in err and "no embeddings in 1 of 400 rows (5)" in err
    assert err.count("which are skipped") == 2


def test_rows_that_are_compared_one_by_one_are_never_left_out(folder, run, named):
    """A row less on each side would make pairs of rows that are none."""
    code, _, err = run("evaluate", holes("old"), fill("new", B), "-a", named / "wide.keras")
    assert code == 2 and "null" in err and err.count("\n") == 1
