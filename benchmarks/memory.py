"""Memory of a process that fits again and again: ``python -m benchmarks.memory --fits 20`` (Linux).

Each fit has other rows of the bundled sample, as many of them as ``--rows``. With ``--uneven`` they are a few more each
time, so that arrays have other shapes. After each fit it prints what the process holds that no file backs, once malloc
has given back what is free. A last line says what is left after ``jax.clear_caches()``.
"""

import argparse
import ctypes
import gc
import time
import warnings

import keras
import numpy as np

from benchmarks.peers import memory_mb
from minivec import AlignmentWarning, MiniVec2VecAligner
from minivec.datasets import load_sample


def main() -> None:
    """Fit, and print megabytes after each fit."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fits", type=int, default=20)
    parser.add_argument("--rows", type=int, default=1_000)
    parser.add_argument("--width", type=int, default=512, help="columns of the rows at most: fewer are quicker")
    parser.add_argument("--steps", type=int, default=10, help="refine1_iterations")
    parser.add_argument("--runs", type=int, default=2, help="approx_runs")
    parser.add_argument("--uneven", action="store_true", help="each fit has other shapes")
    options = parser.parse_args()
    warnings.simplefilter("ignore", AlignmentWarning)
    sample, rng = load_sample(), np.random.default_rng(0)
    before = 0.0
    for fit in range(options.fits):
        rows = options.rows + 7 * fit * options.uneven
        A, B = (X[rng.choice(len(X), rows, replace=False), : options.width] for X in (sample.source, sample.target))
        start = time.perf_counter()
        model = MiniVec2VecAligner(A.shape[1])
        model.align(A, B, verbose=0, approx_runs=options.runs, refine1_iterations=options.steps)
        del model
        seconds, now = time.perf_counter() - start, held()
        print(f"fit {fit + 1:2}: {now:7.1f} MB, {now - before:+7.1f}, {seconds:5.1f} s", flush=True)
        before = now
    if keras.backend.backend() == "jax":
        import jax

        jax.clear_caches()
        print(f"after jax.clear_caches(): {held():.1f} MB", flush=True)


def held() -> float:
    """Megabytes that the process holds and no file backs, without what is free."""
    gc.collect()
    ctypes.CDLL("libc.so.6").malloc_trim(0)
    return memory_mb("RssAnon") or 0.0


if __name__ == "__main__":
    main()
