"""Processes killed at any moment, and applications that write all the time: no row is lost, doubled or stale."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import small
from databases import Postgres
from minivec.migrate import migrate
from minivec.moving.cutover import cutover, rollback
from small import both_ways, command

psycopg = pytest.importorskip("psycopg")
pytestmark = pytest.mark.databases

X = small.vectors(400)
ADAPTER = both_ways()
PLACES = {"table": ("new", "docs"), "column": ("docs&column=w", "docs&column=v")}
WRITER = Path(__file__).with_name("writers.py")


@pytest.fixture(params=PLACES)
def moved(tmp_path, request):
    """A table with an index, whose migration is done: the database, source, destination, and the map's file."""
    database = Postgres(tmp_path)
    database.fill("docs", X)
    database.run("CREATE INDEX near ON docs USING hnsw (v vector_cosine_ops)")
    new, old = (database.url(name) for name in PLACES[request.param])
    migrate(old, new, ADAPTER)
    ADAPTER.save(tmp_path / "bridge.safetensors")
    return database, old, new, tmp_path / "bridge.safetensors"


@pytest.fixture
def writer(tmp_path):
    """Start a writer by ``start(uri)``; ``stop()`` ends it and returns what it has written."""
    stop, told, processes = tmp_path / "stop", tmp_path / "told.json", []
    folders = os.pathsep.join([str(Path(small.__file__).parent), *sys.path])

    def wait(more=30):
        """Wait until it has written so many times again."""
        seen = told.with_name("told.json.writes")

        def count():
            return int((seen.exists() and seen.read_text()) or 0)

        goal, end = count() + more, time.monotonic() + 60
        while count() < goal:
            assert time.monotonic() < end and processes[0].poll() is None
            time.sleep(0.02)

    def start(uri):
        arguments = [sys.executable, str(WRITER), uri, str(stop), str(told)]
        processes.append(subprocess.Popen(arguments, env={**os.environ, "PYTHONPATH": folders}))

    def end():
        stop.touch()
        assert processes[0].wait(60) == 0
        return json.loads(told.read_text())

    yield start, wait, end
    for process in processes:
        process.kill()
        process.wait()


def state(database):
    """The rows that the application finds, and their width."""
    rows = database.read("docs")
    return rows, {len(vector) for _, vector in rows.values()}


def check(database, told, width):
    """Every row that the writer has written is there with its last text and vector, and all others as they were."""
    rows, widths = state(database)
    assert widths == {width}
    written = {int(key): value for key, value in told["rows"].items()}
    start = {row["id"]: (row["text"], row["v"]) for row in small.table(X).to_pylist()}
    assert rows.keys() == start.keys() - set(told["deleted"]) | written.keys()
    for key, (text, vector) in rows.items():
        wanted, x = start.get(key, ("", None))
        if key in written:
            wanted, x = written[key][0], small.vectors(1, seed=written[key][1])[0]
        assert text == wanted, key
        x = np.asarray(x, np.float32)
        if width == 8:
            np.testing.assert_allclose(vector, ADAPTER(x[None])[0], atol=1e-3)
        else:
            assert np.dot(vector, x) / np.linalg.norm(vector) > 0.9, key


def test_a_writer_loses_no_row_by_the_cut_over_nor_by_the_rollback(moved, writer):
    database, old, new, _ = moved
    start, wait, end = writer
    start(database.uri)
    wait()
    cutover(old, new, ADAPTER)
    wait()
    rollback(old, ADAPTER)
    wait()
    told = end()
    check(database, told, 6)


def test_a_writer_loses_no_row_by_the_cut_over(moved, writer):
    database, old, new, _ = moved
    start, wait, end = writer
    start(database.uri)
    wait()
    cutover(old, new, ADAPTER)
    wait()
    check(database, end(), 8)


@pytest.mark.parametrize("place", PLACES)
def test_a_writer_works_from_the_first_row_to_the_cut_over(place, tmp_path, writer):
    """Through the migration that follows, one that is killed and goes on, and the cut-over."""
    database = Postgres(tmp_path)
    database.fill("docs", X)
    ADAPTER.save(tmp_path / "bridge.safetensors")
    new, old = (database.url(name) for name in PLACES[place])
    start, wait, end = writer
    start(database.uri)
    wait(10)
    words = "migrate", old, new, "-a", tmp_path / "bridge.safetensors", "--batch", "50", "--follow", "--interval", "0.1"
    with subprocess.Popen(command(*words), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
        seen = [line for line, _ in zip(process.stderr, range(2), strict=False)]
        process.send_signal(signal.SIGKILL)
    assert all("caught up" in line for line in seen)
    with subprocess.Popen(command(*words), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
        next(process.stderr)
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0, process.stderr.read()
    cutover(old, new, ADAPTER)
    wait()
    check(database, end(), 8)


def killed(arguments, after):
    """Run a command and kill it after these seconds; whether it ended before."""
    with subprocess.Popen(command(*arguments), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        try:
            output, _ = process.communicate(timeout=after)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.communicate()
            return False
    assert process.returncode == 0, output
    return True


def crash(moved, rounds, seed=0):
    """Swap and take back again and again, each killed at random moments until it comes to its end."""
    database, old, new, bridge = moved
    before, rng, kills = state(database), random.Random(seed), 0
    commands = {8: ["cutover", old, new, "-a", bridge], 6: ["rollback", old]}
    begin = time.perf_counter()
    assert killed(commands[8], None)
    whole = time.perf_counter() - begin
    assert killed(commands[6], None)
    for _ in range(rounds):
        for width, arguments in commands.items():
            while not killed(arguments, rng.uniform(0.3, 1.1) * whole):
                kills += 1
                rows, widths = state(database)
                assert widths in ({6}, {8}) and rows.keys() == before[0].keys()
            rows, widths = state(database)
            assert widths == {width}
            invalid = database.run("SELECT count(*) FROM pg_index WHERE indrelid = 'docs'::regclass AND NOT indisvalid")
            assert invalid == [(0,)]
            assert database.run("SELECT count(*) FROM pg_indexes WHERE tablename = 'docs' AND indexname = 'near'") == [
                (1,)
            ]
        assert state(database) == before
    return kills


def test_killed_at_any_moment_it_is_swapped_or_not_and_the_same_command_finishes(moved):
    crash(moved, 1)


@pytest.mark.slow
def test_killed_many_times_it_is_swapped_or_not(moved):
    assert crash(moved, 10, seed=1) >= 5
