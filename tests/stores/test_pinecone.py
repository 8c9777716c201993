"""What only Pinecone has: namespaces, sparse vectors, limits of requests, answers that come late, and no aliases."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import small
from minivec.migrate import migrate, verify
from minivec.moving.cutover import cutover
from minivec.moving.texts import texts_of
from minivec.stores import StoreError, open_store
from minivec.stores.pinecone import rows
from minivec.stores.pinecone import writing as pinecone_writing
from small import bridge, expected, same

pytest.importorskip("pinecone")
X = small.vectors(40)
ADAPTER = bridge()
SPARSE = {"_sparse_values": {"type": "sparse_vector"}}


@pytest.fixture
def kind():
    return "pinecone"


def make(database, name, dimension=6, fields=None, **settings):
    schema = {"fields": fields or {"_values": {"type": "dense_vector", "dimension": dimension, "metric": "dotproduct"}}}
    database.client.indexes.create(name=name, schema=schema, **settings)


def put(database, name, records, namespace=""):
    database.index(name).upsert(vectors=records, namespace=namespace)
    last = records[-1]["id"]
    database.wait(lambda: last in database.index(name).fetch(ids=[last], namespace=namespace).vectors)


def record(i, **more):
    return {"id": f"r{i}", "values": [float(number) for number in X[i]], **more}


def stored(database, name, namespace="__default__"):
    return database.server.indexes[name].read(namespace)


def refused(run, *words):
    code, out, err = run(*words)
    lines = [line for line in err.splitlines() if not line.startswith("minivec: note:")]
    assert code == 2 and out == "" and len(lines) == 1, err
    return lines[0]


def test_metadata_sparse_vectors_and_settings_are_carried_over(database):
    deployment = {"deployment_type": "managed", "cloud": "gcp", "region": "europe-west4"}
    dense = {"_values": {"type": "dense_vector", "dimension": 6, "metric": "dotproduct"}}
    settings = {"tags": {"team": "search"}, "deletion_protection": "enabled"}
    make(database, "all", fields=dense | SPARSE, deployment=deployment, **settings)
    metadata = {"t": "é", "n": 3, "x": 0.5, "b": True, "l": ["a", "ü"]}
    sparse = {"indices": [1, 4_000_000_000], "values": [0.5, 0.25]}
    put(
        database,
        "all",
        [record(i, **({"metadata": metadata, "sparse_values": sparse} if i else {})) for i in range(40)],
    )
    migrate(database.url("all"), database.url("new"), ADAPTER, batch=9, verify="all")
    before, after = stored(database, "all"), stored(database, "new")
    assert before.keys() == after.keys()
    for key, row in before.items():
        made = dict(after[key])
        np.testing.assert_allclose(made.pop("values"), ADAPTER(np.float32(row["values"])), atol=1e-5)
        assert made == {name: value for name, value in row.items() if name != "values"}
    old, new = (database.server.indexes[name].info for name in ("all", "new"))
    assert new["schema"]["fields"]["_values"] == {"type": "dense_vector", "dimension": 8, "metric": "dotproduct"}
    assert "_sparse_values" in new["schema"]["fields"] and new["deployment"] == deployment
    assert all(new[name] == old[name] for name in settings)


def test_each_namespace_is_migrated_into_the_same_new_index(database):
    make(database, "shop")
    for namespace in ("north", "south"):
        sign = 1 if namespace == "north" else -1
        rows = [record(i) | {"values": [sign * float(number) for number in X[i]]} for i in range(40)]
        put(database, "shop", rows, namespace)
    for namespace, sign in (("north", 1), ("south", -1)):
        old, new = (database.url(f"{name}?namespace={namespace}") for name in ("shop", "new"))
        assert migrate(old, new, ADAPTER, batch=9, verify="all").verified == 40
        np.testing.assert_allclose(stored(database, "new", namespace)["r3"]["values"], ADAPTER(sign * X[3]), atol=1e-5)
        assert migrate(old, new, ADAPTER).written == 0
    assert database.server.indexes["new"].spaces.keys() == {"north", "south", "minivec-migrations"}


def test_an_index_that_is_there_takes_a_namespace_if_it_fits_and_is_empty(database, run, tmp_path):
    ADAPTER.save(tmp_path / "bridge.safetensors")
    words = "migrate", database.url("docs"), database.url("made"), "-a", tmp_path / "bridge.safetensors"
    make(database, "made", 7)
    for more in (["--dry-run"], []):
        assert "vectors of 7 dimensions, not 8" in refused(run, *words, *more)
    database.client.indexes.delete("made")
    make(database, "made", 8)
    assert run(*words, "--verify-all")[0] == 0
    make(database, "full", 8)
    database.index("full").upsert(vectors=[{"id": "a", "values": [1.0] * 8}])
    database.wait(lambda: stored(database, "full"))
    assert "no migration has made it" in refused(run, *words[:2], database.url("full"), *words[3:])


def test_an_index_that_embeds_texts_is_read_and_never_written(database, run, tmp_path, monkeypatch):
    text = {"chunk": {"type": "semantic_text", "model": "e5", "metric": "cosine"}}
    monkeypatch.setattr(database.server, "embedded", 6)
    make(database, "texts", fields=text)
    put(database, "texts", [record(i, metadata={"chunk": f"text {i}"}) for i in range(40)])
    result = migrate(database.url("texts"), database.url("new"), ADAPTER, batch=9, verify="all")
    assert any("'e5' would embed texts and queries by the old model" in note for note in result.notes)
    assert list(database.server.indexes["new"].info["schema"]["fields"]) == ["_values"]
    ADAPTER.save(tmp_path / "bridge.safetensors")
    words = "migrate", database.url("docs"), database.url("texts?namespace=n"), "-a", tmp_path / "bridge.safetensors"
    assert "makes its vectors of texts by a model of its own" in refused(run, *words)


def test_indexes_of_pods_and_of_documents_are_refused(database, run, tmp_path):
    make(
        database,
        "old",
        deployment={"deployment_type": "pod", "environment": "e", "pod_type": "p1.x1", "replicas": 1, "shards": 1},
    )
    make(database, "papers", fields={"v": {"type": "dense_vector", "dimension": 6, "metric": "cosine"}})
    for name, told in (("old", "an index of pods cannot list its ids"), ("papers", "an index of documents")):
        assert told in refused(run, "sample", database.url(name), "-o", tmp_path / "x.npy")


def test_what_is_written_late_is_waited_for_and_then_told(database, monkeypatch):
    monkeypatch.setattr(database.server, "delay", 0.4)
    assert migrate(database.url("docs"), database.url("new"), ADAPTER, batch=20, verify="all").verified == 40
    with open_store(database.url("new")) as store:
        state = store.checkpoint()
        store.resume(state)
        store.remove(["3"], state)
        assert store.count() == 39
        monkeypatch.setattr(pinecone_writing, "SEEN", 0.1)
        with pytest.raises(StoreError, match="was written, and is not read after"):
            store.remove(["4"], state)
            store.count()


def test_requests_stay_below_the_limits(database, monkeypatch):
    sizes, wide = [], small.vectors(60, 1_536)
    database.fill("wide", wide)
    upsert = type(database.server.indexes["wide"]).upsert

    def sized(self, body):
        sizes.append((len(json.dumps(body)), len(body["vectors"])))
        return upsert(self, body)

    monkeypatch.setattr(type(database.server.indexes["wide"]), "upsert", sized)
    migrate(database.url("wide"), database.url("new"), bridge(1_536, 1_536), batch=60, verify="all")
    assert max(size for size, _ in sizes) <= 2_000_000 and len([rows for _, rows in sizes if rows > 1]) >= 2
    ids = [f"{i:0500}" for i in range(100)]
    parts = list(rows.parts(ids))
    assert [key for part in parts for key in part] == ids and max(len("".join(part)) for part in parts) < rows.ADDRESS
    assert [len(part) for part in rows.parts([*map(str, range(2_500))])][0] <= rows.IDS


def test_a_request_that_is_refused_as_too_large_is_split(database, monkeypatch):
    from pinecone_server import Index, Refused

    whole, sizes = Index.upsert, []

    def upsert(self, body):
        if len(body["vectors"]) > 15:
            raise Refused(400, "request size 3000000 exceeds the maximum supported size of 2097152 bytes")
        sizes.append(len(body["vectors"]))
        return whole(self, body)

    monkeypatch.setattr(Index, "upsert", upsert)
    migrate(database.url("docs"), database.url("new"), ADAPTER, batch=40, verify="all")
    same(database.read("new"), expected(X, ADAPTER))
    assert max(sizes) > 1


def test_a_busy_service_is_asked_again_when_it_says(database, monkeypatch):
    from pinecone_server import Refused

    busy = ["POST /data/docs/describe_index_stats", "GET /data/docs/vectors/list"]

    def before(what):
        if what in busy:
            busy.remove(what)
            raise Refused(429, "Too Many Requests", {"Retry-After": "0"})

    monkeypatch.setattr(database.server, "before", before)
    with open_store(database.url("docs")) as store:
        assert store.count() == len(store.keys()) == 40 and not busy


def test_records_that_pinecone_does_not_take_are_named_before_anything_is_written(database, run, tmp_path):
    import pyarrow as pa
    import pyarrow.parquet as pq

    base = small.table(X)
    odd = {
        "no id of Pinecone": pa.array(["é"] + [f"k{i}" for i in range(39)]),
        "metadata of more than": pa.array(["x" * 50_000] * 40),
        "beyond 2": pa.array([2**60] * 40),
        "NaN or infinity": pa.array([float("nan")] * 40),
    }
    for told, column in odd.items():
        pq.write_table(base.append_column("odd", column), tmp_path / "old.parquet")
        source = f"{tmp_path}/old.parquet?column=v"
        if "id" in told.split():
            lancedb = pytest.importorskip("lancedb")
            lancedb.connect(str(tmp_path)).create_table("old", base.append_column("odd", column), mode="overwrite")
            source = f"lance://{tmp_path}/old?column=v&key=odd"
        err = refused(run, "migrate", source, database.url("new"), "--dry-run")
        assert told in err, err
    assert database.left() == ["docs"]


def test_keys_and_values_of_another_kind_come_back(database, tmp_path):
    import pyarrow.parquet as pq

    pq.write_table(small.table(X), tmp_path / "old.parquet")
    old, new = f"{tmp_path}/old.parquet?column=v", database.url("new")
    migrate(old, new, ADAPTER, batch=9, verify="all")
    assert verify(old, new, ADAPTER, "all") == 40
    assert stored(database, "new")["7"]["metadata"].keys() == {"row_number", "id", "text"}


def test_fields_of_the_metadata_are_texts_to_embed(database):
    texts = texts_of(database.url("docs"), None, None, 0)
    assert dict(zip(texts.keys, texts.texts, strict=True))["7"] == "text 7"


def test_a_cut_over_is_said_to_be_of_the_configuration(database):
    migrate(database.url("docs"), database.url("new"), ADAPTER)
    with pytest.raises(ValueError, match="no aliases: let the application's configuration name the index 'new'"):
        cutover(database.url("docs"), database.url("new"), ADAPTER)


def test_the_key_is_sent_and_never_shown(database, monkeypatch, run, tmp_path):
    place, path = database.url("docs"), tmp_path / "x.npy"
    err = refused(run, "sample", place.replace("test-key", "wr-ong"), "-o", path)
    assert "Invalid API Key" in err and "wr-ong" not in err
    monkeypatch.delenv("PINECONE_API_KEY", raising=False)
    bare = place.replace(":test-key@", "")
    assert "No API key" in refused(run, "sample", bare, "-o", path)
    monkeypatch.setenv("PINECONE_API_KEY", "test-key")
    assert run("sample", bare, "-o", path)[0] == 0
    with open_store(bare) as store, pytest.raises(StoreError) as caught, store.guard():
        raise RuntimeError("the key test-key is odd")
    assert "***" in str(caught.value) and "test-key" not in str(caught.value)


def test_what_is_no_address_of_pinecone_is_refused(database, run, tmp_path):
    for url in ("pinecone:///docs", "pinecone://host", "pinecone://host/a/b", "pinecone://a-1.svc.x.pinecone.io/a"):
        with pytest.raises(ValueError, match="with the host of the control plane"):
            open_store(url)
    for url, told in (("?nope=1", "unknown option"), ("?namespace=minivec-migrations", "is for the states")):
        with pytest.raises(ValueError, match=told):
            open_store(f"pinecone://api.pinecone.io/docs{url}")
    assert "no index 'none'" in refused(run, "sample", database.url("none"), "-o", tmp_path / "x.npy")


# Notes, and runs that meet.


def test_a_state_that_is_too_long_for_a_record_is_refused_before_anything_is_made(tmp_path, database):
    (tmp_path / "parts").mkdir()
    for i in range(600):
        pq.write_table(pa.table({"id": [i], "v": [X[0]]}), tmp_path / "parts" / f"part-of-a-long-name-{i:020}.parquet")
    with pytest.raises(ValueError, match=r"state of this .* at most 40,960; .*join them") as caught:
        migrate(tmp_path / "parts", database.url("new"), ADAPTER)
    assert "\n" not in str(caught.value) and list(database.server.indexes) == ["docs"]


@pytest.mark.parametrize("moment", ["planned", "noted", "asked"])
def test_of_two_runs_that_begin_together_the_second_ends_and_harms_nothing(database, monkeypatch, moment):
    """The index is made by the other one before the state is noted, before it is asked for, or while it is."""
    store, old, new = type(open_store(database.url("new"))), database.source(), database.url("new")

    def meet():
        monkeypatch.undo()
        migrate(old, new, ADAPTER, batch=10)

    if moment == "asked":
        body = {"name": "new", "schema": {"fields": {"_values": {"dimension": 8, "metric": "cosine"}}}}

        def before(what):
            if what == "POST /indexes":
                database.server.before = lambda what: None
                database.server.create(body)

        database.server.before = before
    else:
        name = "_plan" if moment == "planned" else "_make"
        method = getattr(store, name)

        def later(self, *given):
            meet()
            return method(self, *given)

        monkeypatch.setattr(store, name, later)
    with pytest.raises(StoreError, match="another migration has made the index meanwhile") as caught:
        migrate(old, new, ADAPTER, batch=10)
    assert "\n" not in str(caught.value)
    if moment == "asked":
        assert database.server.indexes["new"].spaces == {}
        return
    same(database.read("new"), expected(X, ADAPTER))
    assert migrate(old, new, ADAPTER, verify="all").written == 0
