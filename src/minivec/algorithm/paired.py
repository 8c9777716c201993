"""Known pairs alone: the map of them has a closed form, and those held out judge it, or any other map."""

from operator import itemgetter
from typing import Any, NamedTuple

import numpy as np

from minivec.algorithm.confidence import FAILED, RELIABLE, Verdict
from minivec.algorithm.evidence import Evidence
from minivec.algorithm.procrustes import low_rank, partner_ranks, polar, ridge, trust
from minivec.frame import unit
from minivec.record import Record

MAPPINGS = ("orthogonal", "ridge", "low-rank")
FEWEST = 10
HELD_OUT = 2_000  # pairs at most, of the fifth that judges a map
CROWD = 4_000  # rows that held-out partners are looked for among, when maps compete
WORTH = 1_000, 300, 100  # known pairs that a map weighs as much as, where it is blended with them
TELLING = 0.1  # confidence below which the best of several maps may owe it to chance
CHANCE = 1.64 / np.sqrt(3)  # standard score that chance exceeds once in 20, by the deviation of one uniform rank


class PairedFit(NamedTuple):
    """The map (dA, dB), the fit the other way (dB, dA), what held-out pairs say of it, and what the fit chose."""

    W: np.ndarray
    inverse_W: np.ndarray
    expected_cosine: float
    verdict: Verdict
    held_out: dict[str, float]
    chosen: dict[str, Any]


def fit(X: np.ndarray, Y: np.ndarray, mapping: str, seed: int, record: Record) -> PairedFit:
    """Map framed rows ``X`` (m, dA) to their partners ``Y`` (m, dB), by one of MAPPINGS.

    A fifth of the pairs is held out to judge a map of the others; the map returned is of all pairs.
    """
    rng = np.random.default_rng(seed)
    judges, rest = Evidence(X, Y, np.stack([np.arange(len(X))] * 2, 1)).held_out(1, HELD_OUT, rng)
    with record.stage("held-out pairs"):
        W, _ = closed_form(*rest.known, mapping, rng)
        x, y = judges.known
        verdict, held_out = judge(partner_ranks(x @ W, y), len(X), min(W.shape))
        cosine = float(np.clip((unit(x @ W) * y).sum(1).mean(), 0, 1))
    with record.stage("map"):
        W, chosen = closed_form(X, Y, mapping, rng)
        inverse = W.T if mapping == "orthogonal" else closed_form(Y, X, mapping, rng)[0]
    return PairedFit(W, inverse, cosine, verdict, held_out, chosen)


class Settled(NamedTuple):
    """The map that known pairs speak for, how far its halves agreed, the cosine to expect, and the pairs' verdict."""

    W: np.ndarray
    agreement: float
    expected_cosine: float
    verdict: Verdict


def settle(tried: list[tuple[float, np.ndarray]], judges: Evidence, rest: Evidence) -> Settled:
    """What the pairs of ``judges``, unseen so far, make of the maps ``tried``, each with its halves' agreement.

    Each map is blended with the pairs, and competes with Procrustes on the pairs alone, by the mean logarithm of the
    ranks of partners: those of one half of the ``judges``, for maps made of the other half and the ``rest``. Of those
    within a standard error of the best, the one that owes most to the pairs is made again of all of them. Wrong pairs
    tell nothing: where that one is no better than chance might be, the map whose halves agree most stays as it is.
    """
    x, y = judges.known

    def judged(W: np.ndarray) -> Verdict:
        return judge(partner_ranks(x @ W, y), len(x), min(W.shape))[0]

    agreement, W = max(tried, key=itemgetter(0))
    options = [(*one, worth) for one in tried for worth in WORTH] + [(0.0, W, 0)]
    logs = np.stack([np.log(_ranks(W, worth, judges, rest)) for _, W, worth in options])
    behind = logs - logs[logs.mean(1).argmin()]
    tied = behind.mean(1) <= behind.std(1) / np.sqrt(len(x))
    alike, one, worth = options[min(np.flatnonzero(tied), key=lambda i: (options[i][-1], logs[i].mean()))]
    seen = blend(one, worth, rest)
    verdict = judged(seen)
    if verdict.confidence < TELLING:
        seen, verdict = W, judged(W)
    else:
        agreement, W = alike, blend(one, worth, _with(rest, judges.pairs))
    cosine = (unit(x @ seen) * unit(y)).sum(1)
    expected = float(np.clip(np.average(cosine, weights=trust(cosine) + 1e-6), 0, 1))
    return Settled(W, agreement, expected, verdict)


def _ranks(W: np.ndarray, worth: float, judges: Evidence, rest: Evidence) -> np.ndarray:
    """Ranks (n,) of the judges' partners among CROWD rows: of each half, for W blended with all other pairs."""
    found = np.empty(len(judges.pairs))
    for half in (0, 1):
        x, y = (Z[half::2] for Z in judges.known)
        mapped = x @ blend(W, worth, _with(rest, judges.pairs[1 - half :: 2]))
        found[half::2] = partner_ranks(mapped, np.concatenate([y, judges.Y[:CROWD]]))
    return found


def _with(evidence: Evidence, pairs: np.ndarray) -> Evidence:
    return evidence._replace(pairs=np.concatenate([evidence.pairs, pairs]))


def blend(W: np.ndarray, worth: float, evidence: Evidence) -> np.ndarray:
    """Procrustes (dA, dB) on known pairs and, as if they were ``worth`` pairs more, on rows of X and where W puts them.

    Pairs count as far as W agrees with them, where it has any worth.
    """
    X, (x, y) = evidence.X, evidence.known
    if worth:
        x = x * trust((unit(x @ W) * unit(y)).sum(1))[:, None]
    return polar(worth / len(X) * (X.T @ X) @ W + x.T @ y)


def closed_form(
    X: np.ndarray, Y: np.ndarray, mapping: str, rng: np.random.Generator
) -> tuple[np.ndarray, dict[str, Any]]:
    """The map (dA, dB) from framed rows ``X`` (m, dA) to their partners ``Y`` (m, dB), and what it chose for itself."""
    if mapping == "orthogonal":
        return polar(X.T @ Y), {}
    return ridge(X, Y) if mapping == "ridge" else low_rank(X, Y, rng)


def judge(ranks: np.ndarray, pairs: int, width: int) -> tuple[Verdict, dict[str, float]]:
    """The verdict on a map by the ``ranks`` (n,) of held-out partners among each other, and what they were.

    Confidence is 1 - 2 (mean rank - 1) / (n - 1), which is 0 by chance and 1 where all come first, less what chance
    reaches once in 20: ten pairs are never trusted, and with a fifth of the pairs wrong it is below 0.8.
    """
    n = len(ranks)
    lead = 1 - 2 * (ranks.mean() - 1) / max(n - 1, 1)
    confidence = float(np.clip(lead - CHANCE / np.sqrt(n), 0, 1))
    held_out = {"pairs": n, "top1_accuracy": float((ranks == 1).mean()), "mean_rank": float(ranks.mean())}
    if confidence >= RELIABLE:
        return Verdict(confidence, "reliable", []), held_out
    rank = f"{ranks.mean():.1f} of {n}"
    causes = [f"held-out partners have mean rank {rank}: wrong pairs, or spaces that share little"]
    if pairs < width:
        causes.insert(0, f"few pairs ({pairs}, for {width} dimensions)")
    return Verdict(confidence, "doubtful" if confidence >= FAILED else "failed", causes), held_out
