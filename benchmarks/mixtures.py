"""Mixtures of Gaussians with a known rotation between the two sides: what a fit makes of clusters alone.

They are two ends of what data look like: ``tight``, 20 round modes far apart, each a cluster of its own, and
``wide``, 100 elongated modes that overlap, where no cluster is separate and every mode has a shape.
``python -m benchmarks.mixtures`` prints the mean cosine of rows under the fitted map with rows under the true one.
"""

import argparse
import time
import warnings
from typing import NamedTuple

import numpy as np

from minivec import MiniVec2VecAligner
from minivec.algorithm.confidence import mean_cosine

DIMENSION = 128
ROWS = 25_000

# Modes, and each mode's standard deviations along its axes; the centres are N(0, I).
MIXTURES = {
    "tight": (20, np.full(DIMENSION, 0.05)),
    "wide": (100, 4 / np.sqrt(np.arange(1, DIMENSION + 1))),
}


class Pair(NamedTuple):
    """Unpaired rows of A and B, (n, d) each, and the rotation W (d, d): A @ W has the distribution of B."""

    A: np.ndarray
    B: np.ndarray
    W: np.ndarray


def mixture(name: str, seed: int = 0, rows: int = ROWS) -> Pair:
    """``rows`` rows a side, float32, drawn independently from one of MIXTURES, A rotated at random."""
    rng = np.random.default_rng(seed)
    modes, spread = MIXTURES[name]
    centres = rng.normal(size=(modes, DIMENSION))
    axes = [rotation(rng) * spread[:, None] for _ in range(modes)]
    weights = rng.dirichlet(np.full(modes, 5.0))
    W = rotation(rng)

    def draw() -> np.ndarray:
        parts = [
            centre + rng.normal(size=(size, DIMENSION)) @ axis
            for centre, axis, size in zip(centres, axes, rng.multinomial(rows, weights), strict=True)
        ]
        return rng.permutation(np.concatenate(parts)).astype(np.float32)

    return Pair(draw() @ W.T, draw(), W)


def rotation(rng: np.random.Generator) -> np.ndarray:
    """A uniformly random orthogonal matrix, (d, d) float32."""
    Q, R = np.linalg.qr(rng.normal(size=(DIMENSION, DIMENSION)))
    return (Q * np.sign(np.diag(R))).astype(np.float32)


def main() -> None:
    """Fit both with ``auto``, a line for every seed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=2)
    args = parser.parse_args()
    print("| mixture | seed | cosine to the truth | confidence | s |\n| --- | --- | --- | --- | --- |")
    for name in MIXTURES:
        for seed in range(args.seeds):
            pair, start = mixture(name, seed), time.perf_counter()
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                history = MiniVec2VecAligner(DIMENSION).align(pair.A, pair.B, seed=seed)
            seconds = time.perf_counter() - start
            cosine = mean_cosine(pair.A - pair.A.mean(0), history["final_W"], pair.W)
            print(f"| {name} | {seed} | {cosine:.4f} | {history['confidence']:.2f} | {seconds:.0f} |", flush=True)


if __name__ == "__main__":
    main()
