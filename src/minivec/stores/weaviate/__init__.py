"""Weaviate: ``weaviate://HOST:PORT/COLLECTION?column=VECTOR&tenant=...``."""

from minivec.stores.weaviate.store import WeaviateStore

__all__ = ["WeaviateStore"]
