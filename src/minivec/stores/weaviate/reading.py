"""How the objects of a Weaviate collection are read."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from minivec.stores.base import Block, Schema
from minivec.stores.blocks import Sized
from minivec.stores.checkpoint import Checkpoint
from minivec.stores.errors import Refused, StoreError
from minivec.stores.weaviate import settings
from minivec.stores.weaviate.rows import BESIDE, arrow_field, cells, kind_of, uuid_of, vector_cells

MOST = 10_000  # objects that an answer may have (QUERY_MAXIMUM_RESULTS of the server)


class WeaviateReading:
    """The part of the store that is a source."""

    def schema(self: Any) -> Schema:
        """The only vector, where none is named. The width is that of the first one that there is."""
        found = settings.vectors(self._schema())
        names = [name for name, vector in found.items() if not settings.several(vector)]
        column = self.column or (names[0] if len(names) == 1 else None)
        if column is None or column not in names:
            wanted = f"no single vector named {column!r}" if column else "name one vector (column=)"
            raise Refused(f"{self}: {wanted}; there is {', '.join(names) or 'none'}")
        self._width = self._width or self._first_width(column)
        return Schema(column, self._key_column(), self._width, tuple(field.name for field in self._fields(column)))

    def _first_width(self: Any, column: str) -> int:
        for page in self._pages(Sized(100, large=False), None, [column], []):
            for row in page:
                if row.vector.get(column):
                    return len(row.vector[column])
        raise Refused(f"{self}: it has no vector {column!r}, and thus no width")

    def _others(self: Any, column: str) -> dict[str, str]:
        """The names of the vectors beside the mapped one, by their columns."""
        names = {prop["name"] for prop in settings.carried(self._schema())}
        others = [name for name in settings.vectors(self._schema()) if name != column]
        return {f"{name}_vector" if name in names else name: name for name in others}

    def _fields(self: Any, column: str) -> list[Any]:
        """The columns beside the mapped vectors, as Arrow fields."""
        pa, vectors = self.client("pyarrow"), settings.vectors(self._schema())
        made = [arrow_field(prop) for prop in settings.carried(self._schema())]
        made = [field.with_name(f"{column}{BESIDE}") if field.name == column else field for field in made]
        for name, other in self._others(column).items():
            made.append(pa.field(name, vector_cells(other, settings.several(vectors[other]), []).type))
        return [pa.field(self._key_column(), pa.string(), nullable=False), *made]

    def _key_column(self: Any) -> str:
        """The name of the column of UUIDs."""
        return "uuid_" if any(prop["name"] == "uuid" for prop in settings.carried(self._schema())) else "uuid"

    def arrow_schema(self: Any) -> Any:
        """The types of all columns; the vectors are the last."""
        pa, schema = self.client("pyarrow"), self.schema()
        vectors = pa.field(str(schema.column), pa.list_(pa.float32(), schema.width))
        return pa.schema([*self._fields(str(schema.column)), vectors])

    def count(self: Any) -> int:
        """The objects, of the tenant."""
        return int(self._ask(self._objects().aggregate, "over_all", total_count=True).total_count)

    def _asking(self: Any, vectors: Any, props: list[dict[str, Any]]) -> dict[str, Any]:
        """The options of a query for these vectors and properties; blobs are left out where they are not named."""
        query = self.client("weaviate.classes.query")

        def nested(prop: dict[str, Any]) -> Any:
            inner = prop.get("nestedProperties")
            return query.QueryNested(name=prop["name"], properties=[*map(nested, inner)]) if inner else prop["name"]

        leads = [prop["name"] for prop in props if kind_of(prop) == "reference"]
        return {
            "include_vector": (vectors and True) if settings.is_legacy(self._schema()) else (vectors or False),
            "return_properties": [nested(prop) for prop in props if prop["name"] not in leads],
            "return_references": [query.QueryReference(link_on=name, return_properties=[]) for name in leads] or None,
        }

    def _pages(self: Any, sized: Sized, after: Any, vectors: Any, props: list[dict[str, Any]]) -> Iterator[list[Any]]:
        """Objects in the order of their UUIDs, behind ``after``."""
        query, asked = self._objects().query, self._asking(vectors, props)
        while True:

            def page(most: int, after: Any = after) -> list[Any]:
                return list(
                    self._ask(query, "fetch_objects", limit=min(sized.rows, most), after=after, **asked).objects
                )

            if not (found := self._smaller(page)):
                return
            yield found
            after = str(found[-1].uuid)

    def _smaller(self: Any, ask: Any) -> Any:
        """The answer to a question for at most so many objects; for fewer, where the answer would be too large."""
        while True:
            try:
                return ask(self._most)
            except StoreError as error:
                if not self._too_large(error) or self._most == 1:
                    raise
                self._most = max(1, self._most // 2)

    def _wanted(self: Any, payload: bool) -> tuple[list[str], list[dict[str, Any]]]:
        """The vectors and the properties to ask for."""
        props, column = settings.carried(self._schema()), str(self.schema().column)
        if payload:
            return list(settings.vectors(self._schema())), props
        return [column], [prop for prop in props if prop["name"] == self._key]

    def keys(self: Any) -> Sequence[Any]:
        """All UUIDs, in order, or the keys that rows of another kind of store had."""
        props = [prop for prop in settings.carried(self._schema()) if prop["name"] == self._key]
        return sorted(
            self._key_of(row) for page in self._pages(Sized(MOST, large=False), None, False, props) for row in page
        )

    def _key_of(self: Any, row: Any) -> Any:
        return str(row.uuid) if self._key is None else row.properties[self._key]

    def check(self: Any) -> None:
        """Every object has the vector, unless it may be missing: all are read for that."""
        if self.skip_nulls:
            return
        for page in self._pages(Sized(self._page(MOST), large=False), None, *self._wanted(False)):
            self._refuse_missing(page)

    def _refuse_missing(self: Any, rows: list[Any]) -> list[int]:
        column = self.schema().column
        missing = [i for i, row in enumerate(rows) if not row.vector.get(column)]
        if not self.skip_nulls:
            self.refuse("no vector", missing, [self._key_of(row) for row in rows])
        return missing

    def _blocks(self: Any, size: int, after: Any = None) -> Iterator[Block]:
        if self._key is not None:  # the order of the keys is not that of the UUIDs
            yield from super()._blocks(size, after)  # type: ignore[misc]
            return
        sized = Sized(self._page(size))
        for page in self._pages(sized, after, *self._wanted(self._payload)):
            yield sized.of(self._block(page, self._payload))

    def fetch(self: Any, keys: Sequence[Any], payload: bool = True) -> Block:
        """The objects with these keys."""
        query, asked = self._objects().query, self._asking(*self._wanted(payload))
        uuids, found, start = [uuid_of(key) for key in keys], dict[str, Any](), 0
        while start < len(uuids):

            def some(most: int, start: int = start) -> tuple[int, list[Any]]:
                ids = uuids[start : start + min(self._page(MOST), most)]
                return len(ids), self._ask(query, "fetch_objects_by_ids", ids, limit=len(ids), **asked).objects

            count, rows = self._smaller(some)
            found |= {str(row.uuid): row for row in rows}
            start += count
        return self._block([found[uuid] for uuid in uuids if uuid in found], payload)

    def _block(self: Any, rows: list[Any], payload: bool) -> Block:
        width, keys, missing = self.schema().width, [self._key_of(row) for row in rows], self._refuse_missing(rows)
        vectors = [row.vector.get(self.schema().column) or [0.0] * width for row in rows]
        self.refuse(f"other than {width} numbers", [i for i, v in enumerate(vectors) if len(v) != width], keys)
        X = np.array(vectors, np.float32).reshape(-1, width)
        return Block(keys, X, self._rest(rows) if payload else None, keys[-1] if keys else None, missing)

    def _rest(self: Any, rows: list[Any]) -> Any:
        """What objects have beside the vectors, as an Arrow table."""
        pa, column, vectors = self.client("pyarrow"), str(self.schema().column), settings.vectors(self._schema())
        arrays = [pa.array([str(row.uuid) for row in rows], pa.string())]
        arrays += [cells(prop, rows) for prop in settings.carried(self._schema())]
        arrays += [vector_cells(name, settings.several(vectors[name]), rows) for name in self._others(column).values()]
        return pa.Table.from_arrays(arrays, schema=pa.schema(self._fields(column)))

    def resume(self: Any, checkpoint: Checkpoint) -> None:
        """Take over its vector, its width and its keys."""
        super().resume(checkpoint)  # type: ignore[misc]
        self._width, self._key = checkpoint.own.get("width", 0), checkpoint.own.get("key")
