"""Documents of Elasticsearch and OpenSearch as rows of Arrow, and the way back."""

import json
from collections.abc import Sequence
from typing import Any

import numpy as np

from minivec.stores.base import Block
from minivec.stores.shown import FIELDS, mark, marked, plain
from minivec.stores.trees import taken_out

ROUNDED = 1e-6  # what a number of a vector may lose where the server keeps its direction and length apart
COLUMNS = ("_id", "document", "routing")


def table(keys: list[str], documents: list[str], routes: list[str | None]) -> Any:
    """Rows as Arrow."""
    import pyarrow as pa

    schema = pa.schema([("_id", pa.string()), marked("document", FIELDS), ("routing", pa.string())])
    columns = [pa.array(values, pa.string()) for values in (keys, documents, routes)]
    return pa.Table.from_arrays(columns, schema=schema)


def taken_from(tree: dict[str, Any], column: str) -> Any:
    """Take the vector out of a document, which may name its path in one word."""
    return tree.pop(column) if column in tree else taken_out(tree, column.split("."))


def near(one: Any, other: Any) -> bool:
    """Whether two vectors of documents are equal but for rounding."""
    both = isinstance(one, list) and isinstance(other, list) and len(one) == len(other)
    return one == other or both and bool(np.allclose(one, other, rtol=ROUNDED, atol=ROUNDED))


def put_into(tree: dict[str, Any], column: str, vector: Any) -> None:
    """Put a vector into a document: where its path is there, and otherwise under its path in one word."""
    *above, last = column.split(".")
    place: Any = tree
    for name in above:
        place = place.get(name) if isinstance(place, dict) else None
    if isinstance(place, dict):
        place[last] = vector
    else:
        tree[column] = vector


def documents_of(block: Block, left_out: Sequence[str | None]) -> tuple[list[dict[str, Any]], list[str | None]]:
    """What each row of a block is without its vector, and its routing.

    Of the rows of another kind of store the columns ``left_out`` are left out.
    """
    payload, count = block.payload, len(block.keys)
    if payload is not None and set(COLUMNS) <= set(payload.schema.names):
        texts, routes = (payload.column(name).to_pylist() for name in COLUMNS[1:])
        return [json.loads(text) for text in texts], routes
    rows: list[dict[str, Any]] = [{} for _ in range(count)]
    for field in () if payload is None else payload.schema:
        if field.name in left_out:
            continue
        kind = mark(field)
        for row, value in zip(rows, payload.column(field.name).to_pylist(), strict=True):
            if kind == FIELDS:
                row.update(json.loads(value or "{}"))
            elif value is not None:
                row[field.name] = json.loads(value) if kind else plain(value)
    return rows, [None] * count
