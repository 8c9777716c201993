"""What a map of word vectors loses because it ignores their lengths: ``python -m benchmarks.lengths``.

gensim trains skip-gram vectors twice, on two disjoint halves of the English documentation of Debian and Linux. Words
of both halves are pairs. Procrustes fits a rotation to half of the words, in centred rows of length 1 or of the length
that they have. The score is top-1 among the other half of the words, by cosine, and by the distance of rows with
lengths. It also prints how well the lengths of the same words agree.
"""

import argparse
import re

import numpy as np

from benchmarks.corpora import documentation
from minivec import MiniVec2VecAligner
from minivec.algorithm.procrustes import polar
from minivec.frame import unit


def main() -> None:
    """Train, fit and print a line for each way."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--words", type=int, default=4_000, help="the most frequent of both halves, at most")
    parser.add_argument("--seeds", type=int, default=3, help="random halves of the words")
    options = parser.parse_args()
    sentences = [re.findall(r"[^\W\d_]+", text.lower()) for text in documentation("english")]
    first, second = (word_vectors(sentences[half::2], seed=half) for half in (0, 1))
    words = [word for word in first if word in second][: options.words]
    A, B = (np.stack([vectors[word] for word in words]) for vectors in (first, second))
    lengths = [np.log(np.linalg.norm(X, axis=1)) for X in (A, B)]
    print(
        f"{len(words):,} words; logarithms of their lengths correlate by {np.corrcoef(*lengths)[0, 1]:.2f}", flush=True
    )
    scores: dict[str, list[float]] = {}
    for seed in range(options.seeds):
        fit, test = np.array_split(np.random.default_rng(seed).permutation(len(words)), 2)
        for name, score in top1(A, B, fit, test).items():
            scores.setdefault(name, []).append(score)
    for name, values in scores.items():
        print(f"{name:50} {np.mean(values):.3f} ({min(values):.3f} to {max(values):.3f})", flush=True)


def word_vectors(sentences: list[list[str]], seed: int) -> dict[str, np.ndarray]:
    """Vectors of width 100 by word, frequent words first; the same each time."""
    from gensim.models import Word2Vec

    model = Word2Vec(sentences, vector_size=100, min_count=15, epochs=5, workers=1, seed=seed, sg=1)
    return {word: model.wv[word] for word in model.wv.index_to_key}


def top1(A: np.ndarray, B: np.ndarray, fit: np.ndarray, test: np.ndarray) -> dict[str, float]:
    """The share of the ``test`` rows of A (n, d) whose nearest among those of B (n, d) is their own, by way."""
    aligner = MiniVec2VecAligner.from_pairs(A[fit], B[fit])
    scores = {"from_pairs, by cosine": share(np.asarray(aligner(A[test])), unit(B[test]))}
    for name, XA, XB in (("length 1", unit(A), unit(B)), ("their own length", A, B)):
        XA, XB = XA - XA[fit].mean(0), XB - XB[fit].mean(0)
        mapped = XA @ polar(XA[fit].T @ XB[fit])
        scores[f"rotation fitted to rows of {name}, by cosine"] = share(unit(mapped[test]), unit(XB[test]))
        if name == "their own length":
            scores["the same, by distance of rows of their own length"] = share(mapped[test], XB[test])
    return scores


def share(X: np.ndarray, Y: np.ndarray) -> float:
    """How many rows of X (n, d) have the row of Y (n, d) at their own place as their nearest."""
    distances = (Y**2).sum(1) - 2 * X @ Y.T
    return float((distances.argmin(1) == np.arange(len(X))).mean())


if __name__ == "__main__":
    main()
