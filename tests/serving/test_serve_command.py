"""minivec serve, in a process of its own: what it prints, how it stops, and what it never loads or prints."""

import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
from embedding_server import Server, tiny
from served_map import httpx, until

from small import command

ASK = {"model": "ada-002", "input": "one text"}
PATH = "/v1/embeddings"


@pytest.fixture
def file(bridge, tmp_path):
    bridge.save(tmp_path / "bridge.safetensors")
    return tmp_path / "bridge.safetensors"


@pytest.fixture
def serve(file, upstream):
    """Starts the command on a free port; returns the process and its address."""
    for package in ("uvicorn", "starlette", "prometheus_client", "orjson"):
        pytest.importorskip(package, reason=f"needs {package}")
    started = []

    def start(*options):
        line = command("serve", "-a", file, "--upstream", upstream.url, "--port", 0, *options)
        process = subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        started.append(process)
        said = process.stdout.readline()
        assert "/v1: tiny -> ada-002, 16 -> 8 dimensions" in said, process.stderr.read()
        return process, said.partition("/v1")[0]

    yield start
    for process in started:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_lets_it_finish_what_has_begun(serve, upstream, bridge, number):
    process, address = serve()
    upstream.slow = 2
    answers = []
    asking = threading.Thread(target=lambda: answers.append(httpx.post(address + PATH, json=ASK, timeout=30)))
    asking.start()
    until(lambda: upstream.requests)
    os.kill(process.pid, number)
    time.sleep(0.5)
    with pytest.raises(httpx.TransportError):
        httpx.get(address + "/health")
    out, err = process.communicate(timeout=20)
    asking.join()
    assert (process.returncode, out, err) == (0, "", "")
    row = answers[0].json()["data"][0]["embedding"]
    np.testing.assert_allclose(np.array(row, np.float32), bridge(tiny(["one text"]))[0], atol=1e-6)


def test_a_key_is_in_nothing_that_it_prints(serve, upstream):
    upstream.key, key = "the-right-key", "very-secret"
    process, address = serve("--attempts", 1)
    headers = {"Authorization": f"Bearer {key}"}
    httpx.post(address + PATH, json=ASK, headers=headers)
    upstream.faults.append(lambda *_: (200, {}, b"no JSON"))
    upstream.key = key
    httpx.post(f"{address}{PATH}?key={key}", json=ASK, headers=headers)
    httpx.post(address + PATH, content=key.encode(), headers=headers)
    assert httpx.post(address + PATH, json=ASK, headers=headers).status_code == 502
    process.terminate()
    out, err = process.communicate(timeout=20)
    assert key not in out + err


def test_it_needs_no_keras(file, upstream):
    code = f"""
import sys
from minivec import open_map
from minivec.cli import common, serve
from minivec.serving import create_app
create_app(open_map({str(file)!r}), {upstream.url!r})
assert not {{"keras", "jax", "torch", "faiss"}} & set(sys.modules), sys.modules.keys()
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_bad_input_is_one_line(run, file, tmp_path):
    pytest.importorskip("uvicorn", reason="needs uvicorn")
    taken = socket.create_server(("127.0.0.1", 0))
    port = taken.getsockname()[1]
    good = ("-a", file, "--upstream", "http://127.0.0.1:9/v1")
    for arguments, part in (
        (("-a", tmp_path / "none.keras", *good[2:]), "no such file"),
        ((*good[:3], "no-url"), "upstream must be"),
        ((*good, "--port", port), f"--port {port}: Address already in use"),
        ((*good, "--from", "other"), "--from 'other'"),
        ((*good, "--lengths", "long"), "lengths must be"),
    ):
        code, out, err = run("serve", *arguments)
        assert (code, out) == (2, "") and part in err and err.count("\n") == 1
    taken.close()


def test_handlers_of_logs_stay_open(run, file):
    """Those that other packages have made: absl's would close pytest's stderr."""
    pytest.importorskip("uvicorn", reason="needs uvicorn")
    closed = []

    class Handler(logging.NullHandler):
        def close(self):
            closed.append(self)
            super().close()

    handler = Handler()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert run("serve", "-a", file, "--upstream", "http://127.0.0.1:9/v1", "--port", port)[0] == 2
    assert not closed
    handler.close()


def test_the_other_way_is_by_a_name(file):
    """The map from ada-002 to the tiny encoder's space, of an upstream with vectors of 8 dimensions."""
    with Server(lambda texts: tiny(texts, width=8)) as upstream:
        line = command("serve", "-a", file, "--upstream", upstream.url, "--port", 0, "--from", "ada-002")
        with subprocess.Popen(line, stdout=subprocess.PIPE, text=True) as process:
            said = process.stdout.readline()
            assert "ada-002 -> tiny, 8 -> 16 dimensions" in said
            answer = httpx.post(said.partition("/v1")[0] + PATH, json={**ASK, "model": "tiny"}).json()
            assert len(answer["data"][0]["embedding"]) == 16 and answer["model"] == "tiny"
            assert upstream.requests[-1][1]["model"] == "ada-002"
            process.terminate()
