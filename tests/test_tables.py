"""Columns of tables as embeddings: accepted where the meaning is plain, refused with what to write otherwise."""

import json

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import scipy.sparse

from minivec import MiniVec2VecAligner, evaluate_alignment
from minivec.validation import as_rows

X = np.random.default_rng(0).standard_normal((9, 4)).astype(np.float32)
LIST, FIXED = pa.list_(pa.float32()), pa.list_(pa.float32(), 4)


def objects(rows):
    column = np.empty(len(rows), object)
    column[:] = rows
    return column


def arrow(kind, rows=X):
    return pa.array(list(rows), kind)


def polars(kind):
    def make():
        pl = pytest.importorskip("polars")
        return pl.Series(X.tolist(), dtype=pl.List(pl.Float32) if kind == "list" else pl.Array(pl.Float32, 4))

    return make


PLAIN = {
    "object array of arrays": lambda: objects(list(X)),
    "object array of lists": lambda: objects(X.tolist()),
    "pandas column of arrays": lambda: pd.DataFrame({"v": list(X)})["v"],
    "pandas column of lists": lambda: pd.Series(X.tolist(), index=range(9, 0, -1)),
    "pandas frame": lambda: pd.DataFrame(X),
    "pandas frame of float32[pyarrow]": lambda: pd.DataFrame(X).astype("float32[pyarrow]"),
    "pandas frame of Float32": lambda: pd.DataFrame(X).astype("Float32"),
    "pandas column of list[pyarrow]": lambda: pd.Series(X.tolist(), dtype=pd.ArrowDtype(LIST)),
    "Arrow list": lambda: arrow(LIST),
    "Arrow fixed-size list": lambda: arrow(FIXED),
    "Arrow chunks": lambda: pa.chunked_array([arrow(FIXED, X[:2]), arrow(FIXED, X[2:])]),
    "Arrow slice": lambda: pa.concat_arrays([arrow(FIXED, X[:3] + 1), arrow(FIXED)])[3:],
    "Arrow tensor": lambda: pa.FixedShapeTensorArray.from_numpy_ndarray(X),
    "Arrow tensor chunks": lambda: pa.chunked_array([pa.FixedShapeTensorArray.from_numpy_ndarray(X)] * 1),
    "polars list": polars("list"),
    "polars array": polars("array"),
    "masked array without a masked row": lambda: np.ma.masked_array(X, np.zeros(X.shape, bool)),
}


@pytest.mark.parametrize("make", PLAIN.values(), ids=PLAIN)
def test_columns_of_vectors_are_embeddings(make):
    np.testing.assert_array_equal(as_rows(make(), "XA"), X)


NULL = [*X.tolist()[:7], None, X[8].tolist()]
RAGGED = [*X.tolist()[:7], [1.0, 2.0], X[8].tolist()]
UNCLEAR = {
    "nulls": (lambda: objects(NULL), "XA has no vector in 1 rows: 7"),
    "Arrow nulls": (lambda: pa.array(NULL, LIST), "XA has null instead of a vector in 1 rows: 7"),
    "lengths": (lambda: objects(RAGGED), "XA has another length than .4,. in 1 rows: 7"),
    "Arrow lengths": (lambda: pa.array(RAGGED, LIST), "XA has another length than 4 in 1 rows: 7"),
    "masked": (lambda: np.ma.masked_array(X, X == X[5, 2]), "XA has masked values in 1 rows: 5"),
    "sparse": (lambda: scipy.sparse.csr_matrix(X), r"XA is a sparse matrix; write XA.toarray\(\)"),
    "texts": (lambda: objects([json.dumps(row) for row in X.tolist()]), "XA holds str, .* np.stack of json.loads"),
    "bytes": (lambda: objects([row.tobytes() for row in X]), r"XA holds bytes, .* np.frombuffer\(each, np.float32\)"),
    "table": (lambda: pa.table({"v": arrow(FIXED)}), r"XA is a table; .* XA\['vector'\]"),
    "int8": (lambda: X.astype(np.int8), r"got dtype int8: write XA.astype\(np.float32\) \* scale"),
    "frame of one column": (lambda: pd.DataFrame({"v": list(X)}), r"XA .* dtype object: write np.stack\("),
    "mixed frame": (lambda: pd.DataFrame({"v": X[:, 0], "t": list("abcdefghi")}), "XA .* dtype object"),
    "integers of Arrow": (lambda: pa.array([[1, 2]] * 9), "XA must hold vectors of floats; got .* list<"),
}


@pytest.mark.parametrize(("make", "words"), UNCLEAR.values(), ids=UNCLEAR)
def test_other_columns_are_refused_with_what_to_write(make, words):
    with pytest.raises((TypeError, ValueError), match=words):
        as_rows(make(), "XA")


def test_align_and_evaluate_take_columns():
    A = np.random.default_rng(1).standard_normal((200, 4)).astype(np.float32)
    column = pd.DataFrame({"v": list(A)})["v"]
    aligner = MiniVec2VecAligner.from_pairs(column, arrow(FIXED, A))
    assert evaluate_alignment(aligner, column, arrow(FIXED, A))["top1_accuracy"] > 0.9
    np.testing.assert_array_equal(aligner(column), aligner(A))
