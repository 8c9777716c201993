"""The one place that knows which Keras backend computes."""

from collections import OrderedDict
from collections.abc import Callable
from functools import partial, wraps
from threading import Lock
from typing import Any

import keras
import numpy as np
from keras import ops

SHAPES = 12  # most shapes that a compiled function is kept for; JAX itself would keep thousands (docs/tuning.md)


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """``function`` of tensors, or of tuples of them, compiled once for each shape with JAX.

    JAX is slow operation by operation.
    """
    if keras.backend.backend() != "jax":
        return function
    import jax

    kept: OrderedDict[Any, Any] = OrderedDict()  # by shapes, the one used last at the end
    compiling = Lock()  # threads that want the same shape would each compile it

    @wraps(function)
    def call(*tensors: Any) -> Any:
        shapes = tuple(tuple(map(np.shape, t)) if isinstance(t, tuple) else np.shape(t) for t in tensors)
        with compiling:
            jitted = kept.pop(shapes, None)
            new = jitted is None
            if new:
                jitted = jax.jit(partial(function))  # a function of its own: JAX forgets its code with it
                result = jitted(*tensors)
            kept[shapes] = jitted
            if len(kept) > SHAPES:
                kept.popitem(last=False)
        return result if new else jitted(*tensors)

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
