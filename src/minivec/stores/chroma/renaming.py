"""Collections of Chroma that change places by their names: two renames, with a journal among the checkpoints."""

import json
from collections.abc import Callable
from typing import Any

from minivec.stores.base import MIGRATIONS
from minivec.stores.checkpoint import Checkpoint
from minivec.stores.errors import Refused
from minivec.stores.mirror import carry_back
from minivec.stores.swapping import SwappedBack, Swapping, now, spare


class Renamed(Swapping):
    """A collection that can take another one's name, and give it back. The journal knows both by their ids."""

    remembers = True

    def _of(self: Any, name: str) -> Any:
        """The store of another collection of this database."""
        store = type(self)(self.address)
        store.name, store.where, store._writes = name, None, self._writes
        vars(store)["_client"] = self._client
        return store

    def _record(self: Any) -> dict[str, Any] | None:
        notes = self._find(MIGRATIONS)
        if notes is None:
            return None
        with self.guard():
            found = notes.get(ids=[f"cutover:{self.name}"])["documents"]
        return json.loads(found[0]) if found else None

    def _put(self: Any, documents: dict[str, str | None]) -> None:
        """Write these documents among the checkpoints, and delete those that are None."""
        notes = self._notes()
        with self.guard():
            for name, document in documents.items():
                if document is None:
                    notes.delete(ids=[name])
                else:
                    notes.upsert([name], embeddings=[[0.0]], documents=[document])

    def swap_steps(self: Any, source: Any) -> list[str]:
        """List the two renames."""
        if source._where is not None:
            raise Refused(f"{self}: it has only the rows that meet where=; the others would be missing under the name")
        if source.place() != source._of(source.name).place() or self.address.host != source.address.host:
            raise Refused(f"{self}: {source} is in another database")
        return [
            f"collection {source.name} is renamed to {self._kept(source.name)}, and {self.name} to {source.name}",
            "these are two steps: for a moment the name is missing; after a kill the same command finishes",
            "what is written between the last look at the source and the rename stays with the old vectors",
            *self.losses(source),
        ]

    def _kept(self: Any, name: str) -> str:
        return spare(lambda end: f"{name[:480]}_{end}", lambda kept: self._find(kept) is not None)

    def swap(self: Any, source: Any, last: Callable[[Any], Any]) -> Any:
        """Bring the last changes over, write the journal, and rename."""
        state = last(self.checkpoint())
        notes = self._notes()
        with self.guard():
            found = notes.get(ids=[source.name])
        record = {
            "at": now(), "back": None, "done": False, "live": source.name, "new": self.name,
            "kept": self._kept(source.name), "destination": str(self),
            "verified": state.own.get("verified", 0), "old_id": str(source._collection.id),
            "new_id": str(self._collection.id), "old_note": (found["documents"] or [None])[0],
        }  # fmt: skip
        state = state.keep(cutover=record)
        source._put({f"cutover:{source.name}": json.dumps({**record, "new_note": state.to_json()})})
        source.swap_finish()
        return state

    def swapped(self: Any) -> Checkpoint | None:
        """Read the journal."""
        record = self._record()
        return None if record is None or record["back"] else Checkpoint.from_json(record["new_note"], self)

    def swap_finish(self: Any) -> None:
        """Make the renames of the journal that are still to be made."""
        record = self._record()
        if record is None or record["done"]:
            return
        live, new, kept = record["live"], record["new"], record["kept"]
        if record["back"] is None:
            self._rename(record["old_id"], live, kept)
            self._rename(record["new_id"], new, live)
            notes = {kept: record["old_note"], live: record["new_note"], new: None}
        else:
            self._rename(record["new_id"], live, new)
            self._rename(record["old_id"], kept, live)
            notes = {new: record["new_note"], live: record["old_note"], kept: None}
        self._put({**notes, f"cutover:{live}": json.dumps({**record, "done": True})})
        vars(self).pop("_collection", None)

    def _rename(self: Any, number: str, name: str, to: str) -> None:
        """Rename the collection of this id, if it has the name still."""
        found = self._find(name)
        if found is not None and str(found.id) == number:
            with self.guard():
                found.modify(name=to)

    def migrations(self: Any) -> list[tuple[str, Checkpoint]]:
        """Those of the database."""
        notes = self._find(MIGRATIONS)
        if notes is None:
            return []
        with self.guard():
            found = notes.get()
        kept = dict(zip(found["ids"], found["documents"], strict=True))
        records = [json.loads(text) for name, text in kept.items() if name.startswith("cutover:")]
        states = states_in(found, self)
        for record in records:  # whose time back is known to the journal alone
            name = record["new"] if record["back"] else record["live"]
            if name in states:
                states[name] = states[name].keep(cutover={**record, "new_note": None, "old_note": None})
        return list(states.items())

    def swap_back(self: Any, back: Any, leave: bool = False, dry_run: bool = False) -> SwappedBack:
        """Carry over what has come since, and rename both again."""
        record = self._record()
        if record is None:
            raise Refused(f"{self}: nothing was cut over here")
        if record["back"]:
            return SwappedBack(record["live"], record["new"], 0, 0)
        new, old = self._of(record["live"]), self._of(record["kept"])
        if old._find(old.name) is None:
            raise Refused(f"{self}: {old.name} is gone, and with it the old vectors")
        later, carried = carry_back(new, old, back, leave=leave, dry_run=dry_run)
        if not dry_run:
            self._put({f"cutover:{self.name}": json.dumps({**record, "back": now(), "done": False})})
            self.swap_finish()
        return SwappedBack(record["live"], record["new"], later, carried)

    def carry(self: Any, block: Any) -> None:
        """Write rows that may be there."""
        self._delete(block.keys)
        self._send(block)

    def drop(self: Any, keys: Any) -> None:
        """Delete rows."""
        self._delete(keys)


def states_in(found: Any, store: Any) -> dict[str, Checkpoint]:
    """The checkpoints among what the collection of checkpoints has, by destination; journals and locks are none."""
    return {
        name: Checkpoint.from_json(text, store)
        for name, text in zip(found["ids"], found["documents"], strict=True)
        if not name.startswith(("cutover:", "lock:"))
    }
