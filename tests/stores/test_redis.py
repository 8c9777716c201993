"""What only Redis has: hashes and JSON documents, prefixes, keys that expire, types of vectors, and its faults."""

import json
import time

import numpy as np
import pytest

import small
from databases import MAKERS
from minivec.migrate import migrate, verify
from minivec.moving.texts import texts_of
from minivec.stores import open_store
from minivec.stores import requests as sending
from minivec.stores.redis import RedisStore
from minivec.stores.redis import index as redis_index
from small import bridge, expected, same

pytest.importorskip("redis")
X = small.vectors(40)
ADAPTER = bridge()
BYTES = b"\xff\x00\xfe"  # which are no text


@pytest.fixture
def kind():
    return "redis"


def ask(database, *words):
    return database.client.execute_command(*words)


def told(database, name):
    """What the server tells of an index, its own counts aside."""
    info = redis_index.plain(ask(database, "FT.INFO", name))
    return {key: info.get(key) for key in ("index_definition", "attributes", "index_options", "stopwords_list")}


def test_every_field_of_a_hash_and_every_setting_of_the_index_is_carried_over(database):
    words = "FT.CREATE all ON HASH PREFIX 1 all: FILTER @n>=0 LANGUAGE german SCORE 0.5 STOPWORDS 2 der die SCHEMA"
    words += " title AS t TEXT WEIGHT 2 NOSTEM SORTABLE tag TAG SEPARATOR | CASESENSITIVE n NUMERIC SORTABLE g GEO"
    words += " w VECTOR FLAT 6 TYPE FLOAT64 DIM 3 DISTANCE_METRIC L2"
    words += " v VECTOR HNSW 10 TYPE FLOAT32 DIM 6 DISTANCE_METRIC COSINE M 8 EF_CONSTRUCTION 64"
    ask(database, *words.split())
    for i, x in enumerate(X):
        row = {"title": f"ü {i}", "tag": "a|b", "n": i, "g": "13.4,52.5", "w": np.full(3, float(i)).tobytes()}
        row |= {"loose": "x", "bytes": BYTES, b"\xff": "odd name", "v": x.tobytes()}
        database.client.hset(f"all:{i}", mapping=row)
    migrate(database.url("all?column=v"), database.url("new"), ADAPTER, batch=9, verify="all")
    for i in range(40):
        before, after = (database.client.hgetall(f"{prefix}:{i}") for prefix in ("all", "new"))
        vector = np.frombuffer(after.pop(b"v"), np.float32)
        np.testing.assert_allclose(vector, ADAPTER(np.frombuffer(before.pop(b"v"), np.float32)), atol=1e-5)
        assert before == after and len(after) == 8
    old, new = told(database, "all"), told(database, "new")
    assert new["index_definition"].pop("prefixes") == ["new:"]
    del old["index_definition"]["prefixes"]
    by_name = [{item["attribute"]: item for item in info.pop("attributes")} for info in (old, new)]
    assert by_name[1]["v"].pop("dim") == 8 and by_name[0]["v"].pop("dim") == 6
    assert old == new and by_name[0] == by_name[1]
    assert ask(database, "FT.INFO", "new")[b"hash_indexing_failures"] == 0
    query = ["*=>[KNN 1 @v $q]", "PARAMS", "2", "q", ADAPTER(X[3]).astype(np.float32).tobytes(), "DIALECT", "2"]
    found = ask(database, "FT.SEARCH", "new", *query)
    assert found[b"results"][0][b"id"] == b"new:3"


def test_vectors_deep_in_a_json_document_are_mapped_in_their_place(database):
    words = "FT.CREATE deep ON JSON PREFIX 1 deep: SCHEMA $.a.vector AS v VECTOR FLAT 6 TYPE FLOAT32 DIM 6"
    ask(database, *words.split(), "DISTANCE_METRIC", "L2", "$.tags[*]", "AS", "tags", "TAG")
    for i, x in enumerate(X):
        document = {"a": {"vector": x.tolist(), "n": i}, "tags": ["x", "ü"], "none": None}
        ask(database, "JSON.SET", f"deep:{i}", "$", json.dumps(document))
    migrate(database.url("deep"), database.url("new"), ADAPTER, batch=9, verify="all")
    document = json.loads(ask(database, "JSON.GET", "new:7"))
    np.testing.assert_allclose(document["a"].pop("vector"), ADAPTER(X[7]), atol=1e-5)
    assert document == {"a": {"n": 7}, "tags": ["x", "ü"], "none": None}


def test_a_path_of_several_vectors_is_refused(database, run, tmp_path):
    words = "FT.CREATE many ON JSON PREFIX 1 many: SCHEMA $.v[*] AS v VECTOR FLAT 6 TYPE FLOAT32 DIM 6"
    ask(database, *words.split(), "DISTANCE_METRIC", "L2")
    ask(database, "JSON.SET", "many:1", "$", json.dumps({"v": [X[0].tolist(), X[1].tolist()]}))
    code, out, err = run("sample", database.url("many"), "-o", tmp_path / "x.npy")
    assert code == 2 and err.count("\n") == 1 and "plain names" in err, err


@pytest.mark.parametrize("number", ["FLOAT64", "FLOAT16", "BFLOAT16"])
def test_vectors_of_other_numbers_keep_their_type(database, number):
    from minivec.stores.packing import pack, unpack

    database.fill("other", X, kind=number, prefix="other:")
    for i, blob in zip(small.table(X)["id"].to_pylist(), pack(X, number), strict=True):
        database.client.hset(f"other:{i}", "v", blob)
    migrate(database.url("other"), database.url("new"), ADAPTER, batch=9, verify="all")
    row = small.table(X).to_pylist()[5]
    x = unpack([database.client.hget(f"new:{row['id']}", "v")], number, 8)[0]
    np.testing.assert_allclose(x, ADAPTER(X[5]), atol=0.02)
    assert ask(database, "FT.INFO", "new")[b"attributes"][-1][b"data_type"] == number.encode()


def test_keys_that_expire_do_so_at_the_same_time(database):
    later = int(time.time() * 1000) + 3_600_000
    database.client.pexpireat("docs/3", later)
    result = migrate(database.source(), database.url("new"), ADAPTER, batch=9, verify="all")
    assert database.client.pexpiretime("new:3") == later and database.client.pexpiretime("new:4") == -1
    assert any("expire" in note for note in result.notes)


def test_a_new_field_keeps_times_and_brings_no_row_back_that_has_gone(database):
    database.client.pexpireat("docs/3", int(time.time() * 1000) + 3_600_000)
    gone = small.once(lambda: database.client.delete("docs/7", "docs/9"))
    migrate(database.source(), database.url("docs?column=new"), ADAPTER, batch=39, progress=gone)
    assert database.client.exists("docs/7", "docs/9") == 0
    assert database.client.pttl("docs/3") > 0
    assert len(database.client.hget("docs/4", "new")) == 32 and len(database.client.hget("docs/4", "v")) == 24


def test_a_row_without_a_vector_gets_none_in_a_new_field(database):
    database.client.hdel("docs/3", "v")
    migrate(database.source(), database.url("docs?column=new"), ADAPTER, batch=9, skip_nulls=True, verify="all")
    assert database.client.hget("docs/3", "new") is None and database.client.hget("docs/4", "new") is not None


def test_new_keys_never_begin_as_those_of_the_source(database, run, tmp_path):
    database.fill("short", X[:5], prefix="do")
    ask(database, "FT.DROPINDEX", "docs", "DD")
    migrate(database.url("short"), database.url("docs_2"), ADAPTER)
    assert told(database, "docs_2")["index_definition"]["prefixes"] == ["new:docs_2:"]
    database.client.flushall()
    database.fill("everything", X[:5], prefix="")
    ADAPTER.save(tmp_path / "bridge.safetensors")
    words = "migrate", database.url("everything"), database.url("new"), "-a", tmp_path / "bridge.safetensors"
    for more in ((), ("--dry-run",)):
        code, _, err = run(*words, *more)
        assert code == 2 and err.count("\n") == 1 and "name a new attribute" in err, err


def test_several_prefixes_are_read_and_their_keys_kept_apart(database):
    words = "FT.CREATE two ON HASH PREFIX 2 a: b: SCHEMA v VECTOR FLAT 6 TYPE FLOAT32 DIM 6 DISTANCE_METRIC L2"
    ask(database, *words.split())
    for prefix in "ab":
        for i in range(5):
            database.client.hset(f"{prefix}:{i}", "v", X[i].tobytes())
    migrate(database.url("two"), database.url("new"), ADAPTER, batch=3, verify="all")
    assert sorted(database.client.keys("new:*")) == sorted(f"new:{p}:{i}".encode() for p in "ab" for i in range(5))


def test_a_vector_of_another_length_is_named(database, run, tmp_path):
    database.client.hset("docs/3", "v", b"1234567")
    code, _, err = run("sample", database.source(), "-o", tmp_path / "x.npy")
    assert code == 2 and err.count("\n") == 1 and "other than 6 numbers of FLOAT32 in row 3" in err, err


def test_requests_are_split_by_their_bytes(database, monkeypatch):
    sizes, ask_all = [], RedisStore._ask_all

    def counted(self, commands):
        sizes.extend([len(commands) // 2] if commands[0][0] == "DEL" else [])
        return ask_all(self, commands)

    monkeypatch.setattr(RedisStore, "_ask_all", counted)
    monkeypatch.setattr(sending, "BYTES", 3_000)
    with open_store(database.url("new")) as store:
        store._requests._limit = 3_000
        migrate(database.source(), store, ADAPTER, batch=40)
    assert len(sizes) > 1 and sum(sizes) == 40
    monkeypatch.undo()
    same(database.read("new"), expected(X, ADAPTER))


def test_fields_of_a_row_are_texts_to_embed(database):
    texts = texts_of(database.source(), None, None, 0)
    assert dict(zip(texts.keys, texts.texts, strict=True))["7"] == "text 7"


def test_whole_numbers_stay_keys_of_rows_from_another_kind(database, tmp_path):
    import pyarrow.parquet as pq

    pq.write_table(small.table(X), tmp_path / "old.parquet")
    migrate(f"{tmp_path}/old.parquet", database.url("new"), ADAPTER, batch=9, verify="all")
    assert verify(f"{tmp_path}/old.parquet", database.url("new"), ADAPTER, "all") == 40
    assert b"text" in database.client.hgetall("new:11")


def test_what_is_no_address_of_redis_is_refused(database, run, tmp_path):
    for url in ("redis:///docs", "redis://host", "redis://host/docs?nope=1"):
        with pytest.raises(ValueError, match="expected redis|unknown option"):
            open_store(url)
    for url in (database.url("none"), "redis://:secret@127.0.0.1:9/docs"):
        code, out, err = run("sample", url, "-o", tmp_path / "x.npy")
        assert code == 2 and out == "" and err.count("\n") == 1 and "secret" not in err, err


def test_a_row_is_kept_without_a_vector_in_json(tmp_path):
    database = MAKERS["redis json"](tmp_path)
    database.fill("docs", X, null=4)
    migrate(database.source(), database.url("new"), ADAPTER, batch=9, skip_nulls=True, verify="all")
    assert [x for _, x in database.read("new").values() if x is None] == [None]
