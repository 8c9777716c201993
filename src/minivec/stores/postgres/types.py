"""PostgreSQL's types beside Arrow's."""

from collections.abc import Callable
from typing import Any, NamedTuple

from minivec.stores.postgres.catalog import Column
from minivec.stores.postgres.session import ITEM
from minivec.stores.shown import JSON, mark, marked, plain

WHOLE = ("smallint", "integer", "bigint")  # keys of these are numbers, all others texts
PLAIN = {"int2": "int16", "int4": "int32", "int8": "int64", "oid": "int64", "float4": "float32", "float8": "float64",
         "bool": "bool_", "text": "string", "varchar": "string", "bytea": "binary", "date": "date32"}  # fmt: skip
TEXT = ("uuid", "bpchar", "name", "citext")  # whose text is the value
NAMES = {  # of types that psycopg writes, by Arrow's
    "bool": "bool", "int8": "int2", "uint8": "int2", "int16": "int2", "int32": "int4", "uint16": "int4",
    "int64": "int8", "uint32": "int8", "uint64": "numeric", "halffloat": "float4", "float": "float4",
    "double": "float8", "string": "text", "large_string": "text", "string_view": "text", "null": "text",
    "binary": "bytea", "large_binary": "bytea", "binary_view": "bytea", "date32[day]": "date", "date64[ms]": "date",
}  # fmt: skip


class Shown(NamedTuple):
    """A column of a table as Arrow: how it is selected, its field, and whether its text stands for it."""

    name: str
    select: str
    field: Any
    as_text: bool


def shown(column: Column, as_key: bool) -> Shown:
    """How a column is carried to Arrow; types without a like become text."""
    import pyarrow as pa

    name, kind = column.name, column.type
    if kind in ("json", "jsonb") and not as_key:
        return Shown(name, "{c}::text", marked(name, JSON), False)
    if kind in ITEM and not as_key:
        return Shown(name, "{c}::real[]", pa.field(name, pa.list_(pa.float32())), False)
    made = None if as_key and column.definition not in (*WHOLE, "text") else _arrow(column)
    if made is None:
        return Shown(name, "{c}::text", pa.field(name, pa.string()), kind not in TEXT)
    return Shown(name, "{c}", pa.field(name, made), False)


def _arrow(column: Column) -> Any:
    """The Arrow type of a column's values as psycopg reads them, or None."""
    import pyarrow as pa

    kind = column.type
    if kind in PLAIN:
        return getattr(pa, PLAIN[kind])()
    if kind.startswith("_") and kind[1:] in PLAIN:
        return pa.list_(getattr(pa, PLAIN[kind[1:]])())
    if kind == "numeric" and column.modifier >= 4:
        digits, scale = column.modifier - 4 >> 16, (column.modifier - 4 & 0x7FF ^ 1024) - 1024
        return pa.decimal128(digits, scale) if digits <= 38 else pa.decimal256(digits, scale) if digits <= 76 else None
    times = {"timestamp": pa.timestamp("us"), "timestamptz": pa.timestamp("us", "UTC"), "time": pa.time64("us")}
    return times.get(kind)


class Kept(NamedTuple):
    """An Arrow column in a table: its type in SQL and for psycopg, and what makes its values ready for psycopg."""

    type: str
    name: str
    ready: Callable[[Any], Any] | None = None


def kept(field: Any) -> Kept | None:
    """How an Arrow column is kept, or None where PostgreSQL has no type for it."""
    import pyarrow as pa

    kind = field.type
    kind = kind.value_type if pa.types.is_dictionary(kind) else kind
    kind = getattr(kind, "storage_type", kind)
    if mark(field):
        return Kept("jsonb", "jsonb", _of_text)
    if str(kind) in NAMES:
        name = NAMES[str(kind)]
        return Kept("numeric(20,0)" if name == "numeric" else name, name)
    if pa.types.is_fixed_size_binary(kind):
        return Kept("bytea", "bytea")
    if pa.types.is_decimal(kind):
        return Kept(f"numeric({kind.precision},{kind.scale})" if kind.scale >= 0 else "numeric", "numeric")
    if pa.types.is_timestamp(kind):
        name = "timestamptz" if kind.tz else "timestamp"
        return Kept(name, name)
    if pa.types.is_time(kind):
        return Kept("time", "time")
    if pa.types.is_duration(kind):
        return Kept("interval", "interval")
    if pa.types.is_nested(kind):
        value = getattr(kind, "value_type", None)
        of = NAMES.get(str(value)) if not pa.types.is_map(kind) else None
        return Kept(f"{of}[]", f"{of}[]") if of not in (None, "numeric") else Kept("jsonb", "jsonb", _of_value)
    return None


def _of_text(value: str) -> Any:
    from psycopg.types.json import Jsonb

    return Jsonb(value, dumps=str)


def _of_value(value: Any) -> Any:
    from psycopg.types.json import Jsonb

    return Jsonb(plain(value))
