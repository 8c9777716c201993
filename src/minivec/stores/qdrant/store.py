"""Qdrant: ``qdrant://HOST:PORT/COLLECTION?column=VECTOR``, or ``qdrant:///FOLDER/COLLECTION`` for its local mode."""

import atexit
import os
import warnings
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from functools import cache, cached_property
from typing import Any

from minivec.stores.address import Address, says_yes
from minivec.stores.base import Block, Changes, Schema, Store
from minivec.stores.blocks import Sized
from minivec.stores.checkpoint import Checkpoint
from minivec.stores.errors import Refused
from minivec.stores.lease import Lease
from minivec.stores.qdrant import settings
from minivec.stores.qdrant.alias import QdrantAlias
from minivec.stores.qdrant.points import alike, rows_of, too_large
from minivec.stores.qdrant.writing import IDS, QdrantWriting
from minivec.stores.requests import Patient, Requests, page
from minivec.stores.seen import Seen

TIMEOUT = 60  # seconds that a request may take


@cache
def local_client(path: str) -> Any:
    """The client of a folder: there can be but one at a time, and a migration is from and to the same."""
    from qdrant_client import QdrantClient

    client = QdrantClient(path=path)
    atexit.register(client.close)  # which it would do too late itself, and say so
    return client


class QdrantStore(QdrantWriting, QdrantAlias, Store):
    """A collection, by point id. ``column`` names the vector where the collection has named ones.

    What follows the scheme is a folder where it starts with ``/``, ``.`` or ``~``, and a host otherwise. ``:KEY@`` or
    the variable QDRANT_API_KEY is the API key, ``https=true`` an option. A destination is a new collection with the
    same settings and all other vectors, or a new named vector of the source's own collection, where the server is new
    enough to add one. The checkpoint lies in a collection of its own, written behind the rows, which are upserted.

    ``where`` is a filter of Qdrant as JSON, and ``timeout`` the seconds that a request may take. Points have no
    versions: changes are found by fingerprints of the points, which are kept in a temporary file.
    """

    kind = "qdrant"
    extra = "qdrant"
    keeps_nulls = True

    def __init__(self, address: Address):
        super().__init__(address)
        self.column, self.tls, self.where, timeout = address.take("column", "https", "where", "timeout")
        if timeout is not None and not timeout.isdecimal():
            raise Refused(f"{self}: timeout must be whole seconds, got {timeout!r}")
        self._timeout, self._asked = int(timeout or TIMEOUT), self.column
        if address.local:
            self.folder, self.name = address.split()
        elif not address.host or not address.path or "/" in address.path:
            raise Refused(f"{self}: expected qdrant://HOST:PORT/COLLECTION or qdrant:///FOLDER/COLLECTION")
        else:
            self.name = address.path
        self._held, self._requests = ExitStack(), Requests(too_large)
        self._lease: Lease | None = None
        self._schema: Schema | None = None
        self._seen: Seen | None = None
        self._payload = True
        self._old_column: str | None = None  # of a destination that is a vector of the source's own points

    @cached_property
    def _client(self) -> Any:
        qdrant = self.client("qdrant_client")
        with self.guard():
            if self.address.local:
                return local_client(str(self.folder.resolve()))
            key = self.address.password or os.environ.get("QDRANT_API_KEY")
            tls = says_yes(self.tls)
            port = self.address.port or 6333
            options = {"https": tls, "api_key": key, "timeout": self._timeout, "check_compatibility": False}
            with warnings.catch_warnings(action="ignore"):  # of a key without TLS
                return Patient(qdrant.QdrantClient(host=self.address.host, port=port, **options))

    @property
    def tells_changes(self) -> bool:  # type: ignore[override]
        """Where this run has read all points itself."""
        return self._seen is not None

    def place(self) -> str:
        """The absolute path, or the host and port."""
        if self.address.local:
            return f"qdrant://{self.folder.resolve() / self.name}"
        return f"qdrant://{self.address.host}:{self.address.port or 6333}/{self.name}"

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
            self._schema = settings.schema_of(self._info().config.params, self.column, self)
        return self._schema

    def _having(self, column: str | None) -> Any:
        """The points that have this vector."""
        return self._models.HasVectorCondition(has_vector=column or "")

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
        """The points; of a new vector beside another one, without those that still lack it."""
        client, models, must = self._client, self._models, [self._where] if self._where else None
        lacking = None
        if self._old_column is not None:
            has, new = self._having(self._old_column), self._having(self.column)
            lacking = [models.Filter(must=[has], must_not=[new])]
        with self.guard():
            return client.count(self.name, count_filter=models.Filter(must=must, must_not=lacking), exact=True).count

    def check(self) -> None:
        """Every point has the vector."""
        if self.skip_nulls:
            return
        client, models, has = self._client, self._models, self._having(self.schema().column)
        without = models.Filter(must=[self._where] if self._where else None, must_not=[has])
        with self.guard():
            points, _ = client.scroll(self.name, without, limit=5, with_payload=False)
        if points:
            listed = ", ".join(str(point.id) for point in points)
            raise Refused(f"{self}: no vector in points {listed}" + (", ..." if len(points) == 5 else ""))

    def suits(self, bridge: Any) -> None:
        """Collections of cosine distance give back vectors of length 1, whatever the lengths of those they were given.

        Refused where ``bridge`` was fitted on vectors of other lengths, and would map these to another place.
        """
        vectors = self._info().config.params.vectors
        vector = vectors[self.schema().column] if isinstance(vectors, dict) else vectors
        if vector.distance == "Cosine" and (lengths := settings.other_lengths(bridge.weights)):
            raise Refused(
                f"{self}: a collection of cosine distance gives back vectors of length 1, and the aligner was fitted "
                f"on vectors {lengths}; fit it on a sample of this collection"
            )

    def pin(self, version: Any = None) -> None:
        """None; the points that a new migration reads are remembered."""
        if version is None and self._seen is None:
            self._seen = Seen()

    def _pages(self, sized: Sized, after: Any, **what: Any) -> Iterator[list[Any]]:
        """Points by id, behind ``after``."""
        client, start, where = self._client, after, self._where
        limit = self._strictly("max_query_limit")
        while True:
            with self.guard():
                more = after is not None and start == after  # which is the first of this page, if it is still there
                asked = min(sized.rows + more, limit or sized.rows + 1)
                points, following = client.scroll(self.name, where, limit=asked, offset=start, **what)
            if more and points and points[0].id == after:
                points = points[1:]
            if points:
                yield points
            if following is None:
                return
            start = following

    def blocks(self, size: int, after: Any = None, payload: bool = True) -> Iterator[Block]:
        """Points by id; a position is the last id. The payload is a list of (payload, other vectors)."""
        if after is not None:  # what lies before it is not known
            self._seen = None
        self._payload = payload
        for block in self._blocks(size, after):
            if self._seen is not None:
                self._seen.add(block)
            yield block

    def _blocks(self, size: int, after: Any = None) -> Iterator[Block]:
        schema = self.schema()
        sized = Sized(page(size, schema.width))
        for points in self._pages(sized, after, **self._wanted(self._payload)):
            yield sized.of(rows_of(points, schema, self))

    def _wanted(self, payload: bool) -> dict[str, Any]:
        """What to ask for of points: without ``payload`` the vectors of one name alone."""
        return {"with_payload": payload, "with_vectors": payload or [self.schema().column or ""]}

    def changes(self, since: Any) -> Changes | None:
        """The points that are otherwise than when they were read: all are read again."""
        return None if self._seen is None else self._seen.changes(self._blocks(IDS))

    def keys(self) -> Sequence[Any]:
        """All ids, as Qdrant orders them."""
        pages = self._pages(Sized(IDS, large=False), None, with_payload=False, with_vectors=False)
        return [point.id for points in pages for point in points]

    def fetch(self, keys: Sequence[Any], payload: bool = True) -> Block:
        """The points with these ids."""
        schema, client, what = self.schema(), self._client, self._wanted(payload)
        size = page(IDS, schema.width)
        points: dict[Any, Any] = {}
        for start in range(0, len(keys), size):
            with self.guard():
                wanted = list(keys[start : start + size])
                points |= {point.id: point for point in client.retrieve(self.name, wanted, **what)}
        return rows_of([points[key] for key in keys if key in points], schema, self)

    def alike(self, one: Any, other: Any) -> bool:
        """Whether the payload is equal, and other vectors are but for rounding: Qdrant makes their length 1 again."""
        return alike(one, other)

    def resume(self, checkpoint: Checkpoint) -> None:
        """Take over its vector."""
        super().resume(checkpoint)
        self._schema = None
        self._old_column = checkpoint.column if checkpoint.in_place else None

    def close(self) -> None:
        """Let go of the lock, and of the connections to a server."""
        self._held.close()
        vars(self).pop("_notes", None)
        if not self.address.local and (client := vars(self).pop("_client", None)):
            client.close()
