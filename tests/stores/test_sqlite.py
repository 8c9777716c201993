"""What only SQLite has: values of any type in any column, rowids, and vec0 tables."""

import sqlite3

import numpy as np
import pytest

import small
from minivec.migrate import migrate
from minivec.moving.cutover import cutover
from minivec.stores import open_store
from small import bridge
from sqlite_database import Sqlite, Vec0

X = small.vectors(30)
ADAPTER = bridge()


@pytest.fixture
def docs(tmp_path):
    made = Sqlite(tmp_path)
    yield made
    made.close()


def packed(x):
    return np.asarray(x, "<f4").tobytes()


def test_values_of_several_types_in_one_column_come_along(docs):
    docs.run("CREATE TABLE docs (name TEXT PRIMARY KEY, v BLOB, anything, n REAL, empty TEXT, b BLOB)")
    values = [1, 2.5, "x", b"\0\xff", None, 2**62, "1"]
    for i, value in enumerate(values):
        row = f"é{i}", packed(X[i]), value, i / 2, None, None if i else b"abcd"
        docs.run("INSERT INTO docs VALUES (?, ?, ?, ?, ?, ?)", row)
    source = f"{docs.url('docs')}?column=v"
    assert migrate(source, docs.url("new"), ADAPTER, verify="all").notes == ()
    query = "SELECT name, anything, typeof(anything), n, empty, b FROM {} ORDER BY name"
    assert docs.run(query.format("new")) == docs.run(query.format("docs"))
    docs.run("UPDATE docs SET anything = 3 WHERE name = 'é2'")
    with pytest.raises(ValueError, match="other payload than the source's in row é2"):
        migrate(source, docs.url("new"), ADAPTER, verify="all")


def test_a_table_without_a_key_keeps_its_rowids(docs):
    docs.run("CREATE TABLE docs (v BLOB, text TEXT NOT NULL DEFAULT 'x' CHECK (text <> ''))")
    for i in (5, 2, 9):
        docs.run("INSERT INTO docs (rowid, v) VALUES (?, ?)", (i, packed(X[i])))
    docs.run("CREATE INDEX by_text ON docs (text)")
    docs.run("CREATE TRIGGER t AFTER INSERT ON docs BEGIN SELECT 1; END")
    result = migrate(docs.url("docs"), docs.url("new"), ADAPTER, batch=2, verify="all")
    assert result.notes == ("not carried over: CHECK, index by_text, trigger t",)
    assert docs.run("SELECT rowid, text FROM new") == [(2, "x"), (5, "x"), (9, "x")]
    docs.run("INSERT INTO new (v) VALUES (NULL)")
    assert docs.run("SELECT text FROM new WHERE v IS NULL") == [("x",)]


def test_blobs_of_another_length_are_refused_with_their_keys(docs):
    docs.fill("docs", X)
    docs.run("UPDATE docs SET v = x'0000' WHERE id = 17")
    with pytest.raises(ValueError, match="another length than 6 float32 numbers in row 17"):
        migrate(docs.url("docs"), docs.url("new"), ADAPTER, dry_run=True)
    assert docs.run("SELECT name FROM sqlite_master WHERE name <> 'docs'") == []


def test_an_open_transaction_of_another_connection_is_told_in_one_line(docs, run, monkeypatch):
    docs.fill("docs", X)
    docs.run("BEGIN EXCLUSIVE")
    monkeypatch.setattr("minivec.stores.sql.sqlite.WAITING", 0.1)
    code, out, err = run("migrate", docs.url("docs"), docs.url("new"))
    lines = [line for line in err.splitlines() if "note:" not in line]
    assert (code, out, len(lines)) == (2, "", 1) and "database is locked" in err
    docs.run("ROLLBACK")
    assert migrate(docs.url("docs"), docs.url("new"), verify="all").verified == 30


@pytest.fixture
def vec0(tmp_path):
    made = Vec0(tmp_path)
    yield made
    made.close()


def test_a_vec0_table_keeps_its_columns_and_settings_and_finds(vec0):
    vec0.run(
        "CREATE VIRTUAL TABLE docs USING vec0(id TEXT PRIMARY KEY, lang TEXT PARTITION KEY, "
        "embedding FLOAT[6] distance_metric=cosine, other float[2], n INTEGER, +body TEXT)"
    )
    for i, x in enumerate(X):
        row = f"k{i}", "en" if i % 2 else "de", packed(x), packed([i, 1]), i, f"body {i}"
        vec0.run("INSERT INTO docs (id, lang, embedding, other, n, body) VALUES (?, ?, ?, ?, ?, ?)", row)
    source, new = f"{vec0.url('docs')}?column=embedding", vec0.url("new")
    assert migrate(source, new, ADAPTER, batch=10, verify="all").verified == 30
    rows = "SELECT id, lang, other, n, body FROM {} ORDER BY id"
    assert vec0.run(rows.format("new")) == vec0.run(rows.format("docs"))
    query = "SELECT id FROM new WHERE embedding MATCH ? AND k = 1 AND lang = 'en'"
    assert vec0.run(query, (packed(ADAPTER(X[7])),)) == [("k7",)]
    (sql,) = vec0.run("SELECT sql FROM sqlite_master WHERE name = 'new'")[0]
    assert "float[8] distance_metric=cosine" in sql and "other float[2]" in sql
    with pytest.raises(ValueError, match="vec0 table cannot be renamed.*by hand"):
        cutover(source, new, ADAPTER)


def test_a_vec0_table_without_a_key_keeps_its_rowids(vec0):
    vec0.run("CREATE VIRTUAL TABLE docs USING vec0(embedding float[6])")
    for i in (5, 2, 9):
        vec0.run("INSERT INTO docs (rowid, embedding) VALUES (?, ?)", (i, packed(X[i])))
    migrate(vec0.url("docs"), vec0.url("new"), ADAPTER, batch=2, verify="all")
    assert [key for (key,) in vec0.run("SELECT rowid FROM new")] == [2, 5, 9]


def test_vectors_of_whole_numbers_and_bits_are_no_vectors(vec0):
    vec0.run("CREATE VIRTUAL TABLE docs USING vec0(embedding int8[8])")
    with pytest.raises(ValueError, match="there is none"):
        open_store(vec0.url("docs")).schema()


def test_without_extensions_it_says_so(vec0, monkeypatch):
    vec0.fill("docs", X)
    if hasattr(sqlite3.Connection, "enable_load_extension"):
        pytest.skip("this Python's sqlite3 can")
    monkeypatch.setattr("minivec.stores.sql.sqlite.SqliteStore._module", sqlite3)
    with pytest.raises(ValueError, match="sqlite3 cannot load extensions.*pysqlite3"):
        open_store(vec0.url("docs")).schema()
