"""Pinecone's records as rows of Arrow, and the way back."""

import base64
import json
import math
from collections.abc import Iterator, Sequence
from typing import Any
from urllib.parse import quote

from minivec.stores.base import Block, Store
from minivec.stores.requests import NUMBER
from minivec.stores.shown import FIELDS, JSON, mark, marked, plain

COLUMNS = ("id", "metadata", "sparse_values")
ID, METADATA = 512, 40 << 10  # the most characters of an id, and bytes of a record's metadata, that Pinecone takes
EXACT = 2**53  # numbers are floats there, which are exact up to here
IDS, ADDRESS = 1_000, 6_000  # the most ids that are fetched together, and characters that they take in the address


def fields() -> list[Any]:
    """The columns beside the vectors: the id, the metadata as JSON, and the sparse vector as JSON."""
    import pyarrow as pa

    return [pa.field("id", pa.string(), nullable=False), marked("metadata", FIELDS), marked("sparse_values", JSON)]


def table(records: Sequence[Any]) -> Any:
    """Records of the client as Arrow, without their vectors."""
    import pyarrow as pa

    columns: list[list[Any]] = [[record.id for record in records]]
    columns.append([_dumped({k: _exact(v) for k, v in (record.metadata or {}).items()}) for record in records])
    columns.append([None if record.sparse_values is None else _sparse(record.sparse_values) for record in records])
    return pa.Table.from_arrays([pa.array(column, pa.string()) for column in columns], schema=pa.schema(fields()))


def _exact(value: Any) -> Any:
    """A number that is whole as an int: Pinecone has only floats."""
    return int(value) if isinstance(value, float) and value.is_integer() and abs(value) <= EXACT else value


def _sparse(sparse: Any) -> str:
    return _dumped({"indices": [int(i) for i in sparse.indices], "values": [float(x) for x in sparse.values]})


def _dumped(value: Any) -> str:
    return json.dumps(value, sort_keys=True, ensure_ascii=False)


def ids_of(keys: Sequence[Any], store: Store) -> list[str]:
    """The ids for these keys; Refused for those that Pinecone does not take."""
    ids = [str(key) for key in keys]
    odd = [i for i, key in enumerate(ids) if not key.isascii() or not key or "\0" in key or len(key) > ID]
    store.refuse(f"a key that is no id of Pinecone (1 to {ID} characters of ASCII)", odd, keys)
    return ids


def parts(ids: Sequence[str]) -> Iterator[list[str]]:
    """The ids in parts that fit into the address of a request."""
    part: list[str] = []
    length = 0
    for key in ids:
        more = len(quote(key, safe="")) + len("&ids=")
        if part and (len(part) == IDS or length + more > ADDRESS):
            yield part
            part, length = [], 0
        part.append(key)
        length += more
    if part:
        yield part


def as_records(block: Block, vectors: Sequence[str | None], store: Store) -> tuple[list[dict[str, Any]], list[int]]:
    """The rows of a block as the client takes them, and the bytes of each; ``vectors`` are columns to leave out.

    Refused names rows with an id, a number or metadata that Pinecone does not take.
    """
    metadata, sparse = _metadata(block, vectors, store)
    records, sizes, long = [], [], []
    for i, (key, x, more) in enumerate(zip(ids_of(block.keys, store), block.vectors, metadata, strict=True)):
        record: dict[str, Any] = {"id": key, "values": x.tolist()}
        record |= {"metadata": more} if more else {}
        record |= {"sparse_values": sparse[i]} if sparse[i] is not None else {}
        size = len(_dumped(more).encode())
        long += [i] if size > METADATA else []
        records.append(record)
        sizes.append(NUMBER * (len(x) + 2 * len((sparse[i] or {}).get("indices", ()))) + size + len(key) + 100)
    store.refuse(f"metadata of more than {METADATA:,} bytes", long, block.keys)
    return records, sizes


def _metadata(block: Block, vectors: Sequence[str | None], store: Store) -> tuple[list[dict[str, Any]], list[Any]]:
    """The metadata of each row, and its sparse vector or None."""
    rows: list[dict[str, Any]] = [{} for _ in block.keys]
    sparse: list[Any] = [None] * len(rows)
    payload = block.payload
    own = payload is not None and set(COLUMNS) <= set(payload.schema.names)
    for field in () if payload is None else payload.schema:
        values = payload.column(field.name).to_pylist()
        if own and field.name == "sparse_values":
            sparse = [None if value is None else json.loads(value) for value in values]
        elif field.name in vectors or own and field.name == "id":
            continue
        elif mark(field) == FIELDS:
            for row, value in zip(rows, values, strict=True):
                row.update({name: _given(item) for name, item in json.loads(value or "{}").items() if item is not None})
        else:
            _refuse_numbers(field.name, values, block.keys, store)
            for row, value in zip(rows, values, strict=True):
                if value is not None:
                    row[field.name] = _given(value)
    return rows, sparse


def _refuse_numbers(name: str, values: list[Any], keys: Sequence[Any], store: Store) -> None:
    """Refused for numbers that would not come back as they are."""
    large = [i for i, value in enumerate(values) if isinstance(value, int) and abs(value) > EXACT]
    store.refuse(f"a whole number beyond 2**53, which would be rounded, in column {name!r}", large, keys)
    odd = [i for i, value in enumerate(values) if isinstance(value, float) and not math.isfinite(value)]
    store.refuse(f"NaN or infinity, which Pinecone has not, in column {name!r}", odd, keys)


def _given(value: Any) -> Any:
    """A value as metadata has it: a text, a number, a boolean, or a list of texts; anything else as a text."""
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        return value
    value = plain(value)
    return _dumped(value) if isinstance(value, (dict, list)) else value
