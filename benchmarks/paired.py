"""What known pairs give on real encoders: ``python -m benchmarks.paired``.

The closed forms of ``from_pairs`` compared: top-1 by cosine and by CSLS among held-out true pairs, for each number of
known pairs and directed pair of encoders; beside them what each fit itself said of its result. With ``--unpaired N``,
``align`` with N rows a side of which no pair is known, and the known ones beside them, against the closed forms of the
known pairs alone; ``--wrong`` is the share of them that is shuffled. A is rotated at random. ``--data``
and ``--corpus`` as in ``benchmarks.peers``.
"""

import argparse
import itertools
import time
import warnings
from collections.abc import Callable

import numpy as np

from benchmarks.peers import data_options, directed, load, rotation
from minivec import AlignmentWarning, MiniVec2VecAligner, evaluate_alignment
from minivec.algorithm.paired import CLOSED_FORMS

CLOSED = ("orthogonal", "ridge")


def main() -> None:
    """Print the table as Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    data_options(parser, "--spaces")
    parser.add_argument("--pairs", type=int, nargs="+", help="numbers of known pairs")
    parser.add_argument("--unpaired", type=int, metavar="N", help="rows a side for align")
    parser.add_argument("--wrong", type=float, default=0, help="share of the pairs, with --unpaired")
    parser.add_argument("--seeds", type=int, default=1, help="draws of the rows, with --unpaired")
    parser.add_argument("--test", type=int, default=8_192, help="held-out pairs")
    args = parser.parse_args()
    chosen = directed(args.spaces, args.encoders)
    args.pairs = args.pairs or ([0, 10, 30, 100, 300, 1_000] if args.unpaired else [100, 500, 2_000, 8_000])
    rows = max(args.pairs) + 2 * (args.unpaired or 0) + args.test
    names = sorted({name for pair in chosen for name in pair})
    spaces = {name: load(name, args.data, args.corpus, rows) for name in names}
    warnings.simplefilter("ignore", AlignmentWarning)
    compare = beside_unpaired if args.unpaired else closed_forms
    headings = [f"{what}: {figure}" for what, figures in COLUMNS[compare].items() for figure in figures]
    print("| pairs | spaces |", " | ".join(headings), "|\n|", "--- | " * (len(headings) + 2), flush=True)
    for pairs, (one, other) in itertools.product(args.pairs, chosen):
        A, B = spaces[one], spaces[other]
        A = A @ rotation(A.shape[1], np.random.default_rng(0))
        for cells in compare(A, B, pairs, args):
            print(f"| {pairs} | {one} -> {other} |", " | ".join(cells), "|", flush=True)


def closed_forms(A: np.ndarray, B: np.ndarray, pairs: int, args: argparse.Namespace) -> list[list[str]]:
    """A row of the table for ``from_pairs``."""
    cells = []
    for mapping in CLOSED_FORMS:
        aligner, figures = timed(
            lambda m=mapping: MiniVec2VecAligner.from_pairs(A[:pairs], B[:pairs], mapping=m), A, B, args
        )
        cells += figures
    settings = aligner.history["settings"]
    return [[*cells, f"rank {settings['rank']}, ridge {settings['ridge']}"]]


def beside_unpaired(A: np.ndarray, B: np.ndarray, pairs: int, args: argparse.Namespace) -> list[list[str]]:
    """Rows of the table, one a seed, for ``align`` and for the closed forms of the same pairs."""
    return [one_draw(A, B, pairs, args, seed) for seed in range(args.seeds)]


def one_draw(A: np.ndarray, B: np.ndarray, pairs: int, args: argparse.Namespace, seed: int) -> list[str]:
    """Its figures, with ``pairs`` known pairs, and other rows for each side."""
    rng = np.random.default_rng(seed)
    n, order = args.unpaired, rng.permutation(len(A) - args.test)
    known, first, second = order[:pairs], order[pairs : pairs + n], order[pairs + n : pairs + 2 * n]
    partners = known.copy()
    wrong = rng.permutation(pairs)[: round(args.wrong * pairs)]
    partners[wrong] = np.roll(partners[wrong], 1)
    XA, XB = A[np.r_[known, first]], B[np.r_[partners, second]]
    numbers = np.stack([np.arange(pairs)] * 2, 1) if pairs else None

    def align() -> MiniVec2VecAligner:
        aligner = MiniVec2VecAligner(A.shape[1])
        aligner.align(XA, XB, pairs=numbers, seed=seed)
        return aligner

    _, cells = timed(align, A, B, args)
    for mapping in CLOSED:
        fitted = lambda m=mapping: MiniVec2VecAligner.from_pairs(XA[:pairs], XB[:pairs], mapping=m)  # noqa: E731
        cells += timed(fitted, A, B, args)[1][:2] if pairs else ["", ""]
    return cells


def timed(
    fit: Callable[[], MiniVec2VecAligner], A: np.ndarray, B: np.ndarray, args: argparse.Namespace
) -> tuple[MiniVec2VecAligner, list[str]]:
    """A fitted aligner, and its FIGURES."""
    start = time.perf_counter()
    aligner = fit()
    seconds = time.perf_counter() - start
    found = evaluate_alignment(aligner, A[-args.test :], B[-args.test :])
    scores = [f"{found[name]:.3f}" for name in ("top1_accuracy", "csls_top1_accuracy")]
    return aligner, [*scores, f"{found['mean_cosine_similarity']:.2f}", f"{aligner.confidence:.2f}", f"{seconds:.1f}"]


FIGURES = ("top-1", "CSLS", "cosine", "confidence", "s")
COLUMNS = {
    closed_forms: {**dict.fromkeys(CLOSED_FORMS, FIGURES), "low-rank": (*FIGURES, "chose")},
    beside_unpaired: {"align": FIGURES, **dict.fromkeys(CLOSED, FIGURES[:2])},
}

if __name__ == "__main__":
    main()
