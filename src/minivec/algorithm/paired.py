"""Known pairs: a closed-form map of pairs alone, and the verdict of held-out pairs on that map or on any other."""

from operator import itemgetter
from typing import Any, NamedTuple

import numpy as np

from minivec.algorithm.confidence import FAILED, RELIABLE, Verdict
from minivec.algorithm.expected import Top1, top1_of_pairs
from minivec.algorithm.problem import Problem, split_pairs
from minivec.algorithm.procrustes import cosine_ranks, low_rank, polar, ridge, trust
from minivec.frame import unit
from minivec.record import Record

CLOSED_FORMS = ("orthogonal", "ridge", "low-rank")
FEWEST = 10  # pairs that a map is fitted to, or that judge one
HELD_OUT = 2_000  # most pairs that judge a map, of the fifth that is held out
CROWD = 4_000  # further rows that held-out partners compete with
WORTH = 1_000, 300, 100  # known pairs that weigh as much as a map, where the two are blended
TELLING = 0.1  # confidence below which the best of several maps may be so by chance
CHANCE = 1.64 / np.sqrt(3)  # standard score that chance exceeds once in 20, times the deviation of one uniform rank


class PairedFit(NamedTuple):
    """The map (dA, dB), the fit the other way (dB, dA), the held-out pairs' verdict, and the values the fit chose."""

    W: np.ndarray
    inverse_W: np.ndarray
    expected_cosine: float
    expected_top1: Top1
    verdict: Verdict
    held_out: dict[str, float]
    chosen: dict[str, Any]


def fit(X: np.ndarray, Y: np.ndarray, mapping: str, seed: int, record: Record) -> PairedFit:
    """Map framed rows ``X`` (m, dA) to their partners ``Y`` (m, dB), by one of CLOSED_FORMS.

    A fifth of the pairs is held out to judge a map of the others; the map returned is of all pairs.
    """
    rng = np.random.default_rng(seed)
    every = np.stack([np.arange(len(X))] * 2, 1)
    judges, rest = (pairs[:, 0] for pairs in split_pairs(every, fewest=1, most=HELD_OUT, rng=rng))
    with record.stage("held-out pairs"):
        W, _ = closed_form(X[rest], Y[rest], mapping, rng)
        x, y = X[judges], Y[judges]
        verdict, held_out = verdict_by_ranks(cosine_ranks(x @ W, y), len(X), min(W.shape))
        cosine = float(np.clip((unit(x @ W) * y).sum(1).mean(), 0, 1))
        top1 = top1_of_pairs(x @ W, y, Y)
    with record.stage("map"):
        W, chosen = closed_form(X, Y, mapping, rng)
        inverse = W.T if mapping == "orthogonal" else closed_form(Y, X, mapping, rng)[0]
    return PairedFit(W, inverse, cosine, top1, verdict, held_out, chosen)


class Selection(NamedTuple):
    """The map that known pairs select: W (dA, dB), the agreement of its halves, what to expect of it, the verdict."""

    W: np.ndarray
    agreement: float
    expected_cosine: float
    expected_top1: Top1
    verdict: Verdict


def select(candidates: list[tuple[float, np.ndarray]], judges: Problem, rest: Problem) -> Selection:
    """Select a map by the pairs of ``judges``, which no candidate has seen, and make it again with those pairs.

    ``candidates`` are the agreements of maps' halves, and the maps. Each map is blended with the pairs of ``rest``, and
    competes with Procrustes on these pairs alone. Of all within a standard error of the best, by the mean logarithm of
    partners' ranks, the one in which pairs weigh most is selected. Where it is no better than chance might be, the
    pairs are likely wrong, and the map with the highest agreement stays as it is.
    """
    x, y = judges.known

    def verdict_on(W: np.ndarray) -> Verdict:
        return verdict_by_ranks(cosine_ranks(x @ W, y), len(x), min(W.shape))[0]

    agreement, W = max(candidates, key=itemgetter(0))
    options = [(*candidate, worth) for candidate in candidates for worth in WORTH] + [(0.0, W, 0)]
    logs = np.stack([np.log(_blend_ranks(W, worth, judges, rest)) for _, W, worth in options])
    behind = logs - logs[logs.mean(1).argmin()]
    tied = behind.mean(1) <= behind.std(1) / np.sqrt(len(x))
    best = min(np.flatnonzero(tied), key=lambda i: (options[i][-1], logs[i].mean()))
    best_agreement, best_W, worth = options[best]
    unseen = blend(best_W, worth, rest)
    verdict = verdict_on(unseen)
    if verdict.confidence < TELLING:
        unseen, verdict = W, verdict_on(W)
    else:
        agreement, W = best_agreement, blend(best_W, worth, _joined(rest, judges.pairs))
    cosine = (unit(x @ unseen) * unit(y)).sum(1)
    expected = float(np.clip(np.average(cosine, weights=trust(cosine) + 1e-6), 0, 1))
    return Selection(W, agreement, expected, top1_of_pairs(x @ unseen, y, judges.Y), verdict)


def _blend_ranks(W: np.ndarray, worth: float, judges: Problem, rest: Problem) -> np.ndarray:
    """Ranks (n,) of the judges' partners among CROWD rows: of each half, for W blended with all other pairs."""
    ranks = np.empty(len(judges.pairs))
    for half in (0, 1):
        x, y = (Z[half::2] for Z in judges.known)
        mapped = x @ blend(W, worth, _joined(rest, judges.pairs[1 - half :: 2]))
        ranks[half::2] = cosine_ranks(mapped, np.concatenate([y, judges.Y[:CROWD]]))
    return ranks


def _joined(problem: Problem, pairs: np.ndarray) -> Problem:
    return problem.with_pairs(np.concatenate([problem.pairs, pairs]))


def blend(W: np.ndarray, worth: float, problem: Problem) -> np.ndarray:
    """Procrustes (dA, dB) on known pairs, and on rows of X with their images under W, which weigh as ``worth`` pairs.

    Pairs count by how well W agrees with them, or in full where ``worth`` is 0.
    """
    X, (x, y) = problem.X, problem.known
    if worth:
        x = x * trust((unit(x @ W) * unit(y)).sum(1))[:, None]
    return polar(worth / len(X) * (X.T @ X) @ W + x.T @ y)


def closed_form(
    X: np.ndarray, Y: np.ndarray, mapping: str, rng: np.random.Generator
) -> tuple[np.ndarray, dict[str, Any]]:
    """The map (dA, dB) from framed rows ``X`` (m, dA) to their partners ``Y`` (m, dB), and the values it chose."""
    if mapping == "orthogonal":
        return polar(X.T @ Y), {}
    return ridge(X, Y) if mapping == "ridge" else low_rank(X, Y, rng)


def verdict_by_ranks(ranks: np.ndarray, pairs: int, width: int) -> tuple[Verdict, dict[str, float]]:
    """The verdict on a map by the ``ranks`` (n,) of held-out partners among each other, and a summary of the ranks.

    Confidence is 1 - 2 (mean rank - 1) / (n - 1), less what chance reaches once in 20. The first term is 0 by chance
    and 1 where all partners come first. Ten pairs are never enough for trust, and a fifth of wrong pairs is too many.
    ``pairs`` and ``width`` are the numbers of all pairs and of dimensions.
    """
    n = len(ranks)
    lead = 1 - 2 * (ranks.mean() - 1) / max(n - 1, 1)
    confidence = float(np.clip(lead - CHANCE / np.sqrt(n), 0, 1))
    held_out = {"pairs": n, "top1_accuracy": float((ranks == 1).mean()), "mean_rank": float(ranks.mean())}
    if confidence >= RELIABLE:
        return Verdict(confidence, "reliable", []), held_out
    causes = [f"held-out partners have mean rank {ranks.mean():.1f} of {n}: wrong pairs, or spaces that share little"]
    if lead >= RELIABLE:
        causes = [f"too few held-out pairs to tell ({n}, a fifth of the pairs)"]
    if pairs < width:
        causes.insert(0, f"few pairs ({pairs}, for {width} dimensions)")
    return Verdict(confidence, "doubtful" if confidence >= FAILED else "failed", causes), held_out
