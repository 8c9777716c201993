"""What a new Qdrant collection, or a new vector of an old one, takes over from the old one's settings."""

from typing import Any


def collection_like(info: Any, column: str | None, name: str | None, width: int) -> dict[str, Any]:
    """Arguments of ``create_collection``: the settings of ``info`` with vectors ``name`` of ``width`` for ``column``.

    A collection with one vector that has no name has no ``column``; ``name`` gives it one.
    """
    from qdrant_client import models

    config, old = info.config, info.config.params
    vector = vector_like(old.vectors[column] if column else old.vectors, width)
    vectors: Any = vector
    if name is not None:
        others = old.vectors if column else {}
        vectors = {key: value for key, value in others.items() if key != column} | {name: vector}
    strict = getattr(config, "strict_mode_config", None)
    settings = {
        "vectors_config": vectors,
        "sparse_vectors_config": old.sparse_vectors,
        "hnsw_config": _as(models.HnswConfigDiff, config.hnsw_config),
        "optimizers_config": _as(models.OptimizersConfigDiff, config.optimizer_config),
        "wal_config": _as(models.WalConfigDiff, config.wal_config),
        "quantization_config": config.quantization_config,
        "strict_mode_config": _as(models.StrictModeConfig, strict),
        "metadata": getattr(config, "metadata", None),
    }
    names = ("shard_number", "replication_factor", "write_consistency_factor", "on_disk_payload")
    settings |= {key: getattr(old, key) for key in names}
    settings |= {key: getattr(old, key, None) for key in ("payload", "id_tracker")}  # of newer clients
    return {key: value for key, value in settings.items() if value is not None}


def vector_like(vector: Any, width: int) -> Any:
    """The settings of a vector at another width; whole numbers from 0 to 255 cannot hold unit vectors."""
    return vector.model_copy(update={"size": width, "datatype": None if whole(vector) else vector.datatype})


def whole(vector: Any) -> bool:
    """Whether a vector is stored as whole numbers from 0 to 255."""
    return vector.datatype == "uint8"


def added(vector: Any, width: int) -> tuple[Any, Any]:
    """The configuration of a vector that is added to a collection, and the changes that give it the other settings."""
    from qdrant_client import models

    like = vector_like(vector, width)
    dense = {"size": width, "distance": like.distance, "datatype": like.datatype}
    names = ("hnsw_config", "quantization_config", "on_disk", "memory")
    changes = {name: getattr(like, name) for name in names if getattr(like, name, None) is not None}
    config = models.DenseVectorNameConfig.model_validate({"dense": dense})
    return config, models.VectorParamsDiff(**changes) if changes else None


def indexes(info: Any) -> dict[str, Any]:
    """The payload indexes of a collection: what ``create_payload_index`` takes, by field."""
    return {field: index.params or index.data_type for field, index in info.payload_schema.items()}


def differences(info: Any, column: str | None) -> list[str]:
    """What is not taken over, a sentence each."""
    told, old = [], info.config.params
    vector = old.vectors[column] if column else old.vectors
    if whole(vector):
        told.append("vectors of whole numbers (uint8) become float32, because mapped vectors have length 1")
    if str(old.sharding_method or "auto") == "custom":
        told.append("shard keys are not kept: the new collection distributes its points by itself")
    return told


def _as(kind: Any, value: Any) -> Any:
    """``value`` as the model that a request takes: the server's answer has the same fields, and others besides."""
    if value is None:
        return None
    given = value.model_dump(mode="json", exclude_none=True)
    return kind.model_validate({name: item for name, item in given.items() if name in kind.model_fields})
