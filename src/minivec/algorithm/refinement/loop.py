"""The one loop that drives every refinement."""

from collections.abc import Callable
from typing import Any

import numpy as np

from minivec.algorithm.procrustes import retract
from minivec.record import Record

# A step takes the map and proposes the next, with its diagnostics.
Proposal = Callable[[np.ndarray], tuple[np.ndarray, dict[str, Any]]]

WINDOW = 8  # steps over which an objective is averaged before it is said to have settled


def iterate(
    W: np.ndarray,
    propose: Proposal,
    steps: int,
    alpha: float,
    record: Record,
    settled: float | None = None,
    project: Callable[[np.ndarray], np.ndarray] = retract,
    momentum: float = 0.0,
) -> np.ndarray:
    """``steps`` times W <- (1 - alpha) W + alpha proposal, projected, or until a callback stops the run.

    ``alpha`` below 1 smooths. Each step also repeats ``momentum`` of the one before (Polyak's heavy ball): where the
    map creeps towards its fixed point, it gets there sooner. ``project`` makes a map orthogonal again;
    where cross-covariances are refined there is nothing to make.
    With ``settled`` the loop also ends once the objective, averaged over 8 steps, gains less than that in 8 more.
    """
    objectives: list[float] = []
    before_last = W
    for _ in range(steps):
        if record.stopped:
            break
        proposal, diagnostics = propose(W)
        before_last, W = W, project(W + alpha * (proposal - W) + momentum * (W - before_last))
        record.step(**diagnostics)
        if settled is not None:
            objectives.append(diagnostics["objective"])
            now, before = objectives[-WINDOW:], objectives[-2 * WINDOW : -WINDOW]
            if len(before) == WINDOW and np.mean(now) - np.mean(before) < settled:
                break
    return W
