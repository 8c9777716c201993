"""The loop that drives every refinement, and what a refinement must have."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np

from minivec.algorithm.procrustes import retract
from minivec.record import Record

WINDOW = 8  # steps over which an objective is averaged before its gain is measured


class Proposal(NamedTuple):
    """What one step proposes, ``M``, in the shape of what is refined; what it hands to the next; and its diagnostics.

    Among the diagnostics, ``objective`` is the one that counts.
    """

    M: np.ndarray
    memory: Any
    diagnostics: dict[str, Any]


class Refinement(Protocol):
    """A way to refine a map: ``init`` once, then ``step`` and ``project`` in turn.

    What is refined, M, is an array: the map itself, or one of another shape that stands for it.
    """

    def init(self, W: np.ndarray) -> tuple[np.ndarray, Any]:
        """M for the map ``W`` (dA, dB), and the memory of the first step."""

    def step(self, M: np.ndarray, memory: Any) -> Proposal:
        """The next proposal."""

    def project(self, M: np.ndarray) -> np.ndarray:
        """The nearest value to ``M`` that is allowed."""


class LevelRefinement(Refinement, Protocol):
    """A refinement that a level of preset "auto" runs.

    The level makes it with ``(problem, *, directions, beta, sample, folds, rng)``: see ``schedule.Level``.
    """

    @property
    def pace(self) -> float:
        """How many times smoothing_alpha a step goes."""

    def inside(self, M: np.ndarray) -> np.ndarray:
        """The map (rA, rB) between the leading directions of both spaces that ``M`` stands for, to compare halves."""

    def lift(self, M: np.ndarray, memory: Any) -> tuple[np.ndarray, float]:
        """The cross-covariance (dA, dB) of all rows that ``M`` leads to, and the objective."""


@dataclass(frozen=True)
class MapSteps:
    """The refinement of a map by a plain function: W (dA, dB) to the proposed map and its diagnostics."""

    propose: Callable[[np.ndarray], tuple[np.ndarray, dict[str, Any]]]

    def init(self, W: np.ndarray) -> tuple[np.ndarray, None]:
        """The map itself."""
        return W, None

    def step(self, M: np.ndarray, memory: None) -> Proposal:
        """What the function proposes."""
        proposal, diagnostics = self.propose(M)
        return Proposal(proposal, None, diagnostics)

    def project(self, M: np.ndarray) -> np.ndarray:
        """The nearest (semi-)orthogonal map."""
        return retract(M)


def iterate(
    refinement: Refinement,
    W: np.ndarray,
    *,
    steps: int,
    alpha: float,
    record: Record,
    momentum: float = 0.0,
    min_gain: float | None = None,
) -> tuple[np.ndarray, Any]:
    """Take ``steps`` steps from the map ``W`` (dA, dB), fewer if a callback stops the run; return M and the memory.

    A step is M <- project((1 - alpha) M + alpha proposal), and repeats ``momentum`` of the step before (Polyak's heavy
    ball). With ``min_gain`` the loop also ends once the objective, averaged over 8 steps, gains less in 8 more. That
    takes 16 steps at least.
    """
    M, memory = refinement.init(W)
    previous = M
    objectives: list[float] = []
    for _ in range(steps):
        if record.stopped:
            break
        proposal, memory, diagnostics = refinement.step(M, memory)
        previous, M = M, refinement.project(M + alpha * (proposal - M) + momentum * (M - previous))
        record.step(**diagnostics)
        if min_gain is not None:
            objectives.append(diagnostics["objective"])
            now, before = objectives[-WINDOW:], objectives[-2 * WINDOW : -WINDOW]
            if len(before) == WINDOW and np.mean(now) - np.mean(before) < min_gain:
                break
    return M, memory
