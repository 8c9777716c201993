"""Vectors as the bytes that databases keep them in."""

from collections.abc import Sequence

import numpy as np

KINDS = {"FLOAT32": "<f4", "FLOAT64": "<f8", "FLOAT16": "<f2", "BFLOAT16": "<u2"}  # by name: the type of their numbers


def pack(vectors: np.ndarray, kind: str) -> list[bytes]:
    """Vectors (m, width) as numbers of this kind, a row each; BFLOAT16 is rounded to the nearest."""
    vectors = np.ascontiguousarray(vectors, np.float32)
    if kind == "BFLOAT16":  # the upper half of a float32
        bits = vectors.view(np.uint32)
        vectors = (bits + 0x7FFF + ((bits >> 16) & 1)) >> 16  # halves go to the even one
    return [row.tobytes() for row in vectors.astype(KINDS[kind])]


def unpack(blobs: Sequence[bytes], kind: str, width: int) -> np.ndarray:
    """Vectors (m, width) float32 of bytes of this kind."""
    numbers = np.frombuffer(b"".join(blobs), KINDS[kind]).reshape(-1, width)
    if kind == "BFLOAT16":
        return (numbers.astype(np.uint32) << 16).view(np.float32)
    return numbers.astype(np.float32)


def size(kind: str) -> int:
    """The bytes of a number of this kind."""
    return np.dtype(KINDS[kind]).itemsize
