"""Arrow columns of vectors as NumPy arrays."""

import json
from collections.abc import Callable
from typing import Any

import numpy as np

from minivec.extras import missing

Refuse = Callable[[str, Any], None]  # raises for rows of these numbers (k,), if there are any, and says what they are


def pyarrow() -> Any:
    """PyArrow with the modules that are used of it, or an ImportError that says how to get it."""
    try:
        import pyarrow
        import pyarrow.compute
        import pyarrow.parquet
        import pyarrow.types
    except ImportError as error:
        raise missing("Parquet files need PyArrow", "parquet") from error
    return pyarrow


def _stored(kind: Any) -> Any:
    """The type that an extension type, such as a tensor, is stored as; another type as it is."""
    return getattr(kind, "storage_type", kind)


def is_vector(kind: Any) -> bool:
    """Whether an Arrow type is a list of floats, or a tensor of one dimension."""
    types, stored = pyarrow().types, _stored(kind)
    is_list = types.is_list(stored) or types.is_large_list(stored) or types.is_fixed_size_list(stored)
    return is_list and types.is_floating(stored.value_type) and len(getattr(kind, "shape", [0])) == 1


def is_text(kind: Any) -> bool:
    """Whether an Arrow type is of strings, by themselves or in a dictionary."""
    types = pyarrow().types
    kind = getattr(kind, "value_type", kind) if types.is_dictionary(kind) else kind
    return types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind)


def _is_bytes(kind: Any) -> bool:
    types = pyarrow().types
    return types.is_binary(kind) or types.is_large_binary(kind) or types.is_fixed_size_binary(kind)


def is_encoded(kind: Any) -> bool:
    """Whether an Arrow type may hold vectors as JSON texts or as the bytes of float32 numbers."""
    return is_text(kind) or _is_bytes(kind)


def float_bits(kind: Any) -> int:
    """The bits of a number in a column of this type."""
    return int(_stored(kind).value_type.bit_width) if is_vector(kind) else 32 if _is_bytes(kind) else 64


def fixed_size(kind: Any) -> int:
    """The width that a type of vectors tells, or 0."""
    return int(getattr(_stored(kind), "list_size", 0))


def decoded(column: Any, refuse: Refuse) -> Any:
    """A column of lists: of a tensor, of JSON texts ("[0.1, 0.2]"), of bytes (float32, little-endian), or as it is."""
    column = getattr(column, "storage", column)
    if not is_encoded(column.type):
        return column
    pa, rows, bad = pyarrow(), [], []
    read = _bytes if _is_bytes(column.type) else _json
    for number, value in enumerate(column.to_pylist()):
        try:
            rows.append(None if value is None else read(value))
        except (ValueError, TypeError, OverflowError, RecursionError):
            bad.append(number)
    refuse(f"no {'bytes of float32 numbers' if read is _bytes else 'JSON list of numbers'}", bad)
    return pa.array(rows, pa.list_(pa.float32() if read is _bytes else pa.float64()))


def _bytes(value: bytes) -> np.ndarray:
    return np.frombuffer(value, "<f4")


def _json(value: str) -> np.ndarray:
    row = np.array(json.loads(value), np.float64)
    if row.ndim != 1:
        raise ValueError("not a list of numbers")
    return row


def list_vectors(column: Any, width: int, refuse: Refuse) -> np.ndarray:
    """An Arrow array of lists as an (m, width) array, a view where it can be one.

    ``refuse(what, rows)`` gets the numbers of the rows that are null, of another length, or hold nulls.
    """
    column = getattr(column, "storage", column)
    lengths = pyarrow().compute.list_value_length(column).fill_null(-1).to_numpy(zero_copy_only=False)
    refuse("null instead of a vector", np.flatnonzero(column.is_null()))
    refuse(f"another length than {width}", np.flatnonzero(lengths != width))
    values = column.flatten()
    if values.null_count:
        nulls = values.is_null().to_numpy(zero_copy_only=False).reshape(-1, width)
        refuse("null inside the vector", np.flatnonzero(nulls.any(axis=1)))
    return values.to_numpy(zero_copy_only=False).reshape(len(column), width)


def list_vectors_or_nan(column: Any, width: int, refuse: Refuse) -> np.ndarray:
    """``list_vectors`` with NaN in place of nulls and of empty lists."""
    column = getattr(column, "storage", column)
    lengths = pyarrow().compute.list_value_length(column).fill_null(0).to_numpy(zero_copy_only=False)
    there = (lengths > 0) & column.is_valid().to_numpy(zero_copy_only=False)
    refuse(f"another length than {width}", np.flatnonzero(there & (lengths != width)))
    vectors = np.full((len(column), width), np.nan, np.float32)
    vectors[there] = column.filter(there).flatten().to_numpy(zero_copy_only=False).reshape(-1, width)
    return vectors


def plain_field(field: Any) -> Any:
    """``field`` without what marks its type as an extension, which another type must not keep."""
    metadata = {key: value for key, value in (field.metadata or {}).items() if not key.startswith(b"ARROW:extension:")}
    return field.remove_metadata().with_metadata(metadata) if metadata else field.remove_metadata()


def word_array(words: list[str], where: Any) -> Any:
    """Words as an Arrow array; ValueError for one that is not UTF-8, as Arrow's must be."""
    pa = pyarrow()
    try:
        return pa.array(words, pa.string())
    except UnicodeEncodeError as error:
        raise ValueError(
            f"{where}: the word {error.object.encode(errors='surrogateescape')!r} is not UTF-8; .vec and .bin files "
            "can keep it, Arrow's strings cannot"
        ) from None
