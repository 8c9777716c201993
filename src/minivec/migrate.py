"""Move a live vector database to another embedding model, without re-embedding and without losing a row."""

import math
from collections.abc import Callable
from typing import Any

from minivec.job import Job, Migration
from minivec.moving.copy import bridge_of
from minivec.moving.follow import Follow
from minivec.settings import whole_number
from minivec.stores import Store, open_store, sample
from minivec.stores.between import paired, told
from minivec.verify import ROWS as VERIFIED
from minivec.verify import verify

__all__ = ["VERIFIED", "Follow", "Migration", "migrate", "sample", "verify"]

BATCH = 8_192
COPIED = "this is a copy: without an aligner (-a) the vectors stay as they are"


def migrate(
    source: Any,
    destination: Any,
    aligner: Any = None,
    *,
    batch: int = BATCH,
    workers: int = 1,
    dry_run: bool = False,
    verify: int | str = 0,
    min_confidence: float | None = None,
    allow_changes: bool = False,
    skip_nulls: bool = False,
    skip_bad_rows: bool = False,
    any_vectors: bool = False,
    changed_at: str | None = None,
    without_triggers: bool = False,
    lengths: str = "target",
    follow: Follow | None = None,
    progress: Callable[[int, int], None] | None = None,
    tell: Callable[[str], None] | None = None,
) -> Migration:
    """Map every vector of ``source`` and write it, with its key and payload, to ``destination``.

    Both are stores, URLs or paths (``open_store``). ``aligner`` is an aligned model or a ``LinearMap``; without one the
    vectors are copied. The destination is a new column, table, collection or file, of any kind. The same call goes on
    after a run that was killed, and catches up with rows that have come, changed or gone since, if the source can tell.

    - ``batch`` rows are read, mapped and committed together
    - ``workers`` threads map while the databases work; memory holds ``workers + 2`` batches
    - ``dry_run``: do everything short of writing
    - ``verify``: compare the counts and so many random rows afterwards, or "all"
    - ``min_confidence``: from 0 to 1, accept the aligner from this confidence on, whatever its verdict
    - ``allow_changes``: go on although a source that cannot tell what has changed has another number of rows
    - ``skip_nulls``: rows without a vector are kept without one, or left out where the destination cannot keep them;
      ``skip_bad_rows``: so are rows with NaN or infinity and rows of one repeated value
    - ``any_vectors``: go on with rows that look like vectors of another space than the aligner leads from
    - ``changed_at``: a column of the source that tells when a row was last written
    - ``without_triggers``: the triggers of a PostgreSQL table do not fire
    - ``lengths`` of the mapped rows: "target" (as long as the target's rows were in the fit) or "unit"
    - ``follow``: keep up with rows that change, until it is told to stop
    - ``progress`` is called with the rows done and their total
    - ``tell`` is called before the first row is written, with each of the ``notes`` that are known then

    Raises ValueError before anything is written: where widths do not fit, rows have no vector or keys are not unique,
    the first rows look like vectors of another space, the aligner is not reliable, or the destination was begun with
    another source or aligner; later, for rows of another space. StoreError (an OSError) where a database refuses.
    """
    batch, workers = whole_number("batch", batch, 1), whole_number("workers", workers, 1)
    verify = verify if verify == "all" else whole_number("verify", verify, 0)
    with open_store(source) as source, open_store(destination) as destination:
        bridge = _bridge(aligner, source, lengths, min_confidence)
        source.skip_nulls, source.skip_bad_rows, source.changed_at = skip_nulls, skip_bad_rows, changed_at
        destination.without_triggers, destination.skip_nulls = without_triggers, True
        changes = allow_changes or follow is not None
        source, destination = paired(source, destination)
        job = Job(source, destination, bridge, batch, workers, changes, any_vectors, progress, tell)
        job.notes += [COPIED] * (aligner is None) + told(source, destination)
        if follow is not None:
            follow.check(source)
        return job.rehearse() if dry_run else job.run(verify, follow)


def _bridge(aligner: Any, source: Store, lengths: str, min_confidence: float | None) -> Any:
    """The map, which must be trusted, with mapped rows of these lengths; or a copy."""
    bridge = bridge_of(aligner, source).of_lengths(lengths)
    if aligner is not None:
        _check_trust(bridge.history, min_confidence)
    return bridge


def _check_trust(history: dict[str, Any], min_confidence: float | None) -> None:
    """ValueError where the aligner is not reliable, or where its confidence is below ``min_confidence``."""
    verdict, confidence = history.get("verdict", "of unknown reliability"), history.get("confidence", math.nan)
    if min_confidence is None and verdict != "reliable":
        told = "min_confidence (--min-confidence) accepts less"
        fit = "failed" if verdict == "failed" else f"is {verdict}"
        raise ValueError(f"the aligner's fit {fit}, confidence {confidence:.2f}: nothing is migrated, unless {told}")
    if min_confidence is not None and min_confidence > 0 and not confidence >= min_confidence:
        raise ValueError(f"the aligner's confidence is {confidence:.2f}, below {min_confidence}")
