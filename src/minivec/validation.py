"""Embeddings in: any array-like to rows that the steps can work on, or one clear error."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Any, cast

import numpy as np

from minivec.frame import Frame
from minivec.tables import unpacked


class Streamed(ABC):
    """Rows that stay where they lie, in place of an array: their shape (n, d), some of them by number, their frame.

    Whoever makes one checks the rows as ``as_rows`` does.
    """

    shape: tuple[int, int]

    def __len__(self) -> int:
        return self.shape[0]

    @abstractmethod
    def __getitem__(self, rows: Any) -> np.ndarray:
        """The rows of a slice, or of rising numbers (m,), as (m, d) float32."""

    @abstractmethod
    def frame(self) -> Frame:
        """Where all rows lie."""


# Rows looked at together: small enough for a memory map of any length, and to stay in the processor's cache.
BLOCK = 4096
PARALLEL = 1e-6  # variance of rows of length 1 that float32 cannot tell from none


def as_array(a: Any, name: str) -> np.ndarray:
    """A floating-point NumPy array of any array-like: torch, JAX or TensorFlow tensor, memory map, nested list,
    column of vectors of a table (pandas, polars, Arrow) or object array of vectors.

    Nothing is copied where the memory can be shared. Raises TypeError for integers, booleans, text, complex numbers and
    sparse matrices, and ValueError for masked rows, nulls and vectors of unequal lengths.
    """
    if hasattr(a, "detach"):  # torch: NumPy knows neither its bfloat16 nor tensors with a gradient or on a GPU
        a = a.detach().cpu()
        a = (a.float() if str(a.dtype) == "torch.bfloat16" else a).numpy()
    try:
        a = unpacked(a, name)
        a = a if isinstance(a, np.ndarray) else np.asarray(a)
    except ValueError as error:
        what = str(error) if str(error).startswith(name) else f"{name} must be a 2-D array of embeddings: {error}"
        raise ValueError(what) from None
    if a.dtype in (np.int8, np.uint8):
        what = f"write {name}.astype(np.float32) * scale, with the scale that they were quantized by"
        raise TypeError(f"{name} must hold floating-point embeddings; got dtype {a.dtype}: {what}")
    if not (np.issubdtype(a.dtype, np.floating) or a.dtype.name == "bfloat16"):
        what = ": write np.stack(list(column)) of a column of vectors" if a.dtype == object else ""
        raise TypeError(f"{name} must hold floating-point embeddings; got dtype {a.dtype}{what}")
    return a


def as_rows(a: Any, name: str, width: int | None = None, min_rows: int = 1) -> np.ndarray:
    """Check embeddings and return them as a (rows, width) array.

    In memory they become C-contiguous float32; a memory map stays one, in its own dtype, and is read in
    blocks; ``Streamed`` rows are passed on.

    Raises TypeError and ValueError that name the argument, the first offending rows and their values:
    not 2-D, empty, another ``width``, fewer than ``min_rows``, NaN or infinity in float32, rows of one
    repeated value (as all zero).
    """
    rows = cast(np.ndarray, a) if isinstance(a, Streamed) else as_array(a, name)
    if len(rows.shape) != 2:
        raise ValueError(f"{name} must be 2-D (rows, dimensions); got shape {rows.shape}")
    if 0 in rows.shape:
        raise ValueError(f"{name} is empty: shape {rows.shape}")
    if rows.shape[1] < 2:
        raise ValueError(f"{name} must have at least 2 dimensions a row; got shape {rows.shape}")
    if width is not None and rows.shape[1] != width:
        raise ValueError(f"{name} must have {width} dimensions a row; got {rows.shape[1]} (shape {rows.shape})")
    if len(rows) < min_rows:
        raise ValueError(f"{name} must have at least {min_rows} rows; got {len(rows)}")
    if isinstance(a, Streamed):
        return rows
    if not isinstance(rows, np.memmap):
        with np.errstate(over="ignore"):
            rows = np.ascontiguousarray(rows, np.float32)
    _refuse(rows, name, not_finite, "has NaN or infinity")
    _refuse(rows, name, constant, "has zero or constant rows, which have no direction,")
    return rows


def frame_of(rows: np.ndarray, name: str) -> Frame:
    """The frame of rows that ``as_rows`` returned; ValueError where centring would leave them without a direction."""
    frame = rows.frame() if isinstance(rows, Streamed) else Frame.of(rows)
    spread = 1 - float(np.linalg.norm(frame.mean.astype(np.float64))) ** 2
    if spread < PARALLEL:
        raise ValueError(f"{name} has {len(rows)} rows that all point in one direction, to within rounding")
    return frame


def as_pairs(pairs: Any, nA: int, nB: int) -> np.ndarray:
    """Known pairs as an (m, 2) int64 array: a row of XA (below nA) and its counterpart in XB (below nB)."""
    pairs = np.asarray(pairs)
    if pairs.ndim != 2 or pairs.shape[1] != 2 or len(pairs) == 0:
        raise ValueError(f"pairs must be (m, 2) row numbers of XA and XB, m at least 1; got shape {pairs.shape}")
    if not np.issubdtype(pairs.dtype, np.integer):
        raise TypeError(f"pairs must be integers; got dtype {pairs.dtype}")
    for column, (name, rows) in enumerate((("XA", nA), ("XB", nB))):
        bad = np.flatnonzero((pairs[:, column] < 0) | (pairs[:, column] >= rows))
        if len(bad):
            value = pairs[bad[0], column]
            raise ValueError(f"pairs[{bad[0]}] names row {value} of {name}, which has {rows} rows")
    return pairs.astype(np.int64)


def drawn(count: int, rows: int, seed: int | np.random.Generator) -> np.ndarray:
    """The numbers, rising, of ``rows`` of ``count`` rows, drawn uniformly; of all of them where there are no more."""
    if rows >= count:
        return np.arange(count)
    return np.sort(np.random.default_rng(seed).choice(count, rows, replace=False))


def _blocks(rows: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    """Each block's first row number and its rows in float32."""
    for start in range(0, len(rows), BLOCK):
        with np.errstate(over="ignore"):
            block = np.asarray(rows[start : start + BLOCK], np.float32)
        yield start, block


def _refuse(rows: np.ndarray, name: str, find: Any, what: str) -> None:
    """Raise ValueError, naming at most five rows and showing one, if ``find`` sees bad rows in any block."""
    bad: list[int] = []
    shown, count = rows[0], 0
    for start, block in _blocks(rows):
        found = find(block)
        if len(found) and not bad:
            shown = block[found[0]]
        bad += [int(start + i) for i in found[: 5 - len(bad)]]
        count += len(found)
    if bad:
        which = ", ".join(map(str, bad)) + (", ..." if count > len(bad) else "")
        raise ValueError(f"{name} {what} in {count} of {len(rows)} rows: {which} (row {bad[0]} is {_show(shown)})")


def not_finite(block: np.ndarray) -> np.ndarray:
    """The numbers (k,) of the rows of ``block`` (m, d), float32 and contiguous, with NaN or infinity."""
    flat = block.reshape(-1)
    with np.errstate(over="ignore", invalid="ignore"):
        if np.isfinite(flat @ flat):  # one product at the speed of memory, where most blocks end
            return np.zeros(0, np.intp)
    return np.flatnonzero(~np.isfinite(block).all(1))


def constant(block: np.ndarray) -> np.ndarray:
    """The numbers (k,) of the rows of ``block`` (m, d) that are one repeated value, as all zero."""
    some = np.flatnonzero(block[:, 0] == block[:, -1])
    return some[(block[some] == block[some, :1]).all(1)]


def _show(row: np.ndarray) -> str:
    return np.array2string(row, precision=3, threshold=6, edgeitems=3, separator=", ")
