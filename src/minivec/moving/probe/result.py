"""What a probe says: the ways to search in figures, the subjects, and a decision in words."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from minivec.moving.probe.estimate import Estimate
from minivec.output import check_output, replacing

FIGURES = {
    "recall": "recall",
    "recall_all": "recall, all rows",
    "overlap": "overlap",
    "ndcg": "nDCG",
    "mrr": "MRR",
    "own": "own text",
}


@dataclass(frozen=True)
class Way:
    """One way to search, with means over queries; None where a figure cannot be measured.

    - ``recall``: share of the ceiling's first k documents that are among the first k, in the pool
    - ``recall_all``: the same among all rows of the store, extrapolated from the pool and parts of it
    - ``overlap``: share of today's first k documents that are still among the first k
    - ``ndcg``, ``mrr``: at k, with the relevance that was given
    - ``own``: share of queries, which are texts of the store, whose own document comes first
    """

    name: str
    meaning: str
    recall: Estimate
    recall_all: Estimate
    overlap: Estimate | None = None
    ndcg: Estimate | None = None
    mrr: Estimate | None = None
    own: Estimate | None = None


@dataclass(frozen=True)
class Subject:
    """A cluster of the documents: its ``words``, documents and queries, and the best map's ``retention`` there."""

    words: str
    documents: int
    queries: int
    retention: Estimate


@dataclass(frozen=True)
class Worse:
    """A query that gets worse: its figure ``now`` (with re-embedding where today's is not known) and with the map.

    ``ceiling`` and ``found`` are the first documents that re-embedding and the map give it.
    """

    query: str
    now: float
    mapped: float
    ceiling: str
    found: str


@dataclass(frozen=True)
class Learning:
    """What a map from so many known ``pairs`` of the pool retains, among documents that it has not seen."""

    pairs: int
    recall: Estimate
    gain: Estimate


@dataclass(frozen=True)
class Blind:
    """What is known without texts, queries and vectors of the new model.

    ``consistency`` is the share of each row's k nearest old neighbours that stay among its k nearest once mapped.
    """

    confidence: float
    verdict: str
    expected_cosine: float
    consistency: Estimate


@dataclass(frozen=True)
class Decision:
    """What to do: "stay", "adapt", "migrate", "re-embed" or "too few queries to tell", why, and what would change it.

    ``retention`` is the figure that decided: nDCG as a share of the ceiling's where relevance is known, otherwise the
    share of the ceiling's first k documents that are found. ``way`` is the way to search that it belongs to.
    """

    choice: str
    reason: str
    more: list[str]
    way: str | None
    retention: Estimate | None


@dataclass(frozen=True)
class Probe:
    """What ``probe`` returns. ``print`` shows a table, ``report`` writes a page, and ``to_dict`` gives plain data.

    ``ways``, ``subjects`` and ``worse`` are empty where nothing could be measured; ``blind`` then has what is known.
    """

    store: str
    rows: int
    pool: int
    queries: int
    k: int
    ways: list[Way]
    subjects: list[Subject]
    worse: list[Worse]
    learning: list[Learning]
    blind: Blind | None
    decision: Decision
    notes: list[str]

    def __getitem__(self, name: str) -> Way:
        """The way of this name; KeyError where it was not measured."""
        for way in self.ways:
            if way.name == name:
                return way
        raise KeyError(name)

    def keeps(self, retention: float) -> bool:
        """Whether the interval of the retention lies at or above this share: False where it is not known."""
        known = self.decision.retention
        return known is not None and known.low >= retention

    @property
    def figures(self) -> dict[str, str]:
        """The headings of the figures that were measured, by name."""
        return {name: title for name, title in FIGURES.items() if any(getattr(way, name) for way in self.ways)}

    def to_dict(self) -> dict[str, Any]:
        """Plain data, for JSON."""
        return asdict(self)

    def report(self, path: str | Path) -> None:
        """Write the page, an .html file, whole or not at all; ImportError without the extra ``report``."""
        check_output(path, (".html",))
        from minivec.moving.probe.page import render

        page = render(self).encode("utf-8", "replace")
        with replacing(path) as temporary:
            temporary.write_bytes(page)

    def __repr__(self) -> str:
        from minivec.moving.probe.words import table

        return table(self)
