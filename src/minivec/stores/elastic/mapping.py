"""An index: its fields of vectors, and what a new one takes over from it or makes of Arrow's columns."""

import copy
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from minivec.arrow import is_text
from minivec.stores.errors import Refused
from minivec.stores.shown import mark

OWN = (  # settings that belong to one index, or that would change or hide rows while they are copied
    *("uuid", "creation_date", "provided_name", "version", "history", "resize", "blocks", "store.type"),
    *("store.snapshot", "remote_store", "routing.allocation.initial_recovery", "verified_before_close", "frozen"),
)
LEFT = {  # and those that are left out and told
    "final_pipeline": "it would change the rows again",
    "lifecycle": "the new index would be rolled over or deleted by it",
    "plugins.index_state_management": "the new index would be rolled over or deleted by it",
}
UNIT = 1e-3  # how far from 1 the square of a length may be where only unit vectors are taken
SMALLEST = 64  # numbers that a vector needs for bbq


@dataclass(frozen=True)
class Kind:
    """The type of vectors that an engine has.

    ``width`` names its parameter for the width, ``most`` is the largest. ``numbers`` is the parameter for the type of
    the numbers, and those that can be mapped; the first is the default. ``plain`` is a field for another kind of store,
    and ``settings`` are those that its index needs.
    """

    name: str
    width: str
    numbers: tuple[str, tuple[str, ...]]
    most: int
    plain: dict[str, Any]
    settings: dict[str, Any]


def fields(mappings: dict[str, Any], kind: Kind, nested: bool = False) -> Iterator[tuple[str, dict[str, Any], bool]]:
    """The fields of vectors: path, settings, and whether they lie in nested documents."""
    for name, field in mappings.get("properties", {}).items():
        if field.get("type") == kind.name:
            yield name, field, nested
        for path, inner, deep in fields(field, kind, nested or field.get("type") == "nested"):
            yield f"{name}.{path}", inner, deep


def chosen(mappings: dict[str, Any], kind: Kind, column: str | None, store: object) -> tuple[str, dict[str, Any]]:
    """The field of vectors of this name, or the only one; Refused for one that cannot be mapped."""
    found = {path: (field, nested) for path, field, nested in fields(mappings, kind)}
    if column is None and len(found) == 1:
        column = next(iter(found))
    if column is None or column not in found:
        wanted = f"no vectors named {column!r}" if column else "name one field of vectors (column=)"
        raise Refused(f"{store}: {wanted}; there is {', '.join(found) or f'none of type {kind.name}'}")
    (field, nested), (name, known) = found[column], kind.numbers
    if nested:
        raise Refused(f"{store}: {column!r} lies in nested documents, several vectors a row, which cannot be mapped")
    if (number := field.get(name, known[0])) not in known:
        raise Refused(f"{store}: {column!r} has vectors of {number}, which cannot be mapped; expected {known[0]}")
    if kind.width not in field:
        raise Refused(f"{store}: {column!r} has no {kind.width} in the mapping: it has no vectors yet, or a model")
    return column, field


def inside(mappings: dict[str, Any], path: str) -> dict[str, Any]:
    """The settings of the field at this path."""
    for name in path.split("."):
        mappings = mappings["properties"][name]
    return mappings


def like(field: dict[str, Any], kind: Kind, width: int) -> dict[str, Any]:
    """A field of vectors with the settings of another one at another width, without those that do not fit it."""
    made = {**copy.deepcopy(field), kind.width: width}
    options = str(made.get("index_options", {}).get("type", ""))
    if options.startswith("bbq") and width < SMALLEST or options.startswith("int4") and width % 2:
        del made["index_options"]
    parameters = made.get("method", {}).get("parameters", {})
    encoder = parameters.get("encoder", {})
    if encoder.get("name") == "pq" and width % int(encoder.get("parameters", {}).get("m", 1)):
        del parameters["encoder"]
    return made


def with_field(mappings: dict[str, Any], column: str | None, name: str, field: dict[str, Any]) -> dict[str, Any]:
    """The mappings with this field of vectors in place of ``column``."""
    made = copy.deepcopy(mappings)
    if column is not None and column != name:
        *above, last = column.split(".")
        del (inside(made, ".".join(above)) if above else made)["properties"][last]
    place = made
    *above, last = name.split(".")
    for part in above:
        place = place.setdefault("properties", {}).setdefault(part, {})
    place.setdefault("properties", {})[last] = field
    return made


def settings(told: dict[str, Any]) -> dict[str, Any]:
    """The settings of a new index, of those that the server tells of another one."""
    return {name: value for name, value in told.items() if not _begins(name, OWN) and not _begins(name, tuple(LEFT))}


def _begins(name: str, parts: tuple[str, ...]) -> bool:
    plain = name.removeprefix("index.")
    return any(plain == part or plain.startswith(f"{part}.") for part in parts)


def losses(info: dict[str, Any], column: str) -> list[str]:
    """What a new index has otherwise, a line each."""
    told = []
    for name, value in info["settings"].items():
        for part, why in LEFT.items():
            if _begins(name, (part,)):
                told.append(f"setting {name} ({value}) is left out: {why}")
    if (pipeline := info["settings"].get("index.default_pipeline", "_none")) != "_none":
        told.append(f"ingest pipeline {pipeline!r} is kept, and not run on the rows: see that it has no old model")
    for path, field in _texts(info["mappings"]):
        told.append(f"field {path!r} (semantic_text) is embedded again, by its own model {field.get('inference_id')!r}")
    field = inside(info["mappings"], column)
    options = str(field.get("index_options", {}).get("type", ""))
    if options.startswith("bbq"):
        told.append(f"index_options {options!r} are left out if the new width is below {SMALLEST}")
    if options.startswith("int4"):
        told.append(f"index_options {options!r} are left out if the new width is odd")
    encoder = field.get("method", {}).get("parameters", {}).get("encoder", {})
    if encoder.get("name") == "pq":
        told.append(f"the encoder 'pq' is left out if the new width is no multiple of its m {encoder['parameters']}")
    return told


def _texts(mappings: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for name, field in mappings.get("properties", {}).items():
        if field.get("type") == "semantic_text":
            yield name, field
        yield from ((f"{name}.{path}", inner) for path, inner in _texts(field))


def not_unit(field: dict[str, Any], vectors: np.ndarray) -> np.ndarray:
    """The numbers of the rows (m, width) that the field does not take for their length."""
    if field.get("similarity") != "dot_product" or field.get("index") is False:
        return np.array([], int)
    squares = np.einsum("ij,ij->i", vectors, vectors, dtype=np.float64)
    return np.flatnonzero((np.abs(squares - 1) > UNIT) & (squares > 0))


def of_arrow(schema: Any, key: str | None, column: str | None) -> dict[str, Any]:
    """The mappings for the columns of another kind of store; the server finds out those of JSON by itself."""
    from pyarrow import types

    made: dict[str, Any] = {}
    for field in schema:
        kind = field.type
        if field.name in (key, column) or mark(field):
            continue
        if is_text(kind):
            whole = {"type": "keyword", "ignore_above": 256}
            made[field.name] = {"type": "text", "fields": {"keyword": whole}}
        elif types.is_boolean(kind):
            made[field.name] = {"type": "boolean"}
        elif types.is_integer(kind):
            made[field.name] = {"type": "unsigned_long" if types.is_uint64(kind) else "long"}
        elif types.is_floating(kind):
            made[field.name] = {"type": "double" if types.is_float64(kind) else "float"}
        elif types.is_date(kind) or types.is_timestamp(kind):
            made[field.name] = {"type": "date"}
    return {"date_detection": False, "properties": made}
