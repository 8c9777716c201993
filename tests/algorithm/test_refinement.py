from dataclasses import replace

import numpy as np
import pytest

from minivec.algorithm.problem import Problem
from minivec.algorithm.procrustes import SHARED, polar, retract, shared_directions, trust
from minivec.algorithm.refinement import shortlists, sinkhorn
from minivec.algorithm.refinement.loop import MapSteps, Proposal, iterate
from minivec.algorithm.refinement.shortlists import MomentShortlists, Shortlists
from minivec.algorithm.refinement.sinkhorn import Transport
from minivec.frame import Frame
from minivec.record import Record

KINDS = pytest.mark.parametrize("kind", [Transport, Shortlists, MomentShortlists])


def transport_of(kind, X, Y, *, beta, sample, pairs=None):
    return kind(
        Problem.of(X, Y, pairs), directions=None, beta=beta, sample=sample, folds=4, rng=np.random.default_rng(0)
    )


def random_rotation(d: int, seed: int = 0) -> np.ndarray:
    return polar(np.random.default_rng(seed).standard_normal((d, d))).astype(np.float32)


def clustered(seed: int, rows: int = 3000, d: int = 32) -> np.ndarray:
    centres = np.random.default_rng(7).normal(size=(60, d))
    rng = np.random.default_rng(seed)
    return (centres[rng.integers(60, size=rows)] + 0.4 * rng.normal(size=(rows, d))).astype(np.float32)


@pytest.mark.parametrize("shape", [(30, 30), (20, 30), (30, 20)])
def test_retract_is_the_polar_factor(shape):
    rng = np.random.default_rng(0)
    A, B = (polar(rng.standard_normal(shape, dtype=np.float32)) for _ in range(2))
    M = A + 0.3 * (B - A)
    np.testing.assert_allclose(retract(M), polar(M), atol=1e-4)
    M = (A - B) / 2
    np.testing.assert_allclose(retract(M), polar(M), atol=1e-3)  # small singular values: the SVD decides
    np.testing.assert_allclose(retract(np.stack([A, M])), polar(np.stack([A, M])), atol=1e-3)


def test_what_two_spaces_share_least_is_not_compared():
    rng = np.random.default_rng(0)
    U, V = (polar(rng.standard_normal((30, 30), dtype=np.float32)) for _ in range(2))
    M = (U * np.linspace(0.01, 1, 30, dtype=np.float32)) @ V.T
    A, B = shared_directions(M)
    assert A.shape == B.shape == (30, 20)
    kept = np.linspace(0.01, 1, 30)[10:]
    np.testing.assert_allclose(np.abs(U.T @ A)[10:], np.diag(kept**SHARED), atol=1e-3)
    np.testing.assert_allclose(A.T @ M @ B, np.diag(kept ** (1 + 2 * SHARED)), atol=1e-3)


@KINDS
def test_a_map_is_carried_to_the_cross_covariance_it_implies(kind):
    A, R = clustered(1) * np.linspace(0.5, 2, 32, dtype=np.float32), random_rotation(32)
    X = Frame.of(A).apply(A)
    Y = X @ R
    transport = transport_of(kind, X, Y, beta=20, sample=1000)
    a, b = transport._compared
    cross, implied = transport.init(R)[0][0], a.T @ b
    assert np.vdot(cross, implied) > 0.999 * np.linalg.norm(cross) * np.linalg.norm(implied)


@KINDS
def test_transport_refines_a_poor_map_to_the_truth(kind):
    A, B = clustered(1), clustered(2)
    R = random_rotation(32)
    X, Y = (Frame.of(Z).apply(Z) for Z in (A @ R.T, B))
    noise = np.random.default_rng(3).standard_normal(R.shape, dtype=np.float32)
    start = polar(R + 0.2 * noise)
    transport = transport_of(kind, X, Y, beta=20, sample=1000)
    record = Record()
    with record.stage("refine1", 20):
        refined = iterate(transport, start, steps=20, alpha=1.0, record=record)
    cross, objective = transport.lift(*refined)
    before, after = ((X @ W * (X @ R)).sum(1).mean() for W in (start, polar(cross)))
    assert before < 0.85 and after > 0.98
    assert record.steps[0]["objective"] < objective <= 1


@KINDS
def test_plans_have_equal_marginals(kind):
    """Every row of A is sent somewhere: with equal rows on both sides the targets average to their mean."""
    A = Frame.of(clustered(1)).apply(clustered(1))
    transport = transport_of(kind, A, A, beta=30, sample=len(A))
    cross, _ = transport.lift(*transport.init(np.eye(32, dtype=np.float32)))
    assert np.trace(cross) > 0.5
    np.testing.assert_allclose(cross, cross.T, atol=0.02)


def test_shortlists_that_hold_every_row_are_the_dense_plan(monkeypatch):
    X, Y = (Frame.of(clustered(i, 402)).apply(clustered(i, 402)) for i in (1, 2))
    monkeypatch.setattr(shortlists, "CANDIDATES", 402)
    monkeypatch.setattr(Shortlists, "whitening_power", Transport.whitening_power)
    monkeypatch.setattr(shortlists, "ROUNDS", sinkhorn.ROUNDS)
    W = np.eye(32, dtype=np.float32)
    transports = [transport_of(kind, X[:400], Y, beta=30, sample=402) for kind in (Transport, Shortlists)]
    dense, listed = (transport.step(*transport.init(W)) for transport in transports)
    np.testing.assert_allclose(listed.M, dense.M, atol=1e-4)
    assert listed.diagnostics["objective"] == pytest.approx(dense.diagnostics["objective"], abs=1e-4)


def test_a_shortlist_serves_four_plans_of_one_run_and_each_run_has_its_own():
    X, Y = (Frame.of(clustered(i)).apply(clustered(i)) for i in (1, 2))
    transport = transport_of(Shortlists, X, Y, beta=30, sample=3000)

    def lists():
        M, memory = transport.init(random_rotation(32))
        for _ in range(5):
            step = transport.step(M, memory)
            M, memory = step.M, step.memory
            yield memory.near, M

    (first, M), *served, (looked_up, _) = lists()
    assert all(near is first for near, _ in served) and looked_up is not first
    np.testing.assert_array_equal(next(lists())[1], M)  # a second run knows nothing of the first


@KINDS
def test_a_folds_map_is_not_fitted_on_its_rows(kind):
    X, Y = (Frame.of(clustered(i)).apply(clustered(i)) for i in (1, 2))
    problem = Problem.of(X, Y)

    def proposed(X):
        changed, rng = replace(problem, X=X), np.random.default_rng(0)
        transport = kind(changed, directions=None, beta=30, sample=1000, folds=4, rng=rng)
        return transport._folds, transport.step(*transport.init(np.eye(32, dtype=np.float32))).M

    folds, before = proposed(X)
    changed = X.copy()
    changed[folds[0]] *= -1
    _, after = proposed(changed)
    np.testing.assert_allclose(after[0], before[0], atol=1e-4)
    assert all(np.abs(after[k] - before[k]).max() > 0.01 for k in range(1, len(folds)))


def test_known_pairs_pull_the_maps_of_the_other_folds():
    """Pairs that contradict the plans: where they are many, they win; their own fold's map has not seen them."""
    X, Y = (Frame.of(clustered(i)).apply(clustered(i)) for i in (1, 2))
    R = random_rotation(32)
    partners = np.concatenate([Y[:1000], X[:2000] @ R])  # only the last 2,000 rows of Y are turned
    pairs = np.stack([np.arange(2000), np.arange(1000, 3000)], 1)

    def turned(pairs):
        transport = transport_of(Transport, X, partners, beta=30, sample=1000, pairs=pairs)
        return transport, transport.step(*transport.init(R)).M

    transport, W = turned(pairs)
    mapped, targets = transport.unseen_pairs(W)
    assert (mapped * targets).sum(1).mean() > 0.9
    swapped = pairs.copy()
    first = transport._pair_folds[0]
    swapped[first, 1] = np.roll(swapped[first, 1], 1)
    after = turned(swapped)[1]
    np.testing.assert_allclose(after[0], W[0], atol=1e-4)
    assert all(np.abs(after[k] - W[k]).max() > 1e-3 for k in (1, 2, 3))


def test_wrong_pairs_are_hardly_trusted():
    rng = np.random.default_rng(0)
    right, wrong = rng.normal(0.45, 0.12, 800), rng.normal(0, 0.1, 200)
    shares = trust(np.concatenate([right, wrong]))
    assert shares[:800].mean() > 0.9 and shares[800:].mean() < 0.15
    assert trust(np.full(5, -0.1)).sum() == 0  # nothing agrees: nothing counts


def test_the_loop_ends_without_gain_and_when_a_callback_stops_it():
    W, still = np.eye(3, dtype=np.float32), MapSteps(lambda W: (W, {"objective": 1.0}))
    record = Record(callbacks=[lambda step: step.step == 5])
    with record.stage("refine1", 50):
        iterate(still, W, steps=50, alpha=0.5, record=record)
    assert len(record.steps) == 5 and record.stopped
    record = Record()
    with record.stage("refine1", 50):
        iterate(still, W, steps=50, alpha=0.5, record=record, min_gain=1e-3)
    assert len(record.steps) == 16  # two windows of 8 without gain


def test_momentum_carries_a_creeping_map_to_its_fixed_point():
    target = random_rotation(3)
    record = Record()

    class Creep:
        def init(self, W):
            return W, 0

        def step(self, M, memory):
            return Proposal(target + 0.9 * (M - target), memory + 1, {})

        def project(self, M):
            return M

    def left(momentum):
        with record.stage("refine1", 40):
            M, steps = iterate(Creep(), np.eye(3), steps=40, alpha=1.0, record=record, momentum=momentum)
        assert steps == 40  # what a step hands on reaches the next one
        return np.abs(M - target).max()

    assert left(0.5) < 0.05 * left(0.0)
