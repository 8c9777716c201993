"""PostgreSQL with pgvector: ``postgresql://HOST/DATABASE?table=[SCHEMA.]TABLE&column=...&key=...``.

Rows are read with a server-side cursor and written with COPY, both binary, so that what is beside the vectors passes
through byte for byte, whatever its types are.
"""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from minivec.stores.base import MIGRATIONS, Address, Block, Refused, Schema, Store, StoreError

ITEM = {"vector": ">f4", "halfvec": ">f2"}

COLUMNS = """
SELECT a.attname, t.typname, tn.nspname, a.atttypmod, a.atttypid, format_type(a.atttypid, a.atttypmod),
       a.attnotnull, a.attidentity <> '', a.attnum
FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid JOIN pg_namespace tn ON tn.oid = t.typnamespace
WHERE a.attrelid = %s AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = '' ORDER BY a.attnum
"""
UNIQUE = """
SELECT a.attname, i.indisprimary
FROM pg_index i JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[0]
WHERE i.indrelid = %s AND i.indisunique AND i.indnkeyatts = 1 AND i.indpred IS NULL AND i.indisvalid
ORDER BY i.indisprimary DESC
"""


@dataclass(frozen=True)
class _Column:
    name: str
    type: str
    type_schema: str
    modifier: int
    oid: int
    definition: str
    required: bool
    identity: bool
    number: int


class PostgresStore(Store):
    """A ``vector`` or ``halfvec`` column of a table.

    Keys are the texts of one unique column (the primary key where none is named), in its own order. A destination is a
    new column of the source's own table, or a new table with all its other columns, on this server or another one;
    ``type=halfvec`` changes the type. The checkpoint is a row of ``minivec_migrations``, in the destination's schema,
    written in the transaction of the block.
    """

    kind = "postgresql"
    extra = "postgres"

    def __init__(self, address: Address):
        super().__init__(address)
        options = dict(address.options)
        table = options.pop("table", None)
        self.column, self.key = options.pop("column", None), options.pop("key", None)
        self.type, self.namespace = options.pop("type", None), options.pop("schema", None)
        if not table:
            raise Refused(f"{self}: name the table: ?table=NAME")
        if self.type not in (None, *ITEM):
            raise Refused(f"{self}: type must be {' or '.join(ITEM)}, not {self.type!r}")
        if self.namespace is None and "." in table:
            self.namespace, _, table = table.partition(".")
        self.table: str = table
        self._target = {
            "host": address.host, "port": address.port, "user": address.user, "password": address.password,
            "dbname": address.path or None, **options,
        }  # fmt: skip
        self._in_place = False

    @cached_property
    def _connection(self) -> Any:
        psycopg, target = self.client("psycopg"), {"application_name": "minivec", **self._target}
        with self.guard():
            target = {name: value for name, value in target.items() if value not in (None, "")}
            conninfo = psycopg.conninfo.make_conninfo("", **target)  # which knows libpq's options, and no others
            return psycopg.connect(conninfo, autocommit=True, prepare_threshold=None)  # for poolers

    @cached_property
    def _sql(self) -> Any:
        return self.client("psycopg.sql")

    def _compose(self, query: str, **names: Any) -> Any:
        """A query with {names} put in: strings as quoted identifiers, lists as several, the rest as it is."""
        sql = self._sql

        def quoted(value: Any) -> Any:
            if isinstance(value, list):
                return sql.SQL(", ").join(map(sql.Identifier, value))
            return sql.Identifier(value) if isinstance(value, str) else value

        names = {"table": self._name(self.table), **names}
        return sql.SQL(query).format(**{name: quoted(value) for name, value in names.items()})

    def _name(self, table: str) -> Any:
        return self._sql.Identifier(*filter(None, (self.namespace, table)))

    def _query(self, query: str, parameters: Sequence[Any] = (), **names: Any) -> list[Any]:
        connection = self._connection
        with self.guard():
            cursor = connection.execute(self._compose(query, **names), parameters)
            return cursor.fetchall() if cursor.description else []

    def _oid(self) -> int | None:
        """The table's, or None where there is none."""
        found = self._query(
            "SELECT c.oid FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.relname = %s AND "
            "CASE WHEN %s::text IS NULL THEN pg_table_is_visible(c.oid) ELSE n.nspname = %s END "
            "AND c.relkind IN ('r', 'p', 'v', 'm', 'f')",
            (self.table, self.namespace, self.namespace),
        )
        return found[0][0] if found else None

    @cached_property
    def _layout(self) -> Schema:
        return self.schema()

    def _columns(self) -> dict[str, _Column]:
        return {row[0]: _Column(*row) for row in self._query(COLUMNS, (self._oid(),))}

    def _unique(self) -> list[str]:
        """Columns that are unique by themselves; a primary key first."""
        return [name for name, _ in self._query(UNIQUE, (self._oid(),))]

    def schema(self) -> Schema:
        """The only vector column and the primary key, where none are named."""
        if self._oid() is None:
            raise Refused(f"{self}: no table {self.table!r}" + (f" in {self.namespace}" if self.namespace else ""))
        columns = self._columns()
        vectors = [name for name, column in columns.items() if column.type in ITEM]
        column = self.column or (vectors[0] if len(vectors) == 1 else None)
        if column not in vectors:
            wanted = f"no vector or halfvec column {column!r}" if column else "name one vector column (column=)"
            raise Refused(f"{self}: {wanted}; there is {', '.join(vectors) or 'none'}")
        key = self.key or next(iter(self._unique()), None)
        if key is None:
            raise Refused(f"{self}: no primary key of one column; name a unique column (key=)")
        if key not in columns or key == column:
            raise Refused(f"{self}: no column {key!r} for a key; there is {', '.join(columns)}")
        width = columns[column].modifier
        if width < 1:  # the column was declared without one
            first = self._query(
                "SELECT vector_dims({column}) FROM {table} WHERE {column} IS NOT NULL LIMIT 1", column=column
            )
            width = first[0][0] if first else 0
        payload = tuple(name for name in columns if name not in (column, key))
        return Schema(column, key, width, payload)

    def count(self) -> int:
        """Rows that have a vector."""
        return self._query("SELECT count({column}) FROM {table}", column=self._layout.column)[0][0]

    def check(self) -> None:
        """Every row has a vector and a key, and no two have the same key."""
        schema = self.schema()
        names: dict[str, Any] = {"column": schema.column, "key": schema.key}
        nulls, keyless = self._query(
            "SELECT count(*) FILTER (WHERE {column} IS NULL), count(*) FILTER (WHERE {key} IS NULL) FROM {table}",
            **names,
        )[0]
        if keyless:
            raise Refused(f"{self}: key {schema.key!r} is NULL in {keyless} rows")
        if nulls:
            first = self._query(
                "SELECT {key}::text AS minivec_key FROM {table} WHERE {column} IS NULL ORDER BY {key} LIMIT 5", **names
            )
            listed = ", ".join(row[0] for row in first) + (", ..." if nulls > 5 else "")
            raise Refused(f"{self}: NULL instead of a vector in {nulls} rows: {schema.key} {listed}")
        if schema.key not in self._unique():
            twice = self._query(
                "SELECT {key}::text, count(*) FROM {table} GROUP BY {key} HAVING count(*) > 1 LIMIT 1", **names
            )
            if twice:
                raise Refused(f"{self}: key {schema.key!r} is not unique: {twice[0][0]} is in {twice[0][1]} rows")

    def _select(self, where: str, payload: bool = True) -> Any:
        """Rows as (key as text, key, payload..., vector)."""
        schema = self._layout
        columns = [schema.key, *(schema.payload if payload else ()), schema.column]
        return self._compose(
            "SELECT {key}::text AS minivec_key, {columns} FROM {table} " + where + " ORDER BY {key}",
            key=schema.key,
            columns=columns,
        )

    def _decode(self, rows: list[Any], schema: Schema) -> Block:
        """What psycopg gives of ``_select`` as a block."""
        keys, vectors = [row[0] for row in rows], [row[-1] for row in rows]
        if None in vectors:
            self.refuse("NULL instead of a vector", [i for i, v in enumerate(vectors) if v is None], keys)
        form = self._form(schema.width)
        if set(map(len, vectors)) - {form.itemsize}:
            wrong = [i for i, v in enumerate(vectors) if len(v) != form.itemsize]
            self.refuse(f"another length than {schema.width}", wrong, keys)
        X = np.frombuffer(b"".join(vectors), form)["values"].astype(np.float32)
        return Block(keys, X, [row[1:-1] for row in rows], keys[-1] if keys else None)

    def _form(self, width: int) -> np.dtype:
        """A vector in binary: its width, two bytes that are zero, and its values."""
        return np.dtype([("width", ">u2"), ("zero", ">u2"), ("values", self._item, width)])

    @cached_property
    def _item(self) -> np.dtype:
        return np.dtype(ITEM[self._columns()[self._layout.column or ""].type])

    @contextmanager
    def _cursor(self, query: Any, parameters: Sequence[Any]) -> Iterator[Any]:
        """A server-side cursor that gives values as the bytes that the server sent, texts excepted."""
        types, string = self.client("psycopg.postgres").types, self.client("psycopg.types.string")
        connection = self._connection
        with self.guard(), connection.transaction(), connection.cursor(name="minivec") as cursor:
            for oid in {oid for info in types for oid in (info.oid, info.array_oid)} - {0, types["text"].oid}:
                cursor.adapters.register_loader(oid, string.ByteaBinaryLoader)
            cursor.execute(query, parameters, binary=True)
            yield cursor

    def blocks(self, size: int, after: Any = None, payload: bool = True) -> Iterator[Block]:
        """Rows of one snapshot, by key; a position is the text of the last key."""
        schema = self._layout
        where, parameters = ("WHERE {key} > %s", (after,)) if after is not None else ("", ())
        with self._cursor(self._select(where, payload), parameters) as cursor:
            while True:
                rows = cursor.fetchmany(size)
                if not rows:
                    return
                yield self._decode(rows, schema)

    def keys(self) -> Sequence[str]:
        """The texts of all keys."""
        schema = self._layout
        return [
            row[0]
            for row in self._query("SELECT {key}::text AS minivec_key FROM {table} ORDER BY {key}", key=schema.key)
        ]

    def fetch(self, keys: Sequence[str]) -> Block:
        """The rows with these keys."""
        schema = self._layout
        # As a literal of no type it takes the key's; psycopg's own would be an array of text.
        escaped = (key.replace("\\", "\\\\").replace('"', '\\"') for key in keys)
        wanted = "{" + ",".join(f'"{key}"' for key in escaped) + "}"
        with self._cursor(self._select("WHERE {key} = ANY(%s)"), (wanted,)) as cursor:
            found = {row[0]: row for row in cursor.fetchall()}
        return self._decode([found[key] for key in keys if key in found], schema)

    def checkpoint(self) -> dict[str, Any] | None:
        """The row of ``minivec_migrations``, if it is about the column that is there."""
        oid = self._oid()
        column = None if oid is None else self._columns().get(self.column or "")
        if oid is None or (self.column and not column):
            return None
        notes, where = self._name(MIGRATIONS), "WHERE (state->'place'->>0)::bigint = %s"
        if self._query("SELECT to_regclass(%s)", (notes.as_string(),))[0][0]:
            found = [row[0] for row in self._query("SELECT state FROM {t} " + where, (oid,), t=notes)]
            found = [state for state in found if column is None or state["place"][1] == column.number]
            if len(found) == 1:
                self.column, self.key, self._in_place = (found[0][name] for name in ("new_column", "key", "in_place"))
                return found[0]
        if self.column is None:
            raise Refused(f"{self}: the table exists; name its new column (column=)")
        raise Refused(f"{self}: column {self.column!r} exists, and no migration has made it; name another one")

    def _id(self) -> str:
        return f"{self.table}.{self.column}"

    def create(self, source: Store, width: int, state: dict[str, Any]) -> None:
        """A new column, or a new table, and the checkpoint, in one transaction."""
        if not isinstance(source, PostgresStore):
            raise TypeError(f"{self}: expected a PostgreSQL source, got {source}")
        schema, oid = source.schema(), self._oid()
        self.column, self.key = self.column or schema.column, schema.key
        here = self._server() == source._server()
        self._in_place = here and oid is not None and oid == source._oid()
        if oid is not None and not self._in_place:
            raise Refused(f"{self}: the table exists, and is not {source}'s own; name a new one")
        old = source._columns()[schema.column or ""]
        kind = self._sql.SQL("{}({})").format(
            self._sql.Identifier(old.type_schema, self.type or old.type), self._sql.Literal(width)
        )
        with self.guard(), self._connection.transaction():
            if self._in_place:
                self._run("ALTER TABLE {table} ADD COLUMN {new} {kind}", new=self.column, kind=kind)
            elif here:
                self._run(
                    "CREATE TABLE {table} (LIKE {source} INCLUDING ALL EXCLUDING INDEXES)",
                    source=source._name(source.table),
                )
                self._run("ALTER TABLE {table} ALTER COLUMN {old} TYPE {kind}", old=schema.column, kind=kind)
                if self.column != schema.column:
                    self._run("ALTER TABLE {table} RENAME COLUMN {old} TO {new}", old=schema.column, new=self.column)
            else:
                self._run("CREATE TABLE {table} ({columns})", columns=self._definitions(source, schema, kind))
            if not self._in_place:
                self._run("ALTER TABLE {table} ADD PRIMARY KEY ({key})", key=schema.key)
            self._run(
                "CREATE TABLE IF NOT EXISTS {t} (destination text PRIMARY KEY, state jsonb NOT NULL)",
                t=self._name(MIGRATIONS),
            )
            number = self._run(
                "SELECT attnum FROM pg_attribute WHERE attrelid = %s AND attname = %s", (self._oid(), self.column)
            )
            state |= {"place": [self._oid(), number.fetchone()[0]], "new_column": self.column}
            state |= {"key": self.key, "in_place": self._in_place}
            self._run(
                "INSERT INTO {t} VALUES (%s, %s) ON CONFLICT (destination) DO UPDATE SET state = excluded.state",
                (self._id(), json.dumps(state)), t=self._name(MIGRATIONS),
            )  # fmt: skip

    def _run(self, query: str, parameters: Sequence[Any] = (), **names: Any) -> Any:
        """A statement of a transaction that ``guard`` is around."""
        return self._connection.execute(self._compose(query, **names), parameters)

    def _server(self) -> Any:
        return self._query("SELECT pg_postmaster_start_time()::text, current_database(), inet_server_port()")[0]

    def _definitions(self, source: "PostgresStore", schema: Schema, kind: Any) -> Any:
        """The columns of a table on another server, whose types must exist on this one."""
        defined = []
        for column in source._columns().values():
            name, type_ = column.name, self._sql.SQL(column.definition)
            if name == schema.column:
                name, type_ = self.column or name, kind
            elif self._query("SELECT to_regtype(%s)", (column.definition,))[0][0] is None:
                raise Refused(f"{self}: no type {column.definition} for the column {name!r} of {source}")
            required = self._sql.SQL(" NOT NULL" if column.required else "")
            defined.append(self._sql.SQL("{} {}{}").format(self._sql.Identifier(name), type_, required))
        return self._sql.SQL(", ").join(defined)

    def write(self, block: Block, state: dict[str, Any]) -> None:
        """Rows and state in one transaction, if the state is what this migration has last written."""
        schema = self._layout
        payload = [] if self._in_place else list(schema.payload)
        values = self._encode(block.vectors)
        before = state["rows"] - len(block.keys)
        with self.guard(), self._connection.transaction():
            moved = self._run(
                "UPDATE {t} SET state = %s WHERE destination = %s AND (state->>'rows')::bigint = %s",
                (json.dumps(state), self._id(), before), t=self._name(MIGRATIONS),
            )  # fmt: skip
            if moved.rowcount != 1:
                raise StoreError(f"{self}: another migration is writing there")
            names: dict[str, Any] = {"key": schema.key, "new": schema.column}
            if self._in_place:
                self._run(
                    "CREATE TEMP TABLE minivec_block ON COMMIT DROP AS SELECT {key}, {new} FROM {table} WITH NO DATA",
                    **names,
                )
            into = self._compose(
                "COPY {into} ({columns}) FROM STDIN (FORMAT BINARY)",
                into=self._sql.Identifier("minivec_block") if self._in_place else self._name(self.table),
                columns=[schema.key, *payload, schema.column],
            )  # fmt: skip
            with self._connection.cursor() as cursor, cursor.copy(into) as copy:
                for others, value in zip(block.payload, values, strict=True):
                    copy.write_row((others[0], value) if self._in_place else (*others, value))
            if self._in_place:
                self._run("UPDATE {table} t SET {new} = b.{new} FROM minivec_block b WHERE t.{key} = b.{key}", **names)

    def _encode(self, vectors: np.ndarray) -> list[bytes]:
        """Each row in the binary form of its type."""
        form = self._form(vectors.shape[1])
        data = np.zeros(len(vectors), form)
        data["width"], data["values"] = vectors.shape[1], vectors
        return data.view(f"V{form.itemsize}").tolist()

    def finish(self) -> None:
        """The identity of a new table goes on behind its rows, and the planner learns of them."""
        schema = self._layout
        if not self._in_place and self._columns()[schema.key or ""].identity:
            name = self._compose("{table}").as_string()
            self._query(
                "SELECT setval(pg_get_serial_sequence(%s, %s), (SELECT max({key}) FROM {table}))",
                (name, schema.key),
                key=schema.key,
            )
        self._query("ANALYZE {table}")

    def close(self) -> None:
        """Close the connection, and forget what the table was like."""
        connection = self.__dict__.pop("_connection", None)
        for cached in ("_layout", "_item"):
            self.__dict__.pop(cached, None)
        if connection is not None:
            connection.close()
