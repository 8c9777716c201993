"""Compare a migrated store with its source, row by row."""

import json
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import numpy as np

from minivec.map import LinearMap
from minivec.moving.copy import Copy, bridge_of
from minivec.settings import whole_number
from minivec.stores import Block, Checkpoint, Refused, Store, StoreError, open_store
from minivec.stores.between import paired
from minivec.stores.blocks import fetch_all, kept, without_vector
from minivec.stores.swapping import now
from minivec.validation import drawn

ROWS = 1_000  # that a verification compares where it does not compare all
BATCH = 4_096


def verify(source: Any, destination: Any, aligner: Any = None, rows: int | str = ROWS, seed: int = 0) -> int:
    """Compare the counts, and ``rows`` random rows or "all" of them, of a migrated store with its source.

    ``source`` and ``destination`` are stores, URLs or paths, ``aligner`` an aligned model or a ``LinearMap``, or None
    where the vectors were copied. The newest rows of both are compared, in bounded memory. The destination's state
    notes when, for ``status``, where it can be written. Returns the number of rows compared. Raises ValueError that
    names the keys of rows that are missing, or whose vector or payload is another than it should be.
    """
    with open_store(source) as source, open_store(destination) as destination:
        state = destination.checkpoint()
        if state is None:
            raise ValueError(f"{destination}: there is nothing to verify")
        source.column = source.column or state.column
        bridge = bridge_of(aligner, source)
        source.skip_nulls = source.skip_bad_rows = True
        source, destination = paired(source, destination)
        destination.accepts(source)
        destination.resume(state)
        if not source.tells_changes:
            source.pin(state.version)
        check_counts(source, destination, state)
        compared = compare(source, destination, bridge, rows, seed)
        with suppress(StoreError):  # another migration is at work, or this role may not write
            destination.lock()
            state = destination.checkpoint() or state
            destination.resume(state)
            note_verification(destination, state, compared)
        return compared


def note_verification(destination: Store, state: Checkpoint, compared: int) -> None:
    """Note in the destination's state, if it can be written, when so many rows were found to be right."""
    with suppress(StoreError, Refused):
        destination.note(state, verification={"at": now(), "rows": compared})


def check_counts(source: Store, destination: Store, state: Checkpoint) -> None:
    """ValueError where the destination has another number of rows than the source, less those that were left out.

    Rows of the source's own may have got a vector since.
    """
    there, here = source.count(), destination.count()
    least = there - state.left_out
    if not least <= here <= (there if state.in_place else least):
        raise ValueError(f"{destination}: {here} rows, but {source} has {there}: some came or went meanwhile")


def compare(source: Store, destination: Store, bridge: LinearMap | Copy, rows: int | str, seed: int = 0) -> int:
    """Map ``rows`` random rows, or "all", again and look for them in the destination; the number compared."""
    destination.skip_nulls = destination.skip_bad_rows = True
    if rows != "all":
        return compare_keys(source, destination, bridge, chosen(source, whole_number("rows", rows, 1), seed))
    compared = 0
    for old in source.blocks(BATCH):
        _compare_block(source, destination, bridge, old)
        compared += len(old.keys)
    return compared


def chosen(source: Store, rows: int, seed: int = 0) -> list[Any]:
    """The keys of ``rows`` random rows of the source, in order; of all if there are fewer."""
    keys = source.keys()
    return [keys[i] for i in drawn(len(keys), rows, whole_number("seed", seed, 0))]


def compare_keys(source: Store, destination: Store, bridge: LinearMap | Copy, keys: Sequence[Any]) -> int:
    """Compare the rows of the source that have these keys, without those that are gone; the number compared."""
    compared = 0
    for old in fetch_all(source, keys):
        _compare_block(source, destination, bridge, old)
        compared += len(old.keys)
    return compared


def _compare_block(source: Store, destination: Store, bridge: LinearMap | Copy, old: Block) -> None:
    """ValueError where the destination has the rows of one block otherwise, or not at all."""
    empty = without_vector(old, source)
    if not destination.keeps_nulls:
        old, empty = kept(old, ~empty), np.zeros(int((~empty).sum()), bool)
    new = destination.fetch(old.keys)
    if list(old.keys) != list(new.keys):
        there = set(new.keys)
        missing = [key for key in old.keys if key not in there]
        raise ValueError(f"{destination}: no rows {', '.join(map(str, missing[:5]))}, which {source} has")
    mapped = bridge.apply(old.vectors)
    lengths = np.linalg.norm(mapped, axis=1) * np.linalg.norm(new.vectors, axis=1)
    cosine = np.einsum("ij,ij->i", mapped, new.vectors) / np.maximum(lengths, 1e-12)
    wrong = np.where(empty, ~without_vector(new, destination), ~(cosine >= destination.same))
    destination.refuse("another vector than the aligner's", np.flatnonzero(wrong), old.keys)
    payload = source.schema().payload
    if payload and payload == destination.schema().payload:
        pairs = zip(source.comparable(old.payload), destination.comparable(new.payload), strict=True)
        differ = [i for i, (one, other) in enumerate(pairs) if not is_same(one, other, source, destination)]
        destination.refuse("other payload than the source's", differ, old.keys)


def is_same(one: Any, other: Any, source: Store, destination: Store) -> bool:
    """Whether the payload of two rows, as ``comparable`` gives it, is the same, or is so to either store."""
    return _plain(one) == _plain(other) or source.alike(one, other) or destination.alike(one, other)


def _plain(row: Any) -> str:
    """A row's payload as text, in which NaN equals NaN."""
    return json.dumps(row, sort_keys=True, default=repr)
