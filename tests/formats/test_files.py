"""Embeddings in files: what is read, what is refused, and that nothing half-written stays."""

import io
import zipfile

import faiss
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import save_file

from minivec.files import SUFFIXES, WORD_SUFFIXES, check_output, map_rows, open_rows, replacing

X = np.random.default_rng(0).normal(size=(25, 6)).astype(np.float32)

FORMATS = [suffix for suffix in SUFFIXES if suffix not in WORD_SUFFIXES]  # those have tests of their own
NAMELESS = (".npy", ".faiss", ".index")


def save(path, X, dtype=np.float32, order="C", kind="fixed"):
    """X in the format of the suffix."""
    X = np.asarray(X, dtype, order=order)
    if path.suffix == ".npy":
        np.save(path, X)
    elif path.suffix == ".npz":
        np.savez(path, vectors=X)
    elif path.suffix == ".safetensors":
        save_file({"vectors": np.ascontiguousarray(X)}, path)
    elif path.suffix in (".faiss", ".index"):  # of float32 alone
        index = faiss.IndexFlatIP(X.shape[1])
        index.add(np.ascontiguousarray(X, np.float32))
        faiss.write_index(index, str(path))
    else:
        value = pa.from_numpy_dtype(dtype)
        lists = {"fixed": pa.list_(value, X.shape[1]), "list": pa.list_(value), "large": pa.large_list(value)}
        pq.write_table(pa.table({"vectors": pa.array(list(X), lists[kind])}), path)
    return path


def parquet(path, kind=None, **columns):
    kind = kind or pa.list_(pa.float32())
    pq.write_table(pa.table({name: pa.array(values, kind) for name, values in columns.items()}), path)
    return path


def refused(path, *words, column=None):
    """The ValueError of reading all of path: one line with these words in it."""
    with pytest.raises(ValueError) as caught:
        for _ in open_rows(path, column).blocks(4):
            pass
    assert "\n" not in str(caught.value)
    for word in [str(path), *words]:
        assert word in str(caught.value)


@pytest.mark.parametrize("suffix", FORMATS)
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_every_format_gives_the_same_rows(tmp_path, suffix, dtype):
    rows = open_rows(save(tmp_path / f"x{suffix}", X, dtype))
    assert rows.shape == (25, 6) and rows.dtype == (np.float32 if suffix in (".faiss", ".index") else dtype)
    blocks = list(rows.blocks(10))
    assert [len(b) for b in blocks] == [10, 10, 5] and blocks[0].dtype == np.float32
    np.testing.assert_array_equal(np.concatenate(blocks), X.astype(dtype).astype(np.float32))
    np.testing.assert_array_equal(rows.array(), X.astype(dtype))


@pytest.mark.parametrize("suffix", FORMATS)
@pytest.mark.parametrize("start", [0, 7, 10, 24, 25])
def test_rows_are_read_from_any_row_on(tmp_path, suffix, start):
    path = save(tmp_path / f"x{suffix}", X)
    if suffix == ".parquet":
        pq.write_table(pq.read_table(path), path, row_group_size=8)
    blocks = [rows for rows, _ in open_rows(path).unchecked(10, start)]
    assert sum(map(len, blocks)) == 25 - start and all(len(block) <= 10 for block in blocks)
    np.testing.assert_array_equal(np.concatenate([X[:0], *blocks]), X[start:])


@pytest.mark.parametrize("suffix", [".npy", ".npz"])
@pytest.mark.parametrize("variant", [dict(order="F"), dict(dtype=">f4")])
def test_fortran_order_and_other_endianness(tmp_path, suffix, variant):
    rows = open_rows(save(tmp_path / f"x{suffix}", X, **variant))
    np.testing.assert_array_equal(np.concatenate(list(rows.blocks(7))), X)
    np.testing.assert_array_equal(np.concatenate([block for block, _ in rows.unchecked(7, 9)]), X[9:])


def test_compressed_npz_and_a_large_list_column(tmp_path):
    np.savez_compressed(tmp_path / "x.npz", x=X, y=X + 1)
    np.testing.assert_array_equal(open_rows(tmp_path / "x.npz", "y").array(), X + 1)
    np.testing.assert_array_equal(open_rows(save(tmp_path / "x.parquet", X, kind="large")).array(), X)
    np.testing.assert_array_equal(open_rows(save(tmp_path / "x.parquet", X, kind="list")).array(), X)


def test_npy_is_memory_mapped(tmp_path):
    assert isinstance(open_rows(save(tmp_path / "x.npy", X)).array(), np.memmap)


def test_one_column_is_found_and_several_are_asked_for(tmp_path):
    np.savez(tmp_path / "two.npz", a=X, b=X)
    refused(tmp_path / "two.npz", "--column", "a, b")
    refused(tmp_path / "two.npz", "'c'", "a, b", column="c")
    refused(save(tmp_path / "x.npy", X), "'c'", column="c")
    two = pa.table({"id": range(25), "a": pa.array(list(X)), "b": pa.array(list(X))})
    pq.write_table(two, tmp_path / "two.parquet")
    refused(tmp_path / "two.parquet", "--column", "a, b")
    refused(tmp_path / "two.parquet", "'id'", "int64", column="id")
    pq.write_table(two.select(["id", "a"]), tmp_path / "one.parquet")
    assert open_rows(tmp_path / "one.parquet").column == "a"
    pq.write_table(two.select(["id"]), tmp_path / "none.parquet")
    refused(tmp_path / "none.parquet", "no column of float lists")


@pytest.mark.parametrize("suffix", [".npy", ".npz"])
@pytest.mark.parametrize(
    ("array", "word"),
    [
        (X[0], "2-D"),
        (np.float32(1), "2-D"),
        (X[None], "2-D"),
        (X[:0], "empty"),
        (X[:, :0], "empty"),
        (X.astype(int), "int64"),
        (X > 0, "bool"),
        (X.astype(complex), "complex128"),
        (np.array([["a"]]), "<U1"),
        (np.array([[object()]]), "pickled"),
        (np.zeros(3, [("x", "f4"), ("y", "f4")]), "2-D"),
    ],
)
def test_arrays_that_are_no_embeddings(tmp_path, suffix, array, word):
    path = tmp_path / f"x{suffix}"
    if suffix == ".npy":
        np.save(path, array, allow_pickle=True)
    else:
        np.savez(path, x=array)
    refused(path, word)


@pytest.mark.parametrize("suffix", FORMATS)
def test_rows_without_a_direction_are_named(tmp_path, suffix):
    bad = X.copy()
    bad[7, 2], bad[11, 0] = np.nan, np.inf
    refused(save(tmp_path / f"x{suffix}", bad), "row 7")  # the first of blocks of 4 rows that has one
    with pytest.raises(ValueError, match="rows 7, 11$"):
        list(open_rows(tmp_path / f"x{suffix}").blocks(25))
    with pytest.raises(ValueError, match="rows 0, 1, 2, 3, 4 and 20 more"):
        list(open_rows(save(tmp_path / f"x{suffix}", X + np.nan)).blocks(25))
    bad = X.copy()
    bad[5], bad[6] = 0, 0.5
    with pytest.raises(ValueError, match="one repeated value in rows 5, 6$"):
        list(open_rows(save(tmp_path / f"x{suffix}", bad)).blocks(25))


def test_nulls_and_ragged_lists_are_named_by_row(tmp_path):
    path = tmp_path / "x.parquet"
    lists = X.tolist()
    refused(parquet(path, v=lists[:9] + [None] + lists[9:]), "null", "row 9")
    refused(parquet(path, v=[None] + lists), "null", "row 0")
    refused(parquet(path, v=lists[:9] + [[1.0, 2.0]] + lists[9:]), "another length than 6", "row 9")
    refused(parquet(path, v=lists[:9] + [[None] * 6] + lists[9:]), "null inside", "row 9")
    fixed = pa.list_(pa.float32(), 6)
    refused(parquet(path, fixed, v=lists[:9] + [None] + lists[9:]), "null", "row 9")
    refused(parquet(path, fixed, v=lists[:9] + [[1.0] * 5 + [None]] + lists[9:]), "null inside", "row 9")
    refused(parquet(path, v=[[], []]), "empty")
    refused(parquet(path, v=[]), "empty")


@pytest.mark.parametrize("suffix", FORMATS)
def test_damaged_files(tmp_path, suffix):
    path = save(tmp_path / f"x{suffix}", X)
    data = path.read_bytes()
    for broken in (b"", b"\x00" * 100, b"hello", data[: len(data) // 2], data[:-10], b"PK\x03\x04" + data):
        path.write_bytes(broken)
        if suffix == ".npz" and broken.endswith(data):
            continue  # a zip archive may stand at the end of another file
        refused(path)


@given(data=st.data(), suffix=st.sampled_from(FORMATS))
def test_a_changed_byte_never_ends_in_another_error(tmp_path_factory, data, suffix):
    path = save(tmp_path_factory.mktemp("fuzz") / f"x{suffix}", X[:3])
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 3))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(content)
    try:
        list(open_rows(path).blocks(2))
    except ValueError as error:
        assert "\n" not in str(error)


def test_npz_with_a_member_that_is_cut_short(tmp_path):
    whole = io.BytesIO()
    np.save(whole, X)
    for cut in (whole.getvalue()[:-8], whole.getvalue()[:20], b""):
        with zipfile.ZipFile(tmp_path / "x.npz", "w") as archive:
            archive.writestr("x.npy", cut)
            archive.writestr("readme.txt", "not an array")
        refused(tmp_path / "x.npz", "(x)")
    with zipfile.ZipFile(tmp_path / "x.npz", "w") as archive:
        archive.writestr("readme.txt", "not an array")
    refused(tmp_path / "x.npz", "no array in it")


def test_missing_files_folders_and_unknown_formats(tmp_path):
    with pytest.raises(FileNotFoundError, match="no such file"):
        open_rows(tmp_path / "x.npy")
    with pytest.raises(IsADirectoryError, match="folder"):
        open_rows(tmp_path)
    (tmp_path / "x.csv").touch()
    with pytest.raises(ValueError, match=r"\.npy, \.npz, \.safetensors, \.parquet"):
        open_rows(tmp_path / "x.csv")


def test_without_pyarrow_the_error_says_what_to_install(tmp_path, monkeypatch):
    save(tmp_path / "x.parquet", X)
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    with pytest.raises(ImportError, match=r"pip install '.\[parquet\]' in a copy"):
        open_rows(tmp_path / "x.parquet")
    with pytest.raises(ImportError, match=r"pip install '.\[parquet\]' in a copy"):
        check_output(tmp_path / "y.parquet", FORMATS)


@pytest.mark.parametrize("source", FORMATS)
@pytest.mark.parametrize("target", FORMATS)
def test_map_rows_between_all_formats(tmp_path, source, target):
    rows = open_rows(save(tmp_path / f"in{source}", X, np.float64))
    map_rows(lambda block: 2.0 * block[:, :4].astype(np.float64), rows, tmp_path / f"out{target}", 10)
    out = open_rows(tmp_path / f"out{target}")
    assert out.dtype == np.float32
    if target not in NAMELESS:
        assert out.column == ("embedding" if source in NAMELESS else "vectors")
    np.testing.assert_array_equal(out.array(), 2 * X[:, :4])
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted({f"in{source}", f"out{target}"})


def test_other_columns_and_metadata_pass_through(tmp_path):
    fields = [
        pa.field("id", pa.int64(), metadata={"unit": "row"}),
        pa.field("v", pa.list_(pa.float64()), metadata={"model": "e5"}),
        pa.field("text", pa.dictionary(pa.int32(), pa.string())),
        pa.field("nested", pa.struct([("a", pa.list_(pa.string()))])),
    ]
    table = pa.table(
        [
            pa.array([None, *range(24)], pa.int64()),
            pa.array(X.tolist(), fields[1].type),
            pa.array(list("abcde") * 5).dictionary_encode(),
            pa.array([{"a": ["x", None]}, None] * 12 + [{"a": None}]),
        ],
        schema=pa.schema(fields, metadata={"origin": "test"}),
    )
    pq.write_table(table, tmp_path / "in.parquet", row_group_size=7)
    map_rows(lambda block: -block[:, :3], open_rows(tmp_path / "in.parquet"), tmp_path / "out.parquet", 10)
    out = pq.read_table(tmp_path / "out.parquet")
    assert out.column_names == table.column_names
    assert out.schema.metadata[b"origin"] == b"test"
    assert out.schema.field("v").type == pa.list_(pa.float32(), 3)
    assert out.schema.field("v").metadata[b"model"] == b"e5"
    for name in ("id", "text", "nested"):
        assert out.schema.field(name).equals(table.schema.field(name))
        assert out[name].to_pylist() == table[name].to_pylist()
    np.testing.assert_array_equal(np.stack(out["v"].to_numpy()), -X[:, :3])


def test_a_folder_of_parquet_files_is_one_table(tmp_path):
    (tmp_path / "in").mkdir()
    table = pa.table({"id": range(25), "v": pa.array(list(X))})
    for i in range(0, 25, 9):
        pq.write_table(table.slice(i, 9), tmp_path / "in" / f"{i:02}.parquet")
    (tmp_path / "in" / ".02.parquet").write_text("half written")
    rows = open_rows(tmp_path / "in")
    assert rows.shape == (25, 6)
    np.testing.assert_array_equal(rows.array(), X)
    map_rows(lambda block: -block, rows, tmp_path / "out.parquet", 10)
    out = pq.read_table(tmp_path / "out.parquet")
    assert out["id"].to_pylist() == list(range(25))
    np.testing.assert_array_equal(np.stack(out["v"].to_numpy()), -X)


@pytest.mark.parametrize("suffix", FORMATS)
@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_an_interrupted_write_leaves_what_was_there(tmp_path, suffix, error):
    rows = open_rows(save(tmp_path / "in.npy", X))
    out = tmp_path / f"out{suffix}"
    out.write_text("before")
    calls = []

    def fails_at_the_second_block(block):
        calls.append(block)
        if len(calls) == 2:
            raise error
        return block

    with pytest.raises(error):
        map_rows(fails_at_the_second_block, rows, out, 10)
    assert out.read_text() == "before"
    assert {p.name for p in tmp_path.iterdir()} == {"in.npy", out.name}


def test_bad_rows_at_the_end_leave_no_output(tmp_path):
    bad = X.copy()
    bad[-1] = np.nan
    with pytest.raises(ValueError, match="row 24"):
        map_rows(lambda block: block, open_rows(save(tmp_path / "in.npy", bad)), tmp_path / "out.npy", 10)
    assert [p.name for p in tmp_path.iterdir()] == ["in.npy"]


def test_replacing_keeps_a_link_and_the_usual_permissions(tmp_path):
    (tmp_path / "real.npy").touch()
    (tmp_path / "link.npy").symlink_to("real.npy")
    with replacing(tmp_path / "link.npy") as temporary:
        assert temporary.suffix == ".npy" and temporary.parent == tmp_path
        temporary.write_text("new")
    assert (tmp_path / "link.npy").is_symlink() and (tmp_path / "real.npy").read_text() == "new"
    (tmp_path / "other").touch()
    assert (tmp_path / "real.npy").stat().st_mode == (tmp_path / "other").stat().st_mode


def test_outputs_that_cannot_be_written(tmp_path):
    source = save(tmp_path / "x.npy", X)
    check_output(tmp_path / "y.npy", SUFFIXES, source)
    check_output(source, FORMATS)
    (tmp_path / "folder.npy").mkdir()
    for path, error, word in [
        (tmp_path / "y.csv", ValueError, "must end in .npy or .npz or .safetensors or .parquet"),
        (tmp_path / "folder.npy", IsADirectoryError, "folder"),
        (tmp_path / "missing" / "y.npy", NotADirectoryError, "no such folder"),
        (tmp_path / "x.npy" / "y.npy", NotADirectoryError, "no such folder"),
        (source, ValueError, "also an input"),
    ]:
        with pytest.raises(error, match=word):
            check_output(path, SUFFIXES, source)


def test_a_folder_without_write_permission(tmp_path, monkeypatch):
    monkeypatch.setattr("os.access", lambda path, mode: False)  # the tests may run as root
    with pytest.raises(PermissionError, match="no permission"):
        check_output(tmp_path / "y.npy", FORMATS)
