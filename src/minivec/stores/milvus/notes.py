"""The collection of a Milvus database in which migrations note their state, and who is at work."""

from typing import Any

import numpy as np

from minivec.stores.base import MIGRATIONS
from minivec.stores.milvus.rows import among
from minivec.stores.milvus.settings import TEXT

KEYS = 10_000  # keys that are asked for together; Milvus takes 16,384
STRONG = {"consistency_level": "Strong"}  # what was written before is seen


class MilvusNotes:
    """Texts by name, in a collection with a field of vectors that Milvus asks for."""

    def _notes(self: Any) -> bool:
        """Whether there is the collection of notes; it is ready to be asked then."""
        if not self._exists(MIGRATIONS):
            return False
        if MIGRATIONS not in self._loaded:
            self._ask("load_collection", MIGRATIONS)
            self._loaded.add(MIGRATIONS)
        return True

    def _read_note(self: Any, name: str) -> str | None:
        if not self._notes():
            return None
        options = {"filter": among("name", [name]), "output_fields": ["text"]}
        found = self._ask("query", MIGRATIONS, **options, **STRONG)
        return found[0]["text"] if found else None

    def _write_note(self: Any, name: str, text: str | None) -> None:
        if not self._notes():
            self._make_notes()
        if text is None:
            self._ask("delete", MIGRATIONS, filter=among("name", [name]))
        else:
            self._ask("upsert", MIGRATIONS, [{"name": name, "text": text, "vector": np.zeros(2, np.float32)}])

    def _make_notes(self: Any) -> None:
        """Milvus wants vectors in every collection."""
        kinds = self.client("pymilvus").DataType
        with self.guard():
            schema, indexes = self._client.create_schema(), self._client.prepare_index_params()
            schema.add_field("name", kinds.VARCHAR, is_primary=True, max_length=TEXT)
            schema.add_field("text", kinds.VARCHAR, max_length=TEXT)
            schema.add_field("vector", kinds.FLOAT_VECTOR, dim=2)
            indexes.add_index("vector", index_type="FLAT", metric_type="L2")
        self._ask("create_collection", MIGRATIONS, schema=schema, index_params=indexes)

    def _note_names(self: Any) -> list[str]:
        if not self._notes():
            return []
        options = {"filter": 'name != ""', "output_fields": ["name"], "limit": KEYS}
        return [row["name"] for row in self._ask("query", MIGRATIONS, **options, **STRONG)]
