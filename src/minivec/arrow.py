"""Arrow columns of vectors as NumPy arrays."""

from collections.abc import Callable
from typing import Any

import numpy as np


def pyarrow() -> Any:
    """PyArrow with the modules that are used of it, or an ImportError that says how to get it."""
    try:
        import pyarrow
        import pyarrow.compute
        import pyarrow.parquet
        import pyarrow.types
    except ImportError as error:
        raise ImportError("Parquet files need PyArrow: pip install 'minivec[parquet]'") from error
    return pyarrow


def is_vector(kind: Any) -> bool:
    """Whether an Arrow type is a list of floats."""
    types = pyarrow().types
    is_list = types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind)
    return is_list and types.is_floating(kind.value_type)


def list_vectors(column: Any, width: int, refuse: Callable[[str, Any], None]) -> np.ndarray:
    """An Arrow array of lists as an (m, width) array, a view where it can be one.

    ``refuse(what, rows)`` hears the numbers of the rows that are null, of another length, or hold nulls.
    """
    lengths = pyarrow().compute.list_value_length(column).fill_null(-1).to_numpy(zero_copy_only=False)
    refuse("null instead of a vector", np.flatnonzero(column.is_null()))
    refuse(f"another length than {width}", np.flatnonzero(lengths != width))
    values = column.flatten()
    if values.null_count:
        nulls = values.is_null().to_numpy(zero_copy_only=False).reshape(-1, width)
        refuse("null inside the vector", np.flatnonzero(nulls.any(axis=1)))
    return values.to_numpy(zero_copy_only=False).reshape(len(column), width)
