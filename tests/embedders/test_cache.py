"""Vectors on disk: nothing is paid for twice, whatever is killed, and whoever else is at work."""

import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
from embedding_server import Server, tiny

from minivec.embedders import Cached, EmbedderError, cache, open_embedder, streaming
from minivec.embedders.cache import default_path

pytest.importorskip("httpx", reason="needs httpx")

TEXTS = [f"text number {i}" for i in range(50)]


class Counting:
    """An embedder of one's own."""

    def __init__(self, width=16, name="mine"):
        self.name, self.width, self.asked, self._width = name, None, [], width

    def __call__(self, texts, kind="document"):
        self.asked += texts
        return tiny(texts, self._width)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "folder" / "cache.sqlite3"


def test_a_text_is_embedded_once(path):
    mine = Counting()
    made = open_embedder(mine, cache=path)
    texts = TEXTS + TEXTS[::-1]
    np.testing.assert_allclose(made(texts), tiny(texts), rtol=1e-6)
    assert mine.asked == TEXTS and made.found == 0
    again = open_embedder(Counting(), cache=path)
    X = again([*TEXTS[:5], "another", *TEXTS[5:]])
    np.testing.assert_array_equal(np.delete(X, 5, 0), made(TEXTS))
    assert again._embedder._embedder.asked == ["another"] and again.found == 50 and again.width == 16


def test_models_and_kinds_are_apart(path):
    one, other = Counting(name="one"), Counting(name="other", width=8)
    open_embedder(one, cache=path)(TEXTS)
    assert open_embedder(other, cache=path)(TEXTS).shape == (50, 8)
    open_embedder(one, cache=path)(TEXTS, "query")
    assert len(one.asked) == 100 and len(other.asked) == 50


def test_without_prompts_a_text_is_the_same_as_document_and_as_query(path):
    with Server() as server:
        made = open_embedder(f"{server.url}#tiny", cache=path)
        made(TEXTS), made(TEXTS, "query")
        assert len(server.embedded) == 50
        made = open_embedder(f"{server.url}?query_prompt=q:#tiny", cache=path)
        made(TEXTS), made(TEXTS, "query")
        assert len(server.embedded) == 150


def test_texts_and_keys_are_not_in_the_file(path, monkeypatch):
    monkeypatch.setenv("MINIVEC_API_KEY", "very-secret")
    with Server(key="very-secret") as server:
        open_embedder(f"{server.url}#tiny", cache=path)(["a private text"])
    assert b"private" not in path.read_bytes() and b"very-secret" not in path.read_bytes()
    assert path.parent.stat().st_mode & 0o077 == 0


def test_the_users_own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert default_path() == tmp_path / "minivec" / "embeddings.sqlite3"
    open_embedder(Counting())(["text"])
    assert default_path().exists()
    assert not isinstance(open_embedder(Counting(), cache=False), Cached)


def test_a_width_that_changed_is_refused(path):
    open_embedder(Counting(), cache=path)(TEXTS)
    with pytest.raises(EmbedderError, match="8 dimensions where others have 16"):
        open_embedder(Counting(8), cache=path)(["another"])


def test_no_vector_of_another_length_is_read(path):
    open_embedder(Counting(), cache=path)(["text"])
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE vectors SET vector = ?", (b"1234567",))
    connection.close()
    with pytest.raises(EmbedderError, match=r"vector of 1.75 dimensions; mine has 16"):
        open_embedder(Counting(), cache=path)(["text"])


@pytest.mark.parametrize("content", [b"no database" * 100, None])
def test_a_file_that_is_no_cache_is_refused_and_kept(path, content):
    path.parent.mkdir()
    if content is None:
        with sqlite3.connect(path) as connection:
            connection.execute("CREATE TABLE mine (x)")
        connection.close()
    else:
        path.write_bytes(content)
    before = path.read_bytes()
    with pytest.raises(EmbedderError, match="cache.sqlite3"):
        open_embedder(Counting(), cache=path)(["text"])
    assert path.read_bytes() == before


def test_what_came_before_an_error_is_kept(path, monkeypatch):
    mine = streaming(Counting())
    mine.most = 10
    answer = mine.answer
    mine.answer = lambda texts, kind: answer(texts, kind) if "text number 30" not in texts else 1 / 0
    with pytest.raises(ZeroDivisionError):
        Cached(mine, path)(TEXTS)
    rest = Counting()
    open_embedder(rest, cache=path)(TEXTS)
    assert rest.asked == TEXTS[30:]


def test_another_process_gets_its_turn(path, monkeypatch):
    monkeypatch.setattr(cache, "GROUP", 5)
    order = []

    class Slow(Counting):
        def __call__(self, texts, kind="document"):
            order.append(self.name)
            time.sleep(0.1)
            return super().__call__(texts, kind)

    def work(first):
        open_embedder(Slow(), cache=path)([f"{first} {i}" for i in range(20)])

    threads = [threading.Thread(target=work, args=(first,)) for first in "ab"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(order) == 8


WORK = """
import sys
from minivec.embedders import open_embedder
texts = [f"text number {i}" for i in range(int(sys.argv[3]))]
made = open_embedder(sys.argv[1] + "#" + sys.argv[4], cache=sys.argv[2])
made._embedder.most = 10
print("begun", flush=True)
assert len(made(texts)) == len(texts)
"""


def process(server, path, texts, model="tiny"):
    command = [sys.executable, "-W", "ignore", "-c", WORK, server.url, str(path), str(texts), model]
    started = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert started.stdout.readline() == "begun\n"
    return started


def wait_for(server, texts):
    end = time.monotonic() + 60
    while len(server.embedded) < texts and time.monotonic() < end:
        time.sleep(0.01)


def test_two_processes_pay_for_a_text_once(path):
    with Server() as server:
        server.slow = 0.02
        running = [process(server, path, 300) for _ in range(2)]
        for one in running:
            _, err = one.communicate(timeout=120)
            assert one.returncode == 0, err
        assert len(server.embedded) == len(set(server.embedded)) == 300


def test_processes_with_models_of_their_own_write_one_file(path):
    with Server() as server:
        running = [process(server, path, 1_000, model) for model in ("one", "other", "third")]
        for one in running:
            _, err = one.communicate(timeout=120)
            assert one.returncode == 0, err
        assert len(server.embedded) == 3_000


def test_a_cache_that_is_removed_is_made_again(path):
    made = open_embedder(mine := Counting(), cache=path)
    made(TEXTS)
    path.unlink()
    made(TEXTS)
    assert mine.asked == TEXTS * 2 and path.exists()


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGKILL"])
def test_an_interrupted_run_goes_on_where_it_was(path, name):
    """After Ctrl-C nothing is lost. After kill -9 only the calls are that were under way, 4 of 10 texts."""
    with Server() as server:
        server.slow = 0.05
        first = process(server, path, 400)
        wait_for(server, 150)
        os.kill(first.pid, getattr(signal, name))
        first.communicate(timeout=60)
        assert first.returncode != 0
        time.sleep(0.2)
        sent = list(server.embedded)
        assert 150 <= len(sent) < 400
        server.slow = 0.0
        _, err = (second := process(server, path, 400)).communicate(timeout=60)
        assert second.returncode == 0, err
        assert set(server.embedded) == {f"text number {i}" for i in range(400)}
        assert len(server.embedded) - 400 <= (0 if name == "SIGINT" else 40)


def test_a_server_that_dies_and_comes_back(path, monkeypatch):
    from minivec.embedders import http

    monkeypatch.setattr(http, "SLOWEST", 0.01)
    with Server() as server:
        port = server.server_port
        server.faults.append(lambda number, texts, good: server.server_close() if number == 3 else None)
        server.faults.append(lambda number, texts, good: (503, {"Connection": "close"}, {}) if number >= 3 else None)
        made = open_embedder(f"{server.url}#tiny", cache=path)
        made._embedder.most, made._embedder.workers = 10, 1
        with pytest.raises(EmbedderError, match="after 8 attempts"):
            made(TEXTS)
        done = set(server.embedded)
    with Server(port=port) as server:
        np.testing.assert_allclose(made(TEXTS), tiny(TEXTS), rtol=1e-6)
        assert len(done) == 20 and set(server.embedded) == set(TEXTS) - done
