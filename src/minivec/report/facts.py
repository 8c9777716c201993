"""What a report says, as numbers: computed once, shown by the page and by the static pictures alike."""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from numbers import Real
from typing import Any

import numpy as np

from minivec.algorithm.anchors.centroids import kmeans
from minivec.frame import Principal, unit
from minivec.history import recorded_data
from minivec.map import LinearMap
from minivec.metrics import partner_ranks, retrieval_metrics
from minivec.picture import agreeing_view, leading_view, raw_views
from minivec.search import csls_top_k, top_k
from minivec.validation import as_rows

SHOWN = 10_000  # rows a side
FEWEST = 20
MATCHES = 3  # nearest rows that are listed
NEIGHBORS = 10  # whose counts tell hubs
CLUSTERS = 8  # as many colours as can be told apart
DIRECTIONS = 64
FEW_MUTUAL = 50  # below that the nearest rows stand in for mutual ones


@dataclass(frozen=True)
class Side:
    """One space: ``rows`` of the ``count`` given are shown, with their texts, places before and after, clusters."""

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

    ``found`` is the share of its rows of A whose partner is first, or, without true pairs, whose match is mutual.
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
    """What a stage of the fit did: its time, iterations, per run of them the objectives, and what else it last told."""

    name: str
    seconds: float
    steps: int
    runs: list[list[float]]
    told: dict[str, float]


@dataclass(frozen=True)
class Facts:
    """All of it. Arrays run over the rows of A shown (n), but for ``occurrences`` (rows of B shown)."""

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
    occurrences: np.ndarray  # (m,) how often a row of B is among the NEIGHBORS nearest of a row of A
    random_cosine: np.ndarray  # (n,) with some other row of B
    clusters: list[Cluster]
    directions: list[Direction]
    view: str
    stages: list[Stage]

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


def gather(
    bridge: LinearMap,
    A: Any,
    B: Any,
    source_texts: Sequence[str] | None = None,
    target_texts: Sequence[str] | None = None,
    paired: bool = False,
) -> Facts:
    """The facts of ``bridge`` on raw rows ``A`` (nA, dA) and ``B`` (nB, dB); arguments as ``aligner.report`` has them.

    Rows beyond SHOWN are left out by lot, always the same ones. Nearest rows are sought among the rows shown.
    """
    A, B = as_rows(A, "A", bridge.shape[0], FEWEST), as_rows(B, "B", bridge.shape[1], FEWEST)
    if paired and len(A) != len(B):
        raise ValueError(f"paired rows must be as many on both sides: A has {len(A)} rows, B has {len(B)}")
    target_texts = source_texts if paired and target_texts is None else target_texts
    rng = np.random.default_rng(0)
    rows = [np.arange(n) if n <= SHOWN else np.sort(rng.choice(n, SHOWN, replace=False)) for n in (len(A), len(B))]
    rows = [rows[0], rows[0] if paired else rows[1]]
    texts = [
        _texts(name, given, X, some)
        for name, given, X, some in zip(("source", "target"), (source_texts, target_texts), (A, B), rows, strict=True)
    ]
    data = bridge.history["data"]
    same = tuple(recorded_data(X) == data[name] for X, name in ((A, "XA"), (B, "XB")))
    counts = len(A), len(B)
    A, B = (np.asarray(X[some], np.float32) for X, some in zip((A, B), rows, strict=True))

    U, V = bridge(A), unit(B)
    cosine, near = top_k(U, V, NEIGHBORS)
    back = partner_ranks(V[near[:, 0]], U)[1]
    found = partner_ranks(U, V) if paired else None
    pairs = _pairs(near[:, 0], back, paired)

    weights = bridge.weights
    X, Y = unit(A - weights["source_mean"]), unit(B - weights["target_mean"])
    Z = unit(X @ weights["W"])
    after, view = _after(Z, Y, pairs)
    centroids = unit(kmeans(Y, min(CLUSTERS, max(2, len(Y) // 50)), rng))
    cluster = [top_k(rows, centroids, 1)[1][:, 0] for rows in (Z, Y)]
    sides = [
        Side(*given)
        for given in zip(("A", "B"), counts, rows, texts, raw_views(unit(A), V), after, cluster, strict=True)
    ]
    success = (found[1] == 1) if found else (back == 1)
    return Facts(
        history=bridge.history,
        shape=(A.shape[1], B.shape[1]),
        paired=paired,
        same_data=(same[0], same[1]),
        source=sides[0],
        target=sides[1],
        near=near[:, :MATCHES],
        cosine=cosine[:, :MATCHES],
        csls=csls_top_k(U, V, 1)[1][:, 0],
        back=back,
        rank=found[1] if found else None,
        partner_cosine=found[0] if found else None,
        metrics=retrieval_metrics(*found) if found else None,
        occurrences=np.bincount(near.ravel(), minlength=len(V)),
        random_cosine=np.einsum("ij,ij->i", U, V[rng.integers(len(V), size=len(U))]),
        clusters=_clusters(sides[0], sides[1], centroids, Z, cosine[:, 0], success),
        directions=_directions(sides[0], X, Y, weights["W"], pairs),
        view=view,
        stages=_stages(bridge.history),
    )


def _texts(name: str, texts: Sequence[str] | None, X: np.ndarray, rows: np.ndarray) -> list[str] | None:
    """The texts of ``rows``, white space as single spaces; ValueError where their number is not that of ``X``'s."""
    if texts is None:
        return None
    if isinstance(texts, str) or len(texts) != len(X):
        number = "one" if isinstance(texts, str) else len(texts)
        raise ValueError(f"{name}_texts must have a text for each of the {len(X)} rows; got {number}")
    return [" ".join(str(texts[row]).split()) for row in rows]


def _pairs(near: np.ndarray, back: np.ndarray, paired: bool) -> tuple[np.ndarray, np.ndarray, str]:
    """Row numbers of A and B that belong together, as far as is known, and what they are."""
    rows = np.arange(len(near))
    if paired:
        return rows, rows, "true pairs"
    if (back == 1).sum() >= FEW_MUTUAL:
        return rows[back == 1], near[back == 1], "mutual nearest rows"
    return rows, near, "nearest rows"


def _after(Z: np.ndarray, Y: np.ndarray, pairs: tuple[np.ndarray, np.ndarray, str]) -> tuple[list[np.ndarray], str]:
    """Mapped rows ``Z`` and rows ``Y`` of B in two common directions, and in words which.

    The directions are sought among the leading ones, fewer for few pairs: in all of them any would agree.
    """
    left, right, what = pairs
    leading = min(64, len(left) // 10, Y.shape[1])
    if leading < 2:
        both = leading_view(np.concatenate([Z, Y]))
        return np.split(both, [len(Z)]), "the two leading principal directions of both together"
    basis = Principal.of(Y - Y.mean(0)).directions[:, :leading]
    view = basis @ agreeing_view(Z[left] @ basis, Y[right] @ basis)
    return [Z @ view, Y @ view], f"the two directions in which {what} agree best"


def _clusters(
    source: Side, target: Side, centroids: np.ndarray, Z: np.ndarray, cosine: np.ndarray, success: np.ndarray
) -> list[Cluster]:
    """Each cluster's facts, in the order of the centroids; its words are those that its texts have and others lack."""
    words = [[set(re.findall(r"[^\W\d_]{3,}", text.lower())) for text in side.texts or ()] for side in (source, target)]
    overall = Counter(chain.from_iterable(chain(*words)))
    clusters = []
    for c, centroid in enumerate(centroids):
        own, other = source.cluster == c, target.cluster == c
        inside: Counter[str] = Counter()
        for side, members in zip(words, (own, other), strict=True):
            inside.update(chain.from_iterable(side[i] for i in np.flatnonzero(members) if side))
        # Frequent here, rare elsewhere: the expected surplus of a word over its share of all rows.
        share = (own.sum() + other.sum()) / (len(own) + len(other))
        telling = sorted(inside, key=lambda w: -(inside[w] - share * overall[w]) / np.sqrt(overall[w] + 1))
        typical = np.flatnonzero(own)[np.argsort(-(Z[own] @ centroid))[:2]]
        clusters.append(
            Cluster(
                words=", ".join(telling[:3]) or f"cluster {c + 1}",
                source=int(own.sum()),
                target=int(other.sum()),
                cosine=float(cosine[own].mean()) if own.any() else float("nan"),
                found=float(success[own].mean()) if own.any() else float("nan"),
                examples=[source.label(i) for i in typical],
            )
        )
    return clusters


def _directions(
    source: Side, X: np.ndarray, Y: np.ndarray, W: np.ndarray, pairs: tuple[np.ndarray, np.ndarray, str]
) -> list[Direction]:
    """For A's leading principal directions, the correlation of paired rows along them and along their images in B."""
    principal = Principal.of(X - X.mean(0))
    basis = principal.directions[:, :DIRECTIONS]
    along, across = X @ basis, Y @ (W.T @ basis)
    P, Q = along[pairs[0]], across[pairs[1]]
    P, Q = P - P.mean(0), Q - Q.mean(0)
    correlation = (P * Q).sum(0) / np.maximum(np.sqrt((P * P).sum(0) * (Q * Q).sum(0)), 1e-12)
    shares = principal.values / principal.values.sum()
    ends = np.argsort(along, axis=0)
    return [
        Direction(
            number=k + 1,
            variance=float(shares[k]),
            correlation=float(correlation[k]),
            low=[source.label(i) for i in ends[:2, k]],
            high=[source.label(i) for i in ends[:-3:-1, k]],
        )
        for k in range(basis.shape[1])
    ]


def _stages(history: dict[str, Any]) -> list[Stage]:
    """The stages in their order; a new run of iterations begins where the count starts again."""
    stages = []
    for name, seconds in history["seconds"].items():
        steps = [step for step in history["steps"] if step["stage"] == name]
        runs: list[list[float]] = []
        for step in steps:
            if step["step"] == 1:
                runs.append([])
            if "objective" in step:
                runs[-1].append(step["objective"])
        last = steps[-1] if steps else {}
        told = {key: float(v) for key, v in last.items() if isinstance(v, Real) and key not in ("step", "objective")}
        stages.append(Stage(name, seconds, len(steps), [run for run in runs if run], told))
    return stages
