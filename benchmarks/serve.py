"""An encoder of ``benchmarks.encoders`` behind OpenAI's /v1/embeddings call, on this machine.

    python -m benchmarks.serve minilm 8000     # in the encoder's own environment; it prints the server's address

``serving("minilm")`` does that in a process of its own, for as long as its block lasts.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Lock

from benchmarks.encoders import ENCODERS


@contextmanager
def serving(encoder: str) -> Iterator[str]:
    """The address of a server of this encoder, such as "http://127.0.0.1:41234/v1"."""
    python = ENCODERS[encoder].python(encoder)
    variables = {**os.environ, "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
    command = [str(python), "-m", "benchmarks.serve", encoder, "0"]
    process = subprocess.Popen(command, cwd=Path(__file__).parents[1], env=variables, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield process.stdout.readline().strip()
    finally:
        process.terminate()
        process.wait()


class Handler(BaseHTTPRequestHandler):
    """Answers one request after the other: the encoder uses all cores."""

    protocol_version = "HTTP/1.1"
    busy = Lock()
    encoder = ""

    def do_POST(self) -> None:  # noqa: N802  http.server's name
        """Embed the texts of the request."""
        texts = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["input"]
        with self.busy:
            rows = type(self).encode(texts).tolist()
        data = [{"object": "embedding", "index": i, "embedding": row} for i, row in enumerate(rows)]
        tokens = sum(len(text.split()) for text in texts)
        body = {"object": "list", "model": self.encoder, "data": data, "usage": {"prompt_tokens": tokens}}
        answer = json.dumps(body).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


if __name__ == "__main__":
    Handler.encoder = sys.argv[1]
    Handler.encode = staticmethod(ENCODERS[sys.argv[1]].load())
    server = ThreadingHTTPServer(("127.0.0.1", int(sys.argv[2])), Handler)
    print(f"http://127.0.0.1:{server.server_port}/v1", flush=True)
    server.serve_forever()
