"""Time and memory of a fit as the rows grow: ``python -m benchmarks.growth --rows 50000 1000000 --folder DIR``.

Both sides are read from a memory map of 768-dimensional float32 rows, made from real embeddings of other glosses, by
MiniLM and by USE: turned into 768 dimensions, with a little noise in all of them; beyond the real ones, each row is the
mean of two. Every size has a process of its own. Memory is what the fit adds to the process and no file backs, sampled
every 20 ms (Linux): the mapped rows do not count, nor do libraries.
"""

import argparse
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np

from benchmarks.peers import load, memory_mb
from minivec import MiniVec2VecAligner
from minivec.algorithm.procrustes import polar

REAL = 10_000  # rows a side that are embeddings themselves
WIDTH = 768
NOISE = 0.1  # its length beside a row of length 1
BLOCK = 50_000


def write(path: Path, real: np.ndarray, rows: int, seed: int) -> None:
    """Write ``rows`` rows of length 1 to ``path``: those of ``real`` (n, d), then means of two, in WIDTH dimensions."""
    rng = np.random.default_rng(seed)
    turn = polar(rng.standard_normal((real.shape[1], WIDTH), np.float32))
    out = np.lib.format.open_memmap(path, "w+", np.float32, (rows, WIDTH))
    for start in range(0, rows, BLOCK):
        end = min(start + BLOCK, rows)
        block = real[rng.integers(len(real), size=(2, end - start))].mean(0)
        if start == 0:
            block[: len(real)] = real[: len(block)]
        block = block @ turn + NOISE / np.sqrt(WIDTH) * rng.standard_normal((len(block), WIDTH), np.float32)
        out[start:end] = block / np.linalg.norm(block, axis=1, keepdims=True)
    out.flush()


def private_mb() -> float:
    """The memory of this process that no file backs, in MiB, if the system tells."""
    return memory_mb("RssAnon") or float("nan")


def fit(folder: Path, max_rows: int | None) -> str:
    """Fit what is in ``folder``; a line of Markdown."""
    import minivec.algorithm.solver  # noqa: F401  which align would import

    A, B = (np.load(folder / f"{side}.npy", mmap_mode="r") for side in "AB")
    before, done = private_mb(), threading.Event()
    peak = [before]

    def watch() -> None:
        while not done.wait(0.02):
            peak[0] = max(peak[0], private_mb())

    watcher = threading.Thread(target=watch)
    watcher.start()
    began = time.perf_counter()
    history = MiniVec2VecAligner(A.shape[1]).align(A, B, max_rows=max_rows)
    seconds = time.perf_counter() - began
    done.set()
    watcher.join()
    return f"| {len(A):,} | {seconds:.1f} | {peak[0] - before:,.0f} | {history['confidence']:.2f} |"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--rows", type=int, nargs="+", default=[50_000, 1_000_000])
    parser.add_argument("--max-rows", type=int, help="rows a side that a fit looks at, at most")
    parser.add_argument("--folder", type=Path, required=True, help="6 KB of disk a row")
    parser.add_argument("--fit", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.fit:
        print(fit(args.folder, args.max_rows))
        return
    one, other = load("minilm", args.data, "glosses", REAL), load("use", args.data, "glosses", 2 * REAL)[REAL:]
    print("| rows a side | seconds | MiB | confidence |\n| --- | --- | --- | --- |")
    for rows in args.rows:
        args.folder.mkdir(parents=True, exist_ok=True)
        write(args.folder / "A.npy", one, rows, 1)
        write(args.folder / "B.npy", other, rows, 2)
        command = [sys.executable, "-m", "benchmarks.growth", "--fit", "--folder", str(args.folder)]
        command += ["--max-rows", str(args.max_rows)] if args.max_rows else []
        print(subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip(), flush=True)
        for side in "AB":
            (args.folder / f"{side}.npy").unlink()


if __name__ == "__main__":
    main()
