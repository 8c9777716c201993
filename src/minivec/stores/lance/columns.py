"""The columns of a LanceDB table: the names that it can read, and those of a migration's new table."""

import json
from collections.abc import Iterable
from typing import Any

from minivec.stores.arrow import schema_like
from minivec.stores.checkpoint import Checkpoint
from minivec.stores.errors import Refused

STATE = b"minivec.migration"  # in the metadata of a destination's schema, and of its column of vectors
FUNCTIONS = b"embedding_functions"  # in the metadata of a schema: how LanceDB embeds rows and queries
UNREADABLE = "`"  # LanceDB makes a column with this character in its name, and then can neither write nor read it
UNFIT = f"{UNREADABLE}."  # for the name of a new column


def check_names(store: object, names: Iterable[str], unfit: str) -> None:
    """Refused where a column has no name, or one with a character of ``unfit``."""
    if wrong := [name for name in names if not name or set(name) & set(unfit)]:
        raise Refused(f"{store}: LanceDB cannot keep a column named {wrong[0]!r}: rename it")


def new_schema(schema: Any, width: int, state: Checkpoint) -> Any:
    """The source's schema (or None) with the new vectors and the state, without what embeds by the old model."""
    import pyarrow as pa

    like = schema_like(schema, state.column, str(state.new_column), width)
    fields = [field.with_metadata(_without(field.metadata, STATE)) for field in like]
    kept = _without(like.metadata, STATE, FUNCTIONS)
    return pa.schema(fields, {**kept, STATE: state.to_json().encode()})


def functions(schema: Any) -> list[str]:
    """The names of the functions by which LanceDB embeds rows and queries of a table with this schema."""
    return [str(function.get("name")) for function in json.loads((schema.metadata or {}).get(FUNCTIONS, "[]"))]


def _without(metadata: dict[bytes, bytes] | None, *names: bytes) -> dict[bytes, bytes]:
    return {name: value for name, value in (metadata or {}).items() if name not in names}
