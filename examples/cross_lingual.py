"""Cross-lingual: English words from an English-only encoder, French ones from a multilingual one of another family.

    pip install '.[examples]' && python -m examples.cross_lingual

All-MiniLM-L6-v2's vectors of English words are aligned to multilingual E5's of French words, and precision at 1 (CSLS)
is measured by FreeDict's French-English dictionary, on words of which no pair is known. Then the same between two
sets of word vectors that gensim trains here, each on the documentation of Debian and Linux in its language alone.
There, words that are spelt alike serve as pairs as well: they need no dictionary.
"""

import re
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from benchmarks.corpora import cache, documentation, french_english, texts
from benchmarks.encoders import embeddings

from examples.common import Panels, curves, options, panel_table, sweep
from minivec import MiniVec2VecAligner
from minivec.files import open_rows, read_words
from minivec.lexicon import Lexicon

TEST = 0.4  # of the dictionary's words; pairs come from the others
WIDTH, EPOCHS, SEED = 100, 5, 0  # of the word vectors


def main() -> None:
    """Print the tables and draw the picture."""
    arguments = options(__doc__)
    english, french = (texts(f"{language}-words")[: arguments.rows] for language in ("english", "french"))
    print("embedding words by both encoders, unless cached", flush=True)
    XA, XB = embeddings("english-words", "minilm", len(english)), embeddings("french-words", "e5", len(french))
    panels = translated("MiniLM, English / E5, French", english, XA, french, XB)
    print("training word vectors on documentation, unless cached", flush=True)
    english, XA, french, XB = (
        part
        for language in ("english", "french")
        for part in read_words(open_rows(word_vectors(language)), arguments.rows)
    )
    panels |= translated("word2vec, English / French", english, XA, french, XB)
    panel_table(panels)
    spelt_alike(english, XA, french, XB)
    curves(panels, "precision at 1 (CSLS)", arguments.output / "cross_lingual.png")


def translated(title: str, english: Sequence[str], XA: np.ndarray, french: Sequence[str], XB: np.ndarray) -> Panels:
    """Fits with no pairs and with more and more words of the dictionary."""
    score, known = by_dictionary(english, XA, french, XB)
    print(f"{len(XA):,} English and {len(XB):,} French words, of {len(known):,} a translation may be known", flush=True)
    return sweep(XA, XB, XA[known[:, 0]], XB[known[:, 1]], {title: score})


def by_dictionary(
    english: Sequence[str], XA: np.ndarray, french: Sequence[str], XB: np.ndarray
) -> tuple[Callable[[MiniVec2VecAligner], float], np.ndarray]:
    """Precision at 1 on a part of the dictionary, and true pairs of row numbers (m, 2) from the other part."""
    truth: dict[str, set[str]] = defaultdict(set)
    for word, translations in french_english().items():
        for translation in translations:
            truth[translation].add(word)
    rows = {word: row for row, word in enumerate(french)}
    both = [(word, sorted(truth[word] & rows.keys())) for word in english]
    both = [(word, right) for word, right in both if right]
    order = np.random.default_rng(SEED).permutation(len(both))
    cut = int(TEST * len(both))
    test = {both[i][0]: set(both[i][1]) for i in order[:cut]}
    places = {word: row for row, word in enumerate(english)}
    known = np.array([(places[both[i][0]], rows[both[i][1][0]]) for i in order[cut:]])

    def score(aligner: MiniVec2VecAligner) -> float:
        return Lexicon(aligner, english, XA, french, XB).evaluate(test)["precision_at_1"]

    return score, known


def spelt_alike(english: Sequence[str], XA: np.ndarray, french: Sequence[str], XB: np.ndarray) -> None:
    """Print how far the words that both languages spell alike get, as pairs."""
    score, _ = by_dictionary(english, XA, french, XB)
    rows = {word: row for row, word in enumerate(french)}
    pairs = np.array([(i, rows[word]) for i, word in enumerate(english) if word in rows])
    aligner = MiniVec2VecAligner(XA.shape[1])
    history = aligner.align(XA, XB, pairs=pairs)
    paired = MiniVec2VecAligner.from_pairs(XA[pairs[:, 0]], XB[pairs[:, 1]])
    figures = f"align {score(aligner):.3f} (confidence {history['confidence']:.2f}), orthogonal {score(paired):.3f}"
    print(f"word2vec with its {len(pairs):,} words spelt alike as pairs: {figures}\n", flush=True)


def word_vectors(language: str) -> Path:
    """A .vec file of word vectors trained on documentation in one language, its frequent words first."""
    path = cache() / f"documentation_{language}.vec"
    if not path.exists():
        from gensim.models import Word2Vec

        sentences = [re.findall(r"[^\W\d_]+", text.lower()) for text in documentation(language)]
        # one thread: the same vectors each time
        model = Word2Vec(sentences, vector_size=WIDTH, min_count=15, epochs=EPOCHS, workers=1, seed=SEED, sg=1)
        model.wv.save_word2vec_format(str(path))
        print(f"  {language}: {len(model.wv):,} words, {path}", flush=True)
    return path


if __name__ == "__main__":
    main()
