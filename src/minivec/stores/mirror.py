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
        later += int(_differing(block, new, old, back)[0].sum())
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
        differs, vectors = _differing(block, new, old, back)
        if differs.any():
            old.carry(kept(block._replace(vectors=vectors), differs))
    if gone:
        old.drop(gone)
    return later, later


def _differing(block: Any, new: Any, old: Any, back: Callable[[Any, Any], Any] | None) -> tuple[np.ndarray, Any]:
    """Which rows (m,) the old place lacks or has otherwise, and the vectors (m, width) that it should have."""
    had = old.fetch(block.keys)
    places = {key: i for i, key in enumerate(had.keys)}
    vectors = None if back is None else back(block, had)
    ours, theirs = new.comparable(block.payload), old.comparable(had.payload)
    differs = np.ones(len(block.keys), bool)
    for i, key in enumerate(block.keys):
        if (j := places.get(key)) is None:
            continue
        alike = ours[i] == theirs[j] or old.alike(ours[i], theirs[j])
        differs[i] = not (alike and (vectors is None or np.array_equal(vectors[i], had.vectors[j])))
    return differs, vectors
