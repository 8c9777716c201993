"""Matching independent components across spaces by what is invariant about them: tables of their cross moments.

Components are uncorrelated, but their energies are not: E[f(s_i) g(s_j)] is the same in both spaces for components that
are the same, whatever the coordinates. The components are the nodes of seven weighted graphs on each side; one graph
matching finds which node is which.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from scipy.optimize import linear_sum_assignment

from minivec.algorithm.anchors.components import Components
from minivec.algorithm.procrustes import polar

Gains = Callable[[np.ndarray], np.ndarray]  # what each match (k, k) would gain under a soft assignment (k, k)

STEPS = 40  # of annealing
COLDEST = 0.05  # the temperature at the end, from 1 at first
MATCH_STARTS = 4  # of each match
REMATCHES = 2  # of every run, under the map of all runs
NOISE = 0.5  # of the starts after the first, in standard deviations of the node terms
QUANTILES = np.linspace(0.005, 0.995, 41)


@dataclass(frozen=True)
class Portrait:
    """What can be compared of one space's components: the graphs between them, and each component's quantiles.

    ``tables`` are (k, k), standardised, the directed ones marked in ``directed``; ``quantiles`` is (k, 41).
    """

    tables: list[np.ndarray]
    quantiles: np.ndarray


# Which table is directed, and its weight. The last table holds the cosines between mixing directions. Only that one
# has the second-order structure, which whitening removes from the others.
DIRECTED = (False, False, True, True, False, True, False)
WEIGHTS = (1, 1, 1, 1, 1, 1, 2)


@dataclass(frozen=True)
class Match:
    """Component i of the one space is component ``columns[i]`` (k,) of the other; ``gains`` (k,) say how surely."""

    columns: np.ndarray
    gains: np.ndarray

    @property
    def score(self) -> float:
        """The mean gain: of several matches of the same components the highest is the best."""
        return float(self.gains.mean())


@dataclass(frozen=True)
class Matched:
    """One run's components of both spaces, what is compared of them, and their match."""

    components: tuple[Components, Components]
    portraits: tuple[Portrait, Portrait]
    match: Match


def match_components(
    x: Components, y: Components, rng: np.random.Generator, known: tuple[np.ndarray, np.ndarray] | None = None
) -> Matched:
    """Match one run's components of both spaces by their moments.

    ``known`` rows (m, dA) and their partners (m, dB), if any, add evidence: the same component is strong in both rows
    of a pair. The correlations, as standard scores, are added to the node terms, which are standard scores as well.
    """
    portraits = portrait(x), portrait(y)
    nodes = node_terms(*portraits)
    if known is not None and len(known[0]):
        nodes = nodes + x.of(known[0]).T @ y.of(known[1]) / np.sqrt(len(known[0]))
    return Matched((x, y), portraits, match(*portraits, nodes, rng, starts=MATCH_STARTS))


def common_map(runs: list[Matched], rng: np.random.Generator) -> tuple[np.ndarray, list[np.ndarray]]:
    """The map (dA, dB) on which several runs agree, and the matched directions of all of them, (m, dA) and (m, dB).

    The sum over runs of (directions of A, weighted by each match's gain) times (their matches in B)^T gives W. Each run
    is then matched again, twice, with the directions' cosines under W in place of the node terms: the sum is better
    than its members and improves them.
    """
    for again in range(REMATCHES + 1):
        anchors = [np.concatenate([side.T for side in sides]) for sides in zip(*map(_directions, runs), strict=True)]
        W = polar(anchors[0].T @ anchors[1])
        if again < REMATCHES:
            runs = [replace(run, match=_rematch(run, W, rng)) for run in runs]
    return W, anchors


def _rematch(run: Matched, W: np.ndarray, rng: np.random.Generator) -> Match:
    x, y = (_unit_columns(side.directions) for side in run.components)
    cosines = x.T @ W @ y
    return match(*run.portraits, cosines / cosines.std(), rng, starts=1, warmth=0.5)


def _directions(run: Matched) -> tuple[np.ndarray, np.ndarray]:
    """Mixing directions (dA, k), weighted by each match's gain, and their matches (dB, k)."""
    x, y = run.components
    weights = np.maximum(run.match.gains, 0)
    return x.directions * (weights / weights.mean()), y.directions[:, run.match.columns]


def portrait(components: Components) -> Portrait:
    """The moment tables and marginal quantiles of ``components``."""
    S = components.signals
    positive = np.clip(S, 0, 4) ** 2
    size, squashed, clipped = np.abs(S), np.tanh(S), np.clip(S, -4, 4)
    cube = clipped * clipped * clipped
    directions = _unit_columns(components.directions)
    moments = [
        _moments(f, g)
        for f, g in (
            (positive, positive),
            (size, size),
            (positive, S),
            (size, S),
            (squashed, squashed),
            (cube, positive),
        )
    ]
    tables = [_standardised(T) for T in (*moments, directions.T @ directions)]
    quantiles = np.sort(S.T, axis=1)[:, np.round(QUANTILES * (len(S) - 1)).astype(int)]
    return Portrait(tables, quantiles)


def node_terms(source: Portrait, target: Portrait) -> np.ndarray:
    """How alike the components are one by one, (k, k), standardised: by sorted rows of each table, and quantiles."""
    terms = np.zeros((len(source.quantiles), len(target.quantiles)))
    for A, B, directed, weight in zip(source.tables, target.tables, DIRECTED, WEIGHTS, strict=True):
        terms = terms - weight * _distances(np.sort(A, 1), np.sort(B, 1))
        if directed:
            terms = terms - weight * _distances(np.sort(A, 0).T, np.sort(B, 0).T)
    terms = terms - 3 * _distances(source.quantiles, target.quantiles)
    return ((terms - terms.mean()) / terms.std()).astype(np.float32)


def match(
    source: Portrait, target: Portrait, nodes: np.ndarray, rng: np.random.Generator, *, starts: int, warmth: float = 1.0
) -> Match:
    """The best of several graph matchings of k components with k others, all annealed as one batch.

    A soft assignment follows the gradient of the tables' agreement plus the ``nodes`` terms (k, k), which fade, while
    the temperature falls from ``warmth``; Hungarian assignment ends it. The starts differ by noise on ``nodes``.
    """
    k = len(nodes)
    pairs = list(zip(source.tables, target.tables, DIRECTED, WEIGHTS, strict=True))

    def gains(P: np.ndarray) -> np.ndarray:
        total = np.zeros_like(P)
        for A, B, directed, weight in pairs:
            G = A @ P @ B.T
            total += weight * (0.5 * (G + A.T @ P @ B) if directed else G)
        return total / sum(WEIGHTS)

    noise = rng.standard_normal((starts, k, k), dtype=np.float32)
    noise[0] = 0
    terms = nodes + NOISE * noise
    P = _doubly_stochastic(terms)
    for i in range(STEPS):
        progress = i / (STEPS - 1)
        G = gains(P)
        G /= G.std(axis=(1, 2), keepdims=True) + 1e-9
        temperature = warmth * (COLDEST / warmth) ** progress
        P = 0.5 * P + 0.5 * _doubly_stochastic((G + (1 - progress) * terms) / temperature)
    return max((_climbed(soft, gains) for soft in P), key=lambda match: match.score)


def _climbed(P: np.ndarray, gains: Gains) -> Match:
    """The permutation nearest to the soft assignment ``P`` (k, k), reassigned while its score rises."""
    columns = linear_sum_assignment(-P)[1]
    best = _match(columns, gains)
    for _ in range(5):
        hard = np.zeros_like(P)
        hard[np.arange(len(P)), best.columns] = 1
        better = _match(linear_sum_assignment(-gains(hard))[1], gains)
        if better.score <= best.score:
            break
        best = better
    return best


def _match(columns: np.ndarray, gains: Gains) -> Match:
    k = len(columns)
    hard = np.zeros((k, k), np.float32)
    hard[np.arange(k), columns] = 1
    return Match(columns, gains(hard)[np.arange(k), columns])


def _unit_columns(directions: np.ndarray) -> np.ndarray:
    return directions / np.linalg.norm(directions, axis=0)


def _moments(f: np.ndarray, g: np.ndarray) -> np.ndarray:
    """Covariances (k, k) of the columns of ``f`` with those of ``g``, both (n, k)."""
    return (f - f.mean(0)).T @ (g - g.mean(0)) / len(f)


def _standardised(table: np.ndarray) -> np.ndarray:
    """Entries off the diagonal at mean 0 and variance 1, clipped at 6; the diagonal is 0."""
    off = ~np.eye(len(table), dtype=bool)
    scaled = (table - table[off].mean()) / (table[off].std() + 1e-12)
    return np.where(off, np.clip(scaled, -6, 6), 0).astype(np.float32)


def _distances(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Squared distances (k, k) between rows, over their median."""
    squares = (a * a).sum(1)[:, None] + (b * b).sum(1) - 2 * a @ b.T
    return squares / (np.median(squares) + 1e-12)


def _doubly_stochastic(logits: np.ndarray) -> np.ndarray:
    """Sinkhorn's normalisation of exp(logits), (starts, k, k)."""
    P = np.exp(logits - logits.max(axis=(1, 2), keepdims=True))
    for _ in range(6):
        P /= P.sum(2, keepdims=True) + 1e-30
        P /= P.sum(1, keepdims=True) + 1e-30
    return P
