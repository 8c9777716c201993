"""The map as one value, in NumPy only: the frames of both spaces and the matrix between them."""

import math
from collections.abc import Mapping
from hashlib import blake2b
from pathlib import Path
from types import MappingProxyType
from typing import Any, NoReturn

import numpy as np
from numpy.typing import ArrayLike

from minivec.frame import Frame
from minivec.persistence import BACKWARD, FORWARD, Stored, read_aligner, read_tensors, write_tensors
from minivec.spaces import inverted

TOGETHER = 512  # rows that stay in the processor's cache from one operation to the next


class LinearMap:
    """Maps raw vectors of space A to unit vectors that can be compared by cosine with raw vectors of space B.

    >>> bridge = open_map("aligner.keras")
    >>> bridge(query)  # (dA,) to (dB,), or (n, dA) to (n, dB), float32

    ``weights`` are float32 arrays by name:

    - ``source_mean`` (dA,) and ``target_mean`` (dB,): the means of the raw rows of A and of B
    - ``source_norm`` and ``target_norm``: the root mean square lengths of the raw rows
    - ``W`` (dA, dB), and ``inverse_W`` (dB, dA), the fit the other way
    - ``expected_cosine``: of a mapped row with its partner, both less B's mean, from 0 to 1

    ``source_norm`` and ``inverse_W`` are there together or not at all: without them there is no ``inverse()``.
    ``history`` is what the fit recorded. A map and its arrays are read-only, and it can be pickled.

    A raw row x becomes z = (x - source_mean) W, v = z / |z|, a = v . target_mean and
    r = sqrt(max(a^2 + beyond, 0)) - a; the result is share * target_mean + r v, scaled to length 1. With
    beyond = target_norm^2 - |target_mean|^2, target_mean + r v has the length target_norm. ``share`` is
    the expected cosine. Where it is below 1, a whole mean would draw mapped rows to those rows of B that are like
    the mean.
    """

    weights: Mapping[str, np.ndarray]
    history: dict[str, Any]
    share: float
    beyond: float
    _W: np.ndarray
    _target_mean: np.ndarray
    _offset: np.ndarray
    _part: np.ndarray
    _mean2: float

    def __init__(self, weights: Mapping[str, Any], history: Mapping[str, Any] | None = None):
        """Copy the arrays; ValueError for one that is missing, not finite or of a shape that does not fit."""
        arrays = _checked(weights)
        W, mean = np.asfortranarray(arrays["W"]), arrays["target_mean"]  # a single vector maps faster this way
        share, mean2 = float(arrays["expected_cosine"]), float(mean @ mean)
        vars(self).update(
            weights=MappingProxyType(arrays),
            history=dict(history or {}),
            share=share,
            beyond=float(arrays["target_norm"]) ** 2 - mean2,
            _W=W,
            _target_mean=mean,
            _offset=arrays["source_mean"] @ W,
            _part=share * mean,
            _mean2=mean2,
        )

    def __setattr__(self, name: str, value: Any) -> NoReturn:
        raise AttributeError(f"a LinearMap is read-only: make a new one to change {name}")

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (dict(self.weights), self.history)

    @classmethod
    def of(cls, aligner: Any) -> "LinearMap":
        """The map of an aligned model, or of a map the map itself; NotAlignedError for a model without one."""
        return aligner if isinstance(aligner, cls) else aligner.map

    @classmethod
    def between(
        cls,
        source: Frame,
        target: Frame,
        *,
        W: np.ndarray,
        inverse_W: np.ndarray,
        expected_cosine: float,
        history: Mapping[str, Any] | None = None,
    ) -> "LinearMap":
        """The map ``W`` (dA, dB) from framed rows of one space to framed rows of another, as a fit finds it."""
        frames = {
            "source_mean": source.mean,
            "target_mean": target.mean,
            "source_norm": source.norm,
            "target_norm": target.norm,
        }
        return cls({**frames, "W": W, "inverse_W": inverse_W, "expected_cosine": expected_cosine}, history)

    @property
    def shape(self) -> tuple[int, int]:
        """The widths (dA, dB) of both spaces."""
        return self._W.shape[0], self._W.shape[1]

    @property
    def invertible(self) -> bool:
        """Whether the map holds what ``inverse`` needs."""
        return "inverse_W" in self.weights

    @property
    def fingerprint(self) -> str:
        """A hash of what determines the mapped rows: two maps with one fingerprint map alike."""
        digest = blake2b(digest_size=16)
        for name in sorted(FORWARD):
            digest.update(self.weights[name].tobytes())
        return digest.hexdigest()

    def inverse(self) -> "LinearMap":
        """The map from B to A; ValueError where the weights hold one direction only.

        Its history has the names of the spaces, the data and the causes of doubt the other way round.
        """
        if not self.invertible:
            raise ValueError(
                "this map holds one direction only: an older version exported it; export the .keras file again"
            )
        weights = self.weights
        turned = {
            "source_mean": weights["target_mean"],
            "target_mean": weights["source_mean"],
            "source_norm": weights["target_norm"],
            "target_norm": weights["source_norm"],
            "W": weights["inverse_W"],
            "inverse_W": weights["W"],
        }
        return LinearMap({**turned, "expected_cosine": weights["expected_cosine"]}, inverted(self.history))

    def __call__(self, x: ArrayLike) -> np.ndarray:
        """Raw vectors (dA,) or (n, dA) of A to unit vectors (dB,) or (n, dB), float32; ValueError for other shapes."""
        x = np.asarray(x, np.float32)
        if x.ndim not in (1, 2) or x.shape[-1] != len(self._W):
            raise ValueError(f"expected ({len(self._W)},) or (n, {len(self._W)}); got shape {x.shape}")
        if x.ndim == 1:
            return self._finish(x @ self._W)
        mapped = np.empty((len(x), self._W.shape[1]), np.float32)
        for start in range(0, len(x), TOGETHER):
            rows = slice(start, start + TOGETHER)
            self._finish(np.matmul(x[rows], self._W, out=mapped[rows]))
        return mapped

    def _finish(self, z: np.ndarray) -> np.ndarray:
        """What follows the product with W, in place: a row (dB,) or rows (n, dB)."""
        z -= self._offset
        if z.ndim == 1:  # plain numbers are faster than arrays of one
            scale, size = self._scales(max(math.sqrt(z @ z), 1e-12), float(z @ self._target_mean), max, math.sqrt)
        else:
            length = np.maximum(np.sqrt(np.einsum("ij,ij->i", z, z))[:, None], 1e-12)
            scale, size = self._scales(length, z @ self._target_mean[:, None], np.maximum, np.sqrt)
        z *= scale
        z += self._part / size
        return z

    def _scales(self, length: Any, along: Any, maximum: Any, sqrt: Any) -> tuple[Any, Any]:
        """The factor of z, and the length that the row has before it is scaled to 1: numbers, or columns (n, 1)."""
        along = along / length
        reach = sqrt(maximum(along * along + self.beyond, 0.0)) - along
        size = self.share**2 * self._mean2 + 2 * self.share * reach * along + reach * reach
        size = maximum(sqrt(size), 1e-12)
        return reach / (length * size), size

    def save(self, path: str | Path) -> None:
        """Write a safetensors file, whole or not at all."""
        write_tensors(path, self.weights, self.history)

    @classmethod
    def load(cls, path: str | Path) -> "LinearMap":
        """The map in a safetensors file; ValueError for one that is damaged or holds something else.

        The file need not be trusted: only tensors and JSON are read, and both are checked.
        """
        return read_tensors(path, lambda stored: cls(stored.weights, stored.history))


def open_map(path: str | Path, inverse: bool = False) -> LinearMap:
    """The map in a .keras file, a .safetensors file or a folder that ``save_pretrained`` wrote; no Keras is needed.

    With ``inverse`` it is the map from B to A. The file need not be trusted. Raises OSError where there is nothing to
    read, and ValueError that names the file and says what is wrong with it: damaged, of another class, not aligned,
    or without the inverse.
    """

    def make(stored: Stored) -> LinearMap:
        bridge = LinearMap(stored.weights, stored.history)
        return bridge.inverse() if inverse else bridge

    return read_aligner(path, make)


def _checked(weights: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Read-only float32 copies of the weights; ValueError where they are no map."""
    names = (*FORWARD, *BACKWARD) if any(name in weights for name in BACKWARD) else FORWARD
    missing = sorted(set(names) - set(weights))
    if missing:
        raise ValueError(f"no weight {missing[0]!r}")
    arrays = {name: np.array(weights[name], np.float32, order="C") for name in names}
    dA, dB = arrays["W"].shape if arrays["W"].ndim == 2 else (0, 0)
    shapes = {"source_mean": (dA,), "target_mean": (dB,), "W": (dA, dB), "inverse_W": (dB, dA)}
    if min(dA, dB) == 0 or any(array.shape != shapes.get(name, ()) for name, array in arrays.items()):
        found = {name: array.shape for name, array in arrays.items()}
        raise ValueError(f"the weights do not fit together: {found}")
    for name, array in arrays.items():
        if not np.isfinite(array).all():
            raise ValueError(f"the weights hold NaN or infinity: {name}")
        array.flags.writeable = False
    return arrays
