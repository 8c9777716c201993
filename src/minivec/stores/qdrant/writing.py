"""How a Qdrant collection is made and written, and how a migration notes its state there."""

from collections.abc import Sequence
from functools import cached_property
from typing import Any

from minivec.stores.base import Block, Store, locked
from minivec.stores.checkpoint import Checkpoint
from minivec.stores.errors import Refused
from minivec.stores.lease import Lease
from minivec.stores.qdrant import settings
from minivec.stores.qdrant.notes import Notes
from minivec.stores.qdrant.points import as_points

IDS = 10_000  # ids asked for, or removed, at a time


class QdrantWriting:
    """The part of the store that is a destination."""

    @cached_property  # it knows under which name it has found the state
    def _notes(self: Any) -> Notes:
        return Notes(self._client, self, self.name, self._asked)

    def lock(self: Any) -> None:
        """Hold a file beside a local collection; on a server a record with a sign of life."""
        if self.address.local:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._held.enter_context(locked(self.folder / f".{self.name}.lock"))
            return
        self._notes.make()
        self._lease = self._held.enter_context(Lease(str(self), self._notes.holder, self._notes.hold))

    def checkpoint(self: Any) -> Checkpoint | None:
        """The payload about the vector in the collection of checkpoints."""
        there = self._exists(self.name)
        if there and self._asked:
            vectors = self._info().config.params.vectors
            there = isinstance(vectors, dict) and self._asked in vectors
        if not there:
            return None
        state: Checkpoint | None = self._notes.state()
        begun = state is not None and (state.rows or state.in_place or "made" in state.own)
        if state is None or not begun and self.count():  # points that came after a run was killed while it made it
            raise Refused(f"{self}: it exists, and no migration has made it; name another one")
        return state

    def plan(self: Any, source: Store, width: int) -> None:
        """Refused where the vector of the address is one that another collection than the source's lacks."""
        self._in_place(source)

    def _in_place(self: Any, source: Store) -> bool:
        """Whether a vector of the source's own collection is made; Refused where it would be one of another."""
        there = bool(self._exists(self.name))
        if there and self.place() != source.place():
            raise Refused(f"{self}: it exists, and is not {source}'s own collection; name a new one")
        return there

    def _plan(self: Any, source: Store, checkpoint: Checkpoint) -> Checkpoint:
        """The state with the new vector's name, and whether it is one of the source's own collection."""
        in_place = self._in_place(source)
        column = source.schema().column if _of_qdrant(source) is not None else None
        if in_place and column is None:
            raise Refused(f"{self}: {source} has vectors without names; name a new collection")
        return checkpoint.but(new_column=self._asked or column, in_place=in_place)

    def create(self: Any, source: Store, width: int, checkpoint: Checkpoint) -> Checkpoint:
        """A new named vector of the source's collection, or a new collection like it."""
        state = self._plan(source, checkpoint)
        self._note(state)  # first: a collection without a note would not be known again
        self.create_rest(source, width, state)
        self.resume(state)
        return state

    def create_rest(self: Any, source: Store, width: int, checkpoint: Checkpoint) -> None:
        """Make the settings and payload indexes that are not there yet, and note that they are."""
        self._make(self._client, source, width, checkpoint)
        self._note(checkpoint.keep(made=True))

    def _make(self: Any, client: Any, source: Any, width: int, state: Checkpoint) -> None:
        column, name = source.schema().column, state.new_column
        info = None if (own := _of_qdrant(source)) is None else own._info()
        with self.guard():
            if info is not None and state.in_place:
                settings.add_vector(client, self.name, info.config.params.vectors[column], str(name), width)
            else:
                settings.add_collection(client, self.name, info, (column, name), width)

    def rehearse(self: Any, source: Store, width: int, block: Block) -> list[str]:
        """Make the collection and write the block in memory."""
        from qdrant_client import QdrantClient

        state = self._plan(source, Checkpoint("", "", 0)).but(in_place=False)
        client = QdrantClient(":memory:")
        self._make(client, source, width, state)
        with self.guard():
            client.upsert(self.name, as_points(block, state.new_column, False)[0])
        client.close()
        return self.losses(source)

    def losses(self: Any, source: Store) -> list[str]:
        """What is stored otherwise."""
        own = _of_qdrant(source)
        return [] if own is None else settings.losses(own._info(), source.schema().column)

    def _note(self: Any, state: Checkpoint) -> None:
        self._notes.note(state)

    def write(self: Any, block: Block, checkpoint: Checkpoint) -> None:
        """Upsert points, or set one vector of theirs, then note the state."""
        self.replace(block, checkpoint)
        self._note(checkpoint)

    def replace(self: Any, block: Block, checkpoint: Checkpoint) -> None:
        """Upsert points, or set one vector of theirs."""
        if self._lease is not None:
            self._lease.check()
        client, name, in_place = self._client, checkpoint.new_column, checkpoint.in_place
        points, sizes = as_points(block, name, in_place)
        call, most = client.update_vectors if in_place else client.upsert, self._strictly("upsert_max_batchsize")
        with self.guard():
            self._requests.send(sizes, lambda rows: call(self.name, points[rows], wait=True), most)
            if in_place and len(block.missing):
                client.delete_vectors(self.name, [name], [block.keys[i] for i in block.missing], wait=True)

    def remove(self: Any, keys: Sequence[Any], checkpoint: Checkpoint) -> None:
        """Delete points, then note the state."""
        if self._lease is not None:
            self._lease.check()
        for start in range(0, len(keys), IDS):
            with self.guard():
                self._client.delete(self.name, list(keys[start : start + IDS]), wait=True)
        self._note(checkpoint)


def _of_qdrant(source: Any) -> Any:
    """The source, if it is a collection of Qdrant, or None."""
    return source if isinstance(source, QdrantWriting) else None
