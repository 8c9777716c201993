"""Confidence: whether a fit can be trusted, judged without labels."""

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np

from minivec.frame import Principal, unit
from minivec.settings import FEW_ROWS, Settings, outlook

# Figures: docs/tuning.md.
MIDDLE, WIDTH = 0.24, 0.03  # of the logistic function that turns agreement into confidence
MANY, LOWER, LOWEST = 4_000, 0.07, 0.17  # with fewer rows, halves know less: the middle is LOWER with each halving
RELIABLE, FAILED = 0.8, 0.3  # confidence of a reliable fit at least, and below which it has failed
STRUCTURELESS = 1.2  # size of third moments below which rows look like noise, which has about 1
# With fewer runs the halves share theirs; with fewer steps or rows a step, wrong maps still agree as they began.
FEWEST_RUNS, FEWEST_STEPS, FEWEST_SAMPLED = 2, 20, 500
AGREEMENT_WHITENING_POWER = 0.5  # of the rows on which two maps are compared


class AlignmentWarning(UserWarning):
    """The alignment is probably not right."""


def warn_of_failed(bridge: Any) -> None:
    """AlignmentWarning to the caller's caller where ``bridge`` is a map, or a model, whose fit failed."""
    history = getattr(bridge, "history", None)
    if isinstance(history, dict) and history.get("verdict") == "failed":
        what = "the fit of this map failed, and the rows that it maps are probably wrong"
        warnings.warn(what, AlignmentWarning, stacklevel=3)


@dataclass(frozen=True)
class Verdict:
    """``confidence`` from 0 to 1, ``verdict`` reliable, doubtful or failed, and likely ``causes`` if not reliable."""

    confidence: float
    verdict: str
    causes: list[str]


def mean_cosine(rows: np.ndarray, W1: np.ndarray, W2: np.ndarray) -> float:
    """The mean cosine between ``rows`` (n, dA) mapped by W1 and by W2, both (dA, dB): 1 if the maps are the same."""
    return float((unit(rows @ W1) * unit(rows @ W2)).sum(1).mean())


def agreement_of(X: np.ndarray, principal: Principal, W1: np.ndarray, W2: np.ndarray) -> float:
    """How well two maps (rA, rB) between the leading directions of two spaces agree: 1 if they are the same.

    It is the mean cosine of rows of ``X`` (n, dA) mapped by both. The rows are whitened first: without it, a few topics
    that both sides share make wrong maps agree.
    """
    leading = principal.leading(len(W1))
    return mean_cosine(X @ (leading.directions * leading.whitening(AGREEMENT_WHITENING_POWER)), W1, W2)


def verdict_by_agreement(
    agreement: float | None, X: np.ndarray, Y: np.ndarray, principal: tuple[Principal, Principal]
) -> Verdict:
    """The verdict on a fit of ``X`` (nA, dA) to ``Y`` (nB, dB), by the mean cosine between its independent halves.

    Confidence is a logistic function of the agreement. The halves are refined on disjoint halves of the rows and come
    from disjoint component runs, but every run has seen all rows: they are not wholly independent. Without an
    ``agreement`` (preset "paper" has no halves) the verdict is doubtful.
    """
    if agreement is None:
        return Verdict(0.5, "doubtful", ['preset "paper" has no way to tell whether it worked; preset "auto" has'])
    rows = min(len(X), len(Y))
    middle = max(LOWEST, MIDDLE - LOWER * max(0.0, np.log2(MANY / rows)))
    confidence = float(1 / (1 + np.exp((middle - agreement) / WIDTH)))
    if confidence >= RELIABLE:
        return Verdict(confidence, "reliable", [])
    causes = []
    if rows < FEW_ROWS:
        causes.append(f"too few rows ({rows:,}: {outlook(rows)}; {FEW_ROWS:,} a side are {outlook(FEW_ROWS)})")
    for name, Z, p in zip(("XA", "XB"), (X, Y), principal, strict=True):
        if _structure(Z, p) < STRUCTURELESS:
            causes.append(f"{name} has no structure to recognise: its rows look like Gaussian noise")
    causes.append(
        "the two spaces may share too little: other contents or another domain (some 200 known pairs of A's contents "
        "mend that), or unrelated encoders"
    )
    return Verdict(confidence, "doubtful" if confidence >= FAILED else "failed", causes)


def missing_evidence(settings: Settings, rows: int) -> list[str]:
    """Why the ``settings`` leave two halves of the evidence no chance to disagree: a sentence each.

    ``rows`` is the smaller number of rows of the two sides: a sample is small only where there are more rows.
    """
    runs, steps, sample = settings.approx_runs, settings.refine1_iterations, settings.refine1_sample_size
    causes = []
    if runs < FEWEST_RUNS:
        causes.append(f"approx_runs={runs}: the two halves share a run, so their agreement proves nothing")
    if steps is not None and steps < FEWEST_STEPS:
        causes.append(f"refine1_iterations={steps}: too few for agreement to prove anything (at least {FEWEST_STEPS})")
    if sample is not None and sample < min(FEWEST_SAMPLED, rows):
        causes.append(f"refine1_sample_size={sample}: too few for agreement to prove anything ({FEWEST_SAMPLED})")
    return causes


def doubted(verdict: Verdict, causes: list[str]) -> Verdict:
    """``verdict``, doubtful at best for these ``causes``."""
    name = "failed" if verdict.verdict == "failed" else "doubtful"
    return Verdict(min(verdict.confidence, 0.5), name, [*causes, *verdict.causes])


def _structure(X: np.ndarray, principal: Principal) -> float:
    """Size of the third cross moments of the leading principal coordinates, over what it is for Gaussian rows."""
    leading = principal.leading(48)
    Z = X @ (leading.directions / np.sqrt(leading.values))
    moments = (Z * Z - 1).T @ Z / np.sqrt(2 * len(Z))
    return float(np.sqrt((moments[~np.eye(len(moments), dtype=bool)] ** 2).mean()))
