"""Closed-form maps between paired rows: the last word of every step."""

import numpy as np


def polar(M: np.ndarray) -> np.ndarray:
    """The (semi-)orthogonal matrix nearest to ``M``, shape (dA, dB): U V^T of its thin SVD.

    With M = X^T Y this is orthogonal Procrustes (Schoenemann, 1966): it minimises ||X W - Y||. Where dA <= dB the rows
    of W are orthonormal, otherwise its columns are.
    """
    U, _, Vt = np.linalg.svd(np.asarray(M, np.float32), full_matrices=False)
    return U @ Vt
