"""The map as one value, in NumPy only: the frames of both spaces and the matrix between them."""

import math
from collections.abc import Mapping
from hashlib import blake2b
from pathlib import Path
from types import MappingProxyType
from typing import Any, NoReturn

import numpy as np
from numpy.typing import ArrayLike

from minivec.frame import Frame, directions
from minivec.persistence import BACKWARD, FORWARD, Stored, read_aligner, read_tensors, write_tensors
from minivec.signature import Signatures, Watch
from minivec.spaces import inverted

TOGETHER = 512  # rows that stay in the processor's cache from one operation to the next
SQUARES = (1e-20, 1e30)  # squared lengths of rows between which float32 is exact enough
LENGTHS = ("unit", "target")  # of mapped rows
FORMULA = 2.0  # the weight ``unit`` of new maps
NEAR = 1e-5  # of the mean's length: rows that are as near to the mean differ from it by rounding only


class LinearMap:
    """Maps raw vectors of space A to vectors that can be compared by cosine with raw vectors of space B.

    The mapped rows have length 1, unless ``of_lengths`` has made a map whose rows are as long as B's.

    >>> bridge = open_map("aligner.keras")
    >>> bridge(query)  # (dA,) to (dB,), or (n, dA) to (n, dB), float32

    ``weights`` are float32 arrays by name:

    - ``source_mean`` (dA,) and ``target_mean`` (dB,): the means of the rows of A and of B
    - ``source_norm`` and ``target_norm``: the typical lengths of their raw rows
    - ``W`` (dA, dB), and ``inverse_W`` (dB, dA), the fit the other way
    - ``expected_cosine``: of a mapped row with its partner, both less B's mean, from 0 to 1
    - ``unit``: 2 where the means are those of rows of length 1, and the typical lengths geometric means. It is 1 in
      maps that used the expected cosine in another way, and 0 in maps of version 0.1.0, whose means are those of raw
      rows, and whose typical lengths are root mean squares

    ``source_norm`` and ``inverse_W`` are there together or not at all: without them there is no ``inverse()``.
    ``history`` is what the fit recorded. ``signatures`` tell what the rows of both spaces looked like, None in older
    maps: by them the first calls recognise vectors of another space, and warn once. A map and its arrays are read-only,
    and it can be pickled.

    A raw row x becomes u = x / |x|, z = (u - source_mean) W, v = z / |z|, a = v . target_mean and
    r = sqrt(max(a^2 + beyond, 0)) - a, where beyond = 1 - |target_mean|^2: target_mean + r v has the length of B's
    rows. How far a row lies from the mean is known only as well as its direction. So r is drawn to its typical value,
    sqrt(beyond), by the expected cosine c: the result is target_mean + (c r + (1 - c) sqrt(beyond)) v, scaled to length
    1. With r alone, rows that seem near to the mean would come up in every search of a space whose mean is long.

    Of ``for_queries``, and where ``unit`` is 1 or 0, the result is c target_mean + r v, scaled to length 1. Where it is
    0, u = x, and beyond = target_norm^2 - |target_mean|^2. Older files give the rows that they always gave.

    Two kinds of rows have no direction. In a row of zeros u is 0; rows with no entry above 1e-30 fade to it. In a row
    at the mean (|z| at most 1e-5 of the mean's length) v is 0, and the result is the direction of target_mean.
    """

    weights: Mapping[str, np.ndarray]
    history: dict[str, Any]
    length: float
    asks: bool
    share: float
    trust: float
    usual: float
    scaled: bool
    beyond: float
    near: float
    signatures: Signatures | None
    _watch: Watch | None
    _W: np.ndarray
    _target_mean: np.ndarray
    _offset: np.ndarray
    _part: np.ndarray
    _mean2: float

    def __init__(
        self,
        weights: Mapping[str, Any],
        history: Mapping[str, Any] | None = None,
        length: float = 1.0,
        signatures: Signatures | None = None,
        asks: bool = False,
    ):
        """Copy the arrays; ValueError for one that is missing, not finite or of a shape that does not fit.

        ``length`` is that of mapped rows, and ``asks`` tells that they are queries.
        """
        arrays = _checked(weights)
        W, mean = np.asfortranarray(arrays["W"]), arrays["target_mean"]  # a single vector maps faster this way
        cosine, mean2, scaled = float(arrays["expected_cosine"]), float(mean @ mean), bool(arrays["unit"])
        share, trust = (1.0, cosine) if arrays["unit"] > 1 and not asks else (cosine, 1.0)
        beyond = (1.0 if scaled else float(arrays["target_norm"]) ** 2) - mean2
        vars(self).update(
            weights=MappingProxyType(arrays),
            history=dict(history or {}),
            length=length,
            asks=asks,
            share=share,
            trust=trust,
            usual=(1 - trust) * math.sqrt(max(beyond, 0.0)),
            scaled=scaled,
            beyond=beyond,
            near=NEAR * float(np.linalg.norm(arrays["source_mean"])),
            signatures=signatures,
            _watch=signatures and Watch(signatures),
            _W=W,
            _target_mean=mean,
            _offset=arrays["source_mean"] @ W,
            _part=share * mean,
            _mean2=mean2,
        )

    def __setattr__(self, name: str, value: Any) -> NoReturn:
        raise AttributeError(f"a LinearMap is read-only: make a new one to change {name}")

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (dict(self.weights), self.history, self.length, self.signatures, self.asks)

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
        signatures: Signatures | None = None,
    ) -> "LinearMap":
        """The map ``W`` (dA, dB) from framed rows of one space to framed rows of another, as a fit finds it."""
        frames = {
            "source_mean": source.mean,
            "target_mean": target.mean,
            "source_norm": source.norm,
            "target_norm": target.norm,
            "unit": FORMULA,
        }
        weights = {**frames, "W": W, "inverse_W": inverse_W, "expected_cosine": expected_cosine}
        return cls(weights, history, signatures=signatures)

    @classmethod
    def of_stored(cls, stored: Stored) -> "LinearMap":
        """The map that a file holds; ValueError where its arrays are none."""
        widths = np.size(stored.weights["source_mean"]), np.size(stored.weights["target_mean"])
        signatures = Signatures.from_arrays(stored.signatures, widths)
        return cls(stored.weights, stored.history, signatures=signatures)

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
        """A hash of what determines the mapped rows but their length: two maps with one fingerprint map alike."""
        digest = blake2b(digest_size=16)
        for name in sorted(FORWARD if self.scaled else set(FORWARD) - {"unit"}):  # as version 0.1.0 did
            digest.update(self.weights[name].tobytes())
        return digest.hexdigest()

    def of_lengths(self, lengths: str | float = "target") -> "LinearMap":
        """The same map, with mapped rows of length 1 ("unit"), as long as B's raw rows ("target"), or of this length.

        B's rows are taken to be as long as their typical length; within a thousandth of 1 that is 1. Only a search that
        does not go by cosine sees a difference. Maps of version 0.1.0 give length 1 in either case. ValueError for
        other words.
        """
        norm, length = float(self.weights["target_norm"]), 1.0
        if not isinstance(lengths, str):
            length = float(lengths)
        elif lengths not in LENGTHS:
            raise ValueError(f"lengths must be {' or '.join(LENGTHS)}; got {lengths!r}")
        elif lengths == "target" and self.scaled and abs(norm - 1) > 1e-3:
            length = norm
        return self._as(length, self.asks)

    def for_queries(self) -> "LinearMap":
        """The same map, for rows that ask and are never stored beside B's own; files do not keep this.

        Where B's mean is long, more of them find their partner first, and as many of its neighbours.
        """
        return self._as(self.length, True)

    def _as(self, length: float, asks: bool) -> "LinearMap":
        same = (length, asks) == (self.length, self.asks)
        return self if same else LinearMap(self.weights, self.history, length, self.signatures, asks)

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
        signatures = self.signatures and self.signatures.swapped()
        return LinearMap({**weights, **turned}, inverted(self.history), signatures=signatures)

    def __call__(self, x: ArrayLike) -> np.ndarray:
        """Raw vectors (dA,) or (n, dA) of A to vectors (dB,) or (n, dB), float32; ValueError for other shapes.

        The first calls warn (WrongVectorsWarning, once) of vectors that look like those of another space.
        """
        x = np.asarray(x, np.float32)
        mapped = self.apply(x)
        if self._watch is not None:
            vars(self)["_watch"] = self._watch.look(x)
        return mapped

    def apply(self, x: ArrayLike) -> np.ndarray:
        """As a call, without a look at whose vectors they are: for rows that were looked at before."""
        x = np.asarray(x, np.float32)
        if x.ndim not in (1, 2) or x.shape[-1] != len(self._W):
            raise ValueError(f"expected ({len(self._W)},) or (n, {len(self._W)}); got shape {x.shape}")
        if x.ndim == 1:
            return self._row(x) if self.length == 1 else self._row(x) * np.float32(self.length)
        mapped = np.empty((len(x), self._W.shape[1]), np.float32)
        for start in range(0, len(x), TOGETHER):
            rows = slice(start, start + TOGETHER)
            self._rows(x[rows], mapped[rows])
        if self.length != 1:
            mapped *= np.float32(self.length)
        return mapped

    def _row(self, x: np.ndarray) -> np.ndarray:
        """A raw row (dA,) to its mapped row (dB,): ``_rows`` in plain numbers, which are faster than arrays of one."""
        square = float(np.einsum("i,i", x, x))  # silent where it overflows
        if SQUARES[0] < square < SQUARES[1]:
            z = x @ self._W
            if self.scaled:
                z *= 1 / math.sqrt(square)
            z -= self._offset
            length = math.sqrt(z @ z)
            if length > self.near:
                scale, size = self._scales(length, float(z @ self._target_mean), max, math.sqrt)
                z *= scale
                z += self._part / size
                return z
        return self._rows(x[None], np.empty((1, self._W.shape[1]), np.float32))[0]

    def _rows(self, x: np.ndarray, out: np.ndarray) -> np.ndarray:
        """Raw rows (n, dA) to mapped rows (n, dB), written to ``out``."""
        square = np.einsum("ij,ij->i", x, x)
        odd = ~((square > SQUARES[0]) & (square < SQUARES[1]))
        shrunk: Any = 1
        if odd.any():
            x, shrunk = self._tamed(x, odd)
        z = np.matmul(x, self._W, out=out)
        if self.scaled:
            z /= np.where(odd, 1, np.sqrt(square))[:, None]
        z -= shrunk * self._offset
        length = np.sqrt(np.einsum("ij,ij->i", z, z))[:, None]
        at_mean = length <= self.near * shrunk
        scale, size = self._scales(np.maximum(length, 1e-30), z @ self._target_mean[:, None], np.maximum, np.sqrt)
        if at_mean.any():
            scale[at_mean], size[at_mean] = 0, max(self.share * math.sqrt(self._mean2), 1e-12)
        z *= scale
        z += self._part / size
        return z

    def _tamed(self, x: np.ndarray, odd: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Rows (n, dA) whose ``odd`` ones float32 can square now, and the factors (n, 1) of the mean."""
        x, shrunk = x.copy(), np.ones((len(x), 1), np.float32)
        if self.scaled:
            x[odd] = directions(x[odd])
        else:
            shrunk[odd] = 1 / np.maximum(np.abs(x[odd]).max(1, keepdims=True), 1)
            x *= shrunk
        return x, shrunk

    def _scales(self, length: Any, along: Any, maximum: Any, sqrt: Any) -> tuple[Any, Any]:
        """The factor of z, and the length that the row has before it is scaled to 1: numbers, or columns (n, 1)."""
        along = along / length
        reach = self.trust * (sqrt(maximum(along * along + self.beyond, 0.0)) - along) + self.usual
        size = self.share**2 * self._mean2 + 2 * self.share * reach * along + reach * reach
        size = maximum(sqrt(size), 1e-12)
        return reach / (length * size), size

    def save(self, path: str | Path) -> None:
        """Write a safetensors file, whole or not at all."""
        write_tensors(path, {**self.weights, **(self.signatures.arrays() if self.signatures else {})}, self.history)

    @classmethod
    def load(cls, path: str | Path) -> "LinearMap":
        """The map in a safetensors file; ValueError for one that is damaged or holds something else.

        The file need not be trusted: only tensors and JSON are read, and both are checked.
        """
        return read_tensors(path, cls.of_stored)


def open_map(path: str | Path, inverse: bool = False) -> LinearMap:
    """The map in a .keras file, a .safetensors file or a folder that ``save_pretrained`` wrote; no Keras is needed.

    With ``inverse`` it is the map from B to A. The file need not be trusted. Raises OSError where there is nothing to
    read, and ValueError that names the file and says what is wrong with it: damaged, of another class, not aligned,
    or without the inverse.
    """

    def make(stored: Stored) -> LinearMap:
        bridge = LinearMap.of_stored(stored)
        return bridge.inverse() if inverse else bridge

    return read_aligner(path, make)


def _checked(weights: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Read-only float32 copies of the weights; ValueError where they are no map."""
    names = (*FORWARD, *BACKWARD) if any(name in weights for name in BACKWARD) else FORWARD
    weights = {"unit": 0.0, **weights}  # which maps of version 0.1.0 do not have
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
    if arrays["unit"] not in (0, 1, FORMULA):
        raise ValueError(f"the weight 'unit' is {arrays['unit']:g}: a newer version of minivec made this map")
    return arrays
