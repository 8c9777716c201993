"""The one place that knows which Keras backend computes."""

from collections.abc import Callable
from functools import wraps
from threading import Lock
from typing import Any

import keras
import numpy as np

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
