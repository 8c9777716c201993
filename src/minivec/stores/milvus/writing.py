"""How a Milvus collection is made, written, and found by an alias."""

from collections.abc import Sequence
from typing import Any

from minivec.stores.base import Block
from minivec.stores.blocks import first_key
from minivec.stores.checkpoint import Checkpoint
from minivec.stores.milvus import settings
from minivec.stores.milvus.notes import KEYS
from minivec.stores.milvus.rows import among, as_rows


class MilvusWriting:
    """The part of the store that is a destination."""

    def _target(self: Any) -> str | None:
        if self.address.local and not self.folder.exists():
            return None
        name = self._info()["collection_name"]
        return None if name == self.name else name

    def _how(self: Any) -> str:
        return f"client.create_alias(collection_name={self.name!r}, alias=...)"

    def _point(self: Any, alias: str, collection: str) -> None:
        self._ask("alter_alias", collection, alias)
        self._known.clear()

    def _make(self: Any, source: Any, width: int, state: Checkpoint) -> Checkpoint:
        client, name, like = self._client, str(state.new_column), _of_milvus(source)
        if self._exists(self.name):  # left empty by a run that was killed while it made it
            self._ask("drop_collection", self.name)
        with self.guard():
            if like is not None:
                info, column = like._info(), str(like.schema().column)
                schema, options = settings.copied(client, info, column, name, width), settings.options(info)
                indexes = settings.indexes(client, like._indexes(), column, name, width)
            else:
                schema, options = self._from_arrow(source, name, width), {}
                indexes = settings.indexes(client, [], "", name, width)
        self._ask("create_collection", self.name, schema=schema, index_params=indexes, **options)
        for partition in () if like is None else like._partitions:
            self._ask("create_partition", self.name, partition)
        self._known.clear()
        return state

    def _from_arrow(self: Any, source: Any, name: str, width: int) -> Any:
        arrow, old = getattr(source, "arrow_schema", lambda: ())(), source.schema()
        fields = [field for field in arrow if field.name != old.column]
        return settings.from_arrow(self._client, fields, (old.key or "id", first_key(source)), name, width)

    def _indexes(self: Any) -> list[dict[str, Any]]:
        names = self._ask("list_indexes", self.name)
        return [self._ask("describe_index", self.name, name) for name in names]

    def losses(self: Any, source: Any) -> list[str]:
        """What a new collection has otherwise."""
        if (like := _of_milvus(source)) is not None:
            return settings.losses(like._info(), like._indexes(), str(like.schema().column))
        arrow = getattr(source, "arrow_schema", lambda: ())()
        return settings.changed(arrow, source.schema().column)

    def _send(self: Any, block: Block, state: Checkpoint) -> None:
        rows, places, sizes = as_rows(block, self._fields(), self._key(), str(state.new_column))
        if self._partitions:  # a row may have been in another one
            self._delete(block.keys)
        for place in sorted(set(places)):
            here = [i for i, other in enumerate(places) if other == place]

            def post(part: slice, here: list[int] = here, place: str = place) -> None:
                self._ask("upsert", self.name, [rows[i] for i in here[part]], partition_name=place)

            self._requests.send([sizes[i] for i in here], post)

    def _delete(self: Any, keys: Sequence[Any]) -> None:
        for start in range(0, len(keys), KEYS):
            self._ask("delete", self.name, filter=among(self._key(), keys[start : start + KEYS]))


def _of_milvus(source: Any) -> Any:
    """The source, if it is a Milvus collection, or None."""
    return source if isinstance(source, MilvusWriting) else None
