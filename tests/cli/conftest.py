"""Small inputs, and an aligner between them, for every test of the command line."""

import numpy as np
import pytest

import supervised
from minivec import MiniVec2VecAligner

A, B = supervised.spaces(8, 6, rows=400)
SQUARE = supervised.spaces(8, 8, rows=400)
NAMES = {"source_name": "ada-002", "target_name": "te3-small"}


@pytest.fixture(scope="session")
def named(tmp_path_factory):
    """Files of aligners between spaces with names: of 8 and 6 dimensions, and of 8 and 8."""
    folder = tmp_path_factory.mktemp("named")
    with pytest.MonkeyPatch.context() as monkeypatch:
        supervised.install(monkeypatch)
        for name, (X, Y) in {"wide": (A, B), "square": SQUARE}.items():
            aligner = MiniVec2VecAligner(8)
            aligner.align(X, Y, **NAMES)
            aligner.save(folder / f"{name}.keras")
    return folder


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The current folder, with a.npy and b.npy in it."""
    monkeypatch.chdir(tmp_path)
    np.save("a.npy", A)
    np.save("b.npy", B)
    return tmp_path
