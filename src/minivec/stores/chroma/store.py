"""Chroma, embedded or its server: ``chroma:///FOLDER/COLLECTION`` or ``chroma://HOST:PORT/COLLECTION``."""

import base64
import json
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from functools import cached_property
from itertools import repeat
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from minivec.stores.address import Address, says_yes
from minivec.stores.base import MIGRATIONS, Block, Changes, Schema, Store, locked
from minivec.stores.blocks import Sized, fetch_all, in_turn
from minivec.stores.checkpoint import Checkpoint
from minivec.stores.chroma.folder import copied, outdated
from minivec.stores.chroma.renaming import Renamed, states_in
from minivec.stores.chroma.settings import alike, function_of, settings_for
from minivec.stores.errors import Refused
from minivec.stores.lease import Lease
from minivec.stores.requests import NUMBER, Patient, Requests, page
from minivec.stores.seen import Seen

PAGE = 5_000  # ids asked for at a time
REST = "documents", "metadatas", "uris"  # of a record, beside its vector


class ChromaStore(Renamed, Store):
    """A collection: its ids are the keys, their order is that of the texts.

    What follows the scheme is a folder where it starts with ``/``, ``.`` or ``~``, and a host otherwise; ``ssl=true``,
    ``tenant`` and ``database`` are options. ``USER:PASSWORD@`` is sent as basic authentication and ``:TOKEN@`` as a
    bearer token; without them, Chroma's own environment variables hold. A destination is a new collection with the
    same metadata and index settings, and without an embedding function. The checkpoint lies in a collection of its
    own, written behind the rows, which are upserted. ``where`` is a filter of Chroma as JSON.

    A folder of an older Chroma is read as a copy until something is written, because the client upgrades what it
    opens. Rows have no versions: changes are found by fingerprints, which are kept in a temporary file.
    """

    kind = "chroma"
    extra = "chroma"

    def __init__(self, address: Address):
        super().__init__(address)
        self.tls, self.tenant, self.database, self.where = address.take("ssl", "tenant", "database", "where")
        self._held, self._requests = ExitStack(), Requests(_too_large)
        self._lease: Lease | None = None
        self._writes = self._upgrades = False
        self._seen: Seen | None = None
        if address.local:
            self.folder, self.name = address.split()
        elif not address.host or not address.path or "/" in address.path:
            raise Refused(f"{self}: expected chroma:///FOLDER/COLLECTION or chroma://HOST:PORT/COLLECTION")
        else:
            self.name = address.path

    @property
    def tells_changes(self) -> bool:  # type: ignore[override]
        """Where this run has read all rows itself."""
        return self._seen is not None

    def place(self) -> str:
        """The absolute path, or the host and port, with tenant and database."""
        if self.address.local:
            place = f"chroma://{self.folder.resolve() / self.name}"
        else:
            place = f"chroma://{self.address.host}:{self.address.port or 8000}/{self.name}"
        return "/".join(filter(None, (place, self.tenant, self.database)))

    @cached_property
    def _client(self) -> Any:
        chromadb = self.client("chromadb")
        place = {name: v for name, v in (("tenant", self.tenant), ("database", self.database)) if v}
        with self.guard():
            if self.address.local:
                return chromadb.PersistentClient(str(self._opened()), **place)
            tls = says_yes(self.tls)
            port = self.address.port or (443 if tls else 8000)
            patient = Patient(chromadb, self.client("chromadb.api").ClientAPI, chromadb.Collection)
            return patient.HttpClient(self.address.host, port, ssl=tls, headers=self._headers(), **place)

    def _opened(self) -> Path:
        """The folder, or, of an older Chroma, a copy of it until something is written."""
        return copied(self.folder) if not self._writes and self._outdated() else self.folder

    def _outdated(self) -> bool:
        return self.address.local and self.folder.exists() and outdated(self.folder)

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
        return Schema(None, "id", self._width, ("document", "metadata", "uri"))

    @cached_property
    def _width(self) -> int:
        collection, where = self._collection, self._where
        with self.guard():
            first = collection.get(limit=1, where=where, include=["embeddings"])["embeddings"]
        return len(first[0]) if len(first) else 0

    @cached_property
    def _where(self) -> Any:
        """The filter of the address, or None."""
        if self.where is None:
            return None
        try:
            return json.loads(self.where)
        except ValueError:
            raise Refused(f"{self}: where must be a filter of Chroma as JSON, got {self.where!r}") from None

    def count(self) -> int:
        """The collection's, or the rows of the filter."""
        collection = self._collection
        if self._where is not None:
            return len(self.keys())
        with self.guard():
            return collection.count()

    def keys(self) -> Sequence[str]:
        """All ids, sorted."""
        collection, where = self._collection, self._where
        ids: list[str] = []
        with self.guard():
            while found := collection.get(limit=PAGE, offset=len(ids), where=where, include=[])["ids"]:
                ids += found
        return sorted(ids)

    def blocks(self, size: int, after: Any = None, payload: bool = True) -> Iterator[Block]:
        """Rows by id; a position is the last id."""
        keys = self.keys()
        start = 0 if after is None else bisect_right(keys, after)
        if start:  # what lies before it is not known
            self._seen = None
        for block in in_turn(keys, self.fetch, Sized(size), start):
            if self._seen is not None:
                self._seen.add(block)
            if len(block.keys):
                yield block

    def pin(self, version: Any = None) -> None:
        """None; the rows that a new migration reads are remembered."""
        if version is None and self._seen is None:
            self._seen = Seen()

    def changes(self, since: Any) -> Changes | None:
        """The rows that are otherwise than when they were read: all are read again."""
        if self._seen is None:
            return None
        return self._seen.changes(fetch_all(self, self.keys()))

    def fetch(self, keys: Sequence[str], payload: bool = True) -> Block:
        """The rows with these ids; the payload is a list of (document, metadata, uri)."""
        collection, size = self._collection, page(PAGE, self._width)
        found: dict[str, Any] = {}
        include = ["embeddings", *(REST if payload else ())]
        for start in range(0, len(keys), size):
            with self.guard():
                rows = collection.get(ids=list(keys[start : start + size]), include=include)
            rest = zip(*(rows[name] or repeat(None, len(rows["ids"])) for name in REST), strict=True)
            found |= dict(zip(rows["ids"], zip(rows["embeddings"], rest, strict=True), strict=True))
        return self._block([key for key in keys if key in found], found)

    def _block(self, keys: list[str], found: dict[str, Any]) -> Block:
        if not keys:
            return Block([], np.empty((0, 0), np.float32), [], None)
        vectors = np.array([found[key][0] for key in keys], np.float32)
        return Block(keys, vectors, [found[key][1] for key in keys], keys[-1])

    def alike(self, one: Any, other: Any) -> bool:
        """Whether two rows are equal but for the last digits of numbers, which Chroma rounds each time it stores."""
        return alike(one, other)

    def checkpoint(self) -> Checkpoint | None:
        """The document about the collection in the collection of checkpoints."""
        there = self._find(self.name)
        if there is None:
            return None
        notes = self._find(MIGRATIONS)
        with self.guard():
            found = notes.get(ids=[self.name])["documents"] if notes else []
            empty = there.count() == 0
        state = Checkpoint.from_json(found[0], self) if found else None
        if state is not None and state.own.get("place") is None and empty:  # killed while it was made
            return None
        if state is None or state.own.get("place") != str(there.id):
            raise Refused(f"{self}: it exists, and no migration has made it; name another collection")
        return state

    def origin(self) -> Checkpoint | None:
        """By the collection's id, which it keeps under another name."""
        notes, place = self._find(MIGRATIONS), str(self._collection.id)
        with self.guard():
            found = notes.get(where_document={"$contains": place}) if notes else {"ids": [], "documents": []}
        made = states_in(found, self).values()
        return next((state for state in made if state.own.get("place") == place), None)

    def create(self, source: Store, width: int, checkpoint: Checkpoint) -> Checkpoint:
        """A collection like the source's, or, for another kind of source, one of cosine distance."""
        self._note(checkpoint.keep(place=None))
        with self.guard():
            if self._find(self.name) is not None:  # left empty by a run that was killed while it made it
                self._client.delete_collection(self.name)
            made = self._client.create_collection(self.name, embedding_function=None, **settings_for(source))
        state = checkpoint.keep(place=str(made.id))
        self._note(state)
        return state

    def rehearse(self, source: Store, width: int, block: Block) -> list[str]:
        """Make the collection and write the block in a folder that is removed again."""
        with TemporaryDirectory(prefix="minivec-chroma-", ignore_cleanup_errors=True) as folder, self.guard():
            client = self.client("chromadb").PersistentClient(folder)
            made = client.create_collection(self.name, embedding_function=None, **settings_for(source))
            self._upsert(made, block, slice(None))
        return self.losses(source)

    def losses(self, source: Store) -> list[str]:
        """The embedding function; and that the folder is upgraded."""
        told = []
        if isinstance(source, ChromaStore) and (function := function_of(source._collection)):
            told.append(
                f"embedding function {function!r} is left out: it would embed rows and queries by the old model; give "
                "get_collection the new model's"
            )
        if self._upgrades or self._outdated():
            told.append(f"{self.folder} is of an older Chroma: to write to it upgrades it for good")
        return told

    def _notes(self) -> Any:
        """The collection of checkpoints."""
        with self.guard():
            return self._client.get_or_create_collection(MIGRATIONS, embedding_function=None)

    def _note(self, state: Checkpoint) -> None:
        notes = self._notes()
        with self.guard():
            notes.upsert([self.name], embeddings=[[0.0]], documents=[state.to_json()])

    def lock(self) -> None:
        """Hold a file in the folder; on a server a record with a sign of life."""
        self._upgrades, self._writes = self._outdated(), True
        for name in ("_client", "_collection") if self._upgrades else ():  # which are those of a copy
            vars(self).pop(name, None)
        if self.address.local:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._held.enter_context(locked(self.folder / f".{self.name}.lock"))
            return
        self._lease = self._held.enter_context(Lease(str(self), self._holder, self._hold))

    def _holder(self) -> dict[str, Any] | None:
        notes = self._notes()
        with self.guard():
            found = notes.get(ids=[f"lock:{self.name}"])["documents"]
        return json.loads(found[0]) if found else None

    def _hold(self, record: dict[str, Any] | None) -> None:
        notes, place = self._notes(), [f"lock:{self.name}"]
        with self.guard():
            if record is None:
                notes.delete(ids=place)
            else:
                notes.upsert(place, embeddings=[[0.0]], documents=[json.dumps(record)])

    def write(self, block: Block, checkpoint: Checkpoint) -> None:
        """Upsert rows, in requests of a size that the server takes, then note the state."""
        self._send(block)
        self._note(checkpoint)

    def _send(self, block: Block) -> None:
        if self._lease is not None:
            self._lease.check()
        collection, size = self._collection, NUMBER * block.vectors.shape[1]
        sizes = [size + len(json.dumps(row, default=str)) for row in block.payload]
        with self.guard():
            most = self._client.get_max_batch_size()
            self._requests.send(sizes, lambda rows: self._upsert(collection, block, rows), most)

    @staticmethod
    def _upsert(collection: Any, block: Block, rows: slice) -> None:
        documents, metadatas, uris = zip(*block.payload[rows], strict=True)
        collection.upsert(
            list(block.keys[rows]),
            embeddings=np.ascontiguousarray(block.vectors[rows]),
            metadatas=list(metadatas) if any(metadatas) else None,
            documents=list(documents) if any(d is not None for d in documents) else None,
            uris=list(uris) if any(u is not None for u in uris) else None,
        )

    def replace(self, block: Block, checkpoint: Checkpoint) -> None:
        """Delete the rows and write them anew: to upsert would keep metadata that the source has no longer."""
        self._delete(block.keys)
        self._send(block)

    def remove(self, keys: Sequence[str], checkpoint: Checkpoint) -> None:
        """Delete rows, then note the state."""
        self._delete(keys)
        self._note(checkpoint)

    def _delete(self, keys: Sequence[str]) -> None:
        if self._lease is not None:
            self._lease.check()
        for start in range(0, len(keys), PAGE):
            with self.guard():
                self._collection.delete(ids=list(keys[start : start + PAGE]))

    def close(self) -> None:
        """Let go of the lock."""
        self._held.close()


def _too_large(error: Exception) -> bool:
    """Whether a server refuses a request for its size."""
    response = getattr(error.__context__, "response", None)
    return getattr(response, "status_code", None) == 413
