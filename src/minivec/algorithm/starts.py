"""Starts of preset "auto": maps made without any earlier map, which the refinement then improves.

A start is a function of the problem, its two halves, the record and a generator. It returns a ``Start``, or None where
the problem lacks what it needs. ``STARTS`` lists them in the order in which they compete.
"""

from functools import partial
from itertools import cycle

import numpy as np

from minivec.algorithm.anchors.components import independent_components
from minivec.algorithm.ensemble import ensemble
from minivec.algorithm.matching.assignment import centroid_start
from minivec.algorithm.matching.moments import Matched, common_map, match_components
from minivec.algorithm.matching.profiles import pseudo_targets
from minivec.algorithm.problem import Halves, Problem, Start, StartFunction
from minivec.algorithm.procrustes import polar
from minivec.record import Record
from minivec.threads import in_threads

# Figures: docs/tuning.md.
ENSEMBLE = (128, 112, 96)  # components of the runs, in turn
CENTROIDS = 20  # of each run of k-means
CENTROID_RUNS = 3  # of k-means a side


def known_pairs(problem: Problem, halves: Halves, record: Record, rng: np.random.Generator) -> Start | None:
    """Procrustes on the known pairs; None without pairs."""
    if not len(problem.pairs):
        return None
    whole, one, other = (polar(x.T @ y) for x, y in (part.known for part in (problem, *halves)))
    return Start(whole, (one, other))


def components(problem: Problem, halves: Halves, record: Record, rng: np.random.Generator, *, contrast: str) -> Start:
    """The map between the independent components of both spaces, found with ``contrast`` and matched by their moments.

    The whole is made of all runs, a half of every other run. Every other run sees the known pairs of one half.
    """
    s, X, Y = problem.settings, problem.X, problem.Y

    def run(record: Record, rng: np.random.Generator, k: int, known: tuple[np.ndarray, np.ndarray]) -> Matched:
        k = s.approx_clusters or min(k, X.shape[1], Y.shape[1], len(X) // 4, len(Y) // 4)
        x, y = (independent_components(Z, p, k, contrast, rng) for Z, p in zip((X, Y), problem.principal, strict=True))
        return match_components(x, y, rng, known)

    known = cycle([half.known for half in halves])
    matched = ensemble(run, s.approx_runs, record, rng, cycle(ENSEMBLE), known)
    with record.stage("matching"):
        groups = matched, matched[::2], matched[1::2] or matched
        maps, anchors = zip(*in_threads(common_map, groups, rng.spawn(3)), strict=True)
        if s.approx_neighbors:
            maps = tuple(polar(X.T @ pseudo_targets(X, Y, a, b, s.approx_neighbors)) for a, b in anchors)
    return Start(maps[0], (maps[1], maps[2]))


def centroids(problem: Problem, halves: Halves, record: Record, rng: np.random.Generator) -> Start:
    """The map between matched k-means centroids of either half; the first half's map also stands for the whole."""
    with record.stage("anchors"):
        one, other = (centroid_start(half.X, half.Y, CENTROIDS, CENTROID_RUNS, rng) for half in halves)
    return Start(one, (one, other))


CUBE, TANH = partial(components, contrast="cube"), partial(components, contrast="tanh")
STARTS: tuple[StartFunction, ...] = (known_pairs, CUBE, TANH, centroids, CUBE, TANH, CUBE)
