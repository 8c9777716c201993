"""Preset "paper": the published procedure (arXiv 2510.02348), with an orthogonal projection after every step."""

from collections.abc import Callable, Sequence

import numpy as np

from minivec.algorithm.ensemble import ensemble
from minivec.algorithm.matching.assignment import matched_centroids
from minivec.algorithm.matching.profiles import pseudo_targets
from minivec.algorithm.problem import Problem, Solution
from minivec.algorithm.procrustes import polar
from minivec.algorithm.refinement.stages import Stage, refine1, refine2
from minivec.record import Record

Anchors = tuple[np.ndarray, np.ndarray]  # (m, dA) and (m, dB), matched row by row
STAGES: tuple[Stage, ...] = (refine2,)  # after Refine-1


def centroids(problem: Problem, record: Record, rng: np.random.Generator) -> Anchors:
    """Matched k-means centroids of all runs, or the known pairs where there are any."""
    if len(problem.pairs):
        return problem.known
    s = problem.settings
    clusters = s.required("approx_clusters")

    def run(record: Record, rng: np.random.Generator) -> Anchors:
        return matched_centroids(problem.X, problem.Y, clusters, rng)

    a, b = zip(*ensemble(run, s.approx_runs, record, rng), strict=True)
    return np.concatenate(a), np.concatenate(b)


def solve(
    problem: Problem,
    record: Record,
    *,
    anchors: Callable[[Problem, Record, np.random.Generator], Anchors] = centroids,
    stages: Sequence[Stage] = STAGES,
) -> Solution:
    """Match ``anchors``, make pseudo-pairs of them and a first map of those, then run Refine-1 and ``stages``."""
    X, Y, s, rng = problem.X, problem.Y, problem.settings, problem.generator()
    a, b = anchors(problem, record, rng)
    with record.stage("matching"):
        initial_W = polar(X.T @ pseudo_targets(X, Y, a, b, s.required("approx_neighbors")))
    W = refine1_W = refine1(problem, initial_W, record, rng, steps=s.required("refine1_iterations"))
    for stage in stages:
        W = stage(problem, W, record, rng)
    return Solution(initial_W, refine1_W, W)
