"""The one place that knows which Keras backend computes."""

from collections.abc import Callable
from functools import wraps
from typing import Any

import keras
import numpy as np

SHAPES = 32  # that a compiled function is kept for: each holds some 4 MB, and JAX itself would keep thousands


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """``function`` of tensors, compiled once a shape where that pays: JAX is slow operation by operation."""
    if keras.backend.backend() != "jax":
        return function
    import jax

    jitted: Any = jax.jit(function)
    kept: set[Any] = set()

    @wraps(function)
    def call(*tensors: Any) -> Any:
        shapes = tuple(map(np.shape, tensors))
        if shapes not in kept:
            if len(kept) == SHAPES:
                jitted.clear_cache()
                kept.clear()
            kept.add(shapes)
        return jitted(*tensors)

    return call
