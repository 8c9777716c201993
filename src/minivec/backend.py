"""The one place that knows which Keras backend computes."""

from collections import OrderedDict
from collections.abc import Callable
from functools import partial, wraps
from threading import Lock
from typing import Any

import keras
import numpy as np
from keras import ops

from minivec.frame import TINY
from minivec.map import NEAR

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
def map_rows(x: Any, weights: tuple[Any, ...]) -> Any:
    """``LinearMap`` in Keras operations: raw rows of A (n, dA) to unit rows (n, dB)."""
    source_mean, W, target_mean, target_norm, expected_cosine, unit = weights
    largest = ops.max(ops.abs(x), axis=-1, keepdims=True)
    tamed = x / ops.maximum(largest, TINY)  # float32 cannot square 1e20
    rows = tamed / ops.maximum(ops.norm(tamed, axis=-1, keepdims=True), 1.0)
    shrunk = 1.0 / ops.maximum(largest / 1e15, 1.0)  # for maps that were fitted to rows of any length
    shrunk = ops.where(unit > 0, ops.ones_like(shrunk), shrunk)
    z = ops.matmul(ops.where(unit > 0, rows, x * shrunk) - shrunk * source_mean, W)
    size = ops.norm(z, axis=-1, keepdims=True)
    there = size <= NEAR * ops.norm(source_mean) * shrunk
    v = ops.where(there, ops.zeros_like(z), z / ops.maximum(size, 1e-30))
    along = ops.expand_dims(ops.matmul(v, target_mean), -1)
    beyond = ops.where(unit > 0, ops.ones_like(target_norm), target_norm) ** 2 - ops.sum(target_mean**2)
    share, trust = ops.where(unit > 1, 1.0, expected_cosine), ops.where(unit > 1, expected_cosine, 1.0)
    usual = (1 - trust) * ops.sqrt(ops.maximum(beyond, 0.0))
    reach = trust * (ops.sqrt(ops.maximum(along**2 + beyond, 0.0)) - along) + usual
    row = share * target_mean + reach * v
    return row / ops.maximum(ops.norm(row, axis=-1, keepdims=True), 1e-12)
