import pytest
from embedding_server import WIDTH, Server
from served_map import serving

from minivec import LinearMap
from small import RELIABLE, both_ways

NAMED = {**RELIABLE, "spaces": {"source": "tiny", "target": "ada-002"}}


@pytest.fixture(scope="session")
def bridge():
    """A map from the space of the tiny encoder to one of 8 dimensions that is called ada-002."""
    return LinearMap(both_ways(dA=WIDTH, dB=8).weights, NAMED)


@pytest.fixture
def upstream():
    with Server() as running:
        yield running


@pytest.fixture
def client(bridge, upstream):
    """Of the served map."""
    with serving(bridge, upstream.url) as made:
        yield made
