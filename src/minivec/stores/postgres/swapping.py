"""New vectors in the place of the old ones: a table, or a column, gets the other's name in one transaction."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

from minivec.stores.base import MIGRATIONS
from minivec.stores.checkpoint import Checkpoint
from minivec.stores.errors import Denied, Refused
from minivec.stores.postgres.belongings import (
    KIND,
    REFERRED,
    SEQUENCE_GRANTS,
    SEQUENCES,
    TRIGGERS,
    Index,
    columns_readers,
    indexes,
    on_new_vectors,
    pointing,
)
from minivec.stores.postgres.catalog import GRANTS
from minivec.stores.postgres.reading import Reader
from minivec.stores.postgres.session import SETTLED
from minivec.stores.postgres.store import PostgresStore
from minivec.stores.swapping import now, spare

NEW = "minivec_new"  # the end of the names of new indexes
LONGEST = 63  # bytes of a name
ENABLED = {"O": "ENABLE", "D": "DISABLE", "R": "ENABLE REPLICA", "A": "ENABLE ALWAYS"}  # by pg_trigger.tgenabled

Name = list[str | None]  # what it is, its schema, the name of the old, the name of the new, and what the old gets


@dataclass(frozen=True)
class Plan:
    """The names that change places, the indexes to build first with their new names, and all of it in words."""

    names: list[Name]
    build: list[tuple[Index, str]]
    told: list[str]


class Swapper(PostgresStore):
    """A destination that can take the place of its source."""

    def swap_steps(self, source: Any) -> list[str]:
        """List what gets another name, what follows it, and what stays with the old table."""
        return self._swap_plan(source).told

    def _swap_plan(self, source: PostgresStore) -> Plan:
        oid = source._oid()
        kind, related, owned, _, schema, table = self._query(KIND, (oid,))[0]
        if self._server() != source._server():
            raise Refused(f"{self}: in another database than {source}: point the application to it by hand")
        if kind != "r" or related:
            raise Refused(f"{source}: a view, a partitioned table or one of inheritance cannot change places")
        if not owned:
            raise Denied(f"{source}: must be owner of table {source.table}")
        if source.filter:
            raise Refused(f"{self}: it has only the rows that meet where=; the others would be missing under the name")
        column = source.schema().column or ""
        if self.in_place:
            return self._columns_plan(source, column)
        around = pointing(source, column)
        if around.refused:
            raise Refused(f"{source}: " + "; ".join(around.refused))
        plan = self._tables_plan(source, column, schema, table)
        return Plan(plan.names, plan.build, plan.told + around.told)

    def _columns_plan(self, source: PostgresStore, column: str) -> Plan:
        """The new column gets the old one's name."""
        columns, schema = source._columns(), self._query(KIND, (source._oid(),))[0][4]
        if readers := columns_readers(source, column):
            raise Refused(f"{source}: {', '.join(readers)} would go on reading the old vectors: drop it first")
        kept = spare(partial(self._end, column), columns.__contains__)
        build = [(i, self._end(i.name, NEW)) for i in indexes(source, column) if i.on_vectors and i.valid]
        names: list[Name] = [["COLUMN", None, column, self.column, kept]]
        names += [["INDEX", schema, i.name, new, spare(partial(self._end, i.name), self.exists)] for i, new in build]
        told = [f"column {column} is renamed to {kept}, and {self.column} to {column}"]
        told += [f"index {index.name} is built on the new vectors" for index, _ in build]
        return Plan(names, build, told)

    def _tables_plan(self, source: PostgresStore, column: str, schema: str, table: str) -> Plan:
        """The new table gets the old one's name, and so do its key, indexes and sequences."""
        if self._query(KIND, (self._oid(),))[0][4] != schema:
            raise Refused(f"{self}: in another schema than {source}: migrate into one of {schema}")
        old, new = indexes(source, column), indexes(self, self.column or "")
        keys = [next((i.name for i in found if i.primary), None) for found in (old, new)]
        if keys[0] and source._unique()[0] != list(source._key_columns):
            raise Refused(f"{source}: its primary key is not the key of the migration; migrate by the primary key")
        kept = spare(partial(self._end, table), self.exists)
        build = [(i, self._end(i.name, NEW)) for i in old if i.valid and not i.primary and i.constraint != "x"]
        names: list[Name] = [["TABLE", schema, table, self.table, kept]]
        pairs = [(i.name, end) for i, end in build] + ([(keys[0], keys[1] or "")] if keys[0] else [])
        names += [["INDEX", schema, name, end, spare(partial(self._end, name), self.exists)] for name, end in pairs]
        own = {name: sequence for name, _, sequence, _ in self._query(SEQUENCES, (self._oid(),))}
        for name, place, sequence, _ in self._query(SEQUENCES, (source._oid(),)):
            if name in own:
                names.append(["SEQUENCE", place, sequence, own[name], spare(partial(self._end, sequence), self.exists)])
        if self.column != column:
            names.append(["COLUMN", None, column, self.column, None])
        told = [f"table {table} is renamed to {kept}, and {self.table} to {table}"]
        told += [f"index {index.name} is built on the new table" for index, _ in build]
        told += [f"trigger {name} is made on the new table" for name, _, _ in self._query(TRIGGERS, (source._oid(),))]
        done = ("index ", "trigger ", "foreign key ", "owner ")  # all of these are handled, exclusions excepted
        left = [what for what in self._likeness_of(source).left() if not what.startswith(done)]
        left += [f"exclusion constraint {i.name}" for i in old if i.constraint == "x"]
        return Plan(names, build, told + [f"stays with the old table: {what}" for what in left])

    @staticmethod
    def _end(name: str, end: str) -> str:
        return f"{name.encode()[: LONGEST - len(end) - 1].decode(errors='ignore')}_{end}"

    def swap_prepare(self, source: Any) -> None:
        """Build the indexes of the old vectors on the new ones, while others read and write."""
        column = source.schema().column
        before, after = source._columns()[column], self._columns()[self.column or ""]
        old, new = (
            (self._query("SELECT quote_ident(%s)", (name,))[0][0], kind.type, kind.modifier)
            for name, kind in ((column, before), (self.column or "", after))
        )
        for index, name in self._swap_plan(source).build:
            there = {i.name: i for i in indexes(self, self.column or "")}
            with self.guard():
                if name in there and not there[name].valid:  # of a run that was killed
                    self._run("DROP INDEX CONCURRENTLY {i}", i=self._name(name))
                if name not in there or not there[name].valid:
                    tail = self._plain(on_new_vectors(index.tail, old, new))
                    unique = self._plain("UNIQUE" if index.unique else "")
                    query = "CREATE {unique} INDEX CONCURRENTLY {i} ON {table} {tail}"
                    self._run(query, unique=unique, i=name, tail=tail)
                if index.constraint == "u" and not (name in there and there[name].constraint):
                    rest = (index.definition or "").rpartition(")")[2]
                    query = "ALTER TABLE {table} ADD CONSTRAINT {i} UNIQUE USING INDEX {i} {rest}"
                    self._run(query, i=name, rest=self._plain(rest))

    def swap(self, source: Any, last: Callable[[Any], Any]) -> Checkpoint:
        """Lock both tables, bring the last changes over, and swap the names, in one transaction."""
        with self.guard(), self._sharing(source):
            state: Checkpoint = source._locking("the cut-over", lambda: self._swapped(source, last))
        self.table, self.namespace = source.table, source.namespace
        self._adopt(state)
        source._forget()
        return state

    def _processes(self) -> list[int]:
        """Those of this connection alone where it writes for no migration."""
        return super()._processes() if "_source" in vars(self) else [self._connection.info.backend_pid]

    @contextmanager
    def _sharing(self, other: Reader) -> Iterator[None]:
        """``other`` asks by this connection: another one would wait for this one's locks."""
        own = other.__dict__.get("_connection")
        other.__dict__["_connection"] = self._connection
        try:
            yield
        finally:
            del other.__dict__["_connection"]
            if own is not None:
                other.__dict__["_connection"] = own

    def _swapped(self, source: PostgresStore, last: Callable[[Any], Any]) -> Checkpoint:
        self._run(SETTLED)
        column, oid = source.schema().column or "", source._oid()
        # Not a weaker lock first: a transaction that has read and is about to write would then be a deadlock.
        if self.in_place:
            self._lock_tables(source)
        else:
            self._lock_tables(source, self, others=pointing(source, column).tables)
        found = self.checkpoint()
        if found is None:
            raise Refused(f"{self}: it is gone")
        self.resume(found)  # an attempt before this one may have been taken back
        state = last(found)
        self._run("SET CONSTRAINTS ALL IMMEDIATE")  # a table with checks that are to come cannot be altered
        plan = self._swap_plan(source)
        mark, (xid,) = self._mark(), self._run("SELECT txid_current()").fetchone()
        record = {
            "at": now(), "back": None, "names": plan.names, "old": oid, "column": state.column,
            "new_column": state.new_column, "mark": mark, "xid": xid,
            "verified": state.own.get("verified", 0), "destination": str(self), "proofs": [],
        }  # fmt: skip
        if self.in_place:
            record |= {"required": source._columns()[column].required}
            self._swap_columns(source, column, plan.names)
        else:
            self._settle()
            around = pointing(source, column)
            record |= {"proofs": around.proofs, "foreign": self._query(REFERRED, (oid,))}
            self._swap_tables(source, plan.names, around.drops + around.makes)
        kept = plan.names[0][4] if self.in_place else state.column
        state = state.but(column=kept, new_column=column)
        self._own = {**self._own, "cutover": record}
        self._noted("UPDATE", state, lambda: None)
        return Checkpoint.from_json(self._last, self)

    def _lock_tables(self, *tables: Reader, others: Sequence[str] = ()) -> None:
        for name in (*(table._name(table.table) for table in tables), *map(self._plain, others)):
            self._run("LOCK TABLE {t} IN ACCESS EXCLUSIVE MODE", t=name)

    def _swap_columns(self, source: PostgresStore, column: str, names: list[Name]) -> None:
        """The renamed column takes over the comment, the privileges and NOT NULL."""
        old = source._columns()[column]
        granted = [row for row in self._query(GRANTS, (source._oid(), source._oid())) if row[1] == column]
        self._renamed(source, names)
        if old.comment:
            text = self._plain(self._sql.Literal(old.comment).as_string(self._connection))
            source._run("COMMENT ON COLUMN {table}.{c} IS {text}", c=column, text=text)
        for privilege, _, role, grantable in granted:
            self._grant(privilege, role, grantable, source._compose("({c}) ON {table}", c=column))
        if old.required:
            source._run("ALTER TABLE {table} ALTER COLUMN {old} DROP NOT NULL", old=names[0][4])
            source._run("ALTER TABLE {table} ALTER COLUMN {c} SET NOT NULL", c=column)

    def _swap_tables(self, source: PostgresStore, names: list[Name], after: list[str]) -> None:
        """The new table takes over owner, triggers and the sequences' privileges; what pointed at the old follows."""
        triggers, owner = self._query(TRIGGERS, (source._oid(),)), self._query(KIND, (source._oid(),))[0][3]
        granted = [
            (place, sequence, row)
            for _, place, sequence, oid in self._query(SEQUENCES, (source._oid(),))
            for row in self._query(SEQUENCE_GRANTS, (oid,))
        ]
        own = self._query(KIND, (self._oid(),))[0][3]
        for name, _, _ in self._query(REFERRED, (source._oid(),)):
            source._run("ALTER TABLE {table} DROP CONSTRAINT {name}", name=self._plain(name))
        self._renamed(source, names)
        if owner != own:
            source._run("ALTER TABLE {table} OWNER TO {o}", o=owner)
        for statement in after:
            self._run("{s}", s=self._plain(statement))
        for name, definition, enabled in triggers:
            source._run("DROP TRIGGER IF EXISTS {name} ON {table}", name=name)
            self._run("{s}", s=self._plain(definition))
            source._run("ALTER TABLE {table} {how} TRIGGER {name}", how=self._plain(ENABLED[enabled]), name=name)
        for place, sequence, (privilege, role, grantable) in granted:
            self._grant(privilege, role, grantable, self._compose("ON SEQUENCE {s}", s=self._of(place, sequence)))

    def _grant(self, privilege: str, role: str | None, grantable: bool, on: Any) -> None:
        to = self._quoted(role) if role else self._plain("PUBLIC")
        more = self._plain("WITH GRANT OPTION" if grantable else "")
        self._run("GRANT {p} {on} TO {to} {more}", p=self._plain(privilege), on=on, to=to, more=more)

    def _of(self, schema: str | None, name: str) -> Any:
        return self._sql.SQL(".").join([self._quoted(part) for part in (schema, name) if part])

    def _renamed(self, table: Reader, names: list[Name], back: bool = False) -> None:
        """Give the old what it keeps and the new the old's name, or the other way ``back``."""
        for what, schema, old, new, kept in reversed(names) if back else names:
            pairs = [(old, new), (kept, old)] if back else [(old, kept), (new, old)]
            for before, after in pairs:
                if before is None or after is None:  # a column of a new table that only has another name
                    continue
                if what == "COLUMN":
                    table._run("ALTER TABLE {table} RENAME COLUMN {b} TO {a}", b=before, a=after)
                else:
                    there = self._plain(f"{what} IF EXISTS" if what != "TABLE" else "TABLE")  # or dropped since
                    self._run("ALTER {what} {b} RENAME TO {a}", what=there, b=self._of(schema, before), a=after)

    def swapped(self) -> Checkpoint | None:
        """Read the state whose vectors have the name now."""
        states = [state for state in self._swaps() if not state.own["cutover"]["back"]]
        states = [state for state in states if self.column in (None, state.new_column)]
        return states[-1] if states else None

    def migrations(self) -> list[tuple[str, Checkpoint]]:
        """Read all rows of ``minivec_migrations``, with the names that table and column have now."""
        name = self.shown(self._name(MIGRATIONS))
        if self._query("SELECT has_table_privilege(to_regclass(%s), 'SELECT')", (name,)) != [(True,)]:
            return []
        query = (
            "SELECT coalesce(c.oid::regclass || '.' || a.attname, destination || ' (gone)'), state FROM {t} "
            "LEFT JOIN pg_class c ON c.oid::text = coalesce(state->'own'->'place', state->'place')->>0 "
            "LEFT JOIN pg_attribute a ON a.attrelid = c.oid AND NOT a.attisdropped "
            "AND a.attnum::text = coalesce(state->'own'->'place', state->'place')->>1 ORDER BY 1"
        )
        rows = self._query(query, t=self._name(MIGRATIONS))
        return [(name, Checkpoint.from_json(state, self)) for name, state in rows]

    def _swaps(self) -> list[Checkpoint]:
        """The states of this table's vectors that were cut over, by time; those that were taken back among them."""
        oid = self._oid()
        name = self.shown(self._name(MIGRATIONS))
        if oid is None or self._query("SELECT has_table_privilege(to_regclass(%s), 'SELECT')", (name,)) != [(True,)]:
            return []
        query = (
            "SELECT state FROM {t} WHERE state->'own' ? 'cutover' AND %s::text IN (CASE WHEN state->'own'->'cutover'->"
            ">'back' IS NULL THEN state->'own'->'place'->>0 ELSE state->'own'->'cutover'->>'old' END) "
            "ORDER BY state->'own'->'cutover'->>'at'"
        )
        return [Checkpoint.from_json(state, self) for (state,) in self._query(query, (oid,), t=self._name(MIGRATIONS))]

    def swap_finish(self) -> None:
        """Check the foreign keys that were pointed at the new table, for the rows that they had."""
        for statement in [s for state in self._swaps() for s in state.own["cutover"]["proofs"]]:
            with self.guard():
                try:
                    self._locking("VALIDATE CONSTRAINT", partial(self._run, "{s}", s=self._plain(statement)))
                except (self._errors.UndefinedObject, self._errors.ForeignKeyViolation):
                    continue  # it was dropped since, or rows that were left aside are what it lacks
