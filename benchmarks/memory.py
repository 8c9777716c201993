"""Memory of a process that fits again and again: ``python -m benchmarks.memory --fits 20`` (Linux).

Each fit has other rows of the bundled sample, as many of them as ``--rows``. With ``--uneven`` they are a few more each
time, so that arrays have other shapes. After each fit it prints what the process holds that no file backs.
"""

import argparse
import gc
import time
import warnings

import numpy as np

from benchmarks.peers import memory_mb
from minivec import AlignmentWarning, MiniVec2VecAligner
from minivec.datasets import load_sample


def main() -> None:
    """Fit, and print megabytes after each fit."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fits", type=int, default=20)
    parser.add_argument("--rows", type=int, default=1_000)
    parser.add_argument("--steps", type=int, default=10, help="refine1_iterations")
    parser.add_argument("--runs", type=int, default=2, help="approx_runs")
    parser.add_argument("--uneven", action="store_true", help="each fit has other shapes")
    options = parser.parse_args()
    warnings.simplefilter("ignore", AlignmentWarning)
    sample, rng = load_sample(), np.random.default_rng(0)
    before = 0.0
    for fit in range(options.fits):
        rows = options.rows + 7 * fit * options.uneven
        A, B = (rows_of[rng.choice(len(rows_of), rows, replace=False)] for rows_of in (sample.source, sample.target))
        start = time.perf_counter()
        model = MiniVec2VecAligner(A.shape[1])
        model.align(A, B, verbose=0, approx_runs=options.runs, refine1_iterations=options.steps)
        del model
        gc.collect()
        held, seconds = memory_mb("RssAnon") or 0.0, time.perf_counter() - start
        print(f"fit {fit + 1:2}: {held:7.1f} MB, {held - before:+7.1f}, {seconds:5.1f} s", flush=True)
        before = held


if __name__ == "__main__":
    main()
