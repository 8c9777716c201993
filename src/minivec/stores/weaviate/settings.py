"""What a new Weaviate collection takes over from another one, or from Arrow, and what it does not."""

import copy
import re
from collections.abc import Iterator
from typing import Any

from minivec.arrow import is_text
from minivec.stores.errors import Refused
from minivec.stores.shown import mark
from minivec.stores.weaviate.rows import LEGACY, field_name, kind_of

NAME = r"[A-Z][_0-9A-Za-z]*"  # of a collection
VECTOR = r"[_A-Za-z][_0-9A-Za-z]{0,229}"  # of a vector
INDEX = ("vectorIndexType", "vectorIndexConfig")


def capitalised(name: str) -> str:
    """A collection's name as Weaviate has it."""
    return name[:1].upper() + name[1:]


def vectors(schema: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The settings of a collection's vectors by name; one that has no name is LEGACY."""
    named: dict[str, dict[str, Any]] = schema.get("vectorConfig") or {}
    return dict(named) if named else {LEGACY: {name: schema.get(name) for name in (*INDEX, "vectorizer")}}


def is_legacy(schema: dict[str, Any]) -> bool:
    """Whether a collection has one vector without a name."""
    return not schema.get("vectorConfig")


def is_mixed(schema: dict[str, Any]) -> bool:
    """Whether a collection has a vector without a name, and named ones beside it."""
    return bool(schema.get("vectorConfig") and (schema.get("vectorIndexType") or schema.get("vectorizer")))


def several(vector: dict[str, Any]) -> bool:
    """Whether an object has several vectors under this name."""
    return bool(((vector.get("vectorIndexConfig") or {}).get("multivector") or {}).get("enabled"))


def vectorizer(vector: dict[str, Any]) -> str | None:
    """The module that makes a vector on the server, or None."""
    found = vector.get("vectorizer")
    name = next(iter(found), "none") if isinstance(found, dict) else found
    return None if name in (None, "", "none") else str(name)


def has_tenants(schema: dict[str, Any]) -> bool:
    """Whether each object belongs to a tenant."""
    return bool((schema.get("multiTenancyConfig") or {}).get("enabled"))


def copied(schema: dict[str, Any], column: str, name: str, width: int, new: str) -> dict[str, Any]:
    """The schema of a collection ``new`` with vectors ``name`` of this width, given by the user, for ``column``.

    References of its objects to one another lead to the new objects.
    """
    made = copy.deepcopy(schema) | {"class": new}
    module, index = vectorizer(vectors(schema)[column]), _index(vectors(schema)[column], width)
    if is_legacy(schema) and name == LEGACY:
        made |= {"vectorizer": "none", **index}
    else:
        for part in (*INDEX, "vectorizer"):
            made.pop(part, None)
        others = {other: made["vectorConfig"][other] for other in vectors(schema) if other != column}
        made["vectorConfig"] = others | {name: {"vectorizer": {"none": {}}, **index}}
    for part in (made, *(made.get("properties") or [])):
        if module and is_legacy(schema):
            (part.get("moduleConfig") or {}).pop(module, None)
        if "dataType" in part:
            part["dataType"] = [new if kind == schema["class"] else kind for kind in part["dataType"]]
    return made


def _index(vector: dict[str, Any], width: int) -> dict[str, Any]:
    """A vector's index; Weaviate chooses the segments of a product quantizer where the old number does not fit."""
    index = {part: copy.deepcopy(vector[part]) for part in INDEX if vector.get(part)}
    for config in _quantized(index.get("vectorIndexConfig") or {}):
        if width % int(config["pq"]["segments"]):
            config["pq"]["segments"] = 0
    return index


def _quantized(config: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The parts of an index's settings that have a product quantizer with a number of segments."""
    for part in (config, config.get("hnsw") or {}, config.get("flat") or {}):
        if int((part.get("pq") or {}).get("segments") or 0):
            yield part


def losses(schema: dict[str, Any], others: list[dict[str, Any]], column: str) -> list[str]:
    """What a copy of a collection has otherwise, a line each; ``others`` are the other collections' schemas."""
    told = []
    if (schema.get("invertedIndexConfig") or {}).get("indexTimestamps"):
        told.append("objects get new times of creation and update, by which this collection can be searched")
    if dates := [prop["name"] for prop in carried(schema) if kind_of(prop) in ("date", "date[]")]:
        told.append(f"dates are kept in UTC, to the microsecond: {', '.join(dates)}")
    if module := vectorizer(vectors(schema)[column]):
        told.append(
            f"the new vectors have no vectorizer: {module!r} would embed texts and queries by the old model; "
            "the application embeds them itself"
        )
    if leads := [prop["name"] for prop in schema.get("properties") or [] if _leads_to_several(prop)]:
        told.append(f"references to several collections are left out: {', '.join(leads)}")
    for other in others:
        leads = [p["name"] for p in other.get("properties") or [] if schema["class"] in p["dataType"]]
        if leads and other["class"] != schema["class"]:
            told.append(f"references of {other['class']} go on leading to {schema['class']}: {', '.join(leads)}")
    if (schema.get("objectTtlConfig") or {}).get("enabled"):
        told.append("objects expire, and those copied are written now")
    if any(_quantized(vectors(schema)[column].get("vectorIndexConfig") or {})):
        told.append("Weaviate chooses the segments of the product quantizer if the new width is no multiple of them")
    return told


def _leads_to_several(prop: dict[str, Any]) -> bool:
    return kind_of(prop) == "reference" and len(prop["dataType"]) > 1


def carried(schema: dict[str, Any]) -> list[dict[str, Any]]:
    """The properties that rows bring."""
    return [prop for prop in schema.get("properties") or [] if not _leads_to_several(prop)]


def from_arrow(fields: list[Any], key: tuple[str, Any], new: str, name: str, store: object) -> dict[str, Any]:
    """The schema of a collection for these columns, its key, which is a pair of name and first value, and vectors."""
    made = [{"name": key[0], "dataType": ["text" if isinstance(key[1], str) else "int"], "tokenization": "field"}]
    if made[0]["dataType"] == ["int"]:
        del made[0]["tokenization"]
    for field in fields:
        prop = {"name": field_name(field.name), "dataType": [kind_for(field)]}
        if any(other["name"] == prop["name"] for other in made):
            raise Refused(f"{store}: two columns would be the property {prop['name']!r}: rename {field.name!r}")
        made.append(prop)
    config = {"vectorizer": {"none": {}}, "vectorIndexType": "hnsw", "vectorIndexConfig": {"distance": "cosine"}}
    return {"class": new, "properties": made, "vectorConfig": {name: config}}


def kind_for(field: Any) -> str:
    """The type of the property for a column of Arrow; "text" for what Weaviate has no type for."""
    from pyarrow import types

    kind = field.type
    if mark(field):
        return "text"
    if types.is_binary(kind) or types.is_large_binary(kind) or types.is_fixed_size_binary(kind):
        return "blob"
    if types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind):
        item = _scalar_for(kind.value_type)
        return "text" if item is None else f"{item}[]"
    return _scalar_for(kind) or "text"


def _scalar_for(kind: Any) -> str | None:
    from pyarrow import types

    if types.is_boolean(kind):
        return "boolean"
    if types.is_integer(kind):
        return "int"
    if types.is_floating(kind):
        return "number"
    if types.is_timestamp(kind) and kind.tz is not None:
        return "date"
    return "text" if is_text(kind) or types.is_temporal(kind) or types.is_decimal(kind) else None


def changed(fields: list[Any]) -> list[str]:
    """The columns of Arrow that become another type, a line for them."""
    texts = [f for f in fields if kind_for(f) in ("text", "text[]") and (mark(f) or not _is_text(f.type))]
    told = ", ".join(f"{field.name} ({field.type})" for field in texts)
    return [f"columns become texts: {told}"] if told else []


def _is_text(kind: Any) -> bool:
    return bool(is_text(getattr(kind, "value_type", kind)) or is_text(kind))


def check_names(store: object, collection: str, column: str) -> None:
    """Refused for names that Weaviate does not take."""
    if not re.fullmatch(NAME, collection):
        raise Refused(f"{store}: {collection!r} is no name for a collection: a letter, then letters, digits and _")
    if not re.fullmatch(VECTOR, column):
        raise Refused(f"{store}: {column!r} is no name for a vector: letters, digits and _ (column=)")
