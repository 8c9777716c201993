"""Vector databases and files behind one small protocol: each a short module, its client an extra."""

import re
from collections.abc import Sequence
from importlib import import_module
from typing import Any

import numpy as np

from minivec.settings import FIT_ROWS, whole_number
from minivec.stores.base import Address, Block, Changes, Schema, Store, redact
from minivec.stores.checkpoint import Checkpoint
from minivec.stores.errors import Denied, Refused, StoreError
from minivec.validation import constant, not_finite

__all__ = [
    "Block",
    "Changes",
    "Checkpoint",
    "Denied",
    "Refused",
    "Schema",
    "Store",
    "StoreError",
    "StoreRows",
    "drawn",
    "is_url",
    "open_store",
    "redact",
    "sample",
    "there",
]

STORES = {
    "lance": ("lance", "LanceStore"),
    "postgresql": ("postgres", "PostgresStore"),
    "postgres": ("postgres", "PostgresStore"),
    "chroma": ("chroma", "ChromaStore"),
    "qdrant": ("qdrant", "QdrantStore"),
}


def is_url(text: Any) -> bool:
    """Whether this names a database rather than a file; ``C://folder`` is a file of Windows."""
    return re.match(r"\w\w+://", str(text)) is not None


def open_store(url: Any, column: str | None = None) -> Store:
    """The store at a URL, or at a path; nothing is read, and no client imported, before it is asked for something.

    - ``lance://FOLDER/TABLE?column=...``
    - ``postgresql://USER:PASSWORD@HOST/DATABASE?table=...&column=...&key=...``
    - ``chroma:///FOLDER/COLLECTION``, ``chroma://HOST:PORT/COLLECTION``
    - ``qdrant:///FOLDER/COLLECTION``, ``qdrant://HOST:PORT/COLLECTION?column=...``
    - a .npy, .npz, .safetensors or .parquet file, or a folder of .parquet files; ``column``, for these alone, or
      ``?column=...`` names an array or column

    Raises ValueError for anything else. A ``Store`` is returned as it is.
    """
    if isinstance(url, Store):
        return url
    if not is_url(url):
        from minivec.stores.files import open_file

        path, _, named = str(url).partition("?column=")
        return open_file(Address(""), path, column or named or None)
    if column is not None:
        raise ValueError(f"{redact(str(url))}: name the column in the URL (?column=...), not beside it")
    address = Address(str(url))
    if address.scheme not in STORES:
        known = ", ".join(f"{scheme}://" for scheme in STORES)
        raise ValueError(f"{address}: unknown scheme {address.scheme!r}; known: {known}")
    module, name = STORES[address.scheme]
    return getattr(import_module(f"minivec.stores.{module}"), name)(address)


def sample(store: Any, rows: int, seed: int = 0) -> np.ndarray:
    """A uniform random sample of a store's vectors (a Store, a URL or a path), in key order: (m, d) float32.

    m is ``rows``, or all there are, less those drawn that have no vector. The same data, ``rows`` and ``seed`` give the
    same sample. ValueError names rows with NaN or infinity, and rows of one repeated value.
    """
    rows, seed = whole_number("rows", rows, 1), whole_number("seed", seed, 0)
    store = open_store(store)
    store.schema()
    store.skip_nulls = True
    keys = store.keys()
    if not len(keys):
        raise ValueError(f"{store}: it is empty")
    chosen = drawn(len(keys), rows, seed)
    parts = (chosen[s : s + store.fetched] for s in range(0, len(chosen), store.fetched))
    blocks = (store.fetch([keys[i] for i in part]) for part in parts)
    return np.concatenate([block.vectors[there(store, block)] for block in blocks])


def drawn(count: int, rows: int, seed: int) -> np.ndarray:
    """The numbers, rising, of ``rows`` of ``count`` rows, drawn uniformly; of all of them where there are no more."""
    if rows >= count:
        return np.arange(count)
    return np.sort(np.random.default_rng(seed).choice(count, rows, replace=False))


def there(store: Store, block: Block) -> np.ndarray:
    """Whether (m,) each row of a ``block`` has a vector; ValueError names those that are NaN, infinite or constant."""
    has = np.ones(len(block.keys), bool)
    has[np.asarray(block.missing, int)] = False
    for what, find in (("NaN or infinity", not_finite), ("one repeated value", constant)):
        bad = find(block.vectors).astype(int)
        store.refuse(what, bad[has[bad]], block.keys)
    return has


class StoreRows:
    """At most FIT_ROWS random vectors of a store, for where a file's rows (``files.Rows``) would do.

    ``count`` is the number of rows that the store has, ``shape`` that of the sample.
    """

    def __init__(self, url: Any):
        self._store = open_store(url)
        with self._store as store:
            width, self.count = store.schema().width, store.count()
        self.shape = min(self.count, FIT_ROWS), width

    def __str__(self) -> str:
        return str(self._store)

    @property
    def whole(self) -> bool:
        """Whether the sample is all rows, in key order."""
        return self.count == self.shape[0]

    def keys(self) -> Sequence[Any]:
        """The keys of all rows, in order; a range where rows have numbers only."""
        with self._store as store:
            return store.keys()

    def array(self) -> np.ndarray:
        """The sample, (n, d) float32: the same one each time."""
        with self._store as store:
            return sample(store, FIT_ROWS)
