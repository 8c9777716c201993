"""The one place that knows which Keras backend computes."""

from collections.abc import Callable
from typing import Any

import keras


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """``function`` of tensors, compiled once a shape where that pays: JAX is slow operation by operation."""
    if keras.backend.backend() == "jax":
        import jax

        return jax.jit(function)
    return function
