"""The contents of both spaces: k-means clusters, how well the rows of each match, and words that name them."""

import re

import numpy as np

from minivec.report.facts import Cluster, Side

NAMED = 3  # words that name a cluster
WORD = re.compile(r"[^\W\d_]{2,}")


def clusters_of(
    sides: tuple[Side, Side],
    centroids: np.ndarray,
    rows: tuple[np.ndarray, np.ndarray],
    *,
    cosine: np.ndarray,
    success: np.ndarray,
) -> list[Cluster]:
    """The facts of each cluster, in the order of the ``centroids`` (k, dB).

    ``rows`` are the mapped rows of A (n, dB) and the rows of B (m, dB). ``cosine`` (n,) belongs to the matches of A's
    rows, and ``success`` (n,) says which of these rows were found.
    """
    source, target = sides
    texts: list[str] = []
    chosen: list[np.ndarray] = []
    cluster: list[np.ndarray] = []
    for side, framed in zip(sides, rows, strict=True):
        if side.texts and (side is target or source.texts != target.texts):  # the words of the same items count once
            texts += side.texts
            chosen.append(framed)
            cluster.append(side.cluster)
    words = telling_words(texts, np.concatenate(chosen), np.concatenate(cluster), len(centroids)) if texts else []
    clusters = []
    for c, centroid in enumerate(centroids):
        own = np.flatnonzero(source.cluster == c)
        typical = own[np.argsort(-(rows[0][own] @ centroid))[:2]]
        clusters.append(
            Cluster(
                words=", ".join(words[c] if words else ()) or f"cluster {c + 1}",
                source=len(own),
                target=int((target.cluster == c).sum()),
                cosine=float(cosine[own].mean()) if len(own) else float("nan"),
                found=float(success[own].mean()) if len(own) else float("nan"),
                examples=[source.label(i) for i in typical],
            )
        )
    return clusters


def telling_words(texts: list[str], rows: np.ndarray, cluster: np.ndarray, k: int) -> list[list[str]]:
    """For each of ``k`` clusters up to NAMED words that tell its texts from all others, in any language.

    ``rows`` (n, d) are the texts' unit rows around their mean, ``cluster`` (n,) their clusters. In a cluster, a word
    that m of N texts have weighs s c log(N / m). s is how far the cluster's share of these texts exceeds chance, and c
    is the mean cosine between these texts, shrunk where they are few. Words of grammar have a low c: texts with them
    have nothing else in common.
    """
    having: dict[str, list[int]] = {}
    for i, text in enumerate(texts):
        for word in {word for word in WORD.findall(text.lower()) if _long(word)}:
            having.setdefault(word, []).append(i)
    weights: list[dict[str, float]] = [{} for _ in range(k)]
    chance = np.bincount(cluster, minlength=k) / len(texts)
    for word, numbers in having.items():
        m, total = len(numbers), rows[numbers].sum(0)
        if m == 1 or (cosine := (total @ total - m) / (m * (m + 1))) <= 0:
            continue
        for c, n in zip(*np.unique(cluster[numbers], return_counts=True), strict=True):
            share = (n + chance[c]) / (m + 1) - chance[c]
            if n > 1 and share > 0:
                weights[c][word] = float(share * cosine * np.log(len(texts) / m))
    ranked = [sorted((-weight, word) for word, weight in found.items()) for found in weights]
    return [[word for _, word in words[:NAMED]] for words in ranked]


def _long(word: str) -> bool:
    """Three letters and more; scripts without capital letters have shorter words."""
    return len(word) > 2 or word.upper() == word.lower()
