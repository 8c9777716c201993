"""File formats, one module each."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from minivec.algorithm.confidence import warn_of_failed
from minivec.formats import faiss, npy, npz, parquet, safetensors, word2vec
from minivec.formats.base import Block, Format, Rows
from minivec.formats.skipping import GoodRows
from minivec.output import replacing

FORMATS: dict[str, Format] = {
    ".npy": npy.FORMAT,
    ".npz": npz.FORMAT,
    ".safetensors": safetensors.FORMAT,
    ".parquet": parquet.FORMAT,
    **dict.fromkeys(faiss.SUFFIXES, faiss.FORMAT),
    ".vec": word2vec.TEXT,
    ".bin": word2vec.BINARY,
    ".txt": word2vec.GLOVE,
    ".tsv": word2vec.TABLE,
}

SUFFIXES = tuple(FORMATS)
WORD_SUFFIXES = tuple(suffix for suffix, known in FORMATS.items() if known.words)


def open_rows(path: str | Path, column: str | None = None, *, skip_bad_rows: bool = False) -> Rows:
    """The rows of ``path``: a file with one of the SUFFIXES, or a folder of .parquet files.

    ``column`` names the array, tensor or column of a file, needed only where it has several. ``skip_bad_rows`` reads
    the file once for rows that are no embeddings (nulls, NaN, infinity, one repeated value), and leaves them out: see
    ``GoodRows``. Otherwise reading them raises ValueError.
    Raises FileNotFoundError, IsADirectoryError, or ValueError saying what is wrong with the file.
    """
    rows = _opened(Path(path), column)
    return GoodRows(rows) if skip_bad_rows else rows


def _opened(path: Path, column: str | None) -> Rows:
    suffix = path.suffix.lower()
    if not path.exists():
        raise FileNotFoundError(f"{path}: no such file")
    if not os.access(path, os.R_OK):
        raise PermissionError(f"{path}: no permission to read it")
    if path.is_dir():
        return parquet.ParquetRows(path, column)
    if not path.is_file():
        raise ValueError(f"{path}: not a regular file")
    if suffix not in FORMATS:
        raise ValueError(f"{path}: expected a file ending in {', '.join(FORMATS)}")
    if column is not None and not FORMATS[suffix].named:
        raise ValueError(f"{path}: a {suffix} file holds one array without a name, got column {column!r}")
    return FORMATS[suffix].open(path, column)


def takes_column(path: str | Path) -> bool:
    """Whether a file of this name has arrays or columns with names."""
    known = FORMATS.get(Path(path).suffix.lower())
    return known is None or known.named


def map_rows(function: Callable[[np.ndarray], np.ndarray], rows: Rows, path: str | Path, size: int) -> None:
    """Write ``function(block)``, (m, width) float32, of each block (m, d) of at most ``size`` rows to ``path``.

    The format follows the suffix. From Parquet to Parquet the other columns and all metadata pass through,
    and the column keeps its name as a fixed-size list. Words stay with their vectors between .vec, .bin, .txt, .tsv
    and Parquet (column "word"); .npy and .npz have no place for them. An index of FAISS is built as that of ``rows``
    was, with its ids, or flat, and is in memory as a whole; of other files memory holds a few blocks.
    Rows that ``rows`` skips stay in a Parquet file, with null for a vector; other formats leave them out.
    ``path`` appears when everything is written, or not at all. A map whose fit failed is an AlignmentWarning.
    """
    warn_of_failed(function)
    path = Path(path)
    known = FORMATS[path.suffix.lower()]

    def with_nulls(rows: GoodRows) -> Iterator[Block]:
        for X, batch, good in rows.with_bad(size):
            mapped = np.array(function(X), np.float32)
            mapped[~good] = np.nan
            yield mapped, batch

    if known.nulls and isinstance(rows, GoodRows):
        blocks = with_nulls(rows)
    else:
        blocks = ((np.ascontiguousarray(function(X), np.float32), batch) for X, batch in rows.batches(size))
    with replacing(path) as temporary, open(temporary, "wb") as file:
        known.write(file, blocks, rows)
