import jax.numpy as jnp
import numpy as np
import pytest
import torch

from minivec import validation
from minivec.frame import unit
from minivec.validation import as_pairs, as_rows, frame_of

X = np.random.default_rng(0).standard_normal((50, 4)).astype(np.float32)


@pytest.mark.parametrize(
    ("given", "exact"),
    [
        (X, True),
        (X.astype(np.float64), True),
        (X.astype(">f4"), True),
        (np.asfortranarray(X), True),
        (X.tolist(), True),
        (torch.tensor(X, requires_grad=True), True),
        (jnp.asarray(X), True),
        (X.astype(np.float16), False),
        (torch.tensor(X, dtype=torch.bfloat16), False),
        (jnp.asarray(X, jnp.bfloat16), False),
    ],
    ids=lambda value: type(value).__module__ + str(getattr(value, "dtype", "")),
)
def test_any_float_array_becomes_contiguous_float32(given, exact):
    rows = as_rows(given, "XA")
    assert type(rows) is np.ndarray and rows.dtype == np.float32 and rows.dtype.isnative
    assert rows.flags.c_contiguous
    np.testing.assert_allclose(rows, X, rtol=0 if exact else 1e-2)


def test_float32_in_memory_is_not_copied():
    assert np.shares_memory(as_rows(X, "XA"), X)


def test_a_memory_map_stays_one_and_is_read_in_blocks(tmp_path, monkeypatch):
    np.save(tmp_path / "a.npy", X.astype(np.float64))
    monkeypatch.setattr(validation, "BLOCK", 7)
    rows = as_rows(np.load(tmp_path / "a.npy", mmap_mode="r"), "XA")
    assert isinstance(rows, np.memmap) and rows.dtype == np.float64


def changed(rows, value, dtype=np.float32):
    bad = X.astype(dtype)
    bad[rows] = value
    return bad


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        (X[0], ValueError, r"XA must be 2-D .*\(4,\)"),
        (X[None], ValueError, r"XA must be 2-D .*\(1, 50, 4\)"),
        (X[:0], ValueError, r"XA is empty: shape \(0, 4\)"),
        ([[1.0, 2.0], [3.0]], ValueError, "XA must be a 2-D array"),
        ([], ValueError, r"XA must be 2-D .*\(0,\)"),
        (X[:, :1], ValueError, r"XA must have at least 2 dimensions .*\(50, 1\)"),
        (X[:, :3], ValueError, "XA must have 4 dimensions a row; got 3"),
        (X[:9], ValueError, "XA must have at least 10 rows; got 9"),
        ((10 * X).astype(np.int8), TypeError, "XA .* dtype int8"),
        (X > 0, TypeError, "XA .* dtype bool"),
        (X.astype(object), TypeError, "XA .* dtype object"),
        (X.astype(complex), TypeError, "XA .* dtype complex128"),
        ("a.npy", TypeError, "XA .* dtype <U5"),
        (None, TypeError, "XA .* dtype object"),
        (changed(3, np.nan), ValueError, r"XA has NaN or infinity in 1 of 50 rows: 3 \(row 3 is \[nan, nan"),
        (changed([3, 40], -np.inf), ValueError, r"infinity in 2 of 50 rows: 3, 40 \(row 3 is \[-inf"),
        (changed(slice(9, 20), np.nan), ValueError, r"in 11 of 50 rows: 9, 10, 11, 12, 13, \.\.\. \(row 9"),
        (changed(3, 1e39, np.float64), ValueError, r"infinity in 1 of 50 rows: 3 "),
        (changed(3, 0), ValueError, r"XA has zero or constant rows.* in 1 of 50 rows: 3 \(row 3 is \[0\., 0"),
        (
            changed([3, 30], 0.5),
            ValueError,
            r"XA has zero or constant rows.* in 2 of 50 rows: 3, 30 .*\[0\.5",
        ),
    ],
)
@pytest.mark.parametrize("block", [4096, 8])
def test_bad_embeddings_are_refused_with_what_is_wrong(given, error, message, block, monkeypatch):
    monkeypatch.setattr(validation, "BLOCK", block)
    with pytest.raises(error, match=message):
        as_rows(given, "XA", width=4, min_rows=10)


def test_large_finite_values_pass():
    as_rows(X * np.float32(1e30), "XA")  # their squares overflow, they do not


def test_rows_of_one_direction_are_refused():
    rows = X[:1] * np.arange(1, 51, dtype=np.float32)[:, None]
    with pytest.raises(ValueError, match="XB has 50 rows that all point in one direction"):
        frame_of(as_rows(rows, "XB"), "XB")


@pytest.mark.parametrize("lengths", [np.ones(50), np.full(50, 1e-20), np.full(50, 1e18), np.geomspace(1e-3, 1e9, 50)])
def test_a_frame_does_not_depend_on_lengths(lengths):
    plain, rows = frame_of(as_rows(X, "XA"), "XA"), (X * lengths[:, None]).astype(np.float32)
    frame = frame_of(as_rows(rows, "XA"), "XA")
    np.testing.assert_allclose(frame.mean, unit(X).mean(0), atol=1e-6)
    np.testing.assert_allclose(frame.apply(rows), plain.apply(X), atol=1e-6)
    assert frame.norm == pytest.approx(np.exp(np.log(np.linalg.norm(X, axis=1) * lengths).mean()))


@pytest.mark.parametrize("pairs", [[[0, 9], [0, 9], [4, 0]], np.array([[4, 9]], np.uint8), torch.tensor([[1, 2]])])
def test_pairs_of_row_numbers_pass(pairs):
    checked = as_pairs(pairs, 5, 10)
    assert checked.dtype == np.int64 and checked.tolist() == np.asarray(pairs).tolist()


@pytest.mark.parametrize(
    ("pairs", "error", "message"),
    [
        ([[0, 1], [5, 0]], ValueError, r"pairs\[1\] names row 5 of XA, which has 5 rows"),
        ([[0, 10]], ValueError, r"pairs\[0\] names row 10 of XB, which has 10 rows"),
        ([[0, -1]], ValueError, r"pairs\[0\] names row -1 of XB"),
        ([[0.0, 1.0]], TypeError, "pairs must be integers; got dtype float64"),
        ([[0, 1, 2]], ValueError, r"pairs must be \(m, 2\) .* \(1, 3\)"),
        ([0, 1], ValueError, r"pairs must be \(m, 2\) .* \(2,\)"),
        (np.empty((0, 2), int), ValueError, r"m at least 1; got shape \(0, 2\)"),
    ],
)
def test_bad_pairs_are_refused(pairs, error, message):
    with pytest.raises(error, match=message):
        as_pairs(pairs, 5, 10)
