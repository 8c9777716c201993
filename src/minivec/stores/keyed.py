"""What databases of rows by key without versions have in common: they hand on Arrow, and notes keep the state."""

import json
import weakref
from abc import abstractmethod
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

from minivec.stores.address import Address
from minivec.stores.aliasing import Aliased
from minivec.stores.arrow import with_vectors
from minivec.stores.base import Block, Changes, Store, locked
from minivec.stores.blocks import Sized, in_turn
from minivec.stores.checkpoint import Checkpoint
from minivec.stores.errors import Refused
from minivec.stores.lease import Lease
from minivec.stores.requests import BYTES, Requests
from minivec.stores.seen import Seen

TOGETHER = 4_096  # rows that are read again together
GROWTH = 4_096  # bytes that a state may grow by: a key, and when it was compared and cut over


class Keyed(Aliased, Store):
    """Rows are upserted by key, and then the state is noted. Changes are found by fingerprints of the rows.

    A subclass reads rows, sends and deletes them, makes a destination, and keeps notes, which are texts by name.
    """

    kind = "arrow"
    note_bytes: ClassVar[int | None] = None  # of the longest note, where it has a limit
    _client: Any  # the vendor's, made when it is first asked for something

    def __init__(self, address: Address):
        super().__init__(address)
        self.where: str | None = None
        self.name = ""
        self._asked: str | None = None  # the column that the address names
        self._old_column: str | None = None  # of a destination that is a new column of the source's own rows
        self._held, self._requests = ExitStack(), Requests(self._too_large)
        self._lease: Lease | None = None
        self._closing: list[Any] = []  # what is called when the store is closed, or gone
        self._seen: Seen | None = None
        self._payload = True

    @abstractmethod
    def _exists(self, name: str) -> bool:
        """Whether there is a collection or index of this name."""

    @abstractmethod
    def _has(self, column: str) -> bool:
        """Whether it has this column of vectors."""

    @abstractmethod
    def _make(self, source: Store, width: int, state: Checkpoint) -> Checkpoint:
        """Make the destination, instead of an empty one that is there; the state with what the store keeps."""

    @abstractmethod
    def _send(self, block: Block, state: Checkpoint) -> None:
        """Write rows whose keys may be there."""

    @abstractmethod
    def _delete(self, keys: Sequence[Any]) -> None:
        """Delete rows, which may be gone."""

    @abstractmethod
    def _read_note(self, name: str) -> str | None:
        """The note of this name."""

    @abstractmethod
    def _write_note(self, name: str, text: str | None) -> None:
        """Write a note, or delete it."""

    @abstractmethod
    def _note_names(self) -> list[str]:
        """The names of all notes."""

    @staticmethod
    def _too_large(error: Exception) -> bool:
        """Whether a server refuses a request for its size."""
        return False

    def _page(self, size: int) -> int:
        """How many rows of at most ``size`` to ask for together."""
        return max(1, min(size, BYTES // (4 * self.schema().width + 1_024)))

    def _of(self, collection: str, column: str | None) -> Any:
        store = super()._of(collection, column)
        store._asked = column
        vars(store)["_client"] = self._client
        return store

    @property
    def tells_changes(self) -> bool:  # type: ignore[override]
        """Where this run has read all rows itself."""
        return self._seen is not None

    def pin(self, version: Any = None) -> None:
        """None; the rows that a new migration reads are remembered."""
        if version is None and self._seen is None:
            self._seen = Seen()

    def blocks(self, size: int, after: Any = None, payload: bool = True) -> Iterator[Block]:
        """Rows by key; a position is the last key. The payload is a table, whose last column is the vectors."""
        if after is not None:  # what lies before it is not known
            self._seen = None
        self._payload, column = payload, str(self.schema().column)
        for block in self._blocks(size, after):
            if self._seen is not None:
                self._seen.add(block)
            yield block._replace(payload=with_vectors(block, None, column)) if payload else block

    def _blocks(self, size: int, after: Any = None) -> Iterator[Block]:
        """The same, with no vectors in the payload; here each block is fetched by its keys."""
        keys, sized = self.keys(), Sized(self._page(size))
        start = 0 if after is None else bisect_right(keys, after)
        for block in in_turn(keys, partial(self.fetch, payload=self._payload), sized, start):
            if len(block.keys):
                yield block

    def changes(self, since: Any) -> Changes | None:
        """The rows that are otherwise than when they were read: all are read again."""
        return None if self._seen is None else self._seen.changes(self._blocks(TOGETHER))

    def lock(self) -> None:
        """Hold a file beside a local database; on a server a record with a sign of life."""
        if self.address.local:
            place = Path(self.place().partition("://")[2])
            place.parent.parent.mkdir(parents=True, exist_ok=True)
            self._held.enter_context(locked(place.parent.with_name(f".{place.parent.name}.{place.name}.lock")))
            return
        name = f"lock:{self.name}/{self._asked or ''}"

        def holder() -> dict[str, Any] | None:
            text = self._read_note(name)
            return None if text is None else json.loads(text)

        def hold(record: dict[str, Any] | None) -> None:
            self._write_note(name, None if record is None else json.dumps(record))

        self._lease = self._held.enter_context(Lease(str(self), holder, hold))

    def _noted(self) -> Checkpoint | None:
        """The state of the column that the address names, or of the collection."""
        for name in ([f"{self.name}/{self._asked}"] if self._asked else []) + [self.name]:
            text = self._read_note(name)
            if text is not None:
                state = Checkpoint.from_json(text, self)
                return state if self._asked in (None, state.new_column) else None
        return None

    def _note(self, state: Checkpoint) -> None:
        self._write_note(f"{self.name}/{state.new_column}" if state.in_place else self.name, state.to_json())

    def checkpoint(self) -> Checkpoint | None:
        """The note about the destination; None, too, where it has not the column that the address names."""
        if not self._exists(self.name) or (self._asked and not self._has(self._asked)):
            return None
        state = self._noted()
        if state is not None and "made" in state.own:
            return state
        if state is None or not (state.in_place or self.count() == 0):
            raise self._foreign()
        return None  # killed while it was made

    def _foreign(self) -> Refused:
        return Refused(f"{self}: it exists, and no migration has made it; name another one")

    def _in_place(self, source: Store) -> bool:
        """Whether the destination is a new column of the source's own rows."""
        return False

    def plan(self, source: Store, width: int) -> None:
        """Refused where ``_make`` would replace more than what a run has left empty that was killed while it made it.

        ``checkpoint`` cannot tell: to it, what lacks the column of the address may be the source itself.
        """
        if not self._exists(self.name) or self._in_place(source):
            return
        text = self._read_note(self.name)
        if text is None or "made" in Checkpoint.from_json(text, self).own or self.count():
            raise self._foreign()

    def origin(self) -> Checkpoint | None:
        """The state of the migration that made this source's vectors, also where it is named by an alias."""
        column = self.schema().column
        state: Checkpoint | None = self._of(self._target() or self.name, column)._noted()
        return state

    def resume(self, checkpoint: Checkpoint) -> None:
        """Take over its column."""
        super().resume(checkpoint)
        self._old_column = checkpoint.column if checkpoint.in_place else None

    def accepts(self, source: Store) -> None:
        """Arrow data, and arrays."""
        if source.kind != "array":
            super().accepts(source)

    def _new_column(self, source: Store) -> str:
        schema, name = source.schema(), self._asked or source.schema().column or "vector"
        if name in schema.payload:
            raise Refused(f"{self}: {source} has another column {name!r}; name one for the vectors (column=)")
        return name

    def create(self, source: Store, width: int, checkpoint: Checkpoint) -> Checkpoint:
        """Note the state, make the destination, and note that it is made."""
        self.plan(source, width)  # again, as it is locked now
        state = self._plan(source, checkpoint)
        size = len(json.dumps(state.to_json()).encode()) + GROWTH
        if self.note_bytes is not None and size > self.note_bytes:
            told = f"the state of this migration takes up to {size:,} bytes, and a note at most {self.note_bytes:,}"
            raise Refused(f"{self}: {told}; a folder of many files makes it long: join them into fewer ones")
        self._note(state)  # first: a collection without a note would not be known again
        state = self._make(source, width, state).keep(made=True)
        self._note(state)
        self.resume(state)
        return state

    def _plan(self, source: Store, checkpoint: Checkpoint) -> Checkpoint:
        """The state with the new column's name; Refused where it cannot be made."""
        return checkpoint.but(new_column=self._new_column(source))

    def rehearse(self, source: Store, width: int, block: Block) -> list[str]:
        """Check the names. Nothing is tried: a server keeps traces of what is made and removed."""
        self._plan(source, Checkpoint("", "", 0))
        return self.losses(source)

    def write(self, block: Block, checkpoint: Checkpoint) -> None:
        """Upsert rows, in requests of a size that the server takes, then note the state."""
        self.replace(block, checkpoint)
        self._note(checkpoint)

    def replace(self, block: Block, checkpoint: Checkpoint) -> None:
        """Upsert rows."""
        if self._lease is not None:
            self._lease.check()
        self._send(block, checkpoint)

    def remove(self, keys: Sequence[Any], checkpoint: Checkpoint) -> None:
        """Delete rows, then note the state."""
        if self._lease is not None:
            self._lease.check()
        self._delete(keys)
        self._note(checkpoint)

    def carry(self, block: Block) -> None:
        """Write rows that may be there."""
        self._send(block, Checkpoint("", "", 0, new_column=self.schema().column))

    def drop(self, keys: Sequence[Any]) -> None:
        """Delete rows."""
        self._delete(keys)

    def migrations(self) -> list[tuple[str, Checkpoint]]:
        """Those of the database."""
        notes = {name: self._read_note(name) for name in self._note_names() if not name.startswith("lock:")}
        return [(name, Checkpoint.from_json(text, self)) for name, text in notes.items() if text is not None]

    def _close_later(self, close: Callable[[], Any]) -> None:
        """Call ``close`` when the store is closed, or gone without that: some clients complain of what stays open."""
        self._closing.append(weakref.finalize(self, close))

    def close(self) -> None:
        """Let go of the lock and the connection."""
        self._held.close()
        vars(self).pop("_client", None)
        while self._closing:
            self._closing.pop()()
