"""What only DuckDB has: types, constraints, indexes, and one process that writes."""

import subprocess
import sys

import pytest

import small
from minivec.migrate import migrate
from minivec.moving.cutover import cutover, rollback
from minivec.stores import StoreError, open_store
from small import both_ways, bridge, expected, same

pytest.importorskip("duckdb")

from duckdb_database import Duck  # noqa: E402

X = small.vectors(30)
ADAPTER = bridge()


@pytest.fixture
def docs(tmp_path):
    made = Duck(tmp_path)
    made.fill("docs", X)
    yield made
    made.close()


TYPES = {
    "HUGEINT": 2**127 - 1, "UUID": "00000000-0000-0000-0000-000000000005", "JSON": '{"a": [1, null]}', "BIT": "101",
    "ENUM('a', 'b')": "b", "DECIMAL(20,3)": "12.500", "TIMESTAMP_NS": "2024-02-29 01:02:03.000000001",
    "TIME WITH TIME ZONE": "12:00:00+02", "INTERVAL": "3 days 00:00:01", "BLOB": "\\xFF", "INTEGER[]": "[1, NULL]",
    "STRUCT(a INTEGER, b VARCHAR)": "{'a': 1, 'b': x}", "MAP(VARCHAR, INTEGER)": "{k=1}", "UTINYINT": 255,
    "TIMESTAMP WITH TIME ZONE": "2024-02-29 01:02:03+00",
}  # fmt: skip


def test_values_of_every_type_come_along_and_nulls_do(tmp_path):
    docs = Duck(tmp_path)
    kinds = ", ".join(f'"c {kind}" {kind}' for kind in TYPES)
    docs.run(f"CREATE TABLE docs (id VARCHAR PRIMARY KEY, v FLOAT[6], {kinds})")
    casts = ", ".join(f"CAST(? AS {kind})" for kind in TYPES)
    docs.run(f"INSERT INTO docs SELECT 'é', ?, {casts}", (X[0].tolist(), *TYPES.values()))
    docs.run("INSERT INTO docs (id, v) VALUES ('b', ?)", (X[1].tolist(),))
    assert migrate(docs.url("docs"), docs.url("new"), ADAPTER, verify="all").notes == ()
    query = "SELECT COLUMNS('c .*')::VARCHAR FROM {} ORDER BY id"
    assert docs.run(query.format("new")) == docs.run(query.format("docs"))
    described = "SELECT column_name, data_type FROM duckdb_columns() WHERE table_name = ? AND column_name <> 'v'"
    assert docs.run(described, ["new"]) == docs.run(described, ["docs"])
    docs.close()


def test_constraints_and_defaults_come_along_and_what_does_not_is_listed(docs):
    docs.run("CREATE TABLE other (id BIGINT PRIMARY KEY)")
    docs.run(
        "CREATE TABLE more (id BIGINT, lang VARCHAR DEFAULT 'en' NOT NULL, n INTEGER UNIQUE CHECK (n > 0), "
        "o BIGINT REFERENCES other (id), v FLOAT[6] CHECK (len(v) = 6), PRIMARY KEY (id))"
    )
    docs.run("INSERT INTO more (id, n, v) SELECT id, id + 1, v FROM docs")
    docs.run("CREATE INDEX by_lang ON more (lang)")
    dry = migrate(docs.url("more"), docs.url("new"), ADAPTER, dry_run=True)
    result = migrate(docs.url("more"), docs.url("new"), ADAPTER, verify="all")
    assert dry.notes == result.notes
    told = " ".join(result.notes)
    assert "FOREIGN KEY" in told and "len(v)" in told and "by_lang" in told
    docs.run("INSERT INTO new (id, n) VALUES (100, 101)")
    assert docs.run("SELECT lang FROM new WHERE id = 100") == [("en",)]
    for wrong in ("(101, -1)", "(102, 101)", "(100, 999)"):
        with pytest.raises(Exception, match="(?i)constraint"):
            docs.run(f"INSERT INTO new (id, n) VALUES {wrong}")


def test_lists_of_any_length_are_vectors_if_they_are_of_one_width(docs):
    docs.run("CREATE TABLE lists AS SELECT id, v::FLOAT[] AS v FROM docs")
    migrate(f"{docs.url('lists')}?key=id", docs.url("new"), ADAPTER, verify="all")
    docs.run("UPDATE lists SET v = [1.0, 2.0] WHERE id = 5")
    with pytest.raises(ValueError, match="another length than 6 in row 5"):
        migrate(f"{docs.url('lists')}?key=id", docs.url("other"), ADAPTER, dry_run=True)
    with pytest.raises(ValueError, match="no primary key"):
        open_store(docs.url("lists")).schema()


def test_rows_of_a_filter_go_to_another_file(docs, tmp_path):
    place = f"duckdb://{tmp_path}/other.duckdb/new"
    assert migrate(f"{docs.url('docs')}?where=id<10", place, ADAPTER, verify="all").verified == 10
    with open_store(place) as store:
        assert store.count() == 10 and store.schema().width == 8


def test_another_process_that_writes_is_told_in_one_line(tmp_path):
    docs = Duck(tmp_path)
    docs.fill("docs", X)
    docs.close()
    code = "import duckdb, sys; c = duckdb.connect(sys.argv[1]); print(1, flush=True); sys.stdin.read()"
    holder = subprocess.Popen(
        [sys.executable, "-c", code, str(docs.root)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    holder.stdout.readline()
    with pytest.raises(StoreError, match="lock") as caught:
        migrate(docs.url("docs"), docs.url("new"), ADAPTER)
    assert "\n" not in str(caught.value)
    holder.communicate()
    migrate(docs.url("docs"), docs.url("new"), ADAPTER, verify="all")


def test_a_table_with_an_index_takes_the_name_and_gives_it_back(docs):
    adapter = both_ways()
    docs.run("CREATE INDEX by_text ON docs (text)")
    migrate(docs.url("docs"), docs.url("new"), adapter)
    cutover(docs.url("docs"), docs.url("new"), adapter)
    same(docs.read("docs"), expected(X, adapter))
    assert docs.run("SELECT table_name FROM duckdb_indexes()") == [("docs_minivec_old",)]
    rollback(docs.url("docs"))
    same(docs.read("docs"), expected(X, lambda X: X))
    assert docs.run("SELECT table_name FROM duckdb_indexes()") == [("docs",)]
