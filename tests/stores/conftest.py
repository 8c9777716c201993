"""Fixtures of the tests of stores. ``kind`` is each of databases.MAKERS, unless a module or a test names its own."""

from pathlib import Path

import pytest

from databases import MAKERS, SLOW


def pytest_collection_modifyitems(items):
    """Every test of this folder is one of ``-m databases``, but those that take minutes."""
    for item in items:
        if Path(__file__).parent in item.path.parents and not item.get_closest_marker("slow"):
            item.add_marker("databases")


@pytest.fixture(params=[pytest.param(kind, marks=[pytest.mark.slow] * (kind in SLOW)) for kind in MAKERS])
def kind(request):
    return request.param


@pytest.fixture
def database(kind, request, tmp_path, monkeypatch):
    """A database or folder of this kind; its table docs holds the vectors X of the test's module."""
    from minivec.stores import lease

    monkeypatch.setattr(lease, "SETTLED", 0.02)  # seconds; nobody else writes
    made = MAKERS[kind](tmp_path)
    made.fill("docs", request.module.X)
    yield made
    made.close()


@pytest.fixture
def source(database):
    """The address of the vectors of docs."""
    return database.source()
