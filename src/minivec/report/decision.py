"""What decides about a map: true pairs where there are any, otherwise the check that the fit made of itself."""

from dataclasses import dataclass
from typing import Any

from minivec.algorithm import confidence

RELIABLE, FAILED = 0.5, 0.1  # top-1 on true pairs: reliable from the first on, failed below the second
LUCKY = 5  # a random map puts so many true partners first once in 270 times


@dataclass(frozen=True)
class Decision:
    """The ``verdict`` on a map (reliable, doubtful or failed), and in words the ``evidence`` that decided it.

    ``measure`` names the figure that decided, and ``value`` (0 to 1) is the figure. The map failed below the first of
    the ``limits`` and is reliable from the second on. ``fit`` is the verdict that the fit gave itself.
    """

    verdict: str
    evidence: str
    measure: str
    value: float
    limits: tuple[float, float]
    fit: str


def decide(history: dict[str, Any], top1: float | None, pairs: int) -> Decision:
    """The decision by the ``top1`` accuracy on so many true ``pairs``; by the fit's ``history`` where it is None."""
    fit = history["verdict"]
    if top1 is None:
        evidence = "known pairs that were held out" if "held_out" in history else "the fit itself, without true pairs"
        limits = confidence.FAILED, confidence.RELIABLE
        return Decision(fit, evidence, "confidence", history["confidence"], limits, fit)
    failed = max(FAILED, LUCKY / pairs)
    verdict = "reliable" if top1 >= RELIABLE else "doubtful" if top1 >= failed else "failed"
    return Decision(verdict, f"{pairs:,} true pairs", "top-1", top1, (failed, RELIABLE), fit)
