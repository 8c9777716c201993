"""Number types that people store embeddings in, and rows that are no embeddings."""

import tracemalloc

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from safetensors.numpy import save_file
from safetensors.torch import save_file as save_torch

import supervised
from minivec import MiniVec2VecAligner
from minivec.files import map_rows, open_rows, read_words
from word_files import write

X = np.random.default_rng(0).normal(size=(25, 6)).astype(np.float32)
INTEGERS = {np.int8: np.round(X * 30).astype(np.int8), np.uint8: np.round(X * 30 + 128).clip(0, 255).astype(np.uint8)}


def save(path, **arrays):
    (save_file if path.suffix == ".safetensors" else lambda arrays, path: np.savez(path, **arrays))(arrays, path)
    return path


def test_bfloat16_of_safetensors(tmp_path):
    save_torch({"v": torch.tensor(X).bfloat16(), "other": torch.tensor(X)}, tmp_path / "x.safetensors")
    rows = open_rows(tmp_path / "x.safetensors", "v")
    np.testing.assert_array_equal(rows.array(), torch.tensor(X).bfloat16().float())
    assert [len(block) for block in rows.blocks(10)] == [10, 10, 5]


def test_bfloat16_of_numpy_says_what_it_is(tmp_path):
    ml_dtypes = pytest.importorskip("ml_dtypes")
    np.save(tmp_path / "x.npy", X.astype(ml_dtypes.bfloat16))
    with pytest.raises(ValueError, match=r"as NumPy saves bfloat16; save X.astype\(np.float32\)"):
        open_rows(tmp_path / "x.npy")


@pytest.mark.parametrize("suffix", [".npz", ".safetensors"])
@pytest.mark.parametrize("kind", INTEGERS)
@pytest.mark.parametrize("form", [(), (1,), (25,), (25, 1), (6,), (1, 6)], ids=str)
def test_integers_with_a_scale_and_an_offset(tmp_path, suffix, kind, form):
    q = INTEGERS[kind]
    scale = np.random.default_rng(1).uniform(0.1, 1, form).astype(np.float32)
    offset = (scale - 0.5).astype(np.float32)
    path = save(tmp_path / f"x{suffix}", v=q, v_scale=np.asarray(scale), v_offset=np.asarray(offset))
    rows = open_rows(path)
    assert rows.column == "v" and rows.dtype == np.float32
    wide = (scale[:, None], offset[:, None]) if form == (25,) else (scale, offset)
    expected = q.astype(np.float32) * wide[0] + wide[1]
    np.testing.assert_array_equal(rows.array(), expected)
    np.testing.assert_array_equal(np.concatenate(list(rows.blocks(7))), expected)


@pytest.mark.parametrize("suffix", [".npz", ".safetensors"])
def test_integers_without_a_scale_that_fits(tmp_path, suffix):
    q = INTEGERS[np.int8]
    with pytest.raises(ValueError, match="got int8: multiply by their scale, or store it beside them as NAME_scale"):
        open_rows(save(tmp_path / f"x{suffix}", v=q))
    with pytest.raises(ValueError, match=r"v_scale: expected finite floats, one in all, \(25, 1\) or \(1, 6\); got"):
        open_rows(save(tmp_path / f"x{suffix}", v=q, v_scale=np.ones(7, np.float32)))
    with pytest.raises(ValueError, match=r"got float32 of shape \(6,\)"):  # a scale a row, or a dimension
        open_rows(save(tmp_path / f"x{suffix}", v=q[:6], v_scale=np.ones(6, np.float32)))
    with pytest.raises(ValueError, match="v_scale"):
        open_rows(save(tmp_path / f"x{suffix}", v=q, v_scale=np.full(1, np.nan, np.float32)))


def test_fortran_order_in_an_archive_is_not_held_in_memory(tmp_path):
    big = np.asfortranarray(np.random.default_rng(0).standard_normal((40_000, 64), np.float32))
    np.savez_compressed(tmp_path / "x.npz", v=big)
    tracemalloc.start()
    try:
        for start, block in enumerate(open_rows(tmp_path / "x.npz").blocks(1000)):
            np.testing.assert_array_equal(block, big[1000 * start : 1000 * start + 1000])
        assert tracemalloc.get_traced_memory()[1] < big.nbytes / 2
    finally:
        tracemalloc.stop()


BAD = [3, 7, 20]


@pytest.fixture
def bad(tmp_path):
    """Files whose rows 3, 7 and 20 are no embeddings."""
    rows = X.copy()
    rows[3], rows[7], rows[20] = 0, np.nan, 0.5
    np.save(tmp_path / "x.npy", rows)
    save_file({"v": rows}, tmp_path / "x.safetensors")
    write(tmp_path / "x.vec", [f"w{i}" for i in range(25)], rows)
    lists = rows.tolist()
    lists[3], lists[7], lists[20] = None, [], [None] * 6
    pq.write_table(pa.table({"id": range(25), "v": pa.array(lists, pa.list_(pa.float32()))}), tmp_path / "x.parquet")
    return tmp_path


@pytest.mark.parametrize("name", ["x.npy", "x.safetensors", "x.vec", "x.parquet"])
def test_bad_rows_are_skipped_on_request(bad, name):
    with pytest.raises(ValueError, match="row"):
        list(open_rows(bad / name).blocks(25))
    rows = open_rows(bad / name, skip_bad_rows=True)
    assert rows.shape == (22, 6) and rows.bad.tolist() == BAD and rows.skipped() == "3 of 25 rows (3, 7, 20)"
    np.testing.assert_array_equal(rows.array(), np.delete(X, BAD, 0))
    for output in ("out.npy", "out.vec") if name == "x.vec" else ("out.npy",):
        map_rows(lambda X: -X, rows, bad / output, 4)
        np.testing.assert_allclose(open_rows(bad / output).array(), -np.delete(X, BAD, 0), rtol=1e-6)
    if name == "x.vec":
        assert read_words(open_rows(bad / "out.vec"))[0] == [f"w{i}" for i in range(25) if i not in BAD]


@pytest.mark.parametrize("name", ["x.npy", "x.vec", "x.parquet"])
@pytest.mark.parametrize("size", [1, 4, 100])
def test_a_parquet_output_keeps_bad_rows_without_a_vector(bad, name, size):
    map_rows(lambda X: -X[:, :4], open_rows(bad / name, skip_bad_rows=True), bad / "out.parquet", size)
    table = pq.read_table(bad / "out.parquet")
    column = table.column_names[-1]
    assert [i for i, row in enumerate(table[column].to_pylist()) if row is None] == BAD
    np.testing.assert_array_equal(np.stack(table[column].drop_null().to_numpy()), -np.delete(X, BAD, 0)[:, :4])
    assert "id" not in table.column_names or table["id"].to_pylist() == list(range(25))
    again = open_rows(bad / "out.parquet", skip_bad_rows=True)
    assert again.bad.tolist() == BAD and again.shape == (22, 4)


def test_only_bad_rows(tmp_path):
    np.save(tmp_path / "x.npy", np.zeros((3, 4), np.float32))
    with pytest.raises(ValueError, match="none of its 3 rows is an embedding"):
        open_rows(tmp_path / "x.npy", skip_bad_rows=True)


def test_command_line(tmp_path, run, monkeypatch):
    A, B = supervised.spaces(8, 6, rows=60)
    MiniVec2VecAligner.from_pairs(*supervised.spaces(8, 6, rows=300)).save(tmp_path / "a.keras")
    worse = np.insert(A, [0, 2, 9, 9, 30, 40, 60], 0, axis=0)
    np.save(tmp_path / "a.npy", worse)
    np.save(tmp_path / "b.npy", B)
    monkeypatch.chdir(tmp_path)
    transform = "transform", "a.npy", "-a", "a.keras", "-o", "out.parquet"
    assert run(*transform)[0] == 2
    code, _, err = run(*transform, "--skip-bad-rows")
    assert code == 0 and "a.npy: no embeddings in 7 of 67 rows (0, 3, 11, 12, 34 and 2 more), which are skipped" in err
    assert pq.read_table("out.parquet")["embedding"].null_count == 7
    supervised.install(monkeypatch)
    code, _, err = run("align", "a.npy", "b.npy", "-o", "out.keras", "-q", "--skip-bad-rows")
    assert code == 0 and "7 of 67 rows" in err
    (tmp_path / "pairs.csv").write_text("0,0\n")
    code, _, err = run("align", "a.npy", "b.npy", "-o", "x.keras", "--skip-bad-rows", "--pairs", "pairs.csv")
    assert code == 2 and err.count("\n") == 1 and "--pairs" in err and not (tmp_path / "x.keras").exists()
