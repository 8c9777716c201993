"""Lists of results in each way to search, and the figures of each list."""

from dataclasses import dataclass

import numpy as np

from minivec.frame import unit
from minivec.map import LinearMap
from minivec.moving.probe.material import Material
from minivec.search import top_k

STAY, CEILING, MIGRATE, ADAPT, RERANK, NOTHING = (
    "stay",
    "re-embed",
    "migrate",
    "adapt",
    "adapt, re-rank",
    "nothing done",
)
MEANINGS = {
    STAY: "old queries, old vectors",
    CEILING: "new queries, new vectors: the ceiling",
    MIGRATE: "new queries, mapped vectors",
    ADAPT: "mapped queries, old vectors",
    RERANK: "adapt, its first {rerank} ranked again by the new model's vectors",
    NOTHING: "new queries, old vectors: the floor",
}


@dataclass(frozen=True)
class Search:
    """A way to search: queries (q, d) among documents (m, d), unit rows of one space.

    With ``second``, queries and documents of another space, the first ``rerank`` results are ranked again there.
    """

    queries: np.ndarray
    documents: np.ndarray
    second: tuple[np.ndarray, np.ndarray] | None = None
    rerank: int = 0

    def lists(self, rows: np.ndarray, count: int) -> np.ndarray:
        """The ``count`` best of the documents ``rows`` (n,) for each query, best first: their numbers (q, count)."""
        if self.second is None:
            return rows[top_k(self.queries, self.documents[rows], count)[1]]
        found = rows[top_k(self.queries, self.documents[rows], min(len(rows), max(count, self.rerank)))[1]]
        queries, documents = self.second
        scores = np.stack([documents[near] @ query for near, query in zip(found, queries, strict=True)])
        return np.take_along_axis(found, np.argsort(-scores, axis=1, kind="stable")[:, :count], 1)


def searches(given: Material, bridge: LinearMap, rerank: int) -> dict[str, Search]:
    """The ways to search that what is ``given`` allows, by name."""
    old, new = unit(given.old), unit(given.new)
    queries = unit(given.new_queries)
    ways = {} if given.old_queries is None else {STAY: Search(unit(given.old_queries), old)}
    ways[CEILING] = Search(queries, new)
    ways[MIGRATE] = Search(queries, bridge(given.old))
    if bridge.invertible:
        mapped = bridge.inverse().for_queries()(given.new_queries)
        ways[ADAPT] = Search(mapped, old)
        ways[RERANK] = Search(mapped, old, (queries, new), rerank)
    if old.shape[1] == new.shape[1]:
        ways[NOTHING] = Search(queries, old)
    return ways


def without(lists: np.ndarray, own: np.ndarray) -> np.ndarray:
    """Lists (q, k + 1) without each query's ``own`` document (q,), or without their last entry: (q, k)."""
    drop = lists == own[:, None]
    drop[~drop.any(1), -1] = True
    return lists[~drop].reshape(len(lists), -1)


def shared(lists: np.ndarray, others: np.ndarray) -> np.ndarray:
    """The share of the entries of ``others`` (q, k) that ``lists`` (q, k) have, query by query: (q,)."""
    share: np.ndarray = (lists[:, :, None] == others[:, None, :]).any(1).mean(1)
    return share


def ndcg(lists: np.ndarray, gains: list[dict[int, float]]) -> np.ndarray:
    """NDCG of lists (q, k), with gains by document: (q,).

    A gain counts as it is, not exponentially, divided by log2(1 + rank) (Järvelin and Kekäläinen, 2002).
    """
    discounts = 1 / np.log2(2 + np.arange(lists.shape[1]))
    scores = []
    for near, gain in zip(lists, gains, strict=True):
        best = np.sort(list(gain.values()))[::-1][: len(discounts)]
        scores.append(np.array([gain.get(int(i), 0.0) for i in near]) @ discounts / (best @ discounts[: len(best)]))
    return np.array(scores)


def reciprocal_rank(lists: np.ndarray, gains: list[dict[int, float]]) -> np.ndarray:
    """1 / rank of the first relevant document in lists (q, k), or 0 where there is none: (q,)."""
    hits = np.array([[int(i) in gain for i in near] for near, gain in zip(lists, gains, strict=True)])
    return np.where(hits.any(1), 1 / (1 + hits.argmax(1)), 0.0)


def parts(m: int, rng: np.random.Generator, halvings: int = 3) -> list[list[np.ndarray]]:
    """The numbers of m rows in random parts: 8 eighths, 4 quarters, 2 halves, and all of them."""
    order = rng.permutation(m)
    return [[np.sort(part) for part in np.array_split(order, 2**h)] for h in range(halvings, -1, -1)]
