"""The contents of both spaces: k-means clusters, how well the rows of each match, and words that name them."""

import re
from collections import Counter

import numpy as np

from minivec.report.facts import Cluster, Side

NAMED = 3  # words that name a cluster
COMMON, FEW = 0.01, 10  # a word in a greater share of the texts, and in more than a few, is common
MOSTLY = 2 / 3  # a common word names a cluster only if so much of its texts lie there
WORD = re.compile(r"[^\W\d_]{2,}")


def clusters_of(
    sides: tuple[Side, Side], centroids: np.ndarray, Z: np.ndarray, *, cosine: np.ndarray, success: np.ndarray
) -> list[Cluster]:
    """The facts of each cluster, in the order of the ``centroids`` (k, dB).

    ``Z`` (n, dB) are the mapped rows of A, ``cosine`` (n,) those of their matches, and ``success`` (n,) says whether a
    row was found.
    """
    source, target = sides
    same = source.texts == target.texts  # the same items: their words count once
    numbered = [
        (text, c) for side in sides[: 1 if same else 2] for text, c in zip(side.texts or (), side.cluster, strict=False)
    ]
    words = telling_words([text for text, _ in numbered], np.array([c for _, c in numbered]), len(centroids))
    clusters = []
    for c, centroid in enumerate(centroids):
        own = np.flatnonzero(source.cluster == c)
        typical = own[np.argsort(-(Z[own] @ centroid))[:2]]
        clusters.append(
            Cluster(
                words=", ".join(words[c]) or f"cluster {c + 1}",
                source=len(own),
                target=int((target.cluster == c).sum()),
                cosine=float(cosine[own].mean()) if len(own) else float("nan"),
                found=float(success[own].mean()) if len(own) else float("nan"),
                examples=[source.label(i) for i in typical],
            )
        )
    return clusters


def telling_words(texts: list[str], cluster: np.ndarray, k: int) -> list[list[str]]:
    """For each of ``k`` clusters up to NAMED words that tell its texts from all others.

    ``cluster`` (n,) has the number of each text's cluster. A word counts once a text. The weight of a word in a cluster
    is log(1 + n) s^2: n texts of the cluster have it, and s is how far their share of all texts with the word exceeds
    what chance gives. So the document frequency drops words of grammar, which lie everywhere in every language.
    """
    rows = [{word for word in WORD.findall(text.lower()) if _long(word)} for text in texts]
    overall = Counter(word for row in rows for word in row)
    inside: list[Counter[str]] = [Counter() for _ in range(k)]
    for row, c in zip(rows, cluster, strict=True):
        inside[int(c)].update(row)
    named = []
    for c, counts in enumerate(inside):
        chance = float(np.mean(cluster == c)) if rows else 0.0
        weights = {}
        for word, count in counts.items():
            lift = (count + chance) / (overall[word] + 1) - chance
            common = overall[word] > max(COMMON * len(rows), FEW)
            if count > 1 and lift > 0 and (not common or count >= MOSTLY * overall[word]):
                weights[word] = lift**2 * np.log1p(count)
        named.append(sorted(weights, key=lambda word: (-weights[word], word))[:NAMED])
    return named


def _long(word: str) -> bool:
    """Three letters and more; scripts without capital letters have shorter words."""
    return len(word) > 2 or word.upper() == word.lower()
