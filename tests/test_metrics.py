import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minivec.frame import unit
from minivec.metrics import evaluate_alignment


def rows(n, d=16, seed=0):
    return np.random.default_rng(seed).normal(size=(n, d)).astype(np.float32)


def identity(x):
    return x


def by_hand(U, V):
    """Every metric from the full matrix of cosines, in float64; what is closer than 1e-6 is a tie."""
    U, V = (unit(x.astype(np.float64)) for x in (U, V))
    cosine = U @ V.T
    own = np.diag(cosine)
    ranks = (cosine >= own[:, None] - 1e-6).sum(1)
    hubs = np.sort(cosine, axis=0)[-10:].mean(0)
    csls = 2 * cosine - hubs
    return {
        "top1_accuracy": (ranks == 1).mean(),
        "recall_at_5": (ranks <= 5).mean(),
        "recall_at_10": (ranks <= 10).mean(),
        "mean_rank": ranks.mean(),
        "mean_reciprocal_rank": (1 / ranks).mean(),
        "mean_cosine_similarity": own.mean(),
        "csls_top1_accuracy": (csls.argmax(1) == np.arange(len(U))).mean(),
    }


@settings(derandomize=True)
@given(st.integers(2, 60), st.integers(1, 70), st.floats(0, 3), st.integers(0, 9))
def test_metrics_are_those_of_the_full_matrix_in_blocks_of_any_size(n, block_size, noise, seed):
    A = rows(n, seed=seed)
    B = A + noise * rows(n, seed=seed + 50)
    expected = by_hand(A, B)
    found = evaluate_alignment(identity, A, B, block_size)
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert found[name] == pytest.approx(value, abs=1e-5), name


def test_rows_matched_to_themselves_are_all_found_despite_rounding():
    A = rows(3000, 384)
    B = A * np.random.default_rng(1).uniform(0.01, 100, (len(A), 1)).astype(np.float32)
    metrics = evaluate_alignment(identity, A, B, 700)
    assert metrics["top1_accuracy"] == metrics["recall_at_5"] == metrics["mean_rank"] == 1
    assert metrics["csls_top1_accuracy"] == 1
    assert metrics["mean_cosine_similarity"] == pytest.approx(1, abs=1e-6)


def test_a_tie_counts_against_the_map():
    A = rows(600, 384)
    B = A.copy()
    B[1::2] = B[::2] * 3  # every row of B has a twin, in another block and at another length
    metrics = evaluate_alignment(lambda x: x, np.concatenate([A[::2], A[::2]]), np.concatenate([B[::2], B[1::2]]), 128)
    assert metrics["top1_accuracy"] == metrics["csls_top1_accuracy"] == 0
    assert metrics["mean_rank"] == 2


def test_a_map_that_has_collapsed_is_no_better_than_chance():
    B = rows(500)
    metrics = evaluate_alignment(lambda x: np.tile(B[:1], (len(x), 1)), rows(500, seed=1), B)
    assert metrics["top1_accuracy"] == pytest.approx(1 / 500)
    assert metrics["mean_rank"] == pytest.approx(250.5, abs=0.1)


def test_the_order_of_the_pairs_changes_nothing():
    A, B, order = rows(300), rows(300, seed=1) + rows(300), np.random.default_rng(0).permutation(300)
    assert evaluate_alignment(identity, A, B) == pytest.approx(evaluate_alignment(identity, A[order], B[order]))


def test_no_block_of_cosines_is_larger_than_asked():
    seen = []

    def aligner(x):
        seen.append(len(x))
        return x

    evaluate_alignment(aligner, rows(100), rows(100, seed=1), block_size=30)
    assert seen == [30, 30, 30, 10]


def test_widths_may_differ_and_lists_and_memory_maps_are_welcome(tmp_path):
    A, W = rows(50, 6), rows(6, 4, seed=1)
    np.save(tmp_path / "B.npy", A @ W)
    metrics = evaluate_alignment(lambda x: x @ W, A.tolist(), np.load(tmp_path / "B.npy", mmap_mode="r"))
    assert metrics["top1_accuracy"] == 1


def test_a_torch_map_that_tracks_gradients_is_read():
    torch = pytest.importorskip("torch")
    linear = torch.nn.Linear(16, 16)
    A = rows(50)
    B = linear(torch.from_numpy(A)).detach()
    assert evaluate_alignment(lambda x: linear(torch.from_numpy(x)), A, B)["top1_accuracy"] == 1


@pytest.mark.parametrize(
    ("A", "B", "message"),
    [
        (rows(10), rows(9), "A has 10 rows, B has 9"),
        (rows(10), rows(10, 8), r"returned shape \(10, 16\).*B has shape \(10, 8\)"),
        (rows(0), rows(0), "A"),
        (rows(10), np.where(np.arange(10)[:, None] == 3, np.nan, rows(10)), "B.*3"),
    ],
)
def test_what_cannot_be_pairs_is_refused(A, B, message):
    with pytest.raises(ValueError, match=message):
        evaluate_alignment(identity, A, B)


def test_block_size_out_of_range_is_refused():
    with pytest.raises(ValueError, match="block_size.*0"):
        evaluate_alignment(identity, rows(10), rows(10), 0)
