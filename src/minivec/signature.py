"""What a space looks like: a few numbers from the rows of a fit, by which other rows are recognised.

An encoder spreads its vectors over few directions, whatever the texts. A vector of another encoder lies in these
directions by chance only. So the share of a row that lies in them tells the two apart, and the share that chance gives
is known without data (docs/wrong-vectors.md).
"""

import math
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np

from minivec.frame import directions as scaled_to_1
from minivec.frame import unit

DIRECTIONS = 64  # of one space, at most
NUMBERS = 48 << 10  # in the directions of one space, at most: 64 directions of up to 768 dimensions
DIMENSIONS_EACH = 6  # dimensions for one direction, at least: with more directions chance gives too large a share
FIT_ROWS = 4_096  # that a signature is made of, at most
ROUNDS = 4  # of subspace iteration
ROWS = 1_000  # that are looked at to recognise a space, at most
TELLING = 8.0  # the level of the fit's own rows from which a signature tells spaces apart
LEAST = 3.0  # the level that rows of the space have, at least
PART = 0.12  # and, at least, the part that this level is of the level of the fit's own rows
DOUBT = 1.5  # how far on both sides of it one row leaves the matter open; n rows by the square root of n less
LEVELS = (0.0, 0.01, 0.5, 0.99, 1.0)  # of the quantiles that are kept

Space = Literal["own", "other", "foreign", "unknown"]
CAUSES: dict[str, str] = {
    "own": "these look like vectors of the space that the map leads from",
    "other": "these look like vectors of the target space: map them with the inverse (--inverse), or they are "
    "mapped already",
    "foreign": "these do not look like vectors of the space that the map leads from: another model made them",
    "unknown": "too few rows, or too weak a signature, to tell of which space these vectors are",
}


class WrongVectorsWarning(UserWarning):
    """The vectors are probably of another space than the map leads from."""


@dataclass(frozen=True)
class Signature:
    """What the rows of one space look like: float32 arrays.

    - ``mean`` (d,): of the rows, each scaled to length 1
    - ``directions`` (k, d): orthonormal, those along which the rows, less their part along the mean, are largest
    - ``shares`` (5,): quantiles (0, 0.01, 0.5, 0.99, 1) of the share, from 0 to 1, of a row that lies in them
    - ``lengths`` (5,): the same quantiles of the rows' lengths
    """

    mean: np.ndarray
    directions: np.ndarray
    shares: np.ndarray
    lengths: np.ndarray

    @classmethod
    def of(cls, X: np.ndarray) -> "Signature":
        """The signature of raw rows ``X`` (n, d): the directions of one half of them, the shares of the other half.

        At most 4,096 rows, at even distances, are looked at.
        """
        rows = np.asarray(_evenly(X, FIT_ROWS), np.float32)
        U = scaled_to_1(rows)
        mean = U.mean(0)
        rest = _without(U, mean)
        directions = largest(rest[::2], number_of_directions(X.shape[1]))
        quantiles = (np.quantile(v, LEVELS) for v in (_shares(rest[1::2], directions), _lengths(rows)))
        return cls(mean, directions, *(values.astype(np.float32) for values in quantiles))

    @property
    def width(self) -> int:
        """The dimensions of the space."""
        return len(self.mean)

    @property
    def typical(self) -> float:
        """The median level of the fit's rows."""
        return float(self._level(self.shares[2]))

    @property
    def tells(self) -> bool:
        """Whether the fit's rows stand out from chance, so that other rows can be told from them."""
        return len(self.directions) > 0 and self.typical > TELLING

    @property
    def unit(self) -> bool:
        """Whether the fit's rows had length 1."""
        return bool(np.abs(self.lengths - 1).max() < 1e-2)

    def levels(self, U: np.ndarray) -> np.ndarray:
        """How much more of each unit row (n, d) lies in the directions than chance gives: (n,), in its deviations."""
        levels: np.ndarray = self._level(_shares(_without(U, self.mean), self.directions))
        return levels

    def _level(self, share: Any) -> Any:
        """A share in standard deviations above its mean: by chance it is a Beta(k/2, (d - 1 - k)/2) variable."""
        k, d = len(self.directions), self.width - 1
        mean = k / d
        return (share - mean) / math.sqrt(2 * mean * (1 - mean) / (d + 2))

    def bounds(self, rows: int) -> tuple[float, float]:
        """The mean level of ``rows`` rows below which they are of another space, and above which of this one."""
        least, doubt = max(LEAST, PART * self.typical), DOUBT / math.sqrt(rows)
        return least * (1 - doubt), least * (1 + doubt)

    def arrays(self) -> dict[str, np.ndarray]:
        """The arrays by name, as a file keeps them."""
        return {name: getattr(self, name) for name in SHAPES}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, Any], width: int) -> "Signature":
        """The signature that ``arrays`` are; ValueError where one is missing, not finite or of another shape."""
        sizes: dict[Any, int] = {"d": width, "k": number_of_directions(width)}
        checked = {}
        for name, shape in SHAPES.items():
            if name not in arrays:
                raise ValueError(f"a signature has no {name!r}")
            expected = tuple(sizes.get(size, size) for size in shape)
            array = np.array(arrays[name], np.float32, order="C")
            if array.shape != expected or not np.isfinite(array).all():
                raise ValueError(f"a signature's {name!r} must be finite, of shape {expected}; got {array.shape}")
            array.flags.writeable = False
            checked[name] = array
        return cls(**checked)


SHAPES: dict[str, tuple[Any, ...]] = {
    "mean": ("d",),
    "directions": ("k", "d"),
    "shares": (len(LEVELS),),
    "lengths": (len(LEVELS),),
}


class Signatures(NamedTuple):
    """The signatures of the two spaces of a map."""

    source: Signature
    target: Signature

    def arrays(self) -> dict[str, np.ndarray]:
        """All arrays by name: "source_signature_mean" and the like."""
        return {
            f"{side}_signature_{name}": array
            for side, signature in zip(self._fields, self, strict=True)
            for name, array in signature.arrays().items()
        }

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, Any], widths: tuple[int, int]) -> "Signatures | None":
        """Those that ``arrays()`` gave, None where ``arrays`` has none of their names; ValueError for damaged ones."""
        parts = [
            {name: arrays[key] for name in SHAPES if (key := f"{side}_signature_{name}") in arrays}
            for side in cls._fields
        ]
        if not any(parts):
            return None
        return cls(*(Signature.from_arrays(part, width) for part, width in zip(parts, widths, strict=True)))

    def swapped(self) -> "Signatures":
        """Those of the inverse."""
        return Signatures(self.target, self.source)


@dataclass(frozen=True)
class Verdict:
    """Of which space rows are.

    - ``space``: "own", "other" (the space at the map's other end), "foreign" (of neither), or "unknown"
    - ``rows`` that were looked at, without repeated ones; ``level``: their mean level, of chance 0; ``typical``: the
      level of the fit's own rows
    - ``note``: how their lengths differ from those of the fit's rows, or nothing
    """

    space: Space
    rows: int = 0
    level: float = math.nan
    typical: float = math.nan
    note: str = ""

    @property
    def wrong(self) -> bool:
        """Whether the rows are of another space."""
        return self.space in ("other", "foreign")

    @property
    def cause(self) -> str:
        """What the rows look like, in a sentence."""
        return CAUSES[self.space]


def recognise(rows: np.ndarray, own: Signature | None, other: Signature | None = None) -> Verdict:
    """Of which space raw ``rows`` (n, d) are: of ``own``, of ``other``, of neither, or "unknown".

    At most 1,000 rows, at even distances, are looked at, those that are finite and not zero. ``other`` counts where
    it has the width of ``own``. Without a signature, and where the fit's own rows hardly stand out from chance (few
    dimensions, noise), the space is unknown.
    """
    if own is None or not own.tells:
        return Verdict("unknown")
    rows = np.asarray(_evenly(rows, ROWS), np.float32)
    lengths = _lengths(rows)
    usable = np.isfinite(lengths) & (lengths > 0)
    if not usable.any():
        return Verdict("unknown")
    U, note = scaled_to_1(rows[usable]), _note(lengths[usable], own)
    here = np.unique(own.levels(U).round(4))  # of repeated rows once
    space = placed(here, own)
    if space != "own" and other is not None and other.width == own.width and other.tells:
        there = np.unique(other.levels(U).round(4))
        space = "other" if placed(there, other) == "own" else space
    return Verdict(space, len(here), float(here.mean()), own.typical, note)


def placed(levels: np.ndarray, signature: Signature) -> Space:
    """Whether rows of these ``levels`` (n,) are of the signature's space: "own", "foreign" or "unknown"."""
    low, high = signature.bounds(len(levels))
    level = float(levels.mean())
    return "foreign" if level < low else "own" if level > high else "unknown"


def refuse_wrong(rows: np.ndarray, signatures: Signatures | None, where: Any) -> None:
    """ValueError that says ``where`` raw ``rows`` (n, d) are, unless they may be of the space that a map leads from.

    ``signatures`` are those of the map: of none nothing is refused.
    """
    if signatures is not None:
        verdict = recognise(rows, *signatures)
        if verdict.wrong:
            raise ValueError(f"{where}: {verdict.cause}; any_vectors (--any-vectors) goes on regardless")


class Watch:
    """Looks at the rows of the first calls of a map, until it is clear of which space they are."""

    def __init__(self, signatures: Signatures):
        self._signatures = signatures
        self._rows: list[np.ndarray] = []
        self._count, self._wanted = 0, 1

    def look(self, x: np.ndarray, stacklevel: int = 3) -> "Watch | None":
        """See ``x``, and warn (WrongVectorsWarning) of vectors of another space; itself while that is open, or None."""
        verdict = self.see(x)
        if verdict is None:
            return self
        if verdict.wrong:
            warnings.warn(verdict.cause, WrongVectorsWarning, stacklevel)
        return None

    def see(self, x: np.ndarray) -> Verdict | None:
        """The verdict on all rows so far, where it is clear or 1,000 rows have not made it so; otherwise None.

        ``x`` is a row (d,) or rows (n, d). It is looked at when the number of rows has doubled since the last look.
        """
        rows = _evenly(np.atleast_2d(x), ROWS)
        self._rows.append(np.array(rows, np.float32))
        self._count += len(rows)
        if self._count < self._wanted:
            return None
        verdict = recognise(np.concatenate(self._rows), *self._signatures)
        self._wanted = 2 * self._count
        return verdict if verdict.space != "unknown" or self._count >= ROWS else None


def number_of_directions(width: int) -> int:
    """How many directions the signature of a space of ``width`` dimensions has."""
    return min(DIRECTIONS, NUMBERS // width, width // DIMENSIONS_EACH)


def _note(lengths: np.ndarray, own: Signature) -> str:
    """How the lengths of rows differ from those of the fit, where one has unit rows and the other has not."""
    is_unit = bool(np.abs(lengths - 1).max() < 1e-2)
    if is_unit == own.unit:
        return ""
    here, there = (f"{values.min():.3g} to {values.max():.3g}" for values in (lengths, own.lengths))
    return f"the rows have lengths {here}, those of the fit {there}"


def _lengths(rows: np.ndarray) -> np.ndarray:
    """The lengths (n,) of rows, NaN or infinite where an entry is."""
    lengths: np.ndarray = np.linalg.norm(rows.astype(np.float64), axis=1)
    return lengths


def _evenly(X: np.ndarray, most: int) -> np.ndarray:
    """At most ``most`` of the rows, at even distances."""
    return X if len(X) <= most else X[np.linspace(0, len(X) - 1, most).astype(int)]


def _without(U: np.ndarray, mean: np.ndarray) -> np.ndarray:
    """Rows (n, d) less their part along ``mean``."""
    direction = unit(mean[None])[0]
    rest: np.ndarray = U - (U @ direction)[:, None] * direction
    return rest


def _shares(rest: np.ndarray, directions: np.ndarray) -> np.ndarray:
    """Of the squared length of each row (n, d), the share that lies in the directions."""
    inside = np.square(rest @ directions.T).sum(1)
    shares: np.ndarray = inside / np.maximum(np.square(rest).sum(1), 1e-12)
    return shares


def largest(rows: np.ndarray, k: int) -> np.ndarray:
    """The orthonormal directions (k, d) along which the rows are largest, by subspace iteration."""
    start = np.random.default_rng(0).standard_normal((rows.shape[1], min(2 * k, rows.shape[1]))).astype(np.float32)
    basis = np.linalg.qr(start)[0]
    for _ in range(ROUNDS):
        basis = np.linalg.qr(rows.T @ (rows @ basis))[0]
    inside = rows @ basis
    turn = np.linalg.eigh(inside.T @ inside)[1][:, ::-1]  # rising
    return np.ascontiguousarray((basis @ turn[:, :k]).T, np.float32)
