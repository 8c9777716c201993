"""Every store that can: the new vectors under the old name, and back."""

import numpy as np
import pytest

import small
from databases import MAKERS
from minivec.migrate import migrate
from minivec.moving.cutover import cutover, rollback
from minivec.stores import StoreError, lease
from small import both_ways

pytestmark = pytest.mark.databases

X = small.vectors(50)
ADAPTER = both_ways()


class Alias:
    """Qdrant with an alias that the application uses."""

    base = "qdrant"

    def __init__(self, root):
        self.base = MAKERS[self.base](root)
        self.client = self.base.client

    def fill(self, name, X):
        from qdrant_client import models

        self.base.fill(f"{name}_1", X)
        alias = models.CreateAlias(collection_name=f"{name}_1", alias_name=name)
        self.client.update_collection_aliases([models.CreateAliasOperation(create_alias=alias)])

    def url(self, name):
        return self.base.url(name) + "?column=v"

    def read(self, name):
        return self.base.read(name)

    def close(self):
        self.base.close()


class AliasOfServer(Alias):
    base = "qdrant server"


class MilvusAlias(MAKERS["milvus"]):
    """Milvus with an alias that the application uses."""

    def fill(self, name, X):
        super().fill(f"{name}_1", X)
        self.client.create_alias(f"{name}_1", name)


class RedisAlias(MAKERS["redis"]):
    """RediSearch with an alias that the application uses."""

    def fill(self, name, X):
        super().fill(f"{name}_1", X)
        self.client.execute_command("FT.ALIASADD", name, f"{name}_1")


class WeaviateAlias(MAKERS["weaviate"]):
    """Weaviate with an alias that the application uses."""

    def fill(self, name, X):
        super().fill(f"{name}_1", X)
        self.client.alias.create(alias_name=name.capitalize(), target_collection=f"{name.capitalize()}_1")


class ElasticAlias(MAKERS["elasticsearch"]):
    """Elasticsearch with an alias that the application uses, which has settings of its own."""

    def fill(self, name, X):
        super().fill(f"{name}_1", X)
        added = {"index": f"{name}_1", "alias": name, "is_write_index": True}
        self.ask("POST", "_aliases", body={"actions": [{"add": added}]})


class OpenSearchAlias(MAKERS["opensearch"]):
    """OpenSearch with an alias that the application uses."""

    def fill(self, name, X):
        super().fill(f"{name}_1", X)
        self.ask("POST", "_aliases", body={"actions": [{"add": {"index": f"{name}_1", "alias": name}}]})


NAMED = "parquet", "faiss ids", "lance", "chroma", "duckdb", "sqlite"  # not PostgreSQL
OWN = {kind: MAKERS[kind] for kind in NAMED}
ALIASES = {"qdrant": Alias, "qdrant server": AliasOfServer, "milvus": MilvusAlias, "redis": RedisAlias}
ALIASES |= {"weaviate": WeaviateAlias}
ALIASES |= {"elasticsearch": ElasticAlias, "opensearch": OpenSearchAlias}
KINDS = OWN | ALIASES


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """The lock of a server is held at once."""
    monkeypatch.setattr(lease, "SETTLED", 0.02)


@pytest.fixture(params=KINDS)
def docs(tmp_path, request):
    """A database with a table "docs", and the map's migration of it into "docs_new"."""
    database = KINDS[request.param](tmp_path)
    database.kind = request.param
    database.fill("docs", X)
    migrate(database.url("docs"), database.url("docs_new"), ADAPTER)
    yield database
    database.close()


def test_the_application_finds_the_new_vectors_and_then_the_old_ones_again(docs):
    before = docs.read("docs")
    old, new = docs.url("docs"), docs.url("docs_new")
    assert cutover(old, new, ADAPTER, dry_run=True).steps
    assert docs.read("docs").keys() == before.keys() and len(docs.read("docs")[3][1]) == 6
    done = cutover(old, new, ADAPTER)
    assert done.verified == 50
    small.same(docs.read("docs"), small.expected(X, ADAPTER))
    assert cutover(old, new, ADAPTER).already
    assert rollback(old, dry_run=True).later == 0
    assert rollback(old).later == 0
    small.same(docs.read("docs"), before)
    assert rollback(old).later == 0  # again: nothing is left to do
    small.same(docs.read("docs"), before)
    cutover(old, new, ADAPTER)
    small.same(docs.read("docs"), small.expected(X, ADAPTER))


def write(docs, key):
    """The application deletes row ``key`` and writes row 1000 under the name, by the new model."""
    vector = ADAPTER(X[:1])[0]
    if docs.kind.startswith("qdrant"):
        from qdrant_client import models

        docs.client.delete("docs", [key], wait=True)
        point = models.PointStruct(
            id=1000, vector={"v": vector.tolist(), "other": [0.6, 0.8]}, payload={"text": "late"}
        )
        docs.client.upsert("docs", [point])
    elif docs.kind == "chroma":
        collection = docs.client.get_collection("docs", embedding_function=None)
        collection.delete([str(key)])
        collection.add(["1000"], embeddings=[vector.tolist()], documents=["late"], metadatas=[{"n": 1000}])
    elif docs.kind == "milvus":
        docs.delete("docs", key)
        docs.client.upsert("docs", [{"id": 1000, "text": "late", "v": vector}])
    elif docs.kind == "redis":
        docs.delete("docs", key)
        docs.client.execute_command(*docs._row(f"{docs.place('docs')[0]}1000", 1000, "late", vector))
    elif docs.kind == "weaviate":
        docs.delete("docs", key)
        docs.insert("docs", 1000, vector, "late")
    elif docs.kind in ("elasticsearch", "opensearch"):
        docs.delete("docs", key)
        docs._index("docs", [(1000, docs._document(1000, vector, "late"))])
    elif docs.kind in ("duckdb", "sqlite"):
        docs.delete("docs", key)
        docs.insert("docs", 1000, vector)
        docs.run("UPDATE docs SET text = 'late' WHERE id = 1000")
    elif docs.kind == "lance":
        docs.db.open_table("docs").delete(f"id = {key}")
    elif docs.kind == "faiss ids":
        docs.delete("docs", key)
    else:
        import pyarrow.parquet

        rows = small.table(ADAPTER(X[:1]))
        pyarrow.parquet.write_table(rows, docs.root / "docs" / "part-000000000099.parquet")


def test_rows_written_after_the_cut_over_are_not_lost_in_silence(docs):
    old, new = docs.url("docs"), docs.url("docs_new")
    before = docs.read("docs")
    cutover(old, new, ADAPTER)
    write(docs, 3)
    with pytest.raises(ValueError, match="rows.*since the cut-over.*--leave"):
        rollback(old)
    assert len(docs.read("docs")[4][1]) == 8
    if docs.kind in ("parquet", "lance", "faiss ids"):
        assert rollback(old, leave=True).later >= 1
        small.same(docs.read("docs"), before)
        assert 3 not in docs.read("docs_new") or docs.kind == "parquet"
        return
    done = rollback(old, ADAPTER)
    assert (done.later, done.carried) == (2, 2)
    after = docs.read("docs")
    late = after.pop(1000)
    assert late[0] == "late" and np.dot(late[1], X[0]) > 0.95
    small.same(after, {key: row for key, row in before.items() if key != 3})


@pytest.mark.parametrize("kind", ALIASES)
def test_a_collection_s_own_name_is_refused_with_what_to_do(tmp_path, kind):
    database = MAKERS[kind](tmp_path)
    database.fill("docs", X)
    old, new = database.url("docs?column=v"), database.url("docs_new")
    migrate(old, new, ADAPTER)
    with pytest.raises(ValueError, match="own name.*make an alias"):
        cutover(old, new, ADAPTER)


def test_a_file_takes_the_name_in_one_step_with_the_old_one_beside(tmp_path):
    np.save(tmp_path / "docs.npy", X)
    old, new = tmp_path / "docs.npy", tmp_path / "docs_new.npy"
    migrate(old, new, ADAPTER)
    cutover(old, new, ADAPTER)
    assert np.load(old).shape == (50, 8) and np.load(tmp_path / "docs_minivec_old.npy").shape == (50, 6)
    rollback(old)
    assert (np.load(old) == X).all() and np.load(new).shape == (50, 8)


@pytest.mark.parametrize("back", [False, True])
def test_killed_between_two_renames_the_same_command_finishes(docs, back, monkeypatch):
    """Each rename in turn is the last one that a process makes."""
    if docs.kind in (*ALIASES, "duckdb", "sqlite"):
        pytest.skip("one step")
    old, new, before = docs.url("docs"), docs.url("docs_new"), docs.read("docs")
    if back:
        cutover(old, new, ADAPTER)

    def command():
        return rollback(old) if back else cutover(old, new, ADAPTER)

    class Killed(BaseException):
        pass

    with monkeypatch.context() as patch:
        if docs.kind == "chroma":
            from minivec.stores.chroma.renaming import Renamed

            rename, left = Renamed._rename, [1]

            def once(self, *names):
                if not left:
                    raise Killed
                left.pop()
                rename(self, *names)

            patch.setattr(Renamed, "_rename", once)
        else:
            from pathlib import Path

            def replace(self, target, replace=Path.replace):
                raise Killed

            patch.setattr(Path, "replace", replace)
        with pytest.raises(Killed):
            command()
    command()
    small.same(docs.read("docs"), before if back else small.expected(X, ADAPTER))


@pytest.mark.parametrize("back", [False, True])
@pytest.mark.parametrize("switched", [False, True])
def test_stopped_around_the_switch_of_an_alias_the_same_command_finishes(tmp_path, back, switched):
    """The server's answer is lost, before or after it has done what was asked."""
    pytest.importorskip("qdrant_client")
    from qdrant_server import Refused

    docs = AliasOfServer(tmp_path)
    docs.fill("docs", X)
    old, new = docs.url("docs"), docs.url("docs_new")
    migrate(old, new, ADAPTER)
    before, server, lost = docs.read("docs"), docs.base.server, []
    if back:
        cutover(old, new, ADAPTER)

    def lose(method, path, body):
        if (method, path) == ("POST", "/collections/aliases") and not lost:
            lost.append(switched and server._aliases(body))
            raise Refused(400, "lost")

    server.before = lose
    with pytest.raises(StoreError, match="lost"):
        rollback(old) if back else cutover(old, new, ADAPTER)
    small.same(docs.read("docs"), before if back == switched else small.expected(X, ADAPTER))
    rollback(old) if back else cutover(old, new, ADAPTER)
    small.same(docs.read("docs"), before if back else small.expected(X, ADAPTER))
    docs.close()
