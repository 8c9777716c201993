"""Databases of many rows, moved by processes of their own: killed at random moments, and in bounded memory."""

import json
import os
import random
import signal
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

import small
from databases import MAKERS
from small import bridge, command

ROWS = int(os.environ.get("MINIVEC_TEST_ROWS", 200_000))
KILLS = int(os.environ.get("MINIVEC_TEST_KILLS", 10))
SOURCE_WIDTH, WIDTH, BATCH = 32, 48, 2_000
PAGE = 10_000  # rows that a store reads together at most: with fewer, all are in memory
KEY, NOISE = 100, 16 << 20  # bytes that memory may grow by: for a row's key, and as processes differ
ONE_PROCESS = ("chroma", "qdrant", "milvus file")  # which no other process can read meanwhile
LIKE_OTHERS = ("parquet file", "npz", "safetensors", "words", "faiss", "faiss graph", "faiss lists", "redis json")
LIKE_OTHERS += ("redis vector", "qdrant vector", "elasticsearch field")
KINDS = [kind for kind in MAKERS if kind not in ONE_PROCESS + LIKE_OTHERS]
IN_MEMORY = ("faiss ids", "duckdb")  # an index that is built there, and an engine that caches as much as it may


@pytest.fixture
def made(tmp_path):
    """What makes a database of so many rows, and a file with the map."""
    path = tmp_path / "bridge.safetensors"
    adapter = bridge(SOURCE_WIDTH, WIDTH)
    adapter.save(path)

    def make(kind, rows):
        folder = tmp_path / f"{rows}"
        folder.mkdir()
        database = MAKERS[kind](folder)
        X = small.vectors(rows, SOURCE_WIDTH)
        database.fill("docs", X)
        database.let_go()
        return database, X

    return make, adapter, path


def undisturbed(database, path):
    """What a process tells that moves the rows of docs to "whole"."""
    words = [sys.executable, "-W", "ignore", Path(__file__).with_name("moved.py"), database.source()]
    done = subprocess.run([*words, database.url("whole"), path, str(BATCH)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def check(database, name, X, adapter):
    """Every row is there once, with its text and its vector."""
    read = database.read(name)
    database.let_go()
    ids, texts, _ = small.table(X).to_pydict().values()
    assert len(read) == len(X)
    assert [read[key][0] for key in ids] == texts
    np.testing.assert_allclose(np.array([read[key][1] for key in ids], np.float32), adapter(X), atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_killed_at_random_moments_and_in_bounded_memory(kind, made):
    """The memory of a run of four times the rows is larger by their keys alone, which some stores have to list."""
    make, adapter, path = made
    database, _ = make(kind, ROWS // 4)
    with closing(database):
        fewer = undisturbed(database, path)
    database, X = make(kind, ROWS)
    with closing(database):
        whole = undisturbed(database, path)
        memory = " and ".join(f"{run['beyond']:.0f} (peak {run['peak']:.0f})" for run in (fewer, whole))
        print(f"\n{kind}: {ROWS:,} rows, {whole['seconds']:.1f} s undisturbed, {memory} MiB of memory", flush=True)
        check(database, "whole", X, adapter)
        completed = killed(database, path, whole["seconds"], lambda name: check(database, name, X, adapter))
        print(f"{kind}: {KILLS} kills, {completed} runs completed between them", flush=True)
    grown = (whole["peak"] - fewer["peak"]) * 2**20  # NaN where the system does not tell
    if kind not in IN_MEMORY and ROWS // 4 >= PAGE:
        assert not grown > NOISE + KEY * (ROWS - ROWS // 4)


def killed(database, path, seconds, finished):
    """Move docs, killed KILLS times at random moments; the number of runs that came to their end before.

    ``finished`` is called with the name of each destination that is whole, and the next run has a new one.
    """
    rng, kills, completed = random.Random(0), 0, 0
    while True:
        name = f"killed{completed}"
        words = command("migrate", database.source(), database.url(name), "-a", path, "--batch", BATCH)
        process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        try:
            _, err = process.communicate(timeout=rng.uniform(0.1, 2.5 + seconds / 4) if kills < KILLS else None)
            assert process.returncode == 0, err
            finished(name)
            if kills == KILLS:
                return completed
            completed += 1
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.communicate()
            kills += 1
