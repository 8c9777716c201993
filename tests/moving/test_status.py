"""Where migrations stand, by the library and on the command line, and the page that tells the story."""

import json

import pytest

import small
from databases import KINDS, MAKERS
from minivec.migrate import migrate
from minivec.moving.cutover import cutover, rollback
from minivec.moving.status import status
from small import both_ways

pytestmark = pytest.mark.databases

X = small.vectors(40)
ADAPTER = both_ways()


@pytest.fixture(params=KINDS)
def database(request, tmp_path):
    made = MAKERS[request.param](tmp_path)
    made.fill("docs", X)
    made.kind = request.param
    return made


def stop(rows, total):
    raise KeyboardInterrupt


def test_a_migration_is_unfinished_and_then_complete(database):
    old, new = database.url("docs"), database.url("docs_new")
    old += "?column=v" if database.kind == "qdrant" else ""
    assert status(old) == []
    with pytest.raises(KeyboardInterrupt):
        migrate(old, new, ADAPTER, batch=10, progress=stop)
    (found,) = status(new)
    assert (found.state, found.rows, found.count) == ("unfinished", 10, 40)
    migrate(old, new, ADAPTER)
    (found,) = status(new)
    assert (found.state, found.rows, found.cut_over) == ("complete", 40, None)
    assert "docs" in found.source and "docs_new" in found.destination
    assert found.aligner == ADAPTER.fingerprint


@pytest.mark.parametrize("kind", ["postgres", "lance", "chroma", "parquet"])
def test_it_tells_of_the_cut_over_and_the_way_back(kind, tmp_path):
    database = MAKERS[kind](tmp_path)
    database.fill("docs", X)
    old, new = database.url("docs"), database.url("docs_new")
    migrate(old, new, ADAPTER)
    cutover(old, new, ADAPTER)
    (found,) = [each for each in status(old) if each.cut_over]
    assert (found.state, found.verified, found.rolled_back) == ("cut over", 40, None)
    assert "docs_new" not in found.destination
    rollback(old)
    (found,) = [each for each in status(old) if each.cut_over]
    assert found.state == "rolled back" and found.rolled_back >= found.cut_over
    assert "docs_new" in found.destination


def test_the_command_line_does_it_all(tmp_path, run):
    database = MAKERS["postgres"](tmp_path)
    database.fill("docs", X)
    bridge, old, new = tmp_path / "bridge.safetensors", database.url("docs"), database.url("docs_new")
    ADAPTER.save(bridge)
    assert run("status", old)[:2] == (0, "no migrations\n")
    assert run("migrate", old, new, "-a", bridge)[0] == 0
    code, out, _ = run("cutover", old, new, "-a", bridge, "--dry-run")
    assert code == 0 and "would do: table docs is renamed to docs_minivec_old, and docs_new to docs" in out
    code, out, _ = run("cutover", old, new, "-a", bridge)
    assert code == 0 and "it has the new vectors now" in out
    assert "new vectors already" in run("cutover", old, new, "-a", bridge)[1]
    database.run("DELETE FROM docs WHERE id = 3")
    code, out, err = run("rollback", old)
    assert code == 2 and "1 deleted" in err and err.count("\n") == 1
    assert "1 rows were written or deleted" in run("rollback", old, "--dry-run")[1]
    page, probe = tmp_path / "story.html", tmp_path / "probe.json"
    probe.write_text(json.dumps({"decision": "migrate", "reason": "<b>it keeps 97%</b>", "migrate": {"recall": 0.97}}))
    code, out, _ = run("status", old, "--report", page, "-a", bridge, "--probe", probe)
    assert code == 0 and "docs.v: cut over, 40 of 40 rows" in out
    html = page.read_text()
    for told in ("cut over", "minivec rollback", "reliable", "&lt;b&gt;it keeps 97%", "40 random rows", "docs.v"):
        assert told in html, told
    assert "http://" not in html and "https://" not in html
    code, out, _ = run("rollback", old, "-a", bridge, "--json")
    assert json.loads(out)["carried"] == 1
    assert json.loads(run("status", old, "--json")[1])[0]["state"] == "rolled back"
    probe.write_text("[]")
    code, _, err = run("status", old, "--report", page, "--probe", probe)
    assert code == 2 and "minivec probe --json" in err


def test_to_ask_changes_nothing(tmp_path):
    database = MAKERS["postgres"](tmp_path)
    database.fill("docs", X)
    tables = "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace ORDER BY 1"
    before = database.run(tables)
    status(database.url("docs"))
    with pytest.raises(ValueError, match="nothing was cut over"):
        rollback(database.url("docs"))
    assert database.run(tables) == before
    assert not (tmp_path / "nothing").exists()
    with pytest.raises(ValueError):
        rollback(f"lance://{tmp_path}/nothing/docs")
    assert not (tmp_path / "nothing").exists()
