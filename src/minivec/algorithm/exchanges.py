"""Tight clusters: a map can carry two clusters into each other's place, and all else still fits.

The halves of the evidence then make the same mistake, so their agreement does not tell. What tells is how the clusters'
centroids lie to one another, which no map changes: the two Gram matrices differ by more with an exchange than without.
"""

from typing import NamedTuple

import numpy as np

from minivec.algorithm.anchors.centroids import kmeans
from minivec.algorithm.competition import OBJECTIVE, TIGHT
from minivec.algorithm.problem import Problem, Solution
from minivec.algorithm.schedule import Level, Refined, refine
from minivec.frame import unit
from minivec.record import Record

# Figures: docs/tuning.md.
CLUSTERS, CLUSTERINGS = 45, 3  # of k-means, and how often it is run: each draws other borders
MEMBERS = 8  # fewest rows of either side in a cluster that counts
TRIED = 4  # exchanges that are tried in a round: those with the lowest odds
SAME = 0.7  # cosine from which on two exchanges are one
PARTS = 0.9  # cosine from which on two centroids are parts of one cluster, whose exchange would do no harm
SURE = 50  # odds from which on an exchange is not tried
DOUBT = 10  # odds below which it is doubtful whether two clusters are in the right places
ROUNDS = 5  # most exchanges made one after the other
GAIN = 1.5e-3  # what an exchange must add to the objective


class Exchange(NamedTuple):
    """Two clusters that may be in each other's place.

    ``odds`` is the log of how much likelier the Gram matrices are without the exchange, up to a constant. ``across``
    (dB,) is the unit vector from the one centroid to the other.
    """

    odds: float
    across: np.ndarray

    def made(self, W: np.ndarray) -> np.ndarray:
        """The map (dA, dB) with the two clusters exchanged: W and a reflection."""
        return W - 2 * np.outer(W @ self.across, self.across)


def settled(problem: Problem, found: Refined, level: Level, record: Record, rng: np.random.Generator) -> Refined:
    """What ``level`` found, with clusters exchanged as long as that raises its objective."""
    for _ in range(ROUNDS):
        if found.objective < TIGHT or record.stopped:
            break
        with record.stage("exchanges"):
            tried = [one.made(found.W) for one in likeliest(problem, found.W, rng) if one.odds < SURE]
        best = max((refine(record, W, level, rng, problem) for W in tried), key=OBJECTIVE, default=found)
        if best.objective < found.objective + GAIN:
            break
        found = best
    return found


def exchangeable(problem: Problem, solution: Solution) -> str | None:
    """Why tight clusters may be in each other's place under the ``solution``; None where none may be."""
    if solution.objective < TIGHT:
        return None
    found = likeliest(problem, solution.W, problem.generator())
    if not found or found[0].odds >= DOUBT:
        return None
    return "rows lie in tight clusters, some of which may be exchanged: a few dozen known pairs can tell"


def likeliest(problem: Problem, W: np.ndarray, rng: np.random.Generator) -> list[Exchange]:
    """The TRIED exchanges of lowest odds under the map ``W`` (dA, dB), the lowest first."""
    if len(problem.Y) < CLUSTERS * MEMBERS:
        return []
    found = [exchange for _ in range(CLUSTERINGS) for exchange in _exchanges(problem, W, rng)]
    kept: list[Exchange] = []
    for one in sorted(found, key=lambda exchange: exchange.odds):
        if all(abs(one.across @ other.across) < SAME for other in kept):
            kept.append(one)
    return kept[:TRIED]


def _exchanges(problem: Problem, W: np.ndarray, rng: np.random.Generator) -> list[Exchange]:
    """The same for one clustering of Y, into whose clusters W carries the rows of X as well."""
    centroids = unit(kmeans(problem.Y, CLUSTERS, rng))
    nearest = [(rows @ centroids.T).argmax(1) for rows in (problem.X @ W, problem.Y)]
    means, counts = zip(*map(_means, (problem.X, problem.Y), nearest), strict=True)
    there = np.flatnonzero(np.minimum(*counts) >= MEMBERS)
    if len(there) < 4:
        return []
    G, H = (side[there] @ side[there].T for side in means)
    off = ~np.eye(len(there), dtype=bool)
    spread = np.square(G - H)[off].mean() + 1e-12
    S, crossed = G @ H.T, (np.diagonal(G)[:, None] - G) * (np.diagonal(H)[:, None] - H)
    own = np.diagonal(S)
    odds = (own[:, None] + own - S - S.T - crossed - crossed.T) / spread  # entries of both matrices but the own two
    target = means[1][there]
    places = unit(target)
    odds[np.tril_indices(len(there))] = np.inf
    odds[places @ places.T > PARTS] = np.inf
    lowest = np.argsort(odds, axis=None)[:TRIED]
    pairs = zip(*np.unravel_index(lowest, odds.shape), strict=True)
    return [Exchange(float(odds[i, j]), unit(target[i : i + 1] - target[j])[0]) for i, j in pairs]


def _means(rows: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The mean (CLUSTERS, d) of the ``rows`` (n, d) of each label, and the number of these rows."""
    members = (labels == np.arange(CLUSTERS)[:, None]).astype(np.float32)
    counts = members.sum(1)
    return members @ rows / np.maximum(counts, 1)[:, None], counts
