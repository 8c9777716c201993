"""Many fits in one process: random sizes and settings end well, and memory and time do not grow."""

import ctypes
import gc
import resource
import time
import warnings
from pathlib import Path

import jax
import numpy as np
import pytest

from minivec import AlignmentWarning, MiniVec2VecAligner
from minivec.backend import SHAPES, map_rows
from minivec.frame import unit

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("error", "ignore::minivec.AlignmentWarning")]


def mixture(rng, rows, dim, target_dim):
    """Two samples (rows, dim) and (rows, target_dim) of one mixture of Gaussians, the second seen through a map."""
    centres = rng.standard_normal((12, min(dim, target_dim)))
    spread = rng.uniform(0.2, 0.6)

    def sample(width):
        Z = centres[rng.integers(len(centres), size=rows)]
        Z = Z + spread * rng.standard_normal(Z.shape)
        rotation = np.linalg.qr(rng.standard_normal((width, width)))[0][: Z.shape[1]]
        return (Z @ rotation + rng.standard_normal(width)).astype(np.float32)

    return sample(dim), sample(target_dim)


def settings(rng):
    """Random settings within their limits, small enough for a second."""
    if rng.random() < 0.5:
        return {
            "preset": "paper",
            "approx_clusters": int(rng.integers(2, 9)),
            "approx_runs": int(rng.integers(1, 4)),
            "approx_neighbors": int(rng.integers(1, 21)),
            "refine1_iterations": int(rng.integers(0, 6)),
            "refine1_sample_size": int(rng.integers(2, 1000)),
            "refine1_neighbors": int(rng.integers(1, 21)),
            "refine2_clusters": int(rng.integers(2, 31)),
            "smoothing_alpha": float(rng.uniform(0.05, 1)),
        }
    chosen = {"approx_runs": int(rng.integers(1, 4)), "refine1_iterations": int(rng.integers(0, 16))}
    if rng.random() < 0.5:
        chosen["approx_clusters"] = int(rng.integers(2, 9))
    if rng.random() < 0.8:
        chosen["refine1_sample_size"] = int(rng.integers(20, 200))
    if rng.random() < 0.3:
        chosen["refine1_neighbors"] = int(rng.integers(1, 11))
    if rng.random() < 0.3:
        chosen["refine2_clusters"] = int(rng.integers(2, 21))
    if rng.random() < 0.3:
        chosen["approx_neighbors"] = int(rng.integers(1, 11))
    return {**chosen, "mapping": str(rng.choice(["orthogonal", "whitened"]))}


def resident():
    """Bytes of memory that this process holds now."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


@pytest.fixture(scope="module")
def held():
    """The memory after each part, in bytes."""
    return []


@pytest.mark.parametrize("part", range(10))
def test_random_fits(part, held):
    """Two hundred in all: no error, no warning but the verdict's, a finite W, orthogonal where it should be.

    Memory stays where it is, but for what JAX keeps of each shape it has seen, until it is told to forget.
    """
    for seed in range(20 * part, 20 * part + 20):
        rng = np.random.default_rng(seed)
        dA, dB = (int(d) for d in rng.integers(8, 65, 2))
        A, B = mixture(rng, int(rng.integers(200, 601)), dA, dB)
        chosen = settings(rng)
        aligner = MiniVec2VecAligner(dA)
        history = aligner.align(A, B, seed=seed, **chosen)
        for name in ("initial_W", "refine1_W", "final_W"):
            assert np.isfinite(history[name]).all(), (seed, chosen, name)
        assert 0 <= history["confidence"] <= 1
        W = np.asarray(aligner.W, np.float64)
        if chosen.get("mapping") != "whitened":
            gram = W @ W.T if dA <= dB else W.T @ W
            np.testing.assert_allclose(gram, np.eye(min(dA, dB)), atol=1e-5, err_msg=f"{seed} {chosen}")
        np.testing.assert_allclose(np.linalg.norm(aligner(A), axis=1), 1, atol=1e-5)
    gc.collect()
    before = resident()
    jax.clear_caches()
    gc.collect()
    ctypes.CDLL("libc.so.6").malloc_trim(0)
    held.append(resident())
    print(f"{held[-1] >> 20} MB after {len(held) * 20} fits, {before >> 20} MB with what JAX keeps", flush=True)
    assert held[-1] - held[0] < 100 << 20


def test_code_compiled_for_other_shapes_is_given_back():
    """Beyond the shapes that are kept, a call with a new one leaves JAX's traces (0.7 MB), not its code (3 MB)."""
    weights = (np.zeros(32), np.eye(32, 24), np.zeros(24), 1.0, 1.0, 0.0)
    weights = tuple(np.asarray(w, np.float32) for w in weights)
    held = []
    for rows in range(400, 400 + 3 * SHAPES):
        np.asarray(map_rows(np.ones((rows, 32), np.float32), weights))
        if (rows - 399) % SHAPES == 0:
            gc.collect()
            ctypes.CDLL("libc.so.6").malloc_trim(0)
            held.append(resident())
    a_shape = (held[-1] - held[0]) / (2 * SHAPES)
    print(f"{a_shape / 2**20:.2f} MB a shape", flush=True)
    assert a_shape < 1.5 * 2**20


def test_memory_and_time_do_not_leak():
    """Fifty fits of one size: the last ten take no more processor than the first, and memory stays after a warm-up."""
    rng = np.random.default_rng(0)
    A, B = mixture(rng, 400, 32, 24)
    seconds, held = [], []
    for _ in range(50):
        start = time.process_time()
        aligner = MiniVec2VecAligner(32)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", AlignmentWarning)
            aligner.align(unit(A), B, approx_runs=2, refine1_iterations=8)
        aligner(A)
        seconds.append(time.process_time() - start)
        gc.collect()
        held.append(resident())
    print(f"first {np.median(seconds[5:15]):.2f} s, last {np.median(seconds[-10:]):.2f} s a fit; ", end="")
    print(f"{held[10] / 2**20:.0f} MB after 10 fits, {held[-1] / 2**20:.0f} MB after 50", flush=True)
    assert np.median(seconds[-10:]) < 1.5 * np.median(seconds[5:15])
    assert held[-1] - held[10] < 30 << 20
