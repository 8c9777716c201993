"""Make the pictures of the documentation from the bundled sample: about a minute on two cores.

Usage: python scripts/make_pictures.py [--output docs/images]
"""

import argparse
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from minivec import MiniVec2VecAligner
from minivec.algorithm.anchors.components import independent_components
from minivec.algorithm.matching.moments import match_components
from minivec.datasets import load_sample
from minivec.frame import Frame, Principal, unit
from minivec.metrics import partner_ranks
from minivec.picture import BLUE, INK, ORANGE

COMPONENTS = 64
SHOWN = 32


def matching(A: np.ndarray, B: np.ndarray, path: Path) -> None:
    """One table of cross moments in both spaces, B's in its own order and in that of its matches."""
    rng = np.random.default_rng(0)
    components = []
    for raw in (A, B):
        X = Frame.of(raw).apply(raw)
        components.append(independent_components(X, Principal.of(X), COMPONENTS, "tanh", rng))
    found = match_components(*components, rng)
    surest = np.argsort(-found.match.gains)[:SHOWN]
    surest = surest[np.argsort(-np.abs(found.portraits[0].tables[0][surest][:, surest]).sum(1))]
    one, other = (portrait.tables[0] for portrait in found.portraits)
    rows = found.match.columns[surest]
    tables = {
        "A": one[np.ix_(surest, surest)],
        "B, as it comes": other[np.ix_(np.sort(rows), np.sort(rows))],
        "B, matched": other[np.ix_(rows, rows)],
    }
    figure = Figure(figsize=(9, 3.3), dpi=110, layout="constrained")
    for axes, (title, table) in zip(figure.subplots(1, 3), tables.items(), strict=True):
        axes.imshow(table, cmap="RdBu_r", vmin=-4, vmax=4)
        axes.set_title(title, loc="left", color=INK)
        axes.set(xticks=[], yticks=[])
        axes.spines[:].set_color("#cccccc")
    figure.supxlabel(f"cross moments of {SHOWN} independent components: how their energies vary together", size=10)
    figure.savefig(path, metadata={"Software": None})


def refinement(history: dict, frames: tuple, pairs: tuple, path: Path) -> None:
    """The objective over the iterations, and top-1 of the held-out pairs before and after."""
    figure = Figure(figsize=(9, 3.3), dpi=110, layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=(2, 1))
    runs: list[list[float]] = []
    for step in history["steps"]:
        if step["stage"] == "refine1":
            if step["step"] == 1:
                runs.append([])
            runs[-1].append(step["objective"])
    start = 0
    for i, run in enumerate(runs):
        left.plot(np.arange(start + 1, start + len(run) + 1), run, c=ORANGE if i < 2 else BLUE, lw=1.8)
        start += len(run)
    left.plot([], [], c=ORANGE, label="the two halves that confidence compares")
    left.plot([], [], c=BLUE, label="the map, level by level")
    left.legend(frameon=False, fontsize=9)
    left.set_title("Objective of each run", loc="left", color=INK)
    left.set(xlabel="iteration", ylabel="mean cosine under the plan")
    X, Y = (frame.apply(rows) for frame, rows in zip(frames, pairs, strict=True))
    stages = {"from anchors\nalone": "initial_W", "refined": "final_W"}
    heights = [100 * (partner_ranks(unit(X @ history[name]), Y)[1] == 1).mean() for name in stages.values()]
    bars = right.bar(list(stages), heights, color=BLUE, width=0.55)
    right.bar_label(bars, [f"{height:.0f}%" for height in heights], padding=2, color=INK)
    right.set_title("Partners found first", loc="left", color=INK)
    right.set(ylim=(0, 105), yticks=[])
    for axes in (left, right):
        axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, metadata={"Software": None})


def main() -> None:
    """Make all of them."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--output", type=Path, default=Path("docs/images"))
    folder = parser.parse_args().output
    source, target, test_A, test_B, texts = load_sample()
    matching(source, target, folder / "matching.png")
    aligner = MiniVec2VecAligner(source.shape[1])
    history = aligner.align(source, target, verbose=1)
    refinement(history, (Frame.of(source), Frame.of(target)), (test_A, test_B), folder / "refinement.png")
    aligner.report(test_A, test_B, source_texts=texts, paired=True).save(folder / "report.png")


if __name__ == "__main__":
    main()
