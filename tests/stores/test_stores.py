"""Stores: what their URLs mean, what they read, and that they tell no credentials."""

import logging
import subprocess
import sys
import traceback
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from safetensors.numpy import save_file

import small
from databases import MAKERS, Postgres
from minivec.files import Rows
from minivec.moving.doctor import doctor
from minivec.stores import StoreError, blocks, open_store, redact, sample
from minivec.stores.blocks import fetch_all
from small import table, vectors

X = vectors(60)


def test_every_store_reads_in_key_order_and_goes_on_behind_a_position(source):
    with open_store(source) as store:
        assert store.count() == 60 and store.schema().width == 6
        blocks = list(store.blocks(25))
        assert [len(block.keys) for block in blocks] == [25, 25, 10]
        assert [key for block in blocks for key in block.keys] == list(store.keys())
        behind = list(store.blocks(25, blocks[0].position))
        np.testing.assert_array_equal(behind[0].vectors, blocks[1].vectors)
        whole = np.concatenate([block.vectors for block in blocks])
        some = [store.keys()[i] for i in (50, 3, 20)]
        np.testing.assert_array_equal(store.fetch(some).vectors, whole[[50, 3, 20]])
        assert list(store.fetch(some).keys) == some
        bare = store.fetch(some, payload=False)
        assert list(bare.keys) == some
        np.testing.assert_array_equal(bare.vectors, whole[[50, 3, 20]])
        np.testing.assert_allclose(whole[np.lexsort(whole.T)], X[np.lexsort(X.T)], atol=1e-6)


@pytest.mark.parametrize(
    "kind", ["postgres", "chroma", "qdrant", "redis", "duckdb", "sqlite", "elasticsearch", "weaviate"]
)
def test_blocks_of_large_rows_have_fewer_of_them(source, monkeypatch):
    """8,192 documents of a megabyte each are no block that fits into memory."""
    monkeypatch.setattr(blocks, "FIRST", 4)
    monkeypatch.setattr(blocks, "BYTES", 64)
    with open_store(source) as store:
        found = list(store.blocks(25))
        sizes = [len(block.keys) for block in found]
        assert sizes[0] == 4 and max(sizes[1:]) < 20 and sum(sizes) == 60
        assert [key for block in found for key in block.keys] == list(store.keys())
        fetched = list(fetch_all(store, store.keys()))
        assert [key for block in fetched for key in block.keys] == list(store.keys())
        assert max(len(block.keys) for block in fetched) < 20
        monkeypatch.setattr(blocks, "BYTES", 1 << 20)
        assert [len(block.keys) for block in store.blocks(25)] == [4, 25, 25, 6]


def test_samples_are_uniform_and_reproducible(source):
    one = sample(source, 20, seed=3)
    assert one.shape == (20, 6) and len(np.unique(one, axis=0)) == 20
    np.testing.assert_array_equal(one, sample(source, 20, seed=3))
    assert not np.array_equal(one, sample(source, 20, seed=4))
    assert sample(source, 1000).shape == (60, 6)
    firsts = [sample(source, 1, seed=seed)[0, 0] for seed in range(12)]
    assert len(set(firsts)) > 6


@pytest.mark.parametrize(
    "kind", ["postgres", "chroma", "qdrant", "lance", "elasticsearch", "weaviate", "milvus", "duckdb", "sqlite"]
)
def test_what_needs_vectors_alone_does_not_read_the_rest(source, monkeypatch):
    """A sample of 60,000 rows would read 60,000 documents, of a database that others are at work on."""
    with open_store(source) as store:
        assert "text 7" in str(payloads(store.fetch(store.keys())))
        asked = []
        fetch = type(store).fetch
        monkeypatch.setattr(type(store), "fetch", lambda *of, **named: asked.append(fetch(*of, **named)) or asked[-1])
        sample(store, 60)
        doctor(store)
        assert len(asked) >= 2
        assert not any("text" in str(payloads(block)) for block in asked)


def payloads(block):
    """The rows' payload, whatever a store hands on."""
    rest = block.payload
    return [] if rest is None else rest if isinstance(rest, list) else rest.to_pylist()


def test_files(tmp_path):
    np.save(tmp_path / "a.npy", X)
    np.savez(tmp_path / "a.npz", x=X, y=X)
    save_file({"x": X, "n": X[:, :3].copy()}, tmp_path / "a.safetensors")
    pq.write_table(table(X), tmp_path / "a.parquet")
    for name in ("a.npy", "a.npz?column=x", "a.safetensors?column=x", "a.parquet"):
        with open_store(tmp_path / name) as store:
            np.testing.assert_array_equal(np.concatenate([b.vectors for b in store.blocks(7)]), X)
            np.testing.assert_array_equal(store.fetch([59, 0, 7]).vectors, X[[59, 0, 7]])
    with pytest.raises(ValueError, match="several tensors"):
        open_store(tmp_path / "a.safetensors").schema()
    with pytest.raises(ValueError, match="expected a file ending in"):
        open_store("a.csv")
    with pytest.raises(FileNotFoundError, match="b.npy"):
        open_store("b.npy").schema()


@pytest.mark.parametrize("name", ["a.npy", "a.safetensors", "folder"])
def test_rows_of_a_file_are_fetched_without_reading_what_lies_around_them(tmp_path, monkeypatch, name):
    """Otherwise --verify-all would read the whole destination for each block."""
    np.save(tmp_path / "a.npy", X)
    save_file({"x": X}, tmp_path / "a.safetensors")
    (tmp_path / "folder").mkdir()
    for i in range(0, 60, 10):
        pq.write_table(table(X).slice(i, 10), tmp_path / "folder" / f"{i:02}.parquet")
    read = []
    floats = Rows.floats

    def counted(self, size, start=0):
        for rows, batch in floats(self, min(size, 10), start):
            read.append(len(rows))
            yield rows, batch

    with open_store(tmp_path / name) as store:
        store.schema()
        monkeypatch.setattr(Rows, "floats", counted)
        found = store.fetch([23, 29, 25])
        assert sum(read) <= 10
        np.testing.assert_array_equal(found.vectors, X[[23, 29, 25]])
        assert list(store.fetch([59, 60, 3]).keys) == [59, 3]


def test_a_fetch_of_a_file_keeps_only_the_rows_that_were_asked_for(tmp_path):
    """A verification of 1,000 rows would hold all of a folder in memory."""
    texts = pa.array(["x" * 10_000] * 2_000)
    pq.write_table(pa.table({"text": texts, "v": list(vectors(2_000))}), tmp_path / "a.parquet", row_group_size=100)
    held = []

    def blocks(size, after=None):
        for block in type(store).blocks(store, min(size, 100), after):
            held.append(pa.total_allocated_bytes())
            yield block

    with open_store(tmp_path / "a.parquet") as store:
        store.blocks = blocks
        found = store.fetch(range(0, 2_000, 500))
        assert found.payload["text"].to_pylist() == ["x" * 10_000] * 4
        assert held[-1] - held[0] < 3 << 20


def test_a_folder_of_parts_that_do_not_fit(tmp_path):
    pq.write_table(table(X), tmp_path / "1.parquet")
    pq.write_table(table(vectors(5, width=4)), tmp_path / "2.parquet")
    with pytest.raises(ValueError, match=r"2.parquet.*4 dimensions.*6"):
        open_store(tmp_path).schema()


def test_urls(tmp_path):
    store = open_store("postgresql://ann:s%40cret@db.example:5433/shop?table=pub.docs&column=v&key=id&sslmode=require")
    assert str(store) == "postgresql://db.example:5433/shop?table=pub.docs&column=v&key=id&sslmode=require"
    assert (store.namespace, store.table, store.column, store.key) == ("pub", "docs", "v", "id")
    assert store._target["password"] == "s@cret" and store._target["sslmode"] == "require"
    assert str(open_store("lance://some/folder/docs").folder) == "some/folder"
    assert str(open_store("chroma:///data/c/docs").folder) == "/data/c"
    assert str(open_store("qdrant://./q/docs").folder) == "q"
    assert open_store("chroma://host:8001/docs").address.port == 8001
    for url, words in {
        "mysql://host/db": "unknown scheme 'mysql'",
        "lance://docs": "lance://FOLDER/NAME",
        "lance://a/docs?colum=v": "unknown option 'colum'",
        "postgresql://host/db": "name the table",
        "postgresql://host/db?table=t&type=bit": "type must be",
        "postgresql://host:port/db?table=t": "not a URL",
        "chroma://host:8000/": "chroma://HOST:PORT/COLLECTION",
        "qdrant://host/a/b": "qdrant://HOST:PORT/COLLECTION",
        "weaviate://host/Docs?where=a": "no where= here: .*; tenant= names a part",
        "pinecone://api.pinecone.io/docs?where=a": "no where= here: .*; namespace= names a part",
        "redis://host/docs?where=a": "no where= here: all keys",
    }.items():
        with pytest.raises(ValueError, match=words):
            open_store(url)
    with pytest.raises(ValueError, match="in the URL"):
        open_store("lance://a/b", column="v")


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://ann:hunter2@127.0.0.1:1/db?table=docs&connect_timeout=2",
        "postgresql://ann:hunter2@127.0.0.1:1/db?table=docs&nonsense=1",
        "postgresql://127.0.0.1:1/db?table=docs&password=hunter2&connect_timeout=2",
        "postgresql://ann:hunter2@127.0.0.1:x/db?table=docs",
        "postgresql://ann:hunter2@\u2100/db?table=docs",
        "postgresql://ann:hunter2@127.0.0.1/db",
        "mysql://ann:hunter2@127.0.0.1/db",
        "qdrant://:hunter2@127.0.0.1:1/docs",
        "chroma://:hunter2@127.0.0.1:1/docs",
        "chroma://ann:hunter2@127.0.0.1:1/docs",
    ],
)
def test_credentials_are_never_told(url, caplog, capfd):
    clients = {"postgresql": "psycopg", "chroma": "chromadb", "qdrant": "qdrant_client"}
    if (scheme := url.partition(":")[0]) in clients:
        pytest.importorskip(clients[scheme])
    caplog.set_level(logging.DEBUG)
    with pytest.raises((ValueError, OSError)) as caught:
        store = open_store(url)
        assert "hunter2" not in str(store)
        store.schema()
    out, err = capfd.readouterr()
    assert "hunter2" not in str(caught.value) + out + err + caplog.text and "ann" not in str(caught.value)
    assert "\n" not in str(caught.value)
    printed = "".join(traceback.format_exception(caught.value))  # as a log would have it, the chain of causes too
    assert "hunter2" not in printed.replace(url, "")


def test_the_command_line_tells_no_credentials(capsys):
    pytest.importorskip("psycopg")
    from minivec import cli

    url = "postgresql://ann:hunter2@127.0.0.1:1/db?table=docs&connect_timeout=2"
    for arguments in (
        ["sample", url, "-o", "x.npy"],
        ["sample", url, url, "-o", "x.npy"],
        ["align", url, url, "-o", "x.keras"],
        ["migrate", url, url, "-a", "nothing.safetensors"],
        ["transform", url, "-a", "nothing.keras", "-o", "x.npy"],
        [url],
    ):
        with pytest.raises(SystemExit) as caught:
            cli.main(arguments)
        out, err = capsys.readouterr()
        assert caught.value.code == 2 and "hunter2" not in out + err and err.count("\n") == 1


def test_redact():
    assert redact("no postgresql://ann:p@ss@host/db here") == "no postgresql://***@host/db here"
    assert redact("https://h/?api_key=abc&x=1") == "https://h/?api_key=***&x=1"


def test_a_missing_client_says_what_to_install(monkeypatch, tmp_path):
    (tmp_path / "docs.lance").mkdir()
    for url, module, extra in [
        ("postgresql://h/db?table=t", "psycopg", "postgres"),
        (f"lance://{tmp_path}/docs", "lancedb", "lancedb"),
        ("chroma://h/docs", "chromadb.errors", "chroma"),
        ("qdrant://h/docs", "qdrant_client", "qdrant"),
    ]:
        monkeypatch.setitem(sys.modules, module, None)
        with pytest.raises(ImportError, match=rf"pip install '.\[{extra}\]' .* pip install 'minivec\[{extra}\]'"):
            open_store(url).count()


def test_what_is_missing_is_named(database, source):
    if database.in_place:  # a name is a column there, and not a table
        return
    missing = r"(?i)no (table|collection|index) '\S*none'|no such file|no vector named"
    with pytest.raises((ValueError, OSError), match=missing):
        open_store(database.source("none")).schema()
    if not database.columns:
        return
    with pytest.raises(ValueError, match="'w'.*there is.* ?v"):
        open_store(small.with_column(source, "w")).schema()


def test_lance_keys_and_nulls(tmp_path):
    database = MAKERS["lance"](tmp_path)
    database.fill("docs", X, null=7)
    with pytest.raises(ValueError, match="no column 'nokey'"):
        open_store(database.url("docs?key=nokey")).schema()
    with pytest.raises(ValueError, match="null instead of a vector in row"):
        list(open_store(database.url("docs?key=id")).blocks(100))
    missing = table(X)["id"][7].as_py()
    with pytest.raises(ValueError, match=rf"null instead of a vector in row {missing}$"):
        open_store(database.url("docs?key=id")).check()
    odd = table(X, null=7).rename_columns(["id", "text", "a \"b\" 'c'"])
    database.db.create_table("odd", odd)
    with pytest.raises(ValueError, match="null instead of a vector in row 7$"):
        open_store(database.url("odd")).check()
    rows = table(X).set_column(0, "id", pa.array([1, 1, *range(2, 60)]))
    database.db.create_table("twice", rows)
    with pytest.raises(ValueError, match="1 duplicate values, such as 1"):
        open_store(database.url("twice?key=id")).check()
    assert open_store(database.url("twice")).check() is None


def test_postgres_keys_nulls_and_names(tmp_path):
    database = Postgres(tmp_path)
    database.fill("docs", X, null=7)
    missing = table(X)["id"][7].as_py()
    with pytest.raises(ValueError, match=rf"NULL instead of a vector in 1 rows: id {missing}$"):
        open_store(database.url("docs")).check()
    with pytest.raises(ValueError, match=rf"NULL instead of a vector in row {missing}$"):
        list(open_store(database.url("docs")).blocks(100))
    with pytest.raises(ValueError, match="no column 'nokey'"):
        open_store(database.url("docs&key=nokey")).schema()
    database.run("CREATE TABLE nokey AS SELECT * FROM docs WHERE v IS NOT NULL")
    with pytest.raises(ValueError, match="no primary key"):
        open_store(database.url("nokey")).schema()
    assert open_store(database.url("nokey&key=id")).check() is None
    database.run("INSERT INTO nokey SELECT * FROM nokey WHERE id = 5")
    with pytest.raises(ValueError, match="'id' is not unique: 5 is in 2 rows"):
        open_store(database.url("nokey&key=id")).check()
    database.run("UPDATE nokey SET id = NULL WHERE id = 5")
    with pytest.raises(ValueError, match="'id' is NULL in 2 rows"):
        open_store(database.url("nokey&key=id")).check()
    database.run('CREATE TABLE "Robert\'); DROP TABLE docs;--" ("k""ey" text PRIMARY KEY, v halfvec(3))')
    database.run("INSERT INTO \"Robert'); DROP TABLE docs;--\" VALUES ('b\\\"{,}', '[1,2,3]'), ('a', '[3,2,1]')")
    odd = open_store(f"{database.uri}&table=Robert%27%29%3B+DROP+TABLE+docs%3B--")
    assert odd.keys() == ["a", 'b\\"{,}']
    np.testing.assert_array_equal(odd.fetch(['b\\"{,}', "a"]).vectors, [[1, 2, 3], [3, 2, 1]])
    database.run("CREATE TABLE loose (id int PRIMARY KEY, v vector)")
    database.run("INSERT INTO loose VALUES (1, '[1,2]'), (2, '[1,2,3]')")
    with pytest.raises(ValueError, match="several widths, 2 in 1 rows, 3 in 1 rows"):
        list(open_store(database.url("loose")).blocks(10))
    with pytest.raises(StoreError, match="permission|role|database"):
        open_store(database.uri.replace("postgres:@", "nobody:@") + "&table=docs").schema()


def test_the_benchmark_of_stores_still_finds_the_functions_that_it_times():
    for package in ("lancedb", "psycopg", "chromadb", "qdrant_client", "pymilvus", "redis", "duckdb", "faiss"):
        pytest.importorskip(package)
    watch = "from benchmarks import stores\nfor store in stores.STORES: stores.watch(store)"
    subprocess.run([sys.executable, "-W", "ignore", "-c", watch], cwd=Path(__file__).parents[2], check=True)
