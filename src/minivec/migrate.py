"""Move a live vector database to another embedding model, without re-embedding and without losing a row."""

from collections.abc import Callable
from typing import Any

from minivec.history import check_trust
from minivec.job import Job, Migration
from minivec.moving.copy import bridge_of
from minivec.moving.follow import Follow
from minivec.settings import whole_number
from minivec.stores import open_store, sample
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

    Both are stores, URLs or paths (``open_store``), of any two kinds. ``aligner`` is an aligned model or a
    ``LinearMap`` from the source's space; without one the vectors are copied. The destination is new. The same call
    goes on with a run that was killed or failed, and catches up with rows that have come, changed or gone since.

    - ``batch`` rows are read, mapped and committed together
    - ``workers`` threads map while the databases work; memory holds ``workers + 2`` batches
    - ``dry_run``: do everything short of writing
    - ``verify``: compare the counts and so many random rows afterwards, or "all"
    - ``min_confidence``: from 0 to 1, accept the aligner from this confidence on, whatever its verdict
    - ``allow_changes``: go on although a source that cannot tell what has changed has another number of rows
    - ``skip_nulls``: rows without a vector are kept without one, or left out where the destination cannot keep them
    - ``skip_bad_rows``: so are rows with NaN or infinity and rows of one repeated value
    - ``any_vectors``: go on with rows that look like vectors of another space than the aligner leads from
    - ``changed_at``: a column of the source that tells when a row was last written
    - ``without_triggers``: the triggers of a PostgreSQL table do not fire
    - ``lengths`` of the mapped rows: "target" (as long as the target's rows were in the fit) or "unit"
    - ``follow``: keep up with rows that change, until it is told to stop
    - ``progress`` is called with the rows done and their total; ``tell``, before the first, with each known note

    Raises ValueError, as a rule before anything is written, for widths that do not fit, rows without a vector or of
    another space, keys that are not unique, an unreliable aligner and a destination that was begun with another source
    or aligner. StoreError (an OSError) where a database refuses.
    """
    batch, workers = whole_number("batch", batch, 1), whole_number("workers", workers, 1)
    verify = verify if verify == "all" else whole_number("verify", verify, 0)
    with open_store(source) as source, open_store(destination) as destination:
        bridge = bridge_of(aligner, source).of_lengths(lengths)
        if aligner is not None:
            check_trust(bridge.history, min_confidence)
        source.skip_nulls, source.skip_bad_rows, source.changed_at = skip_nulls, skip_bad_rows, changed_at
        destination.without_triggers, destination.skip_nulls = without_triggers, True
        changes, both = allow_changes or follow is not None, paired(source, destination)
        job = Job(*both, bridge, batch, workers, changes, any_vectors, progress, tell)
        job.notes += ([COPIED] if aligner is None else []) + told(*both)
        if follow is not None:
            follow.check(both[0])
        return job.rehearse() if dry_run else job.run(verify, follow)
