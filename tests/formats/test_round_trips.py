"""Random tables, written in every format and read back through every path."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from minivec.files import FORMATS, SUFFIXES, map_rows, open_rows, read_words
from minivec.migrate import migrate
from small import bridge

QUICK = settings(max_examples=25)
WORD = st.text(st.characters(exclude_categories=["Cs", "Cc", "Z"]), min_size=1, max_size=8).map("w".__add__)
VALUES = st.floats(-100, 100, width=32).filter(lambda value: value == 0 or abs(value) > 1e-3)
CELLS = {
    pa.int64(): st.integers(-(2**63), 2**63 - 1),
    pa.float64(): st.floats(allow_nan=False),
    pa.string(): st.text(max_size=9),
    pa.binary(): st.binary(max_size=9),
    pa.bool_(): st.booleans(),
    pa.list_(pa.int32()): st.lists(st.integers(0, 9), max_size=3),
}


@st.composite
def tables(draw):
    """Vectors (n, d) that are embeddings, a word for each, and further columns with nulls."""
    n, d = draw(st.integers(1, 20)), draw(st.integers(2, 6))
    X = draw(arrays.arrays(np.float32, (n, d), elements=VALUES))
    X[:, 0], X[:, -1] = 1.5, -2.5  # no row of one repeated value
    words = draw(st.lists(WORD, min_size=n, max_size=n))
    kinds = draw(st.lists(st.sampled_from(list(CELLS)), max_size=3))
    cells = [draw(st.lists(st.none() | CELLS[kind], min_size=n, max_size=n)) for kind in kinds]
    return (
        X,
        words,
        {f"c{i}": pa.array(values, kind) for i, (values, kind) in enumerate(zip(cells, kinds, strict=True))},
    )


def written(folder, table, suffix):
    """The rows of a table in a file of this format, by way of Parquet, and their words where it keeps them."""
    X, words, columns = table
    pq.write_table(pa.table({"word": words, **columns, "v": list(X)}), folder / "first.parquet")
    map_rows(lambda X: X, open_rows(folder / "first.parquet", "v"), folder / f"x{suffix}", 7)
    return open_rows(folder / f"x{suffix}", "v" if FORMATS[suffix].named else None)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_what_is_written_is_read_back(tmp_path_factory, suffix):
    @QUICK
    @given(tables(), st.integers(1, 25))
    def check(table, size):
        folder = tmp_path_factory.mktemp("trip")
        X, words, columns = table
        rows = written(folder, table, suffix)
        tolerance = dict(rtol=1e-6 if suffix in (".vec", ".txt", ".tsv") else 0)
        assert rows.shape == X.shape
        np.testing.assert_allclose(np.concatenate(list(rows.blocks(size))), X, **tolerance)
        np.testing.assert_allclose(rows.array(), X, **tolerance)
        np.testing.assert_array_equal(open_rows(rows.path, rows.column, skip_bad_rows=True).array(), rows.array())
        if FORMATS[suffix].words or suffix == ".parquet":
            assert read_words(rows)[0] == words
        if suffix == ".parquet":
            assert pq.read_table(rows.path).drop_columns(["v"]).equals(pa.table({"word": words, **columns}))

    check()


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_migration_moves_every_row_to_a_folder(tmp_path_factory, suffix):
    @settings(max_examples=10)
    @given(tables(), st.integers(1, 25))
    def check(table, batch):
        folder = tmp_path_factory.mktemp("moved")
        rows = written(folder, table, suffix)
        adapter = bridge(rows.shape[1], 5)
        name = f"{rows.path}?column=v" if FORMATS[suffix].named else rows.path
        migrate(name, folder / "out", adapter, batch=batch)
        out = open_rows(folder / "out")
        np.testing.assert_allclose(out.array(), adapter(rows.array()), atol=1e-6)
        moved = pq.read_table(folder / "out")
        if FORMATS[suffix].words or suffix == ".parquet":
            assert moved["word"].to_pylist() == table[1]
        if suffix == ".parquet":
            assert moved.drop_columns(["v", "word"]).equals(pa.table(table[2])) or not table[2]

    check()
