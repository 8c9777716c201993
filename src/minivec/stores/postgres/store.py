"""The PostgreSQL store. As a destination it makes a new column of the source's table, or a new table like it."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from minivec.stores.base import MIGRATIONS, Block, Store
from minivec.stores.checkpoint import Checkpoint
from minivec.stores.errors import Refused, StoreError
from minivec.stores.postgres.carry import Likeness
from minivec.stores.postgres.catalog import Counter
from minivec.stores.postgres.reading import AMONG, Reader
from minivec.stores.postgres.rehearsal import Rehearsal

SET_SEQUENCE = """
SELECT setval(s, x) FROM pg_get_serial_sequence(%s, %s) AS s,
LATERAL (SELECT {furthest}(pg_sequence_last_value(s::regclass), %s, (SELECT {end}({column}) FROM {table}))) AS n(x)
WHERE x IS NOT NULL
"""


class PostgresStore(Rehearsal):
    """A ``vector`` or ``halfvec`` column of a table.

    Keys are the texts of one unique column, or of several (``key=a,b``), the primary key where none is named, in its
    own order. ``where`` is a condition in SQL that the rows meet. A destination is a new column of the source's own
    table, or a new table with all its other columns, on this server or another one; ``type=halfvec`` changes the type.
    The checkpoint is a row of ``minivec_migrations``, in the destination's schema, written in the transaction of the
    block.
    """

    keeps_nulls = True
    _old: str | None = None  # the source's column, beside a new one
    _id = _last = ""  # the checkpoint's name, and its text as this run knows it
    _own: Mapping[str, Any] = {}

    def identity(self) -> str:
        """Database, table, column, key and filter."""
        return f"{super().identity()}, key {self._layout.key}"

    def place(self) -> str:
        """The table, with the schema that it is found in."""
        info = self._connection.info
        (name,) = self._query("SELECT %s::regclass::oid::regclass::text", (self.shown(self._name(self.table)),))[0]
        return f"postgresql://{info.host}:{info.port}/{info.dbname}/{name}"

    def lock(self) -> None:
        """Hold the table's lock in a transaction of another connection; it falls with the process."""
        place = "coalesce(%s, current_schema()) || '.' || %s"
        with self.guard():
            self._lock = self._connect(autocommit=False)
            query = f"SELECT pg_try_advisory_xact_lock(hashtextextended('minivec ' || {place}, 0))"
            if not self._lock.execute(query, (self.namespace, self.table)).fetchone()[0]:
                raise StoreError(f"{self}: another migration is writing there")
            # The last statement: it lets go of the snapshot, for which VACUUM and a concurrent index would wait.
            self._lock.execute("SET LOCAL idle_in_transaction_session_timeout = 0")

    def close(self) -> None:
        """Let go of the lock and the connection."""
        lock = self.__dict__.pop("_lock", None)
        if lock is not None:
            lock.close()
        super().close()

    def checkpoint(self) -> Checkpoint | None:
        """Read the row of ``minivec_migrations`` that is about this column."""
        if (oid := self._oid()) is None:
            return None
        column = self._columns().get(self.column or "")
        if self.column and not column:
            return None
        found = [row for row in self._notes(oid) if column is None or row[1].own["place"][1] == column.number]
        if len(found) == 1:
            return found[0][1]
        if self.column is None:
            raise Refused(f"{self}: the table exists; name its new column (column=)")
        raise Refused(f"{self}: column {self.column!r} exists, and no migration has made it; name another one")

    def _notes(self, oid: int) -> list[tuple[str, Checkpoint, str]]:
        """Read the checkpoints of the table's columns: name, checkpoint and text of each."""
        name = self.shown(self._name(MIGRATIONS))
        if self._query("SELECT has_table_privilege(to_regclass(%s), 'SELECT')", (name,)) != [(True,)]:
            return []
        query = (
            "SELECT destination, state, state::text FROM {t} "
            "WHERE coalesce(state->'own'->'place', state->'place')->>0 = %s::text"
        )
        rows = self._query(query, (oid,), t=self._name(MIGRATIONS))
        return [(name, Checkpoint.from_json(state, self), text) for name, state, text in rows]

    def resume(self, checkpoint: Checkpoint) -> None:
        """Go on with the column that the checkpoint names."""
        self._adopt(checkpoint)
        for name, found, text in self._notes(checkpoint.own["place"][0]):
            if found.own["place"] == checkpoint.own["place"]:
                self._id, self._last = name, text

    def _adopt(self, checkpoint: Checkpoint) -> None:
        self.column, self.in_place, self._own = checkpoint.new_column, checkpoint.in_place, checkpoint.own
        self.key, self.skip_nulls, self._old = checkpoint.own["key"], True, checkpoint.column
        self.complete = bool(self._own.get("complete"))
        if self.in_place:
            self.filter = checkpoint.own.get("filter")
        self._forget()

    def create(self, source: Store, width: int, checkpoint: Checkpoint) -> Checkpoint:
        """Make the new column or table, and write the checkpoint, in one transaction."""
        likeness = self._prepare(source, width)
        self.notes = self._set_off() if likeness is None else self._tried(likeness, self._first_rows(source, width))
        with self.guard():
            made = self._locking("ALTER TABLE" if self.in_place else "CREATE TABLE", lambda: self._created(checkpoint))
        self._adopt(made)
        return made

    def _created(self, checkpoint: Checkpoint) -> Checkpoint:
        if self.in_place:
            self._run("ALTER TABLE {table} ADD COLUMN {new} {kind}", new=self.column, kind=self._new_kind)
            self._check_triggers()
        else:
            self._built(self._likeness_of(self._source))
        return self._begun(checkpoint)

    def _begun(self, checkpoint: Checkpoint) -> Checkpoint:
        """Write the first checkpoint, in the transaction that makes the column or table."""
        self._run(
            "CREATE TABLE IF NOT EXISTS {t} (destination text PRIMARY KEY, state jsonb NOT NULL)",
            t=self._name(MIGRATIONS),
        )
        query = "SELECT attrelid::bigint, attnum FROM pg_attribute WHERE attrelid = %s AND attname = %s"
        place = self._run(query, (self._oid(), self.column)).fetchone()
        own = {"place": place, "key": self.key, "filter": self._source.filter}
        made = checkpoint.but(new_column=self.column, in_place=self.in_place).keep(**own)
        self._id, self._last = f"{self.table}.{self.column} {place[0]}.{place[1]}", made.to_json()
        self._run("INSERT INTO {t} VALUES (%s, %s)", (self._id, self._last), t=self._name(MIGRATIONS))
        return made

    def _check_triggers(self) -> None:
        """Update one row and take it back; Refused where a trigger or rule prevents it."""
        self._silence()
        if not (fired := self._fired()):
            return
        names = {"new": self.column, "keys": self._quoted(list(self._key_columns))}
        with self._connection.transaction(force_rollback=True):
            query = "UPDATE {table} SET {new} = {new} WHERE ({keys}) IN (SELECT {keys} FROM {table} LIMIT 1)"
            if self._run(query, **names).rowcount != 1:
                raise Refused(f"{self}: no row is changed, because of {', '.join(fired)}")

    def write(self, block: Block, checkpoint: Checkpoint) -> None:
        """Write rows and checkpoint in one transaction; StoreError where another run has changed the checkpoint."""
        vectors = self._encode(block.vectors, block.missing)
        put = self._update if self.in_place else self._copy
        self._noted("UPDATE" if self.in_place else "COPY", checkpoint, lambda: put(block, vectors))

    def replace(self, block: Block, checkpoint: Checkpoint) -> None:
        """Write rows whose keys may be there, and the checkpoint, in one transaction."""
        vectors = self._encode(block.vectors, block.missing)
        put = self._update if self.in_place else self._upsert
        self._noted("UPDATE", checkpoint, lambda: put(block, vectors))

    def remove(self, keys: Sequence[str], checkpoint: Checkpoint) -> None:
        """Delete rows of a new table, or empty them in a new column, and write the checkpoint."""
        self._noted("DELETE", checkpoint, lambda: self._removed(keys) if keys else None)
        if not self.in_place:
            self._settle()

    def _removed(self, keys: Sequence[str]) -> None:
        query = "UPDATE {table} SET {column} = NULL" if self.in_place else "DELETE FROM {table}"
        self.schema()
        exactly = ' AND {text} COLLATE "C" = ANY(%s)'  # types and collations of keys may call other texts equal
        self._run(f"{query} WHERE {AMONG}{exactly}", [*self._arrays(keys), list(keys)], **self._names())

    def _noted(self, what: str, checkpoint: Checkpoint, work: Callable[[], object]) -> None:
        """Do ``work`` and write the checkpoint, with the transaction's number for a new column, in one transaction."""

        def both() -> None:
            self._silence()
            own = dict(self._own)
            if self.in_place:
                xid, oldest = self._run("SELECT txid_current()").fetchone()[0], (checkpoint.version or {}).get("xid", 0)
                own["transactions"] = joined(own.get("transactions", []), xid, oldest)
            last = checkpoint.keep(**own).to_json()
            query = "UPDATE {t} SET state = %s WHERE destination = %s AND state = %s"
            if self._run(query, (last, self._id, self._last), t=self._name(MIGRATIONS)).rowcount != 1:
                raise StoreError(f"{self}: another migration is writing there")
            work()
            self._last, self._own = last, own

        with self.guard():
            self._locking(what, both)

    def note(self, checkpoint: Checkpoint, **own: Any) -> None:
        """Write the checkpoint with these values."""
        self._own = {**self._own, **own}
        self._noted("UPDATE", checkpoint, lambda: None)

    def own_transactions(self) -> list[list[int]]:
        """Ranges of the transactions that have written the new column."""
        return self._own.get("transactions", [])

    def _present(self) -> list[str]:
        """A row of a new column counts if it has a vector there, or none in the old column."""
        return ["({column} IS NOT NULL OR {old} IS NULL)"] if self.in_place else super()._present()

    def _names(self) -> dict[str, Any]:
        return {**super()._names(), "old": self._old}

    def finish(self) -> None:
        """Make what follows the rows: constraints, comments, privileges, and the planner's statistics."""
        if not self.in_place:
            if not self.complete:
                with self.guard():
                    lost = self._locking("ALTER TABLE", lambda: self._completed(self._likeness_of(self._source)))
                lost = [f"not carried over: {what}" for what in lost]
                self.notes = [*self.notes, *(what for what in lost if what not in self.notes)]
            self._settle()
        self._ended()

    def _ended(self) -> None:
        """Give the planner its statistics, and note that all rows are there."""
        with self.guard():
            self._locking("ANALYZE", lambda: self._run("ANALYZE {table}"))
        if not self.complete:
            self._own, self.complete = {**self._own, "complete": True}, True
            self._noted("UPDATE", Checkpoint.from_json(self._last, self), lambda: None)

    def _settle(self) -> None:
        """Set the sequences behind the largest keys, and check the foreign keys for all rows."""
        likeness = self._likeness_of(self._source)
        for counter in likeness.sequences():
            self._go_on(counter)
        with self.guard():
            self._locking("VALIDATE CONSTRAINT", lambda: self._make(likeness.proofs()))

    def _likeness_of(self, source: Reader) -> Likeness:
        if self._likeness is None:
            self._likeness = Likeness(source, self, source.schema().column or "", None)
        return self._likeness

    def _go_on(self, sequence: Counter) -> None:
        """Set a sequence of the new table behind its rows and behind the source's sequence."""
        furthest, end = ("greatest", "max") if sequence.rising else ("least", "min")
        place = self.shown(self._compose("{table}")), sequence.column
        names = {"furthest": self._plain(furthest), "end": self._plain(end), "column": sequence.column}
        self._query(SET_SEQUENCE, (*place, sequence.last), **names)


def joined(ranges: list[list[int]], number: int, oldest: int) -> list[list[int]]:
    """Add a number to ranges of whole numbers, and drop those that end before ``oldest``."""
    ranges = [[first, last] for first, last in ranges if last >= oldest]
    if ranges and ranges[-1][1] + 1 == number:
        return [*ranges[:-1], [ranges[-1][0], number]]
    return [*ranges, [number, number]]
