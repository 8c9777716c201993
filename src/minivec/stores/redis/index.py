"""An index of RediSearch: what the server tells of it, and the command that makes one like it."""

from typing import Any

from minivec.arrow import is_text
from minivec.stores.errors import Refused
from minivec.stores.packing import KINDS
from minivec.stores.shown import mark

KNOWN = ("identifier", "attribute", "type", "flags")  # what the server tells of every attribute
VECTOR = {"data_type": "TYPE", "dim": "DIM"}  # names of parameters that the command spells otherwise


def plain(told: Any) -> Any:
    """An answer of the server with text for bytes."""
    if isinstance(told, dict):
        return {plain(name): plain(value) for name, value in told.items()}
    if isinstance(told, list):
        return [plain(value) for value in told]
    return told.decode(errors="surrogateescape") if isinstance(told, bytes) else told


def vectors(info: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The attributes of vectors that can be mapped, by name."""
    found = {item["attribute"]: item for item in info["attributes"] if item["type"] == "VECTOR"}
    return {name: item for name, item in found.items() if item.get("data_type") in KINDS}


def prefixes(info: dict[str, Any]) -> list[str]:
    """The beginnings of the keys that the index is for."""
    return list(info["index_definition"]["prefixes"])


def is_json(info: dict[str, Any]) -> bool:
    """Whether the index is on JSON documents, and not on hashes."""
    return info["index_definition"]["key_type"] == "JSON"


def attribute(item: dict[str, Any], **changes: Any) -> list[str]:
    """One attribute as the commands FT.CREATE and FT.ALTER take it, with these values instead of its own."""
    item = {**item, **changes}
    flags, rest = list(item.get("flags", ())), {key: value for key, value in item.items() if key not in KNOWN}
    words = [item["identifier"], "AS", item["attribute"], item["type"]]
    if item["type"] == "VECTOR":
        parameters = [VECTOR.get(key, key.upper()) for key in rest if key != "algorithm"]
        pairs = [str(word) for pair in zip(parameters, _values(rest), strict=True) for word in pair]
        words += [item["algorithm"], str(len(pairs)), *pairs]
    elif item["type"] == "GEOSHAPE":
        words += [str(value) for value in rest.values()]
    else:
        words += [
            str(word) for pair in rest.items() if pair[1] != "" for word in pair
        ]  # tags of JSON have no separator
    last = [flag for flag in ("SORTABLE", "UNF", "NOINDEX") if flag in flags]  # which the server wants at the end
    return [*words, *(flag for flag in flags if flag not in last), *last]


def _values(rest: dict[str, Any]) -> list[Any]:
    return [value for key, value in rest.items() if key != "algorithm"]


def create(info: dict[str, Any], name: str, prefix: str, attributes: list[list[str]]) -> list[str]:
    """The command that makes an index with the settings of ``info`` for keys with this prefix."""
    definition = info["index_definition"]
    words = ["FT.CREATE", name, "ON", definition["key_type"], "PREFIX", "1", prefix]
    for key, option in (("filter", "FILTER"), ("default_language", "LANGUAGE"), ("language_field", "LANGUAGE_FIELD")):
        words += [option, definition[key]] if definition.get(key) else []
    for key, option in (("default_score", "SCORE"), ("score_field", "SCORE_FIELD"), ("payload_field", "PAYLOAD_FIELD")):
        words += [option, str(definition[key])] if definition.get(key) else []
    words += info.get("index_options", [])
    if (stopwords := info.get("stopwords_list")) is not None:
        words += ["STOPWORDS", str(len(stopwords)), *stopwords]
    return [*words, "SCHEMA", *(word for words in attributes for word in words)]


def path_of(identifier: str, store: object) -> list[str]:
    """The names that lead to a field of a JSON document; Refused for a path of several fields."""
    names = identifier.removeprefix("$.").split(".")
    if not identifier.startswith("$.") or any(set(name) & set("[]*@?()'\"") or not name for name in names):
        raise Refused(f"{store}: vectors at {identifier!r} cannot be mapped: a path of plain names is expected")
    return names


def plain_index(schema: Any, key: str | None, column: str | None) -> tuple[dict[str, Any], list[list[str]]]:
    """An index on hashes for the columns of another kind of store, and its attributes without the vectors."""
    from pyarrow import types

    made = []
    for field in schema:
        text = is_text(field.type) and not mark(field)
        number = types.is_integer(field.type) or types.is_floating(field.type)
        if field.name not in (key, column) and (text or number):
            item = {"identifier": field.name, "attribute": field.name, "type": "TEXT" if text else "NUMERIC"}
            made.append(attribute(item))
    return {"index_definition": {"key_type": "HASH"}}, made
