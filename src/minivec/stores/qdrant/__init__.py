"""Qdrant: ``qdrant://HOST:PORT/COLLECTION?column=VECTOR``, or ``qdrant:///FOLDER/COLLECTION`` for its local mode."""

from minivec.stores.qdrant.store import QdrantStore

__all__ = ["QdrantStore"]
