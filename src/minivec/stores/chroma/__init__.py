"""Chroma, embedded or its server: ``chroma:///FOLDER/COLLECTION`` or ``chroma://HOST:PORT/COLLECTION``."""

from minivec.stores.chroma.store import ChromaStore

__all__ = ["ChromaStore"]
