"""Parquet: folders whose files differ, and the types in which people store vectors."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from minivec.files import map_rows, open_rows
from minivec.migrate import migrate
from small import bridge

X = np.random.default_rng(0).normal(size=(6, 4)).astype(np.float32)
FIXED = pa.list_(pa.float32(), 4)
ADAPTER = bridge(4, 4)


def vectors(rows=X, kind=FIXED):
    return pa.array(np.asarray(rows).tolist(), kind)


def folder(path, *tables, names="{}.parquet"):
    """Tables as the files of a folder; a table without vectors gets two rows of X."""
    for number, columns in enumerate(tables):
        if isinstance(columns, dict) and "v" not in columns:
            columns = {**columns, "v": vectors(X[2 * number : 2 * number + 2])}
        table = columns if isinstance(columns, pa.Table) else pa.table(columns)
        file = path / (names.format(number) if isinstance(names, str) else names[number])
        file.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(table, file)
    return path


def moved(source, tmp_path):
    """The tables that ``transform`` and ``migrate`` make of ``source``, whose vectors must all have been mapped."""
    map_rows(ADAPTER, open_rows(source), tmp_path / "out.parquet", 4)
    migrate(source, tmp_path / "moved", ADAPTER, batch=4)
    tables = pq.read_table(tmp_path / "out.parquet"), pq.read_table(tmp_path / "moved")
    for table in tables:
        np.testing.assert_allclose(np.stack(table["v"].to_numpy()), ADAPTER(open_rows(source).array()), atol=1e-6)
    return tables


def test_columns_in_another_order_are_matched_by_name(tmp_path):
    titles, bodies = ["t0", "t1"], ["b0", "b1"]
    source = folder(
        tmp_path / "in",
        {"title": titles, "body": bodies},
        {"v": vectors(X[2:4]), "body": bodies, "title": titles},
    )
    np.testing.assert_array_equal(open_rows(source).array(), X[:4])
    for table in moved(source, tmp_path):
        assert table.column_names == ["title", "body", "v"]
        assert table["title"].to_pylist() == titles * 2 and table["body"].to_pylist() == bodies * 2


def test_missing_and_further_columns_are_null_where_they_are_missing(tmp_path):
    nested = {"l": [[1], []], "s": [{"x": 1}, None], "d": pa.array(["p", "q"]).dictionary_encode()}
    source = folder(tmp_path / "in", {"a": [1, 2], **nested}, {"b": ["x", "y"]}, {"a": [5, 6], "b": ["z", None]})
    for table in moved(source, tmp_path):
        assert table["l"].to_pylist() == [[1], [], None, None, None, None]
        assert table["s"].to_pylist() == [{"x": 1}, *[None] * 5]
        assert table["d"].to_pylist() == ["p", "q", None, None, None, None]
        assert table["a"].to_pylist() == [1, 2, None, None, 5, 6]
        assert table["b"].to_pylist() == [None, None, "x", "y", "z", None]


TEXTS = ["x", "y"]


@pytest.mark.parametrize(
    ("first", "second", "kind"),
    [
        (pa.array([None, None]), pa.array(TEXTS), pa.string()),
        (pa.array(TEXTS), pa.array([None, None]), pa.string()),
        (pa.array([1, 2]), pa.array([0.5, None]), pa.float64()),
        (pa.array([1, 2], pa.int32()), pa.array([2**40, 1]), pa.int64()),
        (pa.array(TEXTS), pa.array(TEXTS, pa.large_string()), pa.large_string()),
        (pa.array(TEXTS, pa.string_view()), pa.array(TEXTS), pa.large_string()),
        (pa.array(TEXTS, pa.string_view()), pa.array(TEXTS, pa.string_view()), pa.string_view()),
        (pa.array(TEXTS).dictionary_encode(), pa.array(TEXTS), pa.large_string()),
        (pa.array(TEXTS).dictionary_encode(), pa.array(["z", "x"]).dictionary_encode(), None),
        (pa.array([[1], [2, 3]]), pa.array([[4], [5]], pa.list_(pa.int64(), 1)), pa.list_(pa.int64())),
        (pa.array([[], None], pa.list_(pa.null())), pa.array([["a"], []]), pa.list_(pa.string())),
        (pa.array([{"a": 1}, None]), pa.array([{"b": "q", "a": 2}, {"b": None, "a": None}]), None),
    ],
    ids=lambda value: str(getattr(value, "type", "")),
)
def test_types_are_unified(tmp_path, first, second, kind):
    source = folder(tmp_path / "in", {"c": first}, {"c": second})
    for table in moved(source, tmp_path):
        assert kind is None or table.schema.field("c").type == kind
        expected = pa.concat_arrays([first]).to_pylist() + second.to_pylist()
        if pa.types.is_struct(first.type):
            expected[0] = {"a": 1, "b": None}
        assert table["c"].to_pylist() == expected


def refused(path, *words, column=None):
    with pytest.raises(ValueError) as caught:
        list(open_rows(path, column).blocks(4))
    assert "\n" not in str(caught.value)
    for word in words:
        assert word in str(caught.value), str(caught.value)


def test_what_cannot_be_unified_is_refused_with_its_file_and_column(tmp_path):
    refused(folder(tmp_path / "types", {"c": TEXTS}, {"c": [1, 2]}), "1.parquet", "'c'", "int64", "string")
    refused(folder(tmp_path / "loss", {"c": [2**60 + 1, 2]}, {"c": [0.5, 1]}), "0.parquet", "'c'", "double")
    with pytest.raises(ValueError, match="has integers that double cannot hold"):
        open_rows(tmp_path / "loss")
    renamed = pa.table({"w": vectors(X[2:4])})
    path = folder(tmp_path / "renamed", {"c": TEXTS})
    pq.write_table(renamed, path / "1.parquet")
    refused(path, "1.parquet", "no column 'v'", column="v")
    refused(folder(tmp_path / "widths", {}, {"v": vectors(X[2:4, :3], None)}), "1.parquet", "3 dimensions", "has 4")
    refused(folder(tmp_path / "vectors", {}, {"v": [1, 2]}), "1.parquet", "'v'", "int64")
    nested = pa.table({"a": pa.array([{"b": row.tolist()} for row in X])})
    path = folder(tmp_path / "nested", nested.append_column("v", nested["a"])) / "0.parquet"
    for column in (None, "a.b"):
        refused(
            folder(tmp_path / str(column), nested.append_column("v", nested["a"])).joinpath("0.parquet"),
            "'a'",
            "flatten()",
            column=column,
        )


LISTS = {"list": pa.list_(pa.float32()), "large": pa.large_list(pa.float32()), "double": pa.list_(pa.float64())}


@pytest.mark.parametrize("kind", LISTS)
def test_lists_of_several_kinds_in_one_folder(tmp_path, kind):
    source = folder(tmp_path / "in", {}, {"v": vectors(X[2:4], LISTS[kind])}, {})
    np.testing.assert_array_equal(open_rows(source).array(), X)
    for table in moved(source, tmp_path):
        assert table.schema.field("v").type == FIXED


def test_many_small_files_are_read_together(tmp_path, monkeypatch):
    """A block for each of them would be a commit, a version or a row group for each of them at the destination."""
    texts = [f"text {i}" for i in range(6)]
    parts = [{"v": vectors(X[i : i + 1]), "text": pa.array(texts[i : i + 1]).dictionary_encode()} for i in range(6)]
    source = folder(tmp_path / "in", *parts)
    assert [len(block) for block in open_rows(source).blocks(4)] == [4, 2]
    for table in moved(source, tmp_path):
        assert table["text"].to_pylist() == texts
    assert pq.ParquetFile(tmp_path / "out.parquet").num_row_groups == 2
    assert len(list((tmp_path / "moved").glob("*.parquet"))) == 2
    monkeypatch.setattr("minivec.formats.parquet.BYTES", 1)
    assert [len(block) for block in open_rows(source).blocks(4)] == [1] * 6


def test_blocks_of_large_rows_have_fewer_of_them(tmp_path, monkeypatch):
    texts = pa.array([f"{i}" * 1_000 for i in range(6)])
    source = folder(tmp_path / "in", {"v": vectors(), "text": texts})
    monkeypatch.setattr("minivec.formats.parquet.BYTES", 2_500)
    assert [len(block) for block in open_rows(source).blocks(4)] == [2, 2, 2]
    for table in moved(source, tmp_path):
        assert table["text"].to_pylist() == texts.to_pylist()


@pytest.mark.parametrize("start", [0, 1, 2, 3, 5, 6])
def test_what_lies_before_the_first_row_is_not_read(tmp_path, start):
    source = folder(tmp_path / "in", *({"v": vectors(X[i : i + 2])} for i in (0, 2, 4)))
    rows = open_rows(source)
    for i in range(start // 2):
        (source / f"{i}.parquet").write_bytes(b"")
    np.testing.assert_array_equal(np.concatenate([X[:0], *(b for b, _ in rows.unchecked(4, start))]), X[start:])


def test_empty_parts(tmp_path):
    nothing = pa.table({"c": pa.array([], pa.null()), "v": pa.array([], pa.null())})
    typed = pa.table({"c": pa.array([], pa.string()), "v": vectors(X[:0])})
    source = folder(tmp_path / "in", nothing, {"c": TEXTS}, typed, {"v": vectors(X[:2])})
    assert open_rows(source).shape == (4, 4)
    for table in moved(source, tmp_path):
        assert table["c"].to_pylist() == [*TEXTS, None, None]


def test_folders_that_are_named_for_a_value(tmp_path):
    names = ["lang=en/0.parquet", "lang=fr%20CA/0.parquet", "lang=__HIVE_DEFAULT_PARTITION__/0.parquet"]
    source = folder(tmp_path / "in", {"c": TEXTS}, {"c": TEXTS}, {"c": TEXTS}, names=names)
    for table in moved(source, tmp_path):
        assert table["c"].to_pylist() == TEXTS * 3
        assert table["lang"].to_pylist() == [None, None, "en", "en", "fr CA", "fr CA"]


def test_a_column_that_is_null_in_one_file(tmp_path):
    source = folder(tmp_path / "in", {}, {"v": pa.nulls(2)})
    refused(source, "1.parquet", "null instead of a vector in rows 0, 1")


def ray_tensors(rows):
    """A table as Ray Data writes it: lists whose field is marked as a tensor."""
    mark = {"ARROW:extension:name": "ray.data.arrow_tensor_v2", "ARROW:extension:metadata": "[4]"}
    kind = pa.large_list(pa.float32())
    return pa.table([vectors(rows, kind)], pa.schema([pa.field("v", kind, metadata=mark)]))


def test_tensors_are_vectors_and_become_lists(tmp_path):
    shaped = pa.table({"v": pa.FixedShapeTensorArray.from_numpy_ndarray(X[:2])})
    for name, table in (("arrow", shaped), ("ray", ray_tensors(X[:2]))):
        source = folder(tmp_path / name / "in", table)
        np.testing.assert_array_equal(open_rows(source).array(), X[:2])
        for out in moved(source, tmp_path / name):
            assert out.schema.field("v").type == FIXED and not out.schema.field("v").metadata
    matrix = pa.table({"v": pa.FixedShapeTensorArray.from_numpy_ndarray(X[:4].reshape(2, 2, 4))})
    refused(folder(tmp_path / "matrix", matrix), "no column of float lists")


def test_vectors_as_json_texts_and_as_bytes(tmp_path):
    table = pa.table(
        {
            "text": [json.dumps(row.tolist()) for row in X],
            "bytes": [row.tobytes() for row in X],
            "same": pa.array([row.tobytes() for row in X], pa.binary(16)),
        }
    )
    pq.write_table(table, tmp_path / "in.parquet")
    for column in table.column_names:
        rows = open_rows(tmp_path / "in.parquet", column)
        np.testing.assert_array_equal(rows.array(), X)
        map_rows(ADAPTER, rows, tmp_path / "out.parquet", 4)
        out = pq.read_table(tmp_path / "out.parquet")
        np.testing.assert_allclose(np.stack(out[column].to_numpy()), ADAPTER(X), atol=1e-6)
        assert out.drop_columns([column]).equals(table.drop_columns([column]))
    refused(tmp_path / "in.parquet", "no column of float lists")
    for column, value, words in (
        ("text", "[0.1, 0.2", "no JSON list of numbers in row 4"),
        ("text", "[" * 100_000, "no JSON list of numbers in row 4"),
        ("text", "[[1, 2], [3, 4]]", "no JSON list of numbers in row 4"),
        ("text", "[1, 2, 3]", "another length than 4 in row 4"),
        ("bytes", b"abc", "no bytes of float32 numbers in row 4"),
        ("bytes", None, "null instead of a vector in row 4"),
    ):
        values = table[column].to_pylist()
        values[4] = value
        pq.write_table(pa.table({column: values}), tmp_path / "bad.parquet")
        refused(tmp_path / "bad.parquet", "bad.parquet", words, column=column)
