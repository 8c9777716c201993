"""What is done with the rows of a block, whatever the store: find those without a vector, and leave some out."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from minivec.stores.base import Block, Store
from minivec.validation import constant, not_finite

FIRST = 256  # rows that tell how large rows are
BYTES = 128 << 20  # of a block, beside its vectors: several blocks are in memory, and several copies of each
LOOKED_AT = 64  # rows of a block that are measured where Arrow does not tell


class Sized:
    """How many ``rows`` to read next: at most ``most``, and so many as take BYTES, as those tell that came last.

    The first are FIRST rows, unless it is known that they are not ``large``.
    """

    def __init__(self, most: int, large: bool = True):
        self._most = most
        self.rows = min(most, FIRST) if large else most

    def of(self, block: Block) -> Block:
        """The ``block``, by whose rows the next ones are measured."""
        if rows := len(block.keys):
            self.rows = max(1, min(self._most, BYTES * rows // max(_size(block.payload), 1)))
        return block


def _size(payload: Any) -> int:
    """About how many bytes a block's payload takes."""
    if payload is None or hasattr(payload, "nbytes"):
        return int(getattr(payload, "nbytes", 0))
    some = payload[:: max(1, len(payload) // LOOKED_AT)]
    return sum(map(_length, some)) * len(payload) // max(len(some), 1)


def _length(value: Any) -> int:
    if isinstance(value, str | bytes):
        return len(value)
    if isinstance(value, Mapping):
        value = value.values()
    elif not isinstance(value, list | tuple):
        return 8
    return sum(map(_length, value))


def fetch_all(store: Store, keys: Sequence[Any], payload: bool = True) -> Iterator[Block]:
    """The rows of ``store`` with these keys, as ``fetch`` gives them, a block at a time."""
    return in_turn(keys, partial(store.fetch, payload=payload), Sized(store.fetched))


def in_turn(
    keys: Sequence[Any], fetch: Callable[[Sequence[Any]], Block], sized: Sized, start: int = 0
) -> Iterator[Block]:
    """What ``fetch`` gives for the keys from number ``start`` on, in order, as many at a time as ``sized`` tells."""
    while start < len(keys):
        some = keys[start : start + sized.rows]
        start += len(some)
        yield sized.of(fetch(some))


def first_key(source: Any) -> Any:
    """The key of the first row of ``source``, a store that has rows, as it hands it on: no other key is read."""
    return next(source.blocks(1)).keys[0]


def absent(block: Block) -> np.ndarray:
    """Which rows (m,) of a block are ``missing`` a vector."""
    mask = np.zeros(len(block.keys), bool)
    mask[np.asarray(block.missing, int)] = True
    return mask


def without_vector(block: Block, store: Store) -> np.ndarray:
    """Which rows (m,) of a block of ``store`` have no vector that can be mapped.

    These are the block's ``missing`` ones and, with ``store.skip_bad_rows``, rows with NaN or infinity and rows of one
    repeated value. Otherwise Refused names rows of these two kinds.
    """
    empty = absent(block)
    for what, find in (("NaN or infinity", not_finite), ("one repeated value", constant)):
        rows = find(block.vectors).astype(int)
        rows = rows[~empty[rows]]
        if not store.skip_bad_rows:
            store.refuse(what, rows, block.keys)
        empty[rows] = True
    return empty


def kept(block: Block, mask: np.ndarray) -> Block:
    """The rows of a block where ``mask`` (m,) is true, with its position."""
    if mask.all():
        return block
    rows: Sequence[int] = np.flatnonzero(mask).tolist()
    payload = block.payload
    if payload is not None:
        payload = payload.take(np.array(rows, np.int64)) if hasattr(payload, "take") else [payload[i] for i in rows]
    without = set(block.missing)
    missing = [i for i, row in enumerate(rows) if row in without]
    return Block([block.keys[i] for i in rows], block.vectors[rows], payload, block.position, missing)
