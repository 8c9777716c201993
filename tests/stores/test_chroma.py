"""Chroma: its own server, folders of older versions, embedding functions, filters and changes."""

import json
import shutil
import sqlite3
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest

pytest.importorskip("chromadb")

import chromadb
from chromadb.api.types import Schema, StringInvertedIndexConfig, VectorIndexConfig

from chroma_server import chroma_server, faulty
from databases import Chroma
from minivec.map import LinearMap
from minivec.migrate import migrate, verify
from minivec.stores import StoreError, lease, open_store, requests, sample
from minivec.stores.chroma import folder as chroma_folder
from small import bridge, expected, same, vectors

pytestmark = pytest.mark.databases

X = vectors(60)
ADAPTER = bridge()


@pytest.fixture
def kind():
    return "chroma"


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    with chroma_server(tmp_path_factory.mktemp("chroma")) as (host, port):
        database = Chroma.__new__(Chroma)
        database.client, database.address = chromadb.HttpClient(host, port), f"chroma://{host}:{port}"
        yield database


@pytest.fixture
def server(served, monkeypatch):
    """The server, empty."""
    monkeypatch.setattr(lease, "SETTLED", 0.02)
    monkeypatch.setattr(requests, "PAUSES", (0.01,) * 4)  # Chroma asks three things before the first
    for collection in served.client.list_collections():
        served.client.delete_collection(collection.name)
    return served


def test_no_request_is_larger_than_the_server_takes(server):
    server.fill("docs", X)
    weights = dict(source_mean=np.zeros(6), target_mean=np.zeros(140_000), target_norm=1, expected_cosine=0.8)
    weights["W"] = np.random.default_rng(0).standard_normal((6, 140_000))
    wide = LinearMap(weights, {"verdict": "reliable", "confidence": 0.9})
    assert migrate(f"{server.address}/docs", f"{server.address}/new", wide).written == 60  # 45 MB in one request
    assert server.client.get_collection("new", embedding_function=None).count() == 60


@pytest.mark.parametrize("most", [-1, 7])
def test_the_number_of_rows_that_a_server_takes(database, monkeypatch, most):
    """Old servers say -1 and mean that there is no limit."""
    monkeypatch.setattr(type(database.client), "get_max_batch_size", lambda self: most)
    migrate(database.url("docs"), database.url("new"), ADAPTER, batch=25)
    same(database.read("new"), expected(X, ADAPTER))


# Two migrations at once.


def meanwhile(url, other, seen):
    def progress(done, total):
        with pytest.raises(StoreError, match="another migration is writing there"):
            migrate(f"{url}/docs", f"{url}/new", other)
        seen.append(done)

    return progress


def test_another_migration_into_the_same_collection_is_refused(server, database):
    server.fill("docs", X)
    for url in (server.address, f"chroma://{database.root}"):
        seen = []
        migrate(f"{url}/docs", f"{url}/new", ADAPTER, batch=25, progress=meanwhile(url, ADAPTER, seen))
        assert seen == [25, 50, 60]
        assert migrate(f"{url}/docs", f"{url}/new", ADAPTER).written == 0


@pytest.mark.parametrize("where", ["server", "folder"])
def test_two_maps_that_begin_at_once_are_not_mixed(server, database, where):
    server.fill("docs", X)
    url = server.address if where == "server" else f"chroma://{database.root}"
    maps, results, together = [bridge(seed=1), bridge(seed=2)], [None, None], threading.Barrier(2)

    def run(i):
        together.wait()
        try:
            migrate(f"{url}/docs", f"{url}/new", maps[i], batch=10)
            results[i] = True
        except (StoreError, ValueError) as error:
            results[i] = str(error)

    threads = [threading.Thread(target=run, args=(i,)) for i in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results.count(True) == 1, results
    same((server if where == "server" else database).read("new"), expected(X, maps[results.index(True)]))


def test_a_migration_that_was_taken_over_stops_and_a_crashed_one_does_not_block(server, monkeypatch):
    server.fill("docs", X)
    old, new = f"{server.address}/docs", f"{server.address}/new"
    record = {"owner": "another", "host": "elsewhere", "pid": 7, "beat": 3}
    with pytest.raises(StoreError, match="another migration is writing there: process 7 on elsewhere"):
        migrate(old, new, ADAPTER, batch=25, progress=lambda *_: open_store(new)._hold(record))
    assert server.client.get_collection("new", embedding_function=None).count() == 25
    monkeypatch.setattr(lease, "BEAT", 0.1)
    monkeypatch.setattr(lease, "PATIENCE", 0.4)
    assert migrate(old, new, ADAPTER).written == 35
    same(server.read("new"), expected(X, ADAPTER))


# Embedding functions and settings.


def test_embedding_functions_are_left_out_and_never_built(database, run, tmp_path, monkeypatch):
    """The package is not installed and there is no key: nothing needs either."""
    made = database.client.create_collection("embedded")
    made.add(["1", "2"], embeddings=X[:2], documents=["a", "b"])
    function = {"type": "known", "name": "openai", "config": {"api_key_env_var": "NO_KEY", "model_name": "old"}}
    with sqlite3.connect(database.root / "chroma.sqlite3") as raw:
        (schema,) = raw.execute("SELECT schema_str FROM collections WHERE name = 'embedded'").fetchone()
        default = '{"type":"known","name":"default","config":{}}'
        assert default in schema
        schema = schema.replace(default, json.dumps(function))
        raw.execute("UPDATE collections SET schema_str = ? WHERE name = 'embedded'", (schema,))
    ADAPTER.save(tmp_path / "bridge.safetensors")
    words = "migrate", database.url("embedded"), database.url("new"), "-a", tmp_path / "bridge.safetensors"
    for options in (["--dry-run"], []):
        code, _, err = run(*words, *options)
        assert code == 0 and "embedding function 'openai' is left out" in err
    new = database.client.get_collection("new", embedding_function=None)
    assert new.configuration_json["embedding_function"] == {"type": "legacy"}
    np.testing.assert_allclose(new.get(include=["embeddings"])["embeddings"], ADAPTER(X[:2]), atol=1e-6)


def test_the_settings_of_a_collection_are_carried_over(database):
    schema = Schema().delete_index(config=StringInvertedIndexConfig(), key="long")
    schema.create_index(config=VectorIndexConfig(space="ip"))
    made = database.client.create_collection("keys", schema=schema, metadata={"about": "texts"})
    made.add(["1"], embeddings=X[:1])
    hnsw = {"hnsw:space": "cosine", "hnsw:M": 5}
    database.client.create_collection("hnsw", metadata=hnsw, embedding_function=None).add(["1"], embeddings=X[:1])
    for name in ("keys", "hnsw"):
        migrate(database.url(name), database.url(f"new_{name}"), ADAPTER)
        old, new = (database.client.get_collection(n, embedding_function=None) for n in (name, f"new_{name}"))
        assert new.metadata == old.metadata and new.configuration_json["hnsw"] == old.configuration_json["hnsw"]
        keys = [set(collection._model.serialized_schema["keys"]) for collection in (old, new)]
        assert keys[0] == keys[1] and ("long" in keys[1]) == (name == "keys")


# Folders of an older Chroma.


def aged(folder):
    """Make a folder one of an older version: without the last upgrades."""
    with sqlite3.connect(folder / "chroma.sqlite3") as database:
        database.execute("ALTER TABLE collections DROP COLUMN schema_str")
        database.execute("DELETE FROM migrations WHERE dir = 'sysdb' AND version >= 10")
    database.close()


def bytes_of(folder):
    return {path.relative_to(folder): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_an_older_folder_is_upgraded_only_by_what_writes_to_it(database, tmp_path, run):
    old = tmp_path / "old"
    shutil.copytree(database.root, old)
    aged(old)
    before = bytes_of(old)
    assert chroma_folder.outdated(old) and not chroma_folder.outdated(database.root)
    ADAPTER.save(tmp_path / "bridge.safetensors")
    words = "migrate", f"chroma://{old}/docs", f"chroma://{old}/new", "-a", tmp_path / "bridge.safetensors"
    np.testing.assert_allclose(sample(f"chroma://{old}/docs", 60), sample(database.url("docs"), 60), atol=1e-6)
    code, _, err = run(*words, "--dry-run")
    assert code == 0 and "of an older Chroma: to write to it upgrades it for good" in err
    migrate(f"chroma://{old}/docs", database.url("from_old"), ADAPTER, verify="all")
    assert bytes_of(old) == before
    code, _, err = run(*words, "--verify-all")
    assert code == 0 and "of an older Chroma: to write to it upgrades it for good" in err
    assert not chroma_folder.outdated(old)
    assert open_store(f"chroma://{old}/new").count() == 60


# Filters and changes.


def test_a_filter_chooses_the_rows(database, run, tmp_path):
    where = '{"n":{"$lt":20}}'
    wanted = {key: row for key, row in expected(X, ADAPTER).items() if key < 20 and key % 2}
    url = database.url(f"docs?where={where}")
    assert sample(url, 60).shape == (10, 6)
    assert migrate(url, database.url("new"), ADAPTER, batch=3, verify="all").verified == 10
    same(database.read("new"), wanted)
    assert verify(url, database.url("new"), ADAPTER, 5) == 5
    for bad, words in (("n<20", "where must be a filter of Chroma as JSON"), ('{"$bad":1}', "Invalid where")):
        code, _, err = run("sample", database.url(f"docs?where={bad}"), "-o", tmp_path / "x.npy")
        assert code == 2 and err.count("\n") == 1 and words in err


def test_rows_that_change_meanwhile_are_caught_up_with(database):
    old = database.client.get_collection("docs", embedding_function=None)

    def meanwhile(done, total):
        if done == 40:
            old.upsert(["10", "11"], embeddings=-X[:2], documents=["changed", "changed too"])
            old.delete(["12", "13"])
            old.add(["100", "101"], embeddings=X[:2], documents=["come", "come too"], metadatas=[None, {"n": 101}])

    result = migrate(database.url("docs"), database.url("new"), ADAPTER, batch=20, verify="all", progress=meanwhile)
    assert (result.caught_up, result.verified, result.notes) == (6, 60, ())
    made = database.read("new")
    assert 12 not in made and made[100][0] == "come"
    np.testing.assert_allclose(made[10][1], ADAPTER(-X[0]), atol=1e-6)


def test_a_run_that_goes_on_says_that_it_cannot_tell_what_has_changed_before(database, run, tmp_path):
    ADAPTER.save(tmp_path / "bridge.safetensors")
    words = "migrate", database.url("docs"), database.url("new"), "-a", tmp_path / "bridge.safetensors"
    assert run(*words)[2] == ""
    database.client.get_collection("docs", embedding_function=None).update(["10"], embeddings=-X[:1])
    code, _, err = run(*words)
    assert code == 0 and "cannot tell whether rows were changed meanwhile" in err
    code, _, err = run(*words, "--verify-all")
    assert code == 2 and "another vector" in err and "row 10" in err


def test_verify_does_not_cry_wolf_over_numbers_that_were_rounded_again(database):
    """Chroma rounds the last digit of some numbers each time that it stores them."""
    old = database.client.create_collection("numbers", embedding_function=None)
    numbers = [-1.6418429525842199e-83, 7.883358121699449e-79, -1.3937346012620341e-247]
    old.add(["a", "b", "c"], embeddings=X[:3], metadatas=[{"x": number, "n": 1} for number in numbers])
    words = database.url("numbers"), database.url("new"), ADAPTER
    assert migrate(*words, verify="all").verified == 3
    new = database.client.get_collection("new", embedding_function=None)
    for changed in ({"x": 1.001 * numbers[1]}, {"x": numbers[1], "n": 2}, {"n": True}, {"y": 1}):
        new.update(["b"], metadatas=[{"x": numbers[1], "n": 1, **changed}])
        with pytest.raises(ValueError, match="other payload.* row b"):
            verify(*words, "all")
        new.update(["b"], metadatas=[{"x": numbers[1], "n": 1, "y": None}])


# What a server answers.


@pytest.fixture(params=[401, 403, 404, 429, 500, 503, "nonsense", "closed"])
def broken(request):
    """A server that answers every request in the same way."""

    class Handler(BaseHTTPRequestHandler):
        def answer(self):
            if request.param == "closed":
                return
            body = b'{"error": "InternalError", "message": "out of order"}'
            body = b"<html>" if request.param == "nonsense" else body
            self.send_response(200 if request.param == "nonsense" else request.param)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_POST = do_PUT = answer

        def log_message(self, *_):
            pass

    httpd = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=httpd.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    yield f"chroma://:hunter2@127.0.0.1:{httpd.server_port}"
    httpd.shutdown()
    httpd.server_close()


@pytest.mark.parametrize("status, tried", [(429, True), (502, True), (503, True), (504, True), (0, True), (500, False)])
def test_a_request_is_made_again_while_the_server_is_busy(server, status, tried):
    """The first answer to each path is a fault; what will not change is not tried again."""
    server.fill("docs", X)
    seen = []

    def before(method, path):
        seen.append((method, path))
        return status if seen.count((method, path)) == 1 else None

    with faulty(*server.address.removeprefix("chroma://").split(":"), before) as (host, port):
        words = f"chroma://{host}:{port}/docs", f"chroma://{host}:{port}/new", ADAPTER
        if tried:
            assert migrate(*words, batch=25, verify="all").verified == 60
            same(server.read("new"), expected(X, ADAPTER))
        else:
            with pytest.raises(StoreError):
                migrate(*words, batch=25)
            assert len(seen) == 1


def test_every_answer_of_a_server_is_one_line(broken, run, tmp_path, monkeypatch):
    monkeypatch.setattr(requests, "PAUSES", (0.01, 0.02))
    ADAPTER.save(tmp_path / "bridge.safetensors")
    for words in (
        ("sample", f"{broken}/docs", "-o", tmp_path / "x.npy"),
        ("migrate", f"{broken}/docs", f"{broken}/new", "-a", tmp_path / "bridge.safetensors"),
    ):
        code, out, err = run(*words)
        assert code == 2 and out == "" and err.count("\n") == 1 and "hunter2" not in err, err
