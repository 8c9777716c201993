"""Chroma, embedded or its server: ``chroma:///FOLDER/COLLECTION`` or ``chroma://HOST:PORT/COLLECTION``."""

import base64
import json
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Any

import numpy as np

from minivec.stores.base import MIGRATIONS, Address, Block, Refused, Schema, Store

PAGE = 5_000  # ids asked for at a time


class ChromaStore(Store):
    """A collection: its ids are the keys, their order is that of the texts.

    What follows the scheme is a folder where it starts with ``/``, ``.`` or ``~``, and a host otherwise; ``ssl=true``,
    ``tenant`` and ``database`` are options. ``USER:PASSWORD@`` is sent as basic authentication and ``:TOKEN@`` as a
    bearer token; without them, Chroma's own environment variables hold. A destination is a new collection with the
    same metadata and index settings. The checkpoint lies in a collection of its own, written behind the rows, which
    are upserted.
    """

    kind = "chroma"
    extra = "chroma"

    def __init__(self, address: Address):
        super().__init__(address)
        self.tls, self.tenant, self.database = address.take("ssl", "tenant", "database")
        if address.local:
            self.folder, self.name = address.split()
        elif not address.host or not address.path or "/" in address.path:
            raise Refused(f"{self}: expected chroma:///FOLDER/COLLECTION or chroma://HOST:PORT/COLLECTION")
        else:
            self.name = address.path

    @cached_property
    def _client(self) -> Any:
        chromadb = self.client("chromadb")
        place = {name: v for name, v in (("tenant", self.tenant), ("database", self.database)) if v}
        with self.guard():
            if self.address.local:
                return chromadb.PersistentClient(str(self.folder), **place)
            tls = (self.tls or "").lower() in ("true", "1", "yes")
            port = self.address.port or (443 if tls else 8000)
            return chromadb.HttpClient(self.address.host, port, ssl=tls, headers=self._headers(), **place)

    def _headers(self) -> dict[str, str]:
        user, password = self.address.user, self.address.password
        if password is None:
            return {}
        if not user:
            return {"Authorization": f"Bearer {password}", "X-Chroma-Token": password}
        return {"Authorization": "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()}

    def _find(self, name: str) -> Any:
        """A collection, or None."""
        errors = self.client("chromadb.errors")
        if self.address.local and not self.folder.exists():  # the client would make it
            return None
        client = self._client
        with self.guard():
            try:
                return client.get_collection(name, embedding_function=None)
            except errors.NotFoundError:
                return None

    @cached_property
    def _collection(self) -> Any:
        found = self._find(self.name)
        if found is None:
            raise Refused(f"{self}: no collection {self.name!r}")
        return found

    def schema(self) -> Schema:
        """The width is that of the first vector."""
        with self.guard():
            first = self._collection.get(limit=1, include=["embeddings"])["embeddings"]
        return Schema(None, "id", len(first[0]) if len(first) else 0, ("document", "metadata", "uri"))

    def count(self) -> int:
        """The collection's."""
        collection = self._collection
        with self.guard():
            return collection.count()

    def keys(self) -> Sequence[str]:
        """All ids, sorted."""
        collection = self._collection
        ids: list[str] = []
        with self.guard():
            while page := collection.get(limit=PAGE, offset=len(ids), include=[])["ids"]:
                ids += page
        return sorted(ids)

    def blocks(self, size: int, after: Any = None, payload: bool = True) -> Iterator[Block]:
        """Rows by id; a position is the last id."""
        keys = self.keys()
        start = 0 if after is None else bisect_right(keys, after)
        for i in range(start, len(keys), size):
            block = self.fetch(keys[i : i + size])
            if len(block.keys):
                yield block

    def fetch(self, keys: Sequence[str]) -> Block:
        """The rows with these ids; the payload is a list of (document, metadata, uri)."""
        collection = self._collection
        found: dict[str, Any] = {}
        with self.guard():
            for start in range(0, len(keys), PAGE):
                wanted = list(keys[start : start + PAGE])
                some = collection.get(ids=wanted, include=["embeddings", "documents", "metadatas", "uris"])
                rest = zip(some["documents"], some["metadatas"], some["uris"], strict=True)
                found |= dict(zip(some["ids"], zip(some["embeddings"], rest, strict=True), strict=True))
        return self._block([key for key in keys if key in found], found)

    def _block(self, keys: list[str], found: dict[str, Any]) -> Block:
        if not keys:
            return Block([], np.empty((0, 0), np.float32), [], None)
        vectors = np.array([found[key][0] for key in keys], np.float32)
        return Block(keys, vectors, [found[key][1] for key in keys], keys[-1])

    def checkpoint(self) -> dict[str, Any] | None:
        """The document about the collection in the collection of checkpoints."""
        there = self._find(self.name)
        if there is None:
            return None
        notes = self._find(MIGRATIONS)
        with self.guard():
            found = notes.get(ids=[self.name])["documents"] if notes else []
            empty = there.count() == 0
        state = json.loads(found[0]) if found else {"place": ""}
        if state["place"] is None and empty:  # killed while it was made
            return None
        if state["place"] != str(there.id):
            raise Refused(f"{self}: it exists, and no migration has made it; name another collection")
        return state

    def create(self, source: Store, width: int, state: dict[str, Any]) -> None:
        """A collection like the source's."""
        if not isinstance(source, ChromaStore):
            raise TypeError(f"{self}: expected a Chroma source, got {source}")
        old = source._collection
        configuration = {name: value for name, value in old.configuration.items() if name != "embedding_function"}
        configuration = {name: value for name, value in configuration.items() if value}
        state["place"] = None
        self._note(state)
        with self.guard():
            made = self._client.get_or_create_collection(
                self.name, metadata=old.metadata, configuration=configuration, embedding_function=None
            )
        state["place"] = str(made.id)
        self._note(state)

    def _note(self, state: dict[str, Any]) -> None:
        with self.guard():
            notes = self._client.get_or_create_collection(MIGRATIONS, embedding_function=None)
            notes.upsert([self.name], embeddings=[[0.0]], documents=[json.dumps(state)])

    def write(self, block: Block, state: dict[str, Any]) -> None:
        """Upsert rows, as many as the client takes at a time, then note the state."""
        with self.guard():
            size = self._client.get_max_batch_size()
        for start in range(0, len(block.keys), size):
            some = slice(start, start + size)
            documents, metadatas, uris = zip(*block.payload[some], strict=True)
            with self.guard():
                self._collection.upsert(
                    list(block.keys[some]),
                    embeddings=np.ascontiguousarray(block.vectors[some]),
                    metadatas=list(metadatas) if any(metadatas) else None,
                    documents=list(documents) if any(d is not None for d in documents) else None,
                    uris=list(uris) if any(u is not None for u in uris) else None,
                )
        self._note(state)
