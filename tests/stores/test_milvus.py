"""What only Milvus has: partitions, dynamic fields, types of fields, indexes, properties, and its faults."""

import subprocess

import numpy as np
import pytest

import databases
import small
from minivec.migrate import migrate, verify
from minivec.stores import open_store
from minivec.stores import requests as sending
from minivec.stores.milvus import rows as milvus_rows
from minivec.stores.milvus import settings as milvus_settings
from small import bridge, expected, same

pytest.importorskip("pymilvus")
X = small.vectors(40)
ADAPTER = bridge()


@pytest.fixture
def kind():
    return "milvus"


def types():
    from pymilvus import DataType

    return DataType


def made(client, name, fields, indexes=(), rows=(), **options):
    """A collection with an int64 key, vectors v, and these fields."""
    schema = client.create_schema(enable_dynamic_field=options.pop("dynamic", False))
    key = options.pop("key", {"datatype": types().INT64})
    schema.add_field("id", is_primary=True, **key)
    schema.add_field("v", types().FLOAT_VECTOR, dim=6)
    for field, kind, more in fields:
        schema.add_field(field, kind, **more)
    index = client.prepare_index_params()
    index.add_index("v", index_type="HNSW", metric_type="L2", params={"M": 8, "efConstruction": 64})
    for field, kind, metric in indexes:
        index.add_index(field, index_type=kind, metric_type=metric)
    client.create_collection(name, schema=schema, index_params=index, **options)
    if rows:
        client.insert(name, rows)


def rows_of(client, name):
    client.load_collection(name)
    return {row["id"]: row for row in client.query(name, filter="", output_fields=["*"], limit=1000)}


def test_every_type_of_field_is_carried_over(database):
    kinds, client = types(), database.client
    text = {"max_length": 50, "nullable": True, "default_value": "none"}
    array = {"element_type": kinds.VARCHAR, "max_capacity": 7, "max_length": 20}
    fields = [("t", kinds.VARCHAR, text), ("j", kinds.JSON, {}), ("a", kinds.ARRAY, array), ("b", kinds.BOOL, {})]
    fields += [("i", kinds.INT16, {}), ("f", kinds.FLOAT, {}), ("d", kinds.DOUBLE, {})]
    fields += [("w", kinds.FLOAT_VECTOR, {"dim": 3}), ("s", kinds.SPARSE_FLOAT_VECTOR, {})]
    indexes = [("w", "FLAT", "IP"), ("s", "SPARSE_INVERTED_INDEX", "IP")]
    rows = [{"id": i - 20, "v": X[i], "j": {"deep": [i, None, "ü"]}, "a": ["x"] * (i % 3)} for i in range(40)]
    for i, row in enumerate(rows):
        row |= {"t": None if i % 3 else f"t {i}", "b": i % 2 == 0, "i": -i, "f": i / 7, "d": i / 7}
        row |= {"w": np.full(3, i, np.float32), "s": {i: 0.5, 9999: 1.5}}
        row |= {"loose key": {"x": i}, "n": i} if i % 2 else {}
    properties = {"collection.ttl.seconds": "86400"}
    made(client, "all", fields, indexes, rows, dynamic=True, properties=properties)
    result = migrate(f"{database.url('all')}?column=v", database.url("new"), ADAPTER, batch=9, verify="all")
    assert result.verified == 40
    before, after = rows_of(client, "all"), rows_of(client, "new")
    for key, row in before.items():
        vector, there = row.pop("v"), after[key].pop("v")
        np.testing.assert_allclose(ADAPTER(np.array([vector], np.float32))[0], there, atol=1e-5)
        assert row == after[key]
    old, new = client.describe_collection("all"), client.describe_collection("new")
    for info in (old, new):
        for field in info["fields"]:
            field["default_value"] = str(field.get("default_value"))
    assert [f for f in old["fields"] if f["name"] != "v"] == [f for f in new["fields"] if f["name"] != "v"]
    assert new["properties"] == properties and new["enable_dynamic_field"]
    for name in ("v", "w", "s"):
        one, other = client.describe_index("all", name), client.describe_index("new", name)
        assert (one["index_type"], one["metric_type"]) == (other["index_type"], other["metric_type"])
    assert any("expire 86400 seconds" in note for note in result.notes)


def test_partitions_are_kept(database):
    client = database.client
    made(client, "parts", [], rows=[{"id": i, "v": X[i]} for i in range(10)])
    client.create_partition("parts", "red")
    client.insert("parts", [{"id": i, "v": X[i]} for i in range(10, 30)], partition_name="red")
    migrate(database.url("parts"), database.url("new"), ADAPTER, batch=7, verify="all")
    assert client.list_partitions("new") == ["_default", "red"]
    client.load_collection("new")
    options = {"filter": "id >= 0", "output_fields": ["id"]}
    assert {row["id"] for row in client.query("new", partition_names=["red"], **options)} == set(range(10, 30))
    assert {row["id"] for row in client.query("new", partition_names=["_default"], **options)} == set(range(10))


ODD = ['q"uo\\te', "ö\n1", "a'b\t{x}", "", "%", "Z", "z"]


def test_texts_are_keys_in_their_order(database):
    key = {"datatype": types().VARCHAR, "max_length": 100}
    made(database.client, "texts", [], rows=[{"id": k, "v": x} for k, x in zip(ODD, X, strict=False)], key=key)
    source = database.url("texts")
    done = []

    def stop(rows, total):
        done.append(rows)
        if rows == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        migrate(source, database.url("new"), ADAPTER, batch=2, progress=stop)
    assert migrate(source, database.url("new"), ADAPTER, batch=2, verify="all").written == 3
    with open_store(source) as store:
        assert list(store.keys()) == sorted(ODD) and list(store.fetch(ODD).keys) == ODD
    with open_store(database.url("new")) as store:
        store._delete(ODD[:3])
        assert list(store.keys()) == sorted(ODD[3:])


def test_a_condition_selects_rows(database):
    source = f"{database.source()}&where=id<10 or id==33"
    assert migrate(source, database.url("new"), ADAPTER, batch=4, verify="all").rows == 11
    assert sorted(database.read("new")) == [*range(10), 33]


def test_requests_are_split_by_their_bytes(database, monkeypatch):
    sent, upsert = [], type(database.client).upsert

    def counted(self, name, data, *given, **options):
        sent.append((name, len(data)))
        return upsert(self, name, data, *given, **options)

    monkeypatch.setattr(sending, "BYTES", 3_000)
    monkeypatch.setattr(type(database.client), "upsert", counted)
    with open_store(database.url("new")) as store:
        store._requests._limit = 3_000
        migrate(database.source(), store, ADAPTER, batch=40)
    sizes = [rows for name, rows in sent if name == "new"]
    assert len(sizes) > 1 and sum(sizes) == 40
    same(database.read("new"), expected(X, ADAPTER))


def test_a_request_that_the_server_refuses_for_its_size_is_made_smaller(database, monkeypatch):
    from pymilvus.exceptions import MilvusException

    upsert = type(database.client).upsert

    def limited(self, name, data, *given, **options):
        if len(data) > 10:
            raise MilvusException(message="grpc: received message larger than max (68 vs. 64)")
        return upsert(self, name, data, *given, **options)

    monkeypatch.setattr(type(database.client), "upsert", limited)
    migrate(database.source(), database.url("new"), ADAPTER, batch=40)
    same(database.read("new"), expected(X, ADAPTER))


def test_a_collection_of_several_vectors_asks_for_one(database):
    made(database.client, "two", [("w", types().FLOAT_VECTOR, {"dim": 3})], [("w", "FLAT", "IP")])
    with open_store(database.url("two")) as store, pytest.raises(ValueError, match="name one field.*v, w"):
        store.schema()


def test_keys_of_the_server_become_keys_of_the_rows(database):
    made(database.client, "auto", [], key={"datatype": types().INT64, "auto_id": True})
    database.client.insert("auto", [{"v": x} for x in X])
    result = migrate(database.url("auto"), database.url("new"), ADAPTER, batch=9, verify="all")
    assert rows_of(database.client, "auto").keys() == rows_of(database.client, "new").keys()
    assert any("auto_id" in note for note in result.notes)


@pytest.mark.parametrize("kind_of", ["FLOAT16_VECTOR", "BFLOAT16_VECTOR"])
def test_halves_are_read_and_written(kind_of):
    """Milvus Lite does not have them."""
    packed = milvus_rows.packed(kind_of, X)
    assert all(len(row) == 12 for row in packed)
    for values in (packed, [[row] for row in packed]):  # the client gives either
        np.testing.assert_allclose(milvus_rows.vectors_of(kind_of, values, 6), X, rtol=2**-8)
    exact = np.array([[1, -0.5, 2**-10, 3, 0, 96]], np.float32)
    assert (milvus_rows.vectors_of(kind_of, milvus_rows.packed(kind_of, exact), 6) == exact).all()


def test_vectors_of_bits_stay_beside_the_mapped_ones():
    """Milvus Lite does not have them."""
    from pymilvus import DataType

    field = {"name": "b", "type": DataType.BINARY_VECTOR, "params": {"dim": 16}}
    column = milvus_rows.cells(field, [{"b": b"ab"}, {"b": [b"cd"]}])
    assert column.to_pylist() == [b"ab", b"cd"]
    assert milvus_rows.given("BINARY_VECTOR", b"ab") == b"ab"


def test_a_product_quantizer_that_does_not_fit_gives_way():
    index = {"field_name": "v", "index_name": "v", "index_type": "IVF_PQ", "metric_type": "L2", "m": "5", "nlist": "9"}
    from pymilvus import MilvusClient

    for width, kind in ((8, "AUTOINDEX"), (10, "IVF_PQ")):
        (new,) = milvus_settings.indexes(MilvusClient, [index], "v", "w", width)
        assert (new.index_type, new.field_name) == (kind, "w")
    info = {"fields": [], "properties": {}}
    assert "no multiple of 5" in milvus_settings.losses(info, [index], "v")[0]


def test_functions_that_embed_by_the_old_model_are_left_out():
    from pymilvus import FunctionType, MilvusClient

    kinds = types()
    bm25 = {"name": "words", "type": FunctionType.BM25, "input_field_names": ["t"], "output_field_names": ["s"]}
    embed = {"name": "model", "type": FunctionType.TEXTEMBEDDING, "input_field_names": ["t"]}
    embed |= {"output_field_names": ["v"], "params": {"provider": "openai"}}
    plain = {"description": "", "params": {}}
    fields = [{"name": "id", "type": kinds.INT64, "is_primary": True, **plain}]
    fields += [{"name": "t", "type": kinds.VARCHAR, **plain, "params": {"max_length": 9, "enable_analyzer": True}}]
    fields += [{"name": "v", "type": kinds.FLOAT_VECTOR, **plain, "params": {"dim": 6}}]
    fields += [{"name": "s", "type": kinds.SPARSE_FLOAT_VECTOR, **plain}]
    info = {"fields": fields, "functions": [bm25, embed], "enable_dynamic_field": False}
    schema = milvus_settings.copied(MilvusClient, info, "v", "v", 8)
    assert [function.name for function in schema.functions] == ["words"]
    assert [f.params.get("dim") for f in schema.fields if f.name == "v"] == [8]
    assert milvus_settings.outputs(info) == {"s", "v"}
    assert "'model' is left out" in milvus_settings.losses(info, [], "v")[0]


def test_columns_of_other_stores_become_fields(database, tmp_path):
    import datetime

    import pyarrow as pa
    import pyarrow.parquet as pq

    columns = {
        "text": pa.array(["a", None] * 20),
        "day": pa.array([datetime.date(2024, 1, 2)] * 40),
        "tags": pa.array([["x", "y"], []] * 20, pa.list_(pa.string())),
        "where from": pa.array([{"a": 1, "b": "ü"}, None] * 20),
        "raw": pa.array([b"\0"] * 40),
        "small": pa.array([1] * 40, pa.int8()),
        "v": pa.array(list(X), pa.list_(pa.float32(), 6)),
    }
    pq.write_table(pa.table(columns), tmp_path / "old.parquet")
    result = migrate(tmp_path / "old.parquet", database.url("new"), ADAPTER, batch=7, verify="all")
    assert "column 'raw' is left out: Milvus has no type for binary" in result.notes
    assert any("'where from' becomes 'where_from'" in note for note in result.notes)
    row = rows_of(database.client, "new")[0]
    assert (row["text"], row["day"], row["tags"], row["small"]) == ("a", "2024-01-02", ["x", "y"], 1)
    assert row["where_from"] == {"a": 1, "b": "ü"}
    assert verify(tmp_path / "old.parquet", database.url("new"), ADAPTER, "all") == 40


def test_what_is_no_address_of_milvus_is_refused(tmp_path):
    for url in ("milvus://host", f"milvus://{tmp_path}/a.db/docs?nope=1"):
        with pytest.raises(ValueError, match="expected milvus|unknown option"):
            open_store(url)
    with open_store(f"milvus://{tmp_path}/none.db/docs") as store, pytest.raises(ValueError, match="no collection"):
        store.schema()
    assert not (tmp_path / "none.db").exists()


def test_a_server_that_is_not_there_is_one_line(run, tmp_path):
    code, out, err = run("sample", "milvus://:secret@127.0.0.1:9/docs", "-o", tmp_path / "x.npy")
    assert code == 2 and out == "" and err.count("\n") == 1 and "secret" not in err, err


def test_there_is_no_second_process_in_a_file(tmp_path):
    database = databases.MAKERS["milvus file"](tmp_path)
    database.fill("docs", X)
    ADAPTER.save(tmp_path / "bridge.safetensors")
    words = "migrate", database.source(), database.url("new"), "-a", tmp_path / "bridge.safetensors"
    done = subprocess.run(small.command(*words), capture_output=True, text=True)
    assert done.returncode == 2 and done.stderr.count("\n") == 1, done.stderr
    database.close()
