"""A served map on this machine, and its metrics."""

import threading
import time
from contextlib import contextmanager

import pytest

httpx = pytest.importorskip("httpx", reason="needs httpx")


@contextmanager
def serving(bridge, url, **options):
    """A client of a map that is served by uvicorn in a thread."""
    uvicorn = pytest.importorskip("uvicorn", reason="needs uvicorn")
    for package in ("starlette", "prometheus_client", "orjson"):
        pytest.importorskip(package, reason=f"needs {package}")
    from minivec.serving import create_app

    server = uvicorn.Server(
        uvicorn.Config(create_app(bridge, url, **options), port=0, log_config=None, log_level="error")
    )
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        assert thread.is_alive()
        time.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30) as client:
            yield client
    finally:
        server.should_exit = True
        thread.join(20)


def value(client, line):
    """The value of a metric, by its name and labels as they are printed; 0 where there is none yet."""
    for shown in client.get("/metrics").text.splitlines():
        if shown.startswith(f"{line} "):
            return float(shown.rpartition(" ")[2])
    return 0.0


def until(true, seconds=10):
    """Wait until a condition is true."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.01)
