"""The map without Keras: NumPy and one safetensors file, for processes that serve queries."""

import json
import math
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import ArrayLike

TOGETHER = 512  # rows that stay in the processor's cache from one operation to the next
WEIGHTS = ("source_mean", "target_mean", "target_norm", "W", "expected_cosine")

# What a history from a file may hold: the type of each entry, and the types of its members.
HISTORY: dict[str, tuple[type, ...]] = {
    "confidence": (float,),
    "verdict": (str,),
    "causes": (list, str),
    "expected_cosine": (float,),
    "seconds": (dict, float, int),
    "settings": (dict, str, float, int, type(None)),
    "pairs": (int,),
    "data": (dict, dict),
    "versions": (dict, str),
}

T = TypeVar("T")


class QueryAdapter:
    """Maps raw vectors of space A to unit vectors comparable by cosine with raw vectors of B, as the aligner does.

    >>> adapter = QueryAdapter.load("bridge.safetensors")
    >>> adapter(query)  # (dA,) to (dB,), or (n, dA) to (n, dB), float32

    To leave a database of old vectors as it is, align the *new* model's space (A) to the old one's (B), or take
    ``aligner.inverse()``, and map each query on its way in. ``history`` is the aligner's.

    The map: z = (x - source_mean) W, v = z / |z|, a = v . target_mean, r = sqrt(max(a^2 + beyond, 0)) - a, and then
    share * target_mean + r v, scaled to length 1. Exports are built from ``weights``, ``share`` and ``beyond``.
    """

    def __init__(self, weights: dict[str, np.ndarray], history: dict[str, Any] | None = None):
        self.history = dict(history or {})
        self.weights = {name: np.asarray(weights[name], np.float32, order="C") for name in WEIGHTS}
        mean, self._W, self._target_mean = (self.weights[name] for name in ("source_mean", "W", "target_mean"))
        dA, dB = self._W.shape if self._W.ndim == 2 else (0, 0)
        scalar = self.weights["target_norm"].shape == self.weights["expected_cosine"].shape == ()
        if mean.shape != (dA,) or self._target_mean.shape != (dB,) or min(dA, dB) == 0 or not scalar:
            shapes = {name: value.shape for name, value in self.weights.items()}
            raise ValueError(f"the weights do not fit together: {shapes}")
        if not all(np.isfinite(value).all() for value in self.weights.values()):
            raise ValueError("the weights hold NaN or infinity")
        self._W = np.asfortranarray(self._W)  # a third faster for one vector
        self._offset = mean @ self._W
        self.share = float(self.weights["expected_cosine"])
        self._part = self.share * self._target_mean
        self._mean2 = float(self._target_mean @ self._target_mean)
        self.beyond = float(self.weights["target_norm"]) ** 2 - self._mean2

    @classmethod
    def of(cls, aligner: Any) -> "QueryAdapter":
        """The same map as ``aligner``'s; NotAlignedError if it has none."""
        aligner._check_aligned()
        return cls({name: np.asarray(getattr(aligner, name)) for name in WEIGHTS}, dict(aligner.history))

    @property
    def shape(self) -> tuple[int, int]:
        """The widths (dA, dB) of both spaces."""
        return self._W.shape[0], self._W.shape[1]

    def __call__(self, x: ArrayLike) -> np.ndarray:
        """Raw vectors (dA,) or (n, dA) of A to unit vectors (dB,) or (n, dB) to be compared with raw ones of B."""
        x = np.asarray(x, np.float32)
        if x.ndim not in (1, 2) or x.shape[-1] != len(self._W):
            raise ValueError(f"expected ({len(self._W)},) or (n, {len(self._W)}); got shape {x.shape}")
        if x.ndim == 1:
            return self._finish(x @ self._W)
        mapped = np.empty((len(x), self._W.shape[1]), np.float32)
        for start in range(0, len(x), TOGETHER):
            some = slice(start, start + TOGETHER)
            self._finish(np.matmul(x[some], self._W, out=mapped[some]))
        return mapped

    def _finish(self, z: np.ndarray) -> np.ndarray:
        """What follows the product with W, in place: a row (dB,) or rows (n, dB)."""
        z -= self._offset
        if z.ndim == 1:
            scale, size = self._scales(max(math.sqrt(z @ z), 1e-12), float(z @ self._target_mean), max, math.sqrt)
        else:
            length = np.maximum(np.sqrt(np.einsum("ij,ij->i", z, z))[:, None], 1e-12)
            scale, size = self._scales(length, z @ self._target_mean[:, None], np.maximum, np.sqrt)
        z *= scale
        z += self._part / size
        return z

    def _scales(self, length: Any, along: Any, maximum: Any, sqrt: Any) -> tuple[Any, Any]:
        """What z is multiplied by, and the length it had: ``aligner._map_rows``, for numbers or columns (n, 1)."""
        along = along / length
        reach = sqrt(maximum(along * along + self.beyond, 0.0)) - along
        size = self.share**2 * self._mean2 + 2 * self.share * reach * along + reach * reach
        size = maximum(sqrt(size), 1e-12)
        return reach / (length * size), size

    def save(self, path: str | Path) -> None:
        """Write a safetensors file, whole or not at all."""
        write_tensors(path, self.weights, self.history)

    @classmethod
    def load(cls, path: str | Path) -> "QueryAdapter":
        """The map in a safetensors file; ValueError for one that is damaged or holds something else.

        The file need not be trusted: tensors and JSON are all that is read, and checked.
        """
        return read_tensors(path, WEIGHTS, cls)


def write_tensors(path: str | Path, weights: dict[str, np.ndarray], history: dict[str, Any]) -> None:
    """Write named float32 tensors and a fit's history to a safetensors file, whole or not at all."""
    from safetensors.numpy import save

    from minivec.files import replacing

    data = save(weights, {"minivec": json.dumps(history)})
    with replacing(path) as temporary:
        temporary.write_bytes(data)


def read_tensors(
    path: str | Path, names: Iterable[str], make: Callable[[dict[str, np.ndarray], dict[str, Any]], T]
) -> T:
    """What ``make(weights, history)`` makes of a file that ``write_tensors`` wrote; ValueError if it cannot."""
    from safetensors import SafetensorError, safe_open

    if not Path(path).is_file():
        raise FileNotFoundError(f"{path}: no such file")
    try:
        with safe_open(path, "numpy") as file:
            missing = sorted(set(names) - set(file.keys()))
            if missing:
                raise ValueError(f"no tensor {missing[0]!r}")
            types = {name: file.get_slice(name).get_dtype() for name in names}
            if set(types.values()) != {"F32"}:
                raise ValueError(f"the tensors are not float32: {types}")
            history = checked_history(json.loads((file.metadata() or {}).get("minivec", "{}")))
            return make({name: file.get_tensor(name) for name in names}, history)
    except (SafetensorError, ValueError, TypeError, RecursionError) as error:
        what = " ".join(str(error).split())
        raise ValueError(f"{path}: not a map that minivec exported: {what}") from error


def checked_history(history: Any) -> dict[str, Any]:
    """``history`` out of a file, unless it is of another form than what ``align`` returns (ValueError)."""
    if not isinstance(history, dict):
        raise ValueError(f"the history is a {type(history).__name__}, not a dict")
    for name, kind in HISTORY.items():
        value = history.get(name)
        members = value if isinstance(value, list) else value.values() if isinstance(value, dict) else ()
        if value is not None and not (isinstance(value, kind[0]) and all(isinstance(m, kind[1:]) for m in members)):
            raise ValueError(f"the history's {name!r} is not what align records")
    return history
