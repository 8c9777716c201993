"""What a new Chroma collection takes over from the old one. Embedding functions are read as JSON, and never built."""

import math
from typing import Any


def function_of(collection: Any) -> str | None:
    """The name of the embedding function that a collection is stored with, or None."""
    stored = collection.configuration_json.get("embedding_function") or {}
    return stored.get("name")


def settings_for(source: Any) -> dict[str, Any]:
    """Arguments that make a collection for rows of ``source``: like its own, or, of another kind, by cosine."""
    if source.extra != "chroma":
        return {"configuration": {"hnsw": {"space": "cosine"}}}
    return settings_like(source._collection)


def settings_like(collection: Any) -> dict[str, Any]:
    """Arguments that make a collection like this one, without its embedding function, which is never built."""
    metadata, schema = collection.metadata, getattr(collection._model, "serialized_schema", None)
    if schema and not any(name.startswith("hnsw:") for name in metadata or {}):  # the client refuses both together
        from chromadb.api.types import Schema as ChromaSchema

        return {"metadata": metadata, "schema": ChromaSchema.deserialize_from_json(_without_functions(schema))}
    kept = {k: v for k, v in collection.configuration_json.items() if v and k != "embedding_function"}
    return {"metadata": metadata, "configuration": kept}


def _without_functions(settings: Any) -> Any:
    """Settings as JSON in which no embedding function is named."""
    if not isinstance(settings, dict):
        return settings
    unknown = {"type": "legacy"}
    return {k: unknown if k == "embedding_function" else _without_functions(v) for k, v in settings.items()}


def alike(one: Any, other: Any) -> bool:
    """Whether two rows' (document, metadata, uri) are equal, numbers but for the last digits: Chroma rounds them."""
    (document, metadata, uri), (its_document, its_metadata, its_uri) = one, other
    metadata, its_metadata = metadata or {}, its_metadata or {}
    if (document, uri, metadata.keys()) != (its_document, its_uri, its_metadata.keys()):
        return False
    return all(_close(value, its_metadata[name]) for name, value in metadata.items())


def _close(value: Any, other: Any) -> bool:
    if isinstance(value, float) and isinstance(other, float):
        return math.isclose(value, other, rel_tol=1e-12)
    return type(value) is type(other) and value == other
