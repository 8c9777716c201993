"""What ``align`` returns: a dict of the run that reads as a short summary in a terminal or a notebook."""

import math
from hashlib import blake2b
from html import escape
from typing import Any

import numpy as np

from minivec.settings import FEW_ROWS
from minivec.spaces import described

HEADLINES = {
    "reliable": "This map can be relied on.",
    "doubtful": "This map is doubtful: check it before you use it.",
    "failed": "This map failed: do not use it.",
}
MEANINGLESS = "means nothing, because the fit failed"  # figures of wrong maps can look better than those of right ones


class History(dict[str, Any]):
    """A run's history, key by key; printed, or shown by a notebook, it is a summary of a few lines.

    ``dict(history)`` prints in full.
    """

    def __repr__(self) -> str:
        facts = summary(self)
        width = max(map(len, facts))
        lines = [headline(self), *(f"  {name:<{width}}  {value}" for name, value in facts.items())]
        return "\n".join([*lines, *(f"  - {line}" for line in [*self["causes"], *advice(self)])])

    def _repr_html_(self) -> str:
        """The same facts, for notebooks."""
        rows = "".join(
            f'<tr><th scope="row" style="text-align:left">{escape(name)}</th>'
            f'<td style="text-align:left">{escape(value)}</td></tr>'
            for name, value in summary(self).items()
        )
        items = "".join(f"<li>{escape(line)}</li>" for line in [*self["causes"], *advice(self)])
        return f"<p><strong>{escape(headline(self))}</strong></p><table>{rows}</table><ul>{items}</ul>"


def headline(history: dict[str, Any]) -> str:
    """The verdict as a sentence."""
    return HEADLINES[history["verdict"]]


def summary(history: dict[str, Any]) -> dict[str, str]:
    """A run in a few named facts, in words."""
    settings, data, seconds = history["settings"], history["data"], history["seconds"]
    (nA, dA), (nB, dB) = data["XA"]["shape"], data["XB"]["shape"]
    slowest = sorted(seconds.items(), key=lambda stage: -stage[1])
    counts: dict[str, int] = {}
    for step in history["steps"]:
        counts[step["stage"]] = counts.get(step["stage"], 0) + 1
    facts = {
        "confidence": f"{history['confidence']:.2f} of 1 ({history['verdict']})",
        "map": f"{described(history, (dA, dB))}, {settings['mapping']}",
        "rows": f"{nA:,} of A, {nB:,} of B, {history['pairs']:,} known pairs",
        "expected cosine": MEANINGLESS
        if history["verdict"] == "failed"
        else f"{history['expected_cosine']:.2f} of a mapped row with its partner",
        **({"expected top-1": expected} if (expected := top1_in_words(history)) else {}),
        "settings": f'preset "{settings["preset"]}", seed {settings["seed"]}',
        "time": f"{sum(seconds.values()):.1f} s: " + ", ".join(f"{name} {s:.1f}" for name, s in slowest),
        "steps": ", ".join(f"{name} {n}" for name, n in counts.items()) or "none",
    }
    if history["stopped"]:
        facts["stopped"] = "early, by a callback"
    if "final_W" in history:
        facts["arrays"] = f"final_W, refine1_W, initial_W, each {history['final_W'].shape}"
    return facts


def top1_in_words(history: dict[str, Any]) -> str:
    """How many partners a map is expected to find first, and the interval; "" where the history does not say."""
    top1 = history.get("expected_top1")
    if not top1:
        return ""
    interval = f"{top1['low']:.0%} to {top1['high']:.0%}, nine times in ten"
    return f"{top1['value']:.0%} ({interval}) of partners found first among {top1['among']:,} rows of B"


def advice(history: dict[str, Any]) -> list[str]:
    """What to do next, given the verdict: one sentence each, for Python and for the command line."""
    measure = "(evaluate_alignment, minivec evaluate)"
    if history["verdict"] == "reliable":
        return [f"The verdict needs no labels. If you have a few true pairs, measure on them too {measure}."]
    return [*remedies(history), f"Before anything depends on this map, measure it on a few true pairs {measure}."]


def remedies(history: dict[str, Any]) -> list[str]:
    """What may give a better map than this fit did."""
    lines = []
    if history["settings"]["preset"] == "paper":
        lines.append(
            'Fit with preset="auto" (--preset auto): it finds more right maps, and tells them from wrong ones.'
        )
    if min(history["data"][name]["shape"][0] for name in ("XA", "XB")) < FEW_ROWS:
        lines.append(f"Give more rows, {FEW_ROWS:,} a side at least: nothing helps as much.")
    if not history["pairs"]:
        lines.append(
            "If you know some rows that belong together, give them: pairs=... in Python, --pairs FILE.csv on the "
            "command line."
        )
    return [
        *lines,
        "Fit again with other seeds (seed=1, --seed 1): right maps send the same row to the same place, wrong ones do "
        "not.",
        "Make sure that both sides hold the same kind of content, in about the same proportions.",
    ]


def recorded_data(X: np.ndarray, rows: int = 1024) -> dict[str, Any]:
    """What a history records of raw rows ``X`` (n, d): their shape, and a hash of 1,024 of them, evenly spaced."""
    sampled = np.ascontiguousarray(X[:: -(-len(X) // rows)], "<f4")
    return {"shape": list(X.shape), "blake2b": blake2b(sampled.tobytes(), digest_size=16).hexdigest()}


def check_trust(history: dict[str, Any], min_confidence: float | None, done: str = "migrated") -> None:
    """ValueError, nothing is ``done``: the aligner is not reliable, or its confidence is below ``min_confidence``."""
    verdict, confidence = history.get("verdict", "of unknown reliability"), history.get("confidence", math.nan)
    if min_confidence is None and verdict != "reliable":
        told = "min_confidence (--min-confidence) accepts less"
        fit = "failed" if verdict == "failed" else f"is {verdict}"
        raise ValueError(f"the aligner's fit {fit}, confidence {confidence:.2f}: nothing is {done}, unless {told}")
    if min_confidence is not None and min_confidence > 0 and not confidence >= min_confidence:
        raise ValueError(f"the aligner's confidence is {confidence:.2f}, below {min_confidence}")
