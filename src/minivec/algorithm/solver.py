"""The one entry: a ``Problem`` in, an ``Outcome`` out. A preset finds the map, this module says how good it is."""

from collections.abc import Callable

from minivec.algorithm import auto, paper
from minivec.algorithm.confidence import doubted, missing_evidence, verdict_by_agreement
from minivec.algorithm.exchanges import exchangeable
from minivec.algorithm.expected import MEASURED, expected_cosine
from minivec.algorithm.problem import Outcome, Problem, Solution
from minivec.algorithm.procrustes import orthogonal
from minivec.record import Record

MAPPING_WHITENING_POWER = 0.1  # of mapping="whitened"; figures: docs/tuning.md

PRESETS: dict[str, Callable[[Problem, Record], Solution]] = {"auto": auto.solve, "paper": paper.solve}


def solve(problem: Problem, record: Record) -> Outcome:
    """Fit the map of ``problem`` by its preset, and note stages and steps on ``record``."""
    solution = PRESETS[problem.settings.preset](problem, record)
    with record.stage("confidence"):
        agreement, by_pairs, top1 = solution.agreement, solution.by_pairs, None
        verdict = verdict_by_agreement(agreement, problem.X, problem.Y, problem.principal)
        if agreement is not None:
            missing = missing_evidence(problem.settings, min(len(problem.X), len(problem.Y)))
            verdict, top1 = (doubted(verdict, missing), None) if missing else (verdict, MEASURED.top1(agreement))
        if (cause := exchangeable(problem, solution)) is not None:
            verdict = doubted(verdict, [cause])
        if by_pairs is None:
            expected = expected_cosine(problem.X, problem.Y, solution.W, agreement)
        else:
            expected, top1 = by_pairs.expected_cosine, by_pairs.expected_top1
            if by_pairs.verdict.confidence > verdict.confidence:  # either kind of evidence is enough
                verdict = by_pairs.verdict
    W = orthogonal(solution.W)
    inverse = W.T
    if problem.settings.mapping == "whitened":
        whitening = [p.whitening_matrix(MAPPING_WHITENING_POWER) for p in problem.principal]
        W, inverse = whitening[0] @ W, whitening[1] @ inverse
    return Outcome(W, inverse, solution.initial_W, solution.refine1_W, expected, top1, verdict)
