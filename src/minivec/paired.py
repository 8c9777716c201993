"""The other case: every row has its known partner, so the map has a closed form, and pairs held out judge it."""

from typing import Any, NamedTuple

import numpy as np

from minivec.confidence import FAILED, RELIABLE, Verdict
from minivec.frame import unit
from minivec.procrustes import low_rank, partner_ranks, polar, ridge, trust
from minivec.record import Record

MAPPINGS = ("orthogonal", "ridge", "low-rank")
FEWEST = 10
HELD_OUT = 2_000  # pairs at most, of the fifth that judges a map
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
    order = rng.permutation(len(X))
    n = min(len(X) // 5, HELD_OUT)
    held, rest = order[:n], order[n:]
    with record.stage("held-out pairs"):
        W, _ = closed_form(X[rest], Y[rest], mapping, rng)
        mapped = X[held] @ W
        verdict, held_out = judge(partner_ranks(mapped, Y[held]), len(X), min(X.shape[1], Y.shape[1]))
        cosine = float(np.clip((unit(mapped) * Y[held]).sum(1).mean(), 0, 1))
    with record.stage("map"):
        W, chosen = closed_form(X, Y, mapping, rng)
        inverse = W.T if mapping == "orthogonal" else closed_form(Y, X, mapping, rng)[0]
    return PairedFit(W, inverse, cosine, verdict, held_out, chosen)


class Settled(NamedTuple):
    """The map that known pairs speak for, the cosine to expect of it, and their verdict."""

    W: np.ndarray
    expected_cosine: float
    verdict: Verdict


def settle(maps: list[np.ndarray], X: np.ndarray, Y: np.ndarray) -> Settled:
    """The best of ``maps`` (dA, dB) for known pairs ``X`` (m, dA) and ``Y`` (m, dB) that none of them has seen.

    Better is a mean reciprocal rank of partners that is larger by more than chance is once in 20; otherwise the earlier
    map stays.
    """
    best, *others = maps
    ranks = partner_ranks(X @ best, Y)
    for W in others:
        found = partner_ranks(X @ W, Y)
        gain = 1 / found - 1 / ranks
        if gain.mean() > 1.64 * gain.std() / np.sqrt(len(gain)):
            best, ranks = W, found
    cosine = (unit(X @ best) * unit(Y)).sum(1)
    expected = float(np.clip(np.average(cosine, weights=trust(cosine) + 1e-6), 0, 1))
    return Settled(best, expected, judge(ranks, len(X), min(best.shape))[0])


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
