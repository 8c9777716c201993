"""Qdrant: ``qdrant://HOST:PORT/COLLECTION?column=VECTOR``, or ``qdrant:///FOLDER/COLLECTION`` for its local mode."""

import atexit
import json
import os
from collections.abc import Iterator, Sequence
from functools import cache, cached_property
from typing import Any
from uuid import NAMESPACE_URL, uuid5

import numpy as np

from minivec.stores.base import MIGRATIONS, Address, Block, Refused, Schema, Store


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
        self.column, self.tls = address.take("column", "https")
        if address.local:
            self.folder, self.name = address.split()
        elif not address.host or not address.path or "/" in address.path:
            raise Refused(f"{self}: expected qdrant://HOST:PORT/COLLECTION or qdrant:///FOLDER/COLLECTION")
        else:
            self.name = address.path
        self._id = str(uuid5(NAMESPACE_URL, f"{self.name}/{self.column or ''}"))  # of its checkpoint

    @cached_property
    def _client(self) -> Any:
        qdrant = self.client("qdrant_client")
        with self.guard():
            if self.address.local:
                return local_client(str(self.folder.resolve()))
            key = self.address.password or os.environ.get("QDRANT_API_KEY")
            tls = (self.tls or "").lower() in ("true", "1", "yes")
            port = self.address.port or 6333
            return qdrant.QdrantClient(host=self.address.host, port=port, https=tls, api_key=key, timeout=60)

    @property
    def _models(self) -> Any:
        return self.client("qdrant_client.models")

    def _parameters(self) -> Any:
        """The collection's settings; ValueError where there is no such collection."""
        if not self._exists(self.name):
            raise Refused(f"{self}: no collection {self.name!r}")
        with self.guard():
            return self._client.get_collection(self.name).config.params

    def _exists(self, name: str) -> bool:
        if self.address.local and not self.folder.exists():  # the client would make it
            return False
        client = self._client
        with self.guard():
            return client.collection_exists(name)

    def schema(self) -> Schema:
        """The only vector, where none is named."""
        vectors = self._parameters().vectors
        if not isinstance(vectors, dict):
            if self.column is not None:
                raise Refused(f"{self}: its vectors have no names, got column {self.column!r}")
            if vectors is None:
                raise Refused(f"{self}: it has no vectors")
            return Schema(None, "id", vectors.size, ("payload",))
        column = self.column or (next(iter(vectors)) if len(vectors) == 1 else None)
        if column not in vectors:
            wanted = f"no vector named {column!r}" if column else "name one vector (column=)"
            raise Refused(f"{self}: {wanted}; there is {', '.join(vectors) or 'none'}")
        others = [name for name in vectors if name != column]
        return Schema(column, "id", vectors[column].size, ("payload", *others))

    def count(self) -> int:
        """Points that have the vector."""
        column, client = self.schema().column, self._client
        models = self._models
        has = models.Filter(must=[models.HasVectorCondition(has_vector=column)]) if column else None
        with self.guard():
            return client.count(self.name, count_filter=has, exact=True).count

    def check(self) -> None:
        """Every point has the vector."""
        column, client, models = self.schema().column, self._client, self._models
        if column is None:
            return
        without = models.Filter(must_not=[models.HasVectorCondition(has_vector=column)])
        with self.guard():
            points, _ = client.scroll(self.name, without, limit=5, with_payload=False)
        if points:
            listed = ", ".join(str(point.id) for point in points)
            raise Refused(f"{self}: no vector {column!r} in points {listed}" + (", ..." if len(points) == 5 else ""))

    def _pages(self, size: int, after: Any, **what: Any) -> Iterator[list[Any]]:
        """Points by id, behind ``after``."""
        client, start = self._client, after
        while True:
            with self.guard():
                more = after is not None and start == after  # which is the first of this page, if it is still there
                points, following = client.scroll(self.name, limit=size + more, offset=start, **what)
            if more and points and points[0].id == after:
                points = points[1:]
            if points:
                yield points
            if following is None:
                return
            start = following

    def blocks(self, size: int, after: Any = None, payload: bool = True) -> Iterator[Block]:
        """Points by id; a position is the last id."""
        column = self.schema().column
        vectors = payload or [column]
        for points in self._pages(size, after, with_payload=payload, with_vectors=vectors):
            yield self._block(points, column)

    def _block(self, points: list[Any], column: str | None) -> Block:
        keys = [point.id for point in points]
        vectors = [point.vector if column is None else (point.vector or {}).get(column) for point in points]
        self.refuse("no vector", [i for i, vector in enumerate(vectors) if vector is None], keys)
        rest = [
            (p.payload, {} if column is None else {k: v for k, v in p.vector.items() if k != column}) for p in points
        ]
        return Block(keys, np.array(vectors, np.float32), rest, keys[-1] if keys else None)

    def keys(self) -> Sequence[Any]:
        """All ids, as Qdrant orders them."""
        pages = self._pages(10_000, None, with_payload=False, with_vectors=False)
        return [point.id for points in pages for point in points]

    def fetch(self, keys: Sequence[Any]) -> Block:
        """The points with these ids; the payload is a list of (payload, other vectors)."""
        column, client = self.schema().column, self._client
        with self.guard():
            found = {p.id: p for p in client.retrieve(self.name, list(keys), with_payload=True, with_vectors=True)}
        return self._block([found[key] for key in keys if key in found], column)

    def checkpoint(self) -> dict[str, Any] | None:
        """The payload about the vector in the collection of checkpoints."""
        there = self._exists(self.name)
        if there and self.column:
            vectors = self._parameters().vectors
            there = isinstance(vectors, dict) and self.column in vectors
        if not there:
            return None
        client = self._client
        with self.guard():
            found = client.retrieve(MIGRATIONS, [self._id]) if client.collection_exists(MIGRATIONS) else []
        if not found:
            raise Refused(f"{self}: it exists, and no migration has made it; name another one")
        state = json.loads(found[0].payload["state"])
        self.column = state["new_column"]
        return state

    def create(self, source: Store, width: int, state: dict[str, Any]) -> None:
        """A new named vector of the source's collection, or a new collection like it."""
        if not isinstance(source, QdrantStore):
            raise TypeError(f"{self}: expected a Qdrant source, got {source}")
        schema, old, models = source.schema(), source._parameters(), self._models
        if self._exists(self.name) and (self._client is not source._client or self.name != source.name):
            raise Refused(f"{self}: it exists, and is not {source}'s own collection; name a new one")
        state["in_place"] = self._exists(self.name)
        if not state["in_place"]:
            self.column = self.column or schema.column
        elif schema.column is None:
            raise Refused(f"{self}: {source} has vectors without names; name a new collection")
        state["column"], state["new_column"] = schema.column, self.column
        self._note(state)  # first: a collection without a note would not be known again
        vector = old.vectors[schema.column] if schema.column else old.vectors
        made = vector.model_copy(update={"size": width})
        with self.guard():
            if state["in_place"]:
                dense = {"size": width, "distance": vector.distance}
                config = models.DenseVectorNameConfig.model_validate({"dense": dense})
                self._client.create_vector_name(self.name, self.column, config)
                return
            if self.column is None:
                vectors: Any = made
            else:
                others = old.vectors if schema.column else {}
                vectors = {k: v for k, v in others.items() if k != schema.column} | {self.column: made}
            self._client.create_collection(self.name, vectors, old.sparse_vectors, on_disk_payload=old.on_disk_payload)

    def _note(self, state: dict[str, Any]) -> None:
        models = self._models
        point = models.PointStruct(id=self._id, vector=[1.0], payload={"state": json.dumps(state)})
        with self.guard():
            if not self._client.collection_exists(MIGRATIONS):
                self._client.create_collection(MIGRATIONS, models.VectorParams(size=1, distance="Dot"))
            self._client.upsert(MIGRATIONS, [point], wait=True)

    def write(self, block: Block, state: dict[str, Any]) -> None:
        """Upsert points, or set one vector of theirs, then note the state."""
        points = self._points(block, state)
        with self.guard():
            if state["in_place"]:
                self._client.update_vectors(self.name, points, wait=True)
            else:
                self._client.upsert(self.name, points, wait=True)
        self._note(state)

    def _points(self, block: Block, state: dict[str, Any]) -> list[Any]:
        """The rows as the client's points."""
        models, name, rows = self._models, state["new_column"], block.vectors.tolist()
        if state["in_place"]:
            return [models.PointVectors(id=key, vector={name: row}) for key, row in zip(block.keys, rows, strict=True)]
        return [
            models.PointStruct(id=key, payload=payload, vector={**others, name: row} if name else row)
            for key, row, (payload, others) in zip(block.keys, rows, block.payload, strict=True)
        ]
