"""What the agreement of two halves is worth."""

import numpy as np
import pytest

from minivec.algorithm.confidence import Verdict, agreement_of, doubted, missing_evidence, verdict_by_agreement
from minivec.algorithm.problem import Problem
from minivec.algorithm.procrustes import polar
from minivec.algorithm.solver import solve
from minivec.frame import Frame, Principal
from minivec.record import Record
from minivec.settings import resolve


def rotation(d: int, seed: int) -> np.ndarray:
    return polar(np.random.default_rng(seed).standard_normal((d, d))).astype(np.float32)


def test_topics_that_are_shared_do_not_make_maps_agree():
    """Two maps that differ in all but the four loudest directions, which have half of the variance."""
    rng = np.random.default_rng(0)
    loudness = np.r_[np.full(4, 4.0), np.ones(60)]
    rows = (rng.standard_normal((3000, 64)) * loudness).astype(np.float32)
    X = Frame.of(rows).apply(rows)
    principal = Principal.of(X)
    one, other = np.eye(64, dtype=np.float32), np.eye(64, dtype=np.float32)
    other[4:, 4:] = rotation(60, 1)
    assert agreement_of(X, principal, one, one) > 0.999
    assert agreement_of(X, principal, one, other) < 0.15
    leading = X @ principal.directions
    assert np.mean((leading @ one * (leading @ other)).sum(1)) > 0.45  # as the rows are, they seem to agree


def test_verdicts_follow_the_agreement():
    rows = rotation(64, 0)[:, :32]
    X = Frame.of(rows).apply(rows)
    principal = Principal.of(X), Principal.of(X)
    verdicts = [verdict_by_agreement(agreement, X, X, principal) for agreement in (0.1, 0.25, 0.6)]
    assert [verdict.verdict for verdict in verdicts] == ["failed", "doubtful", "reliable"]
    assert [bool(verdict.causes) for verdict in verdicts] == [True, True, False]


@pytest.mark.parametrize("setting", [{"approx_runs": 1}, {"refine1_iterations": 5}, {"refine1_sample_size": 100}])
def test_agreement_that_proves_nothing_is_doubtful_at_best(setting):
    sure = Verdict(1.0, "reliable", [])
    ((name, value),) = setting.items()
    missing = missing_evidence(resolve(**setting), rows=3000)
    doubtful = doubted(sure, missing)
    assert (doubtful.confidence, doubtful.verdict) == (0.5, "doubtful")
    assert f"{name}={value}" in doubtful.causes[0]
    assert missing_evidence(resolve(), rows=3000) == []
    assert doubted(Verdict(0.1, "failed", []), missing).verdict == "failed"


def test_a_fit_with_a_single_run_is_not_called_reliable():
    rows = np.random.default_rng(0).gamma(0.3, size=(600, 64)).astype(np.float32)
    X = Frame.of(rows).apply(rows)
    fitted = solve(Problem.of(X, X, settings=resolve(approx_runs=1, refine1_iterations=20)), Record())
    assert fitted.verdict.verdict != "reliable" and "approx_runs=1" in fitted.verdict.causes[0]
