"""A stand-in for Pinecone: the control plane and the indexes of one project, with limits, errors and a delay.

It answers what the client asks in version 2026-07 of the API. What is written is read only ``delay`` seconds later, in
the order in which it was written.
"""

import json
import re
import threading
import time
from bisect import bisect_left, bisect_right
from contextlib import ExitStack
from urllib.parse import parse_qs, unquote, urlsplit

from local_server import Handler, serving

BODY, VECTORS, METADATA, ADDRESS = 2 << 20, 1_000, 40_960, 8_192  # limits of a request and a record
DEFAULT = "__default__"


class Refused(Exception):
    """An answer of this status and message."""

    def __init__(self, status, message, headers=None):
        super().__init__(message)
        self.status, self.message, self.headers = status, message, headers or {}


class Index:
    """What was written to an index, and what of it is read yet."""

    def __init__(self, info, server):
        self.info, self.server, self.spaces, self.waiting = info, server, {}, []
        self.sorted = {}  # the ids of a namespace, until one comes or goes

    def read(self, namespace):
        """The records by id that are read now."""
        while self.waiting and self.waiting[0][0] <= time.monotonic():
            self.waiting.pop(0)[1]()
        return self.spaces.get(namespace or DEFAULT, {})

    def later(self, work):
        self.waiting.append((time.monotonic() + self.server.delay, work))

    @property
    def dimension(self):
        return self.info["schema"]["fields"].get("_values", {}).get("dimension", self.server.embedded)

    def upsert(self, body):
        vectors, sparse = body["vectors"], "_sparse_values" in self.info["schema"]["fields"]
        if not set(self.info["schema"]["fields"]) <= {"_values", "_sparse_values"} and not self.server.embedded:
            raise Refused(400, "vector operations are not supported on an index with a document schema")
        if len(vectors) > VECTORS:
            raise Refused(400, f"The number of vectors {len(vectors)} exceeds the limit of {VECTORS} per request")
        for vector in vectors:
            told = f"Vector {vector['id']!r}: "
            if len(vector["values"]) != self.dimension:
                width = len(vector["values"])
                raise Refused(
                    400, f"Vector dimension {width} does not match the dimension of the index {self.dimension}"
                )
            if not any(vector["values"]):
                raise Refused(400, told + "Dense vectors must contain at least one non-zero value.")
            if len(json.dumps(vector.get("metadata", {}), ensure_ascii=False).encode()) > METADATA:
                raise Refused(400, told + f"Metadata size exceeds the limit of {METADATA} bytes per vector")
            if vector.get("sparseValues") and not sparse:
                raise Refused(400, told + "Index configuration does not support sparse values")
            for name, value in vector.get("metadata", {}).items():
                texts = isinstance(value, list) and all(isinstance(item, str) for item in value)
                if not isinstance(value, (str, int, float, bool)) and not texts:
                    raise Refused(400, f"Metadata value must be a string, number, boolean or list of strings: {name}")

        def work():
            namespace = body.get("namespace") or DEFAULT
            space = self.spaces.setdefault(namespace, {})
            if any(vector["id"] not in space for vector in vectors):
                self.sorted.pop(namespace, None)
            space.update({vector["id"]: as_floats(vector) for vector in vectors})

        self.later(work)
        return {"upsertedCount": len(vectors)}

    def delete(self, body):
        namespace = body.get("namespace") or DEFAULT
        if namespace not in self.spaces and not self.waiting:
            raise Refused(404, "Namespace not found")

        def work():
            self.sorted.pop(namespace, None)
            for key in body["ids"]:
                self.spaces.get(namespace, {}).pop(key, None)
            if not self.spaces.get(namespace, True):
                del self.spaces[namespace]

        self.later(work)
        return {}

    def fetch(self, asked):
        ids = asked["ids"]
        if len(ids) > VECTORS:
            raise Refused(400, f"too many ids: {len(ids)}")
        space = self.read(asked.get("namespace", [""])[0])
        return {"vectors": {key: space[key] for key in ids if key in space}, "namespace": "", "usage": {"readUnits": 1}}

    def listed(self, asked):
        limit, start = int(asked.get("limit", ["100"])[0]), asked.get("paginationToken", [""])[0]
        if not 1 <= limit <= 100:
            raise Refused(400, "limit must be from 1 to 100")
        prefix = asked.get("prefix", [""])[0]
        namespace = asked.get("namespace", [""])[0] or DEFAULT
        there = self.read(namespace)
        if namespace not in self.sorted:
            self.sorted[namespace] = sorted(there)
        every = self.sorted[namespace]
        place = max(bisect_right(every, start), bisect_left(every, prefix))
        ids = [key for key in every[place : place + limit + 1] if key.startswith(prefix)]  # these lie together
        more = {"pagination": {"next": ids[limit - 1]}} if len(ids) > limit else {}
        return {"vectors": [{"id": key} for key in ids[:limit]], "namespace": "", **more}

    def stats(self):
        self.read(DEFAULT)
        counts = {name: {"vectorCount": len(space)} for name, space in self.spaces.items()}
        total = sum(len(space) for space in self.spaces.values())
        told = {"namespaces": counts, "dimension": self.dimension, "indexFullness": 0, "totalVectorCount": total}
        return told | {"metric": "cosine", "vectorType": "dense"}


class Server:
    """The indexes by name. ``before(what)`` is called before each request, with "POST /indexes", and may refuse."""

    def __init__(self):
        self.lock, self.port = threading.RLock(), 0
        self.reset()

    def reset(self):
        self.indexes, self.delay, self.key, self.embedded = {}, 0.02, "test-key", None
        self.before = lambda what: None

    def create(self, body):
        name = body["name"]
        if not re.fullmatch(r"[a-z0-9]([a-z0-9-]{0,43}[a-z0-9])?", name):
            raise Refused(400, f"Name {name!r} must consist of lower case alphanumeric characters or '-'")
        if name in self.indexes:
            raise Refused(409, f"Resource {name} already exists")
        made = {"deployment": {"deployment_type": "managed", "cloud": "aws", "region": "us-east-1"}, "tags": None}
        made |= {"deletion_protection": "disabled", "read_capacity": {"mode": "OnDemand", "status": {"state": "Ready"}}}
        made |= {"status": {"ready": True, "state": "Ready"}, **body}
        self.indexes[name] = Index(made | {"host": f"http://127.0.0.1:{self.port}/data/{name}"}, self)
        return self.indexes[name].info

    def answer(self, method, path, asked, body):
        self.before(f"{method} {path}")
        match path.strip("/").split("/"):
            case ["indexes"] if method == "POST":
                return 201, self.create(body)
            case ["indexes"]:
                return 200, {"indexes": [index.info for index in self.indexes.values()]}
            case ["indexes", name]:
                index = self.index(name)
                if method == "DELETE":
                    if index.info["deletion_protection"] == "enabled":
                        raise Refused(403, "Deletion protection is enabled for this index")
                    del self.indexes[name]
                    return 202, {}
                return 200, index.info
            case ["data", name, "vectors", "fetch"]:
                return 200, self.index(name).fetch(asked)
            case ["data", name, "vectors", "list"]:
                return 200, self.index(name).listed(asked)
            case ["data", name, "vectors", "upsert"]:
                return 200, self.index(name).upsert(body)
            case ["data", name, "vectors", "delete"]:
                return 200, self.index(name).delete(body)
            case ["data", name, "describe_index_stats"]:
                return 200, self.index(name).stats()
        raise Refused(404, f"no {method} {path} here")

    def index(self, name):
        if name not in self.indexes:
            raise Refused(404, f"Resource {name} not found")
        return self.indexes[name]


def as_floats(value):
    """Metadata as Pinecone gives it back: every number is a float."""
    if isinstance(value, dict):
        return {name: as_floats(item) if name not in ("indices", "values") else item for name, item in value.items()}
    return float(value) if isinstance(value, int) and not isinstance(value, bool) else value


class Asked(Handler):
    server_state = None

    def respond(self):
        state, url, size = self.server_state, urlsplit(self.path), int(self.headers.get("Content-Length") or 0)
        text, headers = self.rfile.read(size), {}
        try:
            if self.headers.get("Api-Key") != state.key:
                raise Refused(401, "Invalid API Key")
            if len(self.path) > ADDRESS:
                raise Refused(414, "Request-URI Too Large")
            if size > BODY:
                raise Refused(400, f"Error, request size {size} exceeds the maximum supported size of {BODY} bytes")
            with state.lock:
                asked = parse_qs(url.query, keep_blank_values=True)
                body = json.loads(text) if text else {}
                status, told = state.answer(self.command, unquote(url.path), asked, body)
        except Refused as error:
            status, headers = error.status, error.headers
            told = {"code": status, "message": error.message}
            if not url.path.startswith("/data"):
                told = {"status": status, "error": {"code": "REFUSED", "message": error.message}}
        headers = {name: str(value) for name, value in headers.items()}
        self.answer(status, {"Content-Type": "application/json", **headers}, json.dumps(told).encode())

    do_GET = do_POST = do_DELETE = respond


def pinecone_served():
    """A running stand-in, and a function that stops it."""
    state = Server()
    running = ExitStack()
    host = running.enter_context(serving(type("Here", (Asked,), {"server_state": state})))
    state.port = int(host.rpartition(":")[2])
    return state, running.close
