"""What a probe measures on: a pool of documents and queries, each with vectors of both models as far as they exist."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from minivec.stores import Store
from minivec.validation import as_rows
from minivec.verify import kept, without_vector

Embed = Callable[..., np.ndarray]  # an Embedder: texts, kind -> (n, width)
Relevance = Mapping[str, Mapping[str, float]]  # query's name -> document's key -> gain


@dataclass(frozen=True)
class Material:
    """A pool of m documents and q queries, drawn from a store of ``rows`` rows.

    - ``old`` (m, dA), ``new`` (m, dB): vectors of the documents; ``texts`` (m), if known
    - ``old_queries`` (q, dA), if known, ``new_queries`` (q, dB); ``query_texts`` (q), if known
    - ``own`` (q,): the number of the document that a query is, or -1
    - ``gains``: for each query its relevant documents, by number; None where relevance is not known
    """

    rows: int
    old: np.ndarray
    new: np.ndarray
    new_queries: np.ndarray
    old_queries: np.ndarray | None
    own: np.ndarray
    texts: list[str] | None = None
    query_texts: list[str] | None = None
    gains: list[dict[int, float]] | None = None
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Queries:
    """Queries with the vectors that are known of them, and the names that relevance calls them by."""

    names: list[str]
    new: np.ndarray
    old: np.ndarray | None
    texts: list[str] | None


@dataclass(frozen=True)
class Pool:
    """Documents of a store: ``keys`` (m), ``old`` vectors (m, dA), ``texts`` (m) if there are any.

    ``numbers`` (m,) are their places in key order.
    """

    keys: list[Any]
    numbers: np.ndarray
    old: np.ndarray
    texts: list[str] | None


def drawn(
    store: Store, rows: int, column: str | None, *, wanted: Collection[str], fitted: Collection[Any], seed: int
) -> tuple[Pool, int]:
    """``rows`` random documents of a store, those with the keys ``wanted`` before all, and the store's number of rows.

    Rows with the keys ``fitted`` are left out, and rows without a vector, or without a text in ``column``.
    """
    store.schema()
    store.skip_nulls = True
    keys = store.keys()
    left_out = set(fitted)
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(keys))
    if wanted:
        first = np.array([str(keys[i]) in wanted for i in order], bool)
        order = np.r_[order[first], order[~first]]
    if left_out:
        order = order[[keys[i] not in left_out for i in order]]
    if not len(order):
        raise ValueError(f"{store}: it has no row that the map was not fitted on as a pair")
    chosen = np.sort(order[:rows])
    found: list[Any] = []
    vectors, texts = [], []
    for start in range(0, len(chosen), store.fetched):
        block = store.fetch([keys[i] for i in chosen[start : start + store.fetched]])
        block = kept(block, ~without_vector(block))
        read = _texts(store, block.payload, column) if column is not None else [" "] * len(block.keys)
        there = np.array([bool(text) for text in read], bool)
        found += [key for key, has in zip(block.keys, there, strict=True) if has]
        vectors.append(block.vectors[there])
        texts += [text for text in read if text]
    numbers = {keys[i]: i for i in chosen}
    places = np.array([numbers[key] for key in found], int)
    return Pool(found, places, np.concatenate(vectors), None if column is None else texts), len(keys)


def material(
    pool: Pool, rows: int, new: np.ndarray, queries: Queries | int, relevance: Relevance | None, *, seed: int
) -> Material:
    """The pool with its new vectors, and queries: those given, or so many documents of the pool."""
    if isinstance(queries, int):
        own = np.sort(np.random.default_rng(seed + 1).permutation(len(pool.keys))[:queries])
        texts = None if pool.texts is None else [pool.texts[i] for i in own]
        note = (
            "the queries are documents of the store, which are longer than most queries: with your own, give --queries"
        )
        return Material(rows, pool.old, new, new[own], pool.old[own], own, pool.texts, texts, notes=[note])
    gains, chosen, notes = None, np.arange(len(queries.names)), []
    if relevance is not None:
        numbers = {str(key): i for i, key in enumerate(pool.keys)}
        judged = [
            {numbers[key]: gain for key, gain in relevance.get(name, {}).items() if gain > 0 and key in numbers}
            for name in queries.names
        ]
        chosen = np.array([i for i, gain in enumerate(judged) if gain], int)
        if not len(chosen):
            raise ValueError("relevance: no query has a relevant document among the store's keys")
        if len(chosen) < len(judged):
            notes.append(f"{len(judged) - len(chosen):,} of {len(judged):,} queries have no relevant document here")
        gains = [judged[i] for i in chosen]
    old = None if queries.old is None else queries.old[chosen]
    asked = None if queries.texts is None else [queries.texts[i] for i in chosen]
    own = np.full(len(chosen), -1)
    return Material(rows, pool.old, new, queries.new[chosen], old, own, pool.texts, asked, gains, notes)


def embedded(embed: Embed | None, texts: Sequence[str], kind: str, width: int) -> np.ndarray:
    """The texts' vectors (n, width), checked; ValueError for another number of them or another width."""
    if embed is None:
        raise ValueError("embedder is needed for texts without vectors")
    rows = as_rows(embed(list(texts), kind=kind), f"the model's {kind} vectors", width)
    if len(rows) != len(texts):
        raise ValueError(f"the model gave {len(rows)} vectors for {len(texts)} texts")
    return rows


def _texts(store: Store, payload: Any, column: str) -> list[str]:
    """The text of each row of a block; "" where it has none. ValueError where there is no such column."""
    texts = []
    for row in [] if payload is None else store.comparable(payload):
        fields = _fields(row)
        if column not in fields:
            known = ", ".join(map(str, fields)) or "none"
            raise ValueError(f"{store}: no column {column!r} with texts; it has: {known}")
        value = fields[column]
        texts.append(" ".join(value.split()) if isinstance(value, str) else "")
    if payload is None:
        raise ValueError(f"{store}: no column {column!r} with texts; it has vectors only")
    return texts


def _fields(row: Any) -> dict[str, Any]:
    """A row's payload by name: Chroma's is (document, metadata, uri), Qdrant's (payload, other vectors)."""
    if isinstance(row, tuple) and len(row) == 3:
        return {"document": row[0], **(row[1] or {}), "uri": row[2]}
    fields = row[0] if isinstance(row, tuple) else row
    return dict(fields or {})
