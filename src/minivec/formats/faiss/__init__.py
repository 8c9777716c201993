"""FAISS's index files: read as rows, trained and built anew."""

from minivec.formats.faiss.rows import FORMAT

SUFFIXES = (".faiss", ".index")

__all__ = ["FORMAT", "SUFFIXES"]
