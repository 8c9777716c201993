"""Whether the intervals of a probe hold the truth: ``python -m benchmarks.probe``.

Each fit maps one encoder into another. A probe of 500 queries and a pool of documents estimates the recall of the new
model's first ten, in that pool and among all documents. Then the same recall is measured with every document as a
query: in that pool, and among all documents. The corpora are all subjects (wide), the half of them on one side of the
first principal direction (half), and the documents nearest to one of them (narrow). The fits have known pairs, or no
pairs at all, and their rows are never among the documents. ``--data DIR`` takes ``*_NAME.npz`` files of 8-bit rows;
without it the embeddings are made by ``benchmarks.encoders``. ``--json FILE`` keeps every fit and goes on where it
stopped.
"""

import argparse
import itertools
import json
import random
import warnings
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.peers import load
from minivec import MiniVec2VecAligner
from minivec.files import replacing
from minivec.frame import unit
from minivec.map import LinearMap
from minivec.moving.probe.estimate import Bootstrap, Estimate
from minivec.moving.probe.lists import ADAPT, CEILING, MIGRATE, searches, shared, without
from minivec.moving.probe.material import Material
from minivec.moving.probe.measure import measure

ENCODERS = "e5", "minilm", "use"
DOCUMENTS, ROWS = 20_000, 30_000  # the rows behind the documents are those of the fits
QUERIES, K, RERANK = 500, 10, 200
UNPAIRED = 3_000  # rows a side of a fit without pairs
CORPORA = {"wide": (5_000, 1_000), "half": (10_000, 2_000), "narrow": (5_000, 1_000), "all": (DOCUMENTS, 2_000)}


def cases() -> Iterator[dict[str, Any]]:
    """What is fitted and probed: the encoders, the number of known pairs, the corpus, the seed."""
    pairs = list(itertools.permutations(ENCODERS, 2))
    made = [(corpus, pair, known) for corpus in ("wide", "narrow", "half") for known in (300, 3_000) for pair in pairs]
    made += [("all", pair, (300, 3_000)[i % 2]) for i, pair in enumerate(pairs)]
    made += [(corpus, pair, 0) for corpus in ("wide", "half") for pair in pairs[::3]]
    made = random.Random(0).sample(made, len(made))  # a part of the run is a fair part
    for seed, (corpus, pair, known) in enumerate(made, 100):  # the constants were chosen on seeds below
        yield {"corpus": corpus, "pair": list(pair), "pairs": known, "seed": seed}


@cache
def spaces(name: str, data: Path | None) -> np.ndarray:
    """All rows of an encoder."""
    return load(name, data, "glosses", ROWS)


def chosen(corpus: str, X: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The numbers of a corpus's documents among raw rows X (n, d)."""
    rows, _ = CORPORA[corpus]
    centred = unit(X) - unit(X).mean(0)
    if corpus == "half":
        along = centred @ np.linalg.eigh(centred.T @ centred)[1][:, -1]
        return np.argsort(rng.choice([-1, 1]) * along)[:rows]
    if corpus == "narrow":
        return np.argsort(-(centred @ centred[rng.integers(len(X))]))[:rows]
    return rng.permutation(len(X))[:rows]


def fit(case: dict[str, Any], A: np.ndarray, B: np.ndarray) -> LinearMap:
    """The map of a case, from raw rows A and B of the same texts: known pairs of them, or two halves of them."""
    order = np.random.default_rng(case["seed"]).permutation(len(A))
    known = order[: case["pairs"]]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if len(known):
            return MiniVec2VecAligner.from_pairs(A[known], B[known], seed=case["seed"]).map
        aligner = MiniVec2VecAligner(A.shape[1])
        aligner.align(A[order[:UNPAIRED]], B[order[UNPAIRED : 2 * UNPAIRED]], seed=case["seed"])
        return aligner.map


def truth(old: np.ndarray, new: np.ndarray, bridge: LinearMap, rows: np.ndarray) -> dict[str, float]:
    """The recall of each map among the documents ``rows``, with every document as a query but never as its own."""
    own = np.arange(len(old))
    ways = searches(Material(len(old), old, new, new, old, own), bridge, RERANK)
    lists = {way: without(ways[way].lists(rows, K + 1), own) for way in (CEILING, MIGRATE, ADAPT)}
    return {way: float(shared(lists[way], lists[CEILING]).mean()) for way in (MIGRATE, ADAPT)}


def run(case: dict[str, Any], data: Path | None) -> dict[str, Any]:
    """One fit: for each map the estimates in the pool and among all rows, and the truth of both."""
    rng = np.random.default_rng(case["seed"])
    A, B = (spaces(name, data) for name in case["pair"])
    bridge = fit(case, A[DOCUMENTS:], B[DOCUMENTS:])
    documents = chosen(case["corpus"], B[:DOCUMENTS], rng)
    old, new = A[documents], B[documents]
    pool = np.sort(rng.permutation(len(documents))[: CORPORA[case["corpus"]][1]])
    own = rng.permutation(len(pool))[:QUERIES]
    given = Material(len(documents), old[pool], new[pool], new[pool][own], old[pool][own], own)
    boot = Bootstrap(QUERIES, case["seed"])
    measured = measure(given, bridge, k=K, rerank=RERANK, boot=boot, seed=case["seed"])
    found = {way.name: way for way in measured.ways}
    in_pool, in_all = truth(old, new, bridge, pool), truth(old, new, bridge, np.arange(len(documents)))
    return {
        **case,
        "pool": {way: entry(found[way].recall, in_pool[way]) for way in in_pool},
        "all": {way: entry(found[way].recall_all, in_all[way]) for way in in_all},
    }


def entry(estimate: Estimate, true: float) -> dict[str, float]:
    """An interval beside the truth."""
    return {"value": estimate.value, "low": estimate.low, "high": estimate.high, "true": true}


def summary(fits: list[dict[str, Any]]) -> str:
    """How often the intervals hold the truth, how wide they are, and how far the estimates are off, as Markdown."""
    lines = ["| recall | corpus | intervals | hold the truth | mean width | mean error |", "| --- " * 6 + "|"]
    for where, corpus in itertools.product(("pool", "all"), (*CORPORA, None)):
        some = [e for f in fits if corpus in (None, f["corpus"]) for e in f[where].values()]
        if some:
            held = sum(e["low"] <= e["true"] <= e["high"] for e in some)
            width = np.mean([e["high"] - e["low"] for e in some])
            error = np.mean([abs(e["value"] - e["true"]) for e in some])
            name = "in the pool" if where == "pool" else "among all documents"
            share = f"{held} ({held / len(some):.0%})"
            lines.append(f"| {name} | {corpus or 'together'} | {len(some)} | {share} | {width:.3f} | {error:.3f} |")
    return "\n".join(lines)


def main() -> None:
    """Print each fit as it ends, then the counts."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    fits = json.loads(args.json.read_text()) if args.json and args.json.exists() else []
    for case in cases():
        if any(case.items() <= done.items() for done in fits):
            continue
        fits.append(run(case, args.data))
        for where in ("pool", "all"):
            told = (
                f"{way} {e['value']:.3f} ({e['low']:.3f} to {e['high']:.3f}), true {e['true']:.3f}"
                for way, e in fits[-1][where].items()
            )
            print(
                f"{case['corpus']} {' -> '.join(case['pair'])} {case['pairs']} {where}: {'; '.join(told)}", flush=True
            )
        if args.json:
            with replacing(args.json) as part:
                part.write_text(json.dumps(fits, indent=1))
    print(f"{len(fits)} fits\n\n{summary(fits)}")


if __name__ == "__main__":
    main()
