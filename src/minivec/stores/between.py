"""Stores of different kinds beside one another: how the rows of one are shown so that another can take them.

The common form is Arrow. A source whose payload has another form is shown as one of Arrow, and to Chroma and Qdrant
every source is shown as documents. Rows have the same keys on both sides, whether a store has keys or numbers rows.
"""

from typing import Any

from minivec.stores import STORES
from minivec.stores.base import Changes, Store
from minivec.stores.collections import ChromaArrow, QdrantArrow
from minivec.stores.documents import Documents
from minivec.stores.numbered import ByKey, Numbered
from minivec.stores.postgres.arrow import PostgresArrow
from minivec.stores.shown import Proxy

ARROW = {"postgresql": PostgresArrow, "chroma": ChromaArrow, "qdrant": QdrantArrow}
ONLY = "to another kind of store only keys, columns and vectors are carried over, no indexes, constraints and settings"


def paired(source: Store, destination: Store) -> tuple[Any, Any]:
    """Both stores, shown so that ``destination`` takes what ``source`` hands on; as they are where it does anyway."""
    both_number = source.numbered and destination.numbered
    if both_number or (source.kind == destination.kind and source.numbered == destination.numbered):
        return source, destination
    shown: Any = as_arrow(source)
    taker: Any = destination
    if destination.numbered:
        taker = ByKey(destination, shown)
    elif source.numbered:
        shown = Numbered(source) if source.schema().key is None else ByKey(source, source)
    if destination.kind == "postgresql":
        taker = PostgresArrow(destination)
    elif destination.kind in ARROW:
        shown = Documents(shown, destination)
    return (Beside(shown, taker) if source.kind == "postgresql" else shown), taker


def as_arrow(source: Store) -> Any:
    """The store with Arrow as payload: a table of the key and all other columns, with or without the vectors."""
    return ARROW[source.kind](source) if source.kind in ARROW else source


def differ(source: Store, destination: Store) -> bool:
    """Whether the stores are of different kinds; all files are of one."""
    return STORES.get(source.address.scheme) != STORES.get(destination.address.scheme)


def told(source: Any, destination: Any) -> list[str]:
    """What is shown otherwise than it is, or left out, between these ``paired`` stores: a sentence each."""
    more = source.address.scheme and differ(source, destination)
    return [*([ONLY] if more else []), *getattr(source, "shown_otherwise", list)()]


class Beside(Proxy):
    """A source that tells of written rows only, beside a destination that knows which keys there were."""

    def __init__(self, source: Any, destination: Any):
        super().__init__(source)
        self._self_destination = destination

    def changes(self, since: Any) -> Changes | None:
        """The source's, with the keys that the destination has and the source has not."""
        found = self.__wrapped__.changes(since)
        if found is None or not (len(found.written) or self._self_destination.count() != self.count()):
            return found
        there = set(self.keys())
        return Changes(found.written, [key for key in self._self_destination.keys() if key not in there], found.version)
