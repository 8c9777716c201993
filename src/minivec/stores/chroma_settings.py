"""What a new Chroma collection takes over from the old one. Embedding functions are read as JSON, and never built."""

from typing import Any


def function_of(collection: Any) -> str | None:
    """The name of the embedding function that a collection is stored with, or None."""
    stored = collection.configuration_json.get("embedding_function") or {}
    return stored.get("name")


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
