"""The closed forms of ``from_pairs`` compared on real pairs: ``python -m benchmarks.paired``.

Top-1 by cosine and by CSLS among held-out true pairs, for each number of known pairs and directed pair of encoders;
beside them what each fit itself said of its result. ``--data`` and ``--corpus`` as in ``benchmarks.presets``.
"""

import argparse
import itertools
import time
import warnings
from pathlib import Path

from benchmarks.presets import load
from minivec import AlignmentWarning, MiniVec2VecAligner, evaluate_alignment
from minivec.paired import MAPPINGS


def main() -> None:
    """Print the table as Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--corpus", default="glosses")
    parser.add_argument("--encoders", nargs="+", default=["e5", "minilm", "use"])
    parser.add_argument("--pairs", type=int, nargs="+", default=[100, 500, 2_000, 8_000])
    parser.add_argument("--test", type=int, default=8_192, help="held-out pairs")
    args = parser.parse_args()
    spaces = load(args.encoders, args.data, args.corpus, max(args.pairs) + args.test)
    warnings.simplefilter("ignore", AlignmentWarning)
    headings = [f"{mapping}: {what}" for mapping in MAPPINGS for what in ("top-1", "CSLS", "cosine", "confidence", "s")]
    print("| pairs | spaces |", " | ".join(headings), "| low-rank chose |")
    print("|", "--- | " * (len(headings) + 3), flush=True)
    for pairs, (one, other) in itertools.product(args.pairs, itertools.permutations(args.encoders, 2)):
        A, B = spaces[one], spaces[other]
        cells = []
        for mapping in MAPPINGS:
            start = time.perf_counter()
            aligner = MiniVec2VecAligner.from_pairs(A[:pairs], B[:pairs], mapping=mapping)
            seconds = time.perf_counter() - start
            found = evaluate_alignment(aligner, A[-args.test :], B[-args.test :])
            cells += [f"{found['top1_accuracy']:.3f}", f"{found['csls_top1_accuracy']:.3f}"]
            cells += [f"{found['mean_cosine_similarity']:.2f}", f"{aligner.confidence:.2f}", f"{seconds:.1f}"]
        settings = aligner.history["settings"]
        chosen = f"rank {settings['rank']}, ridge {settings['ridge']}"
        print(f"| {pairs} | {one} -> {other} |", " | ".join(cells), f"| {chosen} |", flush=True)


if __name__ == "__main__":
    main()
