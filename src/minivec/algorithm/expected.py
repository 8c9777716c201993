"""What to expect of a map on unseen rows: the cosine of a row with its partner, and how often that is found first."""

from typing import NamedTuple

import numpy as np

from minivec.frame import unit

# Figures: docs/tuning.md.
AMONG = 2_000  # rows of B, one of which is the partner
QUANTILE = 1.645  # of the normal distribution: nine of ten lie within


class Top1(NamedTuple):
    """The share of rows, from 0 to 1, whose partner is to come first ``among`` so many rows of B.

    The truth lies from ``low`` to ``high`` nine times in ten.
    """

    value: float
    low: float
    high: float
    among: int = AMONG


class Curve(NamedTuple):
    """How the top-1 of a map follows from the agreement of its two halves. It is a fit to measurements.

    It nears ``most`` as the agreement grows beyond ``least``, by 63% with each ``scale``. Nine of ten fits stay within
    ``sideways`` of the agreement and ``upwards`` of the top-1.
    """

    most: float
    least: float
    scale: float
    sideways: float
    upwards: float

    def top1(self, agreement: float) -> Top1:
        """The top-1 to expect at this ``agreement``."""
        middle, low, high = (self._share(agreement + error) for error in (0, -self.sideways, self.sideways))
        return Top1(middle, max(low - self.upwards, 0.0), min(high + self.upwards, 1.0))

    def _share(self, agreement: float) -> float:
        return float(self.most * -np.expm1(-max(agreement - self.least, 0.0) / self.scale))


MEASURED = Curve(most=0.95, least=0.06, scale=0.14, sideways=0.06, upwards=0.1)  # figures: docs/tuning.md


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


def expected_cosine(
    X: np.ndarray, Y: np.ndarray, W: np.ndarray, agreement: float | None = None, sample: int = 1024
) -> float:
    """The cosine to expect between a mapped row and its partner, from 0 to 1, without knowing a single pair.

    Rows have nearer neighbours in their own space than across. The estimate is the ratio of those cosines, cubed; it
    is 1 for a rotated copy of one distribution. It is a fit to measurements, not a theorem: see docs/tuning.md. Few
    rows find near neighbours under a wrong map as well. So it is at most the root of the ``agreement`` of halves, if
    there are any: two maps that come so near to the truth each, and err independently, agree that far.
    """
    from minivec.search import top_k  # loads FAISS, which a map that is only read can do without

    some = [Z[np.linspace(0, len(Z) - 1, min(sample, len(Z))).astype(int)] for Z in (X, Y)]
    across = top_k(unit(some[0] @ W), Y, 1)[0].mean()
    within = [top_k(rows, Z, 2)[0][:, 1].mean() for rows, Z in zip(some, (X, Y), strict=True)]
    most = 1.0 if agreement is None else np.sqrt(max(agreement, 0.0))
    return float(min(np.clip(across / np.sqrt(np.prod(np.maximum(within, 1e-6))), 0, 1) ** 3, most))
