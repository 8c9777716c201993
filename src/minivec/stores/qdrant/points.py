"""Qdrant's points as blocks of rows, and blocks as points."""

from typing import Any

import numpy as np

from minivec.stores.base import Block, Schema, Store
from minivec.stores.requests import NUMBER

AROUND = 100  # bytes of a point in JSON beside its numbers and its payload


def rows_of(points: list[Any], schema: Schema, store: Store) -> Block:
    """The points as rows, whose payload is a list of (payload, other vectors); Refused where one has no vector."""
    name, keys = schema.column or "", [point.id for point in points]
    named = [p.vector if isinstance(p.vector, dict) else {"": p.vector} if p.vector else {} for p in points]
    vectors = [vector.pop(name, None) for vector in named]
    missing = [i for i, vector in enumerate(vectors) if vector is None]
    if not store.skip_nulls:
        store.refuse("no vector", missing, keys)
    zero = [0.0] * schema.width
    rows = np.array([zero if vector is None else vector for vector in vectors], np.float32)
    rest = [(point.payload, others) for point, others in zip(points, named, strict=True)]
    return Block(keys, rows.reshape(len(keys), -1), rest, keys[-1] if keys else None, missing)


def as_points(block: Block, name: str | None, in_place: bool) -> tuple[list[Any], list[int]]:
    """The rows as points of the client, and the bytes of each in a request; ``in_place`` only their vectors."""
    from qdrant_client import models

    rows, missing = block.vectors.tolist(), set(block.missing)
    size = NUMBER * block.vectors.shape[1] + AROUND
    if in_place:
        there = [i for i in range(len(rows)) if i not in missing]
        vectors = [models.PointVectors(id=block.keys[i], vector={str(name): rows[i]}) for i in there]
        return vectors, [size] * len(vectors)
    points: list[Any] = [
        models.PointStruct(id=key, payload=payload, vector=others)
        for key, (payload, others) in zip(block.keys, block.payload, strict=True)
    ]
    sizes = [size + len(point.model_dump_json().encode()) for point in points]
    for i, point in enumerate(points):
        if i not in missing:
            point.vector = {**point.vector, name or "": rows[i]} if name or point.vector else rows[i]
    return points, sizes


def alike(one: Any, other: Any) -> bool:
    """Whether two rows' (payload, other vectors) are equal, the vectors but for rounding."""
    (payload, vectors), (its_payload, its_vectors) = one, other
    if payload != its_payload or vectors.keys() != its_vectors.keys():
        return False
    return all(_close(vector, its_vectors[name]) for name, vector in vectors.items())


def _close(vector: Any, other: Any) -> bool:
    if not isinstance(vector, list):  # sparse
        return vector.indices == other.indices and np.allclose(vector.values, other.values, atol=1e-5)
    return np.shape(vector) == np.shape(other) and np.allclose(vector, other, atol=1e-5)


def too_large(error: Exception) -> bool:
    """Whether a server refuses a request for its size."""
    return getattr(error, "status_code", None) == 413
