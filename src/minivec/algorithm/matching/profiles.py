"""Relative representations: rows of two spaces compared by their cosines to matched anchors."""

import numpy as np

from minivec.frame import unit
from minivec.search import mean_of_nearest


def pseudo_targets(
    X: np.ndarray, Y: np.ndarray, anchors_X: np.ndarray, anchors_Y: np.ndarray, neighbors: int
) -> np.ndarray:
    """For each row of ``X`` (nA, dA) the mean of the ``neighbors`` rows of ``Y`` most like it: (nA, dB).

    Alike are rows with a large cosine between their profiles, a row's profile being its cosines to its own
    space's anchors, (m, dA) and (m, dB), matched row by row (Moschella et al., 2023).
    """
    return mean_of_nearest(_profiles(X, anchors_X), _profiles(Y, anchors_Y), Y, neighbors)


def _profiles(X: np.ndarray, anchors: np.ndarray) -> np.ndarray:
    return unit(unit(X) @ unit(anchors).T)
