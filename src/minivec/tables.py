"""Columns of tables as arrays: pandas, polars, Arrow, and object arrays whose elements are vectors."""

from typing import Any

import numpy as np

from minivec.arrow import decoded, fixed_size, is_vector, list_vectors, pyarrow


def unpacked(a: Any, name: str) -> Any:
    """The (n, d) array that a column of vectors means, or ``a`` itself where it is no such column.

    Raises ValueError naming the argument, the first offending rows, or what to write: masked rows, nulls, vectors of
    unequal lengths, sparse matrices.
    """
    package = type(a).__module__.partition(".")[0]
    if package == "scipy" and hasattr(a, "toarray"):
        raise TypeError(f"{name} is a sparse matrix; write {name}.toarray(), or reduce its dimensions first")
    if isinstance(a, np.ma.MaskedArray):
        masked = np.atleast_2d(np.ma.getmaskarray(a))
        _refuse(name, "masked values", np.flatnonzero(masked.reshape(len(masked), -1).any(1)))
        return np.asarray(a)
    if package == "pyarrow":
        return _arrow(a, name)
    if package == "polars" and a.__class__.__name__ == "Series" and hasattr(a.dtype, "inner"):
        return _arrow(a.to_arrow(), name)
    if package == "pandas":
        a = _pandas(a, name)
    if isinstance(a, np.ndarray) and a.dtype == object and a.ndim == 1 and len(a):
        return _stacked(a, name)
    return a


def _arrow(column: Any, name: str) -> Any:
    """A column of lists or of tensors, or an array of numbers."""
    pa = pyarrow()
    if isinstance(column, pa.Table | pa.RecordBatch):
        raise TypeError(f"{name} is a table; hand over its column of vectors: {name}['vector']")
    if isinstance(column, pa.ChunkedArray):
        column = column.combine_chunks()
        column = pa.concat_arrays(column.chunks) if isinstance(column, pa.ChunkedArray) else column
    if not is_vector(column.type):
        if pa.types.is_nested(column.type) or isinstance(column.type, pa.BaseExtensionType):
            raise TypeError(f"{name} must hold vectors of floats; got an Arrow column of {column.type}")
        return column.to_numpy(zero_copy_only=False)

    def refuse(what: str, rows: Any) -> None:
        _refuse(name, what, rows)

    lists = decoded(column, refuse)
    lengths = pa.compute.list_value_length(lists).drop_null()
    width = fixed_size(column.type) or (lengths[0].as_py() if len(lengths) else 0)
    return list_vectors(lists, width, refuse)


def _pandas(a: Any, name: str) -> Any:
    """The numbers of a frame or series, Arrow's types included; a series of vectors as an object array."""
    kinds = [a.dtype] if hasattr(a, "dtype") else list(getattr(a, "dtypes", []))
    if not any(hasattr(kind, "pyarrow_dtype") or str(kind).startswith("Float") for kind in kinds):
        return a.to_numpy()
    if len(kinds) == 1 and hasattr(kinds[0], "pyarrow_dtype") and is_vector(kinds[0].pyarrow_dtype):
        return _arrow(pyarrow().chunked_array(a.array.__arrow_array__()), name)
    if not all(kind.kind == "f" for kind in kinds):
        raise TypeError(f"{name} must hold floating-point embeddings; got columns of {', '.join(map(str, set(kinds)))}")
    return a.to_numpy(np.float64, na_value=np.nan)


def _stacked(column: np.ndarray, name: str) -> np.ndarray:
    """An array (n, d) of an object array (n,) of vectors."""
    first = column[0]
    if isinstance(first, str | bytes):
        what = "json.loads of each" if isinstance(first, str) else "np.frombuffer(each, np.float32)"
        raise TypeError(f"{name} holds {type(first).__name__}, not vectors; write np.stack of {what}")
    sizes = [np.shape(row) if isinstance(row, np.ndarray | list | tuple) else None for row in column]
    size = next((size for size in sizes if size is not None), None)
    if size is None:
        return column
    _refuse(name, "no vector", [row for row, other in enumerate(sizes) if other is None])
    _refuse(name, f"another length than {size}", [row for row, other in enumerate(sizes) if other != size])
    return np.stack(list(column))


def _refuse(name: str, what: str, rows: Any) -> None:
    if len(rows):
        more = ", ..." if len(rows) > 5 else ""
        raise ValueError(f"{name} has {what} in {len(rows)} rows: {', '.join(map(str, rows[:5]))}{more}")
