"""Starts compete: each is refined at the coarsest level, and the map with the highest objective wins.

Where the evidence does not agree clearly, maps that agree in part are made one: their errors differ. Then
better maps are bred from them.
"""

from collections.abc import Sequence
from functools import partial
from itertools import chain, islice, repeat
from operator import attrgetter
from typing import NamedTuple

import numpy as np

from minivec.algorithm.confidence import agreement_of
from minivec.algorithm.problem import Problem, Start, StartFunction
from minivec.algorithm.procrustes import polar
from minivec.algorithm.schedule import Level, Refined, refine
from minivec.record import Record

# Figures: docs/tuning.md.
CLEAR = 0.5  # the first start wins if its halves agree this far; the second needs half of this, the third a third
ALIKE = 0.25  # agreement from which on maps are made one
CARRIED = 6  # most maps that the second level refines to make them one
FAINT = 0.08  # agreement up to which it refines the winner alone: maps are hardly right
GENERATIONS = 4  # of maps that are bred
POOR = 0.36  # agreement from which on none are: they would hardly be better
SOFT_DIRECTIONS, SOFT_BETA = 32, 12  # of the steps that free a map; their number is a third of the level's
RIVALS_WORTH = 1 / 3  # of the agreement of two starts' wholes, beside that of halves: wholes share their rows
TIGHT = 0.6  # from this objective on, halves may agree on wrong matches of tight clusters: two rivals must compete
OBJECTIVE = attrgetter("objective")


class Winner(NamedTuple):
    """The winning start's map (dA, dB), that map refined, and how well independent maps near it agree.

    ``found`` are the refined maps of each start: its first half, its second half and its whole. ``bred`` are those that
    were made of them.
    """

    start: np.ndarray
    refined: Refined
    agreement: float
    found: Sequence[Sequence[Refined]]
    bred: Sequence[Refined] = ()


def compete(
    problem: Problem,
    level: Level,
    record: Record,
    rng: np.random.Generator,
    *,
    starts: Sequence[StartFunction],
    most: int | None = None,
) -> Winner:
    """Refine starts at ``level``, one after the other, until the halves agree well enough. The first always competes.

    At most ``most`` compete (None: all of them).

    Every start comes with maps of two independent halves, refined on disjoint halves of the rows: right maps agree.
    """
    halves = problem.halves()
    winner: Winner | None = None
    found: list[list[Refined]] = []

    made = (start(problem, halves, record, rng) for start in starts)
    for rivals, start in enumerate(islice((start for start in made if start is not None), most)):
        *pair, best = three = _refined(problem, halves, start, level, record, rng)
        found.append(three)
        if _agreement(problem, *pair) < CLEAR:  # otherwise all three are the same map
            together = made_one(problem, list(chain(*found)))
            best = max(best, refine(record, together, level, rng, problem), key=OBJECTIVE)
        if winner is None or best.objective > winner.refined.objective:
            winner = Winner(start.whole, best, 0.0, found)
        winner = _judged(problem, winner._replace(found=tuple(found)), record)
        agree = winner.agreement > CLEAR / (1 + rivals)
        if record.stopped or agree and (rivals > 1 or winner.refined.objective < TIGHT):
            break
    if winner is None:
        raise ValueError("no start is for this problem")
    return winner


def bred(problem: Problem, winner: Winner, level: Level, record: Record, rng: np.random.Generator) -> Winner:
    """The winner, or a better one bred from it and the other starts' maps, where the halves agree less than POOR.

    The objective tells better maps from worse ones even where none is right as a whole. The map halfway between two
    keeps what both have right, and ``level`` finds anew what they differ in. A few softer steps free a map from
    where it is stuck. The best of all maps is a parent in every generation.
    """
    if winner.agreement >= POOR or record.stopped:
        return winner
    wholes = [whole for *_, whole in winner.found]
    children = [] if any(winner.refined is whole for whole in wholes) else [winner.refined]
    soft = level._replace(directions=SOFT_DIRECTIONS, beta=SOFT_BETA, steps=max(1, level.steps // 3))

    for generation in range(GENERATIONS):
        best, *others = sorted([*wholes, *children], key=OBJECTIVE, reverse=True)
        other = others[generation % len(others)] if others else best
        one, two = rng.spawn(2)
        softened = refine(record, best.W, soft, two, problem)
        children += _each_refined(problem, (polar(best.W + other.W), softened.W), level, record, (one, two))
    return _judged(problem, winner._replace(refined=max(*wholes, *children, key=OBJECTIVE), bred=children), record)


def carried(problem: Problem, winner: Winner, level: Level, record: Record, rng: np.random.Generator) -> np.ndarray:
    """The map (dA, dB) with which ``level`` begins: the winner's, or what the nearest maps are made into.

    These are refined at ``level`` first, which tells right maps from wrong ones better than the level before. Nothing
    is gained where the halves agree clearly, or not at all.
    """
    if not FAINT < winner.agreement < CLEAR or record.stopped:
        return winner.refined.W
    others = [one for one in chain(*winner.found, winner.bred) if one is not winner.refined]
    others.sort(key=partial(_agreement, problem, winner.refined), reverse=True)
    maps = [one.W for one in (winner.refined, *others)][:CARRIED]
    return made_one(problem, _each_refined(problem, maps, level._replace(bags=1), record, rng.spawn(len(maps))))


def made_one(problem: Problem, maps: Sequence[Refined]) -> np.ndarray:
    """The map (dA, dB) nearest to the sum of those that agree with the one of the highest objective."""
    best = max(maps, key=OBJECTIVE)
    return polar(np.sum([one.W for one in maps if _agreement(problem, one, best) > ALIKE], 0))


def _judged(problem: Problem, winner: Winner, record: Record) -> Winner:
    """``winner`` with the agreement of the two halves nearest to its map.

    Where these have too few rows to find the map, starts that find the same one from all rows are evidence too.
    """
    with record.stage("agreement"):
        nearness = partial(_agreement, problem, winner.refined)
        firsts, seconds, wholes = zip(*winner.found, strict=True)
        agreement = _agreement(problem, max(firsts, key=nearness), max(seconds, key=nearness))
        if len(wholes) > 1:
            nearest = sorted(wholes, key=nearness)[-2:]
            agreement = max(agreement, RIVALS_WORTH * _agreement(problem, *nearest))
        record.step(agreement=agreement)
    return winner._replace(agreement=agreement)


def _agreement(problem: Problem, one: Refined, other: Refined) -> float:
    return agreement_of(problem.X, problem.principal[0], one.inside, other.inside)


def _each_refined(
    problem: Problem,
    maps: Sequence[np.ndarray],
    level: Level,
    record: Record,
    rngs: Sequence[np.random.Generator],
) -> list[Refined]:
    """Each of the ``maps`` (dA, dB), refined on all rows with its own generator."""

    def refined(record: Record, W: np.ndarray, rng: np.random.Generator) -> Refined:  # tasks share what it holds
        return refine(record, W, level, rng, problem)

    return list(record.each(refined, maps, rngs))


def _refined(
    problem: Problem,
    halves: tuple[Problem, Problem],
    start: Start,
    level: Level,
    record: Record,
    rng: np.random.Generator,
) -> list[Refined]:
    """The start's two halves, each refined on its half of the rows, and its whole, refined on all rows."""
    maps, problems = [*start.halves, start.whole], [*halves, problem]
    return list(record.each(refine, maps, repeat(level), rng.spawn(3), problems))
