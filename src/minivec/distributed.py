"""Beyond one machine: Ray workers that map Parquet datasets, and fits on rows that lie in shards (``minivec[ray]``)."""

import os
import re
import shutil
from collections.abc import Callable, Iterable, Iterator
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import ray
import ray.data

from minivec.algorithm.confidence import warn_of_failed
from minivec.files import SUFFIXES, checked, float_lists, open_rows
from minivec.frame import Frame, sums, unit
from minivec.map import LinearMap
from minivec.record import Record
from minivec.signature import refuse_wrong
from minivec.validation import Streamed

BLOCK = 16384  # rows read at a time


class MapColumn:
    """What ``ray.data.Dataset.map_batches`` calls in each worker: maps one column, and passes on the others.

    >>> dataset.map_batches(MapColumn, fn_constructor_args=(adapter, "vector"), batch_format="pyarrow", concurrency=8)

    ``adapter`` is a ``LinearMap``: workers load NumPy, and no Keras. A block whose rows look like vectors of another
    space is a ValueError, unless ``any_vectors``.
    """

    def __init__(self, adapter: LinearMap, column: str, any_vectors: bool = False):
        self.adapter, self.column, self.any_vectors = adapter, column, any_vectors

    def __call__(self, table: pa.Table) -> pa.Table:
        """The table with the column as fixed-size lists of float32; ValueError for rows that are no embeddings."""
        place = table.schema.get_field_index(self.column)
        where = f"column {self.column!r}, in a block of {len(table)} rows"
        width, target = self.adapter.shape
        column = table.column(place).combine_chunks()
        rows = checked(float_lists(column, width, where), where)
        if not self.any_vectors:
            refuse_wrong(rows, self.adapter.signatures, where)
        mapped = self.adapter.apply(rows)
        field = table.schema.field(place).with_type(pa.list_(pa.float32(), target))
        return table.set_column(place, field, pa.FixedSizeListArray.from_arrays(pa.array(mapped.ravel()), target))


def transform(
    source: str | Path,
    adapter: LinearMap,
    output: str | Path,
    column: str,
    workers: int,
    block_size: int = BLOCK,
    *,
    any_vectors: bool = False,
) -> int:
    """Map ``column`` of the Parquet file or folder ``source`` into a new folder ``output``; returns the number of rows.

    Rows keep their order, over the files of ``output`` in the order of their names. ``workers`` processes map blocks of
    ``block_size`` rows; a worker that dies is replaced and its blocks are mapped again. ``output`` appears when all
    is written, or not at all; FileExistsError where there is something already. A block whose rows look like vectors
    of another space is a ValueError, unless ``any_vectors``. A map whose fit failed is an AlignmentWarning.
    """
    warn_of_failed(adapter)
    output = Path(output).resolve()
    if output.exists():
        raise FileExistsError(f"{output}: exists; Ray writes a new folder of Parquet files")
    options = ray.data.DataContext.get_current().execution_options
    unordered, options.preserve_order = options.preserve_order, True
    temporary = output.with_name(f".{output.name}.{os.getpid()}")
    try:
        # A function, not the class: its actors would hold the processors that reading and writing need.
        dataset = ray.data.read_parquet(str(Path(source).resolve())).map_batches(
            MapColumn(adapter, column, any_vectors).__call__,
            batch_format="pyarrow",
            batch_size=block_size,
            concurrency=workers,
        )
        dataset.write_parquet(str(temporary))
        rows = sum(pq.read_metadata(file).num_rows for file in temporary.glob("*.parquet"))
        os.replace(temporary, output)
    except ray.exceptions.RayError as error:
        raise _cause(error) from error
    finally:
        options.preserve_order = unordered
        shutil.rmtree(temporary, ignore_errors=True)
    return rows


class Shards(Streamed):
    """Embeddings in several files, anywhere Ray's workers can read them: an input of ``align`` that is never gathered.

    >>> aligner.align(Shards("old/*.parquet", column="vector"), Shards(["new-1.npy", "new-2.npy"]))

    One task a file counts and checks the rows and sums up their frame; those that a fit looks at, at most
    ``max_rows``, are gathered by their numbers. The fit is the one that all rows in one array would get, to the
    rounding of sums.
    """

    def __init__(self, paths: str | Path | Iterable[str | Path], column: str | None = None):
        """``paths`` are files, or a pattern of their names (which are then sorted)."""
        if isinstance(paths, str | Path):
            pattern = Path(paths).resolve()
            paths = sorted(path for path in pattern.parent.glob(pattern.name) if path.suffix.lower() in SUFFIXES)
        self.paths, self.column = [Path(path).resolve() for path in paths], column
        if not self.paths:
            raise FileNotFoundError("no shards: the pattern names no file that holds embeddings")
        self._parts = _results([_summary.remote(path, column) for path in self.paths])
        widths = {len(total) for _, total, _ in self._parts}
        if len(widths) > 1:
            raise ValueError(f"{self.paths[0].parent}: shards of several widths: {sorted(widths)}")
        self.shape = sum(n for n, _, _ in self._parts), widths.pop()

    def frame(self) -> Frame:
        """The frame of all rows, from the sums of each shard."""
        total = np.sum([total for _, total, _ in self._parts], axis=0)
        return Frame.of_sums(len(self), total, sum(logs for *_, logs in self._parts))

    def __getitem__(self, rows: Any) -> np.ndarray:
        """The rows of a slice, or of rising numbers (m,), from whichever shards have them."""
        wanted = np.arange(len(self))[rows]
        ends = np.cumsum([n for n, _, _ in self._parts])
        cuts = np.split(wanted, np.searchsorted(wanted, ends[:-1]))
        starts = ends - [n for n, _, _ in self._parts]
        asked = zip(self.paths, cuts, starts, strict=True)
        parts = [_some.remote(path, self.column, cut - start) for path, cut, start in asked if len(cut)]
        return np.concatenate(_results(parts))


def evaluate(adapter: LinearMap, A: Shards, B: Shards, sample: int = 2048, seed: int = 0) -> dict[str, float]:
    """Retrieval metrics of ``adapter`` on true pairs in shards, row i of ``A`` (n, dA) with row i of ``B`` (n, dB).

    As ``evaluate_alignment`` has them, but for CSLS: ``sample`` pairs, or all, drawn uniformly, rank all n rows of B,
    of which one task a file counts those that come before the partner. ValueError for A and B of different lengths.
    """
    if A.shape != (len(B), adapter.shape[0]) or B.shape[1] != adapter.shape[1]:
        raise ValueError(f"true pairs for a map of widths {adapter.shape} expected; A is {A.shape}, B is {B.shape}")
    from minivec.metrics import TIE, retrieval_metrics  # loads FAISS, which workers that only map do without

    rng = np.random.default_rng(seed)
    rows = np.sort(rng.choice(len(A), min(sample, len(A)), replace=False))
    mapped, partners = adapter.for_queries()(A[rows]), unit(B[rows])
    own = np.einsum("ij,ij->i", mapped, partners)
    shared = ray.put((mapped, own - TIE))
    rank = np.maximum(1, sum(_results([_before.remote(path, B.column, shared) for path in B.paths])))
    metrics = retrieval_metrics(own, rank, rank)
    del metrics["csls_top1_accuracy"]
    return metrics


class TaskRecord(Record):
    """The record of a run whose independent work is done by Ray tasks: ``align(..., engine="ray")``.

    Callbacks and progress stay in this process, and are told of a task's steps when it has ended. ``seconds`` are those
    of the tasks, added up. What a task reads (the framed rows, among others) is in Ray's object store once.
    """

    def each(self, task: Callable[..., Any], *items: Iterable[Any], threads: bool = False) -> Iterator[Any]:
        """``task(record, *item)`` of every item, in order. Those that nobody waits for end by themselves."""
        shared = ray.put(task)
        for one in [_noted.remote(shared, *item) for item in zip(*items, strict=False)]:
            ((result, done),) = _results([one])
            self._take_over(done)
            yield result

    def _take_over(self, done: Record) -> None:
        """Note what a task has noted, stage by stage, until a callback stops the run."""
        for name, seconds in done.seconds.items():
            self.seconds[name] = self.seconds.get(name, 0.0) + seconds
        for name, steps in groupby(done.steps, key=itemgetter("stage")):
            with self.stage(name, None):
                for step in steps:
                    if self.step(**{key: value for key, value in step.items() if key not in ("stage", "step")}):
                        return


@ray.remote
def _before(path: Path, column: str | None, shared: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
    """How many rows of a file have at least this cosine (m,) with these mapped rows (m, d): (m,)."""
    mapped, cosines = shared
    return sum((mapped @ unit(rows).T >= cosines[:, None]).sum(1) for rows in open_rows(path, column).blocks(BLOCK))


@ray.remote
def _noted(task: Callable[..., Any], *item: Any) -> tuple[Any, Record]:
    """What ``task`` returns, and what it has noted."""
    record = Record()
    return task(record, *item), record


def _results(tasks: list[Any]) -> list[Any]:
    """What the tasks return; the error of one that fails, as it was raised."""
    try:
        return ray.get(tasks)
    except ray.exceptions.RayError as error:
        raise _cause(error) from error


def _cause(error: Exception) -> Exception:
    """The ValueError that a worker raised (of which Ray Data keeps but the traceback's text), or Ray's own error."""
    cause = getattr(error, "cause", None)
    if isinstance(cause, ValueError | OSError):
        return cause
    found = re.findall(r"^ValueError: (.+)$", str(error), re.MULTILINE)
    return ValueError(found[-1]) if found else error


@ray.remote
def _summary(path: Path, column: str | None) -> tuple[int, np.ndarray, float]:
    """How many rows a file has, and their ``frame.sums``."""
    return sums(open_rows(path, column).blocks(BLOCK))


@ray.remote
def _some(path: Path, column: str | None, wanted: np.ndarray) -> np.ndarray:
    """The rows of a file with these rising numbers."""
    found, start = [], 0
    for block in open_rows(path, column).blocks(BLOCK):
        low, high = np.searchsorted(wanted, (start, start + len(block)))
        found.append(block[wanted[low:high] - start])
        start += len(block)
    return np.concatenate(found)
