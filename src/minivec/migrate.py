"""Move a live vector database to another embedding model, without re-embedding and without losing a row."""

import json
import math
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np

from minivec.map import LinearMap
from minivec.settings import whole_number
from minivec.stores import Block, Store, StoreError, open_store, sample
from minivec.validation import constant, not_finite

__all__ = ["Migration", "fingerprint", "migrate", "sample", "verify"]

BATCH = 8_192
VERIFIED = 1_000  # rows that a verification compares
SAME = 0.9999  # cosine of a stored row with its source's, mapped again: half precision costs 1e-7


@dataclass(frozen=True)
class Migration:
    """What ``migrate`` did, or, of a dry run, would do.

    ``rows`` of ``total`` were in the destination when it stopped, ``written`` of them by this run, in ``seconds``;
    ``mapping`` of those went to the map and the checks, in all workers together. ``verified`` rows were compared.
    """

    source: str
    destination: str
    widths: tuple[int, int]
    total: int
    rows: int
    written: int
    seconds: float
    mapping: float
    verified: int
    dry_run: bool


def migrate(
    source: Any,
    destination: Any,
    aligner: Any,
    *,
    batch: int = BATCH,
    workers: int = 1,
    dry_run: bool = False,
    verify: int = 0,
    min_confidence: float | None = None,
    allow_changes: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> Migration:
    """Map every vector of ``source`` and write it, with its key and payload, to ``destination``.

    Both are stores, URLs or paths (``open_store``); ``aligner`` is an aligned model or a ``LinearMap`` from the
    source's space. The destination is a new column, table, collection or file. A run that was killed, at any point, or
    that failed is gone on with by the same call; one that was complete writes nothing more.

    ``batch`` rows are read, mapped and committed together. ``workers`` threads map while the databases work; memory
    holds ``workers + 2`` batches. ``progress`` is called with the rows written and their total. ``verify`` compares
    the counts, and so many rows drawn at random, afterwards.

    Raises ValueError, before anything is written, where widths do not fit, where rows have no vector or keys are not
    unique, where the aligner is not reliable by its own verdict (``min_confidence`` sets a bound instead), or where the
    destination was begun with another source or aligner, or when the source had another number of rows
    (``allow_changes`` goes on with what it has now; of LanceDB and files the version it began with is read).
    Raises StoreError (an OSError) where a database refuses or goes away.
    """
    batch, workers = whole_number("batch", batch, 1), whole_number("workers", workers, 1)
    verify = whole_number("verify", verify, 0)
    adapter = LinearMap.of(aligner)
    _check_trust(adapter.history, min_confidence)
    with open_store(source) as source, open_store(destination) as destination:
        state = destination.checkpoint()
        if state is not None and source.column is None:
            source.column = state["column"]  # a column beside it would make it one of several
        schema, count, start = source.schema(), source.count(), time.perf_counter()
        if not count:
            raise ValueError(f"{source}: it is empty")
        if schema.width != adapter.shape[0]:
            raise ValueError(f"{source}: {schema.width} dimensions where the aligner takes {adapter.shape[0]}")
        destination.accepts(source)
        source.check()
        if state is not None:
            _check_same(source, destination, state, adapter, count, allow_changes)
            source.pin(state["version"])
        begun = {} if state is None else state

        def report(rows: int, written: int, mapping: float = 0.0, verified: int = 0) -> Migration:
            seconds = time.perf_counter() - start
            names = str(source), str(destination)
            return Migration(*names, adapter.shape, count, rows, written, seconds, mapping, verified, dry_run)

        before = begun.get("rows", 0)
        if dry_run:
            for block in source.blocks(min(batch, 256), begun.get("position")):
                _map(source, adapter, block)
                break
            return report(before, 0)
        destination.lock()
        if state is None:
            state = {"source": str(source), "column": schema.column, "aligner": fingerprint(adapter), "count": count}
            state |= {"version": source.pin(), "position": None, "rows": 0}
            destination.create(source, adapter.shape[1], state)
        state["count"] = count
        mapping = 0.0
        try:
            blocks = source.blocks(batch, state["position"], payload=not state.get("in_place"))
            for block, seconds in _mapped(source, adapter, blocks, workers):
                mapping += seconds
                state |= {"rows": state["rows"] + len(block.keys), "position": block.position}
                destination.write(block, state)
                if progress is not None:
                    progress(state["rows"], count)
            destination.finish()
        except OSError as error:
            gone_on = f"{error}; {state['rows']:,} of {count:,} rows were under way, the same command goes on"
            raise (type(error) if isinstance(error, StoreError) else StoreError)(gone_on) from None
        _check_counts(source, destination, state["rows"], allow_changes)
        verified = _compare(source, destination, adapter, verify, 0) if verify else 0
        return report(state["rows"], state["rows"] - before, mapping, verified)


def verify(source: Any, destination: Any, aligner: Any, rows: int = VERIFIED, seed: int = 0) -> int:
    """Compare the counts and ``rows`` random rows of a migrated store with its source; the number compared.

    ValueError naming the keys of rows that are missing, or whose vector or payload is another than it should be.
    """
    adapter = LinearMap.of(aligner)
    with open_store(source) as source, open_store(destination) as destination:
        state = destination.checkpoint()
        if state is None:
            raise ValueError(f"{destination}: there is nothing to verify")
        source.column = source.column or state["column"]
        source.pin(state["version"])
        _check_counts(source, destination, source.count(), False)
        return _compare(source, destination, adapter, whole_number("rows", rows, 1), whole_number("seed", seed, 0))


def fingerprint(adapter: LinearMap) -> str:
    """A hash of the map, by which a migration knows that it goes on with the same one."""
    return adapter.fingerprint


def _check_trust(history: dict[str, Any], min_confidence: float | None) -> None:
    verdict, confidence = history.get("verdict", "of unknown reliability"), history.get("confidence", math.nan)
    if min_confidence is None and verdict != "reliable":
        told = "min_confidence (--min-confidence) accepts less"
        fit = "failed" if verdict == "failed" else f"is {verdict}"
        raise ValueError(f"the aligner's fit {fit}, confidence {confidence:.2f}: nothing is migrated, unless {told}")
    if min_confidence is not None and min_confidence > 0 and not confidence >= min_confidence:
        raise ValueError(f"the aligner's confidence is {confidence:.2f}, below {min_confidence}")


def _check_same(
    source: Store, destination: Store, state: dict[str, Any], adapter: LinearMap, count: int, allow_changes: bool
) -> None:
    """Refuse to go on with what was begun with something else."""
    if state["source"] != str(source):
        raise ValueError(f"{destination}: it was begun with rows of {state['source']}, not of {source}")
    if state["aligner"] != fingerprint(adapter):
        raise ValueError(f"{destination}: it was begun with another aligner; name another destination")
    if state["count"] != count and not allow_changes:
        raise ValueError(
            f"{source}: {count} rows, {state['count']} when the migration began; allow_changes (--allow-changes) goes "
            "on with the rest, and misses what has come in behind"
        )


def _check_counts(source: Store, destination: Store, rows: int, allow_changes: bool) -> None:
    found, there = destination.count(), source.count()
    if found != rows and not allow_changes:
        raise ValueError(f"{destination}: {found} rows where {rows} were written; something else has changed it")
    if found != there and not allow_changes:
        raise ValueError(f"{source}: {there} rows, but {found} in {destination}: some came or went meanwhile")


def _mapped(source: Store, adapter: LinearMap, blocks: Iterator[Block], workers: int) -> Iterator[tuple[Block, float]]:
    """The blocks with their vectors mapped, in order, and the seconds it took; ``workers`` threads are ahead."""
    with ThreadPoolExecutor(workers) as pool:
        waiting: deque[Future[tuple[Block, float]]] = deque()
        for block in blocks:
            waiting.append(pool.submit(_map, source, adapter, block))
            if len(waiting) > workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def _map(source: Store, adapter: LinearMap, block: Block) -> tuple[Block, float]:
    start, X = time.perf_counter(), block.vectors
    if X.shape[1] != adapter.shape[0]:
        raise ValueError(f"{source}: {X.shape[1]} dimensions in row {block.keys[0]}, not {adapter.shape[0]}")
    source.refuse("NaN or infinity", not_finite(X), block.keys)
    source.refuse("one repeated value", constant(X), block.keys)
    return block._replace(vectors=adapter(X)), time.perf_counter() - start


def _compare(source: Store, destination: Store, adapter: LinearMap, rows: int, seed: int) -> int:
    """Map ``rows`` random rows again and look for them in the destination; the number compared."""
    keys = source.keys()
    chosen = np.sort(np.random.default_rng(seed).choice(len(keys), min(rows, len(keys)), replace=False))
    wanted = [keys[i] for i in chosen]
    old, new = source.fetch(wanted), destination.fetch(wanted)
    if list(old.keys) != list(new.keys):
        missing = [key for key in old.keys if key not in set(new.keys)]
        raise ValueError(f"{destination}: no rows {', '.join(map(str, missing[:5]))}, which {source} has")
    mapped = adapter(old.vectors)
    cosine = np.einsum("ij,ij->i", mapped, new.vectors) / np.maximum(np.linalg.norm(new.vectors, axis=1), 1e-12)
    destination.refuse("another vector than the aligner's", np.flatnonzero(~(cosine >= SAME)), wanted)
    payload = source.schema().payload
    if payload and payload == destination.schema().payload and _plain(old.payload) != _plain(new.payload):
        raise ValueError(f"{destination}: other payload than {source} has in the same rows")
    return len(wanted)


def _plain(payload: Any) -> str:
    """Payload as text, in which NaN equals NaN."""
    rows = payload.to_pylist() if hasattr(payload, "to_pylist") else payload
    return json.dumps(rows, sort_keys=True, default=repr)
