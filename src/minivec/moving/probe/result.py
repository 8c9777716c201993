"""What a probe says: the ways to search in figures, the subjects, and a decision in words."""

import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from minivec.moving.probe.estimate import Estimate
from minivec.report import rendering

FIGURES = {
    "recall": "recall",
    "recall_all": "recall, all rows",
    "overlap": "overlap",
    "ndcg": "nDCG",
    "mrr": "MRR",
    "own": "own text",
}
TONES = {  # of the page
    "migrate": "reliable",
    "adapt": "reliable",
    "stay": "doubtful",
    "re-embed": "failed",
    "too few queries to tell": "doubtful",
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
    share of the ceiling's first k documents that are found, among all rows. It is that of the better map, ``way``:
    "migrate" or "adapt". Re-ranking does not count in it.
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
        """Plain data, for JSON: a figure that cannot be measured is None."""
        plain: dict[str, Any] = _plain(asdict(self))
        return plain

    def report(self, path: str | Path) -> None:
        """Write the page, an .html file, whole or not at all; ImportError without the extra ``report``."""
        rendering.save(path, "probe.html", probe=self, tone=TONES[self.decision.choice])

    def __repr__(self) -> str:
        lines = [f"{self.decision.choice}: {self.decision.reason}", ""]
        lines += _ways(self) if self.ways else _blind(self)
        if self.subjects:
            lines += ["", "weakest subjects (share kept, queries)"]
            lines += [f"  {s.words}: {s.retention.value:.2f}, {s.queries}" for s in self.subjects[:3]]
        if self.worse:
            lines += ["", "queries that lose most"]
            lines += [f"  {_cut(w.query)}: {w.now:.2f} to {w.mapped:.2f}" for w in self.worse[:3]]
        more = [*self.decision.more, *self.notes]
        return "\n".join([*lines, "", *(f"- {line}" for line in more)]).rstrip()


def _plain(value: Any) -> Any:
    """``value`` without NaN, which JSON has not."""
    if isinstance(value, dict):
        return {name: _plain(entry) for name, entry in value.items()}
    if isinstance(value, list):
        return [_plain(entry) for entry in value]
    return None if isinstance(value, float) and math.isnan(value) else value


def _ways(probe: "Probe") -> list[str]:
    about = (
        f"{probe.queries:,} queries among {probe.pool:,} of {probe.rows:,} documents, first {probe.k}; 95% intervals"
    )
    width = max(len(way.name) for way in probe.ways)
    figures = probe.figures
    lines = [about, " " * width + "".join(f"  {title:<18}" for title in figures.values()).rstrip()]
    for way in probe.ways:
        cells = (getattr(way, name) for name in figures)
        shown = "".join(f"  {_span(cell):<18}" for cell in cells)
        lines.append(f"{way.name:<{width}}{shown}".rstrip())
    return lines


def _blind(probe: "Probe") -> list[str]:
    blind = probe.blind
    if blind is None:
        return []
    cosine = f"expected cosine           {blind.expected_cosine:.2f} of a mapped row with its partner"
    return [
        f"confidence                {blind.confidence:.2f} ({blind.verdict})",
        *([] if blind.verdict == "failed" else [cosine]),  # it means nothing in a failed fit
        f"neighbours that stay      {_span(blind.consistency)} of the first {probe.k} once mapped",
    ]


def _span(estimate: Estimate | None) -> str:
    if estimate is None:
        return "-"
    return f"{estimate.value:.2f} ({estimate.low:.2f}-{estimate.high:.2f})"


def _cut(text: str, length: int = 70) -> str:
    return text if len(text) <= length else text[: length - 1] + "…"
