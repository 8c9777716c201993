"""Files, folders and LanceDB's tables, which are folders: they change places by their names, with a journal beside."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from minivec.output import replacing
from minivec.stores.checkpoint import Checkpoint
from minivec.stores.errors import Refused
from minivec.stores.swapping import SwappedBack, Swapping, now, spare

STATE = ".migration.json"  # beside a file, behind its name


class Renaming(Swapping):
    """A place of the file system that can take another one's name, and give it back.

    The journal is written before the first rename. Each rename is made if it is still to be made, so the journal can
    be followed again after a kill. One file takes another's name in one step; of folders the old one goes first.
    """

    def _place(self: Any) -> tuple[Path, str]:
        """The folder, and the name in it."""
        raise NotImplementedError

    def _named(self: Any, name: str) -> list[Path]:
        """The paths that carry a name; some may not exist."""
        raise NotImplementedError

    def _mark(self: Any) -> Any:
        """JSON that tells ``_later`` what the rows are now."""
        raise NotImplementedError

    def _later(self: Any, mark: Any) -> int:
        """How many rows have been written or deleted since, at least 1 if that is not known exactly."""
        raise NotImplementedError

    def _journal(self: Any) -> Path:
        folder, name = self._place()
        return folder / f".{name}.cutover.json"

    def _record(self: Any) -> dict[str, Any] | None:
        journal = self._journal()
        return json.loads(journal.read_text()) if journal.exists() else None

    def _note_swap(self: Any, record: dict[str, Any]) -> None:
        with replacing(self._journal()) as temporary:
            temporary.write_text(json.dumps(record))

    def swap_steps(self: Any, source: Any) -> list[str]:
        """List the two renames, and what the new place lacks."""
        (folder, live), (other, new) = source._place(), self._place()
        if folder.resolve() != other.resolve() or Path(live).suffix != Path(new).suffix:
            raise Refused(f"{self}: {source} is in another folder or of another kind, and cannot change places with it")
        if getattr(source, "where", None) is not None:
            raise Refused(f"{self}: it has only the rows that meet where=; the others would be missing under the name")
        if source.schema().column != self.schema().column:
            what = f"its column {self.schema().column} is called {source.schema().column} in {source}"
            raise Refused(f"{self}: {what}: migrate into one of the same name")
        steps = [f"{live} is renamed to {self._kept(source)}, and {new} to {live}"]
        if source._named(live)[0].is_dir():
            steps.append(
                "these are two steps: for a moment the name is missing; after a kill the same command finishes"
            )
        steps.append("what is written between the last look at the source and the rename stays with the old vectors")
        return steps + self.losses(source)

    def _kept(self: Any, source: Any) -> str:
        live = Path(source._place()[1])

        def taken(name: str) -> bool:
            return any(path.exists() for path in self._named(name))

        return spare(lambda end: f"{live.stem}_{end}{live.suffix}", taken)

    def swap(self: Any, source: Any, last: Callable[[Any], Any]) -> Any:
        """Bring the last changes over, write the journal, and rename."""
        state = last(self.checkpoint())
        record = {
            "at": now(), "back": None, "done": False, "live": source._place()[1], "new": self._place()[1],
            "kept": self._kept(source), "destination": str(self), "source": state.source, "aligner": state.aligner,
            "count": state.count, "rows": state.rows, "verification": state.own.get("verification"),
            "verified": state.own.get("verified", 0), "mark": self._mark(),
        }  # fmt: skip
        source._note_swap(record)
        source.swap_finish()
        return state.keep(cutover=record)

    def swapped(self: Any) -> Checkpoint | None:
        """Read the journal."""
        record = self._record()
        if record is None or record["back"]:
            return None
        return Checkpoint(record["source"], record["aligner"], record["count"], own={"cutover": record})

    def swap_finish(self: Any) -> None:
        """Make the renames of the journal that are still to be made."""
        record = self._record()
        if record is None or record["done"]:
            return
        for live, new, kept in zip(*(self._named(record[name]) for name in ("live", "new", "kept")), strict=True):
            if record["back"] is None and new.exists():
                _swap(live, new, kept)
            elif record["back"] is not None and (kept.exists() or not new.exists()):
                _swap(live, kept, new)
        self._note_swap({**record, "done": True})
        self.close()

    def migrations(self: Any) -> list[tuple[str, Checkpoint]]:
        """Those of the folder that were cut over, and the one into this place."""
        records = [json.loads(path.read_text()) for path in sorted(self._place()[0].glob(".*.cutover.json"))]
        states = []
        for record in records:
            own = {"cutover": record, "verification": record.get("verification")}
            state = Checkpoint(record["source"], record["aligner"], record["count"], rows=record["rows"], own=own)
            states.append((str(self._place()[0] / record["new" if record["back"] else "live"]), state))
        here = str(self._place()[0] / self._place()[1])
        return states if here in dict(states) else [*states, *super().migrations()]

    def swap_back(self: Any, back: Any, leave: bool = False, dry_run: bool = False) -> SwappedBack:
        """Rename both again; rows that were written since stay aside."""
        record = self._record()
        if record is None:
            raise Refused(f"{self}: nothing was cut over here")
        done = SwappedBack(record["live"], record["new"], 0, 0)
        if record["back"]:
            return done
        if not any(path.exists() for path in self._named(record["kept"])):
            raise Refused(f"{self}: {record['kept']} is gone, and with it the old vectors")
        later = self._later(record["mark"])
        if not dry_run and later and not leave:
            raise Refused(
                f"{self}: {later:,} rows or more were written or deleted since the cut-over, and cannot be carried "
                f"back here; --leave leaves them in {record['new']}"
            )
        if not dry_run:
            self._note_swap({**record, "back": now(), "done": False})
            self.swap_finish()
        return SwappedBack(record["live"], record["new"], later, 0)


class RenamedFile(Renaming):
    """A file, or a folder of Parquet files."""

    def _place(self: Any) -> tuple[Path, str]:
        return self.path.absolute().parent, self.path.name

    def _named(self: Any, name: str) -> list[Path]:
        return [self.path.with_name(name), self.path.with_name(f"{name}{STATE}")]

    def _mark(self: Any) -> Any:
        return [size for _, *size in self.pin()]

    def _later(self: Any, mark: Any) -> int:
        return int(self._mark() != mark)


class RenamedTable(Renaming):
    """A table of LanceDB."""

    def _place(self: Any) -> tuple[Path, str]:
        return self.folder, self.name

    def _named(self: Any, name: str) -> list[Path]:
        return [self.folder / f"{name}.lance"]

    def _mark(self: Any) -> Any:
        return [self._table().version, self.count()]

    def _later(self: Any, mark: Any) -> int:
        version, rows = mark
        return 0 if self._table().version == version else max(1, abs(self.count() - rows))


def _swap(live: Path, incoming: Path, aside: Path) -> None:
    """Give ``incoming`` the name ``live``, and what had it the name ``aside``; whatever of it is done stays done."""
    if live.exists() and not aside.exists():
        if live.is_file() and incoming.exists():
            os.link(live, aside)  # so that the name is never missing
        else:
            live.rename(aside)
    if incoming.exists():
        incoming.replace(live)
