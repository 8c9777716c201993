"""A PostgreSQL table as one of Arrow: a source for other kinds of store, and a destination of their rows."""

from collections.abc import Iterator, Sequence
from typing import Any

from minivec.stores.base import Block, Changes, Schema, Store
from minivec.stores.blocks import Sized
from minivec.stores.checkpoint import Checkpoint
from minivec.stores.errors import Refused
from minivec.stores.postgres.reading import AMONG
from minivec.stores.postgres.types import WHOLE, Kept, Shown, kept, shown
from minivec.stores.shown import ShownAsArrow, columns_of, translated

KEY = "minivec_key"  # the column of a key of several columns


class PostgresArrow(ShownAsArrow):
    """A table whose rows are handed on as Arrow.

    A key of whole numbers is carried as such, any other as its text; a key of several columns gets a column of its own.
    """

    def _shown(self) -> list[Shown]:
        """The columns, as they are carried, in the table's order; without the vectors."""
        import pyarrow as pa

        store, layout = self.__wrapped__, self.__wrapped__.schema()
        keys = list(store._key_columns)
        names = {*layout.payload, *keys}
        columns = [shown(c, keys == [c.name]) for c in store._columns().values() if c.name in names]
        several = [Shown(KEY, "{text}", pa.field(KEY, pa.string()), False)] if len(keys) > 1 else []
        return [*several, *columns]

    def fields(self) -> list[Any]:
        """The columns as Arrow fields."""
        return [column.field for column in self._shown()]

    def columns(self, block: Block) -> list[Any]:
        """What psycopg has read, column by column."""
        return [*zip(*block.payload, strict=True)] if block.payload else [[] for _ in self._shown()]

    def schema(self) -> Schema:
        """The key is among the columns."""
        layout = self.__wrapped__.schema()
        key = KEY if len(self.__wrapped__._key_columns) > 1 else layout.key
        return Schema(layout.column, key, layout.width, tuple(column.name for column in self._shown()))

    def shown_otherwise(self) -> list[str]:
        """Columns of types that only PostgreSQL has."""
        columns = self.__wrapped__._columns()
        names = [f"{c.name} ({columns[c.name].definition})" for c in self._shown() if c.as_text]
        return [f"columns become texts: {', '.join(names)}"] if names else []

    def _value(self, text: str) -> Any:
        """A key as the key column has it."""
        kinds = list(self.__wrapped__._key_columns.values())
        return int(text) if len(kinds) == 1 and kinds[0] in WHOLE else text

    def keys(self) -> Sequence[Any]:
        """All keys."""
        return [self._value(text) for text in self.__wrapped__.keys()]

    def changes(self, since: Any) -> Changes | None:
        """The keys as the key column has them."""
        return translated(self.__wrapped__.changes(since), self._value)

    def _select(self, *conditions: str) -> Any:
        store = self.__wrapped__
        names = store._names()
        parts = [store._compose(column.select, c=column.name, text=names["text"]) for column in self._shown()]
        query = "SELECT {text} AS minivec_key, {parts}, {column} FROM {table}" + store._where(*conditions)
        return store._compose(query + " ORDER BY {keys}", parts=store._sql.SQL(", ").join(parts), **names)

    def blocks(self, size: int, after: Any = None, payload: bool = True) -> Iterator[Block]:
        """Rows of one snapshot, by key."""
        store, schema = self.__wrapped__, self.__wrapped__.schema()
        place, parameters = store._behind(after)
        with store._reading(), store._connection.cursor(binary=True) as cursor:
            sized = Sized(size)
            for rows in store._fetched(cursor, self._select(*place), parameters, sized):
                yield self.shown(sized.of(store._decode(rows, schema)))

    def fetch(self, keys: Sequence[Any], payload: bool = True) -> Block:
        """The rows with these keys."""
        store, schema, texts = self.__wrapped__, self.__wrapped__.schema(), [*map(str, keys)]
        with store._reading(), store._connection.cursor(binary=True) as cursor:
            cursor.execute(self._select(AMONG), store._arrays(texts))
            found = {row[0]: row for row in cursor.fetchall()}
        return self.shown(store._decode([found[text] for text in texts if text in found], schema))

    def shown(self, block: Block) -> Block:
        """The keys become values of the key column."""
        return super().shown(block._replace(keys=[self._value(key) for key in block.keys]))

    # As a destination.

    def accepts(self, source: Any) -> None:
        """Any columns that PostgreSQL has types for."""
        store = self.__wrapped__
        if "where" in store.address.options:
            raise Refused(f"{self}: where= belongs to the source")
        store._source, self._self_source = store, source
        for field in columns_of(source):
            if kept(field) is None:
                raise Refused(f"{self}: column {field.name!r} of {source} is of type {field.type}, which it has not")

    def _kept(self) -> dict[str, Kept]:
        return {field.name: how for field in columns_of(self._self_source) if (how := kept(field))}

    def losses(self, source: Any) -> list[str]:
        """The columns that get another type."""
        fields = columns_of(source)
        nested = [f"{f.name} ({f.type})" for f in fields if self._kept()[f.name].ready and str(f.type) != "string"]
        finer = [f"{f.name} ({f.type})" for f in fields if getattr(f.type, "unit", None) == "ns"]
        told = [f"columns become jsonb: {', '.join(nested)}"] if nested else []
        return told + ([f"nanoseconds are cut to microseconds: {', '.join(finer)}"] if finer else [])

    def _prepare(self, source: Store, width: int) -> None:
        """Choose the names and the type of the vectors; Refused where there is a table already."""
        store, schema = self.__wrapped__, source.schema()
        if store._oid() is not None:
            raise Refused(f"{self}: the table exists; name a new one")
        store.column, store.key = store.column or schema.column or "vector", schema.key
        if store.column in schema.payload:
            raise Refused(f"{self}: {source} has another column {store.column!r}; name one for the vectors (column=)")
        store._new_kind = store._kind(store.type or "vector", width)

    def _make(self) -> None:
        """The table, in a transaction."""
        store = self.__wrapped__
        parts = [store._compose("{n} {t}", n=name, t=store._plain(how.type)) for name, how in self._kept().items()]
        parts.append(store._compose("{n} {t}", n=store.column, t=store._new_kind))
        parts.append(store._compose("PRIMARY KEY ({k})", k=store.key))
        store._run("CREATE TABLE {table} ({parts})", parts=store._sql.SQL(", ").join(parts))
        store._forget()
        store.schema()

    def _begun(self, checkpoint: Checkpoint) -> Checkpoint:
        self._make()
        made: Checkpoint = self.__wrapped__._begun(checkpoint)
        return made

    def create(self, source: Store, width: int, checkpoint: Checkpoint) -> Checkpoint:
        """A table with the source's columns, its key as primary key, and the vectors behind."""
        store = self.__wrapped__
        self._prepare(source, width)
        with store.guard():
            made: Checkpoint = store._locking("CREATE TABLE", lambda: self._begun(checkpoint))
        store._adopt(made)
        return made

    def rehearse(self, source: Store, width: int, block: Block) -> list[str]:
        """Make the table, write the block, and take both back."""
        store = self.__wrapped__
        self._prepare(source, width)
        with store.guard():
            store._locking("CREATE TABLE", lambda: self._tried(block))
        store._forget()
        return self.losses(source)

    def _tried(self, block: Block) -> None:
        store = self.__wrapped__
        with store._connection.transaction(force_rollback=True):
            self._make()
            store._copy(*self._ready(block))

    def _ready(self, block: Block) -> tuple[Block, list[bytes | None]]:
        """The rows as psycopg takes them, and their vectors."""
        store, columns, types = self.__wrapped__, [], []
        payload = store.schema().payload
        for name in (*store._key_columns, *payload):
            how, column = self._kept()[name], block.payload[name]
            values = _without_nanoseconds(column).to_pylist()
            columns.append(values if how.ready is None else [None if v is None else how.ready(v) for v in values])
            types.append(how.name)
        store._types = types
        return block._replace(payload=[*zip(*columns, strict=True)]), store._encode(block.vectors, block.missing)

    def write(self, block: Block, checkpoint: Checkpoint) -> None:
        """Rows and checkpoint in one transaction."""
        ready = self._ready(block)
        self.__wrapped__._noted("COPY", checkpoint, lambda: self.__wrapped__._copy(*ready))

    def replace(self, block: Block, checkpoint: Checkpoint) -> None:
        """Rows whose keys may be there, and the checkpoint, in one transaction."""
        ready = self._ready(block)
        self.__wrapped__._noted("UPDATE", checkpoint, lambda: self.__wrapped__._upsert(*ready))

    def remove(self, keys: Sequence[Any], checkpoint: Checkpoint) -> None:
        """Delete rows, and write the checkpoint."""
        store, texts = self.__wrapped__, [*map(str, keys)]
        store._noted("DELETE", checkpoint, lambda: store._removed(texts) if texts else None)

    def finish(self) -> None:
        """Note that all rows are there."""
        store = self.__wrapped__
        if not store.complete:
            store._ended()


def _without_nanoseconds(column: Any) -> Any:
    import pyarrow as pa

    kind = column.type
    if getattr(kind, "unit", None) != "ns":
        return column
    if pa.types.is_time(kind):
        return column.cast(pa.time64("us"), safe=False)
    return column.cast(pa.duration("us") if pa.types.is_duration(kind) else pa.timestamp("us", kind.tz), safe=False)
