"""Rows of a table in key order, of one snapshot, and those that have changed since another one."""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from typing import Any

import numpy as np

from minivec.stores.base import Block, Changes, Schema
from minivec.stores.blocks import Sized
from minivec.stores.errors import Refused
from minivec.stores.postgres.catalog import COLUMNS, PATH, UNIQUE, Column
from minivec.stores.postgres.session import ITEM, Session

AMONG = "({keys}) IN (SELECT * FROM unnest({arrays}))"  # the key is one of ``_arrays``
# A row's version is the transaction that wrote it, of 32 bits: compared as the distance from an older one.
CHANGED = "(xmin::text::bigint - %s & 4294967295) <= txid_snapshot_xmax(txid_current_snapshot()) - %s"
ALIKE = "SELECT count(*) FROM {table} WHERE {c} = %s OR {c} IS NULL"


class Rows(list[tuple[bytes | None, ...]]):
    """Key and payload of rows as the server sent them, which another table takes as they are."""

    def __init__(self, reader: "Reader", rows: list[Any]):
        super().__init__(row[1:-1] for row in rows)
        self._reader, self._keys = reader, [row[0] for row in rows]

    def to_pylist(self) -> list[Any]:
        """Payload as text: the bytes of arrays and composites name types by numbers of their database."""
        return self._reader.texts(self._keys)


class Reader(Session):
    """The questions that a source answers."""

    in_place = False  # of a destination: whether its rows are the source's own
    complete = False  # of a destination: whether all rows have been written once
    _beside: "Reader | None" = None  # of a source: the destination of its rows

    def schema(self) -> Schema:
        """The only vector column and the primary key, where none are named."""
        return self._layout

    def _columns(self) -> dict[str, Column]:
        return {row[0]: Column(*row) for row in self._query(COLUMNS, (self._oid(),))}

    def _unique(self) -> list[list[str]]:
        """Columns that are unique together; a primary key first."""
        return [names for (names,) in self._query(UNIQUE, (self._oid(),))]

    def _keys(self, columns: dict[str, Column]) -> list[str]:
        """The columns of the key; ValueError where there is none."""
        if self.key is None:
            keys: list[str] = next(iter(self._unique()), [])
            if not keys:
                raise Refused(f"{self}: no primary key; name a unique column, or several (key=a,b)")
            return keys
        keys = [self.key] if self.key in columns else self.key.split(",")
        for key in keys:
            if key not in columns:
                raise Refused(f"{self}: no column {key!r} for a key; there is {', '.join(columns)}")
        return keys

    @cached_property
    def _layout(self) -> Schema:
        if self._oid() is None:
            raise Refused(f"{self}: no table {self.table!r}" + (f" in {self.namespace}" if self.namespace else ""))
        columns = self._columns()
        vectors = [name for name, column in columns.items() if column.type in ITEM and not column.generated]
        column = self.column or (vectors[0] if len(vectors) == 1 else None)
        if column not in vectors:
            wanted = f"no vector or halfvec column {column!r}" if column else "name one vector column (column=)"
            raise Refused(f"{self}: {wanted}; there is {', '.join(vectors) or 'none'}")
        keys = self._keys(columns)
        if column in keys:
            raise Refused(f"{self}: {column!r} holds the vectors and cannot be a key")
        self._vector, self._key_columns = column, {key: columns[key].definition for key in keys}
        for (path,) in self._query(PATH, (self._oid(), keys)):
            self._path = f"SET LOCAL search_path = {path}"
        kind = self._query("SELECT relkind::text FROM pg_class WHERE oid = %s", (self._oid(),))[0][0]
        self._versioned = kind in ("r", "p", "m")
        self.tells_changes = self._versioned or self.changed_at is not None
        self._check_filter()
        payload = tuple(name for name, c in columns.items() if name != column and name not in keys and not c.generated)
        width = columns[column].modifier
        return Schema(column, ",".join(keys), width if width > 0 else self._width(columns[column]), payload)

    def _check_filter(self) -> None:
        """The filter is one expression; the server takes no second statement where values come in binary."""
        if self.filter:
            with self._reading():
                query = self._compose("SELECT 1 FROM {table}" + self._where() + " LIMIT 0", **self._names())
                self._connection.execute(query, (), binary=True)

    def _names(self) -> dict[str, Any]:
        """The names that stand in queries about the rows."""
        keys = [self._quoted(key) for key in self._key_columns]
        texts = [self._compose("{k}::text", k=key) for key in keys]
        text = texts[0]
        if len(keys) > 1:
            text = self._compose("jsonb_build_array({t})::text", t=self._sql.SQL(", ").join(texts))
        arrays = [self._compose("%s::{type}[]", type=self._plain(type_)) for type_ in self._key_columns.values()]
        names = {"column": self._vector, "keys": self._sql.SQL(", ").join(keys), "text": text}
        names["arrays"] = self._sql.SQL(", ").join(arrays)
        return {**names, "filter": self._plain(f"({self.filter or 'true'}\n)")}

    def _rows(self, query: str, parameters: Sequence[Any] = (), **names: Any) -> list[Any]:
        """The rows of a query that is composed of ``_names``."""
        self.schema()
        return self._read(query, parameters, **self._names(), **names)

    def _where(self, *conditions: str) -> str:
        """The filter and these conditions."""
        conditions = ("{filter}",) * bool(self.filter) + conditions
        return " WHERE " + " AND ".join(conditions) if conditions else ""

    def _width(self, column: Column) -> int:
        """The width of the vectors where the column declares none; ValueError where there are several."""
        widths = self._read(
            "SELECT {dims}({column}), count(*) FROM {table}" + self._where("{column} IS NOT NULL") + " GROUP BY 1 "
            "ORDER BY 2 DESC, 1 LIMIT 6",
            dims=self._sql.Identifier(column.type_schema, "vector_dims"), **self._names(),
        )  # fmt: skip
        if len(widths) > 1:
            told = ", ".join(f"{width} in {rows:,} rows" for width, rows in widths)
            one = f"where=vector_dims({column.name})={widths[0][0]}"
            raise Refused(f"{self}: vectors of several widths, {told}; choose one ({one})")
        return widths[0][0] if widths else 0

    def _present(self) -> list[str]:
        """The condition that a row belongs to the migration."""
        return [] if self.skip_nulls else ["{column} IS NOT NULL"]

    def count(self) -> int:
        """Rows that have a vector; with ``skip_nulls`` all rows."""
        return self._rows("SELECT count(*) FROM {table}" + self._where(*self._present()))[0][0]

    def check(self) -> None:
        """Every row has a vector and a key, and no two have the same key."""
        schema, keys = self._layout, list(self._key_columns)
        keyless = " OR ".join(f"{{key{i}}} IS NULL" for i in range(len(keys)))
        names = {f"key{i}": key for i, key in enumerate(keys)}
        nulls, without = self._rows(
            f"SELECT count(*) FILTER (WHERE {{column}} IS NULL), count(*) FILTER (WHERE {keyless}) FROM {{table}}"
            + self._where(),
            **names,
        )[0]
        if without:
            raise Refused(f"{self}: key {schema.key!r} is NULL in {without} rows")
        if nulls and not self.skip_nulls:
            where = self._where("{column} IS NULL") + " ORDER BY {keys} LIMIT 5"
            first = self._rows("SELECT {text} AS minivec_key FROM {table}" + where)
            listed = ", ".join(row[0] for row in first) + (", ..." if nulls > 5 else "")
            raise Refused(f"{self}: NULL instead of a vector in {nulls} rows: {schema.key} {listed}")
        if not any(set(unique) <= set(keys) for unique in self._unique()):
            grouped = self._where() + " GROUP BY {keys} HAVING count(*) > 1 LIMIT 1"
            twice = self._rows("SELECT {text}, count(*) FROM {table}" + grouped)
            if twice:
                raise Refused(f"{self}: key {schema.key!r} is not unique: {twice[0][0]} is in {twice[0][1]} rows")

    def _select(self, *conditions: str, payload: bool = True) -> Any:
        """Rows as (key as text, key columns, payload, vector); without payload, their versions in its place."""
        schema, names = self._layout, self._names()
        between = [*schema.payload] if payload else ["xmin"] * self._versioned
        names["between"] = self._compose("{b},", b=between) if between else self._plain("")
        query = "SELECT {text} AS minivec_key, {keys}, {between} {column} FROM {table}"
        return self._compose(query + self._where(*conditions) + " ORDER BY {keys}", **names)

    def _decode(self, rows: list[Any], schema: Schema) -> Block:
        """What psycopg gives of ``_select`` as a block."""
        keys, vectors = [row[0] for row in rows], [row[-1] for row in rows]
        missing = [i for i, vector in enumerate(vectors) if vector is None]
        if not self.skip_nulls:
            self.refuse("NULL instead of a vector", missing, keys)
        form = self._form(schema.width)
        for i in missing:
            vectors[i] = bytes(form.itemsize)
        if set(map(len, vectors)) - {form.itemsize}:
            wrong = [i for i, v in enumerate(vectors) if len(v) != form.itemsize]
            self.refuse(f"another length than {schema.width}", wrong, keys)
        X = np.frombuffer(b"".join(vectors), form)["values"].astype(np.float32)
        return Block(keys, X, Rows(self, rows), keys[-1] if keys else None, missing)

    def _form(self, width: int) -> np.dtype:
        """A vector in binary: its width, two bytes that are zero, and its values."""
        return np.dtype([("width", ">u2"), ("zero", ">u2"), ("values", self._item, width)])

    @cached_property
    def _item(self) -> np.dtype:
        return np.dtype(ITEM[self._columns()[self._layout.column or ""].type])

    @contextmanager
    def _cursor(self) -> Iterator[Any]:
        """A cursor that gives values as the bytes that the server sent, texts excepted."""
        types, string = self.client("psycopg.postgres").types, self.client("psycopg.types.string")
        with self._connection.cursor(binary=True) as cursor:
            for oid in {oid for info in types for oid in (info.oid, info.array_oid)} - {0, types["text"].oid}:
                cursor.adapters.register_loader(oid, string.ByteaBinaryLoader)
            yield cursor

    def blocks(self, size: int, after: Any = None, payload: bool = True) -> Iterator[Block]:
        """Rows of one snapshot, by key; a position is the text of the last key.

        Behind the last row of a migration that was complete there are none: ``changes`` tells of what has come since.
        """
        if after is not None and self._beside is not None and self._beside.complete:
            return
        schema = self._layout
        place, parameters = self._behind(after)
        with self._reading(), self._cursor() as cursor:
            sized = Sized(size)
            for rows in self._fetched(cursor, self._select(*place, payload=payload), parameters, sized):
                yield sized.of(self._decode(rows, schema))

    def _behind(self, after: Any) -> tuple[list[str], list[str]]:
        """The condition that a row is behind a position, and its parameters."""
        if after is None:
            return [], []
        parameters: list[str] = [after] if len(self._key_columns) == 1 else json.loads(after)
        return ["({keys}) > (" + ", ".join(["%s"] * len(parameters)) + ")"], parameters

    def _fetched(self, cursor: Any, query: Any, parameters: Sequence[str], sized: Sized) -> Iterator[list[Any]]:
        """The rows of a query, so many at a time."""
        cursor.execute(self._compose("DECLARE minivec NO SCROLL CURSOR FOR {q}", q=query), parameters)
        while rows := cursor.execute(f"FETCH {sized.rows} FROM minivec").fetchall():
            yield rows

    def keys(self) -> Sequence[str]:
        """The texts of all keys."""
        query = "SELECT {text} AS minivec_key FROM {table}" + self._where(*self._present()) + " ORDER BY {keys}"
        return [row[0] for row in self._rows(query)]

    def fetch(self, keys: Sequence[str], payload: bool = True) -> Block:
        """The rows with these keys."""
        schema = self._layout
        payload = payload and (self._beside is None or not self._beside.in_place)
        with self._reading(), self._cursor() as cursor:
            cursor.execute(self._select(AMONG, payload=payload), self._arrays(keys))
            found = {row[0]: row for row in cursor.fetchall()}
        return self._decode([found[key] for key in keys if key in found], schema)

    def _arrays(self, keys: Sequence[str]) -> list[str]:
        """Keys as array literals, one for each column; psycopg's own would be arrays of text."""
        parts: Any = [keys]
        if len(self._key_columns) > 1:
            rows = [json.loads(key) for key in keys]
            parts = [[row[i] for row in rows] for i in range(len(self._key_columns))]
        escaped = [(part.replace("\\", "\\\\").replace('"', '\\"') for part in column) for column in parts]
        return ["{" + ",".join(f'"{part}"' for part in column) + "}" for column in escaped]

    def texts(self, keys: Sequence[str]) -> list[Any]:
        """The payload of the rows with these keys as text."""
        texts = self._sql.SQL("").join([self._compose(", {p}::text", p=name) for name in self._layout.payload])
        query = "SELECT {text}{texts} FROM {table}" + self._where(AMONG)
        rows = self._rows(query, self._arrays(keys), texts=texts)
        found = {row[0]: row[1:] for row in rows}
        return [found.get(key) for key in keys]

    def pin(self, version: Any = None) -> Any:
        """Name the present state, for ``changes``. Rows are read as they are when the reading begins."""
        return self._mark() if version is None else version

    def _mark(self) -> dict[str, Any]:
        """The oldest open transaction and, of ``changed_at``, the newest value and how many rows have it or none."""
        newest: tuple[Any, ...] = (None, 0)
        with self._reading():
            xid = self._run("SELECT txid_snapshot_xmin(txid_current_snapshot())").fetchone()[0]
            if self.changed_at:
                query = (
                    "SELECT newest::text, count(*) FILTER (WHERE {c} = newest OR {c} IS NULL) "
                    "FROM {table}, (SELECT max({c}) AS newest FROM {table}) n GROUP BY newest"
                )
                newest = self._run(query, c=self.changed_at).fetchone() or newest
        return {"table": self._oid(), "server": list(self._server()[1:]), "xid": xid, "changed_at": list(newest)}

    def changes(self, since: Any) -> Changes | None:
        """Rows that others wrote since then, by their versions or ``changed_at``, and those that only the copy has.

        Some of the rows may be as they were: a transaction that was open at that time counts as later. None for views,
        whose rows have no versions, without ``changed_at``. A checkpoint of version 0.1.0 does not say since when:
        then all rows count.
        """
        if not (self.schema() and self.tells_changes):
            return None
        with self._reading():
            mark = self._mark()
            written = self._written_since(since or {}, mark)
            return Changes(written, self._gone(written), mark)

    def _written_since(self, since: dict[str, Any], now: dict[str, Any]) -> list[str]:
        conditions: list[str] = []
        parameters: list[Any] = []
        if (since.get("table"), since.get("server")) == (now["table"], now["server"]):
            newest, rows = since["changed_at"]
            if newest is not None and now["changed_at"][0] is not None:
                (alike,) = self._run(ALIKE, (newest,), c=self.changed_at).fetchone()
                conditions.append("{c} > %s" if alike == rows else "({c} >= %s OR {c} IS NULL)")
                parameters.append(newest)
            elif self._versioned:
                conditions.append(CHANGED)
                parameters += [since["xid"], since["xid"]]
            own = self._beside.own_transactions() if self._beside else []
            if self._versioned and own:
                conditions.append("xmin::text::bigint <> ALL(%s)")
                parameters.append([xid % 2**32 for first, last in own for xid in range(first, last + 1)])
        query = "SELECT {text} AS minivec_key FROM {table}" + self._where(*conditions) + " ORDER BY {keys}"
        return [row[0] for row in self._rows(query, parameters, c=self.changed_at)]

    def _gone(self, written: list[str]) -> list[str]:
        """Keys that the destination has and the source has not; keys are compared where the counts do not agree."""
        if self._beside is None or self._beside.in_place:
            return []
        if self._beside.count() + self._beside.lacking(written) == self.count():
            return []
        there = set(self.keys())
        return [key for key in self._beside.keys() if key not in there]

    def lacking(self, keys: Sequence[str]) -> int:
        """How many of the keys have no row here."""
        query = "SELECT count(*) FROM {table}" + self._where(*self._present(), AMONG)
        return len(keys) - self._rows(query, self._arrays(keys))[0][0]

    def own_transactions(self) -> list[list[int]]:
        """Of a destination: ranges of the transactions that have written the source's rows."""
        return []
