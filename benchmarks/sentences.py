"""Sentences of two languages without a dictionary: ``python -m benchmarks.sentences``.

English sentences in MiniLM, which knows only English, are aligned to French ones in a multilingual encoder, E5 and the
Universal Sentence Encoder in turn ("translation"). The sentences are messages of programs and stories of a game,
translated by people; no sentence of the one side is the translation of one of the other side. Two more comparisons tell
what the languages cost and what the encoders cost: MiniLM with the multilingual encoder's English sentences ("one
language"), and its vectors of both languages ("one encoder"). Top-1 among true translations that no fit has seen, in
both directions, with no known pair and with more and more of them. The *ceiling* is Procrustes on as many true pairs as
a side has rows. A seed draws B's rows, the held-out ones and a rotation of A.
"""

import argparse
import itertools
import warnings
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from benchmarks.corpora import texts
from benchmarks.encoders import ENCODERS, embeddings
from benchmarks.peers import rotation
from benchmarks.strength import Pairs, expected, judged, supervised, top1
from minivec import AlignmentWarning, MiniVec2VecAligner

COMPARISONS = {  # the spaces of A and of B, where "multilingual" stands for each of --encoders
    "translation": (("minilm", "english"), ("multilingual", "french")),
    "one language": (("minilm", "english"), ("multilingual", "english")),
    "one encoder": (("multilingual", "english"), ("multilingual", "french")),
}
COLUMNS = ("spaces", "seed", "known pairs", "top-1", "back", "orthogonal", "verdict", "confidence", "expected top-1")


def draw(A: np.ndarray, B: np.ndarray, args: argparse.Namespace, seed: int) -> tuple[Pairs, Pairs, np.ndarray]:
    """Held-out pairs, B's rows with their true partners, and the rows of A: the last ones, which B lacks."""
    rng = np.random.default_rng(seed)
    A = A @ rotation(A.shape[1], rng)  # E5 shares its axes with itself
    held, second = np.split(rng.permutation(len(B)), [args.test])
    return (A[held], B[held]), (A[second], B[second]), A[len(B) :]


def compare(A: np.ndarray, B: np.ndarray, args: argparse.Namespace, seed: int) -> Iterator[dict[str, Any]]:
    """A row of the table for each number of known pairs, then that of the ceiling."""
    held, paired, XA = draw(A, B, args, seed)
    for size in args.pairs:
        known = paired[0][:size], paired[1][:size]
        pairs = np.stack([np.arange(size)] * 2, 1) if size else None
        fit = judged(np.concatenate([known[0], XA]), paired[1], held, pairs=pairs, seed=seed)
        row = {"known pairs": f"{size:,}", "top-1": fit["top1"], "back": fit["back"], "verdict": fit["verdict"]}
        row |= {"confidence": fit["confidence"], "expected top-1": expected(fit)}
        yield {**row, "orthogonal": supervised(known, held)} if size else row
    ceiling = MiniVec2VecAligner.from_pairs(*paired, mapping="orthogonal")
    scores = {"top-1": top1(ceiling, held), "back": top1(ceiling.inverse(), held[::-1])}
    yield {"known pairs": f"ceiling: {len(XA):,}", **scores}


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table as Markdown, each row as soon as it is known."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=8_000, help="rows a side")
    parser.add_argument("--test", type=int, default=2_000, help="held-out translations")
    parser.add_argument("--pairs", type=int, nargs="+", default=[0, 100, 1_000], help="numbers of known pairs")
    parser.add_argument("--encoders", nargs="+", default=["e5", "use"], choices=ENCODERS, help="multilingual ones")
    parser.add_argument("--comparisons", nargs="+", default=list(COMPARISONS), choices=COMPARISONS, metavar="NAME")
    parser.add_argument("--seeds", type=int, default=2)
    args = parser.parse_args(arguments)
    warnings.simplefilter("ignore", AlignmentWarning)  # the table shows the verdicts
    rows = args.test + 2 * args.rows
    print(f"{len(texts('english-sentences')):,} sentences with a translation, of which {rows:,} are used", flush=True)
    sides: dict[str, tuple[np.ndarray, np.ndarray]] = {}
    for encoder, comparison in itertools.product(args.encoders, args.comparisons):
        both = [(name.replace("multilingual", encoder), language) for name, language in COMPARISONS[comparison]]
        title = " -> ".join(f"{name}, {language}" for name, language in both)
        sides[title] = tuple(
            embeddings(f"{language}-sentences", name, count)
            for (name, language), count in zip(both, (rows, rows - args.rows), strict=True)
        )
    print("\n|", " | ".join(COLUMNS), "|\n|", "--- | " * len(COLUMNS), flush=True)
    for seed in range(args.seeds):
        for spaces, (A, B) in sides.items():
            for row in compare(A, B, args, seed):
                row |= {"spaces": spaces, "seed": seed}
                cells = (row.get(name, "") for name in COLUMNS)
                shown = (f"{cell:.3f}" if isinstance(cell, float) else str(cell) for cell in cells)
                print("|", " | ".join(shown), "|", flush=True)


if __name__ == "__main__":
    main()
