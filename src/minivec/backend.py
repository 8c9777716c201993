"""The one place that knows which Keras backend computes."""

from collections.abc import Callable
from functools import wraps
from threading import Lock
from typing import Any

import keras
import numpy as np
from keras import ops

SHAPES = 32  # most shapes that a compiled function is kept for; JAX itself would keep thousands (docs/tuning.md)


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """``function`` of tensors, or of tuples of them, compiled once for each shape with JAX.

    JAX is slow operation by operation.
    """
    if keras.backend.backend() != "jax":
        return function
    import jax

    jitted: Any = jax.jit(function)
    kept: set[Any] = set()
    compiling = Lock()  # threads that want the same shape would each compile it

    @wraps(function)
    def call(*tensors: Any) -> Any:
        shapes = tuple(tuple(map(np.shape, t)) if isinstance(t, tuple) else np.shape(t) for t in tensors)
        if shapes in kept:
            return jitted(*tensors)
        with compiling:
            if len(kept) == SHAPES:
                jitted.clear_cache()
                kept.clear()
            result = jitted(*tensors)
            kept.add(shapes)
            return result

    return call


@compiled
def map_rows(x: Any, source_mean: Any, W: Any, target_mean: Any, target_norm: Any, expected_cosine: Any) -> Any:
    """``LinearMap`` in Keras operations: raw rows of A (n, dA) to unit rows (n, dB)."""
    z = ops.matmul(x - source_mean, W)
    v = z / ops.maximum(ops.norm(z, axis=-1, keepdims=True), 1e-12)
    along = ops.expand_dims(ops.matmul(v, target_mean), -1)
    mean = ops.sum(target_mean**2)
    reach = ops.sqrt(ops.maximum(along**2 + target_norm**2 - mean, 0.0)) - along
    share = expected_cosine
    length = ops.sqrt(share**2 * mean + 2 * share * reach * along + reach**2)
    return (share * target_mean + reach * v) / ops.maximum(length, 1e-12)
