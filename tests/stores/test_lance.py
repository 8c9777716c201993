"""LanceDB: versions, embedding functions, filters and rows without a vector."""

import datetime
import json
import shutil

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

pytest.importorskip("lancedb")

from minivec.migrate import migrate, verify
from minivec.stores import StoreError, blocks, open_store, sample
from small import Killed, bridge, expected, same, table, vectors

pytestmark = [pytest.mark.databases, pytest.mark.filterwarnings("ignore:optimize")]

X = vectors(90)
ADAPTER = bridge()


@pytest.fixture
def kind():
    return "lance"


def killed(done, total):
    raise Killed


def emptied(table):
    """Remove all versions but the newest, as a careless clean-up does."""
    table.optimize(cleanup_older_than=datetime.timedelta(0), delete_unverified=True)


def test_embedding_functions_of_the_old_model_are_left_out(database, run, tmp_path):
    """LanceDB would embed rows and queries with them. They need a class, a package or a key: none is built."""
    function = {"name": "openai", "model": {"name": "old"}, "source_column": "text", "vector_column": "v"}
    metadata = {"embedding_functions": json.dumps([function]), "about": "texts"}
    database.db.create_table("embedded", table(X).replace_schema_metadata(metadata))
    ADAPTER.save(tmp_path / "bridge.safetensors")
    words = "migrate", database.url("embedded"), database.url("new"), "-a", tmp_path / "bridge.safetensors"
    for options in (["--dry-run"], []):
        code, _, err = run(*words, *options)
        assert code == 0 and "embedding functions (openai) are left out" in err
    made = database.db.open_table("new").schema.metadata
    assert b"embedding_functions" not in made and made[b"about"] == b"texts"
    same(database.read("new"), expected(X, ADAPTER))


def test_a_dry_run_does_all_but_write(database):
    before = sorted(database.root.rglob("*"))
    result = migrate(database.url("docs"), database.url("new"), ADAPTER, dry_run=True)
    assert result.rows == 0 and sorted(database.root.rglob("*")) == before


def test_the_first_rows_tell_how_many_large_ones_are_read_together(database, monkeypatch):
    monkeypatch.setattr(blocks, "FIRST", 4)
    for size, expected_sizes in ((1 << 20, [25, 25, 25, 15]), (4_000, [17] * 5 + [5])):
        monkeypatch.setattr(blocks, "BYTES", size)
        texts = pa.array(["x" * 180] * 90)
        database.db.create_table("long", table(X).append_column("long", texts), mode="overwrite")
        with open_store(database.url("long")) as store:
            found = list(store.blocks(25))
        assert [len(block.keys) for block in found] == expected_sizes
        assert [key for block in found for key in block.keys] == list(range(90))
        np.testing.assert_array_equal(np.concatenate([block.vectors for block in found]), X)


def test_the_version_that_is_read_outlives_a_clean_up(database):
    old = database.db.open_table("docs")
    with pytest.raises(Killed):
        migrate(database.url("docs"), database.url("new"), ADAPTER, batch=20, progress=killed)
    old.delete("id = 17")
    with pytest.raises(RuntimeError, match="minivec-"):  # LanceDB says which tag keeps the version
        emptied(old)
    result = migrate(database.url("docs"), database.url("new"), ADAPTER, batch=20)
    assert (result.rows, result.caught_up, result.notes) == (90, 1, ())
    assert not old.tags.list()
    emptied(old)  # which no tag prevents any more
    result = migrate(database.url("docs"), database.url("new"), ADAPTER, allow_changes=True)
    assert result.written == 0


def test_a_clean_up_behind_a_finished_migration_does_no_harm(database):
    migrate(database.url("docs"), database.url("new"), ADAPTER, batch=20)
    emptied(database.db.open_table("docs"))
    assert verify(database.url("docs"), database.url("new"), ADAPTER, 90) == 90
    result = migrate(database.url("docs"), database.url("new"), ADAPTER, verify="all")
    assert (result.written, result.verified) == (0, 90)


def test_rows_of_a_version_that_is_gone_are_not_taken_from_another_one(database):
    old = database.db.open_table("docs")
    with pytest.raises(Killed):
        migrate(database.url("docs"), database.url("new"), ADAPTER, batch=20, progress=killed)
    for tag in list(old.tags.list()):
        old.tags.delete(tag)
    old.delete("id = 17")
    emptied(old)
    with pytest.raises(ValueError, match="version 2, which the migration reads, is gone"):
        migrate(database.url("docs"), database.url("new"), ADAPTER, batch=20, allow_changes=True)


def test_a_table_that_was_made_anew_is_recognised(database):
    with pytest.raises(Killed):
        migrate(database.url("docs"), database.url("new"), ADAPTER, batch=20, progress=killed)
    database.db.drop_table("docs")
    database.fill("docs", vectors(90, seed=9))
    with pytest.raises(ValueError, match="the table was made anew since the migration began"):
        migrate(database.url("docs"), database.url("new"), ADAPTER, batch=20)
    database.db.drop_table("docs")
    database.db.create_table("docs", table(vectors(90, seed=9)))  # which has fewer versions
    with pytest.raises(ValueError, match="the table was made anew since the migration began"):
        migrate(database.url("docs"), database.url("new"), ADAPTER, batch=20)


def test_rows_that_are_added_meanwhile_are_caught_up_with(database):
    old, more = database.db.open_table("docs"), vectors(30, seed=4)
    rows = table(np.concatenate([X, more])).slice(90)
    rows = rows.set_column(0, "id", pa.array(range(90, 120)))

    def meanwhile(done, total):
        if done == 40:
            old.add(rows)

    result = migrate(database.url("docs"), database.url("new"), ADAPTER, batch=20, verify="all", progress=meanwhile)
    assert (result.rows, result.caught_up, result.verified, result.notes) == (90, 30, 120, ())
    assert database.db.open_table("new").count_rows() == 120
    again = migrate(database.url("docs"), database.url("new"), ADAPTER, batch=20, verify="all")
    assert (again.written, again.caught_up, again.verified) == (0, 0, 120)
    old.optimize()  # which moves all rows, and changes none
    again = migrate(database.url("docs"), database.url("new"), ADAPTER)
    assert (again.written, again.caught_up, again.notes) == (0, 0, ())


def test_a_run_that_was_killed_while_it_caught_up_adds_no_row_twice(database, monkeypatch):
    from minivec.stores.lance import LanceStore

    old = database.db.open_table("docs")
    migrate(database.url("docs"), database.url("new"), ADAPTER)
    old.add(table(vectors(30, seed=4)))

    def fails(*_):
        raise Killed

    monkeypatch.setattr(LanceStore, "remove", fails)
    with pytest.raises(Killed):
        migrate(database.url("docs"), database.url("new"), ADAPTER, batch=20)
    monkeypatch.undo()
    migrate(database.url("docs"), database.url("new"), ADAPTER, batch=20, verify="all")
    assert database.db.open_table("new").count_rows() == 120


def changed(table_, change):
    """A change of the table, as its users make it."""
    if "update" in change:
        table_.update(where="id = 17", values={"text": "another"})
    if "delete" in change:
        table_.delete("id IN (18, 19)")
    if "merge" in change:
        rows = table(vectors(92, seed=7)).slice(88)
        rows = rows.set_column(0, "id", pa.array([3, 5, 90, 91]))
        table_.merge_insert("id").when_matched_update_all().when_not_matched_insert_all().execute(rows)
    if "compact" in change:
        table_.optimize()


CHANGES = ["update", "delete", "merge", "update, delete, merge, compact", "compact"]


@pytest.mark.parametrize("change", CHANGES)
def test_changes_are_caught_up_with(database, change):
    """While a run reads, and again afterwards; the new table has the rows of the old one, in its order."""
    old, seen = database.db.open_table("docs"), []

    def meanwhile(done, total):
        if done == 40:
            changed(old, change)

    words = database.url("docs"), database.url("new"), ADAPTER
    first = migrate(*words, batch=20, verify="all", progress=meanwhile)
    seen.append(first.caught_up)
    old.delete("id = 60")
    seen.append(migrate(*words, batch=20, verify="all").caught_up)
    assert (seen[0] > 0) == (change != "compact") and seen[1] == 1 and first.notes == ()
    rows, made = old.to_arrow(), database.db.open_table("new").to_arrow()
    assert made["id"].to_pylist() == rows["id"].to_pylist() and made["text"].to_pylist() == rows["text"].to_pylist()
    np.testing.assert_allclose(made["v"].to_pylist(), ADAPTER(np.array(rows["v"].to_pylist())), atol=1e-6)
    assert not database.db.open_table("new").tags.list()


@pytest.mark.parametrize("moment", ["rows are deleted", "the state is noted", "the tag goes"])
def test_a_run_that_is_killed_while_it_changes_rows_begins_that_anew(database, moment, monkeypatch):
    from minivec.stores.lance import versions as lance_versions

    old, words = database.db.open_table("docs"), (database.url("docs"), database.url("new"), ADAPTER)
    migrate(*words)
    changed(old, "update, delete, merge")
    call, name = {
        "rows are deleted": (lance_versions.deleted, "deleted"),
        "the state is noted": (lance_versions.note, "note"),
        "the tag goes": (lance_versions.note, "note"),
    }[moment]

    def fails(*arguments):
        if moment != "the state is noted":
            call(*arguments)
        raise Killed

    monkeypatch.setattr(lance_versions, name, fails)
    with pytest.raises(StoreError, match="Killed"):
        migrate(*words, batch=2)
    monkeypatch.undo()
    changed(old, "delete")
    assert migrate(*words, batch=2, verify="all").verified == 90
    made = database.db.open_table("new").to_arrow()
    assert made["id"].to_pylist() == old.to_arrow()["id"].to_pylist()


def test_a_filter_chooses_the_rows(database, run, tmp_path):
    url = database.url("docs?where=id%20<%2020")
    wanted = {key: row for key, row in expected(X, ADAPTER).items() if key < 20}
    assert sample(url, 90).shape == (20, 6)
    with pytest.raises(Killed):
        migrate(url, database.url("new"), ADAPTER, batch=7, progress=killed)
    assert migrate(url, database.url("new"), ADAPTER, batch=7, verify="all").verified == 20
    same(database.read("new"), wanted)
    code, _, err = run("sample", database.url("docs?where=idd%20<%2020"), "-o", tmp_path / "x.npy")
    assert code == 2 and err.count("\n") == 1 and "No field named idd" in err


def test_rows_without_a_vector_are_kept_without_one(database):
    database.fill("nulls", X, null=7)
    with pytest.raises(ValueError, match="null"):
        migrate(database.url("nulls"), database.url("new"), ADAPTER, batch=20)
    result = migrate(database.url("nulls"), database.url("new"), ADAPTER, batch=20, skip_nulls=True, verify="all")
    assert (result.rows, result.skipped, result.verified) == (90, 1, 90)
    key = table(X)["id"][7].as_py()
    wanted, made = expected(X, ADAPTER), database.read("new")
    assert made.pop(key) == (wanted.pop(key)[0], None)
    same(made, wanted)


@pytest.mark.parametrize("name", ["a`b", "`", "a.b"])
@pytest.mark.parametrize("place", ["vectors", "text", "asked"])
def test_a_column_that_lancedb_could_not_read_is_refused_before_anything_is_made(tmp_path, run, place, name):
    """LanceDB makes such a table, and then can neither write nor read it."""
    names = {"vectors": ["id", "text", name], "text": ["id", name, "v"], "asked": ["id", "text", "v"]}[place]
    pq.write_table(table(X).rename_columns(names), tmp_path / "docs.parquet")
    ADAPTER.save(tmp_path / "bridge.safetensors")
    asked = f"?column={name}" if place == "asked" else ""
    new = f"lance://{tmp_path}/db/new{asked}"
    words = "migrate", tmp_path / "docs.parquet", new, "-a", tmp_path / "bridge.safetensors"
    for options in (["--dry-run"], []):
        code, _, err = run(*words, *options)
        assert code == 2 and err.count("\n") == 1 and repr(name) in err
        assert not (tmp_path / "db").exists()


def test_a_table_that_lancedb_cannot_read_is_refused_as_a_source(database):
    database.db.create_table("odd", table(X).rename_columns(["id", "a`b", "v"]))
    with pytest.raises(ValueError, match="LanceDB cannot keep a column named 'a`b'"):
        migrate(database.url("odd"), database.url("new"), ADAPTER)


@pytest.mark.parametrize("damage", ["data", "versions"])
def test_what_the_client_raises_is_one_line(database, damage, run, tmp_path):
    ADAPTER.save(tmp_path / "bridge.safetensors")
    folder = database.root / "docs.lance" / ("data" if damage == "data" else "_versions")
    shutil.rmtree(folder)
    words = database.url("docs"), database.url("new"), "-a", tmp_path / "bridge.safetensors"
    for command in (("migrate", *words), ("sample", words[0], "-o", tmp_path / "x.npy")):
        code, out, err = run(*command)
        assert code == 2 and out == "" and err.count("\n") == 1 and database.url("docs") in err


def test_a_migration_that_version_0_1_0_began_goes_on(database):
    """Its checkpoint had no format, and named the version by its number."""
    made = table(X).schema.set(2, pa.field("v", pa.list_(pa.float32(), 8)))
    state = {"source": database.url("docs"), "column": "v", "aligner": ADAPTER.fingerprint, "count": 90}
    state |= {"version": 2, "position": None, "rows": 0, "new_column": "v"}
    database.db.create_table("new", schema=made.with_metadata({"minivec.migration": json.dumps(state)}))
    assert migrate(database.url("docs"), database.url("new"), ADAPTER, batch=20, verify="all").written == 90
    same(database.read("new"), expected(X, ADAPTER))
    assert open_store(database.url("new")).checkpoint().rows == 90
