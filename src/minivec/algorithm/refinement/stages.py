"""Stages after the first map or the last level: each takes the map and returns a better one.

A stage is a function of the problem, the map, the record and a generator. The published ones are Refine-1 and Refine-2.
"""

from collections.abc import Callable
from functools import partial

import numpy as np

from minivec.algorithm.problem import Problem
from minivec.algorithm.refinement.clusters import clusters_step
from minivec.algorithm.refinement.loop import MapSteps, Refinement, iterate
from minivec.algorithm.refinement.neighbors import neighbors_step
from minivec.record import Record

Stage = Callable[[Problem, np.ndarray, Record, np.random.Generator], np.ndarray]


def run_stage(
    name: str, refinement: Refinement, problem: Problem, W: np.ndarray, record: Record, *, steps: int
) -> np.ndarray:
    """The map after ``steps`` steps from ``W`` (dA, dB), by a refinement of maps.

    ``name`` is the stage's name in the history.
    """
    with record.stage(name, steps):
        return iterate(refinement, W, steps=steps, alpha=problem.settings.smoothing_alpha, record=record)[0]


def refine1(problem: Problem, W: np.ndarray, record: Record, rng: np.random.Generator, *, steps: int) -> np.ndarray:
    """Refine-1: mapped rows move towards the means of their nearest neighbours, ``steps`` times."""
    s = problem.settings
    step = partial(
        neighbors_step,
        problem.X,
        problem.Y,
        sample=s.refine1_sample_size,
        neighbors=s.required("refine1_neighbors"),
        rng=rng,
    )
    return run_stage("refine1", MapSteps(step), problem, W, record, steps=steps)


def refine2(problem: Problem, W: np.ndarray, record: Record, rng: np.random.Generator) -> np.ndarray:
    """Refine-2: mapped centroids move among the rows of Y, once; W itself where the settings leave the stage out."""
    clusters = problem.settings.refine2_clusters
    if clusters is None:
        return W
    step = partial(clusters_step, problem.X, problem.Y, clusters=clusters, rng=rng)
    return run_stage("refine2", MapSteps(step), problem, W, record, steps=1)
