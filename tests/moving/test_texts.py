"""Texts and keys out of files, lists and databases."""

import json

import numpy as np
import pytest

from databases import KINDS, MAKERS
from minivec.moving.texts import texts_of, unsendable
from minivec.stores import open_store, sample
from small import vectors


def read(path, column=None, rows=None, seed=0):
    found = texts_of(str(path), column, rows, seed)
    return list(found.keys), list(found.texts)


def written(path, text):
    path.write_text(text, encoding="utf-8")
    return path


def test_lines(tmp_path):
    assert read(written(tmp_path / "t.txt", "\ufeffone\n\nthrée\n")) == ([0, 1, 2], ["one", "", "thrée"])


def test_a_table(tmp_path):
    rows = 'id,text\n7,"a, b"\n8,\n\n9,"two\nlines"\n'
    assert read(written(tmp_path / "t.csv", rows)) == ([0, 1, 2], ["a, b", "", "two\nlines"])
    assert read(tmp_path / "t.csv", "id")[1] == ["7", "8", "9"]
    assert read(f"{tmp_path / 't.csv'}?column=id")[1] == ["7", "8", "9"]
    assert read(written(tmp_path / "t.tsv", "title\nx y\n")) == ([0], ["x y"])


def test_a_long_field_of_a_table(tmp_path):
    assert len(read(written(tmp_path / "t.csv", "text\n" + "a" * 200_000 + "\n"))[1][0]) == 200_000


def test_json_lines(tmp_path):
    path = written(tmp_path / "t.jsonl", '{"text": "one", "n": 1}\n\n{"text": null}\n{"n": 3}\n')
    assert read(path) == ([0, 1, 2], ["one", None, None])


def test_the_layout_of_beir(tmp_path):
    """Keys are ``_id``; a title comes before its text."""
    corpus = [{"_id": "d1", "title": "Title", "text": "body"}, {"_id": "d2", "title": "", "text": "other"}]
    path = written(tmp_path / "corpus.jsonl", "".join(f"{json.dumps(row)}\n" for row in corpus))
    assert read(path) == (["d1", "d2"], ["Title body", "other"])
    assert read(path, "text")[1] == ["body", "other"]
    assert read(written(tmp_path / "queries.jsonl", '{"_id": "q1", "text": "what"}\n')) == (["q1"], ["what"])


def test_a_folder_of_beir_has_a_corpus_and_queries(tmp_path):
    written(tmp_path / "corpus.jsonl", '{"_id": "d1", "title": "Title", "text": "body", "metadata": {}}\n')
    written(tmp_path / "queries.jsonl", '{"_id": "q1", "text": "what"}\n')
    assert read(tmp_path) == (["d1"], ["Title body"])
    assert texts_of(tmp_path, None, None, 0, "query")[1:] == (["q1"], ["what"])
    (tmp_path / "queries.jsonl").unlink()
    with pytest.raises(FileNotFoundError, match="queries.jsonl: no such file"):
        texts_of(tmp_path, None, None, 0, "query")


def test_parquet_and_a_folder_of_it(tmp_path):
    pa = pytest.importorskip("pyarrow", reason="needs pyarrow")
    import pyarrow.parquet as pq

    folder = tmp_path / "folder"
    folder.mkdir()
    for number, texts in enumerate((["one", None], ["three"])):
        pq.write_table(pa.table({"n": [1] * len(texts), "body": texts}), folder / f"{number}.parquet")
    assert read(folder) == ([0, 1, 2], ["one", None, "three"])
    assert read(folder / "1.parquet", "body") == ([0], ["three"])


def test_a_list():
    assert texts_of(["one", None], None, None, 0)[1:] == (range(2), ["one", None])


def test_a_draw_is_that_of_sample(tmp_path):
    path = written(tmp_path / "t.txt", "\n".join(map(str, range(100))))
    keys, texts = read(path, rows=10, seed=3)
    assert keys == sorted(keys) and len(set(keys)) == 10 and texts == [str(key) for key in keys]
    assert read(path, rows=10, seed=3)[0] == keys != read(path, rows=10, seed=4)[0]
    assert read(path, rows=200)[0] == list(range(100))


@pytest.mark.parametrize(
    ("name", "text", "column", "part"),
    [
        ("t.doc", "", None, "ending in .txt, .csv, .tsv, .jsonl, .parquet"),
        ("t.txt", "one", "text", "without a name, got column 'text'"),
        ("t.csv", "a,b\n1,2\n", None, "several columns"),
        ("t.csv", "a,b\n1,2\n", "c", "no column named 'c'; there is a, b"),
        ("t.csv", "a,b\n1\n", "a", "line 2 has 1 columns, its header has 2"),
        ("t.csv", 'a\n"x\n', None, "damaged"),
        ("t.csv", "", None, "no column in it"),
        ("t.jsonl", '{"text": "x"}\n[1]\n', None, "line 2 is no JSON object: [1]"),
        ("t.jsonl", '{"text": "x"}\nnonsense\n', None, "line 2 is no JSON object: nonsense"),
        ("t.jsonl", '{"text": "x"}\n{"text": 5}\n', None, "no text in 'text' of row 1"),
        ("t.parquet", "no parquet", None, "damaged"),
    ],
)
def test_a_wrong_file(tmp_path, name, text, column, part):
    path = written(tmp_path / name, text)
    with pytest.raises(ValueError) as caught:
        read(path, column)
    assert part in str(caught.value) and str(path) in str(caught.value)


def test_what_is_no_utf_8_or_no_text(tmp_path):
    (tmp_path / "t.jsonl").write_bytes(b'{"text": "\xff"}\n')
    with pytest.raises(ValueError, match="t.jsonl"):
        read(tmp_path / "t.jsonl")
    with pytest.raises(FileNotFoundError, match="no such file"):
        read(tmp_path / "none.txt")
    with pytest.raises(ValueError, match=r"texts: no text \(str\) in row 1"):
        texts_of(["one", 2], None, None, 0)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (None, "NULL"),
        ("", "empty"),
        (" \n\t", "empty"),
        ("x" * 11, "too long"),
        ("\ud800", "not Unicode"),
        ("x" * 10, None),
    ],
)
def test_why_a_text_is_not_sent(text, reason):
    assert unsendable(text, 10) == reason


def filled(kind, folder, rows, null=None):
    """A database with a table of vectors and texts, and the table's URL."""
    database = MAKERS[kind](folder)
    database.fill("texts", vectors(rows), **({} if null is None or kind in ("chroma", "qdrant") else {"null": null}))
    return database, database.url("texts") + "?column=v" * (kind == "qdrant")


@pytest.mark.parametrize("kind", KINDS)
def test_every_store_hands_on_its_texts(kind, tmp_path):
    """All of them, also of rows without a vector; and of drawn rows, with their keys."""
    database, url = filled(kind, tmp_path, 1_000, null=5)
    column = None if kind in ("chroma", "postgres") else "text"
    keys, texts = read(url, column) if kind != "parquet" else read_store(url, column)
    wanted = {str(key): text for key, (text, _) in database.read("texts").items()}
    if kind in ("parquet", "lance"):  # whose keys are row numbers
        assert len(keys) == 1_000 and sorted(texts) == sorted(wanted.values())
    else:
        assert dict(zip(map(str, keys), texts, strict=True)) == wanted
    some = read(url, column, rows=20)
    assert len(some[0]) == 20 and set(zip(*some, strict=True)) < set(zip(keys, texts, strict=True))


def read_store(url, column):
    with open_store(url) as store:
        found = texts_of(store, column, None, 0)
    return list(found.keys), list(found.texts)


@pytest.mark.parametrize("kind", KINDS)
def test_a_column_that_is_not_there_is_named(kind, tmp_path):
    _, url = filled(kind, tmp_path, 10)
    if kind in ("chroma", "qdrant"):  # where rows have any fields: nobody has this one
        assert read(url, "body")[1] == [None] * 10
        return
    with pytest.raises(ValueError, match=r"no column (named )?'body'; there is .*text"):
        read(url, "body")


def test_a_column_that_holds_no_texts(tmp_path):
    lance = MAKERS["lance"](tmp_path)
    lance.fill("t", vectors(10))
    with pytest.raises(ValueError, match="no text in column 'id' in rows 0, 1, 2"):
        read(lance.url("t"), "id")


def test_vectors_without_texts(tmp_path):
    np.save(tmp_path / "a.npy", vectors(10))
    with open_store(tmp_path / "a.npy") as store, pytest.raises(ValueError, match="no texts, only vectors"):
        texts_of(store, "text", None, 0)


def test_the_rows_that_sample_draws_are_those_that_are_embedded(tmp_path):
    lance = MAKERS["lance"](tmp_path)
    lance.fill("t", vectors(300))
    keys, _ = read(lance.url("t"), "text", rows=40, seed=7)
    with open_store(lance.url("t")) as store:
        drawn = store.fetch(keys).vectors
    np.testing.assert_array_equal(sample(lance.url("t"), 40, 7), drawn)
