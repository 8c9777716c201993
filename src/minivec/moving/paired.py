"""Which rows a fit had as known pairs: its history notes them by their vectors, and a probe leaves them out."""

from base64 import b64decode, b64encode
from collections.abc import Mapping
from hashlib import blake2b
from typing import Any

import numpy as np

KEY = "paired_rows"  # in a history


def noted(*sides: np.ndarray) -> dict[str, Any]:
    """What a history records of the vectors (m, d) of known pairs, in one space or both: 4 bytes of each."""
    names = np.unique(np.concatenate([_names(vectors) for vectors in sides]))
    return {KEY: {"rows": len(sides[0]), "vectors": b64encode(names.tobytes()).decode()}}


def paired(history: Mapping[str, Any], X: np.ndarray) -> np.ndarray:
    """Which of the raw rows X (n, d) are noted in a history; a row in some 10,000 that is not may be named too.

    ValueError for a note that is damaged. Without a note it is none of them.
    """
    if KEY not in history:
        return np.zeros(len(X), bool)
    try:
        names = np.frombuffer(b64decode(history[KEY]["vectors"], validate=True), "<u4")
    except (ValueError, KeyError, TypeError):
        raise ValueError(f"the history's {KEY!r} is damaged") from None
    return np.isin(_names(X), names)


def _names(vectors: np.ndarray) -> np.ndarray:
    """A number (n,) for each row, by its values as float32."""
    rows = np.ascontiguousarray(vectors, "<f4")
    return np.frombuffer(b"".join(blake2b(row.tobytes(), digest_size=4).digest() for row in rows), "<u4")
