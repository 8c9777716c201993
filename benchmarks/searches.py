"""What a search by cosine finds of mapped rows, for each use of a map: ``python -m benchmarks.searches``.

A fit without pairs maps held-out rows of A into B's space. Searches compare raw rows, as a database does:

- stored: mapped rows are stored, and B's own rows ask. Top-1, and how many of the ten rows that B's own stored rows
  would have found
- beside B's own: half of the stored rows are mapped, the others are B's own. The same ten, and the share of mapped rows
- asked: mapped rows ask, and B's own are stored. Top-1, and the same ten

The ways: ``stored``, what the map gives; ``queries``, what it gives ``for_queries``, and what it gave for all rows
before; ``centred``, rows less the mean of their space, which only a search that knows the means can compare;
``supervised``, the first way after Procrustes on the true pairs. A seed draws the rows and a rotation of A.
``--data DIR`` takes what ``benchmarks.peers --data`` takes.
"""

import argparse
import warnings
from collections import defaultdict
from collections.abc import Iterator

import numpy as np

from benchmarks.peers import data_options, directed, load, rotation, sides, spread
from minivec import AlignmentWarning, MiniVec2VecAligner, evaluate_alignment
from minivec.frame import Frame, unit
from minivec.moving.probe.lists import shared
from minivec.search import top_k

K = 10
COLUMNS = "stored: top-1", "same ten", "beside own: same ten", "mapped rows", "asked: top-1", "same ten"
Rows = tuple[np.ndarray, np.ndarray]
"""Mapped rows of A (n, d), and B's own rows (n, d), their partners."""


def ways(A: np.ndarray, B: np.ndarray, partners: np.ndarray, held: Rows, seed: int) -> Iterator[tuple[str, Rows]]:
    """Each way, and the ``held`` pairs in it, after a fit of A (n, dA) to B (n, dB); ``partners`` are A's (n, dB)."""
    aligner = MiniVec2VecAligner(A.shape[1])
    aligner.align(A, B, seed=seed)
    bridge, source, target = aligner.map, Frame.of(A), Frame.of(B)
    supervised = MiniVec2VecAligner.from_pairs(A, partners, mapping="orthogonal").map
    own = unit(held[1])
    yield "stored", (bridge(held[0]), own)
    yield "queries", (bridge.for_queries()(held[0]), own)
    yield "centred", (unit(source.apply(held[0]) @ bridge.weights["W"]), target.apply(held[1]))
    yield "supervised", (supervised(held[0]), own)


def figures(mapped: np.ndarray, own: np.ndarray, raw: np.ndarray, rng: np.random.Generator) -> list[float]:
    """The figures of COLUMNS for ``mapped`` rows (n, d) and B's ``own`` (n, d); ``raw`` rows (n, d) tell the ten."""
    asks, *stored = np.split(rng.permutation(len(own)), [len(own) // 4, len(own) * 5 // 8])
    is_mapped = np.isin(np.arange(len(own)), stored[0])
    stored = np.sort(np.concatenate(stored))

    def ten(queries: np.ndarray, rows: np.ndarray) -> np.ndarray:
        return top_k(queries[asks], rows[stored], K)[1]

    true = ten(raw, raw)
    beside = ten(own, np.where(is_mapped[:, None], mapped, own))
    top1 = [evaluate_alignment(unit, *rows)["top1_accuracy"] for rows in ((own, mapped), (mapped, own))]
    shares = [float(shared(found, true).mean()) for found in (ten(own, mapped), beside, ten(mapped, own))]
    return [top1[0], shares[0], shares[1], float(is_mapped[stored][beside].mean()), top1[1], shares[2]]


def main(arguments: list[str] | None = None) -> None:
    """Print a row for each pair of encoders and way, the lowest and the highest figure of the seeds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    data_options(parser, "--pairs")
    parser.add_argument("--rows", type=int, default=10_000, help="a side")
    parser.add_argument("--test", type=int, default=4_000, help="held-out pairs")
    parser.add_argument("--seeds", type=int, default=2)
    args = parser.parse_args(arguments)
    warnings.simplefilter("ignore", AlignmentWarning)
    held, first, second = sides(args.test, args.rows)
    print(f"| A → B | way | {' | '.join(COLUMNS)} |\n|{' --- |' * (2 + len(COLUMNS))}")
    for one, other in directed(args.pairs, args.encoders):
        runs = defaultdict(list)
        for seed in range(args.seeds):
            rng = np.random.default_rng(seed)
            order = rng.permutation(second.stop)
            A, B = (load(name, args.data, args.corpus, second.stop)[order] for name in (one, other))
            A = A @ rotation(A.shape[1], rng)
            draw = int(rng.integers(2**32))  # the same for every way
            for way, rows in ways(A[first], B[second], B[first], (A[held], B[held]), seed):
                runs[way].append(figures(*rows, unit(B[held]), np.random.default_rng(draw)))
        for way, found in runs.items():
            cells = (spread(list(column), 2) for column in zip(*found, strict=True))
            print(f"| {one} → {other} | {way} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
