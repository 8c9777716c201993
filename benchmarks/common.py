"""The common space beside the map, on real encoders: ``python -m benchmarks.common --rows 4000 10904 --seeds 3``.

Rows of one encoder against *other* rows of the other, A rotated at random; a seed also draws the rows. Every map is
scored on the same held-out pairs, which no fit has seen. The ceiling is Procrustes on the true pairs: the best
rotation, which a common space, not being one, may pass. ``--data DIR`` takes what ``benchmarks.peers --data`` takes.
"""

import argparse
import warnings
from typing import Any

import numpy as np

from benchmarks.peers import data_options, directed, load, rotation, spread
from minivec import AlignmentWarning, MiniVec2VecAligner, evaluate_alignment
from minivec.algorithm.procrustes import polar
from minivec.frame import Frame, unit

FIGURES = "top1_accuracy", "csls_top1_accuracy"


def measure(A: np.ndarray, B: np.ndarray, rows: int, test: int, seed: int) -> dict[str, Any]:
    """Top-1 and top-1 by CSLS of the ceiling, the map and the common space."""
    held, first, second = np.split(
        np.random.default_rng(seed).permutation(len(A))[: test + 2 * rows], [test, test + rows]
    )
    XA, XB, held_A, held_B = A[first], B[second], A[held], B[held]
    source, target = Frame.of(XA), Frame.of(XB)
    W = polar(source.apply(XA).T @ target.apply(B[first]))
    aligner = MiniVec2VecAligner(A.shape[1])
    history = aligner.align(XA, XB, seed=seed)
    common = aligner.common(XA, XB, seed=seed)
    ways = {
        "ceiling": evaluate_alignment(lambda X: unit(source.apply(X) @ W), held_A, target.apply(held_B)),
        "map": evaluate_alignment(lambda X: unit(source.apply(X) @ history["final_W"]), held_A, target.apply(held_B)),
        "common": evaluate_alignment(common.source, held_A, common.target(held_B)),
    }
    return {f"{way} {figure}": metrics[figure] for way, metrics in ways.items() for figure in FIGURES}


def main() -> None:
    """Print a Markdown row for each pair of encoders and number of rows, as soon as it is known."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    data_options(parser, "--pairs")
    parser.add_argument("--rows", type=int, nargs="+", default=[4_000, 10_904], help="rows a side")
    parser.add_argument("--test", type=int, default=8_192, help="held-out pairs")
    parser.add_argument("--seeds", type=int, default=3)
    args = parser.parse_args()
    warnings.simplefilter("ignore", AlignmentWarning)
    columns = [f"{way} {figure}" for figure in FIGURES for way in ("ceiling", "map", "common")]
    heads = [f"{way}{', CSLS' if figure.startswith('csls') else ''}" for way, figure in (c.split(" ") for c in columns)]
    print("| pair | rows |", " | ".join(heads), "|\n|", "--- | " * (len(heads) + 2), flush=True)
    for one, other in directed(args.pairs, args.encoders):
        most = args.test + 2 * max(args.rows)
        A, B = (load(name, args.data, args.corpus, most) for name in (one, other))
        A = A @ rotation(A.shape[1], np.random.default_rng(0))
        for rows in args.rows:
            runs = [measure(A, B, rows, args.test, seed) for seed in range(args.seeds)]
            cells = [spread([run[column] for run in runs], 3) for column in columns]
            print(f"| {one} -> {other} | {rows:,} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
