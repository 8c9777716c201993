"""The pictures of `benchmarks.peers`."""

from pathlib import Path
from typing import Any

from matplotlib.figure import Figure
from matplotlib.ticker import LogFormatter

from minivec.picture import BLUE, INK, ORANGE

STYLES = {  # colour and marker
    "auto": (BLUE, "o"),
    "paper": ("#56b4e9", "s"),
    "mini-vec2vec": (ORANGE, "D"),
    "gromov-wasserstein": ("#009e73", "^"),
    "unpaired-rosetta": ("#cc79a7", "v"),
}


def plot(runs: dict[tuple[str, str, int], dict[str, Any]], rows: int, folder: Path) -> None:
    """Draw ``accuracy.png``, each method's top-1 a pair of encoders, and ``cost.png``, top-1 by seconds, to ``folder``.

    ``runs`` and ``rows`` (a side) are those of ``benchmarks.peers``: by pair of encoders, method and seed. Of the
    methods that know pairs, only Procrustes is drawn.
    """
    drawn = {*STYLES, "supervised"}
    good = {key: run for key, run in runs.items() if "failed" not in run and key[1].split()[0] in drawn}
    pairs = list(dict.fromkeys(pair for pair, _, _ in good))
    accuracy = Figure(figsize=(9, 1.6 + 0.45 * len(pairs)), dpi=90, layout="constrained")
    cost = Figure(figsize=(9, 5), dpi=90, layout="constrained")
    left, right = accuracy.subplots(), cost.subplots()
    for name in dict.fromkeys(method for _, method, _ in good):
        found = [(pairs.index(p), run["top1_accuracy"], run["seconds"]) for (p, m, _), run in good.items() if m == name]
        y, top1, seconds = zip(*found, strict=True)
        if name in STYLES:
            color, marker = STYLES[name]
            left.scatter(top1, y, s=42, c=color, marker=marker, ec="white", lw=0.6, zorder=3, label=name)
            right.scatter(seconds, top1, s=42, c=color, marker=marker, ec="white", lw=0.6, label=name)
        else:
            pairs_known = int(name.split()[1])
            label = f"ceiling: {rows:,} true pairs" if pairs_known == rows else None
            left.scatter(top1, y, s=260, c=INK if label else "#999999", marker="|", lw=1.6, zorder=2, label=label)
            if pairs_known < rows / 2:  # nearer the ceiling the numbers would overlap
                left.annotate(f"{pairs_known:,} pairs", (top1[0], -0.35), size=9, color="#666666", ha="center")
    left.set(xlim=(-0.02, 1.02), ylim=(len(pairs) - 0.5, -0.8), xlabel="top-1, held-out pairs")
    left.set_yticks(range(len(pairs)), pairs)
    right.set(xscale="log", ylim=(-0.02, 1.02), xlabel="seconds of the fit", ylabel="top-1, held-out pairs")
    right.xaxis.set_major_formatter(LogFormatter())
    right.xaxis.set_minor_formatter(LogFormatter(minor_thresholds=(2, 0.5)))
    folder.mkdir(parents=True, exist_ok=True)
    for figure, axes, name in ((accuracy, left, "accuracy"), (cost, right, "cost")):
        figure.legend(*axes.get_legend_handles_labels(), loc="outside upper center", ncols=5, frameon=False)
        axes.grid(color="#e5e5e5", lw=0.8)
        axes.set_axisbelow(True)
        axes.spines[:].set_color("#cccccc")
        figure.savefig(folder / f"{name}.png")
