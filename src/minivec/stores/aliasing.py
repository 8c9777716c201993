"""An alias that points at another collection or index, in one step, and back."""

from collections.abc import Callable
from typing import Any

from minivec.stores.checkpoint import Checkpoint
from minivec.stores.errors import Refused
from minivec.stores.mirror import carry_back
from minivec.stores.swapping import SwappedBack, Swapping, now


class Aliased(Swapping):
    """A collection that the application finds by an alias. Its own name cannot be given to another one."""

    remembers = True

    def _target(self: Any) -> str | None:
        """The collection that this name is an alias of, or None."""
        raise NotImplementedError

    def _point(self: Any, alias: str, collection: str) -> None:
        """Let the alias point at this collection, in one step."""
        raise NotImplementedError

    def _how(self: Any) -> str:
        """What the user calls to give this collection an alias."""
        raise NotImplementedError

    def _noted(self: Any) -> Checkpoint | None:
        """The state that was noted for this collection, whether it is there or not."""
        raise NotImplementedError

    def _of(self: Any, collection: str, column: str | None) -> Any:
        """The store of a collection of this database."""
        store = type(self)(self.address)
        store.name, store.column, store.where = collection, column, None
        return store

    def swap_steps(self: Any, source: Any) -> list[str]:
        """Name the alias and its old and new collection."""
        target = source._target()
        if source.where is not None:
            raise Refused(f"{self}: it has only the rows that meet where=; the others would be missing")
        if self._old_column is not None:
            raise Refused(
                f"{self}: a new vector of the same rows needs no switch: the application names it ({self.column!r})"
            )
        if target is None:
            raise Refused(
                f"{source}: {source.name!r} is its own name, which cannot be given to another one; make an alias of "
                f"it, let the application use that, and name the alias here: {source._how()}"
            )
        return [
            f"alias {source.name} points at {self.name}, no longer at {target}: one step",
            f"what is written to {target} in the moments before it is brought over right after it",
            *self.losses(source),
        ]

    def swap(self: Any, source: Any, last: Callable[[Any], Any]) -> Any:
        """Bring the last changes over, note the alias, point it here, and bring over what came meanwhile."""
        alias, target = source.name, source._target()
        state = last(self.checkpoint())
        record = {
            "at": now(), "back": None, "alias": alias, "old": target, "new": self.name, "destination": str(self),
            "verified": state.own.get("verified", 0),
        }  # fmt: skip
        state = state.keep(cutover=record)
        self._note(state)
        source.name = target  # whose changes are still to be seen
        self._point(alias, self.name)
        return last(state)

    def swapped(self: Any) -> Checkpoint | None:
        """Read the state of the collection that the alias points at."""
        target = self._target()
        if target is None:
            return None
        state = self._of(target, self._asked)._noted()
        record = state.own.get("cutover") if state is not None else None
        return state if record and record["alias"] == self.name and record["old"] != target else None

    def swap_back(self: Any, back: Any, leave: bool = False, dry_run: bool = False) -> SwappedBack:
        """Carry over what has come since, and point the alias at the old collection."""
        state = self.swapped()
        if state is None:
            records = [state.own["cutover"] for _, state in self.migrations() if "cutover" in state.own]
            ended = [record["new"] for record in records if record["alias"] == self.name]
            if not ended:
                raise Refused(f"{self}: nothing was cut over here")
            return SwappedBack(self.name, ended[-1], 0, 0)
        record, target = state.own["cutover"], self._target()
        new, old = self._of(target, state.new_column), self._of(record["old"], state.column)
        if not old._exists(old.name):
            raise Refused(f"{self}: {old.name} is gone, and with it the old vectors")
        later, carried = carry_back(new, old, back, leave=leave, dry_run=dry_run)
        if not dry_run:
            self._point(self.name, old.name)
            new._note(state.keep(cutover={**record, "back": now()}))
        return SwappedBack(self.name, new.name, later, carried)
