"""A small Qdrant server for tests: the REST protocol over the client's local mode, with the faults of real servers."""

import json
import threading
from contextlib import contextmanager
from urllib.parse import unquote

import numpy as np
from qdrant_client import QdrantClient, models

from local_server import Handler, serving

LIMIT = 32 << 20  # bytes of a request that Qdrant's server accepts by default
SECTIONS = ("hnsw_config", "wal_config", "quantization_config", "strict_mode_config")
PARAMETERS = ("vectors", "sparse_vectors", "shard_number", "sharding_method", "replication_factor")
PARAMETERS += ("write_consistency_factor", "on_disk_payload")


class Refused(Exception):
    def __init__(self, status, message, headers=None):
        super().__init__(message)
        self.status, self.headers = status, headers or {}


class Server:
    """Collections in memory, and what a test may set.

    ``limit`` is the bytes of a request, ``key`` the API key, and ``before`` is called with the method, path and body of
    each request; it may raise Refused, or sleep. ``requests`` are the (method, path, bytes) that came in. Local mode
    forgets most settings of a collection: the server keeps the request that made it.
    """

    def __init__(self):
        self.local = QdrantClient(":memory:", force_disable_check_same_thread=True)
        self.made, self.indexes, self.requests = {}, {}, []
        self.limit, self.key, self.before = LIMIT, None, lambda method, path, body: None
        self._lock = threading.RLock()

    def answer(self, method, path, headers, read):
        size = int(headers.get("Content-Length") or 0)
        self.requests.append((method, path, size))
        text = read(size)
        if size > self.limit:
            raise Refused(
                413, f"Payload error: JSON payload ({size} bytes) is larger than allowed (limit: {self.limit} bytes)"
            )
        if self.key is not None and headers.get("api-key") != self.key:
            raise Refused(401, "Must provide an API key or an Authorization bearer token")
        body = json.loads(text) if text else {}
        self.before(method, path, body)
        if path == "/":
            return {"title": "qdrant", "version": "1.20.0"}
        with self._lock:
            try:
                return {
                    "result": self._dispatch(method, [unquote(part) for part in path.strip("/").split("/")], body),
                    "status": "ok",
                    "time": 0.0,
                }
            except ValueError as error:
                status = 404 if "not found" in str(error) else 409 if "already exists" in str(error) else 400
                raise Refused(status, str(error)) from None

    def _dispatch(self, method, parts, body):
        if "aliases" in parts[:2]:
            return self._aliases(body) if method == "POST" else plain(self.local.get_aliases())
        name, action = parts[1], "/".join(parts[2:])
        if action.startswith("vectors/"):
            config = models.DenseVectorNameConfig.model_validate(body)
            return plain(self.local.create_vector_name(name, parts[3], config))
        handlers = {
            ("GET", ""): self._get,
            ("PUT", ""): self._create,
            ("PATCH", ""): lambda name, body: True,
            ("DELETE", ""): lambda name, body: self.local.delete_collection(name),
            ("GET", "exists"): lambda name, body: {"exists": self.local.collection_exists(name)},
            ("PUT", "index"): self._index,
            ("PUT", "points"): self._upsert,
            ("POST", "points"): self._retrieve,
            ("POST", "points/scroll"): self._scroll,
            ("POST", "points/count"): self._count,
            ("POST", "points/query"): self._query,
            ("POST", "points/delete"): self._delete,
            ("PUT", "points/vectors"): self._vectors,
            ("POST", "points/vectors/delete"): self._delete_vectors,
        }
        return handlers[method, action](name, body)

    def _aliases(self, body):
        """All of the changes, or none."""
        actions = models.ChangeAliasesOperation.model_validate(body).actions
        return self.local.update_collection_aliases(actions)

    def _create(self, name, body):
        made = models.CreateCollection.model_validate(body)
        self.local.create_collection(name, made.vectors, made.sparse_vectors)
        self.made[name] = body
        return True

    def _get(self, name, body):
        info = plain(self.local.get_collection(name))
        made, config = self.made.get(name, {}), info["config"]
        for section in SECTIONS:
            config[section] = (config.get(section) or {}) | (made.get(section) or {}) or None
        config["optimizer_config"] |= made.get("optimizers_config") or {}
        config["params"] |= {key: made[key] for key in PARAMETERS if made.get(key) is not None and key != "vectors"}
        fields = self.indexes.get(name, {})
        info["payload_schema"] = {
            field: {"data_type": kind if isinstance(kind, str) else kind["type"], "points": 0}
            | ({} if isinstance(kind, str) else {"params": kind})
            for field, kind in fields.items()
        }
        return info

    def _index(self, name, body):
        self.indexes.setdefault(name, {})[body["field_name"]] = body["field_schema"]
        return {"operation_id": 0, "status": "completed"}

    def _upsert(self, name, body):
        points = models.PointsList.model_validate(body)
        for point in points.points:
            point.vector = self._stored(name, point.vector)
        return plain(self.local.upsert(name, points.points))

    def _stored(self, name, vector):
        """As a real server stores it: uint8 keeps whole numbers from 0 to 255."""
        vectors = self.local.get_collection(name).config.params.vectors

        def kept(key, row):
            parameters = vectors.get(key) if isinstance(vectors, dict) else vectors if key == "" else None
            if parameters is None or parameters.datatype != models.Datatype.UINT8:
                return row
            return np.clip(np.asarray(row), 0, 255).astype(np.uint8).tolist()

        return {key: kept(key, row) for key, row in vector.items()} if isinstance(vector, dict) else kept("", vector)

    def _vectors(self, name, body):
        points = models.UpdateVectors.model_validate(body).points
        return plain(self.local.update_vectors(name, points))

    def _delete_vectors(self, name, body):
        asked = models.DeleteVectors.model_validate(body)
        return plain(self.local.delete_vectors(name, asked.vector, asked.points))

    def _retrieve(self, name, body):
        asked = models.PointRequest.model_validate(body)
        return plain(self.local.retrieve(name, asked.ids, asked.with_payload, asked.with_vector))

    def _scroll(self, name, body):
        asked = models.ScrollRequest.model_validate(body)
        points, following = self.local.scroll(
            name, asked.filter, limit=asked.limit, offset=asked.offset, with_payload=asked.with_payload,
            with_vectors=asked.with_vector,
        )  # fmt: skip
        return {"points": plain(points), "next_page_offset": following}

    def _count(self, name, body):
        return plain(self.local.count(name, models.CountRequest.model_validate(body).filter))

    def _query(self, name, body):
        asked = models.QueryRequest.model_validate(body)
        return plain(
            self.local.query_points(
                name, asked.query, using=asked.using, query_filter=asked.filter, limit=asked.limit or 10,
                with_payload=asked.with_payload, with_vectors=asked.with_vector,
            )
        )  # fmt: skip

    def _delete(self, name, body):
        selector = models.PointIdsList.model_validate(body) if "points" in body else models.FilterSelector(**body)
        return plain(self.local.delete(name, selector))


def plain(value):
    if isinstance(value, list):
        return [plain(item) for item in value]
    return json.loads(value.model_dump_json()) if hasattr(value, "model_dump_json") else value


@contextmanager
def qdrant_server():
    """A running server and its address, HOST:PORT."""
    server = Server()

    class Asked(Handler):
        def handle_any(self):
            headers = {}
            try:
                status, answer = 200, server.answer(
                    self.command, self.path.partition("?")[0], self.headers, self.rfile.read
                )  # fmt: skip
            except Refused as refused:
                status, answer = refused.status, {"status": {"error": str(refused)}, "time": 0.0}
                headers = refused.headers
            except (BrokenPipeError, ConnectionResetError):
                self.close_connection = True
                return
            self.answer(status, {"Content-Type": "application/json", **headers}, json.dumps(answer).encode())

        do_GET = do_PUT = do_POST = do_DELETE = do_PATCH = handle_any

    with serving(Asked) as address:
        yield server, address
