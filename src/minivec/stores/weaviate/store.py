"""Weaviate: ``weaviate://HOST:PORT/COLLECTION?column=VECTOR&tenant=...``."""

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from types import SimpleNamespace
from typing import Any

from minivec.stores.address import Address, says_yes
from minivec.stores.errors import Refused, StoreError
from minivec.stores.keyed import Keyed
from minivec.stores.quiet import quiet
from minivec.stores.requests import Patient
from minivec.stores.weaviate import settings
from minivec.stores.weaviate.notes import WeaviateNotes
from minivec.stores.weaviate.reading import MOST, WeaviateReading
from minivec.stores.weaviate.writing import WeaviateWriting

TIMEOUT = 60  # seconds that a request may take


class WeaviateStore(WeaviateReading, WeaviateWriting, WeaviateNotes, Keyed):
    """A collection, by UUID. ``column`` names the vector where there are several, ``tenant`` whose objects are meant.

    ``:KEY@`` or the variable WEAVIATE_API_KEY is the API key, ``https=true`` an option. The port is that of REST, 8080
    or 443; ``grpc=HOST:PORT`` is the other one, if it is not 50051 of the same host or, with TLS, that of Weaviate
    Cloud. A destination is a new collection with the same properties, vectors and indexes, whose new vectors have no
    vectorizer. The checkpoint lies in a collection of its own, written behind the objects, which are replaced.
    """

    extra = "weaviate"
    keeps_nulls = True

    def __init__(self, address: Address):
        super().__init__(address)
        address.refuse_filter("Weaviate reads a collection in order only without a filter; tenant= names a part of it")
        self.column, self.tenant, self.tls, self.grpc = address.take("column", "tenant", "https", "grpc")
        self._asked = self.column
        self._known: dict[str, dict[str, Any]] = {}  # the schemas of collections
        self._most, self._width = MOST, 0
        self._key: str | None = None  # the property with the key of a row from another kind of store
        if not address.host or not address.path or "/" in address.path:
            raise Refused(f"{self}: expected weaviate://HOST:PORT/COLLECTION")
        self._grpc_address()
        name = settings.capitalised(address.path)
        self.name = f"{name}@{self.tenant}" if self.tenant else name

    def place(self) -> str:
        """The host and port, the collection and the tenant."""
        return f"weaviate://{self.address.host}:{self._port}/{self.name}"

    @property
    def _secure(self) -> bool:
        return says_yes(self.tls)

    @property
    def _port(self) -> int:
        return self.address.port or (443 if self._secure else 8080)

    @property
    def _api_key(self) -> str | None:
        return self.address.password or os.environ.get("WEAVIATE_API_KEY")

    def _grpc_address(self) -> tuple[str, int]:
        """The host and port of gRPC."""
        host, _, port = (self.grpc or "").rpartition(":")
        if self.grpc and not (host and port.isdecimal()):
            raise Refused(f"{self}: grpc must be HOST:PORT, got {self.grpc!r}")
        if self.grpc:
            return host, int(port)
        host = str(self.address.host)
        return (f"grpc-{host}", 443) if self._secure else (host, 50051)

    @cached_property
    def _client(self) -> Any:
        weaviate, config = self.client("weaviate"), self.client("weaviate.classes.init")
        host, port = self._grpc_address()
        timeout = config.Timeout(init=TIMEOUT / 6, query=TIMEOUT, insert=TIMEOUT)
        try:  # which the client would do for a minute
            socket.create_connection((host, port), TIMEOUT / 6).close()
        except OSError as error:
            told = f"gRPC does not answer at {host}:{port} ({error}): name its place, if it is another (grpc=HOST:PORT)"
            raise StoreError(f"{self}: {told}") from None
        with self.guard():
            client = weaviate.connect_to_custom(
                str(self.address.host), self._port, self._secure, host, port, self._secure,
                additional_config=config.AdditionalConfig(timeout=timeout),
                auth_credentials=config.Auth.api_key(self._api_key) if self._api_key else None,
                skip_init_checks=True,  # one of them asks PyPI for the newest client
            )  # fmt: skip
        self._close_later(client.close)
        return client

    @contextmanager
    def guard(self) -> Iterator[None]:
        """And the client keeps its log of errors to itself."""
        with quiet("weaviate-client"), super().guard():
            yield

    def _ask(self, part: Any, method: str, *given: Any, **options: Any) -> Any:
        """What a method of a part of the client returns."""
        with self.guard():
            return getattr(Patient(part), method)(*given, **options)

    @staticmethod
    def _too_large(error: Exception) -> bool:
        return "larger than max" in str(error)

    def _found(self, collection: str) -> dict[str, Any] | None:
        """The schema of a collection, as the server has it, or None; also of one that has this alias."""
        if collection not in self._known:
            found = self._get(f"/v1/schema/{collection}")
            if found is None and (target := self._aliased(collection)) is not None:
                found = self._get(f"/v1/schema/{target}")
            if found is None:
                return None
            self._known[collection] = found
        return self._known[collection]

    def _get(self, path: str) -> Any:
        """An answer of REST, or None for 404: what the client makes of a schema lacks what it does not know."""
        url = f"{'https' if self._secure else 'http'}://{self.address.host}:{self._port}{path}"
        headers = {"Authorization": f"Bearer {self._api_key}"} if self._api_key else {}
        httpx = self.client("httpx")
        with self.guard():

            def ask() -> Any:
                answer = httpx.get(url, headers=headers, timeout=TIMEOUT)
                return None if answer.status_code == 404 else answer.raise_for_status().json()

            return Patient(SimpleNamespace(ask=ask)).ask()

    def _exists(self, name: str) -> bool:
        collection, _, tenant = name.partition("@")
        if (schema := self._found(collection)) is None:
            return False
        return self._has_tenant(schema, tenant) if tenant and settings.has_tenants(schema) else True

    def _has_tenant(self, schema: dict[str, Any], tenant: str) -> bool:
        return bool(self._ask(self._client.collections.use(schema["class"]).tenants, "exists", tenant))

    def _schema(self) -> dict[str, Any]:
        """The collection's schema; Refused where there is no such collection or tenant, or the tenant is not named."""
        collection, _, tenant = self.name.partition("@")
        if (schema := self._found(collection)) is None:
            raise Refused(f"{self}: no collection {collection!r}")
        if settings.has_tenants(schema) and not tenant:
            names = ", ".join(sorted(self._ask(self._client.collections.use(schema["class"]).tenants, "get")))
            raise Refused(f"{self}: name the tenant (tenant=); there is {names or 'none'}")
        if tenant and not settings.has_tenants(schema):
            raise Refused(f"{self}: {collection!r} has no tenants")
        if settings.is_mixed(schema):
            told = "a vector without a name beside named ones, which cannot be told from these"
            raise Refused(f"{self}: {collection!r} has {told}: copy it into a collection whose vectors all have names")
        return schema

    def _objects(self) -> Any:
        """The client's collection, of the tenant."""
        collection = self._client.collections.use(self._schema()["class"])
        return collection.with_tenant(self.tenant) if self.tenant else collection

    def _has(self, column: str) -> bool:
        return column in settings.vectors(self._schema())
