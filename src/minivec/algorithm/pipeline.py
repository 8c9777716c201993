"""The algorithm, top to bottom: frame -> anchors -> matching -> map -> refinement -> confidence.

The frame is the caller's: ``X`` (nA, dA) and ``Y`` (nB, dB) are centred unit rows. Both presets are read here side by
side; every step is a module of its own.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from itertools import cycle, islice, repeat
from operator import attrgetter
from typing import Any, NamedTuple

import numpy as np

from minivec.algorithm.anchors.components import independent_components
from minivec.algorithm.confidence import Verdict, agreement_of, expected_cosine, judge
from minivec.algorithm.evidence import NO_PAIRS, Evidence
from minivec.algorithm.matching.assignment import centroid_start, matched_centroids
from minivec.algorithm.matching.moments import common_map, match_components
from minivec.algorithm.matching.profiles import pseudo_targets
from minivec.algorithm.paired import FEWEST, HELD_OUT, settle
from minivec.algorithm.procrustes import even_procrustes, polar
from minivec.algorithm.refinement.clusters import clusters_step
from minivec.algorithm.refinement.loop import iterate
from minivec.algorithm.refinement.neighbors import neighbors_step
from minivec.algorithm.refinement.shortlists import Shortlists
from minivec.algorithm.refinement.sinkhorn import Transport
from minivec.frame import Principal
from minivec.record import Record
from minivec.settings import Settings
from minivec.threads import in_threads, lone_blas


@dataclass(frozen=True)
class Fit:
    """What a run found: W (dA, dB), its inverse (dB, dA), W after the anchors and after Refine-1, and how good it is.

    ``expected_cosine`` is the cosine to be expected between a mapped row and its partner.
    """

    W: np.ndarray
    inverse_W: np.ndarray
    initial_W: np.ndarray
    refine1_W: np.ndarray
    expected_cosine: float
    verdict: Verdict


class Level(NamedTuple):
    """One level of the refinement: transport in the leading ``r`` directions, at inverse temperature ``beta``.

    ``sample`` rows a side make a plan, at most ``steps`` steps are taken. The last level (r None) is in all directions,
    and each row has a shortlist. The map is of ``bags`` runs, each with folds of its own.
    """

    r: int | None
    beta: float
    sample: int
    steps: int
    bags: int = 1


class Refined(NamedTuple):
    """What a level finds: W (dA, dB), the mean cosine under its plans, and the map between its own directions."""

    W: np.ndarray
    objective: float
    inside: np.ndarray


OBJECTIVE = attrgetter("objective")
LEVELS = (
    Level(64, 14, 2000, 60),
    Level(160, 20, 2000, 40),
    Level(256, 30, 2000, 10),
    Level(None, 42, 49152, 7),
)
CELLS = 18_874_368  # of a sample: 49,152 rows of 384 dimensions, 24,576 of 768
BAGS, PLENTY = 6, 12_000  # runs of the last level at most, and rows that they see between them
ROWS_PER_DIRECTION = 8  # levels with fewer rows than that for each of their directions do harm
PAIR_ROWS = 2  # more rows that a known pair counts for there
ENSEMBLE = (128, 112, 96)  # components of each run in turn
CENTROIDS = 20
WHITENED = 0.1  # power of the variances that mapping="whitened" takes out of the rows it maps
SETTLED = 3e-4  # an objective that gains less in 8 steps has settled
FASTEST = 1.5  # steps of twice a proposal diverge
MOMENTUM = 0.5  # 2,000 rows, USE -> MiniLM: 0.52 of the ceiling with STILL, 0.11 in the same steps without either
CLEAR = 0.5  # a start whose halves agree so far needs no rival; half of that will do after one, a third after two
TIGHT = 0.6  # from this objective on, clusters are so tight that halves agree on wrong matches: starts must compete
CENTROID_RUNS = 3
CONTRASTS = "cube", "tanh"  # of the first start and its rivals, in turn: E5 wants the first, wide mixtures the second
MORE = 3  # rivals of components anew, after one of either contrast and one of centroids


def fit(X: np.ndarray, Y: np.ndarray, settings: Settings, record: Record, pairs: np.ndarray | None = None) -> Fit:
    """Align framed rows ``X`` (nA, dA) with ``Y`` (nB, dB); ``pairs`` (m, 2) are rows known to belong together."""
    rng = np.random.default_rng(settings.seed)
    principal = Principal.of(X), Principal.of(Y)
    run = {"paper": paper, "auto": auto}[settings.preset]
    initial, refined, W, agreement, settled = run(X, Y, principal, settings, record, rng, pairs)
    with record.stage("confidence"):
        verdict = judge(agreement, X, Y, principal)
        expected = settled.expected_cosine if settled else expected_cosine(X, Y, W)
        if settled and settled.verdict.confidence > verdict.confidence:  # either kind of evidence is enough
            verdict = settled.verdict
    W = polar(W.astype(np.float64))  # orthogonal to the last digit, whatever the steps left
    inverse = W.T
    if settings.mapping == "whitened":
        W, inverse = (p.flattening(WHITENED) @ Z for p, Z in zip(principal, (W, inverse), strict=True))
    return Fit(W, inverse, initial, refined, expected, verdict)


def paper(X, Y, principal, settings, record, rng, pairs):
    """The published procedure (arXiv 2510.02348), with the polar projection that its code leaves out."""
    s = settings
    if pairs is None:
        runs = ensemble(lambda record, rng: matched_centroids(X, Y, s.approx_clusters, rng), s, record, rng)
        a, b = map(np.concatenate, zip(*runs, strict=True))
    else:
        a, b = X[pairs[:, 0]], Y[pairs[:, 1]]
    with record.stage("matching"):
        W = initial = polar(X.T @ pseudo_targets(X, Y, a, b, s.approx_neighbors))
    with record.stage("refine1", s.refine1_iterations):
        W = refined = iterate(W, neighbors(X, Y, s, rng), s.refine1_iterations, s.smoothing_alpha, record)
    with record.stage("refine2", 1):
        W = iterate(W, clusters(X, Y, s, rng), 1, s.smoothing_alpha, record)
    return initial, refined, W, None, None


def ensemble(run, settings, record, rng, *items):
    """What ``approx_runs`` independent runs find, each with a generator of its own; a callback may end them sooner."""
    found = []
    with record.stage("anchors", settings.approx_runs):
        for one in record.each(run, rng.spawn(settings.approx_runs), *items, threads=True):
            found.append(one)
            if record.step():
                break
    return found


def neighbors(X, Y, settings, rng):
    """Refine-1's step: mapped rows are drawn to the means of their nearest neighbours."""
    return partial(
        neighbors_step, X, Y, sample=settings.refine1_sample_size, neighbors=settings.refine1_neighbors, rng=rng
    )


def clusters(X, Y, settings, rng):
    """Refine-2's step: mapped centroids settle among the rows of Y."""
    return partial(clusters_step, X, Y, clusters=settings.refine2_clusters, rng=rng)


def auto(X, Y, principal, settings, record, rng, pairs):
    """Independent components as anchors, then transport between samples, coarse to fine.

    Every start comes with two from half its runs, refined on disjoint halves of the rows: right ones agree. Further
    starts are made while the halves nearest to the best map do not agree enough. A fifth of known pairs that are not
    few is held out, and says which map stays: that of a fit with the others, of one without, of those pairs alone, or
    between.
    """
    s = settings
    judges, whole = Evidence(X, Y, NO_PAIRS if pairs is None else pairs).held_out(FEWEST, HELD_OUT, rng)
    initial, best, agreement = search(whole, principal, s, record, rng)
    W, settled = best.W, None
    if len(judges.pairs):
        tried = [(agreement, W)]
        if not record.stopped:
            _, without, alone = search(Evidence(X, Y, NO_PAIRS), principal, s, record, rng)
            tried.append((alone, without.W))
        settled = settle(tried, judges, whole)
        W, agreement = settled.W, settled.agreement
    if s.refine1_neighbors:
        steps = levels(whole, s)[-1].steps
        with record.stage("refine1", steps):
            W = iterate(W, neighbors(X, Y, s, rng), steps, s.smoothing_alpha, record)
    refined = W
    if s.refine2_clusters:
        with record.stage("refine2", 1):
            W = iterate(W, clusters(X, Y, s, rng), 1, s.smoothing_alpha, record)
    return initial, refined, W, agreement, settled


def search(whole, principal, settings, record, rng):
    """Of all starts the one that led to the best map, that map refined, and how far its halves agreed."""
    X, Y, _ = whole
    s = settings
    halves = whole.halves()
    coarse, *finer = levels(whole, s)

    def refine(record, W, level, rng, rows=whole):
        kind = Transport if level.r else Shortlists
        settled = SETTLED if s.refine1_iterations is None else None
        found = []
        with record.stage("refine1", level.bags * level.steps), lone_blas():
            for _ in range(level.bags):
                transport = kind(rows.X, rows.Y, principal, level.r, level.beta, level.sample, rng, rows.pairs)
                start, alpha = transport.inside(W), min(transport.pace * s.smoothing_alpha, FASTEST)
                w = iterate(start, transport.propose, level.steps, alpha, record, settled, np.asarray, MOMENTUM)
                found.append(transport.cross_covariance(w))
        crosses, objectives = zip(*found, strict=True)
        return Refined(even_procrustes(sum(crosses), *principal), objectives[-1], polar(w.mean(0)))

    def agree(one, other):
        return agreement_of(X, principal[0], one.inside, other.inside)

    best: Any = None
    refined_apart = []
    for rivals, (start, *apart) in enumerate(starts(whole, halves, principal, s, record, rng)):
        *apart, found = record.each(refine, [*apart, start], repeat(coarse), rng.spawn(3), [*halves, whole])
        if agree(*apart) < CLEAR:  # otherwise all three have found the same
            again = refine(record, max(apart, key=OBJECTIVE).W, coarse, rng)
            found = max(found, again, key=OBJECTIVE)
        if best is None or found.objective > best.objective:
            best, initial = found, start
        refined_apart.append(apart)
        with record.stage("agreement"):
            nearest = [max(half, key=partial(agree, best)) for half in zip(*refined_apart, strict=True)]
            agreement = agree(*nearest)
            record.step(agreement=agreement)
        if record.stopped or agreement > CLEAR / (1 + rivals) and (rivals > 1 or best.objective < TIGHT):
            break
    del halves  # as large as the rows themselves
    for level in finer[:-1] if s.refine1_neighbors else finer:
        if not record.stopped:
            best = refine(record, best.W, level, rng)
    return initial, best, agreement


def starts(whole, halves, principal, settings, record, rng) -> Iterator[list[np.ndarray]]:
    """Maps to start from, the likeliest first, each with those of two independent halves of its evidence.

    Known pairs, then components, those by another contrast, centroids, and components anew.
    """
    if len(whole.pairs):
        yield [polar(x.T @ y) for x, y in (whole.known, halves[0].known, halves[1].known)]
    components = partial(from_components, whole, halves, principal, settings, record, rng)
    yield from map(components, CONTRASTS)
    with record.stage("anchors"):
        apart = [centroid_start(half.X, half.Y, CENTROIDS, CENTROID_RUNS, rng) for half in halves]
    yield [apart[0], *apart]
    yield from map(components, islice(cycle(CONTRASTS), MORE))


def from_components(whole, halves, principal, settings, record, rng, contrast) -> list[np.ndarray]:
    """The map between the independent components of both spaces, of all runs and of every other one.

    Every other run sees the known pairs of one half.
    """
    X, Y, _ = whole
    s = settings

    def run(record, rng, k, half):
        k = s.approx_clusters or min(k, X.shape[1], Y.shape[1], len(X) // 4, len(Y) // 4)
        x, y = (independent_components(Z, p, k, contrast, rng) for Z, p in zip((X, Y), principal, strict=True))
        return match_components(x, y, rng, half.known)

    matched = ensemble(run, s, record, rng, cycle(ENSEMBLE), cycle(halves))
    with record.stage("matching"):
        found = list(in_threads(common_map, (matched, matched[::2], matched[1::2] or matched), rng.spawn(3)))
        if s.approx_neighbors:
            return [polar(X.T @ pseudo_targets(X, Y, a, b, s.approx_neighbors)) for _, (a, b) in found]
        return [W for W, _ in found]


def levels(whole, settings) -> list[Level]:
    """The LEVELS that these rows can bear, with the caller's sample size and number of steps, shared out evenly."""
    X, Y, pairs = whole
    rows, width = min(len(X), len(Y)) + PAIR_ROWS * len(pairs), max(X.shape[1], Y.shape[1])
    total, sample = settings.refine1_iterations, settings.refine1_sample_size

    def bearable(level):
        seen = rows if level.r else min(rows, level.sample)  # the last level keeps its sample
        return seen >= ROWS_PER_DIRECTION * min(level.r or width, width)

    found = [level._replace(sample=sample or min(level.sample, CELLS // width)) for level in LEVELS]
    found = [level for level in found if bearable(level)] or found[:1]
    if total is None:
        bags = min(BAGS, max(1, PLENTY // max(len(X), len(Y))))
        return [*found[:-1], found[-1]._replace(bags=bags)] if len(found) > 1 else found  # the first is every start's
    return [level._replace(steps=total // len(found) + (i < total % len(found))) for i, level in enumerate(found)]
