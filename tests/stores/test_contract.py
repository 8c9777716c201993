"""What holds for every store and format alike: a new one is tested by a line in databases.MAKERS."""

import random
import signal
import subprocess
import threading

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import databases
from databases import KINDS, MAKERS, Parquet, Qdrant, bridge, command, expected, same
from minivec import cli
from minivec.migrate import migrate, verify
from minivec.stores import StoreError, open_store

X = databases.vectors(90)
ADAPTER = bridge()


@pytest.fixture(params=KINDS)
def database(request, tmp_path):
    made = MAKERS[request.param](tmp_path)
    made.fill("docs", X)
    return made


def source(database):
    return database.url("docs") + "?column=v" * isinstance(database, Qdrant)


def test_every_row_is_verified_by_key(database):
    result = migrate(source(database), database.url("new"), ADAPTER, batch=40, verify="all")
    assert result.verified == 90
    assert verify(source(database), database.url("new"), ADAPTER, "all") == 90


def test_a_question_changes_nothing(database):
    migrate(source(database), database.url("new"), ADAPTER, batch=40)
    with open_store(database.url("new")) as store:
        assert store.checkpoint().rows == 90
        assert store.column is None  # that the address does not name


def test_a_destination_is_locked(database):
    met = []

    def meanwhile(done, total):
        with pytest.raises((StoreError, ValueError), match="another migration") as caught:
            migrate(source(database), database.url("new"), ADAPTER)
        met.append(str(caught.value))

    migrate(source(database), database.url("new"), ADAPTER, batch=50, progress=meanwhile)
    assert len(met) == 2 and "\n" not in met[0]
    same(database.read("new"), expected(X, ADAPTER))


def test_a_map_is_not_applied_twice(database):
    square = bridge(6, 6)
    migrate(source(database), database.url("new"), square, batch=40)
    moved = database.url("new") + "?column=v" * isinstance(database, Qdrant)
    with pytest.raises(ValueError, match="this aligner has mapped its vectors already"):
        migrate(moved, database.url("twice"), square)


def test_a_client_that_raises_ends_in_one_line(database, tmp_path, monkeypatch, run):
    """Whatever it raises, and wherever the migration calls the store."""
    ADAPTER.save(tmp_path / "bridge.safetensors")
    kind = type(open_store(database.url("new")))
    for method in ("count", "write"):
        with monkeypatch.context() as patched:

            def fails(self, *arguments):
                with self.guard():
                    raise RuntimeError("the server\nsays 100% no")

            patched.setattr(kind, method, fails)
            code, _, err = run("migrate", source(database), database.url("new"), "-a", tmp_path / "bridge.safetensors")
        assert code == 2 and "the server says 100% no" in err, err
        assert [line for line in err.splitlines() if not line.startswith("minivec: note:")] == [err.splitlines()[-1]]
        assert ("the same command goes on" in err) == (method == "write")
    result = migrate(source(database), database.url("new"), ADAPTER, batch=40)  # as was said
    assert result.rows == 90
    same(database.read("new"), expected(X, ADAPTER))


def test_guards_let_interrupts_through_and_catch_panics(tmp_path):
    class Panic(BaseException):
        """As a client in Rust raises it."""

    with open_store(tmp_path / "a.npy") as store:
        with pytest.raises(KeyboardInterrupt), store.guard():
            raise KeyboardInterrupt
        with pytest.raises(StoreError, match="panicked"), store.guard():
            raise Panic("panicked")


@pytest.mark.slow
def test_a_run_that_is_killed_at_random_moments_ends_with_every_row(database, tmp_path):
    ADAPTER.save(tmp_path / "bridge.safetensors")
    if isinstance(database, Qdrant):
        pytest.skip("the folder of its local mode belongs to one process, which is the test's")
    words = command(
        "migrate", source(database), database.url("new"), "-a", tmp_path / "bridge.safetensors", "--batch", 3
    )
    rng = random.Random(0)
    for _ in range(5):
        process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            process.wait(rng.uniform(0.5, 4))
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.wait()
    done = subprocess.run(words, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    same(database.read("new"), expected(X, ADAPTER))


def test_a_dry_run_reads_every_row(tmp_path):
    rows = X.copy()
    rows[89] = 0
    np.save(tmp_path / "docs.npy", rows)
    with pytest.raises(ValueError, match="one repeated value in row 89"):
        migrate(tmp_path / "docs.npy", tmp_path / "new.npy", ADAPTER, batch=20, dry_run=True)
    assert [path.name for path in tmp_path.iterdir()] == ["docs.npy"]


def test_another_spelling_of_the_source_goes_on(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    database = Parquet(tmp_path)
    database.fill("docs", X)

    def killed(done, total):
        raise InterruptedError

    with pytest.raises(OSError):
        migrate("docs", "new", ADAPTER, batch=20, progress=killed)
    assert migrate(f"{tmp_path}/docs?column=v", tmp_path / "new", ADAPTER, batch=20).written == 70
    same(database.read("new"), expected(X, ADAPTER))


def test_a_destination_that_was_deleted_says_what_to_do(tmp_path):
    np.save(tmp_path / "docs.npy", X)
    migrate(tmp_path / "docs.npy", tmp_path / "new.npy", ADAPTER)
    (tmp_path / "new.npy").unlink()
    with pytest.raises(ValueError, match=r"new.npy: it is gone.*remove that file"):
        migrate(tmp_path / "docs.npy", tmp_path / "new.npy", ADAPTER)
    (tmp_path / "new.npy.migration.json").unlink()
    assert migrate(tmp_path / "docs.npy", tmp_path / "new.npy", ADAPTER).written == 90


def test_a_file_that_changes_during_the_run_is_noticed(tmp_path):
    pq.write_table(databases.table(X), tmp_path / "docs.parquet")

    def meanwhile(done, total):
        if done == 90:
            pq.write_table(databases.table(X[::-1]), tmp_path / "docs.parquet", compression="none")

    with pytest.raises(ValueError, match="changed since the migration began"):
        migrate(tmp_path / "docs.parquet", tmp_path / "new", ADAPTER, batch=45, progress=meanwhile)


def test_verification_of_all_rows_names_the_one_that_is_stale(tmp_path):
    database = Parquet(tmp_path)
    database.fill("docs", X)
    migrate(database.url("docs"), database.url("new"), ADAPTER, batch=40)
    part = sorted((tmp_path / "new").glob("part-*.parquet"))[1]
    rows = pq.read_table(part).to_pylist()
    rows[7]["v"] = [1.0] + [0.0] * 7
    pq.write_table(pa.Table.from_pylist(rows, pq.read_schema(part)), part)
    with pytest.raises(ValueError, match="another vector than the aligner's in row 47$"):
        verify(database.url("docs"), database.url("new"), ADAPTER, "all")


def test_the_command_line_runs_in_a_thread(tmp_path):
    codes = []

    def work():
        try:
            cli.main(["--version"])
        except SystemExit as error:
            codes.append(error.code)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert codes in ([0], [None])
