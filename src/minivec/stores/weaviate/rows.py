"""Weaviate's objects as rows of Arrow, and the way back."""

import base64
import json
import math
import re
from collections.abc import Sequence
from typing import Any
from uuid import NAMESPACE_URL, UUID, uuid5

import numpy as np

from minivec.stores.arrow import cell_sizes
from minivec.stores.base import Block, Store
from minivec.stores.shown import JSON, mark, marked, plain

LEGACY = "default"  # what the client calls the vector of a collection that has one without a name
SCALARS = {"text": "string", "string": "string", "uuid": "string", "int": "int64", "number": "float64"}
SCALARS |= {"boolean": "bool_", "blob": "binary"}
EXACT = 2**53  # the client sends whole numbers as floats, which are exact up to here
BESIDE = "_property"  # the end of the column's name for a property that is called like the mapped vector
RESERVED = ("id", "_id", "_additional", "vector")  # which no property may be called


def kind_of(prop: dict[str, Any]) -> str:
    """The type of a property; "reference" for one that leads to other objects."""
    kinds = prop["dataType"]
    return str(kinds[0]) if len(kinds) == 1 and not kinds[0][:1].isupper() else "reference"


def arrow_field(prop: dict[str, Any]) -> Any:
    """The Arrow field of a property; what Arrow has no type for is JSON text."""
    import pyarrow as pa

    kind = _arrow_type(kind_of(prop))
    return marked(prop["name"], JSON) if kind is None else pa.field(prop["name"], kind)


def _arrow_type(kind: str) -> Any:
    import pyarrow as pa

    if kind == "reference":
        return pa.list_(pa.string())
    if kind.endswith("[]") and kind != "object[]":
        return pa.list_(_arrow_type(kind[:-2]))
    if kind == "date":
        return pa.timestamp("us", "UTC")
    return getattr(pa, SCALARS[kind])() if kind in SCALARS else None


def cells(prop: dict[str, Any], objects: Sequence[Any]) -> Any:
    """One property of some objects as an Arrow array."""
    import pyarrow as pa

    kind, name = kind_of(prop), prop["name"]
    if kind == "reference":
        leads = [(row.references or {}).get(name) for row in objects]
        values = [None if lead is None else [str(target.uuid) for target in lead.objects] for lead in leads]
    else:
        values = [_read(kind, row.properties.get(name)) for row in objects]
    return pa.array(values, _arrow_type(kind) or pa.string())


def _read(kind: str, value: Any) -> Any:
    """A value of the client as Arrow takes it."""
    if value is None:
        return None
    if kind in ("uuid", "uuid[]"):
        return [*map(str, value)] if isinstance(value, list) else str(value)
    if kind == "blob":
        return base64.b64decode(value)
    if kind == "geoCoordinates":  # in single precision
        value = {name: float(str(np.float32(getattr(value, name)))) for name in ("latitude", "longitude")}
    elif kind == "phoneNumber":  # the rest is worked out from these
        value = {"defaultCountry": value.default_country, "input": value.number}
    if _arrow_type(kind) is not None:
        return value
    return json.dumps(_given_alone(plain(value)), sort_keys=True, ensure_ascii=False)


def _given_alone(value: Any) -> Any:
    """A nested value without the properties that it lacks, which the server gives as null."""
    if isinstance(value, dict):
        return {name: _given_alone(item) for name, item in value.items() if item is not None}
    return [*map(_given_alone, value)] if isinstance(value, list) else value


def vector_cells(name: str, several: bool, objects: Sequence[Any]) -> Any:
    """Other vectors of some objects as an Arrow array: a list of numbers, or ``several`` such lists, for each."""
    import pyarrow as pa

    numbers = pa.list_(pa.float32())
    return pa.array([row.vector.get(name) or None for row in objects], pa.list_(numbers) if several else numbers)


def as_objects(
    block: Block, schema: dict[str, Any], columns: dict[str, str | None], store: Store
) -> tuple[list[Any], Any]:
    """The properties, references and other vectors of each row of a block, and the bytes of each.

    ``schema`` is the collection's, ``columns`` the names of its other vectors by their columns; None is for
    the mapped one, which is not among them.
    """
    rows: list[Any] = [({}, {}, {}) for _ in block.keys]
    sizes = np.full(len(rows), 4 * block.vectors.shape[1] + 200)
    props = {prop["name"]: prop for prop in schema.get("properties") or []}
    for field in () if block.payload is None else block.payload.schema:
        values = block.payload.column(field.name).to_pylist()
        if field.name in columns and columns[field.name] is None:
            continue
        if field.name in columns:
            part, given, name = 2, values, columns[field.name]
        elif (prop := _property(props, field.name)) is not None:
            part, given = int(kind_of(prop) == "reference"), _given(prop, field, values, block.keys, store)
            name = prop["name"]
        else:
            continue
        sizes += cell_sizes(values) + len(field.name) + 16
        for row, value in zip(rows, given, strict=True):
            if value is not None:
                row[part][name] = value
    return rows, sizes.tolist()


def _property(props: dict[str, dict[str, Any]], column: str) -> dict[str, Any] | None:
    """The property for a column."""
    return props.get(field_name(column)) or props.get(column.removesuffix(BESIDE))


def _given(prop: dict[str, Any], field: Any, values: list[Any], keys: Sequence[Any], store: Store) -> list[Any]:
    """A column as the values that the client takes for a property; Refused where one cannot be kept."""
    kind = kind_of(prop)
    if kind == "int":
        odd = [i for i, value in enumerate(values) if value is not None and abs(value) > EXACT]
        store.refuse(f"a whole number beyond 2**53, which would be rounded, in column {field.name!r}", odd, keys)
    if kind == "number":
        odd = [i for i, value in enumerate(values) if value is not None and not math.isfinite(value)]
        store.refuse(f"NaN or infinity, which Weaviate has not, in column {field.name!r}", odd, keys)
    if kind.endswith("[]") and _arrow_type(kind) is not None:
        odd = [i for i, value in enumerate(values) if value is not None and None in value]
        store.refuse(f"a null in a list, which Weaviate has not, in column {field.name!r}", odd, keys)
    return [None if value is None else _written(kind, value, mark(field) is not None) for value in values]


def _written(kind: str, value: Any, is_json: bool) -> Any:
    """A value of Arrow as the client takes it for a property of this type."""
    if kind == "blob":
        return base64.b64encode(value).decode()
    if kind in ("geoCoordinates", "phoneNumber"):
        from weaviate.classes.data import GeoCoordinate, PhoneNumber

        read = json.loads(value)
        if kind == "geoCoordinates":
            return GeoCoordinate(**read)
        return PhoneNumber(number=read["input"], default_country=read["defaultCountry"] or None)
    if kind == "text":
        if isinstance(value, (dict, list)):
            return json.dumps(plain(value), ensure_ascii=False)
        return value if isinstance(value, str) else str(plain(value))
    if kind == "text[]":
        return [item if isinstance(item, str) else str(plain(item)) for item in value]
    return json.loads(value) if is_json else value


def field_name(name: str) -> str:
    """A name that Weaviate takes for a property: letters, digits and underscores, and none of its own."""
    plainly = re.sub(r"\W", "_", name, flags=re.ASCII)
    plainly = plainly if re.match("[A-Za-z_]", plainly) else f"_{plainly}"
    return f"{plainly}_" if plainly in RESERVED else plainly


def uuid_of(key: Any) -> str:
    """The UUID of a row with this key: the key itself, or a hash of it (version 5)."""
    text = str(key)
    try:
        return text if str(UUID(text)) == text else str(uuid5(NAMESPACE_URL, text))
    except ValueError:
        return str(uuid5(NAMESPACE_URL, text))
