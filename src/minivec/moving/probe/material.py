"""What a probe measures on: a pool of documents and queries, each with vectors of both models as far as they exist."""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from minivec.moving.embed import LONGEST, plain
from minivec.moving.texts import unsendable, values
from minivec.stores import Block, Store
from minivec.stores.blocks import fetch_all, kept, without_vector
from minivec.validation import as_rows

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

    ``numbers`` (m,) are their rows among the new model's vectors.
    """

    keys: list[Any]
    numbers: np.ndarray
    old: np.ndarray
    texts: list[str] | None


def draw_pool(
    store: Store,
    rows: int,
    column: str | None,
    *,
    among: Mapping[Any, int] | None,
    wanted: Collection[str],
    fitted: Collection[Any],
    is_fitted: Callable[[np.ndarray], np.ndarray],
    seed: int,
) -> Pool:
    """``rows`` random documents of a store, among them all with the keys ``wanted``.

    Only the keys ``among`` are drawn, where it is given: their numbers are its values. Rows with the keys ``fitted``
    are left out, rows whose vectors ``is_fitted`` names, in whose place others are drawn, and rows without a vector,
    or without a text in ``column`` that a model takes.
    """
    keys = store.keys()
    left_out = set(fitted)
    order = np.random.default_rng(seed).permutation(len(keys))
    order = order[[(among is None or plain(keys[i]) in among) and keys[i] not in left_out for i in order]]
    if wanted:
        first = np.array([str(keys[i]) in wanted for i in order], bool)
        order, rows = np.r_[order[first], order[~first]], max(rows, int(first.sum()))
    if not len(order):
        raise ValueError(f"{store}: no row of it can be scored")
    found: list[Any] = []
    vectors: list[np.ndarray] = []
    texts: list[str] = []
    start, missing = 0, rows
    while missing and start < len(order):
        chosen = [keys[i] for i in np.sort(order[start : start + missing])]
        start, missing = start + missing, 0
        for block, read in _with_texts(store, chosen, column):
            paired = is_fitted(block.vectors)
            missing += int(paired.sum())
            texts += [text for text, left_out in zip(read, paired, strict=False) if not left_out]
            block = kept(block, ~paired)
            found += list(block.keys)
            vectors.append(block.vectors)
    numbers = among or {plain(keys[i]): int(i) for i in order[:start]}
    places = np.array([numbers[plain(key)] for key in found], int)
    return Pool(found, places, np.concatenate(vectors), None if column is None else texts)


def _with_texts(store: Store, keys: Sequence[Any], column: str | None) -> Iterator[tuple[Block, list[str]]]:
    """Rows that have a vector, and a text where a ``column`` is asked for, block by block, with those texts."""
    for block in fetch_all(store, keys, payload=column is not None):
        block = kept(block, ~without_vector(block, store))
        if column is None:
            yield block, []
            continue
        read = [text if text and unsendable(text, LONGEST) is None else None for text in values(store, block, column)]
        there = np.array([text is not None for text in read], bool)
        yield kept(block, there), [" ".join(text.split()) for text in read if text]


def material(
    pool: Pool, rows: int, new: np.ndarray, queries: Queries | int, relevance: Relevance | None, *, seed: int
) -> Material:
    """The pool with its new vectors, and queries: those given, or so many documents of the pool."""
    if isinstance(queries, int):
        own = np.sort(np.random.default_rng(seed + 1).permutation(len(pool.keys))[:queries])
        texts = None if pool.texts is None else [pool.texts[i] for i in own]
        note = "the queries are documents of the store; with queries of your own the figures may differ"
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
