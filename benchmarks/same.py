"""Is a change of the code a change of the result? ``python -m benchmarks.same`` prints a hash of every kind of fit.

Each line is a fit of the bundled sample: its name, a hash of ``final_W`` and a hash of the mapped test rows. Run it
before and after a change, on one machine and with one backend: two equal outputs mean that no result has changed.
``--cases`` names some of the fits, ``--rows`` uses fewer rows a side, which takes less time.
"""

import argparse
import warnings
from collections.abc import Callable, Sequence
from hashlib import blake2b

import numpy as np

from minivec import AlignmentWarning, MiniVec2VecAligner
from minivec.datasets import Sample, load_sample

KNOWN = 100  # pairs of the fits with known pairs
Fit = Callable[[Sample], MiniVec2VecAligner]


def unpaired(**options: object) -> Fit:
    """A fit of the sample by ``align`` with these options."""

    def fit(sample: Sample) -> MiniVec2VecAligner:
        aligner = MiniVec2VecAligner(sample.source.shape[1])
        aligner.align(sample.source, sample.target, **options)
        return aligner

    return fit


def known_pairs(sample: Sample) -> MiniVec2VecAligner:
    """A fit of the sample with true pairs, which are appended to both sides."""
    A, B = (np.concatenate(sides) for sides in zip(sample[:2], (side[:KNOWN] for side in sample[2:4]), strict=True))
    pairs = np.stack([np.arange(KNOWN) + len(sample.source), np.arange(KNOWN) + len(sample.target)], 1)
    aligner = MiniVec2VecAligner(A.shape[1])
    aligner.align(A, B, pairs=pairs)
    return aligner


def paired(mapping: str) -> Fit:
    """A fit of the sample's true pairs alone."""
    return lambda sample: MiniVec2VecAligner.from_pairs(sample.test_source, sample.test_target, mapping=mapping)


CASES: dict[str, Fit] = {
    "auto": unpaired(),
    "whitened": unpaired(mapping="whitened"),
    "paper": unpaired(preset="paper"),
    "auto with the paper's stages": unpaired(approx_neighbors=50, refine1_neighbors=50, refine2_clusters=100),
    "pairs": known_pairs,
    "from_pairs orthogonal": paired("orthogonal"),
    "from_pairs ridge": paired("ridge"),
    "from_pairs low-rank": paired("low-rank"),
    "ray": unpaired(engine="ray"),
}


def hashed(array: np.ndarray) -> str:
    """A short hash of the bytes of a float32 array."""
    return blake2b(np.ascontiguousarray(array, "<f4").tobytes(), digest_size=8).hexdigest()


def main(arguments: Sequence[str] | None = None) -> None:
    """Fit, hash and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", nargs="+", choices=CASES, default=list(CASES), metavar="NAME")
    parser.add_argument("--rows", type=int, help="rows a side (all)")
    options = parser.parse_args(arguments)
    sample = load_sample()
    sample = sample._replace(source=sample.source[: options.rows], target=sample.target[: options.rows])
    warnings.simplefilter("ignore", AlignmentWarning)
    print(f"{'fit':<30}{'final_W':<18}mapped rows")
    for name in options.cases:
        aligner = CASES[name](sample)
        W, mapped = map(np.asarray, (aligner.W, aligner(sample.test_source)))
        print(f"{name:<30}{hashed(W):<18}{hashed(mapped)}", flush=True)


if __name__ == "__main__":
    main()
