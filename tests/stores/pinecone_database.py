"""Small Pinecone indexes, in a stand-in for the service or in a project of one's own."""

import atexit
import time
from functools import cache

import numpy as np
import pytest

from cloud import Cloud
from minivec.stores import open_store
from small import Database, exceptions, table


class Pinecone(Database):
    """One stand-in for all tests of a process, emptied for each. Odd rows have a number too."""

    nulls = keeps_nulls = columns = False
    names = r"[a-z0-9]([a-z0-9-]{0,43}[a-z0-9])?"
    namespace = ""

    def __init__(self, root):
        pytest.importorskip("pinecone")
        self.connect()

    def connect(self):
        self.server = pinecone_stand_in()
        self.server.reset()
        self.address, self.options = f"pinecone://:test-key@127.0.0.1:{self.server.port}", "https=false"
        self.open()

    def open(self):
        self.store, self.opened = open_store(self.url("docs")), {}
        self.client = self.store._client

    def url(self, name):
        place, _, options = name.partition("?")
        options = "&".join(filter(None, (options, self.options)))
        return f"{self.address}/{place}{'?' if options else ''}{options}"

    def named(self, name):
        """The name of the index."""
        return name

    def index(self, name):
        name = self.named(name)
        if name not in self.opened:
            self.opened[name] = self.client.index(name=name)
        return self.opened[name]

    def fill(self, name, X, fields=None, **settings):
        dense = {"type": "dense_vector", "dimension": X.shape[1], "metric": "cosine"}
        self.client.indexes.create(
            name=self.named(name), schema={"fields": {"_values": dense, **(fields or {})}}, **settings
        )
        rows = [self._row(row["id"], row["v"], row["text"]) for row in table(X).to_pylist()]
        for start in range(0, len(rows), 200):
            self.index(name).upsert(vectors=rows[start : start + 200])
        self.wait(lambda: self.index(name).describe_index_stats().total_vector_count == len(X))

    def _row(self, key, x, text=None):
        more = {"n": key} if key % 2 else {}
        return {
            "id": str(key),
            "values": [float(number) for number in x],
            "metadata": {"text": text or f"text {key}", **more},
        }

    def wait(self, seen):
        """Until what was written is read."""
        for _ in range(600):
            if seen():
                return
            time.sleep(0.01 if self.server else 0.5)
        raise AssertionError("what was written is not read")

    def read(self, name):
        index, rows = self.index(name), {}
        for page in index.list(limit=100):
            for key, row in index.fetch(ids=[item.id for item in page.vectors]).vectors.items():
                assert row.metadata.get("n", int(key) // 2 * 2) == int(key)
                rows[int(key)] = row.metadata["text"], row.values
        return rows

    def update(self, name, key, x):
        if not np.any(x):
            pytest.skip("Pinecone takes no vector of zeros")
        self.index(name).upsert(vectors=[self._row(key, x)])
        wanted = np.asarray(x, np.float32)

        def seen():
            found = self.index(name).fetch(ids=[str(key)]).vectors.get(str(key))
            return found is not None and np.allclose(found.values, wanted, atol=1e-6)

        self.wait(seen)

    insert = update

    def delete(self, name, key):
        self.index(name).delete(ids=[str(key)])
        self.wait(lambda: not self.index(name).fetch(ids=[str(key)]).vectors)

    def left(self):
        return sorted(index.name for index in self.client.indexes.list())

    def client_classes(self):
        from pinecone.client.indexes import Indexes
        from pinecone.index import Index

        return Indexes, Index

    def errors(self):
        return exceptions("pinecone.errors.exceptions", "httpx")

    def close(self):
        for index in self.opened.values():
            index.close()
        self.store.close()


class PineconeCloud(Cloud, Pinecone):
    """A project of one's own: ``pinecone://api.pinecone.io``, with the key in PINECONE_API_KEY or as ``:KEY@``."""

    variable = "MINIVEC_CLOUD_PINECONE"

    def connect(self):
        self.server = None
        self.address, _, self.options = self.address.partition("?")
        self.prefix = f"mvt-{self.prefix.split('-')[-2]}-"  # a name has 45 characters at most
        self.open()

    def url(self, name):
        return super().url(self.prefix + name)

    def named(self, name):
        return self.prefix + name

    def left(self):
        return [name for name in super().left() if name.startswith(self.prefix)]

    def drop(self, name):
        self.client.indexes.delete(name)

    def close(self):
        for name in self.left():  # and their notes with them
            self.drop(name)
        Pinecone.close(self)


@cache
def pinecone_stand_in():
    """A stand-in, made on first use and stopped when the process ends."""
    from pinecone_server import pinecone_served

    state, stop = pinecone_served()
    atexit.register(stop)
    return state
