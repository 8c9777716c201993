"""The schedule of preset "auto": levels of transport, from few directions and soft plans to all directions."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from minivec.algorithm.problem import Problem
from minivec.algorithm.procrustes import whitened_procrustes
from minivec.algorithm.refinement.loop import LevelRefinement, iterate
from minivec.algorithm.refinement.shortlists import MomentShortlists, Shortlists
from minivec.algorithm.refinement.sinkhorn import Transport
from minivec.algorithm.refinement.third_moments import with_moments
from minivec.record import Record
from minivec.threads import lone_blas


class Level(NamedTuple):
    """One level: transport in the leading ``directions`` (None: all), at inverse temperature ``beta``.

    A plan couples ``sample`` rows a side (0: all that the fit sees), of which those of X lie in ``folds`` folds, and at
    most ``steps`` steps are taken. The level's map comes from ``bags`` runs, each with folds of its own. ``refinement``
    makes the ``LevelRefinement`` that takes the steps.
    """

    directions: int | None
    beta: float
    sample: int
    steps: int
    refinement: Callable[..., LevelRefinement] = Transport
    bags: int = 1
    folds: int = 4


class Refined(NamedTuple):
    """What a level finds: W (dA, dB), the mean cosine under its plans, and the map between its own directions.

    ``cross`` (dA, dB) is the cross-covariance that W is made of.
    """

    W: np.ndarray
    objective: float
    inside: np.ndarray
    cross: np.ndarray


# Figures: docs/tuning.md.
LEVELS = (
    Level(64, 14, 2000, 60),
    Level(160, 20, 2000, 40),
    Level(256, 30, 4000, 10),
    Level(None, 42, 0, 7, Shortlists),
)
CELLS = 18_874_368  # most numbers that the last level sees a side, unless the caller gives the number of rows
MANY, AGAIN = 20_000, 4  # rows from which on the last level first sees half of them, and the steps with all of them
BAGS, PLENTY = 6, 12_000  # most runs of the last level, and the rows that its runs see between them
MOMENT_ROWS = 16_384  # most rows a side whose third moments count: with more rows, plans alone tell more
MOMENT_DIRECTIONS = 384  # directions from which on third moments take the place of these runs
ROWS_PER_DIRECTION = 8  # a level needs that many rows for each of its directions
PAIR_ROWS = 2  # further rows that a known pair counts for there
FEW, FEW_FOLDS, FEW_BETA = 6_000, 8, 32  # of fewer rows a side: folds of a level, and the last level's temperature
MIN_GAIN = 3e-4  # a level stops when its objective gains less
FASTEST = 1.5  # longest step, in proposals
MOMENTUM = 0.5  # share of each step that the next one repeats


def evidence(problem: Problem) -> int:
    """The rows of the smaller side, and those that the known pairs count for."""
    return min(len(problem.X), len(problem.Y)) + PAIR_ROWS * len(problem.pairs)


def schedule(problem: Problem) -> list[Level]:
    """Those of LEVELS that have enough rows, with the caller's sample size and number of steps, shared out evenly."""
    X, Y, s = problem.X, problem.Y, problem.settings
    rows, every, width = evidence(problem), max(len(X), len(Y)), max(X.shape[1], Y.shape[1])
    total, sample = s.refine1_iterations, s.refine1_sample_size

    def has_enough(level: Level) -> bool:
        seen = rows if level.directions else min(rows, level.sample)  # the last level keeps its sample
        return seen >= ROWS_PER_DIRECTION * min(level.directions or width, width)

    levels = [level._replace(sample=sample or level.sample or s.max_rows or CELLS // width) for level in LEVELS]
    levels = [level for level in levels if has_enough(level)] or levels[:1]
    if rows < FEW:
        levels = [level._replace(folds=FEW_FOLDS, beta=min(level.beta, FEW_BETA)) for level in levels]
    if total is not None:
        return [
            level._replace(steps=total // len(levels) + (i < total % len(levels))) for i, level in enumerate(levels)
        ]
    if levels[-1].refinement is Shortlists and not (sample or s.refine1_neighbors):
        levels[-1:] = doubled(levels[-1]._replace(sample=min(levels[-1].sample, every)))
    runs = min(BAGS, PLENTY // every)
    if len(levels) > 1 and runs > 1:  # the first level serves every start, and is run once
        last = levels[-1]
        # along many directions, third moments in every step do more than further runs
        many = last.refinement is Shortlists and width >= MOMENT_DIRECTIONS
        levels[-1] = last._replace(**{"refinement": MomentShortlists} if many else {"bags": runs})
    return levels


def doubled(level: Level) -> list[Level]:
    """``level``, where its rows are many after the same level with half of them, for which this holds again."""
    if level.sample < MANY:
        return [level]
    return [*doubled(level._replace(sample=level.sample // 2)), level._replace(steps=AGAIN)]


def refine(record: Record, W: np.ndarray, level: Level, rng: np.random.Generator, problem: Problem) -> Refined:
    """Refine the map ``W`` (dA, dB) on the rows of ``problem`` at one level."""
    s = problem.settings
    lifted = []
    with record.stage("refine1", level.bags * level.steps), lone_blas():
        for _ in range(level.bags):
            refinement = level.refinement(
                problem,
                directions=level.directions,
                beta=level.beta,
                sample=level.sample,
                folds=level.folds,
                rng=rng,
            )
            M, memory = iterate(
                refinement,
                W,
                steps=level.steps,
                alpha=min(refinement.pace * s.smoothing_alpha, FASTEST),
                momentum=MOMENTUM,
                min_gain=MIN_GAIN if s.refine1_iterations is None else None,
                record=record,
            )
            lifted.append(refinement.lift(M, memory))
        crosses, objectives = zip(*lifted, strict=True)
        cross = np.asarray(sum(crosses))
        return Refined(whitened_procrustes(cross, *problem.principal), objectives[-1], refinement.inside(M), cross)


def with_third_moments(problem: Problem, refined: Refined, record: Record) -> Refined:
    """``refined`` with the third moments beside its plans, up to MOMENT_ROWS rows a side."""
    if max(len(problem.X), len(problem.Y)) > MOMENT_ROWS:
        return refined
    with record.stage("refine1"):
        cross = with_moments(problem, refined.cross)
        return refined._replace(W=whitened_procrustes(cross, *problem.principal), cross=cross)
