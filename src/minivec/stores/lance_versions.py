"""Versions of a LanceDB table: named for a checkpoint, kept readable by a tag, and compared row by row."""

from hashlib import blake2b
from typing import Any
from uuid import uuid4

import numpy as np

TOGETHER = 4_096  # rows that are fetched together


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


def taken(table: Any, ids: np.ndarray) -> Any:
    """The rows with these ids, in this order, as an Arrow table."""
    rows = table.take_row_ids(ids.tolist()).with_row_id().to_arrow()
    place = np.argsort(rows["_rowid"].to_numpy())
    order = place[np.searchsorted(rows["_rowid"].to_numpy(), ids, sorter=place)]
    return rows.take(order).drop_columns(["_rowid"])


def differences(old: Any, old_ids: np.ndarray, new: Any, new_ids: np.ndarray) -> tuple[list[int], list[int]]:
    """Numbers of the rows that only ``new`` has, and of those that only ``old`` has: tables at two versions.

    A row that has only been moved, as a table is made compact, is in both.
    """
    written, deleted = np.flatnonzero(~np.isin(new_ids, old_ids)), np.flatnonzero(~np.isin(old_ids, new_ids))
    if len(written) and len(deleted):
        here, there = _digests(new, new_ids[written]), _digests(old, old_ids[deleted])
        written, deleted = written[~np.isin(here, there)], deleted[~np.isin(there, here)]
    return written.tolist(), deleted.tolist()


def _digests(table: Any, ids: np.ndarray) -> np.ndarray:
    """Numbers that are equal where all columns of two rows are."""
    found: list[int] = []
    for start in range(0, len(ids), TOGETHER):
        for row in taken(table, ids[start : start + TOGETHER]).to_pylist():
            found.append(int.from_bytes(blake2b(repr(row).encode(), digest_size=8).digest(), "little"))
    return np.array(found, np.uint64)
