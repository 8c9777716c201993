"""Small indexes of Elasticsearch and OpenSearch: on a stand-in for each test, or on a server of one's own."""

import json
from contextlib import ExitStack
from urllib.parse import quote

import numpy as np
import pytest

from cloud import Cloud
from minivec.stores import open_store
from search_server import search_server
from small import Database, exceptions, table

PAGE = 5_000  # documents that are read together


class Elastic(Database):
    """Documents with a text, and a field that only odd ones have. Every third has a routing of its own."""

    scheme, package = "elasticsearch", "elasticsearch"
    names = r'[^A-Z\\/*?"<>|\s,#:_+-][^A-Z\\/*?"<>|\s,#:]*'
    column_names = r"[^.]+"
    order = "_shard_doc"  # of all documents
    address = None  # of a server of one's own

    def __init__(self, root):
        pytest.importorskip(self.package)
        self._stack = ExitStack()
        if self.address is None:
            self.server, address = self._stack.enter_context(search_server(self.scheme))
            self.address = f"{self.scheme}://{address}"
        self.store = open_store(self.url("docs"))

    def url(self, name):
        return f"{self.address}/{name}"

    def source(self, name="docs"):
        return f"{self.url(name)}?column={quote(self.column, safe='')}"

    def index(self, name):
        """The index of a name in a test."""
        return name

    def place(self, name):
        """An index and its field of vectors."""
        return self.index(name), self.column

    def field(self, width):
        """The mapping of the vectors."""
        return {"type": "dense_vector", "dims": width, "index": True, "similarity": "l2_norm"}

    def fill(self, name, X, null=None, settings=None, mappings=None, **field):
        fields = {"text": {"type": "text"}, "n": {"type": "long"}, self.column: self.field(X.shape[1]) | field}
        mappings = {"dynamic": "strict", "properties": fields} | (mappings or {})
        settings = {"index.number_of_shards": 3, **self.needed} | (settings or {})
        self.ask("PUT", self.index(name), body={"settings": settings, "mappings": mappings})
        rows = [(row["id"], self._document(row["id"], row["v"])) for row in table(X, null).to_pylist()]
        for start in range(0, len(rows), 1_000):
            self._index(name, rows[start : start + 1_000])

    needed = {}  # settings of an index with vectors

    def _document(self, key, x, text=None):
        row = {"text": text or f"text {key}"} | ({"n": key} if key % 2 else {})
        return row if x is None else row | {self.column: np.asarray(x, float).tolist()}

    def _index(self, name, rows):
        lines = [line for key, row in rows for line in ({"index": self.where(key)}, row)]
        self.bulk(self.place(name)[0], lines)

    def where(self, key):
        return {"_id": str(key)} | ({"routing": f"r{key % 4}"} if key % 3 == 0 else {})

    def ask(self, *arguments, **options):
        return self.store._ask(*arguments, **options)

    def bulk(self, index, lines):
        body = "".join(json.dumps(line) + "\n" for line in lines).encode()
        told = self.ask("POST", index, "_bulk", body=body)
        assert not told["errors"], told
        self.ask("POST", index, "_refresh")

    def documents(self, index):
        """All documents by id, whole."""
        self.ask("POST", index, "_refresh")
        (told,) = self.ask("GET", index, include_defaults="true", flat_settings="true").values()
        hides = "index.mapping.exclude_source_vectors" in told["settings"] | told.get("defaults", {})
        source = {"exclude_vectors": False} if hides else True
        pit, hits = self.store._open(index), []
        body = {"size": PAGE, "_source": source, "sort": [{self.order: "asc"}], "pit": {"id": pit, "keep_alive": "1m"}}
        while page := self.ask("POST", "_search", body=body)["hits"]["hits"]:
            hits += page
            body["search_after"] = page[-1]["sort"]
        self.store._shut(pit)
        found = {int(hit["_id"]): hit for hit in hits}
        assert len(found) == len(hits)
        return found

    def read(self, name):
        index, column = self.place(name)
        rows = {}
        for key, hit in self.documents(index).items():
            row = hit["_source"]
            assert row.get("n", key // 2 * 2) == key and hit.get("_routing") == self.where(key).get("routing")
            rows[key] = row["text"], row.get(column)
        return rows

    def update(self, name, key, x):
        index, column = self.place(name)
        value = None if x is None else np.asarray(x, float).tolist()
        self.bulk(index, [{"update": self.where(key)}, {"doc": {column: value}}])

    def delete(self, name, key):
        self.bulk(self.place(name)[0], [{"delete": self.where(key)}])

    def insert(self, name, key, x):
        self._index(name, [(key, self._document(key, x))])

    def left(self):
        indexes = self.server.indexes
        return [(name, sorted(index.vectors()), len(index.docs)) for name, index in sorted(indexes.items())]

    def client_classes(self):
        from elasticsearch._sync.client._base import BaseClient

        return [BaseClient]

    def errors(self):
        return exceptions("elasticsearch.exceptions", "elastic_transport")

    def close(self):
        self.store.close()
        self._stack.close()


class ElasticField(Elastic):
    """The destination NAME is a new field of the documents of docs."""

    in_place, names = True, r"[^.]+"

    def url(self, name):
        return f"{self.address}/docs" + (f"?column={name}" if name != "docs" else "")

    def source(self, name="docs"):
        return f"{self.address}/docs?column={quote(self.column, safe='')}"

    def place(self, name):
        return "docs", self.column if name == "docs" else name

    def fill(self, name, X, **options):
        super().fill("docs", X, mappings={"dynamic": "true"}, **options)


class OpenSearch(Elastic):
    scheme, package, order = "opensearch", "opensearchpy", "_id"  # old servers have no other one
    needed = {"index.knn": True}

    def field(self, width):
        method = {"name": "hnsw", "engine": "lucene", "space_type": "l2", "parameters": {"m": 8}}
        return {"type": "knn_vector", "dimension": width, "method": method}

    def client_classes(self):
        from opensearchpy import Transport

        return [Transport]

    def errors(self):
        from opensearchpy.exceptions import TransportError

        def made(kind):
            return lambda text: kind("N/A", text, ValueError(text)) if issubclass(kind, TransportError) else kind(text)

        return list(map(made, exceptions("opensearchpy.exceptions")))


class OnCloud(Cloud):
    """On a server of one's own: the indexes that begin with the prefix."""

    def index(self, name):
        return self.prefix + name

    def url(self, name):
        place, _, options = self.address.partition("?")
        return f"{place.rstrip('/')}/{quote(self.prefix)}{name}" + (f"?{options}" if options else "")

    def source(self, name="docs"):
        return f"{self.url(name)}{'&' if '?' in self.address else '?'}column={quote(self.column, safe='')}"

    def left(self):
        return sorted(self.ask("GET", f"{self.prefix}*"))

    def drop(self, name):
        self.ask("DELETE", name)


class CloudElastic(OnCloud, Elastic):
    variable = "MINIVEC_CLOUD_ELASTICSEARCH"


class CloudOpenSearch(OnCloud, OpenSearch):
    variable = "MINIVEC_CLOUD_OPENSEARCH"
