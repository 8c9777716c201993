"""FAISS's index files: read as rows, trained and built anew. FAISS, which is slow to load, is loaded with the first."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from minivec.formats.base import Block, Format, Rows

SUFFIXES = (".faiss", ".index")
OPTIONS = re.compile(r"(.*\.(?:faiss|index))\?(.*)", re.IGNORECASE | re.DOTALL)  # of a path, behind it

__all__ = ["FORMAT", "OPTIONS", "SUFFIXES"]


def _open(path: Path, column: str | None = None) -> Rows:
    from minivec.formats.faiss.rows import FaissRows

    return FaissRows(path, column)


def _write(file: IO[bytes], blocks: Iterator[Block], rows: Rows) -> None:
    from minivec.formats.faiss.rows import write

    write(file, blocks, rows)


FORMAT = Format(_open, _write, named=False)
