"""The vectors of a FAISS index, as it has stored them."""

import re
from collections.abc import Callable, Iterator
from typing import Any

import faiss
import numpy as np

Read = Callable[[int, int], np.ndarray]  # the rows from one number to another one, (m, d) float32

FULL = {faiss.ScalarQuantizer.QT_fp16, getattr(faiss.ScalarQuantizer, "QT_bf16", faiss.ScalarQuantizer.QT_fp16)}
INNER = ("index", "base_index", "refine_index", "storage", "quantizer")  # the indexes that an index is made of


def parts(index: Any) -> Iterator[Any]:
    """The index and all those that it is made of."""
    index = faiss.downcast_index(index)
    yield index
    for name in INNER:
        inner = getattr(index, name, None)
        if isinstance(inner, faiss.Index):
            yield from parts(inner)


def chain(index: Any) -> list[Any]:
    """The transforms of an IndexPreTransform, the first one first."""
    return [faiss.downcast_VectorTransform(index.chain.at(i)) for i in range(index.chain.size())]


def vectors_of(index: Any) -> tuple[int, np.ndarray | None, Read]:
    """The number of rows, their ids (n,) int64 or None where these are the rows' numbers, and how rows are read.

    Rows with ids of an IVF index, which has no order of them, are in the order of the ids. ValueError where FAISS
    cannot give the vectors back.
    """
    index = faiss.downcast_index(index)
    if isinstance(index, faiss.IndexIDMap):
        count, inner, read = vectors_of(index.index)
        mapped = faiss.vector_to_array(index.id_map)
        if inner is not None or len(mapped) != count:
            raise ValueError(f"damaged: an {type(index).__name__} of {len(mapped)} ids and {count} vectors")
        return count, mapped, read
    if isinstance(index, faiss.IndexPreTransform):
        count, ids, read = vectors_of(index.index)
        return count, ids, lambda start, end: _turned_back(index, read(start, end))
    if isinstance(index, faiss.IndexRefine):
        return vectors_of(index.refine_index)
    if type(index).__name__ == "IndexIVFFlatDedup":
        raise ValueError("an IndexIVFFlatDedup keeps equal vectors once: copy it to an IndexIVFFlat")
    if isinstance(index, faiss.IndexIVFFastScan):  # FAISS 1.15 crashes when it is asked for a vector
        raise ValueError(f"FAISS cannot give back the vectors of an {type(index).__name__}")
    if isinstance(index, faiss.IndexIVF):
        return _of_lists(index)
    return index.ntotal, None, lambda start, end: index.reconstruct_n(start, end - start)


def _turned_back(index: Any, rows: np.ndarray) -> np.ndarray:
    """Rows as they were before the transforms of an IndexPreTransform."""
    X, rows = np.empty((len(rows), index.d), np.float32), np.ascontiguousarray(rows)
    index.reverse_chain(len(rows), faiss.swig_ptr(rows), faiss.swig_ptr(X))
    return X


def _of_lists(index: Any) -> tuple[int, np.ndarray | None, Read]:
    """As ``vectors_of``, of an IVF index."""
    lists = index.invlists
    if lists is None or lists.nlist != index.nlist:
        raise ValueError("damaged, or its lists are in another file: merge them with faiss.contrib.ondisk")
    sizes = [lists.list_size(i) for i in range(lists.nlist)]
    kept = [faiss.rev_swig_ptr(lists.get_ids(i), size).copy() for i, size in enumerate(sizes) if size]
    ids = np.concatenate([*kept, np.zeros(0, np.int64)])
    order = np.argsort(ids, kind="stable")
    ids = ids[order]
    numbers = np.repeat(np.arange(len(sizes)), sizes)[order]
    ends = np.concatenate([np.arange(size) for size in sizes] or [np.zeros(0, int)])[order]

    def read(start: int, end: int) -> np.ndarray:
        X = np.empty((end - start, index.d), np.float32)
        for row, number, place in zip(X, numbers[start:end].tolist(), ends[start:end].tolist(), strict=True):
            index.reconstruct_from_offset(number, place, faiss.swig_ptr(row))
        return X

    return len(ids), None if np.array_equal(ids, np.arange(len(ids))) else ids, read


def approximate(index: Any) -> str | None:
    """What of an index makes its vectors approximations of those that were added, or None."""
    index = faiss.downcast_index(index)
    if isinstance(index, faiss.IndexPreTransform):
        narrow = [f"{type(t).__name__} to {t.d_out} of {t.d_in} dimensions" for t in chain(index) if t.d_out < t.d_in]
        return narrow[0] if narrow else approximate(index.index)
    for name in ("index", "refine_index", "storage"):
        if isinstance(getattr(index, name, None), faiss.Index):
            return approximate(getattr(index, name))
    half = isinstance(index, faiss.IndexScalarQuantizer | faiss.IndexIVFScalarQuantizer) and index.sq.qtype in FULL
    return None if half or isinstance(index, faiss.IndexFlat | faiss.IndexIVFFlat) else type(index).__name__


def said(error: Exception) -> str:
    """What an exception of FAISS says, without where in its code it was raised."""
    text = re.sub(r"^Error in .* at \S+:\d+: ", "", " ".join(str(error).split()))
    return text.rpartition("failed: ")[2].removeprefix("Error: ") or type(error).__name__
