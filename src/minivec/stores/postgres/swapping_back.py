"""The old vectors under their name again, with what has come since."""

from collections.abc import Callable
from typing import Any

from minivec.stores.base import Changes
from minivec.stores.checkpoint import Checkpoint
from minivec.stores.errors import Refused
from minivec.stores.postgres.belongings import TRIGGERS, columns_readers, pointing
from minivec.stores.postgres.session import SETTLED
from minivec.stores.postgres.swapping import ENABLED, Swapper
from minivec.stores.swapping import SwappedBack, now

TOGETHER = 4_096  # rows that are carried back together


class SwappingStore(Swapper):
    """A table whose vectors can take the place of the source's, and go back."""

    def swap_back(
        self, back: Callable[[Any, Any], Any] | None, leave: bool = False, dry_run: bool = False
    ) -> SwappedBack:
        """Lock both tables, carry over what came since, and give the names back, in one transaction."""
        state = self.swapped()
        if state is None:
            undone = [state for state in self._swaps() if state.own["cutover"]["back"]]
            if not undone:
                raise Refused(f"{self}: nothing was cut over here")
            names = undone[-1].own["cutover"]["names"]
            return SwappedBack(str(names[0][2]), str(names[0][3]), 0, 0)
        if not dry_run:
            self.lock()
        with self.guard():
            done: SwappedBack = self._locking("the rollback", lambda: self._swapped_back(back, leave, dry_run))
        self._forget()
        return done

    def _swapped_back(self, back: Callable[[Any, Any], Any] | None, leave: bool, dry_run: bool) -> SwappedBack:
        self._run(SETTLED)
        state = self.swapped()
        if state is None:
            raise Refused(f"{self}: nothing was cut over here")
        record = state.own["cutover"]
        new, old = self._sides(state)
        if not dry_run and state.in_place:
            self._lock_tables(new)
        elif not dry_run:
            self._lock_tables(new, old, others=pointing(new, new.column or "").tables)
        changes = new.changes(record["mark"]) or Changes([], [], None)
        later = len(changes.written) + len(changes.deleted)
        done = SwappedBack(record["names"][0][2], record["names"][0][3], later, later if back else 0)
        if dry_run:
            return done
        if later and back is None and not leave:
            raise Refused(
                f"{self}: since the cut-over {len(changes.written):,} rows were written and {len(changes.deleted):,} "
                "deleted; name the aligner (-a) to carry them back, or leave them aside (--leave)"
            )
        if later and back is not None:
            self._carry(new, old, changes, back)
        self._run("SET CONSTRAINTS ALL IMMEDIATE")
        proofs = self._columns_back(new, record) if state.in_place else self._tables_back(new, old, record)
        self.resume(state)
        self._own = {**self._own, "cutover": {**record, "back": now(), "proofs": proofs}}
        undone = state.but(column=record["column"], new_column=record["new_column"])
        if later and back is None:  # the new vectors have rows that the old do not know: compare all the next time
            undone = undone.but(version=None)
        self._noted("UPDATE", undone, lambda: None)
        return done

    def _sides(self, state: Checkpoint) -> tuple["SwappingStore", "SwappingStore"]:
        """The new vectors and the old ones, by their names now; both ask by this connection."""
        record = state.own["cutover"]
        what, kept = record["names"][0], record["names"][0][4]
        new, old = type(self)(self.address), type(self)(self.address)
        for store in (new, old):
            store.__dict__["_connection"] = self._connection
            store.key, store.filter, store.skip_nulls = state.own["key"], None, True
        new.column, old.column = state.new_column, kept if state.in_place else record["column"]
        old.table = self.table if state.in_place else kept
        if old._oid() is None or old.column not in old._columns():
            raise Refused(f"{self}: {what[0].lower()} {kept} is gone, and with it the old vectors")
        new._beside, old._source, old.in_place = old, new, state.in_place
        transactions = state.own.get("transactions", []) if state.in_place else []
        old._own = {"transactions": [*transactions, [record["xid"]] * 2]}
        new.schema(), old.schema()
        return new, old

    def _carry(self, new: "SwappingStore", old: "SwappingStore", changes: Changes, back: Callable[..., Any]) -> None:
        """Write to the old vectors what has come, changed or gone since; their triggers have seen it elsewhere."""
        triggers = self._query(TRIGGERS, (old._oid(),))
        old._run("ALTER TABLE {table} DISABLE TRIGGER USER")
        put = old._update if old.in_place else old._upsert
        for start in range(0, len(changes.written), TOGETHER):
            block = new.fetch(list(changes.written[start : start + TOGETHER]))
            if len(block.keys):
                put(block, old._encode(back(block, old.fetch(block.keys)), block.missing))
        if len(changes.deleted):
            old._removed(list(changes.deleted))
        for name, _, enabled in triggers:
            old._run("ALTER TABLE {table} {how} TRIGGER {name}", how=self._plain(ENABLED[enabled]), name=name)

    def _columns_back(self, new: "SwappingStore", record: dict[str, Any]) -> list[str]:
        """Rename both columns again."""
        if readers := columns_readers(new, new.column or ""):
            raise Refused(f"{self}: {', '.join(readers)} would go on reading the new vectors: drop it first")
        self._renamed(new, record["names"], back=True)
        if record["required"]:
            new._run("ALTER TABLE {table} ALTER COLUMN {c} DROP NOT NULL", c=record["new_column"])
            if not new._run("SELECT 1 FROM {table} WHERE {c} IS NULL LIMIT 1", c=record["column"]).fetchone():
                new._run("ALTER TABLE {table} ALTER COLUMN {c} SET NOT NULL", c=record["column"])
        return []

    def _tables_back(self, new: "SwappingStore", old: "SwappingStore", record: dict[str, Any]) -> list[str]:
        """Rename both tables again, with what points at them; the statements that prove foreign keys afterwards."""
        around = pointing(new, new.column or "")
        if around.refused:
            raise Refused(f"{self}: " + "; ".join(around.refused))
        for counter in old._likeness_of(new).sequences():
            old._go_on(counter)
        for name, _, _ in self._query(TRIGGERS, (new._oid(),)):  # the old table has its own
            new._run("DROP TRIGGER {name} ON {table}", name=name)
        self._renamed(new, record["names"], back=True)
        for statement in around.drops + around.makes:
            self._run("{s}", s=self._plain(statement))
        proofs = list(around.proofs)
        for name, definition, valid in record["foreign"]:
            names = {"name": self._plain(name), "d": self._plain(definition), "later": self._plain("NOT VALID" * valid)}
            new._run("ALTER TABLE {table} ADD CONSTRAINT {name} {d} {later}", **names)
            if valid:
                table = new.shown(new._name(new.table))
                proofs.append(f"ALTER TABLE {table} VALIDATE CONSTRAINT {name}")
        return proofs
