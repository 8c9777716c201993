"""Redis's hashes and JSON documents as rows of Arrow, and the way back."""

import base64
import json
from collections.abc import Sequence
from typing import Any

import numpy as np

from minivec.stores.base import Block
from minivec.stores.shown import FIELDS, mark, marked

COLUMNS = ("key", "document", "expires")


def document(fields: dict[bytes, bytes]) -> str:
    """The fields of a hash as JSON; a value that is no text is an object with ``base64``."""
    return dumped({name.decode(errors="surrogateescape"): _text(value) for name, value in fields.items()})


def _text(value: bytes) -> Any:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(value).decode()}


def fields(text: str) -> dict[bytes, bytes]:
    """The fields of a hash, of ``document``."""
    return {
        name.encode(errors="surrogateescape"): value.encode()
        if isinstance(value, str)
        else base64.b64decode(value["base64"])
        for name, value in json.loads(text).items()
    }


def dumped(value: Any) -> str:
    """JSON that is equal where the values are, in ASCII."""
    return json.dumps(value, sort_keys=True)


def taken_out(tree: Any, path: list[str]) -> Any:
    """Remove and return what lies at this path of a document; None where there is nothing."""
    for name in path[:-1]:
        tree = tree.get(name) if isinstance(tree, dict) else None
    return tree.pop(path[-1], None) if isinstance(tree, dict) else None


def put_in(tree: Any, path: list[str], value: Any) -> None:
    """Set what lies at this path of a document."""
    for name in path[:-1]:
        tree = tree.setdefault(name, {})
    tree[path[-1]] = value


def table(keys: list[str], documents: list[str], expires: list[int | None]) -> Any:
    """Rows as Arrow."""
    import pyarrow as pa

    times = pa.timestamp("ms", "UTC")
    schema = pa.schema([("key", pa.string()), marked("document", FIELDS), ("expires", times)])
    columns = [pa.array(keys, pa.string()), pa.array(documents, pa.string()), pa.array(expires, pa.int64()).cast(times)]
    return pa.Table.from_arrays(columns, schema=schema)


def documents_of(block: Block, vectors: Sequence[str | None]) -> tuple[list[str], list[int | None]]:
    """What each row of a block is without its vector, as JSON, and when it expires, in milliseconds.

    Of the rows of another kind of store the columns ``vectors`` are left out.
    """
    payload, count = block.payload, len(block.keys)
    if payload is not None and set(COLUMNS) <= set(payload.schema.names):
        import pyarrow as pa

        times = payload.column("expires").cast(pa.int64()).to_pylist()
        return payload.column("document").to_pylist(), times
    rows: list[dict[str, Any]] = [{} for _ in range(count)]
    for field in () if payload is None else payload.schema:
        if field.name in vectors:
            continue
        for row, value in zip(rows, payload.column(field.name).to_pylist(), strict=True):
            given = json.loads(value or "{}") if mark(field) == FIELDS else {field.name: value}
            row.update({name: _plain(value) for name, value in given.items() if value is not None})
    return [dumped(row) for row in rows], [None] * count


def _plain(value: Any) -> Any:
    """A value of Arrow as a field of a hash."""
    if isinstance(value, str):
        return value
    if isinstance(value, bytes):
        return _text(value)
    if hasattr(value, "isoformat"):
        return value.isoformat()
    return json.dumps(value, default=str) if isinstance(value, (bool, list, dict)) else str(value)


def vectors_of(values: list[Any], width: int) -> np.ndarray:
    """Vectors (m, width) float32 of lists of numbers; zeros for None."""
    zero = [0.0] * width
    return np.array([zero if value is None else value for value in values], np.float32).reshape(-1, width)
