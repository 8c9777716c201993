"""What a report says, in numbers. The page, the static pictures and the printed summary all show these."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from minivec.report.decision import Decision, decide


@dataclass(frozen=True)
class Side:
    """One space: of the ``count`` rows given, those with the numbers ``rows`` are shown.

    Each has a text, places ``before`` and ``after`` in the pictures (n, 2), and the number of its ``cluster``.
    """

    name: str
    count: int
    rows: np.ndarray
    texts: list[str] | None
    before: np.ndarray
    after: np.ndarray
    cluster: np.ndarray

    def label(self, i: int) -> str:
        """The text of the i-th row shown, or its number."""
        return self.texts[i] if self.texts else f"row {self.rows[i]:,}"


@dataclass(frozen=True)
class Cluster:
    """One k-means cluster of both spaces together: how many rows of each side, and how well they match.

    ``found`` is the share of its rows of A whose partner is first. Without true pairs it is the share whose match is
    mutual.
    """

    words: str
    source: int
    target: int
    cosine: float
    found: float
    examples: list[str]


@dataclass(frozen=True)
class Direction:
    """A principal direction of A: its share of the variance, how far B agrees, and the texts at its ends."""

    number: int
    variance: float
    correlation: float
    low: list[str]
    high: list[str]


@dataclass(frozen=True)
class Stage:
    """A stage of the fit: its time, its iterations, the objectives of each run, and its last other diagnostics."""

    name: str
    seconds: float
    steps: int
    runs: list[list[float]]
    told: dict[str, float]


@dataclass(frozen=True)
class Facts:
    """All numbers of a report. Arrays have an entry for each row of A shown (n); ``occurrences`` for each row of B."""

    history: dict[str, Any]
    shape: tuple[int, int]
    paired: bool
    same_data: tuple[bool, bool]
    source: Side
    target: Side
    near: np.ndarray  # (n, MATCHES) rows of B shown, the nearest first
    cosine: np.ndarray  # (n, MATCHES)
    csls: np.ndarray  # (n,) the nearest row of B by CSLS
    back: np.ndarray  # (n,) rank of the row among all mapped rows, seen from its match: 1 if mutual
    rank: np.ndarray | None  # (n,) of the true partner
    partner_cosine: np.ndarray | None
    metrics: dict[str, float] | None
    turned_top1: float | None  # of the inverse map, where true pairs say that the map is wrong
    occurrences: np.ndarray  # (m,) how often a row of B is among the NEIGHBORS nearest of a row of A
    random_cosine: np.ndarray  # (n,) with a random row of B
    clusters: list[Cluster]
    directions: list[Direction]
    view: str
    stages: list[Stage]

    @cached_property
    def decision(self) -> Decision:
        """The verdict on the map, and which evidence decided it."""
        top1 = self.metrics["top1_accuracy"] if self.metrics else None
        return decide(self.history, top1, len(self.near))

    @property
    def telling(self) -> bool:
        """Whether matches are evidence. Without true pairs those of a failed map are not, however good they look."""
        return self.paired or self.decision.verdict != "failed"

    @property
    def ticks(self) -> bool:
        """Whether a match gets a green tick. Without true pairs mutual matches of a doubtful map are not enough."""
        return self.paired or self.decision.verdict == "reliable"

    @property
    def mutual(self) -> float:
        """The share of rows of A that are also the nearest to their nearest row of B."""
        return float((self.back == 1).mean())

    @property
    def hubness(self) -> float:
        """The skewness of ``occurrences``: 0 without hubs, above 3 a few rows draw most others."""
        spread = self.occurrences - self.occurrences.mean()
        return float((spread**3).mean() / max(spread.std(), 1e-12) ** 3)

    @property
    def orphans(self) -> float:
        """The share of rows of B that are never among the nearest of a row of A."""
        return float((self.occurrences == 0).mean())

    @property
    def weakest(self) -> list[Direction]:
        """The five directions in which B agrees least, of those that carry half of A's variance."""
        before = np.cumsum([0.0] + [direction.variance for direction in self.directions])
        heavy = [direction for direction, sum in zip(self.directions, before, strict=False) if sum < 0.5]
        return sorted(heavy, key=lambda direction: direction.correlation)[:5]

    @property
    def weakest_clusters(self) -> list[tuple[int, Cluster]]:
        """The clusters with their numbers, the one whose rows are found least first."""
        return sorted(enumerate(self.clusters), key=lambda numbered: np.nan_to_num(numbered[1].found, nan=-1.0))
