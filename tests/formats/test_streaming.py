"""Large files as inputs of a fit: their rows stay in the file, and the fit is the same."""

import numpy as np
import pytest

import supervised
from minivec import open_map
from minivec.files import map_rows, open_rows, to_fit
from minivec.formats import streaming
from minivec.formats.streaming import RowsInFile
from minivec.frame import Frame

A, B = supervised.spaces(8, 6, rows=300)


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    monkeypatch.setattr(streaming, "BLOCK", 64)


def written(path, X):
    """``X`` in a file of the format of ``path``."""
    np.save(path.with_suffix(".made.npy"), X)
    map_rows(lambda block: block, open_rows(path.with_suffix(".made.npy")), path, 128)
    return open_rows(path)


@pytest.mark.parametrize("suffix", [".parquet", ".npz", ".safetensors", ".npy"])
def test_any_rows_are_read_by_their_numbers(tmp_path, suffix):
    rows = RowsInFile(written(tmp_path / f"a{suffix}", A))
    assert rows.shape == (300, 8) and len(rows) == 300
    for wanted in (slice(None, None, 7), slice(10, 70), slice(0, 0), np.array([299, 0, 64, 64, 63, 5])):
        np.testing.assert_array_equal(rows[wanted], A[wanted])
    frame, expected = rows.frame(), Frame.of(A)
    np.testing.assert_allclose(frame.mean, expected.mean, atol=1e-7)
    assert frame.norm == pytest.approx(expected.norm)


def test_only_large_files_that_cannot_be_mapped_stay_where_they_are(tmp_path, monkeypatch):
    parquet, npy = written(tmp_path / "a.parquet", A), written(tmp_path / "a.npy", A)
    assert isinstance(to_fit(parquet), np.ndarray)
    monkeypatch.setattr(streaming, "LARGE", 4 * A.size)
    assert isinstance(to_fit(parquet), RowsInFile)
    assert isinstance(to_fit(npy), np.memmap)


@pytest.mark.parametrize("pairs", [(), ("--pairs", "pairs.csv")])
def test_a_fit_of_large_files_is_that_of_the_arrays(tmp_path, run, monkeypatch, pairs):
    supervised.install(monkeypatch)
    monkeypatch.chdir(tmp_path)
    written(tmp_path / "a.parquet", A), written(tmp_path / "b.npz", B)
    (tmp_path / "pairs.csv").write_text("200,200\n3,3\n70,70\n")
    maps = []
    for large in (streaming.LARGE, 0):
        monkeypatch.setattr(streaming, "LARGE", large)
        code, _, err = run("align", "a.parquet", "b.npz", "-o", "ab.keras", "--max-rows", "200", *pairs)
        assert code == 0, err
        maps.append(open_map("ab.keras"))
    whole, streamed = maps
    for name, weight in whole.weights.items():
        np.testing.assert_allclose(streamed.weights[name], weight, atol=1e-6)
    for entry in ("data", "settings", *(("paired_rows",) if pairs else ())):
        assert streamed.history[entry] == whole.history[entry]
    for one, other in zip(streamed.signatures, whole.signatures, strict=True):
        np.testing.assert_equal(vars(one), vars(other))


def test_a_bad_row_of_a_large_file_is_named(tmp_path, run, monkeypatch):
    monkeypatch.setattr(streaming, "LARGE", 0)
    bad = A.copy()
    bad[170] = np.nan
    path, other = written(tmp_path / "a.npz", A).path, written(tmp_path / "b.npz", B).path
    np.savez(path, embedding=bad)
    code, _, err = run("align", str(path), str(other), "-o", str(tmp_path / "ab.keras"))
    assert code == 2 and "170" in err and "a.npz" in err and err.count("\n") == 1
    assert not (tmp_path / "ab.keras").exists()


@pytest.mark.parametrize("suffix", [".npy", ".npz", ".safetensors", ".parquet"])
def test_a_format_says_whether_its_array_is_a_memory_map(tmp_path, suffix):
    rows = written(tmp_path / f"x{suffix}", A)
    assert rows.mapped == isinstance(rows.array(), np.memmap)
