"""LanceDB, embedded: ``lance://FOLDER/TABLE?column=...&key=...&where=SQL``."""

from minivec.stores.lance.store import LanceStore

__all__ = ["LanceStore"]
