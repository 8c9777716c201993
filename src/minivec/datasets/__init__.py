"""The bundled sample: real embeddings of WordNet glosses by two encoders that were trained apart."""

from importlib.resources import files
from typing import NamedTuple

import numpy as np

SAMPLE_FILE = "glosses_e5_use.npz"


class Sample(NamedTuple):
    """Two unpaired sets to align, and true pairs to judge the result by: float32 arrays, rows of norm 1."""

    source: np.ndarray  # (8000, 384): multilingual-e5-small
    target: np.ndarray  # (8000, 512): Universal Sentence Encoder multilingual v3, of 8,000 other glosses
    test_source: np.ndarray  # (2000, 384): held-out glosses
    test_target: np.ndarray  # (2000, 512): the same glosses, row by row
    texts: list[str]  # the 2,000 held-out glosses, "lemma: definition; examples"


def load_sample() -> Sample:
    """Return the bundled sample: 8,000 glosses embedded by E5, 8,000 others by USE, 2,000 held out by both.

    Origin, licences and format are in the README.md beside the file; `scripts/make_sample.py` makes it.
    """
    with (files(__name__) / SAMPLE_FILE).open("rb") as file, np.load(file, allow_pickle=False) as arrays:
        sets = {name: dequantize(arrays[name], arrays[f"{name}_scale"]) for name in Sample._fields[:4]}
        return Sample(**sets, texts=arrays["texts"].tobytes().decode("utf-8").split("\n"))


def dequantize(codes: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """Return the rows that int8 codes (n, d) and one scale a row (n,) stand for: (n, d) float32."""
    rows: np.ndarray = codes.astype(np.float32)
    rows *= scale[:, None]
    return rows
