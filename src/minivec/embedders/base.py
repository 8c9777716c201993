"""What every embedder can do, and what its errors look like."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from minivec.validation import constant, not_finite

KINDS = ("document", "query")


class EmbedderError(OSError):
    """A model or its server gave no vectors, or wrong ones; one line without credentials."""


class TooLarge(EmbedderError):
    """Too much was asked at once: too many texts, or a text that is too long for the model."""


class Embedder(Protocol):
    """A model that makes vectors of texts.

    - ``name`` identifies the model: texts of one name and kind always get the same vectors. It has no credentials.
    - ``width`` is the number of dimensions, or None until the first texts are embedded.
    """

    name: str
    width: int | None

    def __call__(self, texts: Sequence[str], kind: str = "document") -> np.ndarray:
        """The vectors of ``texts`` in their order, (n, width) float32; ``kind`` is "document" or "query".

        EmbedderError where the model cannot be asked or its answer is wrong. ValueError for another ``kind``.
        """
        ...


def check_kind(kind: str) -> None:
    """ValueError for a kind of text that is not one of KINDS."""
    if kind not in KINDS:
        raise ValueError(f"kind must be {' or '.join(KINDS)}; got {kind!r}")


def verified(answer: np.ndarray, texts: int, width: int | None, name: str) -> np.ndarray:
    """The ``answer`` of a model as (texts, width) float32; EmbedderError where it cannot be the vectors of the texts.

    ``width`` is that of earlier answers, or None.
    """
    with np.errstate(over="ignore"):
        vectors = np.ascontiguousarray(answer, np.float32)
    if vectors.ndim != 2 or len(vectors) != texts or not vectors.size:
        raise EmbedderError(f"{name}: {texts} texts were sent, and an array of shape {vectors.shape} came back")
    if width is not None and vectors.shape[1] != width:
        raise EmbedderError(f"{name}: a vector of {vectors.shape[1]} dimensions where others have {width}")
    for what, bad in (("NaN or infinity", not_finite(vectors)), ("one repeated value", constant(vectors))):
        if len(bad):
            raise EmbedderError(f"{name}: {what} in vector {bad[0]} of {texts}")
    return vectors
