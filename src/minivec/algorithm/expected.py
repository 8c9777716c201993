"""What to expect of a map on unseen rows: the cosine of a row with its partner, and how often that is found first."""

from typing import NamedTuple

import numpy as np

from minivec.frame import unit

# Figures: docs/tuning.md.
AMONG = 2_000  # rows of B, one of which is the partner
MOST, LEAST, SCALE = 0.95, 0.08, 0.2  # top-1 nears MOST as the agreement grows beyond LEAST, by 63% with each SCALE
SIDEWAYS, UPWARDS = 0.12, 0.07  # errors of the agreement and of the top-1 that nine of ten fits stay within
QUANTILE = 1.645  # of the normal distribution: nine of ten lie within


class Top1(NamedTuple):
    """The share of rows, from 0 to 1, whose partner is to come first ``among`` so many rows of B.

    The truth lies from ``low`` to ``high`` nine times in ten.
    """

    value: float
    low: float
    high: float
    among: int = AMONG


def top1_by_agreement(agreement: float) -> Top1:
    """The top-1 to expect of a map by the ``agreement`` of its two halves. It is a fit to measurements."""

    def share(agreement: float) -> float:
        return float(MOST * -np.expm1(-max(agreement - LEAST, 0.0) / SCALE))

    return Top1(
        share(agreement),
        max(share(agreement - SIDEWAYS) - UPWARDS, 0.0),
        min(share(agreement + SIDEWAYS) + UPWARDS, 1.0),
    )


def top1_of_pairs(mapped: np.ndarray, partners: np.ndarray, Y: np.ndarray) -> Top1:
    """The top-1 of known pairs that the map has not seen, ``mapped`` and ``partners`` (m, dB), with Wilson's interval.

    Each partner competes with the first AMONG rows of ``Y`` (nB, dB).
    """
    mapped, rivals = unit(mapped), unit(Y[:AMONG])
    own = (mapped * unit(partners)).sum(1)
    cosines = mapped @ rivals.T
    cosines[partners @ rivals.T > 1 - 1e-6] = -1  # the partner itself, or its copy
    m, share = len(own), float((cosines.max(1) < own).mean())
    spread = 1 + QUANTILE**2 / m
    middle = (share + QUANTILE**2 / (2 * m)) / spread
    reach = QUANTILE / spread * np.sqrt(share * (1 - share) / m + QUANTILE**2 / (4 * m**2))
    return Top1(share, float(middle - reach), float(middle + reach), len(rivals))


def expected_cosine(X: np.ndarray, Y: np.ndarray, W: np.ndarray, sample: int = 1024) -> float:
    """The cosine to expect between a mapped row and its partner, from 0 to 1, without knowing a single pair.

    Rows have nearer neighbours in their own space than across. The estimate is the ratio of those cosines, cubed; it
    is 1 for a rotated copy of one distribution. It is a fit to measurements, not a theorem: see docs/tuning.md.
    """
    from minivec.search import top_k  # loads FAISS, which a map that is only read can do without

    some = [Z[np.linspace(0, len(Z) - 1, min(sample, len(Z))).astype(int)] for Z in (X, Y)]
    across = top_k(unit(some[0] @ W), Y, 1)[0].mean()
    within = [top_k(rows, Z, 2)[0][:, 1].mean() for rows, Z in zip(some, (X, Y), strict=True)]
    return float(np.clip(across / np.sqrt(np.prod(np.maximum(within, 1e-6))), 0, 1) ** 3)
