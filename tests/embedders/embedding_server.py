"""A server with OpenAI's /v1/embeddings call, on this machine, that can misbehave: for the tests of embedders.

python tests/embedders/embedding_server.py 8000        # serves the tiny encoder until it is killed
"""

import base64
import hashlib
import json
import select
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np

WIDTH = 16


def tiny(texts, width=WIDTH, seed=0):
    """A vector for each text, always the same one: the sum of random vectors of its words."""
    rows = []
    for text in texts:
        words = [hashlib.sha256(f"{seed} {word}".encode()).digest() for word in text.split()] or [b"nothing"]
        seeds = [int.from_bytes(word[:4], "little") for word in words]
        rows.append(np.sum([np.random.default_rng(s).standard_normal(width) for s in seeds], axis=0))
    X = np.array(rows, np.float32)
    return X / np.linalg.norm(X, axis=1, keepdims=True)


class Server(ThreadingHTTPServer):
    """Answers with vectors of ``encode``; what it was asked is in ``requests``, and what it embedded in ``embedded``.

    ``faults`` are functions of a request's number (from 1), its texts and its good answer (a dict). The first that
    returns something decides: (status, headers, body). A body of bytes is sent as it is. ``left`` counts the clients
    that went away before they got an answer.
    """

    daemon_threads = True

    def __init__(self, encode=tiny, *, key=None, port=0):
        super().__init__(("127.0.0.1", port), Handler)
        self.encode, self.key, self.faults, self.slow = encode, key, [], 0.0
        self.requests, self.embedded, self.at_once, self.most_at_once = [], [], 0, 0
        self.left = 0
        self.lock = threading.Lock()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}/v1"

    def __enter__(self):
        threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *_):
        self.shutdown()
        self.server_close()

    def handle_error(self, request, client_address):
        """A client that was killed is no error."""


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        """Say nothing."""

    def do_POST(self):
        server = self.server
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with server.lock:
            server.requests.append((dict(self.headers), body))
            number = len(server.requests)
            server.at_once += 1
            server.most_at_once = max(server.most_at_once, server.at_once)
        try:
            if select.select([self.connection], [], [], server.slow)[0]:  # closed: nothing else comes before an answer
                with server.lock:
                    server.left += 1
                return
            self.reply(*self.decided(number, body))
        finally:
            with server.lock:
                server.at_once -= 1

    def do_GET(self):
        self.server.requests.append((dict(self.headers), self.path))
        self.reply(200, {}, {"object": "list", "data": [{"id": "tiny", "object": "model"}]})

    def decided(self, number, body):
        """Status, headers and body of the answer."""
        server = self.server
        if self.path != "/v1/embeddings":
            return 404, {}, {"error": {"message": f"no {self.path}"}}
        if server.key and self.headers.get("Authorization") != f"Bearer {server.key}":
            return 401, {}, {"error": {"message": f"Incorrect API key: {self.headers.get('Authorization')}"}}
        texts = several(body["input"])
        good = answer(server.encode(texts), body.get("encoding_format"))
        for fault in server.faults:
            if (decided := fault(number, texts, good)) is not None:
                return decided
        with server.lock:
            server.embedded += texts
        return 200, {}, good

    def reply(self, status, headers, body):
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        for name, value in {"Content-Type": "application/json", "Content-Length": len(data), **headers}.items():
            self.send_header(name, str(value))
        self.end_headers()
        self.wfile.write(data)


def several(given):
    """The texts of a request's ``input``, also where it is one of them, or lists of tokens."""
    texts = [given] if isinstance(given, str) or isinstance(given[0], int) else given
    return [text if isinstance(text, str) else " ".join(map(str, text)) for text in texts]


def answer(X, encoding="float"):
    """The body of a good answer."""
    rows = [base64.b64encode(x.astype("<f4")).decode() if encoding == "base64" else x.tolist() for x in X]
    data = [{"object": "embedding", "index": i, "embedding": row} for i, row in enumerate(rows)]
    return {"object": "list", "model": "tiny", "data": data, "usage": {"prompt_tokens": 3 * len(X)}}


if __name__ == "__main__":
    with Server(port=int(sys.argv[1])) as running:
        print(running.url, flush=True)
        threading.Event().wait()
