"""A new table like an old one: the steps that make it, and what stays behind."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from minivec.stores.postgres.catalog import (
    CONSTRAINTS,
    GRANTS,
    LEFT,
    POLICIES,
    SEQUENCES,
    TABLE,
    Column,
    Counter,
)
from minivec.stores.postgres.reading import Reader

COMMANDS = {"r": "SELECT", "a": "INSERT", "w": "UPDATE", "d": "DELETE", "*": "ALL"}


@dataclass(frozen=True)
class Statement:
    """A statement that makes part of the new table. ``what`` names the loss without it, empty for a needed step."""

    statement: Any
    what: str = ""


class Likeness:
    """The new table ``target`` of a table ``source``, whose vectors get another type.

    ``columns`` come before the rows. ``rest`` comes behind them: constraints that rows of a snapshot may not meet while
    others change what they refer to, and privileges that nobody needs before. Both name the column of vectors as the
    source does.
    """

    def __init__(self, source: Reader, target: Reader, vector: str, kind: Any):
        self._source, self._target, self.vector, self._kind = source, target, vector, kind
        self._table = source._oid()
        self._columns = source._columns()
        self._names: dict[str, str] = {}
        self.without: set[str] = set()  # generated columns that rows of the new width cannot have

    def sequences(self) -> list[Counter]:
        """The sequences of the source's columns, with their last numbers now."""
        return [Counter(*row) for row in self._source._query(SEQUENCES, (self._table,))]

    def computed(self) -> dict[str, Statement]:
        """The steps that make the columns that the server computes from the vector, by their names."""
        number, columns = self._columns[self.vector].number, self._columns.values()
        return {c.name: self._generated(c) for c in columns if c.generated and number in c.needs}

    def left(self) -> list[str]:
        """What the source has and a new table does not get, in words."""
        return [what for (what,) in self._source._query(LEFT, {"table": self._table})]

    def _step(self, query: str, what: str = "", **names: Any) -> Statement:
        return Statement(self._target._compose(query, **names), what)

    def columns(self) -> Iterator[Statement]:
        """The steps that make table, columns, sequences, defaults and key."""
        unlogged = self._source._query(TABLE, (self._table,))[0][0]
        yield self._step("CREATE {unlogged} TABLE {table} ()", unlogged=self._sql("UNLOGGED" if unlogged else ""))
        for column in self._columns.values():
            if not column.generated:
                yield from self._column(column)
            elif column.name not in self.without:
                yield self._generated(column)
        for sequence in self.sequences():
            yield from self._sequence(sequence)
        for column in self._columns.values():
            if column.expression and not column.generated:
                expression, what = self._own(column.expression), f"default of column {column.name}"
                yield self._alter(column, "SET DEFAULT {e}", f"{what}, {column.expression}", e=self._sql(expression))
        yield self._step("ALTER TABLE {table} ADD PRIMARY KEY ({keys})", keys=list(self._source._key_columns))

    def _sql(self, text: str) -> Any:
        return self._target._plain(text)

    def _alter(self, column: Column, query: str, what: str = "", **names: Any) -> Statement:
        return self._step("ALTER TABLE {table} ALTER COLUMN {column} " + query, what, column=column.name, **names)

    def _column(self, column: Column) -> Iterator[Statement]:
        type_ = self._kind if column.name == self.vector else self._sql(column.definition)
        yield self._step("ALTER TABLE {table} ADD COLUMN {column} {type}", column=column.name, type=type_)
        if column.collation:
            what = f"collation {column.collation} of column {column.name}"
            yield self._alter(column, "TYPE {t} COLLATE {c}", what, t=type_, c=self._sql(column.collation))
        if column.required:
            yield self._alter(column, "SET NOT NULL")
        if column.storage:
            what = f"storage {column.storage} of column {column.name}"
            yield self._alter(column, "SET STORAGE {s}", what, s=self._sql(column.storage))

    def _generated(self, column: Column) -> Statement:
        return self._step(
            "ALTER TABLE {table} ADD COLUMN {column} {type} GENERATED ALWAYS AS ({e}) {stored}",
            f"generated column {column.name}, {column.expression}",
            column=column.name, type=self._sql(column.definition), e=self._sql(column.expression or ""),
            stored=self._sql("STORED" if column.generated == "s" else "VIRTUAL"),
        )  # fmt: skip

    def _sequence(self, sequence: Counter) -> Iterator[Statement]:
        column, options = self._columns[sequence.column], self._sql(sequence.options)
        if column.identity:
            always = self._sql("ALWAYS" if column.identity == "a" else "BY DEFAULT")
            query = "ADD GENERATED {always} AS IDENTITY ({options})"
            yield self._alter(column, query, f"identity of column {column.name}", always=always, options=options)
        else:
            yield self._step(
                "CREATE SEQUENCE {name} AS {type} {options} OWNED BY {table}.{column}",
                name=self._target._name(self._named(sequence)), column=column.name, type=self._sql(sequence.type),
                options=options,
            )  # fmt: skip

    def _named(self, sequence: Counter) -> str:
        """The name of the new table's own sequence, short enough for PostgreSQL and used by nothing else."""
        if sequence.name not in self._names:
            stem = f"{self._target.table}_{sequence.column}".encode()[:55].decode(errors="ignore")
            names = (f"{stem}_seq{number or ''}" for number in range(1_000))
            self._names[sequence.name] = next(name for name in names if not self._target.exists(name))
        return self._names[sequence.name]

    def _own(self, expression: str) -> str:
        """The default with the new table's own sequences in place of the source's."""
        for sequence in self.sequences():
            new = self._target.shown(self._target._name(self._named(sequence)))
            old, new = (f"'{name.replace(chr(39), chr(39) * 2)}'::regclass" for name in (sequence.name, new))
            expression = expression.replace(old, new)
        return expression

    def rest(self) -> Iterator[Statement]:
        """The steps behind the rows: options, comments, constraints, privileges and row security."""
        _, options, comment, security, forced = self._source._query(TABLE, (self._table,))[0]
        if options:
            yield self._step("ALTER TABLE {table} SET ({o})", f"options {options}", o=self._sql(options))
        if comment:
            yield self._step("COMMENT ON TABLE {table} IS {c}", "the table's comment", c=self._literal(comment))
        for column in self._columns.values():
            if column.comment and column.name not in self.without:
                query, what = "COMMENT ON COLUMN {table}.{column} IS {c}", f"comment of column {column.name}"
                yield self._step(query, what, column=column.name, c=self._literal(column.comment))
        yield from self._constrained()
        for privilege, column, role, grantable in self._source._query(GRANTS, (self._table, self._table)):
            to = self._target._quoted(role) if role else self._sql("PUBLIC")
            if grantable:
                to = self._target._compose("{to} WITH GRANT OPTION", to=to)
            on = self._target._compose("({c})", c=column) if column else self._sql("")
            what = f"privilege {privilege} of {role or 'PUBLIC'}"
            yield self._step("GRANT {p} {on} ON {table} TO {to}", what, p=self._sql(privilege), on=on, to=to)
        yield from self._policies()
        if security:
            yield self._step("ALTER TABLE {table} ENABLE ROW LEVEL SECURITY", "row security")
        if forced:
            yield self._step("ALTER TABLE {table} FORCE ROW LEVEL SECURITY", "row security of the owner")

    def _literal(self, text: str) -> Any:
        return self._sql(self._target._sql.Literal(text).as_string(self._target._connection))

    def _constraints(self) -> list[Any]:
        return self._source._query(CONSTRAINTS, (self._table,))

    def _constrained(self) -> Iterator[Statement]:
        for name, kind, definition, own, refers, comment in self._constraints():
            what = f"{'check' if kind == 'c' else 'foreign key'} {name}, {definition}"
            later = kind == "f" and _provable(definition)
            if own:
                new = self._target.shown(self._target._name(self._target.table))
                definition = definition.replace(f" REFERENCES {refers}(", f" REFERENCES {new}(")
            query = "ALTER TABLE {table} ADD CONSTRAINT {name} {d}" + " NOT VALID" * later
            yield self._step(query, what, name=name, d=self._sql(definition))
            if comment:
                query = "COMMENT ON CONSTRAINT {name} ON {table} IS {c}"
                yield self._step(query, f"comment of constraint {name}", name=name, c=self._literal(comment))

    def proofs(self, all_rows: bool = True) -> Iterator[Statement]:
        """The steps that check the foreign keys, in a later transaction, so that other tables are locked briefly.

        Before ``all_rows`` are there, keys that refer to the table itself are left out.
        """
        keys = [row for row in self._constraints() if row[1] == "f" and (all_rows or not row[3])]
        valid = [name for name, _, definition, *_ in keys if _provable(definition)]
        query = "SELECT conname FROM pg_constraint WHERE conrelid = %s AND conname = ANY(%s) AND NOT convalidated"
        for (name,) in self._target._query(query, (self._target._oid(), valid)):
            what = f"foreign key {name} is not valid for all rows"
            yield self._step("ALTER TABLE {table} VALIDATE CONSTRAINT {name}", what, name=name)

    def _policies(self) -> Iterator[Statement]:
        for name, permissive, command, roles, using, check in self._source._query(POLICIES, (self._table,)):
            clauses = "AS " + ("PERMISSIVE" if permissive else "RESTRICTIVE") + f" FOR {COMMANDS[command]}"
            using = f" USING ({using})" if using else ""
            check = f" WITH CHECK ({check})" if check else ""
            to = self._target._quoted(roles) if roles else self._sql("PUBLIC")
            names = {"name": name, "clauses": self._sql(clauses), "to": to, "rows": self._sql(using + check)}
            yield self._step("CREATE POLICY {name} ON {table} {clauses} TO {to}{rows}", f"policy {name}", **names)


def _provable(definition: str) -> bool:
    """Whether all rows of the source meet this constraint."""
    return " NOT VALID" not in definition and " NOT ENFORCED" not in definition
