"""Who adds a start, a refinement of a level or a file format writes one file, and edits one that lists them."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import minivec

PACKAGE = Path(minivec.__file__).parent
START = """
from minivec.algorithm.problem import Start
from minivec.algorithm.procrustes import polar

def by_axes(problem, halves, record, rng):
    W = polar(problem.principal[0].directions @ problem.principal[1].directions.T)
    return Start(W, (W, W))
"""
REFINEMENT = """
import numpy as np
from minivec.algorithm.refinement.loop import Proposal

class Still:
    pace = 1.0

    def __init__(self, problem, *, directions, beta, sample, folds, rng):
        self._problem = problem

    def init(self, W):
        return W, None

    def step(self, M, memory):
        return Proposal(M, None, {"objective": 1.0})

    def project(self, M):
        return M

    def inside(self, M):
        return M

    def lift(self, M, memory):
        return self._problem.X.T @ self._problem.X @ M, 1.0
"""
FORMAT = """
import json
import numpy as np
from minivec.formats.base import Format, Rows

class JsonRows(Rows):
    def __init__(self, path, column=None):
        super().__init__(path)
        self._X = np.array(json.loads(path.read_text()))
        self.describe(self._X.shape, self._X.dtype)

    def read(self, size):
        for i in range(0, len(self._X), size):
            yield self._X[i : i + size], None

def write(file, blocks, rows):
    file.write(json.dumps([row for X, _ in blocks for row in X.tolist()]).encode())

FORMAT = Format(JsonRows, write, named=False)
"""
USE = """
import numpy as np
from minivec.algorithm.auto import solve
from minivec.algorithm.problem import Problem
from minivec.files import map_rows, open_rows
from minivec.frame import unit
from minivec.record import Record
from minivec.settings import resolve

X = unit(np.random.default_rng(0).standard_normal((400, 8)).astype("f4"))
problem = Problem.of(X, X, None, resolve(refine1_iterations=2, approx_runs=2))
assert solve(problem, Record()).W.shape == (8, 8)
open("a.json", "w").write("[[1, 2.5], [3, 4]]")
map_rows(lambda X: X + 1, open_rows("a.json"), "b.json", 1)
assert open_rows("b.json").array().tolist() == [[2, 3.5], [4, 5]]
"""


@pytest.fixture
def package(tmp_path):
    """A copy of the package to edit."""
    copy = tmp_path / "src" / "minivec"
    shutil.copytree(PACKAGE, copy, ignore=shutil.ignore_patterns("*.npz", "__pycache__"))
    return copy


def edit(path, *changes):
    text = path.read_text()
    for old, new in changes:
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    path.write_text(text)


def test_each_is_a_file_an_import_and_an_entry(package, tmp_path):
    algorithm = package / "algorithm"
    (algorithm / "anchors" / "axes.py").write_text(START)
    edit(
        algorithm / "starts.py",
        ("from functools", "from minivec.algorithm.anchors.axes import by_axes\nfrom functools"),
        ("= (known_pairs, ", "= (by_axes, known_pairs, "),
    )
    (algorithm / "refinement" / "still.py").write_text(REFINEMENT)
    edit(
        algorithm / "schedule.py",
        ("from collections", "from minivec.algorithm.refinement.still import Still\nfrom collections"),
        ("Level(64, 14, 2000, 60)", "Level(64, 14, 2000, 60, Still)"),
    )
    (package / "formats" / "jsons.py").write_text(FORMAT)
    edit(
        package / "formats" / "__init__.py",
        ("import faiss, ", "import faiss, jsons, "),
        ('".npy": npy.FORMAT', '".json": jsons.FORMAT, ".npy": npy.FORMAT'),
    )
    environment = os.environ | {"PYTHONPATH": str(package.parent)}
    done = subprocess.run([sys.executable, "-c", USE], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
