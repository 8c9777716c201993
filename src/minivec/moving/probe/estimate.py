"""Figures with intervals: a bootstrap over queries, and what a larger collection does to recall."""

from dataclasses import dataclass

import numpy as np

LEVEL = 0.95  # of the intervals: a percentile interval of so few queries is a little too narrow
DRAWS = 2_000  # of the bootstrap
BEND = 0.04  # sd of the error of a slope per doubling, in logits; docs/probe.md has the figures


@dataclass(frozen=True)
class Estimate:
    """A figure and the ends of its interval, which holds the true value nine times in ten."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.3f} ({self.low:.3f} to {self.high:.3f})"


class Bootstrap:
    """Resamples of ``n`` queries: the same ones for every figure, so that differences have intervals, too.

    Figures are means over queries, of arrays (n,) or (n, m). The intervals are percentiles (Efron, 1979).
    """

    def __init__(self, n: int, seed: int):
        self._rng = np.random.default_rng(seed)
        self._n = n
        self._counts = self._rng.multinomial(n, np.full(n, 1 / n), DRAWS).astype(float)

    def means(self, values: np.ndarray) -> np.ndarray:
        """The mean of each resample: (DRAWS,) or (DRAWS, m)."""
        means: np.ndarray = self._counts @ values / self._n
        return means

    def mean(self, values: np.ndarray) -> Estimate:
        """The mean of values (n,)."""
        return _interval(float(np.mean(values)), self.means(values))

    def ratio(self, values: np.ndarray, others: np.ndarray) -> Estimate:
        """The mean of values (n,) as a share of the mean of others (n,); NaN where that is 0."""
        with np.errstate(divide="ignore", invalid="ignore"):
            return _interval(float(np.mean(values) / np.mean(others)), self.means(values) / self.means(others))

    def grown(self, recalls: np.ndarray, sizes: np.ndarray, rows: int, k: int) -> Estimate:
        """The mean recall among ``rows`` documents, from ``recalls`` (n, m) among fewer documents, ``sizes`` (m,).

        The logit of the mean is taken as linear in the logarithm of the size. Each resample draws an error of the slope
        with the standard deviation BEND, as the slope may change beyond the largest size.
        """
        if rows <= sizes[-1]:
            return self.mean(recalls[:, -1])
        steps = np.log2(sizes / sizes[-1])
        further = np.log2(rows / sizes[-1])
        design = np.linalg.pinv(np.stack([np.ones(len(steps)), steps], 1))
        least = 0.5 / (len(recalls) * k)  # half a hit: a logit needs a share inside (0, 1)

        def beyond(means: np.ndarray, bend: np.ndarray | float) -> np.ndarray:
            level, slope = design @ _logit(np.clip(means, least, 1 - least)).T
            grown: np.ndarray = 1 / (1 + np.exp(-level - (slope + bend) * further))
            return grown

        bends = self._rng.normal(0, BEND, DRAWS)
        return _interval(float(beyond(recalls.mean(0), 0.0)), beyond(self.means(recalls), bends))


def _logit(share: np.ndarray) -> np.ndarray:
    return np.log(share / (1 - share))


def _interval(value: float, draws: np.ndarray) -> Estimate:
    low, high = (
        np.nanquantile(draws, [(1 - LEVEL) / 2, (1 + LEVEL) / 2]) if not np.isnan(draws).all() else (np.nan,) * 2
    )
    return Estimate(value, float(low), float(high))
