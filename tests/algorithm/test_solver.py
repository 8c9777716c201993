"""End to end on the bundled, real embeddings; the fits are shared among tests, as each takes a while."""

import warnings

import numpy as np
import pytest

from minivec import AlignmentWarning, MiniVec2VecAligner, evaluate_alignment
from minivec.algorithm import auto
from minivec.algorithm.competition import POOR
from minivec.algorithm.problem import NO_PAIRS, Problem
from minivec.algorithm.schedule import schedule
from minivec.algorithm.starts import STARTS
from minivec.datasets import load_sample
from minivec.frame import Frame
from minivec.record import Record
from minivec.settings import resolve

STEPS = dict(refine1_sample_size=1200, approx_runs=2)


def rotated(X: np.ndarray) -> np.ndarray:
    return X @ np.linalg.qr(np.random.default_rng(0).normal(size=(X.shape[1],) * 2))[0].astype(np.float32)


@pytest.fixture(scope="module")
def sample():
    return load_sample()


@pytest.fixture(scope="module")
def fitted(sample):
    aligner = MiniVec2VecAligner(384)
    with warnings.catch_warnings():
        warnings.simplefilter("error", AlignmentWarning)  # a good fit does not warn
        history = aligner.align(sample.source, sample.target)
    return aligner, history


def test_real_encoders_are_aligned_without_pairs(sample, fitted):
    aligner, history = fitted
    metrics = evaluate_alignment(aligner, sample.test_source, sample.test_target)
    assert metrics["top1_accuracy"] > 0.85
    assert history["verdict"] == "reliable" and history["confidence"] > 0.8
    W = history["final_W"]
    assert W.shape == (384, 512)
    np.testing.assert_allclose(W @ W.T, np.eye(384), atol=1e-5)


def test_the_inverse_maps_back(sample, fitted):
    metrics = evaluate_alignment(fitted[0].inverse(), sample.test_target, sample.test_source)
    assert metrics["top1_accuracy"] > 0.85


def test_the_expected_cosine_is_about_right(sample, fitted):
    aligner, history = fitted
    source, target = sample.test_source - aligner.source_mean, sample.test_target - aligner.target_mean
    u, v = np.asarray(source) @ history["final_W"], np.asarray(target)
    true = (u * v).sum(1) / np.linalg.norm(u, axis=1) / np.linalg.norm(v, axis=1)
    assert abs(history["expected_cosine"] - true.mean()) < 0.15


def test_the_expected_top1_holds(sample, fitted):
    metrics = evaluate_alignment(fitted[0], sample.test_source[:2000], sample.test_target[:2000])
    expected = fitted[1]["expected_top1"]
    assert expected["low"] <= metrics["top1_accuracy"] <= expected["high"]


def test_where_halves_agree_the_whole_is_refined_once(fitted):
    """The coarse level of the whole and of either half, then three finer ones."""
    steps = [step for step in fitted[1]["steps"] if step["stage"] == "refine1"]
    assert sum(step["step"] == 1 for step in steps) == 3 + 3


@pytest.mark.parametrize("other", ["noise", "too few rows"])
def test_failure_is_said(sample, other):
    rng = np.random.default_rng(0)
    if other == "noise":
        A, B = sample.source[:3000], rng.standard_normal((3000, 256), dtype=np.float32)
    else:
        A, B = sample.source[:500], sample.target[:500]
    aligner = MiniVec2VecAligner(384)
    cause = "structure" if other == "noise" else "too few rows"
    with pytest.warns(AlignmentWarning, match=cause):
        history = aligner.align(A, B, refine1_iterations=40, **STEPS)
    assert history["verdict"] == "failed" and history["confidence"] < 0.3
    assert history["expected_top1"]["value"] < 0.2


@pytest.mark.filterwarnings("ignore::minivec.AlignmentWarning")
def test_same_seed_same_map(sample):
    A, B = sample.source[:2500, :64], sample.target[:2500, :64]  # few dimensions: it takes a tenth of the time
    settings = dict(refine1_iterations=8, approx_clusters=16, **STEPS)
    fits = [MiniVec2VecAligner(64).align(A, B, seed=seed, **settings)["final_W"] for seed in (3, 3, 4)]
    np.testing.assert_array_equal(fits[0], fits[1])
    assert np.abs(fits[0] - fits[2]).max() > 1e-3


def test_same_seed_same_map_where_maps_are_bred(sample):
    """Of two starts that do not agree."""
    A, B = (Frame.of(rows).apply(rows) for rows in (sample.source[:1500, :96], sample.target[:1500, :96]))
    fits = []
    for seed in (3, 3, 4):
        problem = Problem.of(A, B, settings=resolve(seed=seed, refine1_iterations=8, **STEPS))
        fits.append(auto.solve(problem, Record(), starts=STARTS[1:3]))
    assert fits[0].agreement < POOR
    np.testing.assert_array_equal(fits[0].W, fits[1].W)
    assert np.abs(fits[0].W - fits[2].W).max() > 1e-3


@pytest.mark.filterwarnings("ignore::minivec.AlignmentWarning")
def test_paper_preset_and_values_that_win(sample):
    A, B = sample.source[:3000], sample.target[:3000]
    history = MiniVec2VecAligner(384).align(
        A, B, preset="paper", approx_runs=2, refine1_iterations=3, refine2_clusters=50
    )
    stages = [step["stage"] for step in history["steps"]]
    assert stages == ["anchors"] * 2 + ["refine1"] * 3 + ["refine2"]
    assert history["verdict"] == "doubtful"  # it cannot tell
    np.testing.assert_allclose(history["final_W"] @ history["final_W"].T, np.eye(384), atol=1e-5)


@pytest.mark.filterwarnings("ignore::minivec.AlignmentWarning")
def test_auto_runs_the_stages_that_are_asked_for(sample):
    history = MiniVec2VecAligner(384).align(
        sample.source[:2500],
        sample.target[:2500],
        approx_clusters=32,
        approx_neighbors=20,
        refine1_iterations=6,
        refine1_neighbors=20,
        refine2_clusters=50,
        mapping="whitened",
        **STEPS,
    )
    assert "refine2" in history["seconds"]
    W = history["final_W"]
    assert np.abs(W @ W.T - np.eye(384)).max() > 0.01  # whitened: not orthogonal


@pytest.mark.filterwarnings("ignore::minivec.AlignmentWarning")
def test_known_pairs_rescue_a_small_fit(sample):
    pairs = np.stack([np.arange(400)] * 2, 1)
    A = np.concatenate([sample.test_source[:400], sample.source[:1500]])
    B = np.concatenate([sample.test_target[:400], sample.target[:1500]])
    aligner = MiniVec2VecAligner(384)
    aligner.align(A, B, pairs=pairs, refine1_iterations=60, **STEPS)
    metrics = evaluate_alignment(aligner, sample.test_source[400:], sample.test_target[400:])
    assert metrics["top1_accuracy"] > 0.3  # 0.02 without pairs


def test_wrong_pairs_do_not_spoil_what_works_without_them(sample):
    """The fit without them competes, and the halves' agreement vouches for it."""
    rng = np.random.default_rng(0)
    pairs = np.stack([rng.choice(8000, 200, replace=False) for _ in range(2)], 1)
    aligner = MiniVec2VecAligner(384)
    history = aligner.align(sample.source, sample.target, pairs=pairs, refine1_iterations=80, **STEPS)
    assert history["verdict"] != "failed"
    assert evaluate_alignment(aligner, sample.test_source, sample.test_target)["top1_accuracy"] > 0.3  # 0.014 with them


def test_halves_of_the_evidence_are_disjoint_and_keep_pairs_together():
    X, Y = (np.arange(n, dtype=np.float32)[:, None] for n in (101, 80))
    pairs = np.stack([np.arange(0, 60, 3), np.arange(79, 59, -1)], 1)
    halves = Problem.of(X, Y, pairs).halves()
    for whole, parts in ((X, [half.X for half in halves]), (Y, [half.Y for half in halves])):
        np.testing.assert_array_equal(np.sort(np.concatenate(parts), axis=0), whole)
    known = np.concatenate([np.hstack(half.known) for half in halves])
    np.testing.assert_array_equal(known[known[:, 0].argsort()], pairs)
    assert [len(half.pairs) for half in halves] == [10, 10]
    unpaired = Problem.of(X, Y).halves()
    np.testing.assert_array_equal(unpaired[1].X, X[1::2])


def test_a_last_level_of_too_few_rows_is_left_out():
    """Its sample stays the same: 1,200 rows in 512 dimensions took the bundled sample from 0.81 to 0.29."""
    last = [schedule(unpaired(5000, refine1_sample_size=sample))[-1].directions for sample in (400, 600, None)]
    assert last == [256, None, None]


def test_the_last_level_of_few_rows_is_run_several_times_and_no_more_steps_are_taken_than_asked_for():
    runs = [[level.bags for level in schedule(unpaired(rows))] for rows in (400, 900, 5000, 13_000)]
    assert runs == [[1], [1, 1, 1, 6], [1, 1, 1, 2], [1, 1, 1, 1]]  # a single level is that of every start
    asked = schedule(unpaired(900, refine1_iterations=30))
    assert sum(level.bags * level.steps for level in asked) == 30


@pytest.mark.parametrize(
    ("rows", "seen"),
    [
        (19_999, [(19_999, 7)]),
        (20_000, [(10_000, 7), (20_000, 4)]),
        (60_000, [(15_000, 7), (30_000, 4), (60_000, 4)]),
    ],
)
def test_the_last_level_sees_many_rows_by_and_by(rows, seen):
    levels = schedule(unpaired(rows))[3:]  # of 64 dimensions
    assert [(level.sample, level.steps) for level in levels] == seen
    assert all(level[:2] == levels[0][:2] and level[4:] == levels[0][4:] for level in levels)


def test_wide_rows_are_fewer_in_the_last_level_unless_the_caller_gives_their_number():
    wide = [np.broadcast_to(np.float32(0), (50_000, 768))] * 2
    for settings, seen in (({}, [12_288, 24_576]), ({"max_rows": 50_000}, [12_500, 25_000, 50_000])):
        problem = Problem(*wide, NO_PAIRS, (None, None), resolve(**settings))
        assert [level.sample for level in schedule(problem)[3:]] == seen


@pytest.mark.parametrize("settings", [{}, {"max_rows": 60_000}])
def test_known_pairs_count_as_rows_for_the_last_level(settings):
    pairs = np.zeros((500, 2), int)
    rows = [np.broadcast_to(np.float32(0), (2_500, 384))] * 2  # 3,072 are needed
    last = [schedule(Problem(*rows, known, (None, None), resolve(**settings)))[-1] for known in (NO_PAIRS, pairs)]
    assert [level.directions for level in last] == [256, None]


def test_a_callers_sample_steps_or_neighbours_leave_one_last_level():
    for setting in ({"refine1_sample_size": 25_000}, {"refine1_iterations": 40}, {"refine1_neighbors": 10}):
        assert len(schedule(unpaired(60_000, **setting))) == 4


def unpaired(rows: int, **settings) -> Problem:
    return Problem.of(*[np.zeros((rows, 64), np.float32)] * 2, settings=resolve(**settings))


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(5))
def test_the_demo_holds_for_five_seeds(sample, seed):
    aligner = MiniVec2VecAligner(384)
    aligner.align(rotated(sample.source), sample.target, seed=seed)
    metrics = evaluate_alignment(aligner, rotated(sample.test_source), sample.test_target)
    assert metrics["top1_accuracy"] > 0.85
