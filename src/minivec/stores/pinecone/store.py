"""Pinecone: ``pinecone://api.pinecone.io/INDEX?namespace=...``."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from typing import Any

import numpy as np

from minivec.stores.address import Address
from minivec.stores.base import Block, Schema
from minivec.stores.checkpoint import Checkpoint
from minivec.stores.errors import Refused
from minivec.stores.keyed import Keyed
from minivec.stores.pinecone import settings
from minivec.stores.pinecone.notes import NOTES, PineconeNotes
from minivec.stores.pinecone.rows import COLUMNS, IDS, METADATA, fields, parts, table
from minivec.stores.pinecone.writing import PineconeWriting
from minivec.stores.quiet import quiet
from minivec.stores.requests import Requests

LIMIT = 2_000_000  # bytes of a request
TIMEOUT = 60  # seconds that a request may take
DEFAULT = "__default__"  # the namespace that is meant where none is named


class PineconeStore(PineconeWriting, PineconeNotes, Keyed):
    """A namespace of a serverless index, by id.

    The host is that of the control plane, and ``https=false`` an option for a server without TLS. ``:KEY@`` or the
    variable PINECONE_API_KEY is the API key. A destination is a new index with the same metric, place, tags and
    protection, or a namespace without records of an index that is there. The states lie in the namespace
    ``minivec-migrations`` of the destination's index: Pinecone has no table beside the records, and tags are too
    short. What is written is not read at once: before the store reads what it has written, it waits until it sees it.
    """

    extra = "pinecone"
    note_bytes = METADATA

    def __init__(self, address: Address):
        super().__init__(address)
        address.refuse_filter("Pinecone lists and fetches records without a filter; namespace= names a part of them")
        namespace, self.tls = address.take("namespace", "https")
        if not address.host or not address.path or "/" in address.path or ".svc." in address.host:
            raise Refused(f"{self}: expected pinecone://api.pinecone.io/INDEX, with the host of the control plane")
        self.index, self.namespace = address.path, namespace or DEFAULT
        if self.namespace == NOTES:
            raise Refused(f"{self}: the namespace {NOTES!r} is for the states of migrations")
        self.name = f"{self.index}@{self.namespace}"
        self._requests = Requests(self._too_large, LIMIT)
        self._pending: dict[str, str] = {}  # notes that wait for the index to be made
        self._written: tuple[str, Any] | None = None  # an id and its last record, until that was seen
        self._numbers = self._taking = False  # whether keys are whole numbers, and whether it is a destination

    def place(self) -> str:
        """The host, the index and the namespace."""
        return f"pinecone://{self.address.host}:{self.address.port or 443}/{self.index}/{self.namespace}"

    @cached_property
    def _client(self) -> Any:
        pinecone = self.client("pinecone")
        scheme = "http" if (self.tls or "").lower() in ("false", "0", "no") else "https"
        place = f"{scheme}://{self.address.host}" + (f":{self.address.port}" if self.address.port else "")
        key = self.address.password or os.environ.get("PINECONE_API_KEY")
        with self.guard():
            client = pinecone.Pinecone(api_key=key, host=place, timeout=TIMEOUT)
        self._close_later(client.close)
        return client

    @cached_property
    def _records(self) -> Any:
        """The client of the index."""
        host = self._info().host
        with self.guard():
            records = self._client.index(host=host)
        self._close_later(records.close)
        return records

    @contextmanager
    def guard(self) -> Iterator[None]:
        """And the client keeps its log to itself."""
        with quiet("pinecone"), super().guard():
            yield

    def _ask(self, method: str, namespace: str | None = None, **options: Any) -> Any:
        """What a method of the index's client returns."""
        records = self._records
        with self.guard():
            return getattr(records, method)(namespace=namespace or self.namespace, **options)

    @staticmethod
    def _too_large(error: Exception) -> bool:
        return any(words in str(error) for words in ("too large", "maximum supported size"))

    def _found(self) -> Any:
        """What the control plane tells of the index, or None."""
        if "_told" not in vars(self):
            unknown, client = self.client("pinecone").NotFoundError, self._client
            with self.guard():
                try:
                    vars(self)["_told"] = client.indexes.describe(self.index)
                except unknown:
                    return None
        return vars(self)["_told"]

    def _info(self) -> Any:
        """The settings of the index; Refused where there is none that can be read."""
        if (info := self._found()) is None:
            raise Refused(f"{self}: no index {self.index!r}")
        settings.check(info, self)
        return info

    def _stats(self) -> Any:
        records = self._records
        with self.guard():
            return records.describe_index_stats()

    def _exists(self, name: str) -> bool:
        """An empty namespace is one that can be taken."""
        return self._found() is not None and (self._first() is not None or self._noted() is not None)

    def _first(self) -> str | None:
        """The first id, if there are any."""
        return next((id_ for page in self._listed(1) for id_ in page), None)

    def _listed(self, size: int, namespace: str | None = None) -> Iterator[list[str]]:
        token = None
        while True:
            page = self._ask("list_paginated", namespace, limit=size, pagination_token=token)
            yield [str(item.id) for item in page.vectors]
            token = page.pagination.next if page.pagination is not None else None
            if not token:
                return

    def _has(self, column: str) -> bool:
        return column == "values"

    def schema(self) -> Schema:
        """The vectors have no name; their column is called "values"."""
        return Schema("values", "id", self._width, COLUMNS)

    @cached_property
    def _width(self) -> int:
        dense = settings.fields(self._info()).get(settings.DENSE)
        return int(dense.dimension if dense is not None else self._stats().dimension)

    def arrow_schema(self) -> Any:
        """The id, the metadata and the sparse vector as JSON, and the vectors."""
        pa = self.client("pyarrow")
        return pa.schema([*fields(), pa.field("values", pa.list_(pa.float32(), self._width))])

    def count(self) -> int:
        """The records; of a destination they are listed, as Pinecone's own count lags behind."""
        if self._taking:
            return len(self.keys())
        counted = self._stats().namespaces.get(self.namespace)
        return 0 if counted is None else int(counted.vector_count)

    def keys(self) -> Sequence[Any]:
        """All ids, sorted."""
        self._settle()
        keys = [id_ for page in self._listed(100) for id_ in page]
        return sorted(map(int, keys)) if self._numbers else sorted(keys)

    def fetch(self, keys: Sequence[Any], payload: bool = True) -> Block:
        """The records with these ids."""
        self._settle()
        found: dict[str, Any] = {}
        size = self._page(IDS)
        for part in parts([str(key) for key in keys]):
            for start in range(0, len(part), size):
                found |= self._ask("fetch", ids=part[start : start + size]).vectors
        there = [key for key in keys if str(key) in found]
        records = [found[str(key)] for key in there]
        self.refuse("no vector of its own", [i for i, r in enumerate(records) if len(r.values) != self._width], there)
        X = np.array([record.values for record in records], np.float32).reshape(-1, self._width)
        return Block(there, X, table(records) if payload else None, there[-1] if there else None)

    def resume(self, checkpoint: Checkpoint) -> None:
        """Take over its keys."""
        super().resume(checkpoint)
        self._numbers, self._taking = checkpoint.own.get("numbers", False), True

    def close(self) -> None:
        """Let go of the lock and the connections."""
        super().close()
        for name in ("_records", "_told"):
            vars(self).pop(name, None)
