"""Preset "auto": starts compete, then transport between samples, coarse to fine."""

from collections.abc import Sequence

import numpy as np

from minivec.algorithm.competition import Winner, bred, carried, compete
from minivec.algorithm.exchanges import settled
from minivec.algorithm.narrowing import narrowed, widened
from minivec.algorithm.paired import FEWEST, HELD_OUT, select
from minivec.algorithm.problem import NO_PAIRS, PairsVerdict, Problem, Solution, StartFunction, split_pairs
from minivec.algorithm.refinement.stages import Stage, refine1, refine2
from minivec.algorithm.schedule import refine, schedule, with_third_moments
from minivec.algorithm.starts import STARTS
from minivec.record import Record

LONE = 4  # most starts where there is no further level, which would be worth the wait; figures: docs/tuning.md
STAGES: tuple[Stage, ...] = (refine2,)  # after the levels and Refine-1


def solve(
    problem: Problem, record: Record, *, starts: Sequence[StartFunction] = STARTS, stages: Sequence[Stage] = STAGES
) -> Solution:
    """The map of ``problem``, found in as many leading directions as there are rows for: see ``narrowing``."""
    narrow = narrowed(problem)
    solution = solve_whole(narrow, record, starts=starts, stages=stages)
    if narrow is problem:
        return solution
    with record.stage("widening"):
        return widened(problem, narrow, solution)


def solve_whole(
    problem: Problem, record: Record, *, starts: Sequence[StartFunction], stages: Sequence[Stage]
) -> Solution:
    """Search for the map from ``starts``, then run the published stages that the settings name, and ``stages``.

    Of known pairs that are not few, a fifth is held out. These pairs select a map: that of a fit with the other pairs,
    that of a fit without pairs, Procrustes on the pairs alone, or a blend.
    """
    s, rng = problem.settings, problem.generator()
    held_out, rest = split_pairs(problem.pairs, fewest=FEWEST, most=HELD_OUT, rng=rng)
    judges, whole = problem.with_pairs(held_out), problem.with_pairs(rest)
    winner = search(whole, record, rng, starts)
    W, agreement, by_pairs = winner.refined.W, winner.agreement, None
    if len(held_out):
        candidates = [(agreement, W)]
        if not record.stopped:
            without = search(problem.with_pairs(NO_PAIRS), record, rng, starts)
            candidates.append((without.agreement, without.refined.W))
        selection = select(candidates, judges, whole)
        W, agreement = selection.W, selection.agreement
        by_pairs = PairsVerdict(selection.expected_cosine, selection.expected_top1, selection.verdict)
    if s.refine1_neighbors:
        W = refine1(problem, W, record, rng, steps=schedule(whole)[-1].steps)
    refine1_W = W
    for stage in stages:
        W = stage(problem, W, record, rng)
    return Solution(winner.start, refine1_W, W, agreement, by_pairs, winner.refined.objective)


def search(
    problem: Problem, record: Record, rng: np.random.Generator, starts: Sequence[StartFunction] = STARTS
) -> Winner:
    """The winner of the starts' competition at the first level, refined at all further levels.

    Refine-1, where the settings name it, takes the place of the last level.
    """
    first, *further = schedule(problem)
    winner = compete(problem, first, record, rng, starts=starts, most=None if further else LONE)
    if further:
        winner = bred(problem, winner, first, record, rng)
    refined = settled(problem, winner.refined, first, record, rng)
    levels = further[:-1] if problem.settings.refine1_neighbors else further
    if levels and refined is winner.refined:
        refined = refined._replace(W=carried(problem, winner, levels[0], record, rng))
    for level in levels:
        if not record.stopped:
            refined = refine(record, refined.W, level, rng, problem)
    if further and not record.stopped:
        refined = with_third_moments(problem, refined, record)
    return winner._replace(refined=refined)
