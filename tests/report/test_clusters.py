"""The names of clusters: telling words, in any language."""

import numpy as np
import pytest

from minivec.datasets import load_sample
from minivec.report.clusters import telling_words


def texts_of(grammar, topics, rows=400, seed=0):
    """Texts of a few topics with the words of a grammar, which some topics use more than others."""
    rng = np.random.default_rng(seed)
    cluster = rng.integers(len(topics), size=rows)
    texts = []
    for c in cluster:
        use = 0.3 + 0.4 * ((np.arange(len(grammar)) + c) % len(topics) == 0)
        common = [word for word, share in zip(grammar, use, strict=True) if rng.random() < share]
        texts.append(" ".join([*common, *rng.choice(topics[c], 1)]))
    return texts, cluster


@pytest.mark.parametrize(
    ("grammar", "topics"),
    [
        (
            "was she their that which with".split(),
            ["acid stomach muscle".split(), "computer wave device".split(), "poet myth greek".split()],
        ),
        (
            "der die und nicht eine wurde".split(),
            ["Säure Magen Muskel".split(), "Rechner Welle Gerät".split(), "Dichter Sage Grieche".split()],
        ),
        (
            "это который была если также они".split(),
            ["кислота желудок мышца".split(), "волна прибор датчик".split(), "поэт миф грек".split()],
        ),
    ],
)
def test_words_of_grammar_never_name_a_cluster(grammar, topics):
    texts, cluster = texts_of(grammar, topics)
    named = telling_words(texts, cluster, len(topics))
    assert [set(words) for words in named] == [{word.lower() for word in topic} for topic in topics]


def test_the_clusters_of_the_sample_are_named_by_their_contents():
    """On the bundled definitions, and with clusters that k-means finds in them."""
    from minivec.algorithm.anchors.centroids import kmeans
    from minivec.frame import unit
    from minivec.search import top_k

    *_, B, texts = load_sample()
    Y = unit(B - B.mean(0))
    cluster = top_k(Y, unit(kmeans(Y, 8, np.random.default_rng(0))), 1)[1][:, 0]
    named = {word for words in telling_words(texts, cluster, 8) for word in words}
    stop = "was she her his their that which not with for and the this they from who had you him can are into".split()
    assert not named & set(stop) and {"flowers", "acid"} <= named


def test_what_has_no_telling_words_is_left_without():
    assert telling_words([], np.array([]), 2) == [[], []]
    assert telling_words(["the same"] * 10, np.array([0, 1] * 5), 2) == [[], []]
    assert telling_words(["魚類 水"] * 5 + ["鳥類 空"] * 5, np.array([0] * 5 + [1] * 5), 2) == [["魚類"], ["鳥類"]]
