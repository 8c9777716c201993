import pytest
from embedding_server import Server

from minivec.embedders import http


@pytest.fixture
def server():
    with Server() as running:
        yield running


@pytest.fixture
def quick(monkeypatch):
    """Attempts follow one another without a wait that the server has not asked for."""
    monkeypatch.setattr(http, "SLOWEST", 0.01)
