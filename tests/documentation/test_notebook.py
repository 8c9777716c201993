"""The notebook of a whole migration runs from its first cell to its last, and is kept without outputs."""

import json
from pathlib import Path

import pytest

import supervised

NOTEBOOK = Path(__file__).parents[2] / "examples/migration.ipynb"
CELLS = json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]
CODE = ["".join(cell["source"]) for cell in CELLS if cell["cell_type"] == "code"]


def test_it_is_kept_without_outputs():
    assert all(cell["outputs"] == [] and cell["execution_count"] is None for cell in CELLS if "outputs" in cell)
    assert len(CODE) == sum("outputs" in cell for cell in CELLS) > 5


def test_the_pages_that_it_names_are_there():
    words = " ".join("".join(cell["source"]) for cell in CELLS if cell["cell_type"] == "markdown").split("`")
    pages = [word for word in words if word.startswith("docs/")]
    assert pages and all((NOTEBOOK.parents[1] / page).exists() for page in pages)


@pytest.mark.databases
@pytest.mark.filterwarnings("ignore::minivec.AlignmentWarning")  # of the stand-in
def test_every_cell_runs_with_a_stand_in_for_the_fit(monkeypatch):
    pytest.importorskip("lancedb", reason="needs lancedb")
    supervised.install(monkeypatch)
    names = {}
    for code in CODE:
        exec(compile(code, NOTEBOOK.name, "exec"), names)
    assert not Path(names["folder"].name).exists()


@pytest.mark.slow
def test_it_tells_what_it_claims():
    """In a kernel, with the fit."""
    nbformat, nbclient = pytest.importorskip("nbformat"), pytest.importorskip("nbclient", reason="needs nbclient")
    pytest.importorskip("ipykernel", reason="needs ipykernel")
    pytest.importorskip("lancedb", reason="needs lancedb")
    done = nbclient.NotebookClient(nbformat.read(NOTEBOOK, 4), timeout=3600, kernel_name="python3").execute()
    said = "\n".join(
        output.get("text") or output.get("data", {}).get("text/plain", "")
        for cell in done.cells
        for output in cell.get("outputs", [])
    )
    assert "problems: []" in said and "This map can be relied on." in said and "(384, 512)" in said
    assert "2,000 rows, 1,000 compared" in said
    assert int(said.partition("found by their own text: ")[2].partition("%")[0]) >= 90
    assert "docs has the new vectors: fixed_size_list<item: float>[512]" in said
    assert "docs has the old vectors again: fixed_size_list<item: float>[384]" in said
    assert "rolled back" in said
