"""The names of clusters: telling words, in any language."""

import numpy as np
import pytest

from minivec.algorithm.anchors.centroids import kmeans
from minivec.datasets import load_sample
from minivec.frame import unit
from minivec.report.clusters import telling_words
from minivec.search import top_k


def texts_of(grammar, topics, rows=400, seed=0):
    """Texts of a few topics with the words of a grammar, which some topics use more than others, and their rows."""
    rng = np.random.default_rng(seed)
    cluster = rng.integers(len(topics), size=rows)
    texts = []
    for c in cluster:
        use = 0.3 + 0.4 * ((np.arange(len(grammar)) + c) % len(topics) == 0)
        common = [word for word, share in zip(grammar, use, strict=True) if rng.random() < share]
        texts.append(" ".join([*common, *rng.choice(topics[c], 1)]))
    noise = rng.standard_normal((rows, 40))
    return texts, unit(3 * np.eye(40)[cluster] + 0.3 * noise), cluster


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
    named = telling_words(*texts_of(grammar, topics), len(topics))
    assert [set(words) for words in named] == [{word.lower() for word in topic} for topic in topics]


def test_the_clusters_of_the_sample_are_named_by_their_contents():
    """On the bundled definitions, and with clusters that k-means finds in them."""
    *_, B, texts = load_sample()
    Y = unit(B - B.mean(0))
    stop = "was she her his their that which not with for and the this they from who had you him can are into".split()
    for seed in range(4):
        cluster = top_k(Y, unit(kmeans(Y, 8, np.random.default_rng(seed))), 1)[1][:, 0]
        for part in (slice(None), slice(1000)):
            named = {word for words in telling_words(texts[part], Y[part], cluster[part], 8) for word in words}
            assert not named & set(stop) and "herb" in named, (seed, named)


def test_what_has_no_telling_words_is_left_without():
    rows, cluster = np.eye(2)[[0, 1] * 5], np.array([0, 1] * 5)
    assert telling_words(["the same"] * 10, rows, cluster, 2) == [[], []]
    assert telling_words(["魚類 水", "鳥類 空"] * 5, rows, cluster, 2) == [["魚類"], ["鳥類"]]
