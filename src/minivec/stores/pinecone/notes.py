"""The namespace of a Pinecone index in which migrations note their state, and who is at work."""

from typing import Any
from uuid import NAMESPACE_URL, uuid5

from minivec.stores.base import MIGRATIONS
from minivec.stores.errors import StoreError
from minivec.stores.pinecone.rows import parts

NOTES = MIGRATIONS.replace("_", "-")


class PineconeNotes:
    """Texts by name, in the metadata of records; until the index is made, in memory."""

    def _read_note(self: Any, name: str) -> str | None:
        if self._found() is None:
            return self._pending.get(name)
        key = _note_id(name)
        found = self._ask("fetch", NOTES, ids=[key]).vectors.get(key)
        return None if found is None else str(found.metadata["text"])

    def _write_note(self: Any, name: str, text: str | None) -> None:
        if self._pending and self._found() is not None:
            raise self._met()
        if self._found() is None:
            self._pending = {k: v for k, v in {**self._pending, name: text}.items() if v is not None}
            return
        key = _note_id(name)
        if text is None:
            self._ask("delete", NOTES, ids=[key])
        else:
            x = [1.0] + [0.0] * (self._width - 1)  # Pinecone wants a vector that is not zero
            self._ask("upsert", NOTES, vectors=[{"id": key, "values": x, "metadata": {"name": name, "text": text}}])
        self._wait(lambda: self._read_note(name) == text, f"the state {name!r}")

    def _met(self: Any) -> StoreError:
        """The error of a run that began when there was no index, and that has not made the one that there is."""
        return StoreError(f"{self}: another migration has made the index meanwhile: run the command again")

    def _note_names(self: Any) -> list[str]:
        if self._found() is None:
            return sorted(self._pending)
        ids = [id_ for page in self._listed(100, NOTES) for id_ in page]
        found = [record for part in parts(ids) for record in self._ask("fetch", NOTES, ids=part).vectors.values()]
        return sorted(str(record.metadata["name"]) for record in found)


def _note_id(name: str) -> str:
    return str(uuid5(NAMESPACE_URL, f"{MIGRATIONS}/{name}"))
