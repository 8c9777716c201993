"""The course of a probe: what is given is checked, drawn, embedded, measured and judged."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from minivec.history import recorded_data, remedies
from minivec.map import LinearMap
from minivec.moving import paired
from minivec.moving.probe.decision import UNKNOWN, advice, better_map, decide
from minivec.moving.probe.estimate import Bootstrap
from minivec.moving.probe.material import Embed, Material, Pool, Queries, draw_pool, embedded, material
from minivec.moving.probe.measure import consistency, learned, measure, subjects, worse
from minivec.moving.probe.result import Blind, Decision, Probe
from minivec.settings import whole_number
from minivec.signature import refuse_wrong
from minivec.stores import Store
from minivec.validation import as_rows, drawn


@dataclass(frozen=True)
class Options:
    """The numbers of a probe, as ``probe`` takes them; ValueError where one is out of range."""

    sample: int
    pool: int
    k: int
    rerank: int
    min_retention: float
    any_vectors: bool
    seed: int

    def __post_init__(self) -> None:
        for name in ("sample", "pool", "k", "rerank"):
            whole_number(name, getattr(self, name), 1)
        whole_number("seed", self.seed, 0)
        if not 0 <= self.min_retention <= 1:
            raise ValueError(f"min_retention must be from 0 to 1; got {self.min_retention}")


@dataclass(frozen=True)
class Given:
    """What the caller of ``probe`` hands over; ValueError where it does not fit together."""

    embedder: Embed | None
    text: str | None
    old_embedder: Embed | None
    queries: Mapping[str, str] | None
    new_documents: Any
    new_keys: Sequence[Any] | None
    new_queries: Any
    old_queries: Any
    relevance: Mapping[str, Mapping[str, float]] | None

    def __post_init__(self) -> None:
        if self.embedder is not None and self.new_documents is not None:
            raise ValueError("embedder and new_documents both give the new model's vectors: leave one out")
        if self.embedder is not None and self.text is None:
            raise ValueError("text must name the store's column of texts that embedder is to embed")
        if self.queries is not None and not self.queries:
            raise ValueError("queries is empty")
        if self.blind and any(x is not None for x in (self.queries, self.new_queries, self.relevance)):
            raise ValueError("queries need the new model's vectors of documents: give embedder, or new_documents")
        if self.queries is not None and self.new_queries is None and self.embedder is None:
            raise ValueError("queries are texts: give embedder, or their vectors as new_queries")
        if self.relevance is not None and self.queries is None and self.new_queries is None:
            raise ValueError("relevance needs the queries that it judges: give queries, or new_queries")
        if self.old_queries is not None and self.new_queries is None and self.queries is None:
            raise ValueError("old_queries need the new model's vectors of the same queries: give new_queries")

    @property
    def blind(self) -> bool:
        """Whether there are no vectors of the new model."""
        return self.embedder is None and self.new_documents is None

    def named(self, store: Store) -> str:
        """What the rows of ``new_documents`` belong to, in words."""
        return f"rows of {store}" if self.new_keys is None else "new_keys"

    def wanted(self) -> set[str]:
        """The keys of documents that are relevant to one of the queries."""
        judged = self.relevance or {}
        names = self.queries if self.queries is not None else judged
        return {key for name in names for key, gain in judged.get(name, {}).items() if gain > 0}

    def asked(self, bridge: LinearMap) -> Queries | None:
        """The queries with their vectors; None where documents are to be the queries."""
        if self.queries is None and self.new_queries is None:
            return None
        dA, dB = bridge.shape
        texts = None if self.queries is None else list(self.queries.values())
        old = None if self.old_queries is None else as_rows(self.old_queries, "old_queries", dA)
        if self.new_queries is not None:
            new = as_rows(self.new_queries, "new_queries", dB)
        else:
            new = embedded(self.embedder, texts or [], "query", dB)
        if old is None and self.old_embedder is not None and texts is not None:
            old = embedded(self.old_embedder, texts, "query", dA)
        names = list(self.queries) if self.queries is not None else [str(i) for i in range(len(new))]
        for name, count in (("old_queries", len(new if old is None else old)), ("queries", len(names))):
            if count != len(new):
                raise ValueError(f"{name} must be as many as new_queries, {len(new)}; got {count}")
        return Queries(names, new, old, texts)


def run(store: Store, bridge: LinearMap, given: Given, fitted: Collection[Any], options: Options) -> Probe:
    """Probe ``bridge`` on what is ``given``, with rows of ``store`` but those with the keys ``fitted``."""
    width = store.schema().width
    if width != bridge.shape[0]:
        turned = "; its inverse maps from that width" if width == bridge.shape[1] else ""
        raise ValueError(f"{store}: rows of {width} dimensions, and the map is from {bridge.shape[0]}{turned}")
    store.skip_nulls = store.skip_bad_rows = True
    rows = store.count()
    new = None if given.new_documents is None else as_rows(given.new_documents, "new_documents", bridge.shape[1])
    count = rows if given.new_keys is None else len(given.new_keys)
    if new is not None and len(new) != count:
        raise ValueError(
            f"new_documents must have a row for each of the {count:,} {given.named(store)}; got {len(new):,}"
        )
    among = None if given.new_keys is None else {key: i for i, key in enumerate(given.new_keys)}
    known = paired.KEY in bridge.history
    guessed = set() if fitted or known else _drawn_by_align(store, bridge, rows)
    pool = draw_pool(
        store,
        options.pool,
        given.text,
        among=among,
        wanted=given.wanted(),
        fitted=fitted or guessed,
        is_fitted=lambda X: paired.paired(bridge.history, X),
        seed=options.seed,
    )
    if len(pool.keys) <= options.k:
        raise ValueError(f"{store}: {len(pool.keys)} rows can be scored, and k={options.k} needs more than that")
    notes = _held_out(bridge, pool, fitted, guessed)
    if not options.any_vectors:
        refuse_wrong(pool.old, bridge.signatures, store)
    if given.blind:
        return _blind(str(store), rows, pool, bridge, notes, options)
    asked = given.asked(bridge)
    if new is None:
        new = embedded(given.embedder, pool.texts or [], "document", bridge.shape[1])
    else:
        new = np.asarray(new[pool.numbers], np.float32)
    query = min(options.sample, len(pool.keys)) if asked is None else asked
    made = material(pool, rows, new, query, given.relevance, seed=options.seed)
    return _judged(str(store), replace(made, notes=[*made.notes, *notes]), bridge, options)


def _judged(store: str, given: Material, bridge: LinearMap, options: Options) -> Probe:
    """The figures of every way to search, and the decision."""
    k, seed, queries = options.k, options.seed, len(given.new_queries)
    boot = Bootstrap(queries, seed)
    measured = measure(given, bridge, k=k, rerank=options.rerank, boot=boot, seed=seed)
    best = better_map(measured.retentions)
    learning = learned(given, bridge, k=k, boot=boot, seed=seed)
    decision = decide(
        measured.retentions,
        measured.differences,
        queries=queries,
        target=options.min_retention,
        judged=given.gains is not None,
        extrapolated=given.gains is None and measured.extrapolated(best),
    )
    notes = list(given.notes)
    if given.old_queries is None:
        notes.append("today's search was not measured: the queries have no vectors of the old model")
    if not bridge.invertible:
        notes.append("adapt was not measured: the map holds one direction only")
    if bridge.shape[0] != bridge.shape[1]:
        notes.append(f"nothing done finds nothing: the widths differ, {bridge.shape[0]} and {bridge.shape[1]}")
    return Probe(
        store=store,
        rows=given.rows,
        pool=len(given.old),
        queries=queries,
        k=k,
        ways=measured.ways,
        subjects=subjects(measured, best, seed),
        worse=worse(measured, best),
        learning=learning,
        blind=None,
        decision=replace(decision, more=[*decision.more, *advice(bridge.history, learning)]),
        notes=notes,
    )


def _blind(store: str, rows: int, pool: Pool, bridge: LinearMap, notes: list[str], options: Options) -> Probe:
    """What the history of the fit and the old vectors tell."""
    history, queries = bridge.history, min(options.sample, len(pool.keys))
    boot = Bootstrap(queries, options.seed)
    blind = Blind(
        confidence=float(history.get("confidence", np.nan)),
        verdict=history.get("verdict", "unknown"),
        expected_cosine=float(bridge.weights["expected_cosine"]),
        consistency=consistency(pool.old, bridge, k=options.k, queries=queries, boot=boot),
    )
    failed = blind.verdict == "failed"
    reason = "there are no vectors of the new model, so no search with them could be measured"
    decision = Decision(
        choice="stay" if failed else UNKNOWN,
        reason=f"the fit failed by its own verdict, and {reason}." if failed else f"{reason}.",
        more=remedies(history) if blind.verdict in ("doubtful", "failed") else [],
        way=None,
        retention=None,
    )
    return Probe(
        store=store,
        rows=rows,
        pool=len(pool.keys),
        queries=queries,
        k=options.k,
        ways=[],
        subjects=[],
        worse=[],
        learning=[],
        blind=blind,
        decision=decision,
        notes=[*notes, "it cannot be known what the new model finds, whether it is better, and which subjects lose"],
    )


def _drawn_by_align(store: Store, bridge: LinearMap, rows: int) -> set[Any]:
    """The keys that ``align --model`` would draw as known pairs of this store, of a history that does not tell them.

    Empty where there were no pairs, or where hardly a row would be left.
    """
    settings, pairs = bridge.history.get("settings", {}), bridge.history.get("pairs", 0)
    if not pairs or settings.get("preset") == "pairs" or pairs > rows // 2:
        return set()
    keys = store.keys()
    return {keys[int(i)] for i in drawn(len(keys), pairs, settings.get("seed", 0))}


def _held_out(bridge: LinearMap, pool: Pool, fitted: Collection[Any], guessed: Collection[Any]) -> list[str]:
    """Whether the rows that are scored had a part in the fit as known pairs, as far as the history tells.

    ValueError where the pool is the very rows that the map was fitted on, all of them with a partner.
    """
    history = bridge.history
    if not history:
        return ["the map has no history: whether its known pairs are among the rows that are scored cannot be known"]
    if not history.get("pairs"):
        return []
    if history["settings"].get("preset") == "pairs" and recorded_data(pool.old) == history["data"]["XA"]:
        raise ValueError(f"the map was fitted on these {len(pool.keys):,} rows as known pairs: none is held out")
    if fitted:
        return [f"{len(fitted):,} rows that the map was fitted on as known pairs were left out"]
    if paired.KEY in history:
        return [f"the {history['pairs']:,} rows that the map was fitted on as known pairs are not scored"]
    unknown = (
        f"the map was fitted on {history['pairs']:,} known pairs, and its history does not say which rows they are: "
        "name them as fitted, or the figures are too good as far as they are among the rows scored"
    )
    if guessed:
        return [f"{unknown}. The {len(guessed):,} rows that align --model draws were left out"]
    return [unknown]
