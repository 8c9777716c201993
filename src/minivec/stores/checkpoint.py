"""Where a migration stands: one value that a destination keeps, and from which the migration goes on."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any, Self

from minivec.stores.errors import Refused

FORMAT = 2  # version 0.1.0 wrote no number
OWN = ("place", "start", "row_bytes", "key")  # what its stores kept for themselves, beside the fields of today


@dataclass(frozen=True)
class Checkpoint:
    """A migration's state, which is JSON.

    - ``source``: the identity of the source (``Store.identity``)
    - ``aligner``: the fingerprint of the map
    - ``length``: that of the mapped rows
    - ``count``: the rows of the source when the migration began
    - ``version``: the name of the source's state that is read (``Store.pin``), or None
    - ``column`` and ``new_column``: the column of the vectors in the source and in the destination, or None
    - ``rows``: the rows of the source that are done; ``position`` is that of the last block
    - ``left_out``: how many of them could not be kept for want of a vector; in place, how many have one that is bad
    - ``space``: the name of the space of the new vectors, or None
    - ``in_place``: whether the rows are the source's own, and only a column or a named vector is new
    - ``own``: what the destination's store keeps for itself
    """

    source: str
    aligner: str
    count: int
    version: Any = None
    column: str | None = None
    new_column: str | None = None
    rows: int = 0
    left_out: int = 0
    position: Any = None
    space: str | None = None
    length: float = 1.0
    in_place: bool = False
    own: Mapping[str, Any] = field(default_factory=dict)

    def but(self, **changes: Any) -> Self:
        """The same state with other values of these fields."""
        return replace(self, **changes)

    def keep(self, **own: Any) -> Self:
        """The same state with these values among the store's own."""
        return replace(self, own={**self.own, **own})

    def to_json(self) -> str:
        """The state as text, with the number of its format."""
        return json.dumps({"format": FORMAT, **asdict(self)})

    @classmethod
    def from_json(cls, text: str | bytes | Mapping[str, Any], where: object) -> Self:
        """The state in ``text``, or in a dict that was JSON; ``where`` names the destination in errors.

        Raises ValueError for what is no checkpoint, for one of another format, and for one that lacks a field. The
        checkpoints of version 0.1.0 are read.
        """
        try:
            found = dict(text) if isinstance(text, Mapping) else json.loads(text)
        except ValueError:
            found = None
        if not isinstance(found, dict):
            raise Refused(f"{where}: its checkpoint is damaged; remove the destination and migrate again")
        number = found.pop("format", 1)
        if number == 1:
            found = _of_version_1(found)
        elif number != FORMAT:
            raise Refused(f"{where}: its checkpoint has format {number!r}, this version of minivec reads {FORMAT}")
        names = {item.name for item in fields(cls)}
        lost = sorted({"source", "aligner", "count"} - set(found)) + sorted(set(found) - names)
        if lost:
            raise Refused(f"{where}: its checkpoint is damaged: {lost[0]!r} is missing or unknown")
        return cls(**found)


def _of_version_1(found: dict[str, Any]) -> dict[str, Any]:
    """The fields of a checkpoint of version 0.1.0, whose stores mixed their own values with the others."""
    return {
        **{name: value for name, value in found.items() if name not in OWN},
        "own": {name: found[name] for name in OWN if name in found},
    }
