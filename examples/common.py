"""What the examples share: fits with more and more known pairs, a table of them and a picture."""

import argparse
import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from minivec import AlignmentWarning, MiniVec2VecAligner

SIZES = (0, 50, 200, 1_000)  # numbers of known pairs
CLOSED = ("orthogonal", "ridge")
Score = Callable[[MiniVec2VecAligner], float]
Row = dict[str, Any]
Panels = dict[str, list[Row]]


def options(description: str | None, rows: int = 3_000) -> argparse.Namespace:
    """The command line of an example: how many rows to use (``rows`` unless it says), and where the picture goes."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--rows", type=int, default=rows, help="rows a side at most: fewer are quicker, and align worse"
    )
    parser.add_argument("--output", type=Path, default=Path("."), help="folder for the picture")
    arguments = parser.parse_args()
    arguments.output.mkdir(parents=True, exist_ok=True)
    warnings.simplefilter("ignore", AlignmentWarning)  # the tables show the verdicts
    return arguments


def sweep(
    XA: np.ndarray,
    XB: np.ndarray,
    KA: np.ndarray,
    KB: np.ndarray,
    scores: dict[str, Score],
    sizes: Sequence[int] = SIZES,
) -> Panels:
    """Fit for each number of known pairs: the first rows of ``KA`` (m, dA) and their partners ``KB`` (m, dB).

    ``align`` sees them next to the unpaired rows ``XA`` (nA, dA) and ``XB`` (nB, dB), the closed forms of
    ``from_pairs`` nothing else. Returns, under each name in ``scores``, a row for each fit.
    """
    panels: Panels = {name: [] for name in scores}
    for size in (size for size in sizes if size <= len(KA)):
        start = time.perf_counter()
        pairs = np.stack([np.arange(size)] * 2, axis=1) if size else None
        aligner = MiniVec2VecAligner(XA.shape[1])
        history = aligner.align(np.concatenate([KA[:size], XA]), np.concatenate([KB[:size], XB]), pairs=pairs)
        seconds = time.perf_counter() - start
        fits = {"align": aligner}
        for mapping in CLOSED if size else ():
            fits[mapping] = MiniVec2VecAligner.from_pairs(KA[:size], KB[:size], mapping=mapping)
        for name, score in scores.items():
            row = {"known pairs": size, "confidence": history["confidence"], "verdict": history["verdict"]}
            row |= {method: score(fit) for method, fit in fits.items()}
            panels[name].append(row)
            print(f"  {name}: {', '.join(f'{key} {show(value)}' for key, value in row.items())}", flush=True)
        print(f"  ({seconds:.0f} s)", flush=True)
    return panels


def show(value: Any) -> str:
    """A share as it stands in the tables."""
    return f"{value:.3f}" if isinstance(value, float) else str(value)


def table(rows: Sequence[Row]) -> None:
    """Print as Markdown; a row may lack some of the columns."""
    columns = list(dict.fromkeys(name for row in rows for name in row))
    print("\n|", " | ".join(columns), "|\n|", "--- | " * len(columns))
    for row in rows:
        print("|", " | ".join(show(row.get(name, "")) for name in columns), "|")
    print(flush=True)


def panel_table(panels: Panels) -> None:
    """Print what ``sweep`` returned as one table."""
    table([{"": title, **row} for title, rows in panels.items() for row in rows])


def curves(panels: Panels, label: str, path: Path, levels: dict[str, float] | None = None) -> None:
    """Draw the rows of ``sweep``, one panel each: scores by number of known pairs, and the confidence of ``align``.

    ``levels`` are named scores to compare with, drawn as lines.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(1.2 + 3.4 * len(panels), 3.8), dpi=90, layout="constrained")
    axes = figure.subplots(1, len(panels), sharex=True, sharey=True, squeeze=False)[0]
    looks = {"align": ("#0072b2", "o"), "orthogonal": ("#d55e00", "s"), "ridge": ("#009e73", "^")}
    for ax, (title, rows) in zip(axes, panels.items(), strict=True):
        places = [str(row["known pairs"]) for row in rows]
        for method, (color, marker) in looks.items():
            points = [(x, row[method]) for x, row in zip(places, rows, strict=True) if method in row]
            if points:
                ax.plot(*zip(*points, strict=True), color=color, marker=marker, label=method)
        ax.bar(places, [row["confidence"] for row in rows], color="#dddddd", label="confidence of align", zorder=0)
        for i, (name, level) in enumerate(sorted((levels or {}).items(), key=lambda item: item[1])):
            ax.axhline(level, color="#333333", ls=":", lw=1)
            ax.text(-0.38, level, name, va="bottom" if i else "top", size=8)  # the lowest below its line
        ax.set(xlabel="known pairs", ylim=(0, 1.02))
        ax.set_title(title, loc="left", size=11)
        ax.spines[["top", "right"]].set_visible(False)
    axes[0].set_ylabel(label)
    legend = {label: handle for ax in axes for handle, label in zip(*ax.get_legend_handles_labels(), strict=True)}
    figure.legend(legend.values(), legend.keys(), loc="outside lower center", ncols=4, frameon=False, fontsize=8)
    figure.savefig(path)
    print(f"saved {path}")
