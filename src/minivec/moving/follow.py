"""Keep up with a source that changes, until it is time to cut over."""

from collections.abc import Callable
from threading import Event
from typing import Any

import numpy as np

from minivec.job import Job
from minivec.stores import Block, Checkpoint, Refused, Store
from minivec.stores.base import SAME
from minivec.stores.blocks import kept
from minivec.stores.mirror import differing
from minivec.verify import is_same

INTERVAL = 5.0  # seconds between two questions about changes


class Follow:
    """Rows that come, change or go are brought to the destination again and again: ``migrate(..., follow=Follow())``.

    - ``interval``: seconds from the end of one pass to the next
    - ``stop``: set it to end after the pass that is at work; the state is noted then, and the same call goes on
    - ``tell``: called with the number of rows that each pass has brought, if any

    ``following`` is true from when all rows are written.
    """

    def __init__(
        self, interval: float = INTERVAL, stop: Event | None = None, tell: Callable[[int], None] | None = None
    ):
        if not interval > 0:
            raise ValueError(f"interval must be above 0 seconds, got {interval}")
        self.interval, self.stop, self._tell = interval, stop or Event(), tell
        self.following = False

    def check(self, source: Store) -> None:
        """Refused, before anything is written, where the source never tells what has changed."""
        source.schema()
        if not (source.remembers or source.tells_changes) or source.fixed:
            how = "a file that has changed is another source" if source.fixed else "name a column (--changed-at)"
            raise Refused(f"{source}: it cannot tell what has changed, so nothing can follow it: {how}")

    def __call__(self, job: Job, state: Checkpoint) -> Checkpoint:
        """Pass after pass, until ``stop``; the state of the last one."""
        self.following = True
        if job.source.remembers and not job.source.tells_changes:
            state = level(job, state)
        while True:
            before = job.caught_up
            state = step(job, state)
            if self._tell is not None and job.caught_up > before:
                self._tell(job.caught_up - before)
            if self.stop.wait(self.interval):
                return state


def step(job: Job, state: Checkpoint) -> Checkpoint:
    """Bring over what has changed since the state was noted."""
    changes = job.source.changes(state.version)
    if changes is None:
        raise Refused(f"{job.source}: it cannot tell what has changed")
    return job.apply(changes, state) if len(changes.written) or len(changes.deleted) else state


def level(job: Job, state: Checkpoint) -> Checkpoint:
    """Read all rows of a source whose changes since an earlier run nobody knows, and write those that differ."""
    source, destination = job.source, job.destination
    source.pin()
    there: set[Any] = set()
    for block in source.blocks(job.batch):
        there.update(block.keys)
        mapped = job.mapped(block)
        differing = kept(mapped, _differing(mapped, source, destination))
        if len(differing.keys):
            destination.replace(differing, state)
            job.caught_up += len(differing.keys)
    gone = [] if state.in_place else [key for key in destination.keys() if key not in there]
    destination.remove(gone, state)
    job.caught_up += len(gone)
    return state


def _differing(wanted: Block, source: Store, destination: Store) -> np.ndarray:
    """Which rows (m,) of ``wanted`` the destination has not, or has with another vector or other payload."""
    found = destination.fetch(wanted.keys)

    def same(rows: list[int], at: list[int]) -> np.ndarray:
        X, Y = wanted.vectors[rows], found.vectors[at]
        lengths = np.linalg.norm(X, axis=1) * np.linalg.norm(Y, axis=1)
        cosines: np.ndarray = np.einsum("ij,ij->i", X, Y)
        return cosines >= SAME * lengths

    def means(ours: Any, theirs: Any) -> bool:
        return is_same(ours, theirs, source, destination)

    return differing((source, wanted), (destination, found), same, means)
