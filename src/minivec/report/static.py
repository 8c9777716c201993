"""The report's main pictures on one sheet, for papers and slides."""

from io import BytesIO
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.figure import Figure

from minivec.picture import BLUE, INK, ORANGE, SLICES
from minivec.report import words
from minivec.report.facts import Facts, Side

GREY = "#737f89"
TONES = {"reliable": "#1a7a48", "doubtful": "#8a5a00", "failed": "#b3261e"}  # as the page's


def draw(facts: Facts, kind: str) -> bytes:
    """A sheet of six pictures as the bytes of a ``kind``, "png" or "svg", the same ones for the same facts.

    Of a failed map without true pairs there are only three: the others would show figures that mean nothing.
    """
    rows = 2 if facts.telling else 1
    figure = Figure(figsize=(15, 5 * rows + 0.6), dpi=100, layout="constrained")
    decision = facts.decision
    figure.suptitle(words.headline(facts), x=0.01, ha="left", size=18, color=TONES[decision.verdict])
    note = f"Decided by {decision.evidence}: {decision.measure} {decision.value:.2f}."
    figure.supxlabel(note if facts.telling else f"{note}\n{words.NOT_SHOWN}", x=0.01, ha="left", size=11, color=INK)
    before, after, *others = figure.subplots(rows, 3).flat
    for axes, title, place in ((before, "Before", "before"), (after, "After", "after")):
        _map(axes, title, [facts.source, facts.target], place)
    for axes, chart in zip(
        others, (_ranks, _cosines, _directions, _objective) if facts.telling else (_objective,), strict=True
    ):
        chart(axes, facts)
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(color="#e9ecee")
        axes.set_axisbelow(True)
    stream = BytesIO()
    with rc_context({"svg.hashsalt": "minivec"}):
        metadata: dict[str, Any] = {"Title": words.title(facts)} | ({"Date": None} if kind == "svg" else {})
        figure.savefig(stream, format=kind, metadata=metadata)
    return stream.getvalue()


def _map(axes: Any, title: str, sides: list[Side], place: str) -> None:
    """Both sides, in slices that take turns: neither is painted over the other."""
    for i in range(SLICES):
        for side, color, marker in zip(sides, (BLUE, ORANGE), "os", strict=True):
            points = getattr(side, place)[i::SLICES]
            name = None if i else f"space {side.name}"
            axes.scatter(*points.T, s=7, c=color, marker=marker, alpha=0.35, lw=0, rasterized=True, label=name)
    axes.set_title(title, loc="left")
    axes.set(xticks=[], yticks=[])
    axes.set_aspect("equal", "datalim")
    axes.spines[:].set_color("#cccccc")
    axes.legend(frameon=False, markerscale=2)


def _cosines(axes: Any, facts: Facts) -> None:
    samples = {"random row of B": (facts.random_cosine, GREY), "nearest row of B": (facts.cosine[:, 0], ORANGE)}
    if facts.partner_cosine is not None:
        samples["true partner"] = facts.partner_cosine, BLUE
    edges = np.histogram_bin_edges(np.concatenate([sample for sample, _ in samples.values()]), 40)
    for name, (sample, color) in samples.items():
        weights = np.full(len(sample), 100 / len(sample))
        axes.hist(sample, edges, weights=weights, histtype="step", color=color, lw=1.8, label=name)
    axes.set_title("Similarity", loc="left")
    axes.set(xlabel="cosine", ylabel="% of rows")
    axes.legend(frameon=False)


def _ranks(axes: Any, facts: Facts) -> None:
    name, rank = ("of a row, from its match", facts.back) if facts.rank is None else ("of the true partner", facts.rank)
    axes.plot(np.sort(rank), np.arange(1, len(rank) + 1) / len(rank) * 100, c=BLUE, lw=1.8, label=name)
    axes.set_title("Rank", loc="left")
    axes.set(xscale="log", xlabel="rank at most", ylabel="% of rows", ylim=(0, 102))
    axes.legend(frameon=False, loc="lower right")


def _directions(axes: Any, facts: Facts) -> None:
    axes.plot([d.number for d in facts.directions], [d.correlation for d in facts.directions], "o", c=BLUE, ms=5)
    axes.set_title("Agreement by principal direction of A", loc="left")
    axes.set(xlabel="principal direction", ylabel="correlation", ylim=(None, 1.02))


def _objective(axes: Any, facts: Facts) -> None:
    start = 0
    for run in (run for stage in facts.stages for run in stage.runs):
        axes.plot(np.arange(start + 1, start + len(run) + 1), run, c=BLUE, lw=1.8)
        start += len(run)
    axes.set_title("Convergence, run after run", loc="left")
    axes.set(xlabel="iteration", ylabel="objective")
