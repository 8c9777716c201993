"""Milvus's rows as Arrow and as vectors, and the way back."""

import json
import re
from typing import Any

import numpy as np

from minivec.stores.arrow import cell_sizes
from minivec.stores.base import Block
from minivec.stores.packing import pack, unpack
from minivec.stores.shown import FIELDS, JSON, mark, marked

META, PARTITION = "$meta", "$partition"  # columns for the dynamic fields of a row, as JSON, and for its partition
VECTORS = ("FLOAT_VECTOR", "FLOAT16_VECTOR", "BFLOAT16_VECTOR")
BYTES = ("BINARY_VECTOR", "FLOAT16_VECTOR", "BFLOAT16_VECTOR", "INT8_VECTOR")  # which a row beside has as bytes
TEXTS = ("VARCHAR", "STRING", "GEOMETRY", "TIMESTAMPTZ")
SCALARS = {"BOOL": "bool_", "INT8": "int8", "INT16": "int16", "INT32": "int32", "INT64": "int64"}
SCALARS |= {"FLOAT": "float32", "DOUBLE": "float64", **dict.fromkeys(TEXTS, "string")}


def name_of(kind: Any) -> str:
    """The name of one of Milvus's types."""
    return getattr(kind, "name", str(kind))


def arrow_field(field: dict[str, Any]) -> Any:
    """The Arrow field for one that is not the mapped vector; what Arrow has no type for is JSON text."""
    import pyarrow as pa

    kind = _arrow_type(field)
    if kind == pa.string() and name_of(field["type"]) not in TEXTS:
        return marked(field["name"], JSON)
    return pa.field(field["name"], kind)


def _arrow_type(field: dict[str, Any]) -> Any:
    import pyarrow as pa

    kind = name_of(field["type"])
    if kind in SCALARS:
        return getattr(pa, SCALARS[kind])()
    if kind == "ARRAY" and name_of(field["element_type"]) in SCALARS:
        return pa.list_(getattr(pa, SCALARS[name_of(field["element_type"])])())
    if kind == "FLOAT_VECTOR":
        return pa.list_(pa.float32(), int(field["params"]["dim"]))
    return pa.binary() if kind in BYTES else pa.string()


def cells(field: dict[str, Any], rows: list[dict[str, Any]]) -> Any:
    """One field of some rows as an Arrow array."""
    import pyarrow as pa

    kind, values = _arrow_type(field), [row.get(field["name"]) for row in rows]
    if name_of(field["type"]) in BYTES:
        values = [None if value is None else as_bytes(value) for value in values]
    elif pa.types.is_string(kind) and name_of(field["type"]) not in TEXTS:
        values = [None if value is None else json_text(value) for value in values]
    return pa.array(values, kind)


def as_bytes(value: Any) -> bytes:
    """A vector that the client gives as bytes, as a list of bytes or as an array."""
    if isinstance(value, bytes):
        return value
    if isinstance(value, np.ndarray):
        return value.tobytes()
    return b"".join(part if isinstance(part, bytes) else bytes([part & 0xFF]) for part in value)


def json_text(value: Any) -> str:
    """JSON that is equal where the values are."""
    return json.dumps(value, sort_keys=True, ensure_ascii=False)


def vectors_of(kind: str, values: list[Any], width: int) -> np.ndarray:
    """Vectors (m, width) float32 from a field of this type, one of VECTORS."""
    if kind == "FLOAT_VECTOR":
        return np.array(values, np.float32).reshape(-1, width)
    return unpack([as_bytes(value) for value in values], kind.removesuffix("_VECTOR"), width)


def packed(kind: str, vectors: np.ndarray) -> list[Any]:
    """Vectors (m, width) as a field of this type takes them."""
    if kind == "FLOAT_VECTOR":
        return list(np.ascontiguousarray(vectors, np.float32))
    return list(pack(vectors, kind.removesuffix("_VECTOR")))


def given(kind: str, value: Any) -> Any:
    """A cell of an Arrow table as a field of this type takes it."""
    if value is None or kind in SCALARS and not hasattr(value, "isoformat") and kind not in TEXTS:
        return value
    if kind in TEXTS:
        return value if isinstance(value, str) else value.isoformat() if hasattr(value, "isoformat") else str(value)
    if kind == "SPARSE_FLOAT_VECTOR":
        return {int(key): number for key, number in json.loads(value).items()}
    if kind == "INT8_VECTOR":
        return np.frombuffer(value, np.int8)
    if kind == "ARRAY":
        return [item if isinstance(item, str | int | float) else given("VARCHAR", item) for item in value]
    if kind in (*VECTORS, *BYTES):
        return value
    return json.loads(value) if isinstance(value, str) else json.loads(json.dumps(value, default=str))


def as_rows(
    block: Block, fields: dict[str, dict[str, Any]], key: str, column: str
) -> tuple[list[dict[str, Any]], list[str], list[int]]:
    """The rows of a block as Milvus takes them, the partition of each ("" for the default), and the bytes of each.

    ``fields`` are the collection's, by name. Columns that it has no field for are dynamic fields, if they have values.
    """
    payload, count = block.payload, len(block.keys)
    rows: list[dict[str, Any]] = [{key: value} for value in block.keys]
    for row, vector in zip(rows, packed(name_of(fields[column]["type"]), block.vectors), strict=True):
        row[column] = vector
    places = [""] * count
    sizes = np.full(count, 4 * block.vectors.shape[1] + 64)
    for column_of in () if payload is None else payload.schema:
        name = column_of.name
        if name in (key, column):
            continue
        values, target = payload.column(name).to_pylist(), field_name(name)
        sizes += cell_sizes(values)
        if name == PARTITION:
            places = values
        elif mark(column_of) == FIELDS:
            for row, value in zip(rows, values, strict=True):
                row.update({name: item for name, item in json.loads(value or "{}").items() if name not in fields})
        elif target in fields and target != key:
            kind = name_of(fields[target]["type"])
            for row, value in zip(rows, values, strict=True):
                row[target] = given(kind, value)
    return rows, places, sizes.tolist()


def field_name(name: str) -> str:
    """A name that Milvus takes: letters, digits and underscores; its own columns are as they are."""
    if name in (META, PARTITION):
        return name
    plain = re.sub(r"\W", "_", name, flags=re.ASCII)
    return plain if re.match("[A-Za-z_]", plain) else f"_{plain}"


def quoted(key: Any) -> str:
    """A key in an expression of Milvus, which knows few of the escapes of JSON."""
    if not isinstance(key, str):
        return str(int(key))
    for sign, escape in (("\\", "\\\\"), ('"', '\\"'), ("\n", "\\n"), ("\r", "\\r"), ("\t", "\\t")):
        key = key.replace(sign, escape)
    return f'"{key}"'


def among(key: str, keys: Any) -> str:
    """The expression that is true for rows with these keys."""
    return f"{key} in [{', '.join(map(quoted, keys))}]"
