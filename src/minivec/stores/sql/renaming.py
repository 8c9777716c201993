"""Tables of DuckDB and SQLite that change places by their names, in one transaction."""

from collections.abc import Callable, Mapping
from typing import Any

from minivec.stores.base import MIGRATIONS
from minivec.stores.checkpoint import Checkpoint
from minivec.stores.errors import Refused
from minivec.stores.mirror import carry_back
from minivec.stores.swapping import SwappedBack, Swapping, now, spare


class RenamedInSql(Swapping):
    """A table that can take another one's name, and give it back. The record is in the checkpoint of the new one."""

    remembers = True

    def _rename(self: Any, old: str, new: str) -> list[str]:
        """The statements that rename a table."""
        raise NotImplementedError

    def _of(self: Any, name: str) -> Any:
        """The store of another table of this database."""
        store = type(self)(self.address)
        store.name, store.where, store._writes = name, None, self._writes
        return store

    def _put(self: Any, connection: Any, states: Mapping[str, Checkpoint | None]) -> None:
        """Write these checkpoints, and delete those that are None, in a transaction."""
        connection.execute(
            f"CREATE TABLE IF NOT EXISTS {MIGRATIONS} (destination TEXT PRIMARY KEY, state TEXT NOT NULL)"
        )
        for name, state in states.items():
            connection.execute(f"DELETE FROM {MIGRATIONS} WHERE destination = ?", [name])
            if state is not None:
                connection.execute(f"INSERT INTO {MIGRATIONS} VALUES (?, ?)", [name, state.to_json()])

    def swap_steps(self: Any, source: Any) -> list[str]:
        """List the two renames, and what the new place lacks."""
        if source.where is not None:
            raise Refused(f"{self}: it has only the rows that meet where=; the others would be missing under the name")
        if source.file.resolve() != self.file.resolve():
            raise Refused(f"{self}: {source} is in another file, and cannot change places with it")
        if source.schema().column != self.schema().column:
            what = f"its column {self.schema().column} is called {source.schema().column} in {source}"
            raise Refused(f"{self}: {what}: migrate into one of the same name")
        live, kept = source.name, self._kept(source.name)
        self._rename(live, kept)  # Refused where it cannot be done
        return [
            f"table {live} is renamed to {kept}, and {self.name} to {live}, in one step",
            "what is written between the last look at the source and the rename stays with the old vectors",
            *self.losses(source),
        ]

    def _kept(self: Any, name: str) -> str:
        return spare(lambda end: f"{name}_{end}", lambda kept: bool(self._columns(kept)))

    def swap(self: Any, source: Any, last: Callable[[Any], Any]) -> Any:
        """Bring the last changes over, and rename."""
        state, live, new = last(self.checkpoint()), source.name, self.name
        kept, old = self._kept(live), self._state(live)
        record = {"at": now(), "back": None, "live": live, "new": new, "kept": kept, "destination": str(self),
                  "verified": state.own.get("verified", 0)}  # fmt: skip
        state = state.keep(cutover=record)
        self._exchange((live, kept), (new, live), {kept: old, live: state, new: None})
        return state

    def _exchange(
        self: Any, aside: tuple[str, str], in_place: tuple[str, str], states: dict[str, Checkpoint | None]
    ) -> None:
        with self._transaction() as connection:
            for old, new in (aside, in_place):
                for statement in self._rename(old, new):
                    connection.execute(statement)
            self._put(connection, states)

    def swapped(self: Any) -> Checkpoint | None:
        """The checkpoint of the table, if it took the name."""
        state: Checkpoint | None = self._state(self.name)
        return state if state is not None and (state.own.get("cutover") or {"back": 1})["back"] is None else None

    def migrations(self: Any) -> list[tuple[str, Checkpoint]]:
        """Those of the file."""
        if not self._columns(MIGRATIONS):
            return []
        rows = self._run(f"SELECT destination, state FROM {MIGRATIONS} ORDER BY destination")
        return [(name, Checkpoint.from_json(state, self)) for name, state in rows]

    def swap_back(self: Any, back: Any, leave: bool = False, dry_run: bool = False) -> SwappedBack:
        """Carry over what has come since, and rename both again."""
        state = self.swapped()
        if state is None:
            earlier = [found.own["cutover"] for _, found in self.migrations() if found.own.get("cutover")]
            done = next((record for record in earlier if record["live"] == self.name), None)
            if done is None:
                raise Refused(f"{self}: nothing was cut over here")
            return SwappedBack(done["live"], done["new"], 0, 0)
        record = state.own["cutover"]
        live, new, kept = record["live"], record["new"], record["kept"]
        if not self._columns(kept):
            raise Refused(f"{self}: {kept} is gone, and with it the old vectors")
        self._writes = not dry_run
        later, carried = carry_back(self._of(live), self._of(kept), back, leave=leave, dry_run=dry_run)
        if not dry_run:
            states = {new: state.keep(cutover={**record, "back": now()}), live: self._state(kept), kept: None}
            self._exchange((live, new), (kept, live), states)
        return SwappedBack(live, new, later, carried)

    def carry(self: Any, block: Any) -> None:
        """Write rows that may be there."""
        with self._transaction() as connection:
            self._delete(connection, block.keys)
            self._insert(connection, block, str(self.schema().column))

    def drop(self: Any, keys: Any) -> None:
        """Delete rows."""
        with self._transaction() as connection:
            self._delete(connection, keys)
