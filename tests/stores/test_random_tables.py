"""Random tables, written to every kind of store, migrated, and read back through every path."""

import datetime
import json
import uuid

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

import databases
import small
from databases import MAKERS
from minivec.migrate import migrate, verify
from minivec.stores import StoreRows, open_store
from small import bridge

X = small.vectors(3)
FEW = dict(deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
EXAMPLES = [pytest.param(2, id="few"), pytest.param(60, id="many", marks=pytest.mark.slow)]
VALUES = st.floats(-100, 100, width=32).filter(lambda value: value == 0 or abs(value) > 1e-3)
TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=9)
NAME = TEXT.filter(lambda name: name.strip() and not set(".`") & set(name))  # of which LanceDB takes neither
DAY = st.datetimes(datetime.datetime(1900, 1, 1), datetime.datetime(2200, 1, 1))
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(-1e9, 1e9) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=5,
)


@st.composite
def rows(draw, cells):
    """Vectors (n, d) that are embeddings, and columns with odd names whose cells come from ``cells``, or are null."""
    n, d = draw(st.integers(1, 12)), draw(st.integers(2, 5))
    vectors = draw(arrays.arrays(np.float32, (n, d), elements=VALUES))
    vectors[:, 0], vectors[:, -1] = 1.5, -2.5  # no row of one repeated value
    names = draw(st.lists(NAME, max_size=3, unique_by=str.lower))
    kinds = draw(st.lists(st.sampled_from(list(cells)), min_size=len(names), max_size=len(names)))
    columns = [draw(st.lists(st.none() | cells[kind], min_size=n, max_size=n)) for kind in kinds]
    return vectors, {f"c {name}": column for name, column in zip(names, zip(kinds, columns, strict=True), strict=True)}


def migrated(source, new, vectors, batch):
    """Migrate, and compare all rows by every path; the destination's rows by the source's keys."""
    adapter = bridge(vectors.shape[1], 5)
    result = migrate(source, new, adapter, batch=batch, verify="all")
    assert result.verified == result.rows == len(vectors)
    assert verify(source, new, adapter, 5) == min(5, len(vectors))
    with open_store(source) as old, open_store(new) as made:
        made.column = made.column or made.checkpoint().new_column
        keys, there = list(old.keys()), list(made.keys())
        assert keys == there
        before, after = old.fetch(keys), made.fetch(keys)
        np.testing.assert_allclose(after.vectors, adapter(before.vectors), atol=1e-5)
        streamed = np.concatenate([block.vectors for block in made.blocks(3)])
        np.testing.assert_array_equal(streamed, after.vectors)
        sampled = StoreRows(made).array()
        np.testing.assert_array_equal(sampled, after.vectors)
    return after


def checked(examples, cells, work):
    """Run ``work`` on this many random tables and sizes of a block."""

    @settings(max_examples=examples, **FEW)
    @given(rows(cells), st.integers(4, 15))
    def check(table, batch):
        work(*table, batch)

    check()


WAYS = [pytest.param(f"{kind} to {kind}", marks=pytest.mark.slow) for kind in ("parquet", "lance")]
ARROW = {
    "int64": st.integers(-(2**63), 2**63 - 1),
    "double": st.floats(allow_nan=False),
    "string": TEXT,
    "binary": st.binary(max_size=9),
    "bool": st.booleans(),
    "date32": DAY.map(lambda day: day.date()),
    "timestamp": DAY,
    "list": st.lists(st.none() | st.integers(0, 9), max_size=3),
    "struct": st.fixed_dictionaries({"a": st.none() | TEXT, "b": st.lists(TEXT, max_size=2)}),
}


def arrow(vectors, columns):
    import pyarrow as pa

    kinds = {name: getattr(pa, name)() for name in ("int64", "string", "binary", "date32")}
    kinds |= {"double": pa.float64(), "bool": pa.bool_(), "timestamp": pa.timestamp("us")}
    kinds |= {"list": pa.list_(pa.int32()), "struct": pa.struct({"a": pa.string(), "b": pa.list_(pa.string())})}
    made = {name: pa.array(cells, kinds[kind]) for name, (kind, cells) in columns.items()}
    return pa.table({**made, "v": pa.array(list(vectors), pa.list_(pa.float32(), vectors.shape[1]))})


@pytest.mark.parametrize("examples", EXAMPLES)
@pytest.mark.parametrize("way", ["parquet to lance", "lance to parquet", *WAYS])
def test_arrow_tables(examples, way, tmp_path_factory):
    import pyarrow.parquet as pq

    lancedb = pytest.importorskip("lancedb")

    def work(vectors, columns, batch):
        folder, (old, _, new) = tmp_path_factory.mktemp("arrow"), way.split()
        table = arrow(vectors, columns)
        urls = {"parquet": "{}/{}.parquet", "lance": "lance://{}/{}"}
        source = urls[old].format(folder, "old") + "?column=v"
        if old == "parquet":
            pq.write_table(table, folder / "old.parquet")
        else:
            lancedb.connect(str(folder)).create_table("old", table)
        destination = folder / "new" if new == "parquet" else f"lance://{folder}/new"
        migrated(source, destination, vectors, batch)
        made = pq.read_table(destination) if new == "parquet" else lancedb.connect(folder).open_table("new").to_arrow()
        assert made.column_names == table.column_names
        for name in columns:
            assert made[name].to_pylist() == table[name].to_pylist()

    checked(examples, ARROW, work)


POSTGRES = {
    "bigint": st.integers(-(2**63), 2**63 - 1),
    "numeric": st.decimals(allow_nan=False, allow_infinity=False, places=4, max_value=10**20, min_value=-(10**20)),
    "float8": st.floats(allow_nan=False),
    "text": TEXT,
    "bytea": st.binary(max_size=9),
    "boolean": st.booleans(),
    "date": DAY.map(lambda day: day.date()),
    "timestamp": DAY,
    "text[]": st.lists(st.none() | TEXT, max_size=3),
    "jsonb": JSON.filter(lambda value: value is not None).map(lambda value: json.dumps(value).replace("\\u0000", "")),
    "uuid": st.integers(0, 2**128 - 1).map(lambda number: uuid.UUID(int=number)),
}


@pytest.mark.parametrize("examples", EXAMPLES)
def test_tables_of_postgresql(examples, tmp_path):
    database, made = MAKERS["postgres"](tmp_path), []

    def work(vectors, columns, batch):
        made.append(1)
        old, new = f"old{len(made)}", f"new{len(made)}"
        shown = {databases.identifier(name): kind for name, (kind, _) in columns.items()}
        kinds = "".join(f", {name} {kind}" for name, kind in shown.items())
        database.run(f"CREATE TABLE {old} (id int PRIMARY KEY, v vector({vectors.shape[1]}){kinds})")
        cells = list(zip(*(column for _, column in columns.values()), strict=True)) or [()] * len(vectors)
        places = "".join(f", %s::{kind}" for kind in shown.values())
        values = [(i, str(x.tolist()), *row) for i, (x, row) in enumerate(zip(vectors, cells, strict=True))]
        with database.psycopg.connect(database.uri) as connection, connection.cursor() as cursor:
            cursor.executemany(f"INSERT INTO {old} VALUES (%s, %s{places})", values)
        migrated(database.url(old), database.url(new), vectors, batch)
        migrated(database.url(f"{old}&column=v"), database.url(f"{old}&column=w"), vectors, batch)
        names = "".join(f", {name}::text" for name in shown)
        rows = f"SELECT id{names} FROM {{}} ORDER BY id"
        assert database.run(rows.format(old)) == database.run(rows.format(new))

    checked(examples, POSTGRES, work)


METADATA = {"any": st.booleans() | st.integers(-(2**53), 2**53) | st.floats(-1e9, 1e9, allow_subnormal=False) | TEXT}


@pytest.mark.parametrize("examples", EXAMPLES)
def test_collections_of_chroma(examples, tmp_path):
    database, made = MAKERS["chroma"](tmp_path), []

    def work(vectors, columns, batch):
        made.append(1)
        old, new = f"old{len(made)}", f"new{len(made)}"
        cells = {name: values for name, (_, values) in columns.items()}
        numbers = range(len(vectors))
        rest = [{name: values[i] for name, values in cells.items() if values[i] is not None} for i in numbers]
        ids, documents = [f"é {i}%" for i in numbers], [f"\n{i}" if i % 3 else None for i in numbers]
        collection = database.client.create_collection(old, embedding_function=None)
        for key, x, document, metadata in zip(ids, vectors, documents, rest, strict=True):
            collection.add([key], [x.tolist()], [metadata] if metadata else None, [document] if document else None)
        migrated(database.url(old), database.url(new), vectors, batch)
        copy = database.client.get_collection(new, embedding_function=None).get()
        assert dict(zip(copy["ids"], copy["documents"], strict=True)) == dict(zip(ids, documents, strict=True))
        read = dict(zip(copy["ids"], copy["metadatas"], strict=True))
        for key, metadata in zip(ids, rest, strict=True):
            for name, value in metadata.items():  # Chroma rounds the last digit of some numbers
                close = pytest.approx(value, rel=1e-12, abs=0) if isinstance(value, float) else value
                assert (read[key] or {}).pop(name) == close
            assert not read[key]

    checked(examples, METADATA, work)


@pytest.mark.parametrize("examples", EXAMPLES)
def test_collections_of_qdrant(examples, tmp_path):
    models = pytest.importorskip("qdrant_client").models
    database, made = MAKERS["qdrant server"](tmp_path), []

    def work(vectors, columns, batch):
        made.append(1)
        old, new = f"old{len(made)}", f"new{len(made)}"
        database.client.create_collection(old, {"v": models.VectorParams(size=vectors.shape[1], distance="Dot")})
        ids = [i if i % 2 else str(uuid.UUID(int=i)) for i in range(len(vectors))]
        rest = [{name: values[i] for name, (_, values) in columns.items()} for i in range(len(vectors))]
        points = [
            models.PointStruct(id=key, vector={"v": x.tolist()}, payload=payload)
            for key, x, payload in zip(ids, vectors, rest, strict=True)
        ]
        database.client.upsert(old, points)
        migrated(f"{database.url(old)}?column=v", database.url(new), vectors, batch)
        migrated(f"{database.url(old)}?column=v", f"{database.url(old)}?column=w", vectors, batch)
        read, _ = database.client.scroll(new, limit=100)
        assert {point.id: point.payload for point in read} == dict(zip(ids, rest, strict=True))

    checked(examples, {"json": JSON}, work)
    database.close()


@pytest.mark.parametrize("examples", EXAMPLES)
@pytest.mark.parametrize("way", ["npy to npy", "npy to safetensors", "safetensors to npy", "npy to lance"])
def test_arrays(examples, way, tmp_path_factory):
    def work(vectors, columns, batch):
        folder, (old, _, new) = tmp_path_factory.mktemp("arrays"), way.split()
        kind = MAKERS[old](folder)
        kind._save(kind.url("old"), vectors)
        migrated(kind.url("old"), MAKERS[new](folder).url("new"), vectors, batch)

    checked(examples, {"nothing": st.none()}, work)
