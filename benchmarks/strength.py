"""At which strength a fit without pairs begins to work: ``python -m benchmarks.strength``.

A pair of encoders that works is made worse step by step: every row of B, held-out ones included, gets noise that A does
not see. The noise has B's covariance, so that the spectrum does not tell, and a *level* is its length beside that of
B's centred rows. ``gaussian`` noise is drawn from a normal distribution, ``rows`` noise is another row of B: each
vector is then that of two texts, of which A knows one. The *ceiling* is Procrustes on as many true pairs as a side has
rows. A seed draws the rows, the noise and a rotation of A. ``--data DIR`` takes what ``benchmarks.peers --data`` takes.
"""

import argparse
import itertools
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np

from benchmarks.peers import data_options, load, rotation, spread
from minivec import AlignmentWarning, MiniVec2VecAligner, evaluate_alignment

LEVELS = (0.0, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0)
KINDS = ("gaussian", "rows")
USELESS = 0.2  # a top-1 below which no verdict may be "reliable"
Pairs = tuple[np.ndarray, np.ndarray]
"""Rows of A (n, dA) and their partners (n, dB)."""


def noisy(B: np.ndarray, kind: str, level: float, rng: np.random.Generator) -> np.ndarray:
    """B (n, d) with noise of B's covariance, ``level`` times as long as the centred rows."""
    centred = B - B.mean(0)
    if kind == "rows":
        noise = rng.permutation(centred)
    else:
        values, axes = np.linalg.eigh(np.cov(centred, rowvar=False))
        draw = rng.standard_normal(B.shape, dtype=np.float32)
        noise = (draw * np.sqrt(values.clip(min=0)).astype(np.float32)) @ axes.T.astype(np.float32)
    return B + np.float32(level) * noise


def judged(
    XA: np.ndarray, XB: np.ndarray, held: Pairs, *, pairs: np.ndarray | None = None, seed: int = 0
) -> dict[str, Any]:
    """One fit of ``align``: its top-1 among the ``held`` pairs, in both directions, and what it says of itself."""
    aligner = MiniVec2VecAligner(XA.shape[1])
    history = aligner.align(XA, XB, pairs=pairs, seed=seed)
    figures = {name: history[name] for name in ("verdict", "confidence", "expected_top1")}
    return {**figures, "top1": top1(aligner, held), "back": top1(aligner.inverse(), held[::-1])}


def supervised(known: Pairs, held: Pairs) -> float:
    """Top-1 among the ``held`` pairs of Procrustes on the ``known`` ones."""
    return top1(MiniVec2VecAligner.from_pairs(*known, mapping="orthogonal"), held)


def top1(aligner: MiniVec2VecAligner, held: Pairs) -> float:
    """The share of A's rows that find their partner first."""
    return float(evaluate_alignment(aligner, *held)["top1_accuracy"])


def expected(fit: dict[str, Any]) -> str:
    """The interval that the fit expects its top-1 in."""
    return "{low:.2f} to {high:.2f}".format_map(fit["expected_top1"])


def measure(A: np.ndarray, B: np.ndarray, args: argparse.Namespace, kind: str, level: float, seed: int) -> dict:
    """The ceiling and one fit at a level of noise."""
    rng = np.random.default_rng(seed)
    A = A @ rotation(A.shape[1], rng)
    order = rng.permutation(len(A))
    held, first, second = np.split(order, [args.test, args.test + args.rows])
    B = noisy(B, kind, level, rng)
    test = A[held], B[held]
    return {**judged(A[first], B[second], test, seed=seed), "ceiling": supervised((A[first], B[first]), test)}


def summary(found: dict[tuple[str, str, float], list[dict[str, Any]]]) -> str:
    """A row for each level, over its seeds, and the number of useless maps that were called reliable."""
    lines = [
        "| pair | noise | level | ceiling | top-1 | verdicts | confidence |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for (pair, kind, level), fits in found.items():
        verdicts = [fit["verdict"] for fit in fits]
        counts = ", ".join(f"{verdicts.count(verdict)} {verdict}" for verdict in dict.fromkeys(sorted(verdicts)))
        ceiling, share, sure = (spread([fit[name] for fit in fits], 2) for name in ("ceiling", "top1", "confidence"))
        lines.append(f"| {pair} | {kind} | {level:g} | {ceiling} | {share} | {counts} | {sure} |")
    every = [fit for fits in found.values() for fit in fits]
    useless = [fit for fit in every if fit["top1"] < USELESS]
    within = sum(fit["expected_top1"]["low"] <= fit["top1"] <= fit["expected_top1"]["high"] for fit in every)
    wrong = sum(fit["verdict"] == "reliable" for fit in useless)
    lines.append(f"\nof {len(useless)} fits with a top-1 under {USELESS:g}, called reliable: {wrong}")
    lines.append(f"top-1 within the interval of expected_top1: {within} of {len(every)}")
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> None:
    """Print each fit as it ends, then the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    data_options(parser, "--pairs")
    parser.set_defaults(pairs=["e5:use", "e5:minilm"])
    parser.add_argument("--noise", nargs="+", default=KINDS, choices=KINDS)
    parser.add_argument("--levels", type=float, nargs="+", default=LEVELS)
    parser.add_argument("--rows", type=int, default=8_000, help="rows a side")
    parser.add_argument("--test", type=int, default=2_000, help="held-out pairs")
    parser.add_argument("--seeds", type=int, default=2)
    args = parser.parse_args(arguments)
    warnings.simplefilter("ignore", AlignmentWarning)
    found: dict[tuple[str, str, float], list[dict[str, Any]]] = {}
    for seed, pair, kind, level in itertools.product(range(args.seeds), args.pairs, args.noise, args.levels):
        A, B = (load(name, args.data, args.corpus, args.test + 2 * args.rows) for name in pair.split(":"))
        fit = measure(A, B, args, kind, level, seed)
        found.setdefault((pair, kind, level), []).append(fit)
        figures = f"ceiling {fit['ceiling']:.3f}, top-1 {fit['top1']:.3f}, expected {expected(fit)}"
        print(f"{pair} {kind} {level:g}, seed {seed}: {figures}, {fit['confidence']:.2f} {fit['verdict']}", flush=True)
    print(f"\n{summary(dict(sorted(found.items())))}")


if __name__ == "__main__":
    main()
