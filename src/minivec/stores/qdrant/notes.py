"""The collection of a Qdrant database in which migrations note their state, and who is at work."""

from typing import Any
from uuid import NAMESPACE_URL, uuid5

from minivec.stores.base import MIGRATIONS, Store
from minivec.stores.checkpoint import Checkpoint
from minivec.stores.errors import Refused


class Notes:
    """The points about one destination, a collection or a named vector of it."""

    def __init__(self, client: Any, store: Store, collection: str, column: str | None):
        from qdrant_client import models

        self._client, self._store, self._models = client, store, models
        self._collection, self._column = collection, column
        self._name(column)
        self._whole = self._state if column is None else str(uuid5(NAMESPACE_URL, f"{collection}/"))

    def _name(self, column: str | None) -> None:
        """Note under this name of the vector from now on."""
        self._destination = f"{self._collection}/{column}" if column else self._collection
        places = f"{self._collection}/{column or ''}", f"lock:{self._collection}/{column or ''}"
        self._state, self._lock = (str(uuid5(NAMESPACE_URL, place)) for place in places)

    def make(self) -> None:
        """The collection, if there is none."""
        with self._store.guard():
            if self._client.collection_exists(MIGRATIONS):
                return
            try:
                self._client.create_collection(
                    MIGRATIONS, self._models.VectorParams(size=1, distance=self._models.Distance.DOT)
                )
            except Exception:
                if not self._client.collection_exists(MIGRATIONS):  # or another migration has just made it
                    raise

    def state(self) -> Checkpoint | None:
        """The state that was noted last."""
        payload = self._read(self._state)
        if payload is not None:
            return Checkpoint.from_json(payload["state"], self._store)
        if self._column is None:
            return self._of_a_vector()
        payload = self._read(self._whole)
        if payload is None:
            return None
        state = Checkpoint.from_json(payload["state"], self._store)  # made without naming its vector
        return state if state.new_column == self._column else None

    def _of_a_vector(self) -> Checkpoint | None:
        """The state of the only vector that a migration made which named it; Refused where there are several."""
        with self._store.guard():
            vectors = self._client.get_collection(self._collection).config.params.vectors
        found: dict[str, Checkpoint] = {}
        for name in vectors if isinstance(vectors, dict) else ():
            self._name(name)
            if (payload := self._read(self._state)) is not None:
                found[name] = Checkpoint.from_json(payload["state"], self._store)
        self._name(next(iter(found), None))
        if len(found) > 1:
            raise Refused(f"{self._store}: migrations have made {', '.join(found)}; name one (column=)")
        return next(iter(found.values()), None)

    def states(self) -> list[tuple[str, Checkpoint]]:
        """The destinations and states of all migrations of the database."""
        points: list[Any] = []
        with self._store.guard():
            if self._client.collection_exists(MIGRATIONS):
                points = self._client.scroll(MIGRATIONS, limit=10_000)[0]
        found = [(p.payload.get("destination", "?"), p.payload["state"]) for p in points if "state" in p.payload]
        return [(name, Checkpoint.from_json(state, self._store)) for name, state in found]

    def note(self, state: Checkpoint) -> None:
        """Note a state."""
        self.make()
        self._write(self._state, {"state": state.to_json(), "destination": self._destination})

    def holder(self) -> dict[str, Any] | None:
        """Who holds the lock."""
        return self._read(self._lock)

    def hold(self, record: dict[str, Any] | None) -> None:
        """Note who holds the lock, or that nobody does."""
        if record is not None:
            self._write(self._lock, record)
            return
        with self._store.guard():
            self._client.delete(MIGRATIONS, self._models.PointIdsList(points=[self._lock]), wait=True)

    def _read(self, point: str) -> Any:
        with self._store.guard():
            found = self._client.retrieve(MIGRATIONS, [point]) if self._client.collection_exists(MIGRATIONS) else []
        return found[0].payload if found else None

    def _write(self, point: str, payload: dict[str, Any]) -> None:
        with self._store.guard():
            made = self._models.PointStruct(id=point, vector=[1.0], payload=payload)
            self._client.upsert(MIGRATIONS, [made], wait=True)
