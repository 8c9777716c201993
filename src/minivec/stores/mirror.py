"""Two places of the same rows, compared, and the first one's rows written to the second."""

from collections.abc import Callable
from typing import Any

import numpy as np

from minivec.stores.blocks import kept
from minivec.stores.errors import Refused

TOGETHER = 4_096  # rows that are read together


def carry_back(
    new: Any, old: Any, back: Callable[[Any, Any], Any] | None, *, leave: bool, dry_run: bool
) -> tuple[int, int]:
    """Write to ``old`` the rows that ``new`` has otherwise: how many there are, and how many were written.

    ``back(new, old)`` gives the old vectors. Without it only keys and payload tell rows apart, and such rows are
    refused, or, with ``leave``, stay where they are. Nothing is written before all are counted.
    """
    there: set[Any] = set()
    later = 0
    for block in new.blocks(TOGETHER):
        there.update(block.keys)
        later += int(_differing(new, block, old, back)[0].sum())
    gone = [key for key in old.keys() if key not in there]
    later += len(gone)
    if dry_run or not later:
        return later, 0
    if back is None:
        if leave:
            return later, 0
        raise Refused(
            f"{new}: {later:,} rows were written or deleted since the cut-over ({len(gone):,} deleted); name the "
            "aligner (-a) to carry them back, or leave them aside (--leave)"
        )
    for block in new.blocks(TOGETHER):
        differs, vectors = _differing(new, block, old, back)
        if differs.any():
            old.carry(kept(block._replace(vectors=vectors), differs))
    if gone:
        old.drop(gone)
    return later, later


def _differing(new: Any, block: Any, old: Any, back: Callable[[Any, Any], Any] | None) -> tuple[np.ndarray, Any]:
    """Which rows (m,) the old place lacks or has otherwise, and the vectors (m, width) that it should have."""
    had = old.fetch(block.keys)
    vectors = None if back is None else back(block, had)

    def same(rows: list[int], at: list[int]) -> Any:
        return [True] * len(rows) if vectors is None else (vectors[rows] == had.vectors[at]).all(1)

    def means(ours: Any, theirs: Any) -> bool:
        return ours == theirs or old.alike(ours, theirs)

    return differing((new, block), (old, had), same, means), vectors


def differing(
    wanted: tuple[Any, Any],
    found: tuple[Any, Any],
    same: Callable[[list[int], list[int]], Any],
    means: Callable[[Any, Any], bool],
) -> np.ndarray:
    """Which rows (m,) of one store's block ``wanted`` are not in another's block ``found``, or otherwise.

    Both are a store and its block. ``same(rows, at)`` says of which rows the vectors are those of ``found`` at these
    places, ``means(ours, theirs)`` whether the payload of one row means the same.
    """
    (ours, block), (theirs, other) = wanted, found
    places = {key: i for i, key in enumerate(other.keys)}
    there = [i for i, key in enumerate(block.keys) if key in places]
    at = [places[block.keys[i]] for i in there]
    rows, others = ours.comparable(block.payload), theirs.comparable(other.payload)
    differs = np.ones(len(block.keys), bool)
    for i, j, alike in zip(there, at, same(there, at), strict=True):
        differs[i] = not (alike and means(rows[i], others[j]))
    return differs
