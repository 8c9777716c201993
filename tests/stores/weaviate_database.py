"""Small Weaviate collections, in a stand-in for the server or on a server of one's own."""

import atexit
from functools import cache
from urllib.parse import quote

import pytest

from cloud import Cloud
from minivec.stores import open_store
from small import Database, exceptions, table


class Weaviate(Database):
    """One stand-in for all tests of a process, emptied for each. Odd rows have a number too."""

    names = column_names = r"[A-Za-z][A-Za-z0-9_]*"
    tenant = None

    def __init__(self, root):
        pytest.importorskip("weaviate")
        self.connect()

    def connect(self):
        self.server, self.address, self.options = weaviate_stand_in()
        for places in (self.server.classes, self.server.objects, self.server.aliases):
            places.clear()
        self.server.before = self.server.answers = lambda what: None
        self.store = open_store(self.url("docs"))
        self.client = self.store._client

    def url(self, name):
        place, _, options = name.partition("?")
        return f"{self.address}/{place}?{'&'.join(filter(None, (options, self.options)))}"

    def source(self, name="docs"):
        return f"{self.url(name)}&column={quote(self.column, safe='')}"

    def collection(self, name):
        return self.client.collections.use(name)

    def fill(self, name, X, null=None, **settings):
        vector = {"vectorizer": {"none": {}}, "vectorIndexType": "hnsw", "vectorIndexConfig": {"distance": "cosine"}}
        props = [{"name": "text", "dataType": ["text"]}, {"name": "n", "dataType": ["int"]}]
        made = {"class": name[:1].upper() + name[1:], "properties": props, "vectorConfig": {self.column: vector}}
        self.client.collections.create_from_dict(made | settings)
        rows = [self._row(row["id"], row["v"], row["text"]) for row in table(X, null).to_pylist()]
        for start in range(0, len(rows), 2_000):
            assert not self.collection(name).data.insert_many(rows[start : start + 2_000]).errors

    def _row(self, key, x, text=None):
        from weaviate.classes.data import DataObject

        more = {"n": key} if key % 2 else {}
        vector = None if x is None else {self.column: [float(number) for number in x]}
        return DataObject(properties={"text": text or f"text {key}", **more}, uuid=uuid_of(key), vector=vector)

    def read(self, name):
        rows = {}
        for row in self.collection(name).iterator(include_vector=True):
            key = key_of(row.uuid)
            assert row.properties["n"] == (key if key % 2 else None)
            rows[key] = row.properties["text"], row.vector.get(self.column)
        return rows

    def update(self, name, key, x, text=None):
        assert not self.collection(name).data.insert_many([self._row(key, x, text)]).errors

    insert = update

    def delete(self, name, key):
        assert self.collection(name).data.delete_by_id(uuid_of(key))

    def left(self):
        return sorted(self.client.collections.list_all())

    def client_classes(self):
        from weaviate.connect.v4 import ConnectionSync

        return [ConnectionSync]

    def errors(self):
        return exceptions("weaviate.exceptions", "httpx", "grpc")

    def close(self):
        self.store.close()


class WeaviateCloud(Cloud, Weaviate):
    """A server of one's own: ``weaviate://HOST:PORT``, with options behind it if need be (``?https=true``)."""

    variable = "MINIVEC_CLOUD_WEAVIATE"

    def connect(self):
        self.prefix = self.prefix.title().replace("-", "")
        self.address, _, self.options = self.address.partition("?")
        self.address, self.options = self.address.rstrip("/"), self.options or "https=false"
        self.store = open_store(self.url("docs"))
        self.client = self.store._client

    def url(self, name):
        return super().url(self.prefix + name)

    def fill(self, name, X, null=None, **settings):
        super().fill(self.prefix + name, X, null, **settings)

    def collection(self, name):
        return super().collection(name if name.startswith(self.prefix) else self.prefix + name)

    def left(self):
        return [name for name in super().left() if name.startswith(self.prefix)]

    def drop(self, name):
        self.client.collections.delete(name)


def uuid_of(key):
    """A UUID that begins with this number, as texts that name rows do."""
    return f"{str(key).ljust(8, 'a')}-aaaa-4aaa-8aaa-aaaaaaaaaaaa"


def key_of(uuid):
    """The number that a UUID begins with."""
    return int(str(uuid)[:8].rstrip("a"))


@cache
def weaviate_stand_in():
    """The state of a stand-in, made on first use and stopped when the process ends, its address and its options."""
    from weaviate_server import weaviate_served

    state, port, grpc_port, stop = weaviate_served()
    atexit.register(stop)
    return state, f"weaviate://127.0.0.1:{port}", f"grpc=127.0.0.1:{grpc_port}"
