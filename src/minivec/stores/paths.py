"""The store of a path."""

from pathlib import Path

from minivec import files
from minivec.formats import faiss
from minivec.stores.address import Address
from minivec.stores.errors import Refused
from minivec.stores.files import ArrayStore, FileStore, ParquetStore, WordStore


def open_file(address: Address, path: str, column: str | None) -> FileStore:
    """The store for a path: by its suffix, and a folder for Parquet files where it has none."""
    index = faiss.OPTIONS.fullmatch(path)
    place = Path(index[1] if index else path).expanduser()
    suffix = place.suffix.lower()
    if place.is_dir() or suffix in ("", ".parquet"):
        return ParquetStore(address, place, column)
    if suffix in faiss.SUFFIXES:
        from minivec.stores.faiss import FaissStore  # which loads FAISS

        return FaissStore(address, place, column, index[2] if index else "")
    if suffix in files.WORD_SUFFIXES:
        return WordStore(address, place, column)
    if suffix not in files.SUFFIXES:
        raise Refused(f"{path}: expected a file ending in {', '.join(files.SUFFIXES)}, a folder or a store's URL")
    return ArrayStore(address, place, column)
