"""``auto`` against ``paper`` on real encoders, in one run: ``python -m benchmarks.presets``.

Rows of one encoder against *other* rows of the other, A rotated at random, top-1 among held-out true pairs, and beside
them the ceiling: supervised orthogonal Procrustes on as many true pairs. ``--data DIR`` takes ``*_NAME.npz`` files of
8-bit rows (arrays ``q`` and ``s``); without it the embeddings are made by ``benchmarks.encoders``.
"""

import argparse
import itertools
import json
import time
import warnings
from pathlib import Path

import numpy as np

from minivec import MiniVec2VecAligner, evaluate_alignment
from minivec.frame import Frame, unit
from minivec.procrustes import polar


def load(names: list[str], data: Path | None, corpus: str, rows: int) -> dict[str, np.ndarray]:
    """Row-aligned embeddings (n, d) of each encoder."""
    if data is None:
        from benchmarks.encoders import embeddings

        return {name: embeddings(corpus, name, rows) for name in names}
    loaded = {}
    for name in names:
        (path,) = data.glob(f"*_{name}.npz")
        with np.load(path) as file:
            loaded[name] = file["q"].astype(np.float32) * file["s"][:, None]
    return loaded


def ceiling(XA: np.ndarray, XB: np.ndarray, test_A: np.ndarray, test_B: np.ndarray) -> float:
    """Top-1 of orthogonal Procrustes on true pairs, in the frame that the fits use."""
    source, target = Frame.of(XA), Frame.of(XB)
    W = polar(source.apply(XA).T @ target.apply(XB))
    found = evaluate_alignment(lambda A: unit(source.apply(A) @ W), test_A, target.apply(test_B))
    return found["top1_accuracy"]


def fit(preset: str, seed: int, XA, XB, test_A, test_B) -> dict:
    """One fit's seconds, confidence and accuracy."""
    aligner = MiniVec2VecAligner(XA.shape[1])
    start = time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        history = aligner.align(XA, XB, preset=preset, seed=seed)
    seconds = time.perf_counter() - start
    metrics = evaluate_alignment(aligner, test_A, test_B)
    return {"seconds": seconds, "confidence": history["confidence"], "verdict": history["verdict"], **metrics}


def main() -> None:
    """Print the table as Markdown; ``--json FILE`` keeps every figure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--corpus", default="glosses")
    parser.add_argument("--encoders", nargs="+", default=["e5", "minilm", "use"])
    parser.add_argument("--rows", type=int, default=10_904, help="rows a side")
    parser.add_argument("--test", type=int, default=8_192, help="held-out pairs")
    parser.add_argument("--seeds", type=int, default=3, help="of auto")
    parser.add_argument("--paper-seeds", type=int, default=1)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    n = args.rows
    spaces = load(args.encoders, args.data, args.corpus, 2 * n + args.test)
    last = min(map(len, spaces.values()))

    results = []
    print(f"| {n} rows a side | ceiling | auto: top-1 | of ceiling | confidence | s | paper: top-1 | s |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |", flush=True)
    for one, other in itertools.permutations(args.encoders, 2):
        A, B = spaces[one], spaces[other]
        rotation = polar(np.random.default_rng(0).standard_normal((A.shape[1],) * 2)).astype(np.float32)
        A = A @ rotation
        test = A[last - args.test : last], B[last - args.test : last]
        best = ceiling(A[:n], B[:n], *test)
        runs = {
            preset: [fit(preset, seed, A[:n], B[n : 2 * n], *test) for seed in range(seeds)]
            for preset, seeds in (("paper", args.paper_seeds), ("auto", args.seeds))
        }
        results.append({"pair": f"{one} -> {other}", "rows": n, "ceiling": best, **runs})

        def column(preset: str, name: str, digits: int, runs: dict = runs) -> str:
            values = [run[name] for run in runs[preset]]
            low, high = (f"{v:.{digits}f}" for v in (min(values), max(values)))
            return (low if low == high else f"{low} to {high}") if values else "-"

        share = np.mean([run["top1_accuracy"] for run in runs["auto"]]) / best
        cells = [f"{one} -> {other}", f"{best:.3f}", column("auto", "top1_accuracy", 3), f"{share:.2f}"]
        cells += [column("auto", "confidence", 2), column("auto", "seconds", 0)]
        cells += [column("paper", "top1_accuracy", 3), column("paper", "seconds", 0)]
        print("|", " | ".join(cells), "|", flush=True)
    if args.json:
        args.json.write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
