"""How a Pinecone index is made and written."""

import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from minivec.stores.base import Block
from minivec.stores.blocks import first_key
from minivec.stores.checkpoint import Checkpoint
from minivec.stores.errors import Refused, StoreError
from minivec.stores.pinecone import settings
from minivec.stores.pinecone.rows import as_records, ids_of

MOST = 1_000  # records of a request
READY, SEEN = 600, 120.0  # seconds until a new index is ready, and until what was written is read
PAUSE = 0.05, 2.0  # seconds between two looks at what was written, at first and at most


class PineconeWriting:
    """The part of the store that is a destination."""

    _written: tuple[str, Any] | None
    _pending: dict[str, str]

    def _plan(self: Any, source: Any, checkpoint: Checkpoint) -> Checkpoint:
        settings.check_name(self, self.index)
        if _of_pinecone(source) is not None:
            return checkpoint.but(new_column="values")
        return checkpoint.but(new_column="values").keep(numbers=not isinstance(first_key(source), str))

    def rehearse(self: Any, source: Any, width: int, block: Block) -> list[str]:
        """Check the names, what is there, and the first records."""
        told: list[str] = super().rehearse(source, width, block)  # type: ignore[misc]
        self._check_taker(width)
        as_records(block, (source.schema().column,), self)
        return told

    def create(self: Any, source: Any, width: int, checkpoint: Checkpoint) -> Checkpoint:
        """Make the index, if there is none, and note that it is made."""
        self._check_taker(width)
        state: Checkpoint = super().create(source, width, checkpoint)  # type: ignore[misc]
        return state

    def _check_taker(self: Any, width: int) -> None:
        if (info := self._found()) is not None:
            settings.check_taker(info, width, self)

    def _make(self: Any, source: Any, width: int, state: Checkpoint) -> Checkpoint:
        if self._found() is None:
            like = _of_pinecone(source)
            info, metric = (None, "cosine") if like is None else (like._info(), like._metric())
            made = settings.created(info, metric, width)
            taken, client = self.client("pinecone").ConflictError, self._client
            with self.guard():
                try:
                    client.indexes.create(name=self.index, timeout=READY, **made)
                except taken:
                    raise self._met() from None
            waiting, self._pending = self._pending, {}
            for name, text in waiting.items():
                self._write_note(name, text)
        elif self._pending:
            raise self._met()
        return state

    def _metric(self: Any) -> str:
        dense = settings.fields(self._info()).get(settings.DENSE)
        return str((dense.metric if dense is not None else self._stats().metric) or "cosine")

    def losses(self: Any, source: Any) -> list[str]:
        """What a new index has otherwise."""
        return settings.losses(like._info()) if (like := _of_pinecone(source)) is not None else []

    def _send(self: Any, block: Block, state: Checkpoint) -> None:
        records, sizes = as_records(block, (state.column, state.new_column), self)

        def post(part: slice) -> None:
            self._ask("upsert", vectors=records[part])

        self._requests.send(sizes, post, MOST)
        if records:
            self._written = records[-1]["id"], records[-1]

    def _delete(self: Any, keys: Sequence[Any]) -> None:
        ids = ids_of(keys, self)
        for start in range(0, len(ids), MOST):
            self._ask("delete", ids=ids[start : start + MOST])
        if ids:
            self._written = ids[-1], None

    def _settle(self: Any) -> None:
        """Wait until what was written last is read: then all that was written before is, too."""
        if self._written is not None:
            key, sent = self._written

            def seen() -> bool:
                found = self._ask("fetch", ids=[key]).vectors.get(key)
                page = self._ask("list_paginated", prefix=key, limit=100).vectors
                listed = any(item.id == key for item in page)
                if sent is None or found is None:
                    return found is sent and not listed
                same = np.allclose(found.values, sent["values"], atol=1e-6)
                return listed and same and (found.metadata or {}) == sent.get("metadata", {})

            self._wait(seen, f"row {key}")
            self._written = None

    def _wait(self: Any, seen: Callable[[], bool], what: str) -> None:
        """Look until ``seen`` is true, for SEEN seconds at most."""
        end, pause = time.monotonic() + SEEN, PAUSE[0]
        while not seen():
            if time.monotonic() > end:
                raise StoreError(f"{self}: {what} was written, and is not read after {SEEN:.0f} seconds")
            time.sleep(pause)
            pause = min(2 * pause, PAUSE[1])

    def swap_steps(self: Any, source: Any) -> list[str]:
        """Refused: an index has no other name."""
        raise Refused(
            f"{self}: Pinecone has no aliases: let the application's configuration name the index {self.index!r} "
            f"(namespace {self.namespace!r}); {source} stays as it is, and is the way back"
        )

    def _target(self: Any) -> str | None:
        return None

    def _of(self: Any, collection: str, column: str | None) -> Any:
        return self


def _of_pinecone(source: Any) -> Any:
    """The source, if it is an index of Pinecone, or None."""
    return source if isinstance(source, PineconeWriting) else None
