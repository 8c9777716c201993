"""What every embedder can do, and what its errors look like."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np

KINDS = ("document", "query")


class EmbedderError(OSError):
    """A model or its server gave no vectors, or wrong ones; one line without credentials."""


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
