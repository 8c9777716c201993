"""Vector databases and files behind one small protocol: each a short module, its client an extra."""

import re
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any

import numpy as np

from minivec.formats.base import listed
from minivec.settings import FIT_ROWS, whole_number
from minivec.stores.address import Address, redact
from minivec.stores.base import Block, Changes, Schema, Store
from minivec.stores.blocks import fetch_all, without_vector
from minivec.stores.checkpoint import Checkpoint
from minivec.stores.errors import Denied, Refused, StoreError
from minivec.validation import drawn

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
]

STORES = {
    "lance": ("lance", "LanceStore"),
    "postgresql": ("postgres", "PostgresStore"),
    "postgres": ("postgres", "PostgresStore"),
    "chroma": ("chroma", "ChromaStore"),
    "qdrant": ("qdrant", "QdrantStore"),
    "milvus": ("milvus", "MilvusStore"),
    "redis": ("redis", "RedisStore"),
    "rediss": ("redis", "RedisStore"),
    "weaviate": ("weaviate", "WeaviateStore"),
    "pinecone": ("pinecone", "PineconeStore"),
    "elasticsearch": ("elastic", "ElasticsearchStore"),
    "opensearch": ("elastic", "OpenSearchStore"),
    "duckdb": ("sql.duckdb", "DuckStore"),
    "sqlite": ("sql.sqlite", "SqliteStore"),
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
    - ``milvus:///FILE.db/COLLECTION``, ``milvus://HOST:PORT/COLLECTION?column=...``
    - ``redis://HOST:PORT/INDEX?column=...``, ``rediss://HOST:PORT/INDEX?column=...``
    - ``weaviate://HOST:PORT/COLLECTION?column=...&tenant=...``
    - ``pinecone://api.pinecone.io/INDEX?namespace=...``
    - ``elasticsearch://HOST:PORT/INDEX?column=...``, ``opensearch://HOST:PORT/INDEX?column=...``
    - ``duckdb:///FILE/TABLE?column=...&key=...``
    - ``sqlite:///FILE/TABLE?column=...&key=...``
    - a .npy, .npz, .safetensors or .parquet file, or a folder of .parquet files; ``column``, for these alone, or
      ``?column=...`` names an array or column
    - a .faiss or .index file; as a destination ``?factory=...&metric=...`` says which index is built

    Raises ValueError for anything else. A ``Store`` is returned as it is.
    """
    if isinstance(url, Store):
        return url
    if not is_url(url):
        from minivec.stores.paths import open_file

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


def sample(
    store: Any,
    rows: int,
    seed: int = 0,
    *,
    skip_nulls: bool = True,
    skip_bad_rows: bool = False,
    tell: Callable[[str], None] | None = None,
) -> np.ndarray:
    """A uniform random sample of a store's vectors (a Store, a URL or a path), in key order: (m, d) float32.

    m is ``rows``, or all there are, less those drawn that are left out: rows without a vector, unless ``skip_nulls`` is
    False, and with ``skip_bad_rows`` rows with NaN or infinity and rows of one repeated value. ``tell`` is called with
    a sentence that counts them and names the first. The same data, ``rows`` and ``seed`` give the same sample.
    ValueError names rows that are neither vectors nor left out.
    """
    rows, seed = whole_number("rows", rows, 1), whole_number("seed", seed, 0)
    store = open_store(store)
    store.schema()
    store.skip_nulls, store.skip_bad_rows = skip_nulls, skip_bad_rows
    if tell is not None and store.told:
        tell(f"{store}: {store.told}")
    keys = store.keys()
    if not len(keys):
        raise ValueError(f"{store}: it is empty")
    chosen = [keys[int(i)] for i in drawn(len(keys), rows, seed)]
    parts: list[np.ndarray] = []
    skipped: list[Any] = []
    for block in fetch_all(store, chosen, payload=False):
        empty = without_vector(block, store)
        parts.append(block.vectors[~empty])
        skipped += store.named([block.keys[i] for i in np.flatnonzero(empty).tolist()])
    if len(skipped) == len(chosen):
        raise ValueError(f"{store}: none of {len(chosen):,} rows is an embedding")
    if skipped and tell is not None:
        told = f"{len(skipped):,} of {len(chosen):,} rows ({listed(skipped)})"
        tell(f"{store}: no embeddings in {told}, which are skipped")
    return np.concatenate(parts)


class StoreRows:
    """At most ``most`` random vectors of a store, for where a file's rows (``files.Rows``) would do.

    ``count`` is the number of rows that the store has, ``shape`` that of the sample. The sample leaves rows out as
    ``sample`` does, and ``tell`` is called once with those; without ``skip_nulls`` every row must have a vector.
    """

    def __init__(
        self,
        url: Any,
        skip_bad_rows: bool = False,
        tell: Callable[[str], None] | None = None,
        most: int = FIT_ROWS,
    ):
        self._store = open_store(url)
        with self._store as store:
            width, self.count = store.schema().width, store.count()
        self.shape = min(self.count, most), width
        self.skip_nulls, self._skip_bad_rows, self._tell = True, skip_bad_rows, tell

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
        tell, self._tell = self._tell, None
        with self._store as store:
            skipped = {"skip_nulls": self.skip_nulls, "skip_bad_rows": self._skip_bad_rows}
            return sample(store, self.shape[0], **skipped, tell=tell)
