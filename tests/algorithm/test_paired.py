"""Fully paired rows: each closed form on the case it is for, and what held-out pairs say."""

import warnings

import keras
import numpy as np
import pytest

from minivec import AlignmentWarning, MiniVec2VecAligner, evaluate_alignment
from minivec.algorithm.paired import CLOSED_FORMS, blend, select, verdict_by_ranks
from minivec.algorithm.problem import Problem, split_pairs
from minivec.algorithm.procrustes import low_rank, polar, ridge, trust
from minivec.frame import unit
from supervised import spaces


def top1(model, A, B):
    return evaluate_alignment(model, A, B)["top1_accuracy"]


def cosine(P, Q):
    return (unit(P) * unit(Q)).sum(1).mean()


def noisy(m, dA=24, dB=24, noise=0.05, seed=0):
    """Unit rows whose partners are a linear map of them that stretches, not a rotation, with noise."""
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((m, dA)).astype(np.float32)
    M = rng.standard_normal((dA, dB)) * np.logspace(0, -1.5, dA)[:, None]
    return unit(X), unit(unit(X) @ M + noise * rng.standard_normal((m, dB))).astype(np.float32)


@pytest.mark.parametrize("mapping", CLOSED_FORMS)
@pytest.mark.parametrize(("dA", "dB"), [(16, 16), (16, 24), (24, 16)])
def test_finds_a_known_map_both_ways(mapping, dA, dB):
    A, B = spaces(dA, dB, rows=800)
    model = MiniVec2VecAligner.from_pairs(A[:600], B[:600], mapping=mapping)
    assert top1(model, A[600:], B[600:]) > 0.95
    assert top1(model.inverse(), B[600:], A[600:]) > 0.95
    assert (model.history["verdict"], model.history["causes"]) == ("reliable", [])
    assert model.history["expected_cosine"] > 0.95


def test_is_saved_as_any_aligner_is(tmp_path):
    A, B = spaces()
    model = MiniVec2VecAligner.from_pairs(A, B, mapping="low-rank", name="bridge")
    model.save(tmp_path / "ab.keras")
    again = keras.models.load_model(tmp_path / "ab.keras")
    np.testing.assert_array_equal(np.asarray(again(A)), np.asarray(model(A)))
    assert again.history == model.history and again.name == "bridge"
    facts = again.history
    assert facts["settings"].keys() == {"preset", "mapping", "seed", "rank", "ridge"}
    assert facts["pairs"] == 400 and facts["data"]["XA"]["shape"] == [400, 16]
    assert facts["held_out"]["pairs"] == 80 and set(facts["seconds"]) == {"frame", "held-out pairs", "map"}


def test_its_history_has_what_align_records(monkeypatch):
    import supervised

    supervised.install(monkeypatch)
    A, B = spaces()
    unpaired = MiniVec2VecAligner(16)
    unpaired.align(A, B)
    assert MiniVec2VecAligner.from_pairs(A, B).history.keys() == {*unpaired.history, "held_out"}


def test_ridge_is_for_a_map_that_is_no_rotation():
    A, B = noisy(900)
    found = {}
    for mapping in CLOSED_FORMS:
        model = MiniVec2VecAligner.from_pairs(A[:500], B[:500], mapping=mapping)
        found[mapping] = evaluate_alignment(model, A[500:], B[500:])["mean_cosine_similarity"]
    assert found["ridge"] > found["orthogonal"] + 0.1 and found["low-rank"] > found["orthogonal"] + 0.1


def test_ridge_is_the_least_squares_map_that_predicts_rows_left_out():
    X, Y = noisy(60, 8, 5, noise=1.0)
    W, chosen = ridge(X, Y)
    scale = chosen["ridge"] * np.trace(X.T @ X) / 8
    np.testing.assert_allclose(W, np.linalg.solve(X.T @ X + scale * np.eye(8), X.T @ Y), atol=1e-5)

    def error(power):  # leaving rows out one by one
        total = 0.0
        for i in range(len(X)):
            x, y = np.delete(X, i, 0), np.delete(Y, i, 0)
            V = np.linalg.solve(x.T @ x + power * np.trace(X.T @ X) / 8 * np.eye(8), x.T @ y)
            total += np.square(Y[i] - X[i] @ V).sum()
        return total

    assert error(chosen["ridge"]) <= min(error(chosen["ridge"] * factor) for factor in (0.1, 10))


def test_low_rank_is_procrustes_and_few_directions_more():
    rng = np.random.default_rng(0)
    X = unit(rng.standard_normal((2000, 40))).astype(np.float32)
    Q = np.linalg.qr(rng.standard_normal((40, 40)))[0]
    bent = Q + 4 * np.outer(rng.standard_normal(40), unit(rng.standard_normal((1, 40))))
    Y = (X @ bent).astype(np.float32)
    W, chosen = low_rank(X, Y, rng)
    rotated = X @ polar(X.T @ Y)
    scale = np.vdot(rotated, Y) / np.vdot(rotated, rotated)
    assert chosen["rank"] in (8, 16, 32)
    assert np.linalg.matrix_rank(W - scale * polar(X.T @ Y), tol=1e-3) <= chosen["rank"]
    assert cosine(X @ W, Y) > cosine(rotated, Y) + 0.01


@pytest.mark.parametrize("mapping", CLOSED_FORMS)
def test_shuffled_pairs_are_a_failure_and_some_wrong_ones_doubtful(mapping):
    A, B = spaces(rows=600)
    with pytest.warns(AlignmentWarning, match="wrong pairs, or spaces that share little"):
        failed = MiniVec2VecAligner.from_pairs(A, np.random.default_rng(0).permutation(B), mapping=mapping)
    assert failed.history["verdict"] == "failed" and failed.confidence < 0.2
    B[::4] = np.roll(B[::4], 1, axis=0)
    with pytest.warns(AlignmentWarning):
        doubtful = MiniVec2VecAligner.from_pairs(A, B, mapping=mapping)
    assert doubtful.history["verdict"] == "doubtful" and 0.5 < doubtful.confidence < 0.8


def test_few_pairs_are_never_trusted():
    A, B = spaces()
    with pytest.warns(AlignmentWarning, match=r"few pairs \(10, for 16 dimensions\)"):
        model = MiniVec2VecAligner.from_pairs(A[:10], B[:10])
    assert model.history["verdict"] != "reliable"


def test_same_seed_same_model_and_a_sample_of_many_pairs(monkeypatch):
    from minivec import fitting

    A, B = spaces()
    monkeypatch.setattr(fitting, "FIT_ROWS", 300)
    models = [MiniVec2VecAligner.from_pairs(A, B, mapping="low-rank", seed=s) for s in (1, 1, 2)]
    weights = [np.asarray(model.W) for model in models]
    np.testing.assert_array_equal(weights[0], weights[1])
    assert models[0].history["pairs"] == 300 and not np.array_equal(weights[0], weights[2])


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        (lambda A, B: dict(XA=A[:-1], XB=B), ValueError, "XA has 399 rows, XB has 400"),
        (lambda A, B: dict(XA=A[:9], XB=B[:9]), ValueError, "XA must have at least 10 rows; got 9"),
        (lambda A, B: dict(XA=A, XB=B, mapping="whitened"), ValueError, "mapping must be one of 'orthogonal', 'ridge'"),
        (lambda A, B: dict(XA=A, XB=np.where(B == B[3], np.nan, B)), ValueError, "XB has NaN or infinity in 1 of 400"),
        (lambda A, B: dict(XA=A, XB=B, seed=-1), ValueError, "seed must be at least 0"),
        (lambda A, B: dict(XA=A.astype(int), XB=B), TypeError, "XA must hold floating-point"),
    ],
)
def test_bad_input(change, error, words):
    with warnings.catch_warnings(), pytest.raises(error, match=words):
        warnings.simplefilter("error")
        MiniVec2VecAligner.from_pairs(**change(*spaces()))


def test_of_maps_the_one_that_unseen_pairs_find_best_is_kept():
    X, Y = noisy(2_000)
    rng = np.random.default_rng(0)
    right = polar(X.T @ Y)
    poor = polar(rng.standard_normal((24, 24))).astype(np.float32)

    def selected(candidates, X=X, Y=Y):
        problem = Problem.of(X, Y)
        pairs = split_pairs(np.stack([np.arange(400)] * 2, 1), fewest=10, most=100, rng=rng)
        return select(candidates, *map(problem.with_pairs, pairs))

    def lost(W):
        return cosine(X @ right, Y) - cosine(X @ W, Y)

    for candidates in ([(0.9, poor), (0.1, right)], [(0.1, right), (0.9, poor)]):
        found = selected(candidates)
        assert lost(found.W) < 0.01 and found.verdict.verdict == "reliable"
        assert abs(found.expected_cosine - cosine(X @ right, Y)) < 0.05
    found = selected([(0.9, poor)])
    assert lost(found.W) < 0.02 and found.agreement == 0  # of the pairs alone
    found = selected([(0.1, right), (0.9, poor)], Y=rng.permutation(Y))
    assert found.W is poor and found.agreement == 0.9  # such pairs show nothing
    assert found.verdict.verdict == "failed"


@pytest.mark.parametrize(("worth", "found"), [(1e9, "map"), (1e-9, "pairs"), (0, "pairs")])
def test_a_blend_lies_between_the_map_and_the_pairs(worth, found):
    X, Y = noisy(500)
    W = polar(X.T @ Y + 3 * np.random.default_rng(0).standard_normal((24, 24))).astype(np.float32)
    pairs = Problem.of(X, Y, np.stack([np.arange(200)] * 2, 1))
    x, y = pairs.known
    shares = trust((unit(x @ W) * unit(y)).sum(1)) if worth else np.ones(200)
    expected = {"map": W, "pairs": polar((x * shares[:, None]).T @ y)}[found]
    np.testing.assert_allclose(blend(W, worth, pairs), expected, atol=1e-3)


def test_few_pairs_that_all_find_their_partner_are_too_few_and_not_wrong():
    verdict, held_out = verdict_by_ranks(np.ones(8), 40, 4)
    assert verdict.verdict == "doubtful" and verdict.causes == [
        "too few held-out pairs to tell (8, a fifth of the pairs)"
    ]
    assert held_out["mean_rank"] == 1
