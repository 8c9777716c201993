"""Small Milvus collections: Milvus Lite, behind its own server or in a file."""

import atexit
import logging
import socket
import subprocess
import sys
import tempfile
import time
from functools import cache
from pathlib import Path
from urllib.parse import quote

import numpy as np
import pytest

from small import Database, exceptions, table


class Milvus(Database):
    """One server for all tests of a process, emptied for each; rows have a dynamic field too."""

    nulls = keeps_nulls = False

    def __init__(self, root):
        pytest.importorskip("milvus_lite")
        self.client, self.address = milvus_served()
        for name in self.left():
            self.client.drop_collection(name)

    def url(self, name):
        return f"{self.address}/{name}"

    def source(self, name="docs"):
        return f"{self.url(name)}?column={quote(self.column, safe='')}"

    def fill(self, name, X, **options):
        from pymilvus import DataType

        schema = self.client.create_schema(enable_dynamic_field=True)
        schema.add_field("id", DataType.INT64, is_primary=True)
        schema.add_field("text", DataType.VARCHAR, max_length=100, nullable=True)
        schema.add_field(self.column, DataType.FLOAT_VECTOR, dim=X.shape[1])
        indexes = self.client.prepare_index_params()
        indexes.add_index(self.column, index_type="HNSW", metric_type="COSINE", params={"M": 8, "efConstruction": 64})
        self.client.create_collection(name, schema=schema, index_params=indexes, **options)
        rows = [self._row(row["id"], row["v"], row["text"]) for row in table(X).to_pylist()]
        for start in range(0, len(rows), 5_000):
            self.client.insert(name, rows[start : start + 5_000])

    def _row(self, key, x, text=None):
        dynamic = {"n": key} if key % 2 else {}
        return {"id": key, "text": text or f"text {key}", self.column: np.asarray(x, np.float32), **dynamic}

    def read(self, name):
        self.client.load_collection(name)
        rows, pages = [], self.client.query_iterator(name, batch_size=10_000, output_fields=["*"])
        while page := pages.next():
            rows += page
        assert all(row.get("n", row["id"] // 2 * 2) == row["id"] or row["id"] >= 100 for row in rows)
        return {row["id"]: (row["text"], row[self.column]) for row in rows}

    def update(self, name, key, x):
        self.client.upsert(name, [self._row(key, x)])

    def delete(self, name, key):
        self.client.delete(name, ids=[key])

    insert = update

    def left(self):
        return sorted(self.client.list_collections())

    def client_classes(self):
        from pymilvus import MilvusClient

        return [MilvusClient]

    def errors(self):
        return exceptions("pymilvus.exceptions", "grpc")


class MilvusFile(Milvus):
    """Milvus Lite in a file, which belongs to one process."""

    def __init__(self, root):
        self.client, self.address = milvus_client(str(root / "milvus.db")), f"milvus://{root}/milvus.db"

    def close(self):
        self.client.close()


def milvus_client(place):
    """A client without its log."""
    pymilvus = pytest.importorskip("pymilvus")
    pytest.importorskip("milvus_lite")
    logging.getLogger("pymilvus").setLevel(logging.CRITICAL)
    return pymilvus.MilvusClient(place, grpc_options={"grpc.keepalive_time_ms": 600_000})


@cache
def milvus_served():
    """A client of a server, made on first use and stopped when the process ends, and its address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    folder = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
    line = [sys.executable, "-m", "milvus_lite", "server", "--data-dir", str(Path(folder.name) / "data")]
    server = subprocess.Popen([*line, "--port", str(port)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def stop():
        server.kill()
        server.wait()
        folder.cleanup()

    atexit.register(stop)
    for _ in range(300):
        time.sleep(0.1)
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                break
    return milvus_client(f"http://127.0.0.1:{port}"), f"milvus://127.0.0.1:{port}"
