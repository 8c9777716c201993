"""Fits of small corpora, over and over: ``python -m benchmarks.cells --json FILE``.

A cell is a corpus, a number of documents and a directed pair of encoders: 36 of them without options. A random half of
the documents is given to A, the other half to B, as in arXiv 2610.09411, so no document is on both sides. A small
corpus leaves no rows to hold out. A map is therefore scored on the rows of A that it was fitted to: they look up their
own documents among all of A's half, in the vectors of B's encoder, which no fit sees.

- ``top-1``: share of the rows whose own document comes first
- ``FOSCTTM``: share of the other documents that are closer than the own one (0 is perfect, 0.5 is chance)

Each figure is the median over seeds, with lowest and highest; a seed is another draw of the halves and of the fit.
``--data`` and ``--encoders`` as in ``benchmarks.peers``; with ``--data`` there is one corpus. With ``--json FILE`` a
run that was interrupted goes on with what FILE has.
"""

import argparse
import itertools
import tempfile
from pathlib import Path

import numpy as np

from benchmarks.methods import BY_PAIRS, METHODS
from benchmarks.peers import Figures, Key, data_options, directed, load, measure, resume, save, spread, stage

UNPAIRED = [name for name in METHODS if name not in BY_PAIRS]


def main(arguments: list[str] | None = None) -> None:
    """Print the table as Markdown, each row as soon as it is known."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    data_options(parser, "--pairs", corpora=["glosses", "prose"])
    parser.add_argument("--documents", type=int, nargs="+", default=[3_600, 10_000, 20_000], metavar="N")
    parser.add_argument("--methods", nargs="+", default=["auto", "unpaired-rosetta"], choices=UNPAIRED)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--json", type=Path, metavar="FILE", help="keeps every figure")
    args = parser.parse_args(arguments)
    settings = {"source": args.data.resolve().name if args.data else "packages", "scored": "A's half"}
    try:
        runs = resume(args.json, settings)
    except ValueError as error:
        parser.error(str(error))
    corpora = [settings["source"]] if args.data else args.corpora
    columns = [f"{method}: {figure}" for method in args.methods for figure in ("top-1", "FOSCTTM", "s")]
    print("| corpus | documents | A → B |", " | ".join(columns), "|\n|", "--- | " * (len(columns) + 3), flush=True)
    cells = itertools.product(corpora, args.documents, directed(args.pairs, args.encoders))
    for corpus, documents, (one, other) in cells:
        name = f"{corpus}, {documents} documents, {one} -> {other}"
        keys = [(name, method, seed) for method in args.methods for seed in range(args.seeds)]
        if any(key not in runs for key in keys):
            A, B = (load(encoder, args.data, corpus, documents) for encoder in (one, other))
            for seed in range(args.seeds):
                runs |= one_draw(A, B, [key for key in keys if key[2] == seed and key not in runs])
                if args.json:
                    save(args.json, settings, runs)
        figures = [cell([runs[key] for key in keys if key[1] == method], documents) for method in args.methods]
        print(f"| {corpus} | {documents:,} | {one} → {other} |", " | ".join(figures), "|", flush=True)


def one_draw(A: np.ndarray, B: np.ndarray, keys: list[Key]) -> dict[Key, Figures]:
    """The figures of fits of one seed, of documents ``A`` (n, dA) and the same documents ``B`` (n, dB)."""
    if not keys:
        return {}
    order = np.random.default_rng(keys[0][2]).permutation(len(A))
    first, second = order[: len(A) // 2], order[len(A) // 2 :]
    with tempfile.TemporaryDirectory() as folder:
        score = stage(Path(folder), A[first], B[second], partners=B[first], held=(A[first], B[first]))
        return {key: measure(key[1], key[2], Path(folder), score) for key in keys}


def cell(runs: list[Figures], documents: int) -> str:
    """Top-1, FOSCTTM and seconds of the ``runs`` of one method: medians and ranges, and what failed."""
    rivals = documents // 2 - 1
    good = [{**run, "foscttm": (run["mean_rank"] - 1) / rivals} for run in runs if "failed" not in run]
    failed = "".join(f" ({run['failed']})" for run in runs if "failed" in run)
    texts = []
    for figure, digits in (("top1_accuracy", 3), ("foscttm", 4), ("seconds", 0)):
        values = [run[figure] for run in good]
        texts.append(f"{np.median(values):,.{digits}f} ({spread(values, digits)})" if values else "-")
    return " | ".join(texts) + failed


if __name__ == "__main__":
    main()
