"""An alias of Qdrant that points at another collection."""

from typing import Any

from minivec.stores.aliasing import Aliased
from minivec.stores.checkpoint import Checkpoint


class QdrantAlias(Aliased):
    """What Qdrant answers about its aliases."""

    def _target(self: Any) -> str | None:
        if self.address.local and not self.folder.exists():
            return None
        with self.guard():
            aliases = self._client.get_aliases().aliases
        return next((alias.collection_name for alias in aliases if alias.alias_name == self.name), None)

    def _of(self: Any, collection: str, column: str | None) -> Any:
        store = super()._of(collection, column)
        store._asked = column
        return store

    def _how(self: Any) -> str:
        return f"client.update_collection_aliases with CreateAlias(collection_name={self.name!r}, alias_name=...)"

    def _point(self: Any, alias: str, collection: str) -> None:
        models = self._models
        with self.guard():
            self._client.update_collection_aliases(
                [
                    models.DeleteAliasOperation(delete_alias=models.DeleteAlias(alias_name=alias)),
                    models.CreateAliasOperation(
                        create_alias=models.CreateAlias(collection_name=collection, alias_name=alias)
                    ),
                ]
            )

    def _noted(self: Any) -> Checkpoint | None:
        state: Checkpoint | None = self._notes.state()
        return state

    def migrations(self: Any) -> list[tuple[str, Checkpoint]]:
        """Those of the database."""
        if self.address.local and not self.folder.exists():  # the client would make it
            return []
        states: list[tuple[str, Checkpoint]] = self._notes.states()
        return states

    def carry(self: Any, block: Any) -> None:
        """Write rows that may be there."""
        self.replace(block, Checkpoint("", "", 0, new_column=self.schema().column))

    def drop(self: Any, keys: Any) -> None:
        """Delete rows."""
        with self.guard():
            self._client.delete(self.name, self._models.PointIdsList(points=list(keys)), wait=True)
