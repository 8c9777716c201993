"""Migrations from one kind of store to another, and copies."""

import base64
import datetime
import random
import signal
import subprocess
import uuid
from decimal import Decimal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import small
from databases import KINDS, MAKERS
from minivec.migrate import migrate, verify
from minivec.moving.cutover import cutover
from minivec.stores import open_store
from minivec.stores.between import as_arrow, paired
from minivec.stores.sql.sqlite import SqliteStore
from small import Killed, bridge, command, killed_after, once

X = small.vectors(30)
ADAPTER = bridge()
IDS = small.table(X)["id"].to_pylist()
QUICK = ("postgres to lance", "lance to postgres", "chroma to qdrant server", "qdrant server to parquet")
QUICK += ("redis to milvus", "milvus to lance", "weaviate to pinecone", "postgres to weaviate", "pinecone to lance")
QUICK += ("elasticsearch to opensearch", "lance to elasticsearch", "opensearch to postgres")
ALL = (*KINDS, "milvus", "redis", "weaviate", "pinecone", "elasticsearch", "opensearch")
FROM, TO = (*ALL, "npy", "words"), (*ALL, "npy")
WAYS = [f"{old} to {new}" for old in FROM for new in TO if old != new]
TIME = datetime.datetime(2024, 2, 29, 12, 30, 1, 5)


def ways(chosen=WAYS, quick=QUICK):
    """Pairs of kinds; all but a few are slow."""
    return [pytest.param(way, marks=[pytest.mark.slow] * (way not in quick)) for way in chosen]


@pytest.fixture
def kind(request):
    return request.param


@pytest.fixture
def pair(request, tmp_path):
    """Two databases, the first with rows in docs."""
    made = []
    for side, kind in enumerate(request.param.split(" to ")):
        (tmp_path / str(side)).mkdir()
        made.append(MAKERS[kind](tmp_path / str(side)))
    made[0].fill("docs", X)
    yield made
    for database in made:
        database.close()


def tables(store):
    """All rows of a store as Arrow tables, in its order."""
    return [block.payload.to_pylist() for block in as_arrow(store).blocks(1_000)]


def moved(source, destination, adapter=ADAPTER):
    """Rows of both by key, which must be the same, with the vectors that they should have."""
    with open_store(source) as old, open_store(destination) as new:
        old, new = paired(old, new)
        new.accepts(old)
        new.resume(new.checkpoint())
        keys = list(old.keys())
        before, after = old.fetch(keys), new.fetch(keys)
        assert list(after.keys) == keys and sorted(map(str, new.keys())) == sorted(map(str, keys))
        cosine = np.einsum("ij,ij->i", adapter(before.vectors), after.vectors)
        assert (cosine > 0.999 * np.linalg.norm(after.vectors, axis=1)).all()


@pytest.mark.parametrize("pair", ways(), indirect=True)
def test_rows_keys_and_payload_come_to_another_kind_and_a_killed_run_goes_on(pair):
    old, new = pair
    if old.payload and not new.payload:
        with pytest.raises(ValueError, match="more than vectors"):
            migrate(old.source(), new.url("new"), ADAPTER)
        return
    for rows in (10, 20):
        with pytest.raises(Killed):
            migrate(old.source(), new.url("new"), ADAPTER, batch=10, progress=killed_after(rows))
    result = migrate(old.source(), new.url("new"), ADAPTER, batch=7, verify="all")
    assert (result.rows, result.written, result.verified) == (30, 10, 30)
    assert migrate(old.source(), new.url("new"), ADAPTER, batch=7, verify=9).written == 0
    assert verify(old.source(), new.url("new"), ADAPTER, 11) == 11
    moved(old.source(), new.url("new"))


@pytest.mark.parametrize("pair", ways(), indirect=True)
def test_without_an_aligner_it_is_a_copy_and_says_so(pair, run):
    old, new = pair
    if old.payload and not new.payload:
        return
    code, out, err = run("migrate", old.source(), new.url("copy"), "--batch", 10, "--verify-all")
    assert code == 0 and "counts agree" in out and err.count("this is a copy") == 1, err
    assert open_store(new.url("copy")).checkpoint().aligner == "copy"
    moved(old.source(), new.url("copy"), lambda X: X / np.linalg.norm(X, axis=1, keepdims=True))
    assert verify(old.source(), new.url("copy")) == 30
    code, out, err = run("migrate", old.source(), new.url("copy"), "--inverse")
    assert (code, out, err.count("\n")) == (2, "", 1) and "name the aligner" in err


@pytest.mark.parametrize("kind", ["milvus", "redis", "weaviate", "pinecone", "elasticsearch", "opensearch"])
def test_a_destination_lists_no_keys_of_its_source(kind, tmp_path, monkeypatch):
    """It looks at one, to see whether they are texts or numbers: all may be millions."""
    pairs = [MAKERS[name](tmp_path) for name in ("sqlite", kind)]
    old, new = pairs
    old.fill("docs", X)

    def keys(self):
        raise AssertionError("all keys are listed")

    monkeypatch.setattr(SqliteStore, "keys", keys)
    assert migrate(old.source(), new.url("new"), ADAPTER, batch=10).rows == 30
    for database in pairs:
        database.close()


def test_vectors_of_a_copy_keep_their_lengths(tmp_path):
    np.save(tmp_path / "docs.npy", 3 * X)
    migrate(tmp_path / "docs.npy", tmp_path / "new.npy")
    np.testing.assert_array_equal(np.load(tmp_path / "new.npy"), 3 * X)
    with pytest.raises(ValueError, match="lengths 'unit' needs an aligner"):
        migrate(tmp_path / "docs.npy", tmp_path / "other.npy", lengths="unit")


def test_a_copy_of_mapped_vectors_is_known_as_that(tmp_path):
    square = bridge(6, 6)
    np.save(tmp_path / "docs.npy", X)
    migrate(tmp_path / "docs.npy", tmp_path / "new.npy", square)
    migrate(tmp_path / "new.npy", tmp_path / "copy.npy")
    with pytest.raises(ValueError, match="this aligner has mapped its vectors already"):
        migrate(tmp_path / "copy.npy", tmp_path / "twice.npy", square)
    migrate(tmp_path / "docs.npy", tmp_path / "plain.npy")
    assert migrate(tmp_path / "plain.npy", tmp_path / "mapped.npy", square).notes == ()


# Changes meanwhile.


@pytest.mark.parametrize("pair", ways([way for way in WAYS if "npy" not in way and "words" not in way]), indirect=True)
@pytest.mark.parametrize("change", ["update", "delete", "insert"])
def test_a_change_of_the_source_is_caught_up_with_or_told(pair, change):
    old, new = pair
    source = old.source()
    if source.startswith("lance"):
        source += "?key=id"
    row = (X[0] + [0, 0, 0, 1, 0, 0]) / np.linalg.norm(X[0] + [0, 0, 0, 1, 0, 0])
    given = {"update": (IDS[2], row), "delete": (IDS[2],), "insert": (200, row)}[change]
    with open_store(source) as store:
        if store.fixed:
            pytest.skip("a file that has changed is another source")
    result = migrate(
        source, new.url("new"), ADAPTER, batch=10, progress=once(lambda: getattr(old, change)("docs", *given))
    )
    if result.uncaught:  # a folder of Parquet files only grows
        assert "cannot be" in result.notes[-1] and not new.url("new").startswith("lance")
        return
    assert verify(source, new.url("new"), ADAPTER, "all") == 30 + {"update": 0, "delete": -1, "insert": 1}[change]
    moved(source, new.url("new"))


def test_rows_of_lancedb_without_a_key_are_numbered_and_changes_are_told(tmp_path):
    lance, qdrant = MAKERS["lance"](tmp_path), MAKERS["qdrant server"](tmp_path)
    lance.fill("docs", X)
    result = migrate(
        lance.source(), qdrant.url("new"), ADAPTER, batch=10, progress=once(lambda: lance.delete("docs", IDS[2])),
        allow_changes=True,
    )  # fmt: skip
    assert any("'row_number'" in note and "key=" in note for note in result.notes)
    assert any("cannot tell whether rows were changed" in note for note in result.notes)
    qdrant.close()


@pytest.mark.parametrize("new", ["parquet", "faiss", "lance", "duckdb", "sqlite"])
@pytest.mark.parametrize("old", ["lance", "lance by key", "parquet"])
def test_stores_that_number_their_rows_are_compared_whole_and_in_part(old, new, tmp_path):
    """With a key, and without; and the old vectors, which are among their columns, are none of the new table."""
    (tmp_path / "old").mkdir(), (tmp_path / "new").mkdir()
    first, second = MAKERS[old.partition(" ")[0]](tmp_path / "old"), MAKERS[new](tmp_path / "new")
    first.fill("docs", X)
    source, place = first.source() + ("?key=id" if old == "lance by key" else ""), second.url("new")
    for rows in ("all", 9):
        dry = migrate(source, place, ADAPTER, dry_run=True)
        assert migrate(source, place, ADAPTER, batch=7, verify=rows).verified == (30 if rows == "all" else 9)
        assert verify(source, place, ADAPTER, rows) == (30 if rows == "all" else 9)
        assert dry.rows == 30 * (rows == 9)
    moved(source, place)


def test_rows_of_lancedb_are_named_by_their_key(tmp_path, run):
    lance = MAKERS["lance"](tmp_path)
    lance.fill("docs", X)
    lance.update("docs", IDS[17], None)
    source = f"{lance.source()}?key=id"
    for place in (tmp_path / "parts", lance.url("new")):
        with pytest.raises(ValueError, match=rf"row {IDS[17]}$"):
            migrate(source, place, ADAPTER, batch=10)
        result = migrate(source, place, ADAPTER, batch=10, skip_nulls=True, verify="all")
        assert result.skipped_keys == (IDS[17],)
    assert f"({IDS[17]})" in run("sample", source, "-o", tmp_path / "x.npy", "--rows", 30)[2]


# Types.

VALUES = {
    "smallint": 7, "integer": -(2**31), "bigint": 2**63 - 1, "real": 0.5, "double precision": 1e300, "boolean": True,
    "text": 'é "%', "varchar(9)": "v", "uuid": uuid.UUID(int=5), "date": TIME.date(), "timestamp": TIME,
    "timestamptz": TIME.replace(tzinfo=datetime.UTC), "time": TIME.time(), "numeric(20,4)": Decimal("123.4500"),
    "bytea": b"\0\xff", "jsonb": '{"a": [1, {"b": null}], "c": "x"}', "integer[]": [1, None, 3], "text[]": ["a", None],
    "numeric": Decimal("1.50"), "interval": datetime.timedelta(days=1, seconds=2), "inet": "10.0.0.1",
}  # fmt: skip
BACK = {"varchar(9)": "text", "uuid": "text", "numeric": "text", "interval": "text", "inet": "text"}


@pytest.fixture
def many(tmp_path):
    """A PostgreSQL table with a column of each type, a row of values and one of NULLs."""
    database = MAKERS["postgres"](tmp_path)
    columns = ", ".join(f'"c {kind}" {kind}' for kind in VALUES)
    database.run(f"CREATE TABLE docs (id bigint PRIMARY KEY, v vector(6), {columns})")
    marks = ", ".join(f"%s::{kind}" for kind in VALUES)
    database.run(f"INSERT INTO docs VALUES (1, %s, {marks})", None, (str(X[0].tolist()), *VALUES.values()))
    database.run("INSERT INTO docs (id, v) VALUES (2, %s)", None, (str(X[1].tolist()),))
    return database


@pytest.mark.parametrize("middle", ["lance", "parquet"])
def test_every_type_of_postgresql_comes_to_arrow_and_back(many, middle, tmp_path):
    place = MAKERS[middle](tmp_path).url("middle")
    result = migrate(many.url("docs"), place, verify="all")
    texts = next(note for note in result.notes if "become texts" in note)
    assert "c numeric (numeric)" in texts and "c interval" in texts and "c inet" in texts and "jsonb" not in texts
    back = place if middle == "parquet" else f"{place}?key=id"
    migrate(back, many.url("back"), verify="all")
    names = [f'"c {kind}"' for kind in VALUES]
    casts = ", ".join(f"{name}::{BACK.get(kind, kind)}" for name, kind in zip(names, VALUES, strict=True))
    rows = f"SELECT {casts} FROM {{}} ORDER BY id"
    assert many.run(rows.format("docs")) == many.run(rows.format("back"))
    query = "SELECT attname, format_type(atttypid, atttypmod) FROM pg_attribute WHERE attrelid = 'back'::regclass "
    made = dict(many.run(query + "AND attnum > 0"))
    for kind in VALUES:
        wanted = BACK.get(kind, kind).replace("timestamptz", "timestamp with time zone")
        assert made[f"c {kind}"].replace(" without time zone", "") == wanted


def test_types_of_arrow_that_postgresql_has_otherwise_are_listed(tmp_path):
    postgres = MAKERS["postgres"](tmp_path)
    columns = {
        "n": pa.array([2**64 - 1, None], pa.uint64()),
        "ns": pa.array([1_709_209_801_000_005_001, None], pa.timestamp("ns")),
        "s": pa.array([{"a": 1, "d": TIME.date()}, None]),
        "m": pa.array([[("k", 1)], None], pa.map_(pa.string(), pa.int32())),
        "words": pa.array([["a", "b"], None], pa.list_(pa.string())),
        "d": pa.array(["x", None]).dictionary_encode(),
        "half": pa.array(np.array([0.5, 1], np.float16)),
    }
    pq.write_table(
        pa.table({**columns, "v": pa.array(list(X[:2]), pa.list_(pa.float32(), 6))}), tmp_path / "docs.parquet"
    )
    source = f"{tmp_path}/docs.parquet?column=v"
    result = migrate(source, postgres.url("new"), verify="all")
    assert any("become jsonb: s (" in note and "m (map" in note and "words" not in note for note in result.notes)
    assert any("cut to microseconds: ns" in note for note in result.notes)
    row = postgres.run('SELECT n, ns, s, m, words, d, half FROM "new" ORDER BY id LIMIT 1')[0]
    when = datetime.datetime(2024, 2, 29, 12, 30, 1, 5)
    assert row == (2**64 - 1, when, {"a": 1, "d": "2024-02-29"}, [["k", 1]], ["a", "b"], "x", 0.5)


@pytest.mark.parametrize("kind", ["chroma", "qdrant server"])
def test_documents_have_every_value_or_it_is_listed(many, kind, tmp_path):
    database = MAKERS[kind](tmp_path)
    result = migrate(many.url("docs"), database.url("new"), verify="all")
    texts, binary = (next(n for n in result.notes if what in n) for what in ("JSON has no such type", "base64"))
    assert "c date" in texts and "c numeric(20,4)" in texts and "c bytea" in binary
    with open_store(database.url("new")) as store:
        (one, *_), (two, *_) = (block[1:] if kind == "chroma" else block for block in store.fetch(store.keys()).payload)
    assert one["c bigint"] == 2**63 - 1 and one["c date"] == "2024-02-29" and one["c numeric(20,4)"] == "123.4500"
    assert base64.b64decode(one["c bytea"]) == b"\0\xff" and one["c boolean"] is True
    nested = '{"a": [1, {"b": null}], "c": "x"}' if kind == "chroma" else {"a": [1, {"b": None}], "c": "x"}
    assert one["c jsonb"] == nested
    assert two is None or all(value is None for value in two.values())
    database.close()


def test_keys_that_qdrant_cannot_have_become_uuids_and_stay_in_the_payload(tmp_path):
    postgres, qdrant = MAKERS["postgres"](tmp_path), MAKERS["qdrant server"](tmp_path)
    postgres.run("CREATE TABLE docs (name text PRIMARY KEY, v vector(6))")
    names = ["a/b", "12", str(uuid.UUID(int=7)), str(uuid.UUID(int=2**127)).upper(), "é"]
    for name, x in zip(names, X, strict=False):
        postgres.run("INSERT INTO docs VALUES (%s, %s)", None, (name, str(x.tolist())))
    result = migrate(postgres.url("docs"), qdrant.url("new"), verify="all")
    assert any("neither numbers nor UUIDs" in note for note in result.notes)
    points, _ = qdrant.client.scroll("new", limit=9)
    made = {point.payload.get("name", point.id): point.id for point in points}
    assert set(made) == {"a/b", 12, names[2], names[3], "é"}
    assert made["a/b"] == str(uuid.uuid5(uuid.NAMESPACE_URL, "a/b"))
    postgres.run("DELETE FROM docs WHERE name = 'é'")
    postgres.run("UPDATE docs SET v = %s WHERE name = 'a/b'", None, (str(X[9].tolist()),))
    assert migrate(postgres.url("docs"), qdrant.url("new"), verify="all").verified == 4
    qdrant.close()


def test_a_key_of_several_columns_gets_a_column_of_its_own(tmp_path):
    postgres, lance = MAKERS["postgres"](tmp_path), MAKERS["lance"](tmp_path)
    postgres.run("CREATE TABLE docs (id int, lang text, v vector(6), PRIMARY KEY (id, lang))")
    for i, lang in ((1, "en"), (1, "de"), (2, "en")):
        postgres.run("INSERT INTO docs VALUES (%s, %s, %s)", None, (i, lang, str(X[i].tolist())))
    migrate(postgres.url("docs"), lance.url("new"), ADAPTER, verify="all")
    rows = lance.db.open_table("new").to_arrow().to_pylist()
    assert [(row["minivec_key"], row["id"], row["lang"]) for row in rows][0] == ('["1", "de"]', 1, "de")
    postgres.run("DELETE FROM docs WHERE id = 2")
    assert migrate(postgres.url("docs"), lance.url("new"), ADAPTER, verify="all").verified == 2


def test_other_vectors_of_a_point_come_along_and_sparse_ones_are_listed(tmp_path):
    models = pytest.importorskip("qdrant_client.models")
    qdrant, postgres = MAKERS["qdrant server"](tmp_path), MAKERS["postgres"](tmp_path)
    sizes = {"v": 6, "other": 2}
    dense = {name: models.VectorParams(size=size, distance="Dot") for name, size in sizes.items()}
    qdrant.client.create_collection("docs", dense, sparse_vectors_config={"words": models.SparseVectorParams()})
    vectors = {"v": X[0].tolist(), "other": [1.0, 2.0], "words": models.SparseVector(indices=[1], values=[0.5])}
    qdrant.client.upsert("docs", [models.PointStruct(id=1, vector=vectors, payload={"a": {"b": [1, None]}})])
    result = migrate(qdrant.source(), postgres.url("new"), ADAPTER, verify="all")
    assert any("left out: words" in note for note in result.notes)
    assert postgres.run('SELECT id, payload, other FROM "new"') == [("1", {"a": {"b": [1, None]}}, [1.0, 2.0])]
    qdrant.close()


def test_what_json_has_not_is_refused_with_column_and_key(many, tmp_path):
    many.run("UPDATE docs SET \"c real\" = 'NaN' WHERE id = 2")
    qdrant = MAKERS["qdrant server"](tmp_path)
    with pytest.raises(ValueError, match="NaN or infinity.*'c real'.*2"):
        migrate(many.url("docs"), qdrant.url("new"), dry_run=True)
    qdrant.close()


def test_rows_without_a_vector_are_kept_or_left_out(many, tmp_path):
    many.run("UPDATE docs SET v = NULL WHERE id = 2")
    lance, chroma = MAKERS["lance"](tmp_path), MAKERS["chroma"](tmp_path)
    result = migrate(many.url("docs"), lance.url("new"), skip_nulls=True, verify="all")
    assert result.skipped == 1
    assert [row["v"] is None for row in lance.db.open_table("new").to_arrow().to_pylist()] == [False, True]
    assert migrate(many.url("docs"), chroma.url("new"), skip_nulls=True, verify="all").skipped == 1
    assert chroma._collection("new").count() == 1
    kept = f"{lance.url('new')}?key=id"
    assert migrate(kept, many.url("back"), skip_nulls=True, verify="all").skipped == 1
    assert many.run("SELECT id, v IS NULL FROM back ORDER BY id") == [(1, False), (2, True)]


# Names, and going live.


def test_a_table_that_exists_and_a_column_that_clashes_are_refused(many, tmp_path, run):
    lance = MAKERS["lance"](tmp_path)
    lance.fill("docs", X)
    for place, told in (("docs", "the table exists"), ("new&column=text", "another column 'text'")):
        code, out, err = run("migrate", lance.source(), many.url(place))
        lines = [line for line in err.splitlines() if "note:" not in line]
        assert (code, out, len(lines)) == (2, "", 1) and told in lines[0], err
    assert many.run("SELECT to_regclass('new')") == [(None,)]


def test_a_dry_run_lists_the_same_and_leaves_nothing(many, tmp_path):
    lance = MAKERS["lance"](tmp_path)
    lance.fill("docs", X)
    before = many.left()
    dry = migrate(f"{lance.source()}?key=id", many.url("new"), ADAPTER, dry_run=True)
    assert many.left() == before
    assert dry.notes == migrate(f"{lance.source()}?key=id", many.url("new"), ADAPTER).notes


def test_between_kinds_a_cut_over_is_refused_with_what_to_do(many, tmp_path):
    lance = MAKERS["lance"](tmp_path)
    migrate(many.url("docs"), lance.url("new"), ADAPTER)
    with pytest.raises(ValueError, match="another kind.*by hand") as caught:
        cutover(many.url("docs"), lance.url("new"), ADAPTER)
    assert "\n" not in str(caught.value)


@pytest.mark.slow
@pytest.mark.parametrize("pair", ["postgres to lance", "lance to postgres", "chroma to lance"], indirect=True)
def test_a_run_that_is_killed_at_random_moments_ends_with_every_row(pair, tmp_path):
    old, new = pair
    ADAPTER.save(tmp_path / "bridge.safetensors")
    line = command("migrate", old.source(), new.url("new"), "-a", tmp_path / "bridge.safetensors", "--batch", 2)
    rng = random.Random(0)
    for _ in range(10):
        process = subprocess.Popen(line, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            process.wait(rng.uniform(0.5, 4))
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.wait()
    done = subprocess.run([*line, "--verify-all"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    moved(old.source(), new.url("new"))
