"""SQLite's values beside Arrow's: a value has a type of its own, whatever the column's is."""

import json
from hashlib import blake2b
from typing import Any

from minivec.stores.shown import plain

ANY = b"any"  # marks a column of values of several types: a struct with one field for each
KINDS = {"integer": "int64", "real": "float64", "text": "string", "blob": "binary"}  # of SQLite, and Arrow's


def fingerprint(*values: Any) -> int:
    """A hash of a row, as SQLite calls it."""
    return int.from_bytes(blake2b(repr(values).encode(), digest_size=8).digest(), "big", signed=True)


def type_of(kind: Any) -> str:
    """SQLite's type for one of Arrow."""
    import pyarrow as pa

    kind = kind.value_type if pa.types.is_dictionary(kind) else kind
    if pa.types.is_integer(kind) or pa.types.is_boolean(kind):
        return "INTEGER"
    if pa.types.is_floating(kind):
        return "REAL"
    return "BLOB" if "binary" in str(kind) else "TEXT"


def kept(value: Any) -> Any:
    """A value of Arrow as SQLite has it."""
    if value is None or isinstance(value, bool | int | float | str | bytes):
        return value
    read = plain(value)
    return read if isinstance(read, str) else json.dumps(read, ensure_ascii=False)


def told(value: Any) -> dict[str, Any] | None:
    """A value of SQLite with the name of its type."""
    if value is None:
        return None
    kinds = {int: "integer", float: "real", str: "text", bytes: "blob"}
    return {kinds[type(value)]: value}


def of_any(value: dict[str, Any] | None) -> Any:
    """The value that ``told`` has named the type of."""
    return None if value is None else next((found for found in value.values() if found is not None), None)
