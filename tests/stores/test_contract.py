"""What holds for every store and format alike: a new one is tested by a line in databases.MAKERS."""

import functools
import random
import re
import signal
import subprocess
from importlib.util import find_spec

import numpy as np
import pytest

import databases
import small
from minivec.migrate import migrate, verify
from minivec.stores import StoreError, open_store, sample
from small import Killed, bridge, command, expected, killed_after, once, same

X = small.vectors(30)
ADAPTER = bridge()
IDS = small.table(X)["id"].to_pylist()


@pytest.fixture
def new(database):
    """The address of a destination."""
    return database.url("new")


@pytest.fixture
def words(source, new, tmp_path):
    """The command line of a migration."""
    ADAPTER.save(tmp_path / "bridge.safetensors")
    return "migrate", source, new, "-a", tmp_path / "bridge.safetensors", "--batch", 10


# Rows.


def test_rows_keys_and_payload_are_kept_and_a_second_run_writes_nothing(database, source, new):
    result = migrate(source, new, ADAPTER, batch=10, workers=2, verify="all")
    assert (result.total, result.rows, result.written, result.verified) == (30, 30, 30, 30)
    same(database.read("new"), expected(X, ADAPTER))
    again = migrate(source, new, ADAPTER, batch=7, verify=20)
    assert (again.rows, again.written, again.verified) == (30, 0, 20)
    same(database.read("new"), expected(X, ADAPTER))
    same(database.read("docs"), expected(X, lambda X: X))  # the source is as it was
    assert verify(source, new, ADAPTER, "all") == 30


def test_the_head_of_a_source_is_its_first_rows(source):
    with open_store(source) as store:
        rows = next(store.blocks(30))
        for size in (7, 40):
            head = store.head(size)
            assert list(head.keys) == list(rows.keys[:size])
            np.testing.assert_array_equal(head.vectors, rows.vectors[:size])


def test_an_interrupted_run_goes_on(database, source, new):
    for rows in (10, 20):
        with pytest.raises(Killed):
            migrate(source, new, ADAPTER, batch=10, progress=killed_after(rows))
    result = migrate(source, new, ADAPTER, batch=7, verify="all")
    assert (result.rows, result.written, result.verified) == (30, 10, 30)
    same(database.read("new"), expected(X, ADAPTER))


def test_a_block_that_was_written_without_its_checkpoint_is_written_again(database, source, new, monkeypatch):
    """The last moment between rows and checkpoint, in those stores where they are apart."""
    store = type(open_store(new))
    if not hasattr(store, "_note"):
        pytest.skip("rows and checkpoint are one there")
    note = store._note

    def fails(self, state):
        if state.rows == 20:
            raise Killed
        note(self, state)

    with monkeypatch.context() as patched:
        patched.setattr(store, "_note", fails)
        with pytest.raises(Killed):
            migrate(source, new, ADAPTER, batch=10)
    assert migrate(source, new, ADAPTER, batch=10).written == 20
    same(database.read("new"), expected(X, ADAPTER))


@pytest.mark.slow
def test_a_run_that_is_killed_at_random_moments_ends_with_every_row(kind, database, words):
    if kind in ("qdrant", "milvus file"):
        pytest.skip("the folder of its local mode belongs to one process, which is the test's")
    if kind == "duckdb":
        database.close()  # a process has the file to itself
    line, rng = command(*words[:-1], 2), random.Random(0)
    for _ in range(5):
        process = subprocess.Popen(line, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            process.wait(rng.uniform(0.5, 4))
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.wait()
    done = subprocess.run(line, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    same(database.read("new"), expected(X, ADAPTER))


def test_the_same_source_in_another_spelling_goes_on(database, source, new, tmp_path):
    around = f"{tmp_path.parent}/{tmp_path.name}/../{tmp_path.name}/"  # the same folder
    spellings = [source.replace(f"{tmp_path}/", around), source]
    if "column=" not in source and database.columns:
        spellings.append(f"{source}{'&' if '?' in source else '?'}column={database.column}")
    if "://127" in source:
        spellings.append(source.replace("://", "://:key@"))
    with pytest.raises(Killed):
        migrate(source, new, ADAPTER, batch=10, progress=killed_after(10))
    for spelling in spellings:
        with pytest.raises(Killed):
            migrate(spelling, new.replace(f"{tmp_path}/", around), ADAPTER, batch=2, progress=killed_after(0))
        assert open_store(new).checkpoint().rows > 10
    assert migrate(source, new, ADAPTER, batch=10, verify="all").verified == 30


# Comparing.


def test_a_question_changes_nothing(database, source, new):
    migrate(source, new, ADAPTER, batch=10)
    before = database.left()
    with open_store(new) as store:
        assert store.checkpoint().rows == 30
        asked = store.column
        store.checkpoint(), store.count()
        assert store.column == asked
    assert database.left() == before


@pytest.mark.parametrize("fault", ["wrong", "missing", "extra"])
def test_verification_of_all_rows_names_the_one_that_differs(database, source, new, fault):
    migrate(source, new, ADAPTER, batch=10)
    key = IDS[17]
    if fault == "wrong":
        database.update("new", key, [1.0] + [0.0] * 7)
    elif database.in_place:
        pytest.skip("the rows are the source's own")
    elif fault == "missing":
        database.delete("new", key)
    else:
        database.insert("new", 100, [1.0] + [0.0] * 7)
    with pytest.raises(ValueError) as caught:
        verify(source, new, ADAPTER, "all")
    told = str(caught.value)
    assert "\n" not in told
    if fault == "wrong":
        assert "another vector than the aligner's in row" in told
        assert f" {key}" in told or " 17" in told  # a key, or the number of the row
    else:
        assert f"{29 if fault == 'missing' else 31} rows" in told and "30" in told


# The source changes during a run.


@pytest.mark.parametrize("change", ["update", "delete", "insert"])
def test_a_change_of_the_source_is_caught_up_with_or_told(database, source, new, words, run, change):
    key, row = (IDS[2], X[:1].copy()) if change != "insert" else (200, X[:1].copy())
    row[0, 3] += 1
    row /= np.linalg.norm(row)

    def work():
        getattr(database, change)("docs", key, *[row[0]] * (change != "delete"))

    wanted = expected(X, ADAPTER)
    if change == "delete":
        del wanted[key]
    else:
        wanted[key] = f"text {key}", ADAPTER(row)[0]
    if isinstance(database, databases.File):
        with pytest.raises(ValueError, match="changed since the migration began|damaged"):
            migrate(source, new, ADAPTER, batch=10, progress=once(work))
        code, _, err = run(*words)
        assert code == 2 and err.count("\n") == 1 and source.partition("?")[0] in err, err
        return
    result = migrate(source, new, ADAPTER, batch=10, progress=once(work))
    assert result.notes == ()
    same(database.read("new"), wanted)


def test_a_destination_is_locked(database, source, new):
    met = []

    def meanwhile():
        with pytest.raises((StoreError, ValueError), match="another migration") as caught:
            migrate(source, new, ADAPTER)
        met.append(str(caught.value))

    migrate(source, new, ADAPTER, batch=20, progress=once(meanwhile))
    assert len(met) == 1 and "\n" not in met[0]
    same(database.read("new"), expected(X, ADAPTER))


# What is refused.


def test_a_map_is_not_applied_twice(database, source, new):
    square = bridge(6, 6)
    migrate(source, new, square, batch=20)
    moved = open_store(new)
    if isinstance(database, databases.Qdrant) and not database.in_place:
        moved = f"{new}?column=v"
    with pytest.raises(ValueError, match="this aligner has mapped its vectors already"):
        migrate(moved, database.url("twice"), square)


def test_what_does_not_fit_is_refused_in_one_line_and_leaves_nothing(database, source, new, words, run, tmp_path):
    def refused(*told, adapter=ADAPTER, place=new, options=()):
        adapter.save(tmp_path / "other.safetensors")
        before = database.left()
        for more in (["--dry-run"], []):
            code, out, err = run("migrate", source, place, "-a", tmp_path / "other.safetensors", *options, *more)
            assert code == 2 and out == "" and err.count("\n") == 1, err
            assert all(word in err for word in told), err
        assert database.left() == before

    doubtful = bridge(history={"verdict": "doubtful", "confidence": 0.3})
    (tmp_path / "other.safetensors").touch()
    refused("6 dimensions", "takes 4", adapter=bridge(4))
    refused("doubtful", "0.30", "--min-confidence", adapter=doubtful)
    refused("unknown", adapter=bridge(history={}))
    refused(place=source)  # never over the old one
    if not database.in_place:
        database.fill("other", X[:5])
        refused("other", place=database.source("other"))
    with pytest.raises(Killed):
        migrate(source, new, doubtful, batch=10, min_confidence=0.2, progress=killed_after(10))
    refused("another aligner", adapter=bridge(seed=1))
    assert migrate(source, new, ADAPTER, batch=10).written == 20  # the same map, whatever is thought of it


def test_an_existing_destination_is_left_alone_whatever_column_is_named(database, source, words, run, tmp_path):
    """A destination that lacks the column is none that is to be made."""
    np.save(tmp_path / "x.npy", X[:5])
    before, rows = database.left(), database.read("docs")
    sources = [tmp_path / "x.npy"]
    if not database.in_place:
        database.fill("other", X[:5])
        before, sources = database.left(), [*sources, database.source("other")]
    for place in sources:
        for column in ("absent", database.column):
            for more in (["--dry-run"], []):
                code, out, err = run("migrate", place, small.with_column(source, column), *words[3:], *more)
                assert code == 2 and out == "" and err.count("\n") == 1, err
                assert database.left() == before
    same(database.read("docs"), rows)


def test_rows_that_came_where_a_killed_run_has_made_nothing_are_left_alone(database, source, new, monkeypatch):
    """The note of such a run does not make them a migration's."""
    store = type(open_store(new))
    if not hasattr(store, "_make") or not hasattr(store, "_note_names") and store.kind != "qdrant":
        pytest.skip("it notes nothing before it makes the destination")
    if database.in_place:
        pytest.skip("the rows are the source's own")

    def fails(*_):
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(store, "_make", fails)
        with pytest.raises(Killed):
            migrate(source, new, ADAPTER)
    database.fill("new", X[:5])
    rows = database.read("new")
    for address in (new, small.with_column(new, "absent")) if database.columns else (new,):
        with pytest.raises(ValueError, match="no migration has made it|own collection"):
            migrate(source, address, ADAPTER)
    same(database.read("new"), rows)


@pytest.mark.parametrize("fault", ["null", "zero", "constant"])
def test_a_row_without_a_vector_is_refused_or_kept_without_one(database, source, new, words, run, fault):
    """A dry run finds it too, and leaves nothing."""
    if fault == "null" and not database.nulls:
        pytest.skip("every row has a vector there")
    key, option = IDS[17], "--skip-nulls" if fault == "null" else "--skip-bad-rows"
    database.update("docs", key, None if fault == "null" else np.full(6, float(fault == "constant")))
    before = database.left()
    code, out, told = run(*words, "--dry-run")
    assert code == 2 and out == "" and told.count("\n") == 1
    assert database.left() == before
    assert run(*words) == (2, "", told)
    code, _, err = run(*words, option, "--dry-run")
    assert code == 0 and "1 rows have no vector that can be mapped: " in err
    code, out, err = run(*words, option, "--verify-all")
    assert code == 0 and "1 rows have no vector that can be mapped: " in err, err
    assert "counts agree" in out
    assert verify(source, new, ADAPTER, "all") == 30
    wanted = expected(X, ADAPTER)
    text, _ = wanted.pop(key)
    made = database.read("new")
    if database.keeps_nulls:
        assert made.pop(key) == (text, None)
    same(made, wanted)
    assert sample(source, 30).shape == (29, 6) if fault == "null" else True


NAMES = ['50% of "Größe\'s" {t}', "SELECT", "a&b=c+d#e;f"]


@pytest.mark.parametrize("name", NAMES)
def test_odd_names_of_tables_and_columns(database, source, tmp_path, run, name):
    ADAPTER.save(tmp_path / "bridge.safetensors")
    if not database.in_place:
        if database.columns and re.fullmatch(database.column_names, name):
            database.column = name
        old = name if re.fullmatch(database.names, name) else "odd"
        database.fill(old, X)
        source = database.source(database.quoted(old))
    new = f"new {name}" if len(name) > 6 else f"new{name}"
    words = "migrate", source, database.url(database.quoted(new)), "-a", tmp_path / "bridge.safetensors"
    before = database.left()
    dry = run(*words, "--dry-run")
    assert database.left() == before
    code, out, err = run(*words, "--verify-all")
    assert dry[0] == code, (dry, err)
    if re.fullmatch(database.names, new):
        assert code == 0 and "counts agree" in out, err
        same(database.read(new), expected(X, ADAPTER))
    else:
        assert code == 2 and out == "" and err.count("\n") == 1, err


def test_a_column_that_holds_no_vectors_is_refused(database, source, words, run):
    if not database.columns:
        pytest.skip("it has no columns")
    for column in ("text", "none"):
        code, out, err = run(words[0], small.with_column(source, column), *words[2:])
        assert code == 2 and out == "" and err.count("\n") == 1 and column in err, err


def test_another_kind_takes_every_row_or_refuses_in_one_line(database, source, tmp_path, run):
    ADAPTER.save(tmp_path / "bridge.safetensors")
    places = {"numpy": tmp_path / "n.npy", "safetensors": tmp_path / "n.safetensors", "pyarrow": tmp_path / "parts"}
    packages = {"lance": "lancedb", "chroma": "chromadb", "qdrant": "qdrant_client"}
    places |= {package: f"{scheme}://{tmp_path}/n/new" for scheme, package in packages.items()}
    for package, place in places.items():
        words = "migrate", source, place, "-a", tmp_path / "bridge.safetensors"
        dry, (code, out, err) = run(*words, "--dry-run"), run(*words, "--verify-all")
        lines = [line for line in err.splitlines() if not line.startswith("minivec: note: ")]
        moved = find_spec(package) is not None and not (database.payload and package in ("numpy", "safetensors"))
        assert dry[0] == code == 2 * (not moved), (package, dry, err)
        assert "counts agree" in out and not lines if moved else out == "" and len(lines) == 1, err


# Errors of the clients.


def said(kind, text):
    """An exception of this class that says ``text``, or None where it takes more than a text."""
    try:
        return kind(text)
    except (TypeError, ValueError, NameError):
        return None


@pytest.mark.parametrize("step", [6, pytest.param(1, marks=pytest.mark.slow)])
def test_every_exception_of_the_client_is_one_line(database, source, run, tmp_path, monkeypatch, step):
    if database.in_place:
        pytest.skip("its client is that of another kind")
    words = "sample", source, "-o", tmp_path / "x.npy"
    kinds = [*database.errors()[::step], RuntimeError, KeyError]
    for error in filter(None, (said(kind, "the server\nsays 100% no") for kind in kinds)):

        def fails(self, error=error):
            with self.guard():
                raise error

        monkeypatch.setattr(type(open_store(source)), "schema", fails)
        code, out, err = run(*words)
        assert code == 2 and out == "" and err.count("\n") == 1 and "100% no" in err, (type(error), err)


def calls(monkeypatch, classes, work):
    """The methods of these classes that ``work`` calls, and how often."""
    counts = {}
    for kind in classes:
        for name, method in vars(kind).items():
            if callable(method) and not name.startswith("_") and name != "close" and not isinstance(method, type):
                monkeypatch.setattr(kind, name, counted(method, counts, (kind, name)))
    work()
    monkeypatch.undo()
    return counts


def counted(method, counts, key):
    @functools.wraps(method)
    def call(*arguments, **options):
        counts[key] = counts.get(key, 0) + 1
        return method(*arguments, **options)

    return call


def fails_at(method, number):
    """A method that raises the client's error at its call of this number, and works before."""
    done = []

    @functools.wraps(method)
    def call(*arguments, **options):
        done.append(1)
        if len(done) == number:
            raise RuntimeError("the server\nsays 100% no")
        return method(*arguments, **options)

    return call


@pytest.mark.slow
@pytest.mark.parametrize("place", ["first", "last"])
def test_whichever_call_of_the_client_fails_the_error_is_one_line(database, source, words, run, place):
    """And the same command goes on: whatever the failed call has left is no obstacle."""
    if not (classes := database.client_classes()):
        pytest.skip("it has no client")
    with pytest.MonkeyPatch.context() as monkeypatch:
        found = calls(monkeypatch, classes, lambda: run(*words[:2], database.url("whole"), *words[3:]))
    assert found
    for number, ((kind, name), times) in enumerate(found.items()):
        line = *words[:2], database.url(f"new{number}"), *words[3:]
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(kind, name, fails_at(vars(kind)[name], 1 if place == "first" else times))
            code, out, err = run(*line)
        lines = [text for text in err.splitlines() if not text.startswith("minivec: note:")]
        assert code == 0 or code == 2 and len(lines) == 1 and "says 100% no" in err, (name, code, err)
        code, out, err = run(*line, "--verify-all")
        assert code == 0 and "counts agree" in out, (name, err)


def test_guards_let_interrupts_through_and_catch_panics(tmp_path):
    class Panic(BaseException):
        """As a client in Rust raises it."""

    with open_store(tmp_path / "a.npy") as store:
        with pytest.raises(KeyboardInterrupt), store.guard():
            raise KeyboardInterrupt
        with pytest.raises(StoreError, match="panicked"), store.guard():
            raise Panic("panicked")


# Files.


def test_a_destination_that_was_deleted_says_what_to_do(tmp_path):
    np.save(tmp_path / "docs.npy", X)
    migrate(tmp_path / "docs.npy", tmp_path / "new.npy", ADAPTER)
    (tmp_path / "new.npy").unlink()
    with pytest.raises(ValueError, match=r"new.npy: it is gone.*remove that file"):
        migrate(tmp_path / "docs.npy", tmp_path / "new.npy", ADAPTER)
    (tmp_path / "new.npy.migration.json").unlink()
    assert migrate(tmp_path / "docs.npy", tmp_path / "new.npy", ADAPTER).written == 30


def test_a_file_is_named_as_migrated_whatever_its_array_is_called(tmp_path):
    np.save(tmp_path / "docs.npy", X)
    migrate(tmp_path / "docs.npy", f"{tmp_path}/new.safetensors?column=w", ADAPTER, verify="all")
    assert open_store(tmp_path / "new.safetensors").schema().column == "w"
