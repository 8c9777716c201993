"""What a new Qdrant collection, or a new vector of an old one, takes over from the old one's settings."""

from typing import Any

import numpy as np

from minivec.stores.base import Schema, Store
from minivec.stores.errors import Refused

DRIFT = 0.1  # how far from its place a row may be, as a share of its length, that is mapped at another length


def cosine(name: str | None, width: int) -> Any:
    """Vectors of cosine distance, under this name or under none."""
    from qdrant_client import models

    vector = models.VectorParams(size=width, distance=models.Distance.COSINE)
    return vector if name is None else {name: vector}


def add_vector(client: Any, collection: str, like: Any, name: str, width: int) -> None:
    """Add a vector to a collection, if it is not there yet, with the settings of another one."""
    from qdrant_client import models

    made = vector_like(like, width)
    dense = {"size": width, "distance": made.distance, "datatype": made.datatype}
    if name not in client.get_collection(collection).config.params.vectors:
        client.create_vector_name(collection, name, models.DenseVectorNameConfig.model_validate({"dense": dense}))
    names = ("hnsw_config", "quantization_config", "on_disk", "memory")
    changes = {key: getattr(made, key) for key in names if getattr(made, key, None) is not None}
    if changes:
        client.update_collection(collection, vectors_config={name: models.VectorParamsDiff(**changes)})


def add_collection(client: Any, name: str, like: Any, columns: tuple[str | None, str | None], width: int) -> None:
    """Make a collection like the one of this info, and its payload indexes, or those that are not there yet.

    ``columns`` are the names of its vector there and here. Without an info it is made for cosines.
    """
    if not client.collection_exists(name):
        made = {"vectors_config": cosine(columns[1], width)} if like is None else collection_like(like, *columns, width)
        client.create_collection(name, **made)
    if like is None:
        return
    there = client.get_collection(name).payload_schema
    for field, index in like.payload_schema.items():
        if field not in there:
            client.create_payload_index(name, field, index.params or index.data_type)


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


def losses(info: Any, column: str | None) -> list[str]:
    """What a copy of the collection stores otherwise, a line each."""
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


def other_lengths(weights: Any) -> str | None:
    """How long the rows were that a map was fitted on, or None where it maps rows of length 1 nearly alike."""
    if weights["unit"]:  # such a map does not know lengths
        return None
    mean, norm = float(np.linalg.norm(weights["source_mean"])), float(weights.get("source_norm", np.nan))
    if np.isnan(norm):  # of a file that does not tell it: the mean of rows of length 1 is no longer than they are
        return "of other lengths" if mean > 1 else None
    return f"of length {norm:.3g}" if mean * abs(1 - 1 / norm) > DRIFT else None


def schema_of(parameters: Any, column: str | None, store: Store) -> Schema:
    """The vector of this name, or the only one; Refused for another one, and for several rows per point."""
    vectors = parameters.vectors
    if not isinstance(vectors, dict):
        if column is not None:
            raise Refused(f"{store}: its vectors have no names, got column {column!r}")
        vectors = {"": vectors} if vectors is not None else {}
    if column is None and len(vectors) == 1:
        column = next(iter(vectors))
    if column not in vectors:
        wanted = f"no vector named {column!r}" if column else "name one vector (column=)"
        raise Refused(f"{store}: {wanted}; there is {', '.join(vectors) or 'none'}")
    if vectors[column].multivector_config is not None:
        name = f"vector {column!r}" if column else "the vector"
        raise Refused(f"{store}: {name} has several rows for each point (a multivector), which cannot be mapped")
    others = [*vectors, *(parameters.sparse_vectors or {})]
    others = [name for name in others if name != column]
    return Schema(column or None, "id", vectors[column].size, ("payload", *others))
