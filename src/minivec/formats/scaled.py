"""Quantized embeddings: integers of one byte, with their scale and offset in arrays beside them."""

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

SCALE, OFFSET = "_scale", "_offset"  # behind the name of the integers


class Scale:
    """What integers (n, d) stand for: ``integer * scale + offset``.

    Each is one number, one a row (n,) or (n, 1), or one a dimension (d,) or (1, d).
    """

    def __init__(self, name: str, shape: tuple[int, ...], read: Callable[[str], np.ndarray | None], where: Any):
        """``read`` gives the array of a name, or None where there is none; ValueError for arrays of other shapes."""
        self._scale = _fitted(name + SCALE, read(name + SCALE), shape, where)
        self._offset = _fitted(name + OFFSET, read(name + OFFSET), shape, where)

    def apply(self, X: np.ndarray, first: int) -> np.ndarray:
        """The float32 rows that the integers (m, d) from row ``first`` on stand for."""
        rows = slice(first, first + len(X))
        scale, offset = (a if len(a) == 1 else a[rows] for a in (self._scale, self._offset))
        return X.astype(np.float32) * scale + offset


def without_scales(names: Iterable[str]) -> list[str]:
    """The names of arrays that are not the scale or the offset of another one."""
    names = list(names)
    return [
        name for name in names if not any(name.endswith(s) and name.removesuffix(s) in names for s in (SCALE, OFFSET))
    ]


def _fitted(name: str, values: np.ndarray | None, shape: tuple[int, ...], where: Any) -> np.ndarray:
    """An array (1, 1), (n, 1) or (1, d) of float32."""
    if values is None:
        return np.full((1, 1), float(name.endswith(SCALE)), np.float32)
    n, d = shape
    forms = {(): (1, 1), (1,): (1, 1), (1, 1): (1, 1), (n, 1): (n, 1), (1, d): (1, d)}
    if n != d:
        forms |= {(n,): (n, 1), (d,): (1, d)}
    if values.shape not in forms or values.dtype.kind != "f" or not np.isfinite(values).all():
        what = f"expected finite floats, one in all, ({n}, 1) or (1, {d}); got {values.dtype} of shape {values.shape}"
        raise ValueError(f"{where}: {name}: {what}")
    return np.asarray(values, np.float32).reshape(forms[values.shape])
