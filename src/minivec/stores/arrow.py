"""What the stores that speak Arrow share: a table with other vectors, and rows picked from batches."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from minivec.arrow import list_vectors, plain_field
from minivec.stores.base import Block, Store


def vector_field(field: Any, name: str, width: int) -> Any:
    """``field`` (or a new one) under this name, as a list of ``width`` float32."""
    import pyarrow as pa

    kind = pa.list_(pa.float32(), width)
    return pa.field(name, kind) if field is None else plain_field(field).with_name(name).with_type(kind)


def schema_like(schema: Any, column: str | None, name: str, width: int) -> Any:
    """An Arrow schema with vectors of this name and width in place of ``column``, or, without that, behind the rest.

    Without a schema they are all there is.
    """
    import pyarrow as pa

    if schema is None or column not in schema.names:
        return (schema or pa.schema([])).append(vector_field(None, name, width))
    place = schema.get_field_index(column)
    return schema.set(place, vector_field(schema.field(place), name, width))


def with_vectors(block: Block, column: str | None, name: str) -> Any:
    """The rows of ``block`` as a table, with its vectors placed as in ``schema_like``; a missing one is null."""
    import pyarrow as pa

    batch = block.payload
    schema = schema_like(None if batch is None else batch.schema, column, name, block.vectors.shape[1])
    columns = [] if batch is None else list(batch.columns)
    place = schema.get_field_index(name)
    columns[place : place + 1] = [vector_array(block)]
    return pa.Table.from_arrays(columns, schema=schema)


def without_vectors(block: Block, column: str | None) -> Block:
    """``block`` with a payload that has no ``column``, in which numbered stores hand on the old vectors."""
    payload = block.payload
    there = payload is not None and column in payload.schema.names
    return block._replace(payload=payload.drop_columns([column])) if there else block


def vector_array(block: Block) -> Any:
    """The vectors of ``block`` as an Arrow array of lists of float32; a missing one is null."""
    import pyarrow as pa

    rows, width = block.vectors.shape
    values = pa.array(np.ascontiguousarray(block.vectors, np.float32).ravel())
    missing = np.isin(np.arange(rows), block.missing)
    mask = pa.array(missing) if missing.any() else None
    return pa.FixedSizeListArray.from_arrays(values, width, mask=mask)


def read_vectors(column: Any, width: int, keys: Sequence[Any], store: Store) -> tuple[np.ndarray, list[int]]:
    """An Arrow array of lists as (m, width) float32, and the numbers of those that are missing, if they may be."""
    missing = np.flatnonzero(column.is_null()).tolist() if store.skip_nulls else []
    there = column.drop_null() if missing else column
    read = np.asarray(list_vectors(there, width, lambda what, rows: store.refuse(what, rows, keys)), np.float32)
    if not missing:
        return read, []
    vectors = np.zeros((len(column), width), np.float32)
    vectors[np.asarray(column.is_valid())] = read
    return vectors, missing


def picked(batch: Any, rows: np.ndarray, column: str | None) -> Any:
    """Some rows of a batch as a table of their own, without the vectors; None where there are only those."""
    if batch is None:
        return None
    import pyarrow as pa

    table = pa.Table.from_batches([batch])
    return (table if column is None else table.drop_columns([column])).take(rows)


def joined(tables: list[Any], order: np.ndarray) -> Any:
    """The rows of these tables as one in this order; None where there are only vectors."""
    if not tables or tables[0] is None:
        return None
    import pyarrow as pa

    table = pa.concat_tables(tables).replace_schema_metadata(None)
    return table if (order == np.arange(len(order))).all() else table.take(order)


def rebatched(batches: Iterable[Any], size: int) -> Iterator[Any]:
    """The same rows in batches of ``size`` and a last one: a store's own may be far smaller, or empty."""
    import pyarrow as pa

    held: list[Any] = []
    rows = 0
    for batch in batches:
        if not rows and len(batch) == size:
            yield batch  # as it is: to combine is to copy
            continue
        held.append(batch)
        rows += len(batch)
        while rows >= size:
            whole = pa.concat_batches(held)
            yield whole.slice(0, size)
            held, rows = [whole.slice(size)], rows - size
    if rows:
        yield pa.concat_batches(held)


def cell_sizes(values: list[Any]) -> np.ndarray:
    """About how many bytes each value takes in a request (m,)."""
    return np.array([8 if isinstance(v, (int, float, bool)) or v is None else len(_encoded(v)) for v in values], int)


def _encoded(value: Any) -> bytes:
    return value if isinstance(value, bytes) else str(value).encode(errors="surrogatepass")
