"""What a fit starts from (``Problem``), what a preset returns (``Solution``), and what a fit returns (``Outcome``)."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from minivec.algorithm.confidence import Verdict
from minivec.algorithm.expected import Top1
from minivec.frame import Principal
from minivec.record import Record
from minivec.settings import Settings, resolve

NO_PAIRS = np.empty((0, 2), np.int64)


@dataclass(frozen=True)
class Problem:
    """Framed rows ``X`` (nA, dA) and ``Y`` (nB, dB), that is, unit rows around their mean, and the fit's settings.

    ``pairs`` (m, 2) are the row numbers of known pairs; ``principal`` holds the principal directions of both spaces.
    """

    X: np.ndarray
    Y: np.ndarray
    pairs: np.ndarray
    principal: tuple[Principal, Principal]
    settings: Settings

    @classmethod
    def of(
        cls, X: np.ndarray, Y: np.ndarray, pairs: np.ndarray | None = None, settings: Settings | None = None
    ) -> "Problem":
        """The problem of framed rows ``X`` and ``Y``; without ``settings``, those of preset "auto"."""
        pairs = NO_PAIRS if pairs is None else pairs
        return cls(X, Y, pairs, (Principal.of(X), Principal.of(Y)), settings or resolve())

    @property
    def known(self) -> tuple[np.ndarray, np.ndarray]:
        """The rows of the known pairs, (m, dA) and (m, dB)."""
        return self.X[self.pairs[:, 0]], self.Y[self.pairs[:, 1]]

    def generator(self) -> np.random.Generator:
        """A new random generator, from the settings' seed."""
        return np.random.default_rng(self.settings.seed)

    def with_pairs(self, pairs: np.ndarray) -> "Problem":
        """The same problem with other known pairs (m, 2)."""
        return replace(self, pairs=pairs)

    def halves(self) -> tuple["Problem", "Problem"]:
        """Two problems with every other row and known pair; the two rows of a pair stay together.

        Both keep the principal directions of all rows.
        """
        half_of = [np.arange(len(Z)) % 2 for Z in (self.X, self.Y)]
        for half, column in zip(half_of, self.pairs.T, strict=True):
            half[column] = np.arange(len(column)) % 2

        def part(i: int) -> Problem:
            rows_X, rows_Y = (np.flatnonzero(half == i) for half in half_of)
            left, right = self.pairs[(half_of[0][self.pairs[:, 0]] == i) & (half_of[1][self.pairs[:, 1]] == i)].T
            pairs = np.stack([np.searchsorted(rows_X, left), np.searchsorted(rows_Y, right)], 1)
            return replace(self, X=self.X[rows_X], Y=self.Y[rows_Y], pairs=pairs)

        return part(0), part(1)


def split_pairs(
    pairs: np.ndarray, *, fewest: int, most: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """A random fifth of ``pairs`` (m, 2), at most ``most``, and the rest; below ``fewest``, none and all of them."""
    order = rng.permutation(len(pairs))
    n = min(len(order) // 5, most)
    held_out, rest = np.split(order, [n if n >= fewest else 0])
    return pairs[held_out], pairs[rest]


class PairsVerdict(NamedTuple):
    """The verdict of known pairs that a fit has not seen, and what to expect of other partners."""

    expected_cosine: float
    expected_top1: Top1
    verdict: Verdict


@dataclass(frozen=True)
class Solution:
    """What a preset finds: maps (dA, dB) after the anchors, after Refine-1 and at the end, and the evidence for them.

    ``agreement`` is the mean cosine between two independent halves, None where the preset has no halves.
    ``by_pairs`` is None where no known pairs were held out. ``objective`` is the mean cosine under the last plan.
    """

    initial_W: np.ndarray
    refine1_W: np.ndarray
    W: np.ndarray
    agreement: float | None = None
    by_pairs: PairsVerdict | None = None
    objective: float = 0.0


@dataclass(frozen=True)
class Outcome:
    """What a fit returns: the map W (dA, dB), its inverse (dB, dA), earlier maps, and how good it is.

    ``initial_W`` and ``refine1_W`` are the maps after the anchors and after Refine-1. ``expected_cosine`` is the cosine
    to expect between a mapped row and its partner, in the frame; ``expected_top1`` is how often the partner is to come
    first, None where there is no evidence.
    """

    W: np.ndarray
    inverse_W: np.ndarray
    initial_W: np.ndarray
    refine1_W: np.ndarray
    expected_cosine: float
    expected_top1: Top1 | None
    verdict: Verdict


class Start(NamedTuple):
    """Maps (dA, dB) to start from: one made of all evidence, and one of each of two independent halves of it."""

    whole: np.ndarray
    halves: tuple[np.ndarray, np.ndarray]


Halves = tuple[Problem, Problem]
StartFunction = Callable[[Problem, Halves, Record, np.random.Generator], Start | None]
