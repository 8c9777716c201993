"""Chroma's own server, for tests."""

import socket
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@contextmanager
def chroma_server(folder):
    """A running server over a folder: its host and port."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    code = "import sys; from chromadb.cli.cli import app; sys.argv[0] = 'chroma'; app()"
    words = [sys.executable, "-c", code, "run", "--path", str(folder), "--host", "127.0.0.1", "--port", str(port)]
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        end = time.monotonic() + 60
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), 0.2).close()
                break
            except OSError:
                assert process.poll() is None and time.monotonic() < end, "Chroma's server does not start"
                time.sleep(0.05)
        yield "127.0.0.1", port
    finally:
        process.kill()
        process.wait()


@contextmanager
def faulty(host, port, before):
    """A proxy before a server: its host and port. ``before(method, path)`` gives None, or a status to answer with.

    The status 0 closes the connection without an answer.
    """

    class Handler(BaseHTTPRequestHandler):
        def answer(self):
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            status = before(self.command, self.path)
            if status == 0:
                return
            text = b"out of order"
            if status is None:
                server = HTTPConnection(host, port)
                server.request(self.command, self.path, body, dict(self.headers))
                answer = server.getresponse()
                status, text = answer.status, answer.read()
                server.close()
            self.send_response(status)
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        do_GET = do_POST = do_PUT = do_DELETE = answer

        def log_message(self, *_):
            pass

    httpd = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=httpd.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    try:
        yield "127.0.0.1", httpd.server_port
    finally:
        httpd.shutdown()
        httpd.server_close()
