"""What a new Milvus collection takes over from another one, or from Arrow, and what it does not."""

from typing import Any

from minivec.arrow import is_text
from minivec.stores.milvus.rows import field_name
from minivec.stores.shown import FIELDS, JSON, mark

TEXT, ITEMS = 65_535, 4_096  # the most bytes of a text, and the most values of an array, that Milvus takes
STATUS = {  # what an index says of itself beside its parameters
    *("index_type", "metric_type", "field_name", "index_name", "total_rows", "indexed_rows", "pending_index_rows"),
    *("state", "index_id", "index_state_fail_reason", "mmap_enabled", "min_index_version", "max_index_version"),
}
ITEM_TYPES = ("BOOL", "INT32", "INT64", "FLOAT", "DOUBLE", "VARCHAR")
FLAGS = ("is_partition_key", "is_clustering_key", "nullable")


def outputs(info: dict[str, Any]) -> set[str]:
    """The fields that the server computes itself."""
    return {name for function in info.get("functions", ()) for name in function["output_field_names"]}


def embeds(function: dict[str, Any], column: str) -> bool:
    """Whether a function of the collection makes the mapped vectors."""
    return column in function["output_field_names"]


def copied(client: Any, info: dict[str, Any], column: str, name: str, width: int) -> Any:
    """The schema of a collection with vectors ``name`` of this width in place of ``column``."""
    made = client.create_schema(
        enable_dynamic_field=info["enable_dynamic_field"], description=info.get("description", "")
    )
    for field in info["fields"]:
        options = dict(field["params"]) | {flag: True for flag in FLAGS if field.get(flag)}
        if field["name"] == column:
            made.add_field(name, field["type"], description=field["description"], **(options | {"dim": width}))
            continue
        if field.get("element_type"):
            options["element_type"] = field["element_type"]
        if field.get("default_value") is not None:
            options["default_value"] = default(field["default_value"])
        if field.get("is_primary"):
            options |= {"is_primary": True, "auto_id": False}
        made.add_field(field["name"], field["type"], description=field["description"], **options)
    for function in info.get("functions", ()):
        if not embeds(function, column):
            made.add_function(_function(function))
    return made


def default(value: Any) -> Any:
    """A default value, which the client hands on as it came from the server."""
    which = getattr(value, "WhichOneof", lambda _: None)("data")
    return value if which is None else getattr(value, which)


def _function(function: dict[str, Any]) -> Any:
    from pymilvus import Function, FunctionType

    return Function(
        name=function["name"],
        function_type=FunctionType(function["type"]),
        input_field_names=list(function["input_field_names"]),
        output_field_names=list(function["output_field_names"]),
        params=function.get("params") or {},
        description=function.get("description", ""),
    )


def indexes(client: Any, found: list[dict[str, Any]], column: str, name: str, width: int) -> Any:
    """The indexes of a collection for a new one, whose vectors ``name`` stand for ``column``."""
    made = client.prepare_index_params()
    for index in found:
        field = name if index["field_name"] == column else index["field_name"]
        options = {key: index[key] for key in ("index_type", "metric_type") if index.get(key)}
        params = {key: value for key, value in index.items() if key not in STATUS}
        if field == name and not fits(index, width):
            options["index_type"], params = "AUTOINDEX", {}
        made.add_index(field, index_name=index["index_name"] if field != name else "", params=params, **options)
    if not any(index["field_name"] == column for index in found):
        made.add_index(name, index_type="AUTOINDEX", metric_type="COSINE")
    return made


def fits(index: dict[str, Any], width: int) -> bool:
    """Whether an index can be built on vectors of this width: a product quantizer cuts them into ``m`` equal parts."""
    return "PQ" not in index.get("index_type", "") or width % int(index.get("m") or 1) == 0


def options(info: dict[str, Any]) -> dict[str, Any]:
    """The other arguments of ``create_collection``."""
    made = {"num_shards": info.get("num_shards") or 1, "properties": info.get("properties") or {}}
    if any(field.get("is_partition_key") for field in info["fields"]):
        made["num_partitions"] = info["num_partitions"]
    if info.get("consistency_level_name"):
        made["consistency_level"] = info["consistency_level_name"]
    return made


def losses(info: dict[str, Any], found: list[dict[str, Any]], column: str) -> list[str]:
    """What a copy of a collection has otherwise, a line each."""
    told = []
    for function in info.get("functions", ()):
        if embeds(function, column):
            told.append(f"function {function['name']!r} is left out: it would embed rows by the old model")
    if any(field.get("auto_id") for field in info["fields"]):
        told.append("keys are not given by the server (auto_id) any more: rows keep theirs, new ones must bring one")
    if seconds := (info.get("properties") or {}).get("collection.ttl.seconds"):
        told.append(f"rows expire {seconds} seconds after they are written, and those copied are written now")
    told += [
        f"index {index['index_name']!r} ({index['index_type']}, m={index['m']}) becomes AUTOINDEX if the new width is "
        f"no multiple of {index['m']}"
        for index in found
        if index["field_name"] == column and not fits(index, 1)
    ]
    return told


def from_arrow(client: Any, schema: Any, key: Any, column: str, width: int) -> Any:
    """A schema for the columns of another kind of store, but those that ``untaken`` names.

    ``key`` is the name of the key and one of its values.
    """
    from pymilvus import DataType

    made = client.create_schema(enable_dynamic_field=any(mark(field) == FIELDS for field in schema))
    name, value = key
    if isinstance(value, str):
        made.add_field(name, DataType.VARCHAR, is_primary=True, max_length=TEXT)
    else:
        made.add_field(name, DataType.INT64, is_primary=True)
    made.add_field(column, DataType.FLOAT_VECTOR, dim=width)
    for field in schema:
        kind = "JSON" if mark(field) == JSON else milvus_type(field.type)
        if kind is None or field.name in (name, column) or mark(field) == FIELDS:
            continue
        options: dict[str, Any] = {"nullable": True}
        if kind == "VARCHAR":
            options["max_length"] = TEXT
        if kind == "ARRAY":
            item = milvus_type(field.type.value_type)
            options |= {"element_type": DataType[str(item)], "max_capacity": ITEMS}
            options |= {"max_length": TEXT} if item == "VARCHAR" else {}
        made.add_field(field_name(field.name), DataType[kind], **options)
    return made


def milvus_type(kind: Any) -> str | None:
    """The name of the type that takes cells of this Arrow type, or None where there is none."""
    from pyarrow import types

    if types.is_dictionary(kind):
        return milvus_type(kind.value_type)
    if types.is_boolean(kind):
        return "BOOL"
    if types.is_integer(kind):
        return "INT64" if kind.bit_width >= 32 and not types.is_int32(kind) else "INT32"
    if types.is_floating(kind):
        return "DOUBLE" if types.is_float64(kind) else "FLOAT"
    if is_text(kind) or types.is_temporal(kind) or types.is_decimal(kind):
        return "VARCHAR"
    if types.is_binary(kind) or types.is_large_binary(kind) or types.is_fixed_size_binary(kind):
        return None
    if types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind):
        return "ARRAY" if milvus_type(kind.value_type) in ITEM_TYPES else "JSON"
    return "JSON"


def changed(schema: Any, column: str | None) -> list[str]:
    """What becomes of the columns of another kind of store, where it is not the same, a line each."""
    told = []
    for field in schema:
        if field.name == column or mark(field) == FIELDS:
            continue
        name, kind = field_name(field.name), milvus_type(field.type)
        if kind is None:
            told.append(f"column {field.name!r} is left out: Milvus has no type for {field.type}")
        elif name != field.name:
            told.append(f"column {field.name!r} becomes {name!r}: Milvus takes letters, digits and underscores")
    return told
