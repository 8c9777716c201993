"""The facts of a report, computed once from a map and rows of both spaces."""

from collections.abc import Sequence
from numbers import Real
from typing import Any

import numpy as np

from minivec.algorithm.anchors.centroids import kmeans
from minivec.frame import Principal, unit
from minivec.history import recorded_data
from minivec.map import LinearMap
from minivec.metrics import partner_ranks, retrieval_metrics
from minivec.picture import agreeing_view, leading_view, raw_views
from minivec.report.clusters import clusters_of
from minivec.report.decision import RELIABLE
from minivec.report.facts import Direction, Facts, Side, Stage
from minivec.search import csls_top_k, top_k
from minivec.validation import as_rows

SHOWN = 10_000  # rows a side
FEWEST = 20
MATCHES = 3  # nearest rows that are listed
NEIGHBORS = 10  # whose counts tell hubs
CLUSTERS = 8  # as many colours as can be told apart
DIRECTIONS = 64
FEW_MUTUAL = 50  # below that the nearest rows stand in for mutual ones

Pairs = tuple[np.ndarray, np.ndarray, str]  # row numbers of A and of B, and what the pairs are


def gather(
    bridge: LinearMap,
    A: Any,
    B: Any,
    *,
    source_texts: Sequence[str] | None = None,
    target_texts: Sequence[str] | None = None,
    paired: bool = False,
) -> Facts:
    """The facts of ``bridge`` on raw rows ``A`` (nA, dA) and ``B`` (nB, dB); arguments as ``aligner.report`` has them.

    Of more than SHOWN rows a side the same random ones are used every time.
    """
    history, weights = bridge.history, bridge.weights
    if "data" not in history:
        raise ValueError("a report needs the history of the fit, and this map has none")
    A, B = as_rows(A, "A", bridge.shape[0], FEWEST), as_rows(B, "B", bridge.shape[1], FEWEST)
    if paired and len(A) != len(B):
        raise ValueError(f"paired rows must be as many on both sides: A has {len(A)} rows, B has {len(B)}")
    target_texts = source_texts if paired and target_texts is None else target_texts
    rng = np.random.default_rng(0)
    shown = _shown(len(A), rng)
    rows = shown, shown if paired else _shown(len(B), rng)
    texts = [_texts("source", source_texts, len(A), rows[0]), _texts("target", target_texts, len(B), rows[1])]
    same = tuple(recorded_data(X) == history["data"][name] for X, name in ((A, "XA"), (B, "XB")))
    counts = len(A), len(B)
    A, B = (np.asarray(X[chosen], np.float32) for X, chosen in zip((A, B), rows, strict=True))

    U, V = bridge.for_queries()(A), unit(B)
    matches = _matches(U, V, paired)
    near, back, rank = matches["near"][:, 0], matches["back"], matches["rank"]
    pairs = _pairs(near, back, paired)
    X, Y = unit(A - weights["source_mean"]), unit(B - weights["target_mean"])
    Z = unit(X @ weights["W"])
    after, view = _after(Z, Y, pairs)
    centroids = unit(kmeans(Y, min(CLUSTERS, max(2, len(Y) // 50)), rng))
    clusters = [top_k(each, centroids, 1)[1][:, 0] for each in (Y if paired else Z, Y)]
    source, target = (
        Side(*given) for given in zip("AB", counts, rows, texts, raw_views(unit(A), V), after, clusters, strict=True)
    )
    found = (back if rank is None else rank) == 1
    return Facts(
        history=history,
        shape=bridge.shape,
        paired=paired,
        same_data=(same[0], same[1]),
        source=source,
        target=target,
        **matches,
        turned_top1=_turned_top1(bridge, A, V) if paired and matches["metrics"]["top1_accuracy"] < RELIABLE else None,
        random_cosine=np.einsum("ij,ij->i", U, V[rng.integers(len(V), size=len(U))]),
        clusters=clusters_of((source, target), centroids, (Z, Y), cosine=matches["cosine"][:, 0], success=found),
        directions=_directions(source, X, Y, weights["W"], pairs),
        view=view,
        stages=stages_of(history),
    )


def _matches(U: np.ndarray, V: np.ndarray, paired: bool) -> dict[str, Any]:
    """What the facts say about the nearest rows in ``V`` (m, dB) of mapped rows ``U`` (n, dB), both of unit rows."""
    cosine, near = top_k(U, V, NEIGHBORS)
    ranks = partner_ranks(U, V) if paired else None
    return {
        "near": near[:, :MATCHES],
        "cosine": cosine[:, :MATCHES],
        "csls": csls_top_k(U, V, 1)[1][:, 0],
        "back": partner_ranks(V[near[:, 0]], U)[1],
        "rank": ranks[1] if ranks else None,
        "partner_cosine": ranks[0] if ranks else None,
        "metrics": retrieval_metrics(*ranks) if ranks else None,
        "occurrences": np.bincount(near.ravel(), minlength=len(V)),
    }


def _turned_top1(bridge: LinearMap, A: np.ndarray, V: np.ndarray) -> float | None:
    """The top-1 of the inverse map on true pairs ``A`` and ``V`` (n, d): high where only the direction was wrong."""
    if not bridge.invertible or bridge.shape[0] != bridge.shape[1]:
        return None
    return retrieval_metrics(*partner_ranks(unit(bridge.inverse().for_queries()(A)), V))["top1_accuracy"]


def _shown(n: int, rng: np.random.Generator) -> np.ndarray:
    """The numbers of the rows to show, rising: all of ``n``, or SHOWN random ones."""
    return np.arange(n) if n <= SHOWN else np.sort(rng.choice(n, SHOWN, replace=False))


def _texts(name: str, texts: Sequence[str] | None, count: int, rows: np.ndarray) -> list[str] | None:
    """The texts of ``rows``, white space as single spaces; ValueError where there are not ``count`` texts."""
    if texts is None:
        return None
    if isinstance(texts, str) or len(texts) != count:
        number = "one" if isinstance(texts, str) else len(texts)
        raise ValueError(f"{name}_texts must have a text for each of the {count} rows; got {number}")
    return [" ".join(str(texts[row]).split()) for row in rows]


def _pairs(near: np.ndarray, back: np.ndarray, paired: bool) -> Pairs:
    """The rows of A and B that belong together, as far as this is known."""
    rows = np.arange(len(near))
    if paired:
        return rows, rows, "true pairs"
    if (back == 1).sum() >= FEW_MUTUAL:
        return rows[back == 1], near[back == 1], "mutual nearest rows"
    return rows, near, "nearest rows"


def _after(Z: np.ndarray, Y: np.ndarray, pairs: Pairs) -> tuple[list[np.ndarray], str]:
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


def _directions(source: Side, X: np.ndarray, Y: np.ndarray, W: np.ndarray, pairs: Pairs) -> list[Direction]:
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


def stages_of(history: dict[str, Any]) -> list[Stage]:
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
