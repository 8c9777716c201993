"""Embeddings in files: the public names of ``minivec.formats`` (one module a format) and ``minivec.output``."""

from minivec.arrow import is_vector, list_vectors
from minivec.formats import FORMATS, SUFFIXES, WORD_SUFFIXES, map_rows, open_rows, takes_column
from minivec.formats.base import NAME, WORD, Format, Rows, checked, float_lists, read_words, refuse
from minivec.formats.pairs import read_pairs
from minivec.formats.parquet import parquet_parts
from minivec.formats.skipping import GoodRows
from minivec.formats.streaming import to_fit
from minivec.output import check_output, replacing

__all__ = [
    "FORMATS",
    "NAME",
    "SUFFIXES",
    "WORD",
    "WORD_SUFFIXES",
    "Format",
    "GoodRows",
    "Rows",
    "check_output",
    "checked",
    "float_lists",
    "is_vector",
    "list_vectors",
    "map_rows",
    "open_rows",
    "parquet_parts",
    "read_pairs",
    "read_words",
    "refuse",
    "replacing",
    "takes_column",
    "to_fit",
]
