"""Pinecone: ``pinecone://api.pinecone.io/INDEX?namespace=...``."""

from minivec.stores.pinecone.store import PineconeStore

__all__ = ["PineconeStore"]
