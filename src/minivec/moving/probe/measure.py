"""The figures of every way to search, of every subject, and of what known pairs would give."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from minivec.algorithm.anchors.centroids import kmeans
from minivec.fitting import fit_paired
from minivec.frame import unit
from minivec.map import LinearMap
from minivec.moving.probe.estimate import Bootstrap, Estimate
from minivec.moving.probe.lists import (
    CEILING,
    MEANINGS,
    STAY,
    Search,
    ndcg,
    parts,
    reciprocal_rank,
    searches,
    shared,
    without,
)
from minivec.moving.probe.material import Material
from minivec.moving.probe.result import Learning, Subject, Way, Worse
from minivec.record import Record
from minivec.report.clusters import telling_words
from minivec.search import top_k

SUBJECTS = 8  # clusters of the documents
EXAMPLES = 5  # queries that get worse
LEAST_PAIRS = 100  # of a map that is fitted to pairs of the pool


@dataclass(frozen=True)
class Measured:
    """Lists (q, k) and figures (q,) of each way to search; ``quality`` is nDCG, or recall without relevance."""

    given: Material
    ways: list[Way]
    lists: Mapping[str, np.ndarray]
    quality: Mapping[str, np.ndarray]
    retentions: Mapping[str, Estimate]
    differences: Mapping[tuple[str, str], Estimate]

    def extrapolated(self, name: str) -> bool:
        """Whether most of the interval of a way's recall among all rows comes from the step beyond the pool."""
        (way,) = (way for way in self.ways if way.name == name)
        return way.recall_all.high - way.recall_all.low > 2 * (way.recall.high - way.recall.low)


def measure(given: Material, bridge: LinearMap, *, k: int, rerank: int, boot: Bootstrap, seed: int) -> Measured:
    """Search in every way that ``given`` allows, and compare the results."""
    m = len(given.old)
    if m <= k:
        raise ValueError(f"k must be less than the pool's {m} documents; got {k}")
    found = searches(given, bridge, rerank)
    split = parts(m, np.random.default_rng(seed), min(3, int(np.log2(m / (k + 1)))))
    nearest = _found(given, found[CEILING], split, k)
    grown = {way: _recalls(_found(given, found[way], split, k), nearest) for way in found}
    first = {way: search.lists(np.arange(m), k + 1) for way, search in found.items()}
    lists = {way: without(near, given.own) for way, near in first.items()}
    sizes = np.array([np.mean([len(rows) for rows in chunks]) for chunks in split])
    quality = {way: grown[way][:, -1] if given.gains is None else ndcg(lists[way], given.gains) for way in found}
    ways = []
    for way in found:
        ways.append(
            Way(
                name=way,
                meaning=MEANINGS[way].format(rerank=rerank),
                recall=boot.mean(grown[way][:, -1]),
                recall_all=boot.grown(grown[way], sizes, given.rows, k),
                overlap=boot.mean(shared(lists[way], lists[STAY])) if STAY in lists else None,
                ndcg=None if given.gains is None else boot.mean(quality[way]),
                mrr=None if given.gains is None else boot.mean(reciprocal_rank(lists[way], given.gains)),
                own=boot.mean(first[way][:, 0] == given.own) if (given.own >= 0).all() else None,
            )
        )
    judged = given.gains is not None
    retentions = {
        way.name: boot.ratio(quality[way.name], quality[CEILING]) if judged else way.recall_all for way in ways
    }
    differences = {
        (one, other): boot.mean(quality[one] - quality[other]) for one in found for other in found if one != other
    }
    return Measured(given, ways, lists, quality, retentions, differences)


def _found(given: Material, search: Search, split: list[list[np.ndarray]], k: int) -> list[list[np.ndarray]]:
    """Lists (q, k) in each part of each size."""
    return [[without(search.lists(rows, k + 1), given.own) for rows in chunks] for chunks in split]


def _recalls(lists: list[list[np.ndarray]], nearest: list[list[np.ndarray]]) -> np.ndarray:
    """The share of the ``nearest`` documents that ``lists`` have: (q, sizes), means over the parts of each size."""
    return np.stack(
        [
            np.mean([shared(a, b) for a, b in zip(one, other, strict=True)], 0)
            for one, other in zip(lists, nearest, strict=True)
        ],
        1,
    )


def subjects(measured: Measured, best: str, boot_seed: int) -> list[Subject]:
    """The clusters of the documents by the new model, the one with the least retention first."""
    given = measured.given
    rng = np.random.default_rng(boot_seed)
    rows = unit(given.new)
    mean = rows.mean(0)
    framed, asked = unit(rows - mean), unit(unit(given.new_queries) - mean)
    centroids = unit(kmeans(framed, max(2, min(SUBJECTS, len(rows) // 50)), rng))
    cluster, own = (top_k(X, centroids, 1)[1][:, 0] for X in (framed, asked))
    words = telling_words(given.texts, framed, cluster, len(centroids)) if given.texts else []
    told = []
    for c in np.unique(own):
        chosen = own == c
        ceiling, mapped = measured.quality[CEILING][chosen], measured.quality[best][chosen]
        told.append(
            Subject(
                words=", ".join(words[c] if words else ()) or f"cluster {c + 1}",
                documents=int((cluster == c).sum()),
                queries=int(chosen.sum()),
                retention=Bootstrap(int(chosen.sum()), boot_seed).ratio(mapped, ceiling),
            )
        )
    return sorted(told, key=lambda subject: np.nan_to_num(subject.retention.value, nan=2.0))


def worse(measured: Measured, best: str) -> list[Worse]:
    """The queries that lose most: to today's search where that is known, otherwise to re-embedding."""
    given = measured.given
    before = STAY if STAY in measured.quality else CEILING
    now, mapped = measured.quality[before], measured.quality[best]
    lost = np.argsort(mapped - now, kind="stable")[:EXAMPLES]
    ceiling, found = (measured.lists[way][:, 0] for way in (CEILING, best))

    def document(i: int) -> str:
        return given.texts[i] if given.texts else f"row {i} of the pool"

    return [
        Worse(
            query=given.query_texts[i] if given.query_texts else f"query {i}",
            now=float(now[i]),
            mapped=float(mapped[i]),
            ceiling=document(ceiling[i]),
            found=document(found[i]),
        )
        for i in lost
        if mapped[i] < now[i]
    ]


def learned(given: Material, bridge: LinearMap, *, k: int, boot: Bootstrap, seed: int) -> list[Learning]:
    """What maps from known pairs of one half of the pool find in the other half, against ``bridge`` in that half.

    Queries' own documents are never among the pairs.
    """
    free = np.setdiff1d(np.arange(len(given.old)), given.own)
    order = np.random.default_rng(seed).permutation(free)
    most = len(free) // 2
    unseen = np.sort(order[most:])
    if most < LEAST_PAIRS or len(unseen) <= k:
        return []
    queries, new = unit(given.new_queries), unit(given.new)
    nearest = _found(given, Search(queries, new), [[unseen]], k)

    def recall(mapped: LinearMap) -> np.ndarray:
        return _recalls(_found(given, Search(queries, mapped(given.old)), [[unseen]], k), nearest)[:, 0]

    now, steps = recall(bridge), []
    for pairs in sorted({max(LEAST_PAIRS, most // 4), max(LEAST_PAIRS, most // 2), most}):
        rows = order[:pairs]
        fitted = fit_paired(given.old[rows], given.new[rows], "orthogonal", seed, Record(), versions={}, spaces={})
        then = recall(fitted)
        steps.append(Learning(pairs, boot.mean(then), boot.mean(then - now)))
    return steps


def consistency(old: np.ndarray, bridge: LinearMap, *, k: int, queries: int, boot: Bootstrap) -> Estimate:
    """The share of rows' k nearest neighbours that stay among their k nearest once mapped, for ``queries`` rows."""
    own = np.arange(queries)
    before, after = (
        without(Search(rows[:queries], rows).lists(np.arange(len(rows)), k + 1), own)
        for rows in (unit(old), bridge(old))
    )
    return boot.mean(shared(after, before))
