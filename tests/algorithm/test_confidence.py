"""What the agreement of two halves is worth."""

import numpy as np

from minivec.algorithm.confidence import agreement_of, verdict_by_agreement
from minivec.algorithm.procrustes import polar
from minivec.frame import Frame, Principal


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
