"""Trying what a migration will make in PostgreSQL, to tell what is lost and what it sets off."""

from collections.abc import Iterable
from typing import Any

import numpy as np

from minivec.stores.base import Block, Store
from minivec.stores.errors import Denied, Refused
from minivec.stores.postgres.carry import Likeness, Statement
from minivec.stores.postgres.catalog import DENSE, FIRED, KIND, TREE
from minivec.stores.postgres.reading import Reader
from minivec.stores.postgres.writing import Writer

PROBED = 20  # rows that are written and taken back before a new table is made


class Rehearsal(Writer):
    """The steps of a destination before it writes rows."""

    _likeness: Likeness | None = None
    _new_kind: Any

    def _kind(self, name: str, width: int) -> Any:
        """The type of the new vectors, by the name of its family."""
        schemas = self._query(KIND, (name,))
        if not schemas:
            raise Refused(f"{self}: no type {name} there; CREATE EXTENSION vector makes it")
        return self._compose(
            "{schema}.{type}({width})", schema=schemas[0][0], type=name, width=self._sql.Literal(width)
        )

    def _prepare(self, source: Store, width: int) -> Likeness | None:
        """Plan the new table; None for a new column of the source's own table."""
        if not isinstance(source, Reader):
            raise TypeError(f"{self}: expected a PostgreSQL source, got {source}")
        schema, oid = source.schema(), self._oid()
        self.column, self.key, self._key_columns = self.column or schema.column, schema.key, source._key_columns
        self.in_place = oid is not None and oid == source._oid() and self._server() == source._server()
        if oid is not None and not self.in_place:
            raise Refused(f"{self}: the table exists, and is not {source}'s own; name a new one")
        if self.in_place and self.column in self._columns():
            raise Refused(f"{self}: column {self.column!r} exists; name a new one")
        self._new_kind = self._kind(self.type or source._columns()[schema.column or ""].type, width)
        if self.in_place:
            return None
        elsewhere = self._server()[:2] != source._server()[:2]
        for column in source._columns().values():
            if self.column == column.name != schema.column:
                raise Refused(f"{self}: {source} has a column {column.name!r}; name another one")
            if column.name != schema.column and self._query("SELECT to_regtype(%s)", (column.definition,)) == [(None,)]:
                raise Refused(f"{self}: no type {column.definition} for the column {column.name!r} of {source}")
            if elsewhere and column.definition.startswith("reg"):
                what = f"column {column.name!r} of {source} is of type {column.definition}, which another database"
                raise Refused(f"{self}: {what} numbers otherwise")
        return Likeness(source, self, schema.column or "", self._new_kind)

    def rehearse(self, source: Store, width: int, block: Block) -> list[str]:
        """Make a new table, write the block, and take both back. Of a new column, only list what it sets off."""
        likeness = self._prepare(source, width)
        if likeness is not None:
            return self._tried(likeness, block)
        holders = self._holders()
        return [*self._set_off(), *([f"ALTER TABLE waits for a lock on the table{holders}"] if holders else [])]

    def _tried(self, likeness: Likeness, block: Block) -> list[str]:
        """Make the table, write the block, take both back, and return what is not carried over."""
        with self.guard():
            lost = self._locking("CREATE TABLE", lambda: self._rehearsed(likeness, block))
        self._likeness = likeness
        return [f"not carried over: {what}" for what in lost + likeness.left()]

    def _first_rows(self, source: Store, width: int) -> Block:
        """Some rows of the source with random vectors of the new width."""
        block = next(source.blocks(PROBED))
        X = np.random.default_rng(0).standard_normal((len(block.keys), width)).astype(np.float32)
        return block._replace(vectors=X / np.linalg.norm(X, axis=1, keepdims=True))

    def _rehearsed(self, likeness: Likeness, block: Block) -> list[str]:
        with self._connection.transaction(force_rollback=True):
            likeness.without = set(likeness.computed())
            lost = self._built(likeness)
            self._copy(block, self._encode(block.vectors, block.missing))
            self._rename(self.column, likeness.vector)
            for name, step in likeness.computed().items():
                if refusal := self._refusal(step):
                    lost.append(f"{step.what}: {refusal}")
                else:
                    likeness.without.remove(name)
            return lost + self._make(likeness.rest()) + self._make(likeness.proofs(all_rows=False))

    def _built(self, likeness: Likeness) -> list[str]:
        """Make the new table, and return what it lacks."""
        lost = self._make(likeness.columns())
        self._rename(likeness.vector, self.column)
        self._forget()
        return lost

    def _completed(self, likeness: Likeness) -> list[str]:
        """Make what follows the rows, with the vectors named as in the source, and return what the table lacks."""
        self._rename(self.column, likeness.vector)
        lost = self._make(likeness.rest())
        self._rename(likeness.vector, self.column)
        return lost

    def _rename(self, old: str | None, new: str | None) -> None:
        if old != new:
            self._run("ALTER TABLE {table} RENAME COLUMN {old} TO {new}", old=old, new=new)

    def _make(self, steps: Iterable[Statement]) -> list[str]:
        """Take the steps, failed ones twice, and return what failed; StoreError for a step that is needed."""
        failed = [step for step in steps if self._refusal(step)]
        return [f"{step.what}: {refusal}" for step in failed if (refusal := self._refusal(step))]

    def _refusal(self, step: Statement) -> str | None:
        """Take one step; return the server's reason if it refuses."""
        try:
            with self._connection.transaction():
                self._connection.execute(step.statement, ())
        except (self._errors.LockNotAvailable, self._errors.OperationalError):
            raise
        except self._errors.DuplicateObject:  # a constraint or policy that an earlier run has made
            return None
        except self._errors.Error as error:
            if not step.what:
                raise
            return error.diag.message_primary or str(error)
        return None

    def _tables(self) -> list[int]:
        """The table and its partitions."""
        return [oid for (oid,) in self._query(TREE, (self._oid(), self._oid()))]

    def _fired(self) -> list[str]:
        """Triggers and rules that the UPDATE of a new column sets off."""
        fired = self._query(FIRED, {"tables": self._tables()})
        return sorted({what for what, always in fired if always or not self.without_triggers})

    def _set_off(self) -> list[str]:
        """List what the UPDATE of every row sets off, and what makes it slow."""
        owner, table = self._query(
            "SELECT pg_has_role(relowner, 'USAGE'), relkind IN ('r', 'p') FROM pg_class WHERE oid = %s", (self._oid(),)
        )[0]
        if not table:
            raise Refused(f"{self}: not a table, and a view cannot get a column; name a new table")
        if not owner:
            raise Denied(f"{self}: must be owner of table {self.table}")
        notes = []
        if fired := self._fired():
            told = ", ".join(fired)
            notes.append(f"every row's UPDATE sets off {told}; without_triggers (--without-triggers) prevents triggers")
        if dense := [what for (what,) in self._query(DENSE, (self._tables(),))]:
            told = ", ".join(dense)
            notes.append(f"every row's UPDATE also changes the index {told}: drop it, migrate, and build it again")
        return notes
