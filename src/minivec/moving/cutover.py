"""Cut over: the application finds the new vectors under the old name. Rollback: it finds the old ones again."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from minivec.job import Job
from minivec.map import LinearMap
from minivec.moving.follow import level, step
from minivec.settings import whole_number
from minivec.stores import Block, Checkpoint, Refused, Store, open_store
from minivec.stores.base import SAME
from minivec.stores.between import differ
from minivec.stores.blocks import absent
from minivec.stores.swapping import SwappedBack
from minivec.verify import ROWS, chosen, compare_keys

BATCH = 8_192


@dataclass(frozen=True)
class CutOver:
    """What ``cutover`` did, or, of a dry run, would do.

    - ``live``: the name that has the new vectors now; ``destination``: where they were
    - ``steps``: what was swapped, what followed, and what stays with the old vectors, a sentence each
    - ``caught_up``: rows of the source that were brought over since the migration; ``verified``: rows compared
    - ``already``: a former run had done it
    """

    live: str
    destination: str
    steps: tuple[str, ...]
    caught_up: int
    verified: int
    already: bool
    dry_run: bool
    notes: tuple[str, ...] = ()


def cutover(
    source: Any,
    destination: Any,
    aligner: Any,
    *,
    verify: int = ROWS,
    dry_run: bool = False,
    skip_nulls: bool = False,
    skip_bad_rows: bool = False,
    any_vectors: bool = False,
    changed_at: str | None = None,
    tell: Callable[[str], None] | None = None,
) -> CutOver:
    """Swap the names of ``source`` and of the finished migration in ``destination``.

    Rows that were written meanwhile are brought over first, the last of them while nobody else can write, where the
    store has a lock for that. Killed at any moment, it has swapped everything or nothing; the same call finishes.

    - ``source``, ``destination``, ``aligner``: those of the migration
    - ``verify``: so many random rows are compared before the names are swapped; 0 compares none
    - ``dry_run``: only say what would happen
    - ``skip_nulls``, ``skip_bad_rows``, ``any_vectors``, ``changed_at``: as for ``migrate``
    - ``tell`` is called with each step before anything changes

    Raises ValueError, with nothing changed, where the migration is not finished, rows differ, or something stands in
    the way; StoreError where a database refuses, or others hold the table.
    """
    verify = whole_number("verify", verify, 0)
    bridge = LinearMap.of(aligner)
    with open_store(source) as source, open_store(destination) as destination:
        source.skip_nulls, source.skip_bad_rows, source.changed_at = skip_nulls, skip_bad_rows, changed_at
        destination.skip_nulls = True
        names = str(source), str(destination)
        if differ(source, destination):
            by_hand = f"point the application to {destination} by hand, and back to {source} to go back"
            raise Refused(f"{destination}: a store of another kind than {source} cannot take its name; {by_hand}")
        source.swap_finish()  # what a run that was killed has left
        if _is_done(source, destination, bridge):
            return CutOver(*names, (), 0, 0, already=True, dry_run=dry_run)
        begun = destination.checkpoint()
        bridge = bridge if begun is None else bridge.of_lengths(begun.length)
        job = Job(source, destination, bridge, BATCH, 1, source.remembers, any_vectors, None, tell)
        state = job.prepare()
        _check_finished(source, destination, state)
        steps = tuple(destination.swap_steps(source))
        if dry_run:
            return CutOver(*names, steps, 0, 0, already=False, dry_run=True)
        if tell is not None:
            for told in steps:
                tell(told)
        state = job.begin(state)
        destination.finish()
        (level if source.remembers and not source.tells_changes else step)(job, state)
        destination.swap_prepare(source)
        last = _Last(job, chosen(source, verify) if verify else [])
        destination.swap(source, last)
        source.swap_finish()
        return CutOver(
            *names, steps, job.caught_up, last.verified, already=False, dry_run=False, notes=tuple(job.notes)
        )


class _Last:
    """What is done right before the names are swapped: the last changes, and the comparison."""

    def __init__(self, job: Job, keys: list[Any]):
        self._job, self._keys, self.verified = job, keys, 0

    def __call__(self, state: Checkpoint) -> Checkpoint:
        source, destination, job = self._job.source, self._job.destination, self._job
        changes = source.changes(state.version)
        if changes is not None and (len(changes.written) or len(changes.deleted)):
            state = job.apply(changes, state)
        self.verified = compare_keys(source, destination, job.bridge, self._keys)
        return state.keep(verified=self.verified)


def _is_done(source: Store, destination: Store, bridge: LinearMap) -> bool:
    """Whether a former run has swapped this destination's name."""
    state = source.swapped()
    if state is None or state.aligner != bridge.fingerprint:
        return False
    if state.own["cutover"].get("destination") == str(destination):
        return True
    try:
        return destination.checkpoint() is None
    except Refused:
        return False


def _check_finished(source: Store, destination: Store, state: Checkpoint | None) -> None:
    """Refuse a destination that has not all rows yet."""
    again = "run `minivec migrate` until it is done"
    if state is None:
        raise Refused(f"{destination}: nothing was migrated there; {again}")
    if next(source.blocks(1, state.position, payload=False), None) is not None:
        raise Refused(f"{destination}: {state.rows:,} of {state.count:,} rows are migrated; {again}")


def rollback(source: Any, aligner: Any = None, *, leave: bool = False, dry_run: bool = False) -> SwappedBack:
    """Give ``source`` its old vectors back, as they were before ``cutover``.

    - ``aligner``: that of the migration; rows that were written since the cut-over are carried back by its inverse.
      Rows whose vector is still the mapped one keep the old vector
    - ``leave``: leave those rows with the new vectors, where they stay
    - ``dry_run``: only count them

    Raises ValueError where nothing was cut over, or where there are such rows and neither ``aligner`` nor ``leave``
    is given; StoreError where a database refuses, or others hold the table.
    """
    with open_store(source) as store:
        back, state = None, store.swapped()
        if aligner is not None:
            bridge = LinearMap.of(aligner)
            if state is not None and state.aligner != bridge.fingerprint:
                raise ValueError(f"{store}: it was migrated with another aligner")
            back = _Back(bridge)
        if not dry_run:
            store.swap_finish()
        done: SwappedBack = store.swap_back(back, leave=leave, dry_run=dry_run)
        if not dry_run:
            store.swap_finish()
        return done


class _Back:
    """The old model's vectors for rows of the new one."""

    def __init__(self, bridge: LinearMap):
        self._bridge, self._inverse = bridge, bridge.inverse().of_lengths().of_lengths("target")

    def __call__(self, new: Block, old: Block) -> np.ndarray:
        """Vectors (m, width) for the rows of ``new``: those of ``old`` where they still map to it."""
        vectors = self._inverse.apply(new.vectors)
        places = {key: i for i, key in enumerate(new.keys)}
        there = [i for i in np.flatnonzero(~absent(old)).tolist() if old.keys[i] in places]
        rows = [places[old.keys[i]] for i in there]
        if rows:
            X = new.vectors[rows]
            cosine = np.einsum("ij,ij->i", self._bridge.apply(old.vectors[there]), X) / np.maximum(
                np.linalg.norm(X, axis=1), 1e-12
            )
            for i, row in zip(np.asarray(there)[cosine >= SAME], np.asarray(rows)[cosine >= SAME], strict=True):
                vectors[row] = old.vectors[i]
        return vectors
