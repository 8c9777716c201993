"""Qdrant: ``qdrant://HOST:PORT/COLLECTION?column=VECTOR``, or ``qdrant:///FOLDER/COLLECTION`` for its local mode."""

import atexit
import json
import os
import warnings
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from functools import cache, cached_property
from typing import Any
from uuid import NAMESPACE_URL, uuid5

import numpy as np

from minivec.stores.base import MIGRATIONS, Address, Block, Refused, Schema, Store, locked
from minivec.stores.lease import Lease
from minivec.stores.qdrant_settings import added, collection_like, indexes
from minivec.stores.requests import NUMBER, Requests, page


@cache
def local_client(path: str) -> Any:
    """The client of a folder: there can be but one at a time, and a migration is from and to the same."""
    from qdrant_client import QdrantClient

    client = QdrantClient(path=path)
    atexit.register(client.close)  # which it would do too late itself, and say so
    return client


class QdrantStore(Store):
    """A collection, by point id. ``column`` names the vector where the collection has named ones.

    What follows the scheme is a folder where it starts with ``/``, ``.`` or ``~``, and a host otherwise. ``:KEY@`` or
    the variable QDRANT_API_KEY is the API key, ``https=true`` an option. A destination is a new collection with the
    same settings and all other vectors, or a new named vector of the source's own collection, where the server is new
    enough to add one. The checkpoint lies in a collection of its own, written behind the rows, which are upserted.
    """

    kind = "qdrant"
    extra = "qdrant"

    def __init__(self, address: Address):
        super().__init__(address)
        self.column, self.tls, self.where, timeout = address.take("column", "https", "where", "timeout")
        if timeout is not None and not timeout.isdecimal():
            raise Refused(f"{self}: timeout must be whole seconds, got {timeout!r}")
        self._timeout = int(timeout or 60)
        self._asked = self.column
        if address.local:
            self.folder, self.name = address.split()
        elif not address.host or not address.path or "/" in address.path:
            raise Refused(f"{self}: expected qdrant://HOST:PORT/COLLECTION or qdrant:///FOLDER/COLLECTION")
        else:
            self.name = address.path
        self._held, self._requests = ExitStack(), Requests(_too_large)
        self._lease: Lease | None = None
        self._schema: Schema | None = None

    @cached_property
    def _client(self) -> Any:
        qdrant = self.client("qdrant_client")
        with self.guard():
            if self.address.local:
                return local_client(str(self.folder.resolve()))
            key = self.address.password or os.environ.get("QDRANT_API_KEY")
            tls = (self.tls or "").lower() in ("true", "1", "yes")
            port = self.address.port or 6333
            with warnings.catch_warnings(action="ignore"):  # of a key without TLS, and of versions that may not fit
                return qdrant.QdrantClient(
                    host=self.address.host, port=port, https=tls, api_key=key, timeout=self._timeout
                )

    @property
    def _place(self) -> tuple[Any, ...]:
        """Where the collection is."""
        return (self.folder.resolve() if self.address.local else (self.address.host, self.address.port)), self.name

    @property
    def _models(self) -> Any:
        return self.client("qdrant_client.models")

    def _info(self) -> Any:
        """The collection's settings; ValueError where there is no such collection."""
        if not self._exists(self.name):
            raise Refused(f"{self}: no collection {self.name!r}")
        with self.guard():
            return self._client.get_collection(self.name)

    def _exists(self, name: str) -> bool:
        if self.address.local and not self.folder.exists():  # the client would make it
            return False
        client = self._client
        with self.guard():
            return client.collection_exists(name)

    def schema(self) -> Schema:
        """The only vector, where none is named. Vectors of several rows per point (multivectors) are refused."""
        if self._schema is None:  # a vector that is added to the collection later does not make it ambiguous
            self._schema = self._find()
        return self._schema

    def _find(self) -> Schema:
        parameters = self._info().config.params
        column, vectors = self.column, parameters.vectors
        if not isinstance(vectors, dict):
            if column is not None:
                raise Refused(f"{self}: its vectors have no names, got column {column!r}")
            vectors = {"": vectors} if vectors is not None else {}
        if column is None and len(vectors) == 1:
            column = next(iter(vectors))
        if column not in vectors:
            wanted = f"no vector named {column!r}" if column else "name one vector (column=)"
            raise Refused(f"{self}: {wanted}; there is {', '.join(vectors) or 'none'}")
        if vectors[column].multivector_config is not None:
            name = f"vector {column!r}" if column else "the vector"
            raise Refused(f"{self}: {name} has several rows for each point (a multivector), which cannot be mapped")
        others = [*vectors, *(parameters.sparse_vectors or {})]
        others = [name for name in others if name != column]
        return Schema(column or None, "id", vectors[column].size, ("payload", *others))

    def _filter(self, present: bool = True) -> Any:
        """The points of the address that have the vector, or those that have not."""
        models, where = self._models, self._where
        has = models.HasVectorCondition(has_vector=self.schema().column or "")
        must = [where] if where is not None else []
        return models.Filter(must=[*must, has]) if present else models.Filter(must=must or None, must_not=[has])

    @cached_property
    def _where(self) -> Any:
        """The filter of the address, or None."""
        if self.where is None:
            return None
        try:
            return self._models.Filter.model_validate_json(self.where)
        except ValueError:
            raise Refused(f"{self}: where must be a filter of Qdrant as JSON, got {self.where!r}") from None

    def _strictly(self, limit: str) -> int:
        """A limit that the collection's strict mode sets, or 0."""
        strict = getattr(self._info().config, "strict_mode_config", None)
        return (getattr(strict, limit, None) or 0) if strict is not None and strict.enabled else 0

    def count(self) -> int:
        """Points that have the vector."""
        client, wanted = self._client, self._filter()
        with self.guard():
            return client.count(self.name, count_filter=wanted, exact=True).count

    def check(self) -> None:
        """Every point has the vector."""
        client, wanted = self._client, self._filter(present=False)
        with self.guard():
            points, _ = client.scroll(self.name, wanted, limit=5, with_payload=False)
        if points:
            listed = ", ".join(str(point.id) for point in points)
            raise Refused(f"{self}: no vector in points {listed}" + (", ..." if len(points) == 5 else ""))

    def _pages(self, size: int, after: Any, **what: Any) -> Iterator[list[Any]]:
        """Points by id, behind ``after``."""
        client, start, where = self._client, after, self._where
        most = self._strictly("max_query_limit") or size + 1
        while True:
            with self.guard():
                more = after is not None and start == after  # which is the first of this page, if it is still there
                points, following = client.scroll(self.name, where, limit=min(size + more, most), offset=start, **what)
            if more and points and points[0].id == after:
                points = points[1:]
            if points:
                yield points
            if following is None:
                return
            start = following

    def blocks(self, size: int, after: Any = None, payload: bool = True) -> Iterator[Block]:
        """Points by id; a position is the last id."""
        schema = self.schema()
        vectors = payload or [schema.column or ""]
        for points in self._pages(page(size, schema.width), after, with_payload=payload, with_vectors=vectors):
            yield self._block(points, schema)

    def _block(self, points: list[Any], schema: Schema) -> Block:
        """The payload is a list of (payload, other vectors)."""
        name, keys = schema.column or "", [point.id for point in points]
        named = [p.vector if isinstance(p.vector, dict) else {"": p.vector} if p.vector else {} for p in points]
        vectors = [vector.pop(name, None) for vector in named]
        self.refuse("no vector", [i for i, vector in enumerate(vectors) if vector is None], keys)
        rest = [(point.payload, others) for point, others in zip(points, named, strict=True)]
        return Block(keys, np.array(vectors, np.float32), rest, keys[-1] if keys else None)

    def keys(self) -> Sequence[Any]:
        """All ids, as Qdrant orders them."""
        pages = self._pages(10_000, None, with_payload=False, with_vectors=False)
        return [point.id for points in pages for point in points]

    def fetch(self, keys: Sequence[Any]) -> Block:
        """The points with these ids."""
        schema, client = self.schema(), self._client
        size = page(len(keys), schema.width)
        points: dict[Any, Any] = {}
        for start in range(0, len(keys), size):
            with self.guard():
                wanted = list(keys[start : start + size])
                points |= {p.id: p for p in client.retrieve(self.name, wanted, with_payload=True, with_vectors=True)}
        return self._block([points[key] for key in keys if key in points], schema)

    def lock(self) -> None:
        """Hold a file beside a local collection; on a server a record with a sign of life."""
        if self.address.local:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._held.enter_context(locked(self.folder / f".{self.name}.lock"))
            return
        self._make_notes()
        self._lease = Lease(str(self), self._holder, self._hold)
        self._lease.acquire()
        self._held.callback(self._lease.release)

    def _holder(self) -> dict[str, Any] | None:
        with self.guard():
            points = self._client.retrieve(MIGRATIONS, [self._note_id("lock")])
        return points[0].payload if points else None

    def _hold(self, record: dict[str, Any] | None) -> None:
        models, place = self._models, self._note_id("lock")
        with self.guard():
            if record is None:
                self._client.delete(MIGRATIONS, models.PointIdsList(points=[place]), wait=True)
            else:
                point = models.PointStruct(id=place, vector=[1.0], payload=record)
                self._client.upsert(MIGRATIONS, [point], wait=True)

    def _note_id(self, kind: str = "") -> str:
        """Of the checkpoint, or the lock, of this collection and vector."""
        return str(uuid5(NAMESPACE_URL, f"{kind and kind + ':'}{self.name}/{self._asked or ''}"))

    def checkpoint(self) -> dict[str, Any] | None:
        """The payload about the vector in the collection of checkpoints."""
        there = self._exists(self.name)
        if there and self.column:
            vectors = self._info().config.params.vectors
            there = isinstance(vectors, dict) and self.column in vectors
        if not there:
            return None
        client = self._client
        with self.guard():
            notes = client.retrieve(MIGRATIONS, [self._note_id()]) if client.collection_exists(MIGRATIONS) else []
        if not notes:
            raise Refused(f"{self}: it exists, and no migration has made it; name another one")
        state = json.loads(notes[0].payload["state"])
        self.column = state["new_column"]
        return state

    def create(self, source: Store, width: int, state: dict[str, Any]) -> None:
        """A new named vector of the source's collection, or a new collection like it."""
        if not isinstance(source, QdrantStore):
            raise TypeError(f"{self}: expected a Qdrant source, got {source}")
        schema, info = source.schema(), source._info()
        state["in_place"] = self._exists(self.name)
        if state["in_place"] and self._place != source._place:
            raise Refused(f"{self}: it exists, and is not {source}'s own collection; name a new one")
        if not state["in_place"]:
            self.column = self.column or schema.column
        elif schema.column is None:
            raise Refused(f"{self}: {source} has vectors without names; name a new collection")
        state["column"], state["new_column"] = schema.column, self.column
        self._note(state)  # first: a collection without a note would not be known again
        with self.guard():
            if state["in_place"]:
                config, changes = added(info.config.params.vectors[schema.column], width)
                self._client.create_vector_name(self.name, self.column, config)
                if changes is not None:
                    self._client.update_collection(self.name, vectors_config={self.column: changes})
                return
            self._client.create_collection(self.name, **collection_like(info, schema.column, self.column, width))
            for field, index in indexes(info).items():
                self._client.create_payload_index(self.name, field, index)

    def _make_notes(self) -> None:
        """The collection of checkpoints, if there is none."""
        with self.guard():
            if self._client.collection_exists(MIGRATIONS):
                return
            try:
                self._client.create_collection(MIGRATIONS, self._models.VectorParams(size=1, distance="Dot"))
            except Exception:
                if not self._client.collection_exists(MIGRATIONS):  # or another migration has just made it
                    raise

    def _note(self, state: dict[str, Any]) -> None:
        self._make_notes()
        point = self._models.PointStruct(id=self._note_id(), vector=[1.0], payload={"state": json.dumps(state)})
        with self.guard():
            self._client.upsert(MIGRATIONS, [point], wait=True)

    def write(self, block: Block, state: dict[str, Any]) -> None:
        """Upsert points, or set one vector of theirs, then note the state."""
        if self._lease is not None:
            self._lease.check()
        points, sizes = self._points(block, state)
        call = self._client.update_vectors if state["in_place"] else self._client.upsert
        most = self._strictly("upsert_max_batchsize")
        with self.guard():
            self._requests.send(sizes, lambda rows: call(self.name, points[rows], wait=True), most)
        self._note(state)

    def _points(self, block: Block, state: dict[str, Any]) -> tuple[list[Any], list[int]]:
        """The rows as the client's points, and the bytes of each in a request."""
        models, name, rows = self._models, state["new_column"] or "", block.vectors.tolist()
        size = NUMBER * block.vectors.shape[1] + 100
        if state["in_place"]:
            made = [models.PointVectors(id=key, vector={name: row}) for key, row in zip(block.keys, rows, strict=True)]
            return made, [size] * len(made)
        points = [
            models.PointStruct(id=key, payload=payload, vector=others)
            for key, (payload, others) in zip(block.keys, block.payload, strict=True)
        ]
        sizes = [size + len(point.model_dump_json().encode()) for point in points]
        for point, row in zip(points, rows, strict=True):
            point.vector = {**point.vector, name: row} if name or point.vector else row
        return points, sizes

    def close(self) -> None:
        """Let go of the lock."""
        self._held.close()


def _too_large(error: Exception) -> bool:
    """Whether a server refuses a request for its size."""
    return getattr(error, "status_code", None) == 413
