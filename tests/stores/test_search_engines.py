"""What only Elasticsearch and OpenSearch have: mappings, points in time, bulk requests, routing, and their faults."""

import base64
import dataclasses

import numpy as np
import pytest

import small
from databases import CLOUD
from minivec.migrate import migrate, verify
from minivec.moving.cutover import cutover
from minivec.moving.texts import texts_of
from minivec.runtime import QueryAdapter
from minivec.stores import Denied, StoreError, open_store
from minivec.stores import requests as sending
from minivec.stores.base import MIGRATIONS
from minivec.stores.elastic import store as reading
from minivec.stores.elastic import writing
from search_index import Refused
from search_server import search_server
from small import bridge, expected, once, same

pytest.importorskip("elasticsearch")
pytest.importorskip("opensearchpy")
X = small.vectors(40)
ADAPTER = bridge()
PATHS = {"elasticsearch": "dense_vector", "opensearch": "knn_vector"}


@pytest.fixture(params=["elasticsearch", "opensearch"])
def kind(request):
    return request.param


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """A busy server is asked again at once."""
    monkeypatch.setattr(sending, "PAUSES", (0, 0, 0, 0))
    monkeypatch.setattr(writing, "PAUSES", (0, 0, 0, 0))


only = pytest.mark.parametrize


def made(database, name, fields, rows=(), settings=None, **mappings):
    """An index with these fields, and documents by id."""
    settings = {**database.needed, **(settings or {})}
    database.ask("PUT", name, body={"settings": settings, "mappings": {"properties": fields, **mappings}})
    lines = [line for key, row in dict(rows).items() for line in ({"index": {"_id": key}}, row)]
    if lines:
        database.bulk(name, lines)


def server_of(database, name):
    return database.server.indexes[name]


# What a new index has.


def test_every_field_and_setting_is_carried_over(database):
    analysis = {"analysis": {"analyzer": {"plain": {"type": "custom", "tokenizer": "standard"}}}}
    settings = {**analysis, "number_of_shards": 2, "number_of_replicas": 0, "refresh_interval": "30s"}
    fields = {"t": {"type": "text", "analyzer": "plain"}, "o": {"properties": {"v": database.field(6)}}}
    fields |= {"w": database.field(2), "k": {"type": "keyword", "ignore_above": 8}}
    rows = {f"ü/{i}": {"t": "é", "o": {"v": x.tolist(), "n": [i, None]}, "w": [1, 2.5], "k": None, "free": {"x": i}}
            for i, x in enumerate(X)}  # fmt: skip
    made(database, "all", fields, rows, {"index": settings}, _meta={"by": "us"})
    migrate(database.url("all?column=o.v"), database.url("new"), ADAPTER, batch=9, verify="all")
    old, new = server_of(database, "all"), server_of(database, "new")
    own = ("uuid", "creation_date", "provided_name")
    before, after = ({k: v for k, v in i.settings.items() if not k.endswith(own)} for i in (old, new))
    assert before == after and after["index.refresh_interval"] == "30s"
    assert after["index.analysis.analyzer.plain.tokenizer"] == "standard"
    width = "dims" if database.scheme == "elasticsearch" else "dimension"
    assert new.vectors()["o.v"] == old.vectors()["o.v"] | {width: 8} and new.vectors()["w"] == old.vectors()["w"]
    assert new.mappings["_meta"] == {"by": "us"} and new.mappings["properties"]["k"] == fields["k"]
    for i, x in enumerate(X):
        row = new.get(f"ü/{i}")["_source"]
        np.testing.assert_allclose(row["o"].pop("v"), ADAPTER(x), atol=1e-5)
        assert row == rows[f"ü/{i}"] | {"o": {"n": [i, None]}}


def test_a_path_may_be_one_word_in_a_document(database):
    rows = {"a": {"o.v": X[0].tolist()}, "b": {"o": {"v": X[1].tolist()}}}
    made(database, "two", {"o": {"properties": {"v": database.field(6)}}})
    server_of(database, "two").docs = {(0, k): {"_id": k, "_source": r} for k, r in rows.items()}
    migrate(database.url("two"), database.url("new"), ADAPTER, verify="all")
    one, two = (server_of(database, "new").get(key)["_source"] for key in "ab")
    assert list(one) == ["o.v"] and list(two["o"]) == ["v"] and len(one["o.v"]) == len(two["o"]["v"]) == 8


def test_what_a_new_index_cannot_have_is_told(database, run):
    settings = {
        "default_pipeline": "embed",
        "final_pipeline": "last",
        "lifecycle.name": "month",
        "blocks.write": "false",
    }
    rows = {str(i): {"v": x.tolist()} for i, x in enumerate(X)}
    made(database, "old", {"v": database.field(6), "s": {"type": "semantic_text", "inference_id": "e5"}}, {}, settings)
    server_of(database, "old").docs = {(0, k): {"_id": k, "_source": r} for k, r in rows.items()}
    dry = migrate(database.url("old"), database.url("new"), ADAPTER, dry_run=True)
    done = migrate(database.url("old"), database.url("new"), ADAPTER, verify="all")
    assert dry.notes == done.notes
    for told in ("final_pipeline (last) is left out", "lifecycle.name (month)", "'embed' is kept", "'e5'"):
        assert any(told in note for note in done.notes), told
    new = server_of(database, "new")
    assert new.settings["index.default_pipeline"] == "embed" and "index.final_pipeline" not in new.settings
    assert all("pipeline" not in doc["_source"] for doc in new.docs.values())  # no row went through it


@only("options", [{"type": "bbq_hnsw"}, {"type": "int4_hnsw"}, {"type": "hnsw", "m": 8}])
@only("kind", ["elasticsearch"])
def test_index_options_that_do_not_fit_the_width_are_left_out(database, options):
    rows = {str(i): {"v": x.tolist()} for i, x in enumerate(small.vectors(9, 64))}
    made(database, "old", {"v": database.field(64) | {"index_options": options}}, rows)
    square = bridge(64, 7)
    migrate(database.url("old"), database.url("new"), square, verify="all")
    made_of = server_of(database, "new").vectors()["v"]["index_options"]
    assert made_of == (options if options["type"] == "hnsw" else {"type": "int8_hnsw", "m": 16, "ef_construction": 100})


@only("kind", ["opensearch"])
def test_an_encoder_that_does_not_fit_the_width_is_left_out(database):
    encoder = {"name": "pq", "parameters": {"m": 3}}
    method = {"name": "ivf", "engine": "faiss", "parameters": {"nlist": 4, "encoder": encoder}}
    rows = {str(i): {"v": x.tolist()} for i, x in enumerate(X)}
    made(database, "old", {"v": {"type": "knn_vector", "dimension": 6, "method": method}}, rows)
    result = migrate(database.url("old"), database.url("new"), ADAPTER, verify="all")
    assert server_of(database, "new").vectors()["v"]["method"]["parameters"] == {"nlist": 4}
    assert any("encoder 'pq'" in note for note in result.notes)


# What is refused, in one line and before anything is written.


def refused(database, run, tmp_path, place, *told, adapter=ADAPTER, options=()):
    adapter.save(tmp_path / "bridge.safetensors")

    def left():  # but for the collection of notes, which the lock is in
        return [index for index in database.left() if index[0] != MIGRATIONS or index[2]]

    before = left()
    for more in (("--dry-run",), ()):
        words = "migrate", place, database.url("new"), "-a", tmp_path / "bridge.safetensors", *options, *more
        code, out, err = run(*words)
        lines = [line for line in err.splitlines() if "note:" not in line]
        assert (code, out, len(lines)) == (2, "", 1) and all(word in lines[0] for word in told), err
    assert left() == before


def test_vectors_that_cannot_be_mapped_are_refused(database, run, tmp_path):
    es = database.scheme == "elasticsearch"
    number = {"element_type": "byte"} if es else {"data_type": "byte"}
    made(database, "deep", {"parts": {"type": "nested", "properties": {"v": database.field(6)}}})
    made(database, "bytes", {"v": database.field(6) | number})
    made(database, "plain", {"v": {"type": "float"}})
    made(database, "both", {"v": database.field(6), "w": database.field(6)})
    made(database, "model", {"v": {"type": PATHS[database.scheme], **({} if es else {"model_id": "m"})}})
    refused(database, run, tmp_path, database.url("deep?column=parts.v"), "nested documents")
    refused(database, run, tmp_path, database.url("bytes"), "vectors of byte")
    refused(database, run, tmp_path, database.url("plain"), "none of type")
    refused(database, run, tmp_path, database.url("both"), "v, w", "column=")
    refused(database, run, tmp_path, database.url("model"), "in the mapping")
    refused(database, run, tmp_path, database.url("none"), "no index 'none'")


def test_documents_that_are_not_kept_whole_are_refused(database, run, tmp_path):
    rows = {"1": {"v": X[0].tolist()}}
    made(database, "half", {"v": database.field(6)}, rows, _source={"excludes": ["text"]})
    made(database, "none", {"v": database.field(6)}, rows, _source={"enabled": False})
    refused(database, run, tmp_path, database.url("half"), "not keep the documents whole", "excludes")
    refused(database, run, tmp_path, database.url("none"), "not keep the documents whole")
    code, _, err = run("sample", database.url("none"), "-o", tmp_path / "x.npy")
    assert code == 2 and err.count("\n") == 1 and "does not keep the documents" in err, err


@only("bad", [[1.0, 2.0], base64.b64encode(X[0].tobytes()).decode(), 7])
def test_what_is_no_vector_of_the_width_is_named(database, run, tmp_path, bad):
    server_of(database, "docs").get("7")["_source"]["v"] = bad
    server_of(database, "docs").refresh()
    code, _, err = run("sample", database.source(), "-o", tmp_path / "x.npy")
    assert code == 2 and err.count("\n") == 1 and "other than 6 numbers in row 7" in err, err


def test_vectors_that_are_too_wide_are_refused(database, run, tmp_path, monkeypatch):
    kind = type(open_store(database.source()))
    monkeypatch.setattr(kind, "field", dataclasses.replace(kind.field, most=7))
    refused(database, run, tmp_path, database.source(), "at most 7 numbers", "got 8")


@only("kind", ["elasticsearch"])
def test_dot_product_takes_only_vectors_of_length_1(database, run, tmp_path):
    rows = {str(i): {"v": x.tolist()} for i, x in enumerate(X)}
    made(database, "dot", {"v": database.field(6) | {"similarity": "dot_product"}}, rows)
    long = QueryAdapter(dict(ADAPTER.weights) | {"target_norm": 3, "unit": 1}, small.RELIABLE)
    refused(database, run, tmp_path, database.url("dot"), "dot_product", "--lengths unit", adapter=long)
    migrate(database.url("dot"), database.url("new"), long, lengths="unit", verify="all")
    with open_store(database.url("new")) as store:  # what is carried back has a length of its own
        block = store.fetch(["1", "2"])
        with pytest.raises(ValueError, match="other lengths than 1.* rows 1, 2"):
            store.carry(block._replace(vectors=2 * block.vectors))


def test_an_index_that_is_somebody_s_and_a_name_that_none_can_have_are_refused(database, run, tmp_path):
    ADAPTER.save(tmp_path / "b.safetensors")
    database.ask("PUT", "two", body={"mappings": {}})
    actions = [{"add": {"index": name, "alias": "both"}} for name in ("docs", "two")]
    database.ask("POST", "_aliases", body={"actions": actions})
    refused(database, run, tmp_path, database.url("both"), "stands for docs, two")
    for name in ("two", "New", "a,b", "docs*", "_all", "x%3Fy", "é" * 200, "a b"):
        code, _, err = run("migrate", database.source(), database.url(name), "-a", tmp_path / "b.safetensors")
        assert code == 2 and err.count("\n") == 1, (name, err)
    assert sorted(database.server.indexes) == ["docs", MIGRATIONS, "two"]
    for name, new in (("docs?where=[", "where must be a query"), ("docs?nope=1", "unknown option")):
        code, _, err = run("migrate", database.url(name), database.url("new"), "-a", tmp_path / "b.safetensors")
        assert code == 2 and new in err, err


# Reading.


@only("version", ["9.0.0", "9.2.0"])
@only("kind", ["elasticsearch"])
def test_vectors_that_a_server_leaves_out_are_asked_for(database, version):
    database.server.version = version
    told = database.ask("POST", "docs", "_search", body={"size": 1})
    assert ("v" in told["hits"]["hits"][0]["_source"]) == (version == "9.0.0")
    migrate(database.source(), database.url("new"), ADAPTER, batch=9, verify="all")
    same(database.read("new"), expected(X, ADAPTER))


@only("kind", ["elasticsearch"])
def test_other_vectors_that_the_server_rounds_again_are_no_other_rows(database):
    cosine = {"similarity": "cosine"}
    W = small.vectors(40, 64, seed=3) * 3
    rows = {str(i): {"v": x.tolist(), "w": w.tolist(), "n": 1.5} for i, (x, w) in enumerate(zip(X, W, strict=True))}
    made(database, "old", {"v": database.field(6) | cosine, "w": database.field(64) | cosine}, rows)
    migrate(database.url("old?column=v"), database.url("new"), ADAPTER, verify="all")
    index = server_of(database, "new")
    index.update("7", {"n": 1.5000001})
    with pytest.raises(ValueError, match="other payload.* 7"):
        verify(database.url("old?column=v"), database.url("new"), ADAPTER, "all")
    index.update("7", {"n": 1.5, "w": (W[7] * 1.001).tolist()})
    with pytest.raises(ValueError, match="other payload.* 7"):
        verify(database.url("old?column=v"), database.url("new"), ADAPTER, "all")


@only("version", ["2.11.0", "3.3.0"])
@only("kind", ["opensearch"])
def test_all_pages_are_read_by_every_version(database, version, monkeypatch):
    monkeypatch.setattr(reading, "MOST", 7)
    database.server.version = version
    migrate(database.source(), database.url("new"), ADAPTER, batch=9, verify="all")
    monkeypatch.undo()
    same(database.read("new"), expected(X, ADAPTER))
    assert not database.server.pits


def losing(database, times):
    """The server loses its points in time when a page behind the first is asked for."""
    left = [None] * times

    def before(method, path, body):
        if path == "/_search" and "search_after" in body and left:
            left.pop()
            database.server.pits.clear()

    database.server.before = before


def test_a_point_in_time_that_is_lost_is_made_again(database, monkeypatch):
    monkeypatch.setattr(reading, "MOST", 7)
    losing(database, 2)
    with open_store(database.source()) as store:
        assert len(store.keys()) == 40
        losing(database, 9)
        with pytest.raises(StoreError, match="lost its point in time 3 times"):
            store.keys()


def test_a_shard_that_does_not_answer_is_an_error_and_no_smaller_index(database):
    with open_store(database.source()) as store:
        assert len(store.keys()) == 40
        database.server.failed = 1
        with pytest.raises(StoreError, match="Partial shards failure"):
            store.keys()


def test_rows_that_searches_do_not_see_yet_are_read(database):
    index = server_of(database, "docs")
    index.put("1000", database._document(1000, X[0]))
    with open_store(database.source()) as store:
        assert store.count() == 41 and "1000" in store.keys()
        index.put("1001", database._document(1001, X[0]))
        database.server.forbidden = ("_refresh",)  # a role that may only read waits until the server does it
        assert store.count() == 41
        index.refresh()
        assert store.count() == 42


def test_a_role_that_may_only_read_the_index_is_enough_for_a_source(database, tmp_path):
    def before(method, path, body):
        if MIGRATIONS in path or path.endswith(("_refresh", "_bulk")) or method == "PUT":
            raise Refused(403, "security_exception", "action is unauthorized for user [reader]")

    database.server.before = before
    result = migrate(database.source(), tmp_path / "new", ADAPTER, batch=9, verify="all")
    assert result.written == 40
    with pytest.raises(Denied, match="action is unauthorized"):
        migrate(database.source(), database.url("new"), ADAPTER)


def test_a_query_chooses_rows(database):
    place = f"{database.source()}&where=" + '{"term":{"n":7}}'
    both = small.both_ways()
    assert migrate(place, database.url("new"), both, verify="all").rows == 1
    assert list(database.read("new")) == [7]
    with pytest.raises(ValueError, match="where="):
        cutover(place, database.url("new"), both)


def test_fields_of_a_document_are_texts_to_embed(database):
    texts = texts_of(database.source(), None, None, 0)
    assert dict(zip(texts.keys, texts.texts, strict=True))["7"] == "text 7"


# Writing.


def test_rows_that_a_busy_server_rejects_are_sent_again(database):
    database.server.busy = 9
    migrate(database.source(), database.url("new"), ADAPTER, batch=9, verify="all")
    same(database.read("new"), expected(X, ADAPTER))
    database.server.busy = 10**6
    with pytest.raises(StoreError, match="too busy for 40 rows: rejected execution"):
        migrate(database.source(), database.url("other"), ADAPTER)
    database.server.busy = 0
    assert migrate(database.source(), database.url("other"), ADAPTER, verify="all").written == 40


def test_requests_are_split_by_what_the_server_takes(database):
    database.server.limit = 4_000
    database.server.requests.clear()
    migrate(database.source(), database.url("new"), ADAPTER, batch=40, verify="all")
    sizes = [size for _, path, size in database.server.requests if path == "/new/_bulk"]
    assert len([size for size in sizes if size <= 4_000]) > 1
    same(database.read("new"), expected(X, ADAPTER))


def test_a_row_that_the_server_refuses_is_named_with_the_reason(database):
    def before(method, path, body):
        if path == "/new/_bulk":
            server_of(database, "new").settings["index.blocks.write"] = "true"

    database.server.before = before
    with pytest.raises(StoreError, match=r"row '\w+' cannot be written: index blocked by: \[FORBIDDEN"):
        migrate(database.source(), database.url("new"), ADAPTER)
    database.server.before = lambda *_: None
    long = "x" * 600  # an id has 512 bytes at most
    with open_store(database.source()) as store:
        block = store.fetch(["7"])
        with pytest.raises(StoreError, match=r"row 'xxx.* cannot be written: id \[xxx.* too long"):
            store.carry(block._replace(keys=[long]))


@only("times", [1, 9])
def test_a_request_is_made_again_when_the_connection_is_lost(database, times):
    left = [None] * times

    def before(method, path, body):
        if path == "/docs/_refresh" and left:
            left.pop()
            raise ConnectionResetError

    database.server.before = before
    with open_store(database.source()) as store:
        if times == 1:
            assert store.count() == 40
        else:
            with pytest.raises(StoreError, match="(?i)connection"):
                store.count()


def test_a_server_that_is_not_there_is_said_at_once(kind, run, tmp_path):
    code, out, err = run("sample", f"{kind}://user:secret@127.0.0.1:9/docs", "-o", tmp_path / "x.npy")
    assert code == 2 and out == "" and err.count("\n") == 1 and "refused" in err and "secret" not in err, err


# Routing.


def test_a_row_that_changes_its_routing_is_there_once(database):
    source, new = database.source(), database.url("new")

    def work():
        database.bulk("docs", [{"delete": database.where(3)}])
        database.bulk("docs", [{"index": {"_id": "3", "routing": "elsewhere"}}, database._document(3, X[0])])

    migrate(source, new, ADAPTER, batch=39, progress=once(work))
    rows = [doc for (_, key), doc in server_of(database, "new").docs.items() if key == "3"]
    assert [row["_routing"] for row in rows] == ["elsewhere"]
    assert verify(source, new, ADAPTER, "all") == 40


def test_rows_with_one_id_and_several_routings_are_refused(database, run, tmp_path):
    database.bulk("docs", [{"index": {"_id": "3", "routing": "e"}}, database._document(3, X[0])])
    refused(database, run, tmp_path, database.source(), "1 rows have the id of another row")


def test_an_index_that_requires_routing_is_moved_and_deleted_from(database):
    made(database, "old", {"v": database.field(6)}, settings={"number_of_shards": 3}, _routing={"required": True})
    lines = [line for i in range(9) for line in ({"index": {"_id": str(i), "routing": "r"}}, {"v": X[i].tolist()})]
    database.bulk("old", lines)
    gone = once(lambda: database.bulk("old", [{"delete": {"_id": "4", "routing": "r"}}]))
    migrate(database.url("old"), database.url("new"), ADAPTER, batch=8, progress=gone)
    assert verify(database.url("old"), database.url("new"), ADAPTER, "all") == 8
    migrate(database.url("old"), database.url("old?column=w"), ADAPTER, verify="all")


# A new field of the same documents.


def test_a_new_field_keeps_what_others_write_and_brings_no_row_back(database):
    server_of(database, "docs").mappings["dynamic"] = "true"
    index = server_of(database, "docs")

    def work():
        index.update("7", {"text": "written meanwhile"}, None)
        index.delete("8")
        index.refresh()

    migrate(database.source(), database.url("docs?column=new"), ADAPTER, batch=39, progress=once(work))
    rows = {key: doc["_source"] for (_, key), doc in index.docs.items()}
    assert rows["7"]["text"] == "written meanwhile" and len(rows["7"]["new"]) == 8 and len(rows["7"]["v"]) == 6
    assert "8" not in rows and len(rows) == 39


@only("moment", ["_search", "_bulk"])
def test_a_row_that_goes_before_its_new_field_is_written_does_not_come_back(database, moment):
    index, gone = server_of(database, "docs"), []
    index.mappings["dynamic"] = "true"

    def before(method, path, body):
        if (
            path == f"/docs/{moment}"
            and not gone
            and (moment == "_bulk" or body["_source"] is False and "ids" in body["query"])
        ):
            gone.append(index.delete("8"))
            index.refresh()

    database.server.before = before
    migrate(database.source(), database.url("docs?column=new"), ADAPTER, verify="all")
    assert gone == [True] and len(index.docs) == 39 and index.get("8") is None


def test_a_row_without_a_vector_gets_none_in_a_new_field(database):
    database.update("docs", 3, None)
    migrate(database.source(), database.url("docs?column=new"), ADAPTER, batch=9, skip_nulls=True, verify="all")
    row = database.documents("docs")[3]["_source"]
    assert row["new"] is None and len(database.documents("docs")[4]["_source"]["new"]) == 8


# Aliases.


def test_an_alias_keeps_its_filter_and_routing(database):
    kept = {"filter": {"term": {"n": 7}}, "search_routing": "r1"}
    database.ask("POST", "_aliases", body={"actions": [{"add": {"index": "docs", "alias": "live", **kept}}]})
    both = small.both_ways()
    migrate(database.url("live?column=v"), database.url("new"), both, verify="all")
    cutover(database.url("live?column=v"), database.url("new?column=v"), both)
    assert database.server.aliases == {"live": {"new": kept}}


# Credentials and servers.


def header(url, seen=None):
    """The header Authorization that a store with this URL sends."""
    with search_server(url.partition("://")[0]) as (server, address):
        answer = server.answer
        sent = []

        def noted(method, target, headers, read):
            sent.append(headers.get("Authorization"))
            return answer(method, target, headers, read)

        server.answer = noted
        with open_store(url.replace("HOST", address)) as store:
            store._exists("docs")
    return sent[0]


def test_credentials_are_sent_as_the_servers_take_them(monkeypatch):
    basic = "Basic " + base64.b64encode(b"us er:p@ss").decode()
    for scheme in ("elasticsearch", "opensearch"):
        assert header(f"{scheme}://HOST/docs") is None
        assert header(f"{scheme}://us%20er:p%40ss@HOST/docs") == basic
    assert header("elasticsearch://:a2V5@HOST/docs") == "ApiKey a2V5"
    assert header("opensearch://:token@HOST/docs") == "Bearer token"
    monkeypatch.setenv("ELASTIC_API_KEY", "aW4=")
    monkeypatch.setenv("OPENSEARCH_USERNAME", "us er")
    monkeypatch.setenv("OPENSEARCH_PASSWORD", "p@ss")
    assert header("elasticsearch://HOST/docs") == "ApiKey aW4="
    assert header("elasticsearch://:a2V5@HOST/docs") == "ApiKey a2V5"
    assert header("opensearch://HOST/docs") == basic
    assert header("opensearch://:token@HOST/docs") == "Bearer token"


def test_what_is_denied_is_told_without_the_secret(database, run, tmp_path):
    database.server.key = "another"
    place = database.source().replace("://", "://:verysecret@")
    with open_store(place) as store, pytest.raises(Denied, match="answers 401: unable to authenticate"):
        store.schema()
    code, _, err = run("sample", place, "-o", tmp_path / "x.npy")
    assert code == 2 and err.count("\n") == 1 and "verysecret" not in err, err
    database.server.key, database.server.forbidden = None, ("_bulk",)
    with pytest.raises(Denied, match="answers 403: action is unauthorized"):
        migrate(database.source(), database.url("new"), ADAPTER)


def test_a_server_of_another_kind_or_version_is_said(tmp_path, run):
    with search_server("opensearch") as (server, address):
        server._create("docs", {})
        code, _, err = run("sample", f"elasticsearch://{address}/docs", "-o", tmp_path / "x.npy")
        assert code == 2 and err.count("\n") == 1 and "OpenSearch is opensearch://" in err, err
    with search_server("elasticsearch", "7.17.0") as (_, address):
        code, _, err = run("sample", f"elasticsearch://{address}/docs", "-o", tmp_path / "x.npy")
        assert code == 2 and err.count("\n") == 1 and "older than its client" in err, err
    with search_server("elasticsearch") as (_, address):
        code, _, err = run("sample", f"elasticsearch://{address}/docs?https=true", "-o", tmp_path / "x.npy")
        assert code == 2 and err.count("\n") == 1 and "SSL" in err.upper(), err


def test_an_index_that_was_made_although_the_answer_was_lost_is_no_error(database):
    lost = []

    def before(method, path, body):
        if method == "PUT" and path == "/new" and not lost:
            lost.append(database.server._create("new", body))
            raise Refused(503, "unavailable", "the answer is lost")

    database.server.before = before
    migrate(database.source(), database.url("new"), ADAPTER, verify="all")
    assert lost


# Of another kind.


def test_columns_get_the_mappings_of_their_types(database, tmp_path):
    import datetime

    import pyarrow as pa
    import pyarrow.parquet as pq

    when = datetime.datetime(2024, 2, 29, 12, 30, 1, 5)
    rows = {
        "id": pa.array([7, 8]), "text": ["2024-01-01", None], "big": pa.array([2**64 - 1, 0], pa.uint64()),
        "n": [1, None], "f": [0.5, None], "b": [True, None], "when": [when, None], "raw": [b"\xff", None],
        "many": [["a", "b"], None], "s": [{"a": 1}, None], "v": pa.array(list(X[:2]), pa.list_(pa.float32(), 6)),
    }  # fmt: skip
    pq.write_table(pa.table(rows), tmp_path / "old.parquet")
    migrate(f"{tmp_path}/old.parquet?column=v", database.url("new"), ADAPTER, verify="all")
    index = server_of(database, "new")
    kinds = {name: field.get("type") for name, field in index.mappings["properties"].items()}
    wanted = {"text": "text", "big": "unsigned_long", "n": "long", "f": "double", "b": "boolean", "when": "date"}
    assert wanted.items() <= kinds.items() and index.mappings["date_detection"] is False
    one, two = (doc["_source"] for _, doc in sorted(index.docs.items(), key=lambda item: item[1]["_seq_no"]))
    del one["v"], two["v"]
    assert two.pop("big") == 0 and set(two) == {"id", "row_number"}
    assert one["text"] == "2024-01-01" and one["big"] == 2**64 - 1 and one["when"] == when.isoformat()
    assert one["raw"] == base64.b64encode(b"\xff").decode() and one["many"] == ["a", "b"] and one["s"] == {"a": 1}


def test_what_json_has_not_is_refused_with_the_row(database, tmp_path):
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = {"f": [0.5, float("nan")], "v": pa.array(list(X[:2]), pa.list_(pa.float32(), 6))}
    pq.write_table(pa.table(rows), tmp_path / "old.parquet")
    with pytest.raises(ValueError, match="NaN or infinity.*row 1"):
        migrate(f"{tmp_path}/old.parquet?column=v", database.url("new"), ADAPTER)


# A server of one's own.


@only("name", ["elasticsearch cloud", "opensearch cloud"])
def test_what_the_contract_makes_on_a_server_of_one_s_own_is_removed(name, tmp_path, monkeypatch):
    monkeypatch.delenv(CLOUD[name].variable, raising=False)
    with pytest.raises(pytest.skip.Exception, match=CLOUD[name].variable):
        CLOUD[name](tmp_path)
    with search_server(CLOUD[name].scheme) as (server, address):
        monkeypatch.setenv(CLOUD[name].variable, f"{CLOUD[name].scheme}://:key@{address}/?https=false")
        database = CLOUD[name](tmp_path)
        database.ask("PUT", "mine", body={})
        database.fill("docs", X)
        migrate(database.source(), database.url("new"), ADAPTER, batch=9, verify="all")
        same(database.read("new"), expected(X, ADAPTER))
        database.close()
        assert sorted(server.indexes) == ["mine", "minivec_migrations"]
        assert not server.indexes["minivec_migrations"].docs
