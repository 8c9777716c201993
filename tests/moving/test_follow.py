"""Keep up with a source that changes."""

import signal
import subprocess
import threading
import time

import numpy as np
import pytest

import small
from databases import MAKERS
from minivec.migrate import Follow, migrate
from minivec.moving.cutover import cutover
from small import both_ways, command

pytestmark = pytest.mark.databases

X = small.vectors(60)
ADAPTER = both_ways()


def until(condition, seconds=20):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


def following(old, new, work, **options):
    """Follow in a thread, do ``work`` once all rows are there, and return what the run did."""
    follow, done = Follow(0.05), []
    thread = threading.Thread(target=lambda: done.append(migrate(old, new, ADAPTER, follow=follow, **options)))
    thread.start()
    try:
        until(lambda: follow.following or not thread.is_alive())
        work()
    finally:
        follow.stop.set()
        thread.join()
    return done[0]


@pytest.fixture
def docs(tmp_path):
    database = MAKERS["postgres"](tmp_path)
    database.fill("docs", X)
    return database


@pytest.mark.parametrize("new, table, column", [("new", "new", "v"), ("docs&column=w", "docs", "w")])
def test_rows_that_come_change_and_go_are_at_the_destination_before_it_is_told_to_stop(docs, new, table, column):
    def work():
        docs.run("INSERT INTO docs (id, text, v) VALUES (1000, 'late', %s)", None, (str(X[0].tolist()),))
        docs.run("UPDATE docs SET v = %s WHERE id = 5", None, (str(X[0].tolist()),))
        docs.run("DELETE FROM docs WHERE id = 6")
        until(lambda: is_there())

    def is_there():
        rows = docs.read(table, column)
        wanted = ADAPTER(X[:1])[0]
        return 6 not in rows and all(
            key in rows and rows[key][1] and np.allclose(rows[key][1], wanted, atol=1e-3) for key in (5, 1000)
        )

    assert following(docs.url("docs&column=v"), docs.url(new), work).caught_up >= 2


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_cleanly_with_the_state_noted(docs, tmp_path, number):
    ADAPTER.save(tmp_path / "bridge.safetensors")
    words = "migrate", docs.url("docs"), docs.url("new"), "-a", tmp_path / "bridge.safetensors"
    with subprocess.Popen(
        command(*words, "--follow", "--interval", "0.1"), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        docs.run("SELECT 1")
        until(lambda: docs.run("SELECT to_regclass('minivec_migrations')") != [(None,)])
        until(lambda: docs.run("SELECT state->'own'->>'complete' FROM minivec_migrations") == [("true",)])
        docs.run("DELETE FROM docs WHERE id = 6")
        until(lambda: docs.run("SELECT count(*) FROM new") == [(59,)])
        process.send_signal(number)
        out, err = process.communicate(timeout=30)
    assert process.returncode == 0, err
    assert "up to date" in out and "1 rows caught up with" in err


@pytest.mark.parametrize("kind", ["chroma", "qdrant"])
def test_stores_without_versions_are_read_again(kind, tmp_path):
    database = MAKERS[kind](tmp_path)
    database.fill("docs", X)
    remove = {
        "chroma": lambda keys: database.client.get_collection("docs", embedding_function=None).delete(
            list(map(str, keys))
        ),
        "qdrant": lambda keys: database.client.delete("docs", keys, wait=True),
    }[kind]
    old, new = database.url("docs"), database.url("new")
    if kind == "qdrant":
        old += "?column=v"

    def work(keys):
        remove(keys)
        until(lambda: not set(keys) & set(database.read("new")))

    assert following(old, new, lambda: work([3, 4])).caught_up == 2
    assert following(old, new, lambda: work([5])).caught_up == 1  # which a run that goes on compares
    small.same(database.read("new"), {k: v for k, v in small.expected(X, ADAPTER).items() if k not in (3, 4, 5)})


def test_what_cannot_be_followed_says_so_before_the_start(docs, tmp_path):
    np.save(tmp_path / "old.npy", X)
    with pytest.raises(ValueError, match="cannot tell what has changed"):
        migrate(tmp_path / "old.npy", tmp_path / "new.npy", ADAPTER, follow=Follow())
    docs.run("CREATE VIEW seen AS SELECT id, text, v FROM docs")
    with pytest.raises(ValueError, match="--changed-at"):
        migrate(docs.url("seen&key=id"), docs.url("new"), ADAPTER, follow=Follow())
    assert docs.run("SELECT to_regclass('new')") == [(None,)] and not (tmp_path / "new.npy").exists()
    with pytest.raises(ValueError, match="interval must be above 0"):
        Follow(0)


def test_a_cut_over_waits_for_no_follower_that_is_still_at_work(docs):
    def work():
        with pytest.raises(OSError, match="another migration is writing"):
            cutover(docs.url("docs"), docs.url("new"), ADAPTER)

    following(docs.url("docs"), docs.url("new"), work)
    assert cutover(docs.url("docs"), docs.url("new"), ADAPTER).verified == 60
