"""PostgreSQL: the new vectors under the old name, and back."""

import numpy as np
import pytest

import small
from databases import Postgres
from minivec.migrate import migrate
from minivec.moving.cutover import cutover, rollback
from minivec.stores import StoreError
from small import both_ways

psycopg = pytest.importorskip("psycopg")
pytestmark = pytest.mark.databases

X = small.vectors(90)
ADAPTER = both_ways()
PLACES = {"table": ("new", "docs"), "column": ("docs&column=w", "docs&column=v")}


@pytest.fixture
def docs(tmp_path):
    database = Postgres(tmp_path)
    database.fill("docs", X)
    return database


@pytest.fixture(params=PLACES)
def moved(docs, request):
    """A table whose migration is done: the database, the source and the destination."""
    new, old = (docs.url(name) for name in PLACES[request.param])
    migrate(old, new, ADAPTER, batch=20)
    return docs, old, new


def vectors(database, table="docs", column="v"):
    return {key: np.array(vector) for key, (_, vector) in database.read(table, column).items()}


def mapped(read, old):
    """The rows of ``read`` are those of ``old``, mapped."""
    assert read.keys() == old.keys()
    for key, vector in old.items():
        np.testing.assert_allclose(read[key], ADAPTER(np.asarray(vector, np.float32)[None])[0], atol=1e-3)


def text(seed, width=6):
    return str(small.vectors(1, width, seed)[0].tolist())


def test_the_application_finds_the_new_vectors_and_then_the_old_ones_again(moved):
    docs, old, new = moved
    before = vectors(docs)
    done = cutover(old, new, ADAPTER)
    assert done.verified == 90 and not done.already
    mapped(vectors(docs), before)
    assert cutover(old, new, ADAPTER).already
    back = rollback(old)
    assert (back.later, back.carried) == (0, 0)
    assert all((vectors(docs)[key] == vector).all() for key, vector in before.items())
    rollback(old)  # again: nothing is left to do
    assert cutover(old, new, ADAPTER).verified == 90
    mapped(vectors(docs), before)


def test_rows_written_after_the_migration_are_there_after_the_cut_over(moved):
    docs, old, new = moved
    docs.run("INSERT INTO docs (id, text, v) VALUES (1000, 'late', %s)", None, (text(1),))
    docs.run("UPDATE docs SET v = %s WHERE id = 3", None, (text(2),))
    docs.run("DELETE FROM docs WHERE id = 4")
    before = vectors(docs)
    assert cutover(old, new, ADAPTER).caught_up >= 2
    mapped(vectors(docs), before)


def test_rows_written_after_the_cut_over_are_counted_and_carried_back(moved):
    docs, old, new = moved
    before = vectors(docs)
    cutover(old, new, ADAPTER)
    late = small.vectors(1, seed=5)
    docs.run("INSERT INTO docs (id, text, v) VALUES (1000, 'late', %s)", None, (str(ADAPTER(late)[0].tolist()),))
    docs.run("UPDATE docs SET text = 'changed' WHERE id = 3")
    docs.run("DELETE FROM docs WHERE id = 4")
    with pytest.raises(ValueError, match="2 rows were written.*aligner"):
        rollback(old)
    assert len(vectors(docs)[3]) == 8
    assert rollback(old, ADAPTER, dry_run=True).later >= 2
    back = rollback(old, ADAPTER)
    assert back.carried == back.later == (3 if "column=w" not in new else 2)
    after = vectors(docs)
    assert after.keys() == before.keys() - {4} | {1000}
    assert all((after[key] == before[key]).all() for key in after.keys() - {1000})
    assert after[1000] @ late[0] > 0.95
    assert docs.run("SELECT text FROM docs WHERE id IN (3, 1000) ORDER BY id") == [("changed",), ("late",)]


def test_rows_that_are_left_aside_stay_with_the_new_vectors(docs):
    migrate(docs.url("docs"), docs.url("new"), ADAPTER)
    cutover(docs.url("docs"), docs.url("new"), ADAPTER)
    docs.run("INSERT INTO docs (id, text, v) VALUES (1000, 'late', %s)", None, (text(6, 8),))
    assert rollback(docs.url("docs"), leave=True).carried == 0
    assert docs.run("SELECT count(*) FROM docs WHERE id = 1000") == [(0,)]
    assert docs.run("SELECT text FROM new WHERE id = 1000") == [("late",)]
    before = vectors(docs)
    cutover(docs.url("docs"), docs.url("new"), ADAPTER)  # which brings the table in step with the old one
    mapped(vectors(docs), before)


def test_everything_around_the_table_follows_its_name(docs):
    role = "app_" + docs.uri.split("/")[3].split("?")[0]
    docs.run(f"CREATE ROLE {role}")
    docs.run("DROP TABLE docs; CREATE TABLE docs (id serial PRIMARY KEY, text text UNIQUE, v vector(6) NOT NULL)")
    for i, x in enumerate(X):
        docs.run("INSERT INTO docs (text, v) VALUES (%s, %s)", None, (f"t{i}", str(x.tolist())))
    docs.run("CREATE INDEX by_vector ON docs USING hnsw (v vector_cosine_ops) WITH (m = 8)")
    docs.run("CREATE INDEX by_length ON docs (length(text)) WHERE text <> 'v'")
    docs.run("CREATE TABLE pages (id int PRIMARY KEY, doc int REFERENCES docs (id) ON DELETE CASCADE)")
    docs.run("INSERT INTO pages VALUES (1, 1), (2, 2)")
    docs.run("CREATE VIEW texts AS SELECT id, text FROM docs")
    body = "BEGIN NEW.text = NEW.text || '!'; RETURN NEW; END"
    docs.run(f"CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS $$ {body} $$")
    docs.run("CREATE TRIGGER shout BEFORE INSERT ON docs FOR EACH ROW EXECUTE FUNCTION f()")
    docs.run(f"GRANT SELECT, INSERT ON docs, texts TO {role}; GRANT USAGE ON SEQUENCE docs_id_seq TO {role}")
    docs.run("COMMENT ON TABLE docs IS 'all of them'; ALTER TABLE docs ENABLE ROW LEVEL SECURITY")
    docs.run("CREATE POLICY everyone ON docs USING (true)")
    listed = """
        SELECT conname, pg_get_constraintdef(oid), convalidated FROM pg_constraint
        WHERE conrelid IN ('docs'::regclass, 'pages'::regclass) AND contype <> 'n' ORDER BY 1
    """
    indexed = "SELECT indexname, indexdef FROM pg_indexes WHERE tablename = 'docs' ORDER BY 1"
    before = docs.run(listed), docs.run(indexed), vectors(docs)
    old, new = docs.url("docs"), docs.url("docs_new")
    migrate(old, new, ADAPTER)
    steps = cutover(old, new, ADAPTER, dry_run=True).steps
    assert len(vectors(docs)[1]) == 6
    for told in ("index by_vector", "trigger shout", "foreign key pages_doc_fkey of pages", "view texts"):
        assert any(told in step for step in steps), told
    cutover(old, new, ADAPTER)

    def whole():
        assert docs.run(listed) == before[0] and docs.run(indexed) == before[1]
        assert docs.run("SELECT count(*) FROM texts")[0][0] == docs.run("SELECT count(*) FROM docs")[0][0]
        assert docs.run("SELECT relrowsecurity, obj_description(oid) FROM pg_class WHERE relname = 'docs'") == [
            (True, "all of them")
        ]
        with pytest.raises(psycopg.errors.ForeignKeyViolation):
            docs.run("INSERT INTO pages VALUES (9, 12345)")

    whole()
    mapped(vectors(docs), before[2])
    with psycopg.connect(docs.uri, autocommit=True) as app:
        app.execute(f"SET ROLE {role}")
        app.execute("INSERT INTO docs (text, v) VALUES ('mine', %s)", (text(7, 8),))
    assert docs.run("SELECT id, text FROM docs WHERE id > 90") == [(91, "mine!")]
    docs.run("INSERT INTO pages VALUES (3, 91)")
    rollback(old, ADAPTER)
    whole()
    assert docs.run("SELECT id, text FROM docs WHERE id > 90") == [(91, "mine!")]
    docs.run("INSERT INTO docs (text, v) VALUES ('next', %s)", None, (text(8),))
    assert docs.run("SELECT max(id) FROM docs") == [(92,)]
    docs.run(f"DROP OWNED BY {role}; DROP ROLE {role}")


def test_a_new_column_takes_over_the_index_the_comment_and_the_rule_that_it_is_there(docs):
    docs.run("ALTER TABLE docs ALTER v SET NOT NULL; COMMENT ON COLUMN docs.v IS 'by E5'")
    docs.run("CREATE INDEX near ON docs USING ivfflat ((v::halfvec(6)) halfvec_l2_ops) WITH (lists = 2)")
    old, new = docs.url("docs&column=v"), docs.url("docs&column=w")
    migrate(old, new, ADAPTER)
    cutover(old, new, ADAPTER)
    definition = docs.run("SELECT indexdef FROM pg_indexes WHERE indexname = 'near'")[0][0]
    assert "((v)::halfvec(8)) halfvec_l2_ops" in definition and "lists='2'" in definition
    docs.run("INSERT INTO docs (id, v) VALUES (1000, %s)", None, (text(9, 8),))
    with pytest.raises(psycopg.errors.NotNullViolation):
        docs.run("INSERT INTO docs (id) VALUES (1001)")
    rollback(old, ADAPTER)
    assert "halfvec(6)" in docs.run("SELECT indexdef FROM pg_indexes WHERE indexname = 'near'")[0][0]
    with pytest.raises(psycopg.errors.NotNullViolation):
        docs.run("INSERT INTO docs (id) VALUES (1001)")


def test_the_old_table_keeps_nobody_from_deleting_what_it_referred_to(docs):
    docs.run("CREATE TABLE authors (id int PRIMARY KEY); INSERT INTO authors VALUES (1), (2)")
    docs.run("ALTER TABLE docs ADD author int DEFAULT 1 REFERENCES authors DEFERRABLE INITIALLY DEFERRED")
    docs.run("CREATE INDEX by_text ON docs (text)")
    docs.run("UPDATE docs SET author = 2 WHERE id = 3")
    old, new = docs.url("docs"), docs.url("new")
    migrate(old, new, ADAPTER)
    docs.run("UPDATE docs SET text = 'late' WHERE id = 7")
    cutover(old, new, ADAPTER)
    docs.run("DELETE FROM docs WHERE id = 3; DELETE FROM authors WHERE id = 2; DROP INDEX by_text")
    rollback(old, ADAPTER)
    assert docs.run("SELECT convalidated FROM pg_constraint WHERE conname = 'docs_author_fkey'") == [(True,), (True,)]
    with pytest.raises(psycopg.errors.ForeignKeyViolation):
        docs.run("DELETE FROM authors")
    assert docs.run("SELECT to_regclass('by_text')") == [("by_text",)]


def test_what_reads_a_column_that_is_renamed_is_named(docs):
    migrate(docs.url("docs&column=v"), docs.url("docs&column=w"), ADAPTER)
    docs.run("CREATE MATERIALIZED VIEW texts AS SELECT id, text FROM docs; CREATE VIEW seen AS SELECT v FROM docs")
    with pytest.raises(ValueError, match="view seen would go on reading the old vectors"):
        cutover(docs.url("docs&column=v"), docs.url("docs&column=w"), ADAPTER)
    docs.run("DROP VIEW seen")
    cutover(docs.url("docs&column=v"), docs.url("docs&column=w"), ADAPTER)


@pytest.mark.parametrize(
    "made, named",
    [
        ("CREATE VIEW seen AS SELECT id, v FROM docs", "view seen reads the vectors"),
        ("CREATE MATERIALIZED VIEW seen AS SELECT id FROM docs", "view seen is materialized"),
        ("CREATE FUNCTION n() RETURNS bigint BEGIN ATOMIC SELECT count(*) FROM docs; END", "function n()"),
    ],
)
def test_what_cannot_follow_is_named_before_anything_changes(docs, made, named):
    migrate(docs.url("docs"), docs.url("new"), ADAPTER)
    docs.run(made)
    with pytest.raises(ValueError, match=named.replace("(", r"\(").replace(")", r"\)")):
        cutover(docs.url("docs"), docs.url("new"), ADAPTER)
    assert len(vectors(docs)[3]) == 6


def test_what_holds_the_table_is_named(moved, monkeypatch):
    from minivec.stores.postgres import session

    monkeypatch.setattr(session, "ATTEMPTS", 1)
    monkeypatch.setattr(session, "PAUSE", 0)
    monkeypatch.setattr(session, "LOCK_TIMEOUT", "100ms")
    docs, old, new = moved
    with psycopg.connect(docs.uri, application_name="long report") as other:
        other.execute("SELECT count(*) FROM docs")
        with pytest.raises(StoreError, match="cut-over waits for a lock on 'docs'.*long report"):
            cutover(old, new, ADAPTER)
    assert len(vectors(docs)[3]) == 6
    cutover(old, new, ADAPTER)


def test_an_unfinished_migration_is_not_cut_over(docs):
    old, new = docs.url("docs"), docs.url("new")
    with pytest.raises(ValueError, match="nothing was migrated"):
        cutover(old, new, ADAPTER)

    def stop(rows, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        migrate(old, new, ADAPTER, batch=20, progress=stop)
    with pytest.raises(ValueError, match="20 of 90 rows"):
        cutover(old, new, ADAPTER)
    with pytest.raises(ValueError, match="nothing was cut over"):
        rollback(old)
