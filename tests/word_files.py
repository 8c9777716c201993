"""word2vec files for tests, written by hand."""

import numpy as np

from minivec.frame import unit

WORDS = ["the", "Straße", "x_y", "\u00a0", "naïve", ",", "7", "日本"]
X = unit(np.random.default_rng(0).standard_normal((8, 5))).astype(np.float32)


def write(path, words=WORDS, X=X):
    """A word2vec file written by hand."""
    binary = path.suffix == ".bin"
    with open(path, "wb") as file:
        file.write(f"{len(words)} {X.shape[1]}\n".encode())
        for word, row in zip(words, X, strict=True):
            numbers = row.tobytes() if binary else " ".join(map(str, row)).encode() + b"\n"
            file.write(word.encode(errors="surrogateescape") + b" " + numbers)
    return path
