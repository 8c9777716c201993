"""Where migrations stand, by the library and on the command line, and the page that tells the story."""

import dataclasses
import json

import numpy as np
import pytest

import small
from databases import KINDS, MAKERS
from minivec.migrate import migrate, verify
from minivec.moving.cutover import cutover, rollback
from minivec.moving.status import status
from minivec.stores import open_store
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


def test_it_tells_when_rows_were_compared_last(database):
    old, new = database.url("docs"), database.url("docs_new")
    old += "?column=v" if database.kind == "qdrant" else ""
    migrate(old, new, ADAPTER)
    assert [found.compared_at for found in status(new)] == [None]
    migrate(old, new, ADAPTER, verify=30)
    (found,) = status(new)
    assert (found.state, found.rows, found.compared) == ("complete", 40, 30)
    assert verify(old, new, ADAPTER, "all") == 40
    (later,) = status(new)
    assert later.compared == 40 and later.compared_at >= found.compared_at
    migrate(old, new, ADAPTER, verify=20)
    assert status(new)[0].compared == 20
    same = dataclasses.replace(later, compared=0, compared_at=None)
    assert dataclasses.replace(status(new)[0], compared=0, compared_at=None) == same
    with open_store(new) as store:
        store.lock()
        verify(old, new, ADAPTER, 10)  # while another migration holds the destination
    assert status(new)[0].compared == 20


@pytest.mark.parametrize("kind", ["postgres", "lance", "chroma", "parquet"])
def test_it_tells_of_the_cut_over_and_the_way_back(kind, tmp_path):
    database = MAKERS[kind](tmp_path)
    database.fill("docs", X)
    old, new = database.url("docs"), database.url("docs_new")
    migrate(old, new, ADAPTER, verify=30)
    cutover(old, new, ADAPTER)
    (found,) = [each for each in status(old) if each.cut_over]
    assert (found.state, found.verified, found.compared, found.rolled_back) == ("cut over", 40, 30, None)
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
    assert run("migrate", old, new, "-a", bridge, "--verify")[0] == 0
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
    assert code == 0 and "docs.v: cut over, 40 of 40 rows of postgresql" in out and "40 compared 20" in out
    html = page.read_text()
    for told in (
        "cut over",
        "minivec rollback",
        "reliable",
        "&lt;b&gt;it keeps 97%",
        "40 random rows",
        "40 rows were mapped again",
        "docs.v",
    ):
        assert told in html, told
    assert "http://" not in html and "https://" not in html
    code, out, _ = run("rollback", old, "-a", bridge, "--json")
    assert json.loads(out)["carried"] == 1
    assert json.loads(run("status", old, "--json")[1])[0]["state"] == "rolled back"
    probe.write_text("[]")
    code, _, err = run("status", old, "--report", page, "--probe", probe)
    assert code == 2 and "minivec probe --json" in err


def test_a_folder_lists_the_migrations_into_what_lies_in_it(tmp_path, run):
    np.save(tmp_path / "docs.npy", X)
    np.save(tmp_path / "more.npy", X)
    assert status(tmp_path) == []
    migrate(tmp_path / "docs.npy", tmp_path / "docs_new.npy", ADAPTER)
    migrate(tmp_path / "docs.npy", tmp_path / "parts", ADAPTER)
    with pytest.raises(KeyboardInterrupt):
        migrate(tmp_path / "more.npy", tmp_path / "more_new.npy", ADAPTER, batch=10, progress=stop)
    found = {migration.destination: migration.state for migration in status(tmp_path)}
    places = {name: str(tmp_path / name) for name in ("docs.npy", "docs_new.npy", "more_new.npy", "parts")}
    states = {places["docs_new.npy"]: "complete", places["more_new.npy"]: "unfinished", places["parts"]: "complete"}
    assert found == states
    cutover(tmp_path / "docs.npy", tmp_path / "docs_new.npy", ADAPTER)
    found = {migration.destination: migration.state for migration in status(tmp_path)}
    del states[places["docs_new.npy"]]
    assert found == {**states, places["docs.npy"]: "cut over"}
    assert run("status", tmp_path)[1].count("\n") == 3


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
