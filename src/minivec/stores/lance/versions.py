"""Versions of a LanceDB table: named for a checkpoint, kept readable by a tag, and compared row by row."""

from hashlib import blake2b
from typing import Any
from uuid import uuid4

import numpy as np

TOGETHER = 4_096  # rows that are fetched, or deleted, together
CATCHING_UP = "minivec-catching-up"  # the tag of a destination's version before rows were changed


def named(table: Any, rows: int, tag: str | None = None) -> dict[str, Any]:
    """The table's version as JSON: its number, its time, its rows, and the tag that keeps it readable, if any."""
    number = table.version
    return {"number": number, "made": made(table, number), "rows": rows, "tag": tag}


def made(table: Any, number: int) -> str | None:
    """When a version was made, or None where it is gone. A table that is made anew counts from 1 again."""
    times = {version["version"]: version["timestamp"] for version in table.list_versions()}
    return times[number].isoformat() if number in times else None


def tagged(table: Any) -> str | None:
    """A new tag of the table's version, or None where the table must not be written."""
    tag = f"minivec-{uuid4().hex[:12]}"
    try:
        table.tags.create(tag, table.version)
    except Exception:  # the version stays readable for as long as nobody removes it
        return None
    return tag


def note(table: Any, column: str, metadata: dict[str, str]) -> None:
    """Set the metadata of a column, which makes a new version."""
    if hasattr(table, "update_field_metadata"):
        table.update_field_metadata({"path": column, "metadata": metadata})
    else:  # before LanceDB 0.33
        table.replace_field_metadata(column, metadata)


def row_ids(query: Any) -> np.ndarray:
    """The ids of a query's rows, in order: an id is where the row lies, and lasts within a version."""
    return query.with_row_id(True).select(["_rowid"]).to_arrow()["_rowid"].to_numpy()


def taken(table: Any, ids: np.ndarray, columns: list[str] | None = None) -> Any:
    """These ``columns`` (None: all) of the rows with these ids, in this order, as an Arrow table."""
    asked = table.take_row_ids(ids.tolist())
    rows = (asked if columns is None else asked.select(columns)).with_row_id().to_arrow()
    place = np.argsort(rows["_rowid"].to_numpy())
    order = place[np.searchsorted(rows["_rowid"].to_numpy(), ids, sorter=place)]
    return rows.take(order).drop_columns(["_rowid"]).replace_schema_metadata(None)


def unfinished(table: Any) -> int | None:
    """The version before the changes of a run that was killed meanwhile, or None."""
    return table.tags.get_version(CATCHING_UP) if CATCHING_UP in table.tags.list() else None


def begin(table: Any) -> None:
    """Tag the version before the changes, or go back to it where a run was killed meanwhile."""
    before = unfinished(table)
    if before is None:
        table.tags.create(CATCHING_UP, table.version)
    else:
        table.restore(before)


def deleted(table: Any, ids: np.ndarray) -> None:
    """Delete the rows with these ids."""
    for start in range(0, len(ids), TOGETHER):
        table.delete(f"_rowid IN ({', '.join(map(str, ids[start : start + TOGETHER]))})")


def differences(old: Any, old_ids: np.ndarray, new: Any, new_ids: np.ndarray) -> tuple[list[int], list[int]]:
    """Numbers of the rows that only ``new`` has, and of those that only ``old`` has: tables at two versions.

    LanceDB puts rows that it writes or changes behind the others. So ``old`` without the latter, and the former behind
    it, is ``new``, row for row. A row that has only been moved, as a table is made compact, is in both.
    """
    moved, came = np.flatnonzero(~np.isin(old_ids, new_ids)), np.flatnonzero(~np.isin(new_ids, old_ids))
    old_names, new_names = old_ids.astype(object), new_ids.astype(object)
    if len(moved) and len(came):
        old_names[moved], new_names[came] = _digests(old, old_ids[moved]), _digests(new, new_ids[came])
    deleted, start = [], 0
    for number, name in enumerate(old_names):
        if start < len(new_names) and name == new_names[start]:
            start += 1
        else:
            deleted.append(number)
    return list(range(start, len(new_ids))), deleted


def _digests(table: Any, ids: np.ndarray) -> list[bytes]:
    """Values that are equal where all columns of two rows are."""
    return [
        blake2b(repr(row).encode(), digest_size=8).digest()
        for start in range(0, len(ids), TOGETHER)
        for row in taken(table, ids[start : start + TOGETHER]).to_pylist()
    ]
