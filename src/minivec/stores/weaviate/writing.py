"""How a Weaviate collection is made, written, and found by an alias."""

from collections.abc import Sequence
from typing import Any

from minivec.stores.base import Block
from minivec.stores.blocks import first_key
from minivec.stores.checkpoint import Checkpoint
from minivec.stores.errors import Refused, StoreError
from minivec.stores.weaviate import settings
from minivec.stores.weaviate.rows import LEGACY, as_objects, field_name, uuid_of

MOST = 10_000  # objects that a deletion may match (QUERY_MAXIMUM_RESULTS of the server)
NAMED = 5  # rows that an error names


class WeaviateWriting:
    """The part of the store that is a destination."""

    def _aliased(self: Any, alias: str) -> str | None:
        """The collection that this alias points at, or None; servers before 1.32 have no aliases."""
        old = self.client("weaviate.exceptions").WeaviateUnsupportedFeatureError
        with self.guard():
            try:
                found = self._client.alias.get(alias_name=alias)
            except old:
                return None
        return None if found is None else str(found.collection)

    def _target(self: Any) -> str | None:
        collection, at, tenant = self.name.partition("@")
        real = (self._found(collection) or {"class": collection})["class"]
        return None if real == collection else f"{real}{at}{tenant}"

    def _how(self: Any) -> str:
        return f"client.alias.create(alias_name=..., target_collection={self.name!r}), of Weaviate 1.32 or newer"

    def _point(self: Any, alias: str, collection: str) -> None:
        self._ask(self._client.alias, "update", alias_name=alias, new_target_collection=collection)
        self._known.clear()

    def swap_steps(self: Any, source: Any) -> list[str]:
        """One alias is for all tenants, of which a migration moves one."""
        if self.tenant or source.tenant:
            raise Refused(
                f"{self}: an alias would switch all tenants at once: when all are migrated and verified, call "
                f"client.alias.update(alias_name=..., new_target_collection={self.name.partition('@')[0]!r})"
            )
        steps: list[str] = super().swap_steps(source)  # type: ignore[misc]
        return steps

    def _plan(self: Any, source: Any, checkpoint: Checkpoint) -> Checkpoint:
        collection, _, tenant = self.name.partition("@")
        name, like, known = self._new_column(source), _of_weaviate(source), self._found(collection)
        settings.check_names(self, collection, name)
        if like is not None and settings.has_tenants(like._schema()) and not tenant:
            raise Refused(f"{self}: {source} is of a tenant; name the tenant here too (tenant=)")
        if known is not None and self._noted() is None:
            others = [note for note in self._note_names() if note.startswith(f"{collection}@")]
            if not (tenant and others) or name not in settings.vectors(known):
                raise Refused(f"{self}: it exists, and no migration has made it; name another one")
        own: dict[str, Any] = {} if like is not None else {"key": field_name(str(source.schema().key or "id"))}
        self._schema_for(source, name, 1, own)
        return checkpoint.but(new_column=name).keep(**own)

    def _schema_for(self: Any, source: Any, name: str, width: int, own: Any) -> dict[str, Any]:
        """The schema of the new collection."""
        collection, _, tenant = self.name.partition("@")
        if (like := _of_weaviate(source)) is not None:
            made = settings.copied(like._schema(), str(like.schema().column), name, width, collection)
        else:
            old = source.schema()
            fields = [field for field in self._arrow(source) if field.name not in (old.column, old.key)]
            made = settings.from_arrow(fields, (own["key"], first_key(source)), collection, name, self)
        if tenant and not settings.has_tenants(made):
            made.pop("shardingConfig", None)  # of which each tenant is one
            made["multiTenancyConfig"] = {"enabled": True}
        return made

    def _arrow(self: Any, source: Any) -> Any:
        return getattr(source, "arrow_schema", lambda: ())()

    def _make(self: Any, source: Any, width: int, state: Checkpoint) -> Checkpoint:
        collection, _, tenant = self.name.partition("@")
        collections, there = self._client.collections, self._found(collection) is not None
        if there and not tenant:  # left empty by a run that was killed while it made it
            self._ask(collections, "delete", collection)
        if not (there and tenant):  # the other tenants have come into it before
            made = self._schema_for(source, str(state.new_column), width, state.own)
            self._ask(collections, "create_from_dict", made)
        if tenant:
            self._ask(collections.use(collection).tenants, "create", tenant)
        self._known.clear()
        return state.keep(width=width)

    def losses(self: Any, source: Any) -> list[str]:
        """What a new collection has otherwise."""
        if (like := _of_weaviate(source)) is not None:
            others = (like._get("/v1/schema") or {}).get("classes") or []
            return settings.losses(like._schema(), others, str(like.schema().column))
        old = source.schema()
        told = f"keys become UUIDs, which are hashes of those that are none; the property {{}} has the keys: {old.key}"
        fields = [field for field in self._arrow(source) if field.name not in (old.column, old.key)]
        return [told.format(field_name(str(old.key or "id"))), *settings.changed(fields)]

    def _send(self: Any, block: Block, state: Checkpoint) -> None:
        schema, name, missing = self._schema(), str(state.new_column), set(block.missing)
        columns = self._others(name) | dict.fromkeys((state.column, name))
        rows, sizes = as_objects(block, schema, columns, self)
        make = self.client("weaviate.classes.data").DataObject
        objects = []
        for i, (key, (props, references, vectors), x) in enumerate(zip(block.keys, rows, block.vectors, strict=True)):
            own: Any = {} if i in missing else {name: x.tolist()}
            if self._key is not None:
                props[self._key] = key
            vector = own.get(LEGACY) if settings.is_legacy(schema) else {**vectors, **own}
            objects.append(make(properties=props, uuid=uuid_of(key), vector=vector or None, references=references))

        def post(part: slice) -> None:
            self._insert(self._objects(), objects[part], block.keys[part])

        self._requests.send(sizes, post)

    def _insert(self: Any, collection: Any, objects: list[Any], keys: Sequence[Any]) -> None:
        """Write objects, instead of those with the same UUIDs; StoreError names those that the server refuses."""
        every = self.client("weaviate.exceptions").WeaviateInsertManyAllFailedError
        with self.guard():
            try:
                errors = collection.data.insert_many(objects).errors
            except every as error:
                told = str(error).partition("set of all errors: ")[2] or str(error)
                raise StoreError(self.address.hide(f"{self}: no row was taken, from {keys[0]} on: {told}")) from None
        if errors:
            some = [f"row {keys[i]}: {errors[i].message}" for i in sorted(errors)[:NAMED]]
            raise StoreError(self.address.hide(f"{self}: {len(errors):,} rows were not taken: {'; '.join(some)}"))

    def _delete(self: Any, keys: Sequence[Any]) -> None:
        by_id = self.client("weaviate.classes.query").Filter.by_id()
        for start in range(0, len(keys), MOST):
            uuids = [uuid_of(key) for key in keys[start : start + MOST]]
            done = self._ask(self._objects().data, "delete_many", where=by_id.contains_any(uuids))
            if done.failed:
                raise StoreError(f"{self}: {done.failed:,} of {len(uuids):,} rows could not be deleted")


def _of_weaviate(source: Any) -> Any:
    """The source, if it is a collection of Weaviate, or None."""
    return source if isinstance(source, WeaviateWriting) else None
