"""Where the migrations of a store stand."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from minivec.stores import Checkpoint, Store, open_store
from minivec.stores.files import STATE_INSIDE, FileStore
from minivec.stores.renaming import STATE


@dataclass(frozen=True)
class Status:
    """One migration.

    - ``destination`` and ``source``: the names that they have now, and had when it began
    - ``rows`` of ``count`` are written, without ``left_out`` that have no vector
    - ``state``: "unfinished", "complete", "cut over" or "rolled back"
    - ``compared`` and ``compared_at``: rows that a verification has found to be right last, and when, in UTC
    - ``verified``: rows that were compared right before the cut-over
    - ``cut_over`` and ``rolled_back``: the times, in UTC
    - ``aligner``: the fingerprint of its map
    """

    destination: str
    source: str
    state: str
    rows: int
    count: int
    left_out: int
    compared: int
    compared_at: str | None
    verified: int
    cut_over: str | None
    rolled_back: str | None
    aligner: str


def status(store: Any) -> list[Status]:
    """The migrations of the database of a store or a URL. Nothing is changed.

    Of a file, or a folder of Parquet files: the migration into it, and those beside it that were cut over; of a folder,
    those into the files and folders in it too.
    """
    with open_store(store) as opened:
        found = dict(opened.migrations())
        for path in _destinations(opened):
            with open_store(path) as inside:
                found |= inside.migrations()
    return [_of(name, state) for name, state in found.items()]


def _destinations(store: Store) -> list[Path]:
    """What lies in a folder of files and was made by a migration, or is being made."""
    if not isinstance(store, FileStore) or not store.path.is_dir():
        return []
    states = [path.with_name(path.name.removesuffix(STATE)) for path in store.path.glob(f"[!.]*{STATE}")]
    return sorted([*states, *(path.parent for path in store.path.glob(f"*/{STATE_INSIDE}"))])


def _of(name: str, state: Checkpoint) -> Status:
    record = state.own.get("cutover") or {}
    compared = state.own.get("verification") or {}
    back = record.get("back")
    complete = state.own.get("complete", False) or state.rows >= state.count
    return Status(
        destination=name,
        source=state.source,
        state="rolled back" if back else "cut over" if record else "complete" if complete else "unfinished",
        rows=state.rows,
        count=state.count,
        left_out=state.left_out,
        compared=compared.get("rows", 0),
        compared_at=compared.get("at"),
        verified=record.get("verified") or 0,
        cut_over=record.get("at"),
        rolled_back=back,
        aligner=state.aligner,
    )
