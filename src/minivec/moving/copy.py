"""A migration without a map is a copy: the vectors stay as they are."""

from typing import Any

import numpy as np

from minivec.map import LinearMap
from minivec.stores import Checkpoint, Store

COPY = "copy"  # the fingerprint in a checkpoint, or its beginning


class Copy:
    """What takes a map's place: float32 vectors of one width, unchanged.

    ``fingerprint`` is "copy", or "copy of" the map that has made the source's vectors.
    """

    length = 1.0  # as a checkpoint notes it; vectors keep their own lengths
    signatures = None

    def __init__(self, width: int, made: Checkpoint | None = None):
        self.shape = width, width
        by = made and made_by(made)
        self.fingerprint = f"{COPY} of {by}" if by else COPY
        self.history: dict[str, Any] = {"spaces": {"target": made and made.space}}
        self.weights = {"unit": 1.0}  # it suits vectors of any length

    def apply(self, x: np.ndarray) -> np.ndarray:
        """Vectors (n, d) as float32."""
        return np.array(x, np.float32)

    def of_lengths(self, lengths: str | float = "target") -> "Copy":
        """Itself; ValueError where another length than the vectors' own is asked for."""
        if lengths not in ("target", self.length):
            raise ValueError(f"lengths {lengths!r} needs an aligner (-a): a copy keeps the vectors as they are")
        return self


def made_by(state: Checkpoint) -> str | None:
    """The fingerprint of the map that has made a migration's vectors, or None where they are a copy of raw ones."""
    return None if state.aligner == COPY else state.aligner.removeprefix(f"{COPY} of ")


def bridge_of(aligner: Any, source: Store) -> Any:
    """The map of ``aligner``, or, where that is None, a copy of ``source``'s vectors; ValueError for one of queries."""
    if aligner is None:
        return Copy(source.schema().width, source.origin())
    bridge = LinearMap.of(aligner)
    if bridge.asks:
        raise ValueError("a map for_queries() is for rows that ask; rows that are stored take the map itself")
    return bridge
