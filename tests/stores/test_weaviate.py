"""What only Weaviate has: named vectors, tenants, types of properties, references, aliases, and its answers."""

import datetime
import uuid

import numpy as np
import pytest

import small
from minivec.migrate import migrate, verify
from minivec.moving.cutover import cutover, rollback
from minivec.moving.texts import texts_of
from minivec.stores import StoreError, open_store, requests
from small import bridge, expected, same
from weaviate_database import uuid_of

pytest.importorskip("weaviate")
from weaviate.classes.data import DataObject, GeoCoordinate, PhoneNumber  # noqa: E402

from weaviate_server import Refused  # noqa: E402

X = small.vectors(40)
ADAPTER = bridge()
TIME = datetime.datetime(2024, 2, 29, 12, 30, 1, 5, datetime.UTC)
NONE = {"vectorizer": {"none": {}}, "vectorIndexType": "hnsw"}
TYPES = {  # of properties, and a value of each
    "text": 'é "%', "int": -(2**40), "number": 1e300, "boolean": True, "date": TIME, "uuid": uuid.UUID(int=5),
    "blob": "AP8=", "geoCoordinates": GeoCoordinate(latitude=52.52, longitude=-13.4),
    "phoneNumber": PhoneNumber(number="030 1234567", default_country="DE"),
    "text[]": ["a", "é"], "int[]": [2**60, 1], "number[]": [0.5, 2.0], "boolean[]": [True, False], "date[]": [TIME],
    "uuid[]": [uuid.UUID(int=7)], "object": {"a": 1, "b": {"c": "x"}}, "object[]": [{"a": 2}, {"a": 3}],
}  # fmt: skip
NESTED = [
    {"name": "a", "dataType": ["int"]},
    {"name": "b", "dataType": ["object"], "nestedProperties": [{"name": "c", "dataType": ["text"]}]},
]


@pytest.fixture
def kind():
    return "weaviate"


def make(database, name, **settings):
    return database.client.collections.create_from_dict({"class": name, **settings})


def put(database, name, key, x, more=None, **parts):
    """Write an object; ``x`` is a vector, or several by name."""
    row = DataObject(properties=more or {}, uuid=uuid_of(key), vector=x, **parts)
    assert not database.collection(name).data.insert_many([row]).errors


def plain(x):
    return [float(number) for number in x]


def schema(database, name):
    return database.server.classes[name]


def stored(database, name, tenant=""):
    return database.server.objects[name][tenant]


def refused(run, *words):
    code, out, err = run(*words)
    lines = [line for line in err.splitlines() if not line.startswith("minivec: note:")]
    assert code == 2 and out == "" and len(lines) == 1, err
    return lines[0]


@pytest.fixture
def every(database):
    """A collection with a property of each type, references and several vectors; the first object has no values."""
    make(database, "Author", vectorConfig={"v": NONE})
    named = {f"p{i}": kind for i, kind in enumerate(TYPES)}
    props = [{"name": name, "dataType": [kind]} for name, kind in named.items()]
    for prop in props:
        prop |= {"nestedProperties": NESTED} if prop["dataType"][0].startswith("object") else {}
    props += [{"name": "author", "dataType": ["Author"]}, {"name": "next", "dataType": ["Every"]}]
    props += [{"name": "title", "dataType": ["text"]}, {"name": "uuid", "dataType": ["text"]}]
    index = {"distance": "dot", "ef": 77, "pq": {"enabled": True, "segments": 3}, "novelty": 1}
    vectors = {"v": NONE | {"vectorIndexConfig": index}, "title": NONE}
    vectors["many"] = NONE | {"vectorIndexConfig": {"multivector": {"enabled": True}}}
    make(
        database, "Every", properties=props, vectorConfig=vectors, description="all", shardingConfig={"desiredCount": 2}
    )
    put(database, "Author", 9, {"v": [1.0, 2.0]})
    values = {name: TYPES[kind] for name, kind in named.items()} | {"title": "t", "uuid": "u"}
    put(database, "Every", 0, {"v": plain(X[0])})
    for i in range(1, 40):
        x = {"v": plain(X[i]), "title": [0.5, float(i)], "many": [[1.0, 2.0], [3.0, 4.0]]}
        put(database, "Every", i, x, values, references={"author": [uuid_of(9)], "next": [uuid_of(0), uuid_of(i - 1)]})
    return database


def test_every_type_reference_vector_and_setting_is_carried_over(every):
    result = migrate(every.url("every?column=v"), every.url("new"), ADAPTER, batch=9, verify="all")
    assert verify(every.url("every?column=v"), every.url("new"), ADAPTER, "all") == 40
    before, after = stored(every, "Every"), stored(every, "New")
    assert before.keys() == after.keys()
    for key, row in before.items():
        vectors = dict(after[key]["vectors"])
        x = np.frombuffer(vectors.pop("v")[1], np.float32)
        np.testing.assert_allclose(x, ADAPTER(np.frombuffer(row["vectors"]["v"][1], np.float32)), atol=1e-5)
        assert vectors == {name: vector for name, vector in row["vectors"].items() if name != "v"}
        assert after[key]["values"] == {name: value for name, value in row["values"].items() if value is not None}
        assert after[key]["refs"] == row["refs"]
    old, new = schema(every, "Every"), schema(every, "New")
    assert [prop["dataType"] for prop in new["properties"] if prop["name"] in ("author", "next")] == [
        ["Author"],
        ["New"],
    ]
    index = new["vectorConfig"].pop("v")["vectorIndexConfig"]
    assert index.pop("pq") == {"enabled": True, "segments": 0}  # 8 is no multiple of 3
    wanted = old["vectorConfig"].pop("v")["vectorIndexConfig"]
    del wanted["pq"]
    assert index == wanted and index["ef"] == 77 and index["novelty"] == 1
    for config in (old, new):
        del config["class"], config["properties"]
    assert old == new
    told = " ".join(result.notes)
    assert "dates are kept in UTC" in told and "segments of the product quantizer" in told


def test_every_type_comes_to_another_kind_and_back(every, tmp_path):
    import pyarrow.parquet as pq

    migrate(every.url("every?column=v"), f"{tmp_path}/parts", verify="all")
    row = next(row for row in pq.read_table(tmp_path / "parts").to_pylist() if row["uuid_"] == uuid_of(3))
    assert (row["p1"], row["p4"], row["p5"], row["p6"]) == (-(2**40), TIME, str(uuid.UUID(int=5)), b"\0\xff")
    assert row["p7"] == '{"latitude": 52.52, "longitude": -13.4}' and row["p10"] == [2**60, 1]
    assert row["author"] == [uuid_of(9)] and row["title_vector"] == [0.5, 3] and row["many"] == [[1, 2], [3, 4]]
    assert row["p15"] == '{"a": 1, "b": {"c": "x"}}' and row["title"] == "t" and row["uuid"] == "u"
    result = migrate(f"{tmp_path}/parts?column=v", every.url("back"), verify="all")
    back = {row["values"]["title"]: row for row in stored(every, "Back").values() if row["values"].get("title")}["t"]
    first = next(iter(stored(every, "Every").values()))["values"]
    assert back["values"]["p10"] == [2**60, 1] and "p10" not in first
    assert back["values"]["p4"].startswith("2024-02-29T12:30:01.000005") and back["values"]["p6"] == "AP8="
    assert "columns become texts: " in " ".join(result.notes) and len(stored(every, "Back")) == 40


def test_a_property_that_is_called_like_its_vector_keeps_apart(every):
    put(every, "Every", 0, {"v": plain(X[0]), "title": [0.5, 0.0], "many": [[1.0, 2.0]]})
    two = bridge(2, 2)
    migrate(every.url("every?column=title"), every.url("new"), two, batch=9, verify="all")
    row, old = stored(every, "New")[uuid_of(3)], stored(every, "Every")[uuid_of(3)]
    assert row["values"]["title"] == "t" and row["vectors"]["v"] == old["vectors"]["v"]
    np.testing.assert_allclose(
        np.frombuffer(row["vectors"]["title"][1], np.float32), two(np.array([[0.5, 3.0]]))[0], 1e-5
    )


def test_a_vector_without_a_name_stays_one_and_loses_its_vectorizer(database, run):
    module = {"text2vec-openai": {"model": "ada"}, "generative-openai": {"model": "x"}}
    props = [{"name": "text", "dataType": ["text"], "moduleConfig": {"text2vec-openai": {"skip": True}}}]
    settings = {"vectorizer": "text2vec-openai", "moduleConfig": module, "vectorIndexConfig": {"distance": "dot"}}
    make(database, "Old", properties=props, **settings)
    for i, x in enumerate(X):
        put(database, "Old", i, plain(x), {"text": f"text {i}"})
    result = migrate(database.url("old"), database.url("new"), ADAPTER, batch=9, verify="all")
    assert any("'text2vec-openai' would embed texts and queries by the old model" in note for note in result.notes)
    made = schema(database, "New")
    assert made["vectorizer"] == "none" and made["vectorIndexConfig"]["distance"] == "dot"
    assert made["moduleConfig"] == {"generative-openai": {"model": "x"}} and made["properties"][0]["moduleConfig"] == {}
    x = np.frombuffer(stored(database, "New")[uuid_of(3)]["vectors"][""][1], np.float32)
    np.testing.assert_allclose(x, ADAPTER(X[3]), atol=1e-5)
    migrate(database.url("old"), database.url("named?column=w"), ADAPTER, batch=9, verify="all")
    assert list(schema(database, "Named")["vectorConfig"]) == ["w"]


def test_a_vector_without_a_name_beside_named_ones_is_refused(database, run, tmp_path):
    """The server adds named vectors to an old collection, and the client then shows these alone."""
    ADAPTER.save(tmp_path / "bridge.safetensors")
    make(database, "Mixed", vectorConfig={"v": NONE})
    schema(database, "Mixed").update(vectorizer="none", vectorIndexType="hnsw", vectorIndexConfig={})
    before = database.left()
    for address in (database.url("mixed"), database.url("mixed?column=v")):
        for words in (("migrate", address, database.url("new")), ("migrate", database.source(), address)):
            err = refused(run, *words, "-a", tmp_path / "bridge.safetensors")
            assert "ixed" in err and ("without a name beside named ones" in err or "no migration has made" in err)
    assert "without a name beside named ones" in refused(run, "doctor", database.url("mixed"))
    assert database.left() == before


def test_names_begin_with_a_capital_letter_however_they_are_spelled(database, run, tmp_path):
    migrate(database.source(), database.url("new"), ADAPTER)
    assert migrate(database.source("Docs"), database.url("New"), ADAPTER).written == 0
    ADAPTER.save(tmp_path / "bridge.safetensors")
    err = refused(run, "migrate", database.source(), database.url("2nd"), "-a", tmp_path / "bridge.safetensors")
    assert "'2nd' is no name" in err


# Tenants.


@pytest.fixture
def tenants(database):
    """Two tenants, the second with other vectors."""
    made = make(database, "Shop", multiTenancyConfig={"enabled": True}, vectorConfig={"v": NONE})
    made.tenants.create(["north", "south"])
    for i, x in enumerate(X):
        for tenant, vector in (("north", x), ("south", -x)):
            row = DataObject(properties={}, uuid=uuid_of(i), vector={"v": plain(vector)})
            assert not made.with_tenant(tenant).data.insert_many([row]).errors
    return database


def test_each_tenant_is_migrated_into_the_same_new_collection(tenants):
    for tenant, sign in (("north", 1), ("south", -1)):
        old, new = tenants.url(f"shop?tenant={tenant}"), tenants.url(f"new?tenant={tenant}")
        assert migrate(old, new, ADAPTER, batch=9, verify="all").verified == 40
        x = np.frombuffer(stored(tenants, "New", tenant)[uuid_of(3)]["vectors"]["v"][1], np.float32)
        np.testing.assert_allclose(x, ADAPTER(sign * X[3]), atol=1e-5)
        assert migrate(old, new, ADAPTER).written == 0
    assert schema(tenants, "New")["multiTenancyConfig"] == {"enabled": True}
    with pytest.raises(ValueError, match="all tenants at once.*client.alias.update"):
        cutover(tenants.url("shop?tenant=north"), tenants.url("new?tenant=north"), ADAPTER)


def test_a_tenant_that_is_not_named_or_not_there_is_told(tenants, run, tmp_path):
    ADAPTER.save(tmp_path / "bridge.safetensors")
    words = "-a", tmp_path / "bridge.safetensors"
    assert "name the tenant (tenant=); there is north, south" in refused(
        run, "migrate", tenants.url("shop"), tenants.url("new"), *words
    )
    north = tenants.url("shop?tenant=north")
    assert "name the tenant here too" in refused(run, "migrate", north, tenants.url("new"), *words)
    assert "tenant not found" in refused(run, "sample", tenants.url("shop?tenant=east"), "-o", tmp_path / "x.npy")
    assert "no tenants" in refused(run, "sample", tenants.url("docs?tenant=east"), "-o", tmp_path / "x.npy")
    assert "no migration has made it" in refused(run, "migrate", north, tenants.url("shop?tenant=x"), *words)
    assert list(tenants.server.objects["Shop"]) == ["north", "south"] and "New" not in tenants.server.classes


# Aliases.


def test_a_server_without_aliases_says_which_one_has_them(database, monkeypatch):
    monkeypatch.setattr(type(database.server), "version", "1.31.0")
    migrate(database.source(), database.url("new"), ADAPTER)
    with pytest.raises(ValueError, match="own name.*Weaviate 1.32 or newer"):
        cutover(database.source(), database.url("new"), ADAPTER)


def test_an_answer_that_is_lost_around_the_switch_leaves_the_same_command_to_finish(database):
    database.client.alias.create(alias_name="Live", target_collection="Docs")
    live, new = database.url("live"), database.url("new")
    migrate(live, new, ADAPTER)

    def lose(what):
        if what == "PUT /v1/aliases/Live":
            raise Refused(500, "lost")

    database.server.before = lose
    with pytest.raises(StoreError, match="lost"):
        cutover(live, new, ADAPTER)
    database.server.before = lambda what: None
    assert database.server.aliases["Live"] == "Docs"
    cutover(live, new, ADAPTER)
    assert database.server.aliases["Live"] == "New"
    assert rollback(live).later == 0
    assert database.server.aliases["Live"] == "Docs"


# What the server refuses.


def test_objects_that_are_refused_are_named_with_the_reason(database, monkeypatch):
    put_one = type(database.server).put

    def put(self, sent):
        if sent.uuid == uuid_of(7) and sent.collection == "New":
            raise Refused(422, "disk is full")
        put_one(self, sent)

    with monkeypatch.context() as patched:
        patched.setattr(type(database.server), "put", put)
        with pytest.raises(StoreError, match=f"1 rows were not taken: row {uuid_of(7)}: disk is full"):
            migrate(database.source(), database.url("new"), ADAPTER)
    assert migrate(database.source(), database.url("new"), ADAPTER, verify="all").verified == 40
    with open_store(database.url("new")) as store:
        store.resume(store.checkpoint())
        with pytest.raises(StoreError, match="no row was taken, from .*new node has a vector with length 6"):
            store.carry(open_store(database.source()).head(3)._replace(payload=None))


def test_requests_are_split_where_the_server_takes_less(database):
    sizes = []
    with open_store(database.url("new")) as store:
        insert = store._insert

        def small_ones(collection, objects, keys):
            if len(objects) > 12:
                raise StoreError("Received message larger than max (5000 vs. 4096)")
            sizes.append(len(objects))
            insert(collection, objects, keys)

        store._insert = small_ones
        migrate(database.source(), store, ADAPTER, batch=40)
    same(database.read("new"), expected(X, ADAPTER))
    assert len([size for size in sizes if size > 1]) > 40 // 12


def test_answers_are_asked_for_in_parts_where_they_would_be_too_large(database, monkeypatch):
    asked = []

    def answers(found):
        asked.append(len(found))
        if len(found) > 7:
            raise Refused(429, "Received message larger than max (9000 vs. 4096)")

    monkeypatch.setattr(database.server, "answers", answers)
    with open_store(database.source()) as store:
        assert len(store.keys()) == 40 and len(store.fetch(store.keys()).keys) == 40
    assert max(asked) > 7


def test_a_server_that_is_busy_for_a_moment_is_asked_again(database, monkeypatch):
    monkeypatch.setattr(requests, "PAUSES", (0.01, 0.01))
    busy = ["GET /v1/schema/Docs"]

    def before(what):
        if what in busy:
            busy.remove(what)
            raise Refused(503, "busy")

    database.server.before = before
    assert open_store(database.source()).count() == 40 and not busy


def test_the_key_is_sent_and_never_shown(database, monkeypatch, run, tmp_path):
    monkeypatch.setattr(database.server, "key", "se-cret")
    place = database.url("docs?column=v")
    for url, told in ((place, "401"), (place.replace("://", "://:wr-ong@"), "401")):
        err = refused(run, "sample", url, "-o", tmp_path / "x.npy")
        assert told in err and "wr-ong" not in err and "se-cret" not in err
    assert run("sample", place.replace("://", "://:se-cret@"), "-o", tmp_path / "x.npy")[0] == 0
    monkeypatch.setenv("WEAVIATE_API_KEY", "se-cret")
    assert run("sample", place, "-o", tmp_path / "y.npy")[0] == 0
    with open_store(place) as store, pytest.raises(StoreError) as caught, store.guard():
        raise RuntimeError("the key se-cret is odd")
    assert "***" in str(caught.value) and "se-cret" not in str(caught.value)


def test_what_is_no_address_of_weaviate_is_refused(database, run, tmp_path):
    for url in ("weaviate:///docs", "weaviate://host", "weaviate://host/docs/x", "weaviate://host/docs?nope=1"):
        with pytest.raises(ValueError, match="expected weaviate|unknown option"):
            open_store(url)
    place = tmp_path / "x.npy"
    assert "grpc must be HOST:PORT" in refused(run, "sample", "weaviate://127.0.0.1/docs?grpc=here", "-o", place)
    assert "no collection 'None'" in refused(run, "sample", database.url("none"), "-o", place)
    refused(run, "sample", "weaviate://127.0.0.1:9/docs", "-o", place)
    wrong = f"{database.address}/docs?grpc=127.0.0.1:9"
    assert "gRPC does not answer at 127.0.0.1:9" in refused(run, "sample", wrong, "-o", place)


# Other kinds.


def test_properties_are_texts_to_embed(database):
    texts = texts_of(database.source(), None, None, 0)
    assert dict(zip(texts.keys, texts.texts, strict=True))[uuid_of(7)] == "text 7"


def test_keys_of_another_kind_are_kept_beside_the_uuids(database, tmp_path):
    import pyarrow.parquet as pq

    pq.write_table(small.table(X), tmp_path / "old.parquet")
    old, new = f"{tmp_path}/old.parquet", database.url("new")
    result = migrate(f"{old}?column=v", new, ADAPTER, batch=9, verify="all")
    assert any("keys become UUIDs" in note and "row_number" in note for note in result.notes)
    rows = stored(database, "New")
    assert sorted(row["values"]["row_number"] for row in rows.values()) == [*range(40)]
    assert {"id_", "text"} < next(iter(rows.values()))["values"].keys()
    assert set(rows) == {str(uuid.uuid5(uuid.NAMESPACE_URL, str(i))) for i in range(40)}


ODD = [([2**53 + 1] * 40, "beyond 2"), ([[1, None]] * 40, "a null in a list"), ([float("nan")] * 40, "NaN or infinity")]


@pytest.mark.parametrize(("column", "told"), ODD)
def test_values_that_weaviate_cannot_keep_are_refused_with_column_and_row(database, tmp_path, column, told):
    import pyarrow.parquet as pq

    pq.write_table(small.table(X).append_column("odd", [column]), tmp_path / "old.parquet")
    with pytest.raises(ValueError, match=f"{told}.*'odd' in rows? 0"):
        migrate(f"{tmp_path}/old.parquet?column=v", database.url("new"), ADAPTER)


def test_columns_that_would_be_one_property_are_refused(database, run, tmp_path):
    import pyarrow.parquet as pq

    table = small.table(X).append_column("a b", [["x"] * 40]).append_column("a_b", [["y"] * 40])
    pq.write_table(table, tmp_path / "old.parquet")
    err = refused(run, "migrate", f"{tmp_path}/old.parquet?column=v", database.url("new"))
    assert "two columns would be the property 'a_b': rename 'a_b'" in err
