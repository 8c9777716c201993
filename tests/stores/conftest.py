"""Fixtures of the tests of stores. ``kind`` is each of databases.MAKERS, unless a module or a test names its own.

With ``-m cloud`` it is each of databases.CLOUD, which are servers that the environment names.
"""

from pathlib import Path

import pytest

from databases import CLOUD, MAKERS, SLOW

LOCAL = [pytest.param(kind, marks=[pytest.mark.slow] * (kind in SLOW)) for kind in MAKERS]
OWN = [pytest.param(kind, marks=pytest.mark.cloud) for kind in CLOUD]


def pytest_collection_modifyitems(items):
    """Every test of this folder is one of ``-m databases``, but those that take minutes or a server of one's own."""
    for item in items:
        here = Path(__file__).parent in item.path.parents
        if here and not any(map(item.get_closest_marker, ("slow", "cloud"))):
            item.add_marker("databases")
        elif item.get_closest_marker("cloud"):  # the whole contract belongs to it
            item.own_markers[:] = [mark for mark in item.own_markers if mark.name != "slow"]


@pytest.fixture(params=[*LOCAL, *OWN])
def kind(request):
    return request.param


@pytest.fixture
def database(kind, request, tmp_path, monkeypatch):
    """A database or folder of this kind; its table docs holds the vectors X of the test's module."""
    from minivec.stores import lease

    monkeypatch.setattr(lease, "SETTLED", 0.02)  # seconds; nobody else writes
    made = (MAKERS | CLOUD)[kind](tmp_path)
    made.fill("docs", request.module.X)
    yield made
    made.close()


@pytest.fixture
def source(database):
    """The address of the vectors of docs."""
    return database.source()
