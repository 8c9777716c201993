"""JSON documents with a vector in them: found at its path, taken out, put in."""

import json
from collections.abc import Sequence
from typing import Any

import numpy as np


def dumped(value: Any) -> str:
    """JSON that is equal where the values are, in ASCII; ValueError for NaN and infinity."""
    return json.dumps(value, sort_keys=True, allow_nan=False)


def taken_out(tree: Any, path: Sequence[str]) -> Any:
    """Remove and return what lies at this path of a document; None where there is nothing."""
    for name in path[:-1]:
        tree = tree.get(name) if isinstance(tree, dict) else None
    return tree.pop(path[-1], None) if isinstance(tree, dict) else None


def put_in(tree: Any, path: Sequence[str], value: Any) -> None:
    """Set what lies at this path of a document."""
    for name in path[:-1]:
        tree = tree.setdefault(name, {})
    tree[path[-1]] = value


def vectors_of(values: list[Any], width: int) -> np.ndarray:
    """Vectors (m, width) float32 of lists of numbers; zeros for None."""
    zero = [0.0] * width
    return np.array([zero if value is None else value for value in values], np.float32).reshape(-1, width)
