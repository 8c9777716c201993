"""Two small spaces of the same documents, a map between them, and a model that embeds their texts."""

from dataclasses import dataclass
from functools import cache

import numpy as np
import pytest

from minivec.fitting import fit_paired
from minivec.map import LinearMap
from minivec.record import Record

DOCUMENTS, FITTED, WIDTH = 900, 300, 24
WORDS = ("apple", "boat", "cloud", "drum")


@dataclass(frozen=True)
class Spaces:
    """Vectors of both models for the documents and for those that the map was fitted on, and the documents' texts."""

    old: np.ndarray
    new: np.ndarray
    bridge: LinearMap
    texts: list[str]


@cache
def spaces():
    """Documents about four things, one in each cluster; the new model sees them turned and with a little noise."""
    rng = np.random.default_rng(0)
    about = np.arange(DOCUMENTS + FITTED) % len(WORDS)
    content = 2 * rng.standard_normal((len(WORDS), WIDTH))[about] + rng.standard_normal((len(about), WIDTH))
    turn = np.linalg.qr(rng.standard_normal((WIDTH, WIDTH)))[0]
    old = (content + 0.2 * rng.standard_normal(content.shape)).astype(np.float32)
    new = (content @ turn + 0.2 * rng.standard_normal(content.shape)).astype(np.float32)
    fitted = slice(DOCUMENTS, None)
    bridge = fit_paired(old[fitted], new[fitted], "orthogonal", 0, Record(), versions={}, spaces={})
    texts = [f"{WORDS[thing]} number {i}" for i, thing in enumerate(about[:DOCUMENTS])]
    return Spaces(old[:DOCUMENTS], new[:DOCUMENTS], bridge, texts)


class Model:
    """An embedder that knows the vectors of some texts, and what it was asked for."""

    name, width = "fake", WIDTH

    def __init__(self, texts, vectors):
        self.vectors = dict(zip(texts, vectors, strict=True))
        self.asked = []

    def __call__(self, texts, kind="document"):
        self.asked.append((kind, len(texts)))
        return np.stack([self.vectors[text] for text in texts])


def write_table(path, texts, vectors):
    """A Parquet file of texts, in a column "body", and vectors."""
    pa = pytest.importorskip("pyarrow")
    import pyarrow.parquet as pq

    column = pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), vectors.shape[1])
    pq.write_table(pa.table({"body": texts, "embedding": column}), path)
