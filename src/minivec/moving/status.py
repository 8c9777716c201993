"""Where the migrations of a store stand."""

from dataclasses import dataclass
from typing import Any

from minivec.stores import Checkpoint, open_store


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
    """The migrations of the database (or, of files, the folder) of a store, a URL or a path. Nothing is changed."""
    with open_store(store) as opened:
        return [_of(name, state) for name, state in opened.migrations()]


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
