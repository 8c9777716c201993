"""Redis's hashes and JSON documents as rows of Arrow, and the way back."""

import base64
import json
from collections.abc import Sequence
from typing import Any

from minivec.stores.base import Block
from minivec.stores.shown import FIELDS, mark, marked
from minivec.stores.trees import dumped

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
