"""One picture of an alignment: both spaces before, and in common coordinates after."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from minivec.frame import unit
from minivec.metrics import evaluate_alignment
from minivec.validation import as_array

PAIRS = 40  # joined by lines
LABELS = 6  # of them with their text
SLICES = 8  # of each side's points, drawn in turns
BLUE, ORANGE, INK = "#0072b2", "#d55e00", "#333333"  # told apart with any colour vision (Okabe and Ito)


def before_after(
    aligner: Callable[[np.ndarray], Any], A: np.ndarray, B: np.ndarray, path: str | Path, texts: Sequence[str]
) -> None:
    """Draw true pairs, row i of ``A`` (n, dA) and of ``B`` (n, dB), before and after ``aligner``, to a PNG.

    Before: the raw coordinates in the two leading principal directions of both spaces together, or where the
    widths differ of each. After: the mapped rows of A among the rows of B, seen in the two common directions
    in which pairs agree best. Lines join some 40 pairs, of which the ``texts`` (n) name a few; the directions
    are chosen on the other pairs, so that the lines can be believed. ValueError below 4 pairs.
    """
    if len(A) < 4:
        raise ValueError(f"a picture needs at least 4 pairs, got {len(A)}")
    from matplotlib.figure import Figure

    top1 = evaluate_alignment(aligner, A, B)["top1_accuracy"]
    mapped = as_array(aligner(A), "the aligner's output")
    A, B = unit(np.asarray(A, np.float32)), unit(np.asarray(B, np.float32))
    drawn = np.linspace(0, len(A) - 1, min(PAIRS, len(A) // 2)).astype(int)
    raw = raw_views(A, B)
    view = agreeing_view(np.delete(mapped, drawn, axis=0), np.delete(B, drawn, axis=0))

    figure = Figure(figsize=(12, 7.4), dpi=90, layout="constrained")
    left, right = figure.subplots(1, 2)
    left.set_title("Before: raw coordinates", loc="left", size=14)
    right.set_title(f"After: A mapped into B, top-1 {top1:.1%} of {len(A):,}", loc="left", size=14)
    numbered = drawn[_spread((B @ view)[drawn])]
    _draw(left, raw[0], raw[1], drawn, numbered)
    _draw(right, mapped @ view, B @ view, drawn, numbered)
    figure.legend(*left.get_legend_handles_labels(), loc="outside upper right", ncols=3, frameon=False)
    key = [f"{i}  {_short(texts[row])}" for i, row in enumerate(numbered, 1)]
    figure.supxlabel("\n".join(key), x=0.01, ha="left", size=9.5, linespacing=1.4, parse_math=False)
    figure.savefig(path)


def raw_views(A: np.ndarray, B: np.ndarray) -> list[np.ndarray]:
    """Rows of A (n, dA) and of B (m, dB) before any map, in two directions each: (n, 2) and (m, 2).

    They are the leading principal directions of both together, or where the widths differ of each.
    """
    if A.shape[1] == B.shape[1]:
        return np.split(leading_view(np.concatenate([A, B])), [len(A)])
    return [leading_view(A), leading_view(B)]


def leading_view(X: np.ndarray) -> np.ndarray:
    """Rows in their two leading principal directions, (n, 2)."""
    return (X - X.mean(0)) @ np.linalg.eigh(np.cov(X.T))[1][:, :-3:-1]


def agreeing_view(P: np.ndarray, Q: np.ndarray) -> np.ndarray:
    """Two directions (d, 2) with the largest covariance between paired rows for the variance on both sides.

    The ridge, the mean variance, keeps them among the directions that matter.
    """
    from scipy.linalg import eigh

    P, Q = P - P.mean(0), Q - Q.mean(0)
    between, own = P.T @ Q, P.T @ P + Q.T @ Q
    ridge = np.trace(own) / len(own) * np.eye(len(own))
    return eigh(between + between.T, own + ridge)[1][:, :-3:-1]


def _short(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= 150 else text[:149].rstrip() + "…"


def _draw(axes: Any, P: np.ndarray, Q: np.ndarray, drawn: np.ndarray, numbered: np.ndarray) -> None:
    """Points P (n, 2) of A and Q of B: some 1,000 faintly, the ``drawn`` pairs joined, a few ``numbered``."""
    for i in range(SLICES):  # the sides take turns: neither is painted over the other
        for points, color, marker in ((P, BLUE, "o"), (Q, ORANGE, "s")):
            few = points[:: len(points) // 1000 + 1]
            axes.scatter(*few[i::SLICES].T, s=8, c=color, marker=marker, alpha=0.2, lw=0)
    for points, color, marker, name in ((P, BLUE, "o", "space A"), (Q, ORANGE, "s", "space B")):
        axes.scatter([], [], s=36, c=color, marker=marker, label=name)
        for first in (0, 1):  # of every other pair this side is on top
            top = 0.5 * (first == (marker == "s"))
            for rows, size, order in ((drawn, 36, 3), (numbered, 150, 4)):
                axes.scatter(
                    *points[rows[first::2]].T, s=size, c=color, marker=marker, ec="white", lw=0.7, zorder=order + top
                )
        for i, row in enumerate(numbered, 1):
            axes.annotate(str(i), points[row], color="white", size=8, weight="bold", ha="center", va="center", zorder=5)
    lines = axes.plot(*np.stack([P[drawn], Q[drawn]]).transpose(2, 0, 1), c=INK, lw=1, alpha=0.7, zorder=2)
    lines[0].set_label("the same text in both")
    low, high = (edge(np.concatenate([P, Q]), axis=0) for edge in (np.min, np.max))
    middle, reach = (low + high) / 2, 0.53 * (high - low).max()
    x, y = zip(middle - reach, middle + reach, strict=True)
    axes.set(xticks=[], yticks=[], xlim=x, ylim=y, aspect="equal")
    axes.spines[:].set_color("#cccccc")


def _spread(P: np.ndarray) -> list[int]:
    """A few of the points P (m, 2), each as far as possible from those before it."""
    chosen = [int(np.argmax(np.linalg.norm(P - P.mean(0), axis=1)))]
    while len(chosen) < min(LABELS, len(P)):
        chosen.append(int(np.argmax(np.linalg.norm(P[:, None] - P[chosen], axis=2).min(1))))
    return chosen
