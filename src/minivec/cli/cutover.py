"""Cut over to the new vectors, and roll back."""

from dataclasses import asdict
from typing import Annotated

import typer

from minivec.cli.common import Aligner, AnyVectors, AsJson, From, Inverse, app, open_turned, print_facts, say
from minivec.cli.stores import STORE, ChangedAt, SkipBadRows, SkipNulls

DryRun = Annotated[bool, typer.Option("--dry-run", help="Print what would happen, and change nothing.")]


@app.command()
def cutover(
    source: Annotated[str, typer.Argument(metavar="SOURCE", help=f"What the application uses: {STORE}.")],
    destination: Annotated[str, typer.Argument(metavar="DESTINATION", help="Where `migrate` has put the new vectors.")],
    *,
    aligner: Aligner,
    inverse: Inverse = False,
    space: From = None,
    verify: Annotated[int, typer.Option(min=0, help="Random rows that are compared before.")] = 1_000,
    dry_run: DryRun = False,
    skip_nulls: SkipNulls = False,
    skip_bad_rows: SkipBadRows = False,
    any_vectors: AnyVectors = False,
    changed_at: ChangedAt = None,
    as_json: AsJson = False,
) -> None:
    """Put the new vectors of DESTINATION in the place of SOURCE's; `minivec rollback SOURCE` takes it back."""
    from minivec.moving.cutover import cutover as run

    done = run(
        source,
        destination,
        open_turned(aligner, inverse, space),
        verify=verify,
        dry_run=dry_run,
        skip_nulls=skip_nulls,
        skip_bad_rows=skip_bad_rows,
        any_vectors=any_vectors,
        changed_at=changed_at,
    )
    for note in done.notes:
        say(f"note: {note}")
    if as_json:
        print_facts(asdict(done), as_json)
        return
    for step in done.steps:
        print(f"would do: {step}" if dry_run else step)
    if done.already:
        print(f"{done.live}: it has the new vectors already")
    elif not dry_run:
        rows = f"{done.caught_up:,} rows were caught up with, {done.verified:,} compared"
        print(f"{done.live}: it has the new vectors now; {rows}")


@app.command()
def rollback(
    source: Annotated[str, typer.Argument(metavar="SOURCE", help=f"What the application uses: {STORE}.")],
    *,
    aligner: Annotated[
        str | None, typer.Option("--aligner", "-a", help="The map of the migration: carries newer rows back.")
    ] = None,
    leave: Annotated[
        bool, typer.Option("--leave", help="Leave rows that were written since the cut-over with the new vectors.")
    ] = False,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Give SOURCE its old vectors back, as they were before `minivec cutover`."""
    from minivec.map import open_map
    from minivec.moving.cutover import rollback as run

    done = run(source, None if aligner is None else open_map(aligner), leave=leave, dry_run=dry_run)
    if as_json:
        print_facts(asdict(done), as_json)
        return
    would = "would have" if dry_run else "has"
    print(f"{done.live}: it {would} the old vectors again; the new ones are in {done.aside}")
    if done.later:
        print(
            f"{done.later:,} rows were written or deleted since the cut-over; {done.carried:,} of them are carried back"
        )
