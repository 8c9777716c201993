"""Model stitching: the encoder of one network, an aligner, the classifier of another, saved as one Keras model.

    pip install '.[examples]' && python -m examples.model_stitching

Two networks of different architecture learn from disjoint halves of WordNet's glosses which of its 45 lexicographer
files (noun.animal, verb.motion, ...) a gloss is in: a mean of word embeddings with dense layers, and a convolution over
words with a maximum. Each has a vocabulary, hidden units and a beginning of its own. The aligner sees hidden vectors of
glosses, others for each network and none that it was trained on: those are drawn together into tight classes. The score
is accuracy among glosses that neither network has seen.
"""

import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
from benchmarks.corpora import LEXICOGRAPHER_FILES, synsets, texts
from keras import layers

from examples.common import curves, options, panel_table, sweep, table
from minivec import MiniVec2VecAligner

TEST, KNOWN = 5_000, 1_000
VOCABULARY, LENGTH, WIDTH = 20_000, 24, 128  # words, words of a gloss, hidden units
EPOCHS, SEED = 3, 0
SCALE = 8.0  # of the hidden unit vectors, before the softmax


def main() -> None:
    """Print the tables, draw the picture, save the stitched model and load it again."""
    arguments = options(__doc__, rows=10_000)
    kinds, glosses = synsets(), texts("glosses")[: TEST + 9 * arguments.rows]
    words = [re.findall(r"[a-z]+", text.lower()) for text in glosses]
    labels = np.array([LEXICOGRAPHER_FILES.index(kinds[text]) for text in glosses])
    rest = np.arange(TEST, len(glosses) - KNOWN)
    halves, pairs = np.array_split(rest, 2), np.arange(len(glosses) - KNOWN, len(glosses))

    networks, codes = [], []
    for (name, build), rows in zip(ENCODERS.items(), halves, strict=True):
        print(f"training the {name} on {len(rows):,} glosses", flush=True)
        ids = encoded(words, rows)
        networks.append(trained(build(), ids[rows], labels[rows]))
        codes.append(ids)
    (first, _), (second, classifier) = networks
    A, B = (encoder.predict(ids, batch_size=512, verbose=0) for (encoder, _), ids in zip(networks, codes, strict=True))

    def accuracy(predict: Callable, rows: np.ndarray) -> float:
        logits = keras.ops.convert_to_numpy(predict(rows[:TEST]))
        return float((logits.argmax(1) == labels[:TEST]).mean())

    fits = []

    def stitched(aligner: Callable) -> float:
        fits.append(aligner)
        return accuracy(lambda rows: classifier(aligner(rows)), A)

    unpaired_B, unpaired_A = (half[: arguments.rows] for half in halves)  # each network was trained on the other's
    panels = sweep(A[unpaired_A], B[unpaired_B], A[pairs], B[pairs], {"accuracy of the stitched network": stitched})
    (found,) = panels.values()
    panel_table(panels)
    alone = [accuracy(network[1], X) for network, X in zip(networks, (A, B), strict=True)]
    bars = {f"{name}, alone": value for name, value in zip(ENCODERS, alone, strict=True)}
    bars |= {
        "stitched without an aligner": stitched(lambda rows: rows),
        "stitched by align, no pairs": found[0]["align"],
    }
    bars |= {f"stitched by {len(pairs):,} pairs, {name}": found[-1][name] for name in ("orthogonal", "ridge")}
    bars["the commonest class"] = float(np.bincount(labels[:TEST]).max() / TEST)
    table([{"network": name, "accuracy": value} for name, value in bars.items()])
    exchanged(keras.ops.convert_to_numpy(classifier(fits[0](A[:TEST]))).argmax(1), labels[:TEST])
    curves(panels, "accuracy", arguments.output / "model_stitching.png", dict(zip(ENCODERS, alone, strict=True)))

    save_and_load(first, fits[0], classifier, codes[0][:TEST], arguments.output / "stitched.keras")


def exchanged(found: np.ndarray, labels: np.ndarray) -> None:
    """Print which classes of 50 glosses or more the network, stitched with no pairs, mostly takes for another."""
    print("With no pairs, mostly taken for another class:")
    for label in np.flatnonzero(np.bincount(labels) >= 50):
        counts = np.bincount(found[labels == label])
        if counts.argmax() != label:
            share = counts.max() / counts.sum()
            print(f"  {LEXICOGRAPHER_FILES[label]} as {LEXICOGRAPHER_FILES[counts.argmax()]}, {share:.0%}")


def save_and_load(encoder: keras.Model, aligner: MiniVec2VecAligner, classifier: keras.Model, ids, path: Path) -> None:
    """The aligner as a layer between two networks, in a file and back."""
    inputs = keras.Input((LENGTH,), dtype="int32")
    stitched = keras.Model(inputs, classifier(aligner(encoder(inputs))))
    stitched.save(path)
    again = keras.models.load_model(path)
    before, after = (model.predict(ids, batch_size=512, verbose=0) for model in (stitched, again))
    print(f"{path}: saved and loaded, largest difference of a logit {np.abs(before - after).max():.1e}")


def encoded(words: list[list[str]], rows: np.ndarray) -> np.ndarray:
    """Word numbers (n, LENGTH) in a vocabulary of the glosses in ``rows`` alone; 0 is no word, 1 an unknown one."""
    counts = Counter(word for row in rows for word in words[row])
    numbers = {word: i for i, (word, _) in enumerate(counts.most_common(VOCABULARY - 2), 2)}
    ids = np.zeros((len(words), LENGTH), np.int32)
    for row, gloss in enumerate(words):
        some = [numbers.get(word, 1) for word in gloss[:LENGTH]]
        ids[row, : len(some)] = some
    return ids


def mean_of_words() -> keras.Model:
    """The mean of word embeddings, and two dense layers."""
    inputs = keras.Input((LENGTH,), dtype="int32")
    x = layers.Embedding(VOCABULARY, 96, mask_zero=True)(inputs)
    x = layers.GlobalAveragePooling1D()(x)
    x = layers.Dense(256, activation="relu")(x)
    x = layers.Dense(WIDTH)(layers.Dropout(0.3)(x))
    return keras.Model(inputs, layers.UnitNormalization()(x))


def convolution() -> keras.Model:
    """A convolution over three words, and the maximum over the gloss."""
    inputs = keras.Input((LENGTH,), dtype="int32")
    x = layers.Embedding(VOCABULARY, 64)(inputs)
    x = layers.Conv1D(192, 3, padding="same", activation="relu")(x)
    x = layers.GlobalMaxPooling1D()(x)
    x = layers.Dense(WIDTH)(layers.Dropout(0.3)(x))
    return keras.Model(inputs, layers.UnitNormalization()(x))


ENCODERS = {"mean of words": mean_of_words, "convolution": convolution}


def trained(encoder: keras.Model, ids: np.ndarray, labels: np.ndarray) -> tuple[keras.Model, keras.Model]:
    """The encoder and a classifier of its unit vectors, trained together."""
    classifier = keras.Sequential(
        [keras.Input((WIDTH,)), layers.Rescaling(SCALE), layers.Dense(len(LEXICOGRAPHER_FILES))]
    )
    network = keras.Model(encoder.input, classifier(encoder.output))
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    network.compile(keras.optimizers.Adam(2e-3), loss, metrics=["accuracy"])
    network.fit(ids, labels, batch_size=256, epochs=EPOCHS, verbose=2)
    return encoder, classifier


if __name__ == "__main__":
    keras.utils.set_random_seed(SEED)
    main()
