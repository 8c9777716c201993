"""How a store puts new vectors in the place of old ones, and takes them back: what a store that can do it answers."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, ClassVar

from minivec.stores.errors import Refused

OLD = "minivec_old"  # the end of the name that the old vectors keep


@dataclass(frozen=True)
class SwappedBack:
    """What ``swap_back`` did, or would do.

    - ``live``: the name that has the old vectors again; ``aside``: where the new ones are now
    - ``later``: rows that were written or deleted since the cut-over
    - ``carried``: how many of them were brought to the old vectors
    """

    live: str
    aside: str
    later: int
    carried: int


class Swapping:
    """The part of a store that swaps names. A store that has none of it says what to do by hand.

    A swap of names is one step, or can be run again until it is done. Its record is ``own["cutover"]`` of the
    destination's checkpoint: a dict with the time ``at``, and with the time ``back`` once it was taken back.
    """

    fixed: ClassVar[bool] = False  # whether rows that change make it another source
    remembers: ClassVar[bool] = False  # whether only the run that has read all rows can tell what has changed

    def swap_steps(self, source: Any) -> list[str]:
        """What ``swap`` will do, and what it leaves behind, a line each; changes nothing.

        Refused where this store cannot swap, or where something stands in the way.
        """
        raise Refused(f"{self}: this kind of store has no name to swap: point the application to it by hand")

    def swap_prepare(self, source: Any) -> None:
        """Do beforehand what takes long and nobody notices, such as an index on the new vectors."""

    def swap(self, source: Any, last: Callable[[Any], Any]) -> Any:
        """Put this destination in the place of ``source``, and return the state with its record.

        ``last(state)`` brings the last changes of the source here and returns the new state; where the store has a
        lock, nobody else writes meanwhile.
        """
        raise Refused(f"{self}: this kind of store has no name to swap")

    def swapped(self) -> Any:
        """Of the store that the application uses: the state of the cut-over that holds here, or None."""
        return None

    def swap_finish(self) -> None:
        """Of the store that the application uses: do what may be left after ``swap`` or ``swap_back``."""

    def migrations(self: Any) -> list[tuple[str, Any]]:
        """The name and the state of each migration beside this store, into it or from it; changes nothing."""
        try:
            state = self.checkpoint()
        except Refused:  # there is something, and no migration has made it
            return []
        return [] if state is None else [(str(self), state)]

    def swap_back(self, back: Callable[[Any, Any], Any] | None, leave: bool = False, dry_run: bool = False) -> Any:
        """Of the store that the application uses: take the last cut-over back, and say what was done.

        ``back(new, old)`` gives the old model's vectors for a block of rows that came or changed since the cut-over;
        ``old`` has those of the same rows that the old vectors still know. Without it such rows are refused, or, with
        ``leave``, stay aside. A dry run only counts them.
        """
        raise Refused(f"{self}: nothing was cut over here")


def spare(named: Callable[[str], str], taken: Callable[[str], bool], end: str = OLD) -> str:
    """The first name ``named(end)``, ``named(end + "1")`` ... that is not taken."""
    return next(name for number in range(1_000) if not taken(name := named(f"{end}{number or ''}")))


def now() -> str:
    """The time, as records have it."""
    return datetime.now(UTC).isoformat(timespec="seconds")
