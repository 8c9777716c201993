"""The collection of a Weaviate in which migrations note their state, and who is at work."""

from typing import Any
from uuid import NAMESPACE_URL, uuid5

from minivec.stores.base import MIGRATIONS
from minivec.stores.weaviate.settings import capitalised

NOTES = capitalised(MIGRATIONS)
PAGE = 1_000  # notes that are asked for together
PLAIN = {"dataType": ["text"], "indexFilterable": False, "indexSearchable": False, "tokenization": "field"}
SCHEMA = {
    "class": NOTES,
    "description": "Where the migrations of minivec stand",
    "properties": [{"name": "name", **PLAIN}, {"name": "text", **PLAIN}],
    "vectorConfig": {"none": {"vectorizer": {"none": {}}, "vectorIndexType": "flat"}},
}


class WeaviateNotes:
    """Texts by name, in a collection whose objects have no vectors."""

    def _noting(self: Any) -> Any:
        """The client's collection of notes, or None."""
        return self._client.collections.use(NOTES) if self._found(NOTES) is not None else None

    def _read_note(self: Any, name: str) -> str | None:
        if (notes := self._noting()) is None:
            return None
        found = self._ask(notes.query, "fetch_object_by_id", _uuid(name))
        return None if found is None else found.properties["text"]

    def _write_note(self: Any, name: str, text: str | None) -> None:
        if self._found(NOTES) is None:
            self._ask(self._client.collections, "create_from_dict", SCHEMA)
        notes = self._noting()
        if text is None:
            self._ask(notes.data, "delete_by_id", _uuid(name))
            return
        row = self.client("weaviate.classes.data").DataObject(properties={"name": name, "text": text}, uuid=_uuid(name))
        self._insert(notes, [row], [name])

    def _note_names(self: Any) -> list[str]:
        if (notes := self._noting()) is None:
            return []
        names: list[str] = []
        after = None
        asked = {"limit": PAGE, "return_properties": ["name"]}
        while page := self._ask(notes.query, "fetch_objects", after=after, **asked).objects:
            names += [row.properties["name"] for row in page]
            after = page[-1].uuid
        return sorted(names)


def _uuid(name: str) -> str:
    return str(uuid5(NAMESPACE_URL, f"{MIGRATIONS}/{name}"))
