"""A table as a destination: a new column of the source's own table, or a new table like it."""

import json
from collections.abc import Sequence
from typing import Any

from minivec.stores.base import MIGRATIONS, Block, Refused, Store, StoreError
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

    def checkpoint(self) -> dict[str, Any] | None:
        """The row of ``minivec_migrations``, if it is about the column that is there."""
        oid = self._oid()
        column = None if oid is None else self._columns().get(self.column or "")
        if oid is None or (self.column and not column):
            return None
        if self.exists(MIGRATIONS):
            found = self._query(
                "SELECT destination, state, state::text FROM {t} WHERE (state->'place'->>0)::bigint = %s",
                (oid,), t=self._name(MIGRATIONS),
            )  # fmt: skip
            found = [row for row in found if column is None or row[1]["place"][1] == column.number]
            if len(found) == 1:
                self._id, state, self._last = found[0]
                self.column, self.key, self._in_place = (state[name] for name in ("new_column", "key", "in_place"))
                return state
        if self.column is None:
            raise Refused(f"{self}: the table exists; name its new column (column=)")
        raise Refused(f"{self}: column {self.column!r} exists, and no migration has made it; name another one")

    def create(self, source: Store, width: int, state: dict[str, Any]) -> None:
        """A new column, or a new table, and the checkpoint, in one transaction."""
        if self._likeness is None:
            self.rehearse(source, width)
        with self.guard():
            self._locking("ALTER TABLE" if self._in_place else "CREATE TABLE", lambda: self._created(source, state))

    def _created(self, source: Store, state: dict[str, Any]) -> None:
        if self._likeness is None:
            self._run("ALTER TABLE {table} ADD COLUMN {new} {kind}", new=self.column, kind=self._new_kind)
            self._check_triggers()
        else:
            self._built(self._likeness)
        self._run(
            "CREATE TABLE IF NOT EXISTS {t} (destination text PRIMARY KEY, state jsonb NOT NULL)",
            t=self._name(MIGRATIONS),
        )
        oid, number = self._run(
            "SELECT attrelid::bigint, attnum FROM pg_attribute WHERE attrelid = %s AND attname = %s",
            (self._oid(), self.column),
        ).fetchone()
        self._id = f"{self.table}.{self.column} {oid}"
        state |= {"place": [oid, number], "new_column": self.column, "key": self.key, "in_place": self._in_place}
        self._last = json.dumps(state)
        self._run("INSERT INTO {t} VALUES (%s, %s)", (self._id, self._last), t=self._name(MIGRATIONS))

    def _check_triggers(self) -> None:
        """Refuse what would keep the new column empty, tried on one row."""
        self._silence()
        if not (fired := self._fired()):
            return
        names = {"new": self.column, "keys": self._quoted(list(self._key_columns))}
        with self._connection.transaction(force_rollback=True):
            query = "UPDATE {table} SET {new} = {new} WHERE ({keys}) IN (SELECT {keys} FROM {table} LIMIT 1)"
            if self._run(query, **names).rowcount != 1:
                raise Refused(f"{self}: no row is changed, because of {', '.join(fired)}")

    def write(self, block: Block, state: dict[str, Any]) -> None:
        """Rows and state in one transaction, if the state is what this migration has last written."""
        vectors = self._encode(block.vectors)
        with self.guard():
            state |= self._locking("UPDATE" if self._in_place else "COPY", lambda: self._written(block, vectors, state))

    def _written(self, block: Block, vectors: list[bytes], state: dict[str, Any]) -> dict[str, Any]:
        """What is to be added to the state."""
        added = {}
        if self._in_place:
            self._silence()
            xid = self._run("SELECT txid_current()").fetchone()[0]
            added["own"] = joined(state.get("own", []), xid)
        last = json.dumps(state | added)
        moved = self._run(
            "UPDATE {t} SET state = %s WHERE destination = %s AND state = %s",
            (last, self._id, self._last), t=self._name(MIGRATIONS),
        )  # fmt: skip
        if moved.rowcount != 1:
            raise StoreError(f"{self}: another migration is writing there")
        self._update(block, vectors) if self._in_place else self._copy(block, vectors)
        self._last = last
        return added

    def delete(self, keys: Sequence[str]) -> None:
        """Rows that the source has no more; of a new column, their vectors."""
        query = "UPDATE {table} SET {column} = NULL" if self._in_place else "DELETE FROM {table}"
        with self.guard():
            self._locking("DELETE", lambda: self._removed(query, keys))

    def _removed(self, query: str, keys: Sequence[str]) -> None:
        self._silence()
        self._run(query + " WHERE " + AMONG, self._arrays(keys), **(self._layout and self._names()))

    def finish(self) -> None:
        """What comes behind the rows: sequences, constraints, comments, privileges; the planner learns of the rows."""
        with self.guard():
            if not self._in_place and isinstance(self._source, Reader):
                likeness = Likeness(self._source, self, self._source.schema().column or "", None)
                for counter in likeness.sequences:
                    self._go_on(counter)
                self._locking("ALTER TABLE", lambda: self._completed(likeness))
                self._locking("VALIDATE CONSTRAINT", lambda: self._make(likeness.proofs()))
            self._locking("ANALYZE", lambda: self._run("ANALYZE {table}"))

    def _go_on(self, sequence: Counter) -> None:
        """The new table's own sequence goes on behind its rows and the source's numbers."""
        furthest, end = ("greatest", "max") if sequence.rising else ("least", "min")
        place = self.shown(self._compose("{table}")), sequence.column
        names = {"furthest": self._plain(furthest), "end": self._plain(end), "column": sequence.column}
        self._query(SET_SEQUENCE, (*place, sequence.last), **names)


def joined(ranges: list[list[int]], number: int) -> list[list[int]]:
    """Ranges of whole numbers, and one more behind them."""
    if ranges and ranges[-1][1] + 1 == number:
        return [*ranges[:-1], [ranges[-1][0], number]]
    return [*ranges, [number, number]]
