"""Milvus: ``milvus://HOST:PORT/COLLECTION?column=...``, or ``milvus:///FILE.db/COLLECTION`` for Milvus Lite."""

from minivec.stores.milvus.store import MilvusStore

__all__ = ["MilvusStore"]
