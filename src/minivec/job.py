"""One run of a migration: prepare, rehearse or write, catch up, compare."""

import math
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from minivec import spaces
from minivec.map import LinearMap
from minivec.moving.copy import Copy, made_by
from minivec.signature import ROWS, refuse_wrong
from minivec.stores import Block, Changes, Checkpoint, Refused, Store, StoreError, open_store
from minivec.stores.blocks import absent, kept, without_vector
from minivec.verify import check_counts, compare, note_verification

CATCH_UPS = 3  # times that changes of the source are caught up with, before the rest is left to the next run
REHEARSED = 256  # rows that a dry run tries to write
NAMED = 5  # skipped rows that are named


@dataclass(frozen=True)
class Migration:
    """What ``migrate`` did, or, of a dry run, would do.

    - ``source``, ``destination``, and their ``widths``
    - ``total``: rows of the source; ``rows``: those that were done when it stopped; ``written``: those of this run
    - ``seconds`` of the run; ``mapping``: seconds of processor time of the map and the checks, in all workers
    - ``verified``: rows that were compared with their source
    - ``caught_up``: rows that were inserted, changed or deleted meanwhile, and are so at the destination now
    - ``skipped``: rows without a vector that can be mapped; ``skipped_keys`` are the first of them
    - ``uncaught``: rows that are known to have changed, and are at the destination as they were
    - ``notes``: what is not carried over, and what was not caught, a sentence each
    """

    source: str
    destination: str
    widths: tuple[int, int]
    total: int
    rows: int
    written: int
    seconds: float
    mapping: float
    verified: int
    dry_run: bool
    caught_up: int = 0
    uncaught: int = 0
    skipped: int = 0
    skipped_keys: tuple[Any, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass
class Job:
    """One run of ``migrate``: what it was asked to do, and what it has done so far."""

    source: Store
    destination: Store
    bridge: LinearMap | Copy
    batch: int
    workers: int
    allow_changes: bool
    any_vectors: bool
    progress: Callable[[int, int], None] | None
    tell: Callable[[str], None] | None
    count: int = 0
    rows: int = 0
    mapping: float = 0.0
    caught_up: int = 0
    uncaught: int = 0
    skipped: int = 0
    skipped_keys: list[Any] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    start: float = field(default_factory=time.perf_counter)

    def run(self, verify: int | str, keep_up: Callable[["Job", Checkpoint], Checkpoint] | None = None) -> Migration:
        """Write every row that is not there yet, catch up, and compare ``verify`` rows, or "all".

        ``keep_up`` takes the place of the catching up.
        """
        source, destination = self.source, self.destination
        state = self.begin(self.prepare())
        if self.tell is not None:
            for note in (*self.notes, *destination.notes):
                self.tell(note)
        before = state.rows
        try:
            state = self.write(state)
            destination.finish()
            state = self.catch_up(state) if keep_up is None else keep_up(self, state)
        except OSError as error:
            gone_on = f"{error}; {self.rows:,} of {self.count:,} rows were done, the same command goes on"
            raise (type(error) if isinstance(error, StoreError) else StoreError)(gone_on) from None
        if not (source.tells_changes or self.allow_changes):
            check_counts(source, destination, state)
        verified = compare(source, destination, self.bridge, verify) if verify else 0
        if verify:
            note_verification(destination, state, verified)
        return self.report(state.rows, state.rows - before, verified=verified)

    def prepare(self) -> Checkpoint | None:
        """Check everything that can be checked without writing; the state that a former run has left, if any."""
        source, destination, width = self.source, self.destination, self.bridge.shape[0]
        state = destination.checkpoint()
        if state is not None:
            source.column = source.column or state.column
            destination.resume(state)
        schema, self.count = source.schema(), source.count()
        source.column = schema.column  # a new column beside it makes it one of several
        if not self.count:
            raise ValueError(f"{source}: it is empty")
        if schema.width != width:
            raise ValueError(f"{source}: {schema.width} dimensions where the aligner takes {width}")
        self.notes += _check_not_mapped(source, self.bridge)
        destination.accepts(source)
        source.suits(self.bridge)
        source.check()
        if self._recognises and (first := source.head(ROWS)) is not None:
            self._check_space(first)
        if state is None:
            destination.plan(source, self.bridge.shape[1])
        else:
            self._check_same(state)
            source.pin(state.version)
        return state

    @property
    def _recognises(self) -> bool:
        """Whether vectors of another space are recognised, and refused."""
        return not self.any_vectors and self.bridge.signatures is not None

    def _check_space(self, block: Block) -> None:
        """Refuse rows that look like vectors of another space than the map leads from."""
        if self._recognises:
            where = f"{self.source}: rows {block.keys[0]} to {block.keys[-1]}"
            refuse_wrong(block.vectors, self.bridge.signatures, where)

    def _check_same(self, state: Checkpoint) -> None:
        """Refuse to go on with what was begun with something else."""
        source, destination = self.source, self.destination
        if not _is_same_source(state.source, source):
            raise ValueError(f"{destination}: it was begun with rows of {state.source}, not of {source}")
        if state.aligner != self.bridge.fingerprint:
            raise ValueError(f"{destination}: it was begun with another aligner; name another destination")
        if not math.isclose(state.length, self.bridge.length, rel_tol=1e-6):
            begun = f"it was begun with mapped rows of length {state.length:.4g}, not {self.bridge.length:.4g}"
            raise ValueError(f"{destination}: {begun} (--lengths); name another destination")
        if state.count != self.count and not (self.allow_changes or source.tells_changes):
            raise ValueError(
                f"{source}: {self.count} rows, {state.count} when the migration began; allow_changes "
                "(--allow-changes) goes on with the rest, and misses the rows that came in before it"
            )

    def rehearse(self) -> Migration:
        """Read and map all rows that are left, and try at the destination with the first what can be taken back."""
        state = self.prepare()
        tried = state is not None
        for block, _, seconds in self._ahead(self.source.blocks(self.batch, None if state is None else state.position)):
            self.mapping += seconds
            noted = self._noted(block)
            if not tried:
                few = kept(noted, np.arange(len(noted.keys)) < REHEARSED)
                self.notes += self.destination.rehearse(self.source, self.bridge.shape[1], few)
                tried = True
        return self.report(0 if state is None else state.rows, 0, dry_run=True)

    def begin(self, state: Checkpoint | None) -> Checkpoint:
        """Lock the destination and make it, unless a former run has."""
        source, destination = self.source, self.destination
        identity = source.identity()
        destination.lock()
        state = state or destination.checkpoint()  # another run may have begun before the lock was held
        if state is not None:
            destination.resume(state)
            self._check_same(state)
            if not state.rows:
                destination.create_rest(source, self.bridge.shape[1], state)
            return state
        state = Checkpoint(
            source=identity,
            aligner=self.bridge.fingerprint,
            length=self.bridge.length,
            count=self.count,
            version=source.pin(),
            column=source.column,
            space=spaces.names(self.bridge.history)[1],
        )
        self.notes += destination.losses(source)
        return destination.create(source, self.bridge.shape[1], state)

    def write(self, state: Checkpoint) -> Checkpoint:
        """Write every row of the source behind the state's position."""
        self.rows = state.rows
        for block, nulls, seconds in self._ahead(self.source.blocks(self.batch, state.position, not state.in_place)):
            self.mapping += seconds
            noted = self._noted(block)
            left_out = len(block.missing) - nulls if state.in_place else len(block.keys) - len(noted.keys)
            rows, left_out = state.rows + len(block.keys), state.left_out + left_out
            state = state.but(rows=rows, left_out=left_out, position=block.position)
            self.destination.write(noted, state)
            self.rows = state.rows
            if self.progress is not None:
                self.progress(state.rows, self.count)
        return state

    def catch_up(self, state: Checkpoint) -> Checkpoint:
        """Bring rows that have come, changed or gone since to the destination too, as often as CATCH_UPS."""
        source = self.source
        if not source.tells_changes:
            self.notes.append(f"{source} cannot tell whether rows were changed meanwhile: migrate while nothing writes")
            return state
        for _ in range(CATCH_UPS):
            changes = source.changes(state.version)
            if changes is None or not (len(changes.written) or len(changes.deleted)):
                return state
            try:
                state = self.apply(changes, state)
            except Refused as error:
                self.uncaught = len(changes.written) + len(changes.deleted)
                self.notes.append(f"{self.uncaught:,} changed rows were not caught: {error}")
                return state
        left = source.changes(state.version)
        self.uncaught = len(left.written) + len(left.deleted) if left else 0
        if self.uncaught:
            self.notes.append(f"{self.uncaught:,} rows have changed again since: the same command catches up with them")
        return state

    def apply(self, changes: Changes, state: Checkpoint) -> Checkpoint:
        """Write and remove the changed rows at the destination; its version is the new one when all are done."""
        written, deleted = changes.written, [] if state.in_place else changes.deleted
        for start in range(0, len(written), self.batch):
            block = self.source.fetch(list(written[start : start + self.batch]))
            if len(block.keys):
                self.destination.replace(self.mapped(block), state)
                self.caught_up += len(block.keys)
        state = state.but(version=changes.version)
        self.destination.remove(deleted, state)
        self.caught_up += len(deleted)
        return state

    def mapped(self, block: Block) -> Block:
        """A block of the source as the destination takes it."""
        mapped, seconds = self._mapped(block)
        self.mapping += seconds
        return self._noted(mapped)

    def _ahead(self, blocks: Iterator[Block]) -> Iterator[tuple[Block, int, float]]:
        """The blocks with their vectors mapped, in order, by workers that are ahead.

        With each come the number of its rows that the source has no vector of, and the processor time it took.
        """
        waiting: deque[tuple[int, Future[tuple[Block, float]]]] = deque()

        def first() -> tuple[Block, int, float]:
            nulls, future = waiting.popleft()
            mapped, seconds = future.result()
            return mapped, nulls, seconds

        with ThreadPoolExecutor(self.workers) as pool:
            for block in blocks:
                waiting.append((len(block.missing), pool.submit(self._mapped, block)))
                if len(waiting) > self.workers:
                    yield first()
            while waiting:
                yield first()

    def _mapped(self, block: Block) -> tuple[Block, float]:
        """A block with its vectors mapped and its rows without a vector marked, and the processor time it took."""
        start, X, source = time.thread_time(), block.vectors, self.source
        if X.shape[1] != self.bridge.shape[0]:
            raise ValueError(f"{source}: {X.shape[1]} dimensions in row {block.keys[0]}, not {self.bridge.shape[0]}")
        missing = without_vector(block, source)
        self._check_space(block)
        Y = self.bridge.apply(np.where(missing[:, None], 0, X) if missing.any() else X)
        Y[missing] = 0
        return block._replace(vectors=Y, missing=np.flatnonzero(missing).tolist()), time.thread_time() - start

    def _noted(self, block: Block) -> Block:
        """The block as the destination can keep it; rows without a vector are counted, the first are named."""
        if not len(block.missing):
            return block
        self.skipped += len(block.missing)
        unnamed = [block.keys[i] for i in block.missing][: NAMED - len(self.skipped_keys)]
        self.skipped_keys += self.source.named(unnamed)
        if self.destination.keeps_nulls:
            return block
        return kept(block, ~absent(block))

    def report(self, rows: int, written: int, *, verified: int = 0, dry_run: bool = False) -> Migration:
        """What has been done."""
        return Migration(
            source=str(self.source),
            destination=str(self.destination),
            widths=self.bridge.shape,
            total=self.count,
            rows=rows,
            written=written,
            seconds=time.perf_counter() - self.start,
            mapping=self.mapping,
            verified=verified,
            dry_run=dry_run,
            caught_up=self.caught_up,
            uncaught=self.uncaught,
            skipped=self.skipped,
            skipped_keys=tuple(self.skipped_keys),
            notes=(*self.notes, *self.destination.notes),
        )


def _is_same_source(noted: str, source: Store) -> bool:
    """Whether a checkpoint names this source; version 0.1.0 noted the address as the user had spelled it."""
    if noted in (source.identity(), str(source)):
        return True
    try:
        earlier = open_store(noted)
        where = (store.address.options.get("where") for store in (earlier, source))
        return earlier.place() == source.place() and earlier.column in (None, source.column) and len(set(where)) == 1
    except (ValueError, OSError):
        return False


def _check_not_mapped(source: Store, bridge: LinearMap | Copy) -> list[str]:
    """Refuse a source whose vectors a migration has moved to a space that this map does not lead from.

    Returns a note where another map has made them.
    """
    made = source.origin()
    if made is None or isinstance(bridge, Copy) or made_by(made) is None:
        return []
    if made_by(made) == bridge.fingerprint:
        raise ValueError(f"{source}: this aligner has mapped its vectors already, from {made.source}")
    space, name = made.space, spaces.names(bridge.history)[0]
    if space and name and space != name:
        there = f"another aligner has mapped its vectors to the space {space!r} already, from {made.source}"
        raise ValueError(f"{source}: {there}; this aligner leads from {name!r}: give one that leads from {space!r}")
    there = f" to the space {space!r}" if space else ""
    return [
        f"{source}: another aligner has mapped its vectors{there}, from {made.source}; this one maps them once more"
    ]
