"""Vector databases: sample, migrate, and queries mapped into an old space."""

import json
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from minivec import spaces
from minivec.cli.common import (
    ALIGNER,
    DATABASES,
    Aligner,
    AnyVectors,
    AsJson,
    From,
    Inverse,
    Lengths,
    Seed,
    app,
    check_space,
    check_whole,
    check_width,
    fail,
    open_all,
    open_directed,
    open_turned,
    print_facts,
    say,
)
from minivec.files import check_output, checked, replacing

if TYPE_CHECKING:
    import numpy as np

    from minivec.map import LinearMap
    from minivec.migrate import Follow as Following
    from minivec.migrate import Migration

Destination = Annotated[
    str, typer.Argument(metavar="DESTINATION", help="A new column, table, collection or file, of any kind.")
]
Map = Annotated[
    Path | None, typer.Option("--aligner", "-a", help=f"The map: {ALIGNER}. Without one the vectors are copied.")
]
Batch = Annotated[int, typer.Option(min=1, help="Rows that are read, mapped and committed together.")]
Workers = Annotated[int, typer.Option(min=1, help="Threads that map while the databases work.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Do everything short of writing.")]
Verify = Annotated[bool, typer.Option("--verify", help="Compare counts and 1,000 random rows afterwards.")]
VerifyAll = Annotated[bool, typer.Option("--verify-all", help="Compare every row afterwards.")]
MinConfidence = Annotated[
    float | None, typer.Option(min=0, max=1, help="Accept the aligner from this confidence on, whatever its verdict.")
]
AllowChanges = Annotated[
    bool, typer.Option("--allow-changes", help="Go on although the source has other rows than when it began.")
]
SkipNulls = Annotated[
    bool, typer.Option("--skip-nulls", help="Keep rows without a vector as they are; they are counted and named.")
]
SkipBadRows = Annotated[
    bool, typer.Option("--skip-bad-rows", help="The same for rows that are zero, constant, NaN or infinite.")
]
ChangedAt = Annotated[str | None, typer.Option(help="A column of SOURCE that tells when a row was last written.")]
WithoutTriggers = Annotated[
    bool, typer.Option("--without-triggers", help="PostgreSQL: the table's triggers do not fire.")
]
UNCAUGHT = 4  # the exit code of a migration that is whole but for rows that changed meanwhile
Follow = Annotated[
    bool, typer.Option("--follow", help="Keep up with rows that come, change or go, until Ctrl-C or SIGTERM.")
]
Interval = Annotated[float, typer.Option(min=0.01, help="Seconds from one pass of --follow to the next.")]
STORE = f"a file, or the URL of a database: {DATABASES}"


@app.command()
def sample(
    store: Annotated[str, typer.Argument(metavar="STORE", help=f"Where the vectors are: {STORE}.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="The .npy file to write.")],
    rows: Annotated[int, typer.Option(min=1, help="How many, or all if there are fewer.")] = 50_000,
    seed: Seed = 0,
    skip_bad_rows: Annotated[
        bool, typer.Option("--skip-bad-rows", help="Leave out rows that are zero, constant, NaN or infinite.")
    ] = False,
) -> None:
    """Take a uniform random sample of a store's vectors; rows without a vector are left out, counted and named."""
    check_output(output, (".npy",))
    import numpy as np

    from minivec.stores import open_store
    from minivec.stores import sample as take

    with open_store(store) as opened:
        X = take(opened, rows, seed, skip_bad_rows=skip_bad_rows, tell=say)
    with replacing(output) as temporary:
        np.save(temporary, X)
    print(f"{output}: {X.shape[0]:,} rows of {X.shape[1]} dimensions from {opened}")


@app.command()
def migrate(
    source: Annotated[str, typer.Argument(metavar="SOURCE", help=f"The old vectors: {STORE}.")],
    destination: Destination,
    *,
    aligner: Map = None,
    inverse: Inverse = False,
    space: From = None,
    batch: Batch = 8_192,
    workers: Workers = 1,
    dry_run: DryRun = False,
    verify: Verify = False,
    verify_all: VerifyAll = False,
    min_confidence: MinConfidence = None,
    allow_changes: AllowChanges = False,
    skip_nulls: SkipNulls = False,
    skip_bad_rows: SkipBadRows = False,
    any_vectors: AnyVectors = False,
    changed_at: ChangedAt = None,
    without_triggers: WithoutTriggers = False,
    lengths: Lengths = "target",
    follow: Follow = False,
    interval: Interval = 5.0,
    as_json: AsJson = False,
) -> None:
    """Map, or without -a copy, all vectors of SOURCE with their keys and payload; run it again to resume."""
    from minivec.migrate import VERIFIED
    from minivec.migrate import migrate as run

    bridge, told = _bridge(aligner, inverse, space), _Told()
    with _progress() as show:
        result = run(
            source,
            destination,
            bridge,
            batch=batch,
            workers=workers,
            dry_run=dry_run,
            verify="all" if verify_all else VERIFIED if verify else 0,
            min_confidence=min_confidence,
            allow_changes=allow_changes,
            skip_nulls=skip_nulls,
            skip_bad_rows=skip_bad_rows,
            any_vectors=any_vectors,
            changed_at=changed_at,
            without_triggers=without_triggers,
            lengths=lengths,
            follow=_following(interval) if follow else None,
            progress=show,
            tell=told,
        )
    told.rest(result)
    if as_json:
        print_facts(asdict(result), as_json)
    else:
        _print_migration(result, bridge, "" if verify_all else "random ")
    if result.uncaught:
        _fail_outdated(result)


def _fail_outdated(result: "Migration") -> None:
    rows = f"{result.uncaught:,} rows that changed meanwhile are there as they were before"
    fail(f"NOT UP TO DATE: {result.destination}: {rows}; the notes say what to do", UNCAUGHT)


def _bridge(aligner: Path | None, inverse: bool, space: str | None) -> "LinearMap | None":
    """The map, turned as asked for; None for a copy, which ValueError keeps from being turned."""
    if aligner is not None:
        return open_turned(aligner, inverse, space)
    if inverse or space is not None:
        raise ValueError("--inverse and --from turn a map: name the aligner (-a)")
    return None


@contextmanager
def _progress() -> Iterator[Callable[[int, int], None]]:
    """A bar on a terminal, as long as the rows done and their total are told."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    terminal = Console(stderr=True)
    columns = BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[rate]}"), TimeRemainingColumn()
    with Progress(*columns, console=terminal, transient=True, disable=not terminal.is_terminal) as bar:
        task = bar.add_task("migrate", total=None, rate="")

        def show(done: int, total: int) -> None:
            bar.update(task, completed=done, total=total, rate=f"{bar.tasks[0].speed or 0:,.0f} rows/s")

        yield show


def _following(interval: float) -> "Following":
    """Passes that Ctrl-C and SIGTERM end after the one that is at work, and that are told on stderr."""
    from minivec.migrate import Follow as Following

    follow = Following(interval, tell=lambda rows: say(f"{rows:,} rows caught up with"))

    def end(number: int, _: object) -> None:
        if not follow.following:  # the rows are not all written: as without --follow
            raise KeyboardInterrupt if number == signal.SIGINT else SystemExit(143)
        follow.stop.set()

    if threading.current_thread() is threading.main_thread():  # Python takes signals nowhere else
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, end)
    return follow


class _Told(list[str]):
    """Notes on stderr, each of them once."""

    def __call__(self, note: str) -> None:
        if note not in self:
            self.append(note)
            print(f"minivec: note: {note}", file=sys.stderr, flush=True)

    def rest(self, result: "Migration") -> None:
        """What is known when all rows are written: the notes, and the rows without a vector."""
        for note in result.notes:
            self(note)
        if result.skipped:
            more = ", ..." if result.skipped > len(result.skipped_keys) else ""
            keys = ", ".join(map(str, result.skipped_keys)) + more
            self(f"{result.skipped:,} rows have no vector that can be mapped: {keys}")


def _print_migration(result: "Migration", bridge: "LinearMap | None", which: str) -> None:
    """What a migration did, or would do, in a few lines: from where to where, and ``which`` rows were compared."""
    if result.dry_run:
        way = f"{result.widths[0]} dimensions" if bridge is None else spaces.described(bridge.history, result.widths)
        print(f"{result.total:,} rows of {result.source}, {way}")
        print(f"would be written to {result.destination}; {result.rows:,} are there")
        return
    before = f", {result.rows - result.written:,} of them before" if result.rows > result.written else ""
    rate = f"{result.written / result.seconds:,.0f} rows/s" if result.written else "nothing to do"
    print(f"{result.destination}: {result.rows:,} rows{before}; {result.seconds:.1f} s, {rate}")
    if result.caught_up:
        print(f"{result.caught_up:,} rows that came, changed or went meanwhile are up to date")
    if result.verified:
        print(f"counts agree, and {result.verified:,} {which}rows do")


@app.command()
def adapt(
    queries: Annotated[
        list[str],
        typer.Argument(
            metavar="QUERY...",
            help="Vectors of the new model: files, URLs of databases, or - for lines of JSON arrays on standard input.",
        ),
    ],
    *,
    aligner: Aligner,
    space: From = None,
    inverse: Inverse = False,
    any_vectors: AnyVectors = False,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="A .npy file, instead of lines of JSON.")
    ] = None,
) -> None:
    """Map queries of the new model into the old model's space, and leave the database as it is.

    A map from the old model to the new one is turned for it: by --from, by the width of the queries, or by --inverse.
    """
    if output is not None:
        check_output(output, (".npy",))
    import numpy as np

    inputs = [_Lines() if query == "-" else open_all([query], None)[0] for query in queries]
    check_whole("adapt", *inputs)
    bridge = open_directed(aligner, inverse, space, inputs[0])
    for rows in inputs[1:]:
        check_width(rows, bridge, aligner)
    given = [rows.array() for rows in inputs]
    for rows, vectors in zip(inputs, given, strict=True):
        check_space(vectors, bridge, rows, any_vectors)
    asking = bridge.for_queries()
    mapped = np.concatenate([asking.apply(vectors) for vectors in given])
    if output is None:
        for row in mapped.tolist():
            print(json.dumps(row))
        return
    with replacing(output) as temporary:
        np.save(temporary, mapped)
    print(f"{output}: {len(mapped):,} queries, {spaces.described(bridge.history, bridge.shape)}")


class _Lines:
    """Vectors from standard input, an array of numbers a line, as a file's rows."""

    def __init__(self) -> None:
        import numpy as np

        try:
            X = np.array([json.loads(line) for line in sys.stdin if line.strip()], np.float32)
        except (ValueError, TypeError) as error:
            raise ValueError(f"{self}: expected a JSON array of numbers a line: {error}") from None
        if X.ndim != 2 or not X.size:
            raise ValueError(f"{self}: expected a JSON array of numbers a line; got an array of shape {X.shape}")
        self._rows, self.shape = checked(X, self), X.shape

    def __str__(self) -> str:
        return "standard input"

    def array(self) -> "np.ndarray":
        """All rows, (n, d) float32."""
        return self._rows
