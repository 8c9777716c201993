"""PostgreSQL: what is around the vectors, and what other sessions do meanwhile."""

import json
import os
import re
import threading

import numpy as np
import pytest

import small
from databases import Postgres
from minivec.migrate import migrate, verify
from minivec.stores import StoreError, open_store, sample
from minivec.stores.postgres import session
from small import bridge, once

psycopg = pytest.importorskip("psycopg")
pytestmark = pytest.mark.databases

X = small.vectors(90)
ADAPTER = bridge()


@pytest.fixture
def database(tmp_path):
    return Postgres(tmp_path)


@pytest.fixture
def docs(database):
    database.fill("docs", X)
    return database


def new_database(database):
    """Another one on the same server."""
    other = Postgres.__new__(Postgres)
    other.psycopg, name = database.psycopg, f"{database.uri.split('/')[3].split('?')[0]}_other"
    database.run(f"CREATE DATABASE {name}")
    other.uri = database.uri.replace(database.uri.split("/")[3].split("?")[0], name)
    other.run("CREATE EXTENSION vector")
    return other


def interrupt():
    raise KeyboardInterrupt


def mapped(database, table="new", column="v", old="v", source="docs"):
    """Every row of the source has its mapped vector, and there is no other one."""
    rows = dict(database.run(f"SELECT id, {old}::text FROM {source}"))
    new = dict(database.run(f"SELECT id, {column}::text FROM {table}"))
    assert rows.keys() == new.keys()
    for key, text in rows.items():
        assert (new[key] is None) == (text is None), key
        if text is not None:
            np.testing.assert_allclose(eval(new[key]), ADAPTER(np.array([eval(text)], np.float32))[0], atol=1e-3)


def vector(seed):
    return str(small.vectors(1, seed=seed)[0].tolist())


# The source changes meanwhile.

PLACES = [("new", "new", "v"), ("docs&column=w", "docs", "w")]


@pytest.mark.parametrize("destination, table, column", PLACES)
def test_rows_that_change_during_a_run_are_caught_up_with(docs, destination, table, column):
    def meanwhile():
        for i in range(20):
            docs.run("UPDATE docs SET v = %s, text = 'changed' WHERE id = %s", None, (vector(100 + i), i * 3))
            docs.run("DELETE FROM docs WHERE id = %s", None, (i * 3 + 1,))
            docs.run("INSERT INTO docs (id, text, v) VALUES (%s, 'new', %s)", None, (1000 + i, vector(200 + i)))

    words = docs.url("docs&column=v"), docs.url(destination), ADAPTER
    result = migrate(*words, batch=20, progress=once(meanwhile))
    mapped(docs, table, column)
    assert result.caught_up >= 40 and not result.notes
    assert docs.run(f"SELECT count(*) FROM {table} WHERE text IN ('changed', 'new')") == [(40,)]
    again = migrate(*words, verify="all")
    assert (again.written, again.caught_up, again.verified) == (0, 0, 90)


@pytest.mark.parametrize("destination, table, column", PLACES)
def test_changes_after_a_run_are_caught_by_the_next_one(docs, destination, table, column):
    words = docs.url("docs&column=v"), docs.url(destination), ADAPTER
    migrate(*words, batch=20)
    docs.run("UPDATE docs SET v = %s WHERE id = 5", None, (vector(1),))
    docs.run("DELETE FROM docs WHERE id = 6")
    docs.run("INSERT INTO docs (id, v) VALUES (1000, %s)", None, (vector(2),))
    assert migrate(*words).caught_up == 3 - (table == "docs")
    mapped(docs, table, column)


def test_a_transaction_that_is_open_across_the_run_is_caught_when_it_ends(docs):
    """Its number is older than the migration's, and the rows of a subtransaction have a number of their own."""
    words = docs.url("docs&column=v"), docs.url("new"), ADAPTER
    with psycopg.connect(docs.uri) as other:
        other.execute("UPDATE docs SET v = %s WHERE id = 88", (vector(3),))
        other.execute("SAVEPOINT deeper")
        other.execute("UPDATE docs SET v = %s WHERE id = 89", (vector(4),))
        migrate(*words, batch=20)
    assert migrate(*words, batch=20).caught_up == 2
    mapped(docs)


def test_a_row_that_changes_between_reading_and_writing_keeps_no_stale_vector(docs):
    """Its new version is not overwritten with what the old one's vector is mapped to, and not taken for our own."""
    words = docs.url("docs&column=v"), docs.url("docs&column=w"), ADAPTER

    def meanwhile():  # the next blocks have been read, not written
        docs.run("UPDATE docs SET v = %s WHERE id BETWEEN 20 AND 50", None, (vector(4),))

    migrate(*words, batch=10, workers=2, progress=once(meanwhile))
    mapped(docs, "docs", "w")


def test_a_view_without_versions_says_so_and_a_column_tells_instead(docs):
    docs.run("ALTER TABLE docs ADD changed timestamptz DEFAULT now()")
    docs.run("CREATE VIEW seen AS SELECT id, text, changed, v FROM docs")
    source = docs.url("seen&key=id&column=v")
    result = migrate(source, docs.url("new"), ADAPTER, batch=20)
    assert any("cannot tell" in note for note in result.notes)
    change = "UPDATE docs SET v = %s, changed = now() WHERE id = 7"
    work = once(lambda: docs.run(change, None, (vector(5),)))
    result = migrate(source, docs.url("dated"), ADAPTER, batch=20, changed_at="changed", progress=work)
    assert result.caught_up and not result.notes
    mapped(docs, "dated", "v")


# Sequences, and what else belongs to a table.


@pytest.mark.parametrize("elsewhere", [False, True])
@pytest.mark.parametrize("kind", ["bigserial", "serial", "smallserial", "bigint GENERATED BY DEFAULT AS IDENTITY"])
def test_a_new_table_counts_by_a_sequence_of_its_own(database, kind, elsewhere):
    target = new_database(database) if elsewhere else database
    database.run(f"CREATE TABLE docs (id {kind} PRIMARY KEY, n serial, v vector(6))")
    for x in X[:20]:
        database.run("INSERT INTO docs (v) VALUES (%s)", None, (str(x.tolist()),))
    database.run("SELECT setval(pg_get_serial_sequence('docs', 'n'), 500)")
    work = once(lambda: database.run("INSERT INTO docs (v) SELECT v FROM docs LIMIT 2"))
    migrate(database.url("docs"), target.url("new"), ADAPTER, batch=10, progress=work)
    database.run("DROP TABLE docs")
    target.run("INSERT INTO new (v) SELECT v FROM new LIMIT 3")
    assert target.run("SELECT max(id), max(n) FROM new") == [(25, 505)]
    assert target.run("SELECT pg_get_serial_sequence('new', 'n')") == [("public.new_n_seq",)]


def test_a_sequence_that_counts_down_and_a_default_around_it(database):
    database.run("CREATE SEQUENCE down INCREMENT -1")
    database.run("CREATE TABLE docs (id int DEFAULT nextval('down') PRIMARY KEY, c text DEFAULT 'c', v vector(6))")
    database.run("ALTER SEQUENCE down OWNED BY docs.id")
    database.run("ALTER TABLE docs ALTER c SET DEFAULT 'c' || currval('down')")
    for x in X[:5]:
        database.run("INSERT INTO docs (v) VALUES (%s)", None, (str(x.tolist()),))
    migrate(database.url("docs"), database.url("new"), ADAPTER)
    database.run("DROP TABLE docs")
    database.run("INSERT INTO new (v) SELECT v FROM new LIMIT 1")
    assert database.run("SELECT min(id), min(c) FROM new WHERE id = -6") == [(-6, "c-6")]


RICH = """
CREATE COLLATION strict_order (locale = 'C');
CREATE TYPE mood AS ENUM ('good', 'bad');
CREATE TYPE pair AS (mood mood, n int);
CREATE FUNCTION twice(int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT $1 * 2';
"""
TABLE = """
CREATE TABLE authors (id int PRIMARY KEY);
INSERT INTO authors VALUES (1);
CREATE TABLE docs (
  id bigint GENERATED ALWAYS AS IDENTITY (START 10) PRIMARY KEY,
  name text COLLATE strict_order NOT NULL DEFAULT 'x' || twice(4),
  n int DEFAULT 5 CHECK (n > 0), moods mood[] DEFAULT '{good}', p pair,
  author int DEFAULT 1 REFERENCES authors ON DELETE CASCADE, parent bigint REFERENCES docs,
  doubled int GENERATED ALWAYS AS (twice(n)) STORED,
  v vector(6) CHECK (vector_dims(v) = 6), length float GENERATED ALWAYS AS (v <-> '[1,0,0,0,0,0]') STORED,
  dims int GENERATED ALWAYS AS (vector_dims(v)) STORED, CONSTRAINT odd CHECK (id <> 7)
) WITH (fillfactor = 90);
COMMENT ON TABLE docs IS 'our ''docs''';
COMMENT ON COLUMN docs.name IS 'the name';
COMMENT ON CONSTRAINT odd ON docs IS 'no seven';
CREATE INDEX docs_v_idx ON docs USING hnsw (v vector_cosine_ops);
CREATE UNIQUE INDEX docs_name_idx ON docs (name);
CREATE TABLE chunks (doc bigint REFERENCES docs);
ALTER TABLE docs ENABLE ROW LEVEL SECURITY;
CREATE POLICY mine ON docs FOR SELECT USING (n < 1000);
CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN NEW.n = NEW.n + 1; RETURN NEW; END';
CREATE TRIGGER touched BEFORE UPDATE ON docs FOR EACH ROW EXECUTE FUNCTION touch();
"""


def rich(database):
    database.run(RICH)
    database.run(TABLE)
    role = f"reader{os.getpid()}_{Postgres.made}"
    database.run(f"CREATE ROLE {role}")
    database.run(f"GRANT SELECT ON docs TO {role}")
    database.run(f"GRANT UPDATE (v) ON docs TO {role} WITH GRANT OPTION")
    for i, x in enumerate(X):
        values = (f"a{i}", i + 1, f"(bad,{i})", str(x.tolist()))
        database.run("INSERT INTO docs (name, n, p, v) VALUES (%s, %s, %s, %s)", None, values)
    return role


def described(database, table, role):
    """Columns, constraints, privileges and policies in PostgreSQL's own words."""
    return {
        "columns": database.run(
            "SELECT attname, format_type(atttypid, NULL), attnotnull, attidentity::text, attgenerated::text, "
            "pg_get_expr(adbin, adrelid), collname, col_description(attrelid, attnum) FROM pg_attribute "
            "LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum "
            "LEFT JOIN pg_collation c ON c.oid = attcollation "
            f"WHERE attrelid = '{table}'::regclass AND attnum > 0 AND NOT attisdropped ORDER BY attnum"
        ),
        "constraints": database.run(
            "SELECT conname, replace(pg_get_constraintdef(oid), %s, 'docs'), obj_description(oid, 'pg_constraint') "
            "FROM pg_constraint WHERE conrelid = %s::regclass AND contype IN ('c', 'f') ORDER BY 1",
            None,
            (table, table),
        ),
        "table": database.run(
            "SELECT obj_description(oid, 'pg_class'), reloptions, relrowsecurity FROM pg_class "
            f"WHERE oid = '{table}'::regclass"
        ),
        "policies": database.run(f"SELECT policyname, cmd, qual FROM pg_policies WHERE tablename = '{table}'"),
        "privileges": database.run(
            "SELECT privilege_type, is_grantable FROM information_schema.table_privileges "
            f"WHERE table_name = '{table}' AND grantee = '{role}' UNION ALL "
            "SELECT privilege_type || ' ' || column_name, is_grantable FROM information_schema.column_privileges "
            f"WHERE table_name = '{table}' AND grantee = '{role}' AND privilege_type = 'UPDATE' ORDER BY 1"
        ),
    }


LOST = ["docs_v_check", "length", "docs_v_idx", "docs_name_idx", "trigger touched", "chunks_doc_fkey of chunks"]


@pytest.mark.parametrize("name", ["v", "w"])
def test_a_new_table_in_the_same_database_is_like_the_old_one(database, name):
    role = rich(database)
    words = database.url("docs"), database.url(f"new&column={name}"), ADAPTER
    notes = migrate(*words, dry_run=True).notes
    assert database.run("SELECT to_regclass('new'), to_regclass('minivec_migrations')") == [(None, None)]
    for lost in LOST:
        assert sum(lost in note for note in notes) == 1, (lost, notes)
    assert len(notes) == len(LOST), notes
    assert migrate(*words, verify="all").verified == 90
    old, new = described(database, "docs", role), described(database, "new", role)
    old["columns"] = [row for row in old["columns"] if row[0] != "length"]
    old["constraints"] = [row for row in old["constraints"] if row[0] != "docs_v_check"]
    if name != "v":
        old["columns"] = [(name if row[0] == "v" else row[0], *row[1:]) for row in old["columns"]]
        old["columns"] = [tuple(str(c).replace("(v)", f"({name})") for c in row) for row in old["columns"]]
        new["columns"] = [tuple(map(str, row)) for row in new["columns"]]
        old["privileges"] = [(row[0].replace(" v", f" {name}"), row[1]) for row in old["privileges"]]
    assert new == old
    assert database.run("SELECT DISTINCT dims FROM new") == [(8,)]


def test_a_new_table_in_another_database_is_like_the_old_one(database):
    role, other = rich(database), new_database(database)
    with pytest.raises(ValueError, match="no type mood"):
        migrate(database.url("docs"), other.url("new"), ADAPTER, dry_run=True)
    other.run("CREATE TYPE nothing AS ENUM ('x')")  # so that the numbers of types differ
    other.run("CREATE TYPE mood AS ENUM ('good', 'bad')")
    other.run("CREATE TYPE pair AS (mood mood, n int)")
    notes = migrate(database.url("docs"), other.url("new"), ADAPTER, dry_run=True).notes
    lost = ["strict_order", "default of column name", "generated column doubled", "docs_author_fkey"]
    for what in LOST + lost:
        assert sum(what in note for note in notes) == 1, (what, notes)
    assert len(notes) == len(LOST) + len(lost)
    other.run("CREATE COLLATION strict_order (locale = 'C')")
    other.run("CREATE FUNCTION twice(int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT $1 * 2'")
    other.run("CREATE TABLE authors (id int PRIMARY KEY)")
    other.run("INSERT INTO authors VALUES (1)")
    assert migrate(database.url("docs"), other.url("new"), ADAPTER, verify="all").verified == 90
    old, new = described(database, "docs", role), described(other, "new", role)
    old["columns"] = [row for row in old["columns"] if row[0] != "length"]
    old["constraints"] = [row for row in old["constraints"] if row[0] != "docs_v_check"]
    assert new == old
    rows = "SELECT id, name, n, moods, p::text, doubled FROM {} ORDER BY id"
    assert other.run(rows.format("new")) == database.run(rows.format("docs"))
    other.run("UPDATE new SET moods = '{bad}' WHERE id = 12")
    with pytest.raises(ValueError, match="other payload.*12"):
        verify(database.url("docs"), other.url("new"), ADAPTER, "all")


def test_constraints_that_wait_for_the_end_of_a_transaction(database):
    """Deferred keys, foreign keys to rows of the same table that come later, and triggers."""
    database.run(
        "CREATE TABLE docs (id int, v vector(6), parent int, PRIMARY KEY (id) DEFERRABLE INITIALLY DEFERRED, "
        "later int UNIQUE)"
    )
    for i, x in enumerate(X):
        database.run("INSERT INTO docs VALUES (%s, %s, %s, %s)", None, (i, str(x.tolist()), 89 - i, 89 - i))
    database.run("ALTER TABLE docs ADD FOREIGN KEY (parent) REFERENCES docs (later) DEFERRABLE INITIALLY DEFERRED")
    database.run("CREATE TABLE tree (id int PRIMARY KEY, v vector(6), parent int REFERENCES tree DEFERRABLE)")
    database.run("INSERT INTO tree SELECT id, v, NULL FROM docs")
    database.run("UPDATE tree SET parent = 89 - id")
    for options in ({"dry_run": True}, {"verify": "all"}):
        result = migrate(database.url("tree"), database.url("new"), ADAPTER, batch=20, **options)
        assert result.notes == ()
    assert database.run(
        "SELECT convalidated FROM pg_constraint WHERE conrelid = 'new'::regclass AND contype = 'f'"
    ) == [(True,)]
    migrate(database.url("docs"), database.url("copy"), ADAPTER, batch=20, verify="all")
    database.run("UPDATE docs SET v = v WHERE id = 3")
    assert migrate(database.url("docs"), database.url("copy"), ADAPTER, verify="all").caught_up == 1
    database.run("CREATE FUNCTION no() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN RAISE EXCEPTION 'no way'; END$$")
    database.run(
        "CREATE CONSTRAINT TRIGGER t AFTER UPDATE ON docs DEFERRABLE INITIALLY DEFERRED "
        "FOR EACH ROW EXECUTE FUNCTION no()"
    )
    with pytest.raises(StoreError, match="no way") as caught:
        migrate(database.url("docs&column=v"), database.url("docs&column=w"), ADAPTER, batch=20)
    assert "\n" not in str(caught.value)
    words = database.url("docs&column=v"), database.url("docs&column=w"), ADAPTER
    assert migrate(*words, batch=20, without_triggers=True, verify="all").verified == 90


def test_a_foreign_key_whose_rows_go_meanwhile_does_not_stop_the_run(database):
    """The snapshot has rows whose author is gone when they are written; the catching up removes them."""
    rich(database)
    database.run("INSERT INTO authors VALUES (2)")
    database.run("UPDATE docs SET author = 2 WHERE id > 60")

    def meanwhile():
        database.run("DELETE FROM authors WHERE id = 2")

    migrate(database.url("docs"), database.url("new"), ADAPTER, batch=20, progress=once(meanwhile))
    mapped(database)
    assert database.run("SELECT count(*) FROM new") == [(51,)]
    assert database.run("SELECT convalidated FROM pg_constraint WHERE conname = 'docs_author_fkey'") == [(True,)] * 2


def test_parents_are_changed_and_keep_their_children(docs):
    """Rows that refer to others of their table, by a foreign key that deletes with them."""
    docs.run("ALTER TABLE docs ADD parent bigint REFERENCES docs ON DELETE CASCADE")
    docs.run("UPDATE docs SET parent = 0 WHERE id > 0")
    words = docs.url("docs"), docs.url("new"), ADAPTER
    migrate(*words)
    docs.run("UPDATE docs SET text = 'changed' WHERE id = 0")
    assert migrate(*words).caught_up == 1
    assert docs.run("SELECT count(*), max(text) FILTER (WHERE id = 0) FROM new") == [(90, "changed")]


def test_partitions_keys_of_several_columns_and_an_unlogged_table(database):
    database.run("CREATE TABLE docs (id int, lang text, v vector(6), PRIMARY KEY (id, lang)) PARTITION BY LIST (lang)")
    database.run("CREATE UNLOGGED TABLE plain (id int PRIMARY KEY, v vector(6))")
    for lang in ("de", "en"):
        database.run(f"CREATE TABLE docs_{lang} PARTITION OF docs FOR VALUES IN ('{lang}')")
    rows = [(i // 2, "de" if i % 2 else "en", str(x.tolist())) for i, x in enumerate(X)]
    for row in rows:
        database.run("INSERT INTO docs VALUES (%s, %s, %s)", None, row)
    notes = migrate(database.url("docs"), database.url("new"), ADAPTER, dry_run=True).notes
    assert any("partitions by LIST (lang)" in note for note in notes)

    def meanwhile():
        database.run("UPDATE docs SET v = %s WHERE lang = 'de' AND id = 3", None, (vector(6),))
        database.run("UPDATE docs SET lang = 'en', id = 900 WHERE lang = 'de' AND id = 4")

    for destination, table, column in PLACES:
        words = database.url("docs&column=v"), database.url(destination), ADAPTER
        with pytest.raises(KeyboardInterrupt):
            migrate(*words, batch=40, progress=once(interrupt))
        migrate(*words, batch=20, progress=once(meanwhile), verify="all")
        pairs = database.run(
            f"SELECT o.v::text, n.{column}::text FROM docs o FULL JOIN {table} n ON (o.id, o.lang) = (n.id, n.lang)"
        )
        assert len(pairs) == 90
        np.testing.assert_allclose(
            [eval(new) for _, new in pairs], ADAPTER(np.array([eval(old) for old, _ in pairs], np.float32)), atol=1e-5
        )
    database.run("INSERT INTO plain SELECT id, v FROM docs WHERE lang = 'en'")
    migrate(database.url("plain"), database.url("quick"), ADAPTER)
    assert database.run("SELECT relpersistence::text FROM pg_class WHERE relname = 'quick'") == [("u",)]


def test_what_stays_behind_is_listed(docs):
    docs.run("CREATE TABLE base (text text)")
    docs.run("ALTER TABLE docs INHERIT base")
    docs.run("CREATE RULE quiet AS ON DELETE TO docs DO INSTEAD NOTHING")
    docs.run("CREATE STATISTICS pairs ON id, text FROM docs")
    docs.run("CREATE PUBLICATION stream FOR TABLE docs")
    docs.run(f"CREATE ROLE owner{os.getpid()}_{Postgres.made}")
    docs.run(f"ALTER TABLE docs OWNER TO owner{os.getpid()}_{Postgres.made}")
    notes = migrate(docs.url("docs"), docs.url("new"), ADAPTER).notes
    for what in ("inheritance from base", "rule quiet", "statistics pairs", "publication stream", "owner owner"):
        assert sum(f"not carried over: {what}" in note for note in notes) == 1, (what, notes)
    assert len(notes) == 5


def test_numbers_of_another_database_are_refused(docs):
    docs.run("ALTER TABLE docs ADD c regclass DEFAULT 'docs'")
    with pytest.raises(ValueError, match="column 'c'.*regclass"):
        migrate(docs.url("docs"), new_database(docs).url("new"), ADAPTER, dry_run=True)
    migrate(docs.url("docs"), docs.url("new"), ADAPTER, verify="all")


def test_a_command_line(docs, tmp_path, run):
    ADAPTER.save(tmp_path / "bridge.safetensors")
    docs.run(TRIGGER)
    words = "migrate", docs.url("docs&column=v"), docs.url("docs&column=w"), "-a", str(tmp_path / "bridge.safetensors")
    code, out, err = run(*words, "--dry-run")
    assert code == 0 and "90 rows" in out and "trigger touched" in err
    code, out, err = run(*words, "--without-triggers", "--verify-all")
    assert code == 0 and not err
    code, out, err = run(*words[:2], docs.url("docs&column=x"), *words[3:])
    assert code == 0 and err.count("trigger touched") == 1
    code, out, err = run(words[0], docs.url("docs&column=v&where=nothing"), docs.url("new"), *words[3:])
    assert code == 2 and not out and err.count("\n") == 1 and 'column "nothing" does not exist' in err


# Row security, triggers and locks.


def test_row_security_that_hides_rows_is_an_error(docs):
    role = f"limited{os.getpid()}"
    docs.run(f"CREATE ROLE {role} LOGIN")
    docs.run(f"GRANT SELECT ON docs TO {role}")
    docs.run(f"GRANT CREATE ON SCHEMA public TO {role}")
    docs.run("ALTER TABLE docs ENABLE ROW LEVEL SECURITY")
    docs.run("CREATE POLICY half ON docs USING (id < 45)")
    limited = docs.uri.replace("postgres:@", f"{role}:@") + "&table="
    for work in (
        lambda: migrate(limited + "docs", limited + "new", ADAPTER),
        lambda: migrate(limited + "docs", limited + "new", ADAPTER, dry_run=True),
        lambda: sample(limited + "docs", 50),
    ):
        with pytest.raises(PermissionError, match="row security hides rows from this role"):
            work()
    assert docs.run("SELECT to_regclass('new')") == [(None,)]
    docs.run(f"ALTER ROLE {role} BYPASSRLS")
    assert migrate(limited + "docs", limited + "new", ADAPTER, verify="all").verified == 90


TRIGGER = """
ALTER TABLE docs ADD updated timestamptz DEFAULT 'epoch';
CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN NEW.updated = now(); RETURN NEW; END';
CREATE TRIGGER touched BEFORE UPDATE ON docs FOR EACH ROW EXECUTE FUNCTION touch();
CREATE TRIGGER texts BEFORE UPDATE OF text ON docs FOR EACH ROW EXECUTE FUNCTION touch();
"""


def test_triggers_are_told_and_can_be_left_out(docs):
    docs.run(TRIGGER)
    events = []
    told = {"tell": events.append, "progress": lambda done, total: events.append(done)}
    migrate(docs.url("docs&column=v"), docs.url("docs&column=first"), ADAPTER, **told)
    assert len(events) == 2 and "trigger touched" in events[0] and events[1] == 90
    docs.run("ALTER TABLE docs DROP COLUMN first")
    docs.run("SET session_replication_role = replica; UPDATE docs SET updated = 'epoch'")
    words = docs.url("docs&column=v"), docs.url("docs&column=w"), ADAPTER
    notes = migrate(*words, dry_run=True).notes
    assert len(notes) == 1 and "trigger touched (touch)" in notes[0] and "--without-triggers" in notes[0]
    assert migrate(*words, dry_run=True, without_triggers=True).notes == ()
    migrate(*words, batch=20, verify="all", without_triggers=True)
    assert docs.run("SELECT DISTINCT updated = 'epoch' FROM docs") == [(True,)]
    migrate(words[0], docs.url("docs&column=x"), ADAPTER)
    assert docs.run("SELECT DISTINCT updated = 'epoch' FROM docs") == [(False,)]
    role = f"owner{os.getpid()}"
    docs.run(f"CREATE ROLE {role} LOGIN")
    docs.run(f"ALTER TABLE docs OWNER TO {role}")
    docs.run(f"GRANT ALL ON SCHEMA public TO {role}")
    docs.run(f"GRANT ALL ON minivec_migrations TO {role}")
    owner = docs.uri.replace("postgres:@", f"{role}:@") + "&table=docs&column="
    with pytest.raises(PermissionError, match="session_replication_role"):
        migrate(owner + "v", owner + "y", ADAPTER, without_triggers=True)
    assert docs.run("SELECT count(*) FROM pg_attribute WHERE attrelid = 'docs'::regclass AND attname = 'y'") == [(0,)]


@pytest.mark.parametrize(
    "what",
    [
        "CREATE TRIGGER stops BEFORE UPDATE ON docs FOR EACH ROW EXECUTE FUNCTION stop()",
        "CREATE RULE stops AS ON UPDATE TO docs DO INSTEAD NOTHING",
    ],
)
def test_what_keeps_rows_from_being_changed_is_refused(docs, what):
    docs.run("CREATE FUNCTION stop() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'")
    docs.run(what)
    with pytest.raises(ValueError, match="no row is changed, because of (trigger|rule) stops"):
        migrate(docs.url("docs&column=v"), docs.url("docs&column=w"), ADAPTER)
    assert docs.run("SELECT count(*) FROM pg_attribute WHERE attrelid = 'docs'::regclass AND attname = 'w'") == [(0,)]
    if "TRIGGER" in what:
        migrate(docs.url("docs&column=v"), docs.url("docs&column=w"), ADAPTER, verify="all", without_triggers=True)


def test_a_new_column_waits_for_a_lock_without_blocking_others_and_says_who_holds_it(docs, monkeypatch):
    monkeypatch.setattr(session, "LOCK_TIMEOUT", "100ms")
    monkeypatch.setattr(session, "PAUSE", 0.1)
    words = docs.url("docs&column=v"), docs.url("docs&column=w"), ADAPTER
    with psycopg.connect(docs.uri, application_name="report") as other:
        other.execute("SELECT count(*) FROM docs")
        pid = other.info.backend_pid
        notes = migrate(*words, dry_run=True).notes
        assert any(f"process {pid}" in note and "report" in note for note in notes)
        with pytest.raises(StoreError, match=rf"lock on 'docs'.*process {pid}.*report.*SELECT count"):
            migrate(*words)
        assert docs.run("SELECT count(*) FROM docs") == [(90,)]
        threading.Timer(0.25, other.rollback).start()
        assert migrate(*words, batch=20).written == 90  # it tries again


def test_a_row_that_another_session_has_locked(docs, monkeypatch):
    monkeypatch.setattr(session, "LOCK_TIMEOUT", "100ms")
    monkeypatch.setattr(session, "PAUSE", 0.1)
    words = docs.url("docs&column=v"), docs.url("docs&column=w"), ADAPTER
    other = psycopg.connect(docs.uri, application_name="editor")

    def meanwhile():
        other.execute("UPDATE docs SET v = %s WHERE id = 89", (vector(7),))

    with pytest.raises(StoreError, match="editor.*the same command goes on"):
        migrate(*words, batch=20, progress=once(meanwhile))
    other.commit()
    other.close()
    migrate(*words, batch=20, verify="all")
    mapped(docs, "docs", "w")


def test_an_index_of_vectors_on_the_table_is_told(docs):
    docs.run("CREATE INDEX near ON docs USING hnsw (v vector_cosine_ops)")
    notes = migrate(docs.url("docs&column=v"), docs.url("docs&column=w"), ADAPTER, dry_run=True).notes
    assert len(notes) == 1 and re.search(r"index near \(hnsw\).*drop it, migrate, and build it again", notes[0])


# Rows and widths.


def test_nulls_are_kept_and_left_out_of_samples(docs):
    docs.run("UPDATE docs SET v = NULL WHERE mod(id, 30) = 7")
    source = docs.url("docs&column=v")
    with pytest.raises(ValueError, match="NULL instead of a vector in 3 rows: id 7, 37, 67"):
        migrate(source, docs.url("new"), ADAPTER)
    assert sample(source, 1000).shape == (87, 6)
    for destination, table, column in PLACES:
        result = migrate(source, docs.url(destination), ADAPTER, batch=20, skip_nulls=True)
        assert result.skipped == 3 and verify(source, docs.url(destination), ADAPTER, "all") == 90
        mapped(docs, table, column)
        docs.run("UPDATE docs SET v = NULL WHERE id = 1")
        docs.run("UPDATE docs SET v = %s WHERE id = 7", None, (vector(8),))
        migrate(source, docs.url(destination), ADAPTER, batch=20, skip_nulls=True)
        mapped(docs, table, column)


LANGCHAIN = """
CREATE TABLE langchain_pg_collection (uuid uuid PRIMARY KEY, name varchar);
CREATE TABLE langchain_pg_embedding (
  id varchar PRIMARY KEY, collection_id uuid REFERENCES langchain_pg_collection ON DELETE CASCADE,
  embedding vector, document varchar, cmetadata jsonb);
"""


def test_a_filter_chooses_a_collection_of_its_own_width(database):
    database.run(LANGCHAIN)
    for number, width, rows in ((1, 6, X), (2, 4, small.vectors(30, 4))):
        uuid = f"00000000-0000-0000-0000-00000000000{number}"
        database.run("INSERT INTO langchain_pg_collection VALUES (%s, %s)", None, (uuid, f"100% {width}"))
        for i, x in enumerate(rows):
            values = (f"{number}-{i}", uuid, str(x.tolist()), "text", '{"n": 1}')
            database.run("INSERT INTO langchain_pg_embedding VALUES (%s, %s, %s, %s, %s)", None, values)
    with pytest.raises(ValueError, match="6 in 90 rows, 4 in 30 rows.*where=vector_dims"):
        migrate(database.url("langchain_pg_embedding"), database.url("new"), ADAPTER, dry_run=True)
    where = "collection_id = (SELECT uuid FROM langchain_pg_collection WHERE name LIKE '100%25 6') -- ours"
    source = database.url(f"langchain_pg_embedding&where={where}&column=embedding")
    assert sample(source, 1000).shape == (90, 6)
    for destination, table, column in (
        ("new", "new", "embedding"),
        ("langchain_pg_embedding&column=w", "langchain_pg_embedding", "w"),
    ):
        with pytest.raises(KeyboardInterrupt):
            migrate(source, database.url(destination), ADAPTER, batch=20, progress=once(interrupt))
        result = migrate(source, database.url(destination), ADAPTER, batch=20, verify="all")
        assert (result.total, result.verified) == (90, 90)
        assert database.run(f"SELECT count({column}) FROM {table}") == [(90,)]
    database.run("CREATE FUNCTION harm() RETURNS bool LANGUAGE sql AS 'DELETE FROM new RETURNING true'")
    for harm, told in (
        ("true);DROP TABLE new;--", "syntax error"),
        ("true) LIMIT 1;DROP TABLE new;SELECT (1", "multiple commands"),
        ("harm()", "read-only"),
    ):
        with pytest.raises(StoreError, match=told):
            open_store(database.url(f"langchain_pg_embedding&column=embedding&where={harm}")).count()
    assert database.run("SELECT count(*) FROM new") == [(90,)]


@pytest.mark.parametrize(
    "kind, value",
    [
        ("uuid", "('00000000-0000-0000-0000-' || lpad({}::text, 12, '0'))::uuid"),
        ('text COLLATE "numbers"', "'k' || {}"),
        ("timestamptz", "'2024-03-31 00:30+00'::timestamptz + {} * interval '7 minutes'"),
        ("numeric(10, 3)", "{} / 7.0"),
        ("char(6)", "'c' || {}"),
        ("mood", "('good', 'bad')"),
    ],
)
def test_keys_of_every_kind(database, kind, value):
    other = new_database(database)
    for place, zone in ((database, "America/New_York"), (other, "Asia/Tokyo")):
        place.run("CREATE COLLATION numbers (locale = 'C')")
        place.run("CREATE TYPE mood AS ENUM (" + ", ".join(f"'m{i}'" for i in range(90)) + ")")
        name = place.uri.split("/")[3].split("?")[0]
        place.run(f"ALTER DATABASE {name} SET TimeZone = '{zone}'")
        place.run(f"ALTER DATABASE {name} SET DateStyle = 'SQL, DMY'")
    database.run(f"CREATE TABLE docs (id {kind} PRIMARY KEY, t timestamptz, i interval, v vector(6))")
    for i, x in enumerate(X):
        key = f"'m{i}'" if kind == "mood" else value.format(i)
        rest = "'2024-03-31 00:30+00', '1 day -2 hours'"
        database.run(f"INSERT INTO docs VALUES ({key}, {rest}, %s)", None, (str(x.tolist()),))
    words = database.url("docs"), other.url("new"), ADAPTER
    with pytest.raises(KeyboardInterrupt):
        migrate(*words, batch=20, progress=once(interrupt))
    database.run("UPDATE docs SET v = %s WHERE id = (SELECT id FROM docs ORDER BY id LIMIT 1)", None, (vector(9),))
    assert migrate(*words, batch=20, verify="all").verified == 90
    in_place = database.url("docs&column=v"), database.url("docs&column=w"), ADAPTER
    assert migrate(*in_place, batch=20, verify="all").verified == 90
    assert migrate(database.url("docs&column=v"), database.url("same"), ADAPTER, batch=20, verify=50).verified == 50


CITEXT = """
CREATE SCHEMA ext; CREATE TYPE ext.citext;
CREATE FUNCTION ext.read(cstring) RETURNS ext.citext IMMUTABLE STRICT LANGUAGE internal AS 'textin';
CREATE FUNCTION ext.show(ext.citext) RETURNS cstring IMMUTABLE STRICT LANGUAGE internal AS 'textout';
CREATE FUNCTION ext.receive(internal) RETURNS ext.citext STABLE STRICT LANGUAGE internal AS 'textrecv';
CREATE FUNCTION ext.send(ext.citext) RETURNS bytea STABLE STRICT LANGUAGE internal AS 'textsend';
CREATE TYPE ext.citext (input = ext.read, output = ext.show, receive = ext.receive, send = ext.send,
  internallength = variable, storage = extended, category = 'S', collatable = true);
CREATE CAST (ext.citext AS text) WITHOUT FUNCTION AS IMPLICIT;
CREATE CAST (text AS ext.citext) WITHOUT FUNCTION AS ASSIGNMENT;
CREATE FUNCTION ext.compare(ext.citext, ext.citext) RETURNS int IMMUTABLE STRICT LANGUAGE sql
  AS 'SELECT bttextcmp(lower($1::text), lower($2::text))';
"""
OPERATOR = """
CREATE FUNCTION ext.{name}(ext.citext, ext.citext) RETURNS bool IMMUTABLE STRICT LANGUAGE sql
  AS 'SELECT ext.compare($1, $2) {sign} 0';
CREATE OPERATOR ext.{sign} (leftarg = ext.citext, rightarg = ext.citext, function = ext.{name});
"""
ORDER = """
CREATE OPERATOR CLASS ext.citext_ops DEFAULT FOR TYPE ext.citext USING btree AS OPERATOR 1 ext.<, OPERATOR 2 ext.<=,
  OPERATOR 3 ext.=, OPERATOR 4 ext.>=, OPERATOR 5 ext.>, FUNCTION 1 ext.compare(ext.citext, ext.citext);
"""
CASELESS = ["ext.citext", "ext.word"]


@pytest.fixture
def caseless(database):
    """Types whose order and equality ignore case, in a schema that is not on the search path."""
    signs = {"lt": "<", "le": "<=", "eq": "=", "ge": ">=", "gt": ">"}
    operators = "".join(OPERATOR.format(name=name, sign=sign) for name, sign in signs.items())
    for part in (CITEXT + operators + ORDER + "CREATE DOMAIN ext.word AS ext.citext").split(";\n"):
        database.run(part)
    return database


def fill_caseless(database, kind):
    database.run(f"CREATE TABLE docs (id {kind} PRIMARY KEY, v vector(6))")
    for i, x in enumerate(X):
        database.run("INSERT INTO docs VALUES (%s, %s)", None, (f"{'kK'[i % 2]}{i:02}", str(x.tolist())))


@pytest.mark.parametrize("destination, table, column", PLACES)
@pytest.mark.parametrize("kind", CASELESS)
def test_keys_are_compared_in_the_order_that_rows_are_read_in(caseless, kind, destination, table, column):
    fill_caseless(caseless, kind)
    words = caseless.url("docs&column=v"), caseless.url(destination), ADAPTER
    with pytest.raises(KeyboardInterrupt):
        migrate(*words, batch=20, progress=once(interrupt))
    assert migrate(*words, batch=20, verify="all").verified == 90
    mapped(caseless, table, column)


@pytest.mark.parametrize("kind", CASELESS)
def test_a_key_that_becomes_an_equal_one(caseless, kind):
    """It is another text, so the row has the new one, and the old one is not deleted after it."""
    fill_caseless(caseless, kind)
    words = caseless.url("docs"), caseless.url("new"), ADAPTER
    migrate(*words, batch=20)
    caseless.run("UPDATE docs SET id = 'K04' WHERE id::text = 'k04'; DELETE FROM docs WHERE id::text = 'k06'")
    migrate(*words, batch=20, verify="all")
    mapped(caseless)


def test_a_number_that_becomes_an_equal_one(database):
    database.run("CREATE TABLE docs (id numeric PRIMARY KEY, v vector(6))")
    for i, x in enumerate(X):
        database.run("INSERT INTO docs VALUES (%s, %s)", None, (f"{i}.0", str(x.tolist())))
    words = database.url("docs"), database.url("new"), ADAPTER
    migrate(*words, batch=20)
    database.run("UPDATE docs SET id = 4.00 WHERE id = 4; DELETE FROM docs WHERE id = 6")
    migrate(*words, batch=20, verify="all")
    mapped(database)


# Messages.


def test_odd_names(database):
    database.run('CREATE TABLE "100%%s {x} ""q""" ("i%%d" int PRIMARY KEY, "{t}" text, "v%%%%" vector(6))')
    for i, x in enumerate(X):
        values = (i, "50% {}", str(x.tolist()))
        database.run('INSERT INTO "100%%s {x} ""q""" VALUES (%s, %s, %s)', None, values)
    url = database.url("100%25s {x} %22q%22&column=v%25%25")
    migrate(url, database.url("new%25 {}"), ADAPTER, batch=20, verify="all")
    database.run('UPDATE "100%%s {x} ""q""" SET "{t}" = \'%%\' WHERE "i%%d" = 3')
    assert migrate(url, database.url("new%25 {}"), ADAPTER, batch=20, verify="all").caught_up == 1
    migrate(url, database.url("100%25s {x} %22q%22&column=w%25s"), ADAPTER, batch=20, verify="all")


@pytest.mark.parametrize("milliseconds", [1, 4, 8, 15, 30])
def test_a_statement_timeout_says_so(docs, milliseconds):
    """Wherever it strikes, and the same command goes on without it."""
    name = docs.uri.split("/")[3].split("?")[0]
    docs.run(
        "INSERT INTO docs (id, text, v) SELECT 1000 + i, text, v FROM docs, generate_series(1, 1000) i WHERE id = 1"
    )
    docs.run(f"ALTER DATABASE {name} SET statement_timeout = '{milliseconds}ms'")
    words = docs.url("docs&column=v"), docs.url("docs&column=w"), ADAPTER
    for _ in range(3):
        try:
            migrate(*words, batch=1000)
        except StoreError as error:
            assert "statement timeout" in str(error) and "statement_timeout=0" in str(error)
            assert "\n" not in str(error)
    docs.run(f"ALTER DATABASE {name} RESET statement_timeout")
    assert migrate(*words, batch=1000, verify=90).rows == 1090


def test_every_exception_of_the_client_is_one_line():
    store = open_store("postgresql://ann:hunter2@db/shop?table=docs")
    kinds = [
        kind for kind in vars(psycopg.errors).values() if isinstance(kind, type) and issubclass(kind, psycopg.Error)
    ]
    assert len(kinds) > 200
    for kind in kinds:
        with pytest.raises(StoreError) as caught, store.guard():
            raise kind("first line\nsecond, postgresql://ann:hunter2@db/shop")
        assert "\n" not in str(caught.value) and "hunter2" not in str(caught.value)


def test_two_migrations_at_once(docs):
    words = docs.url("docs&column=v"), docs.url("new"), ADAPTER

    def meanwhile():
        with pytest.raises(StoreError, match="another migration is writing"):
            migrate(*words)

    assert migrate(*words, batch=20, progress=once(meanwhile), verify="all").written == 90


def test_a_migrated_table_is_not_mapped_again_under_another_name(docs):
    migrate(docs.url("docs"), docs.url("new"), bridge(6, 6))
    docs.run("ALTER TABLE new RENAME TO renamed")
    with pytest.raises(ValueError, match="has mapped its vectors already"):
        migrate(docs.url("renamed"), docs.url("again"), bridge(6, 6))
    migrate(docs.url("docs"), docs.url("docs&column=w"), bridge(6, 6))
    with pytest.raises(ValueError, match="has mapped its vectors already"):
        migrate(docs.url("docs&column=w"), docs.url("again"), bridge(6, 6))


def test_the_same_source_in_another_spelling(docs):
    with pytest.raises(KeyboardInterrupt):
        migrate(docs.url("docs"), docs.url("docs&column=w"), ADAPTER, batch=20, progress=once(interrupt))
    for table in ("docs", "public.docs&column=v", "docs&schema=public&key=id"):
        migrate(docs.url(table), docs.url("docs&column=w"), ADAPTER, batch=20)
        assert verify(docs.url(table), docs.url("docs&column=w"), ADAPTER) == 90
    with pytest.raises(ValueError, match="where= belongs to the source"):
        migrate(docs.url("docs&column=v"), docs.url("again&where=id>3"), ADAPTER)
    with pytest.raises(ValueError, match="begun with rows of"):
        migrate(docs.url("docs&column=v&where=id>3"), docs.url("docs&column=w"), ADAPTER)


@pytest.mark.parametrize("destination, table, column", PLACES)
def test_a_migration_that_version_0_1_began_goes_on(docs, destination, table, column):
    """Its checkpoint does not say what the source was like then: all rows are written again."""
    words = docs.url("docs&column=v"), docs.url(destination), ADAPTER
    with pytest.raises(KeyboardInterrupt):
        migrate(*words, batch=20, progress=once(interrupt))
    ((state,),) = docs.run("SELECT state FROM minivec_migrations")
    own = {name: state["own"][name] for name in ("place", "key")}
    for name in ("own", "format", "left_out"):
        del state[name]
    state |= {"source": docs.url("docs&column=v").replace("postgres:@", ""), "version": None, **own}
    docs.run("UPDATE minivec_migrations SET state = %s", None, (json.dumps(state),))
    docs.run("UPDATE docs SET v = %s WHERE id = 5", None, (vector(10),))
    assert migrate(*words, batch=20, verify="all").verified == 90
    mapped(docs, table, column)
    assert migrate(*words).caught_up == 0
