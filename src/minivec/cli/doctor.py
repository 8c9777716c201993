"""Look at a store before anything is moved."""

import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from minivec.cli.common import ALIGNER, AsJson, From, Inverse, Seed, app, open_turned, print_facts, printable
from minivec.cli.stores import STORE

if TYPE_CHECKING:
    from minivec.moving.doctor import Checkup


@app.command()
def doctor(
    store: Annotated[str, typer.Argument(metavar="STORE", help=f"Where the vectors are: {STORE}.")],
    *,
    aligner: Annotated[
        Path | None, typer.Option("--aligner", "-a", help=f"The map they are meant for: {ALIGNER}.")
    ] = None,
    inverse: Inverse = False,
    space: From = None,
    rows: Annotated[int, typer.Option(min=1, help="How many to look at, or all if there are fewer.")] = 20_000,
    seed: Seed = 0,
    as_json: AsJson = False,
) -> None:
    """Look for what is wrong with a store's vectors, such as those of two models in one column; change nothing.

    The exit code is 3 where there is a problem.
    """
    from minivec.moving.doctor import doctor as look

    bridge = None if aligner is None else open_turned(aligner, inverse, space)
    checkup = look(store, bridge, rows, seed)
    if as_json:
        print_facts({**asdict(checkup), "healthy": checkup.healthy}, as_json)
    else:
        _print(checkup)
    if not checkup.healthy:
        sys.exit(3)


def _print(checkup: "Checkup") -> None:
    """The check-up, a line for each thing."""
    looked = "all" if checkup.looked_at == checkup.rows else f"{checkup.looked_at:,} drawn at random"
    print(f"{printable(checkup.store)}: {checkup.rows:,} rows of {checkup.width} dimensions, looked at {looked}")
    if checkup.lengths:
        print("lengths: {:.4g} to {:.4g}, median {:.4g}".format(*(checkup.lengths[i] for i in (0, 2, 1))))
    for label, lines in (("problem", checkup.problems), ("note", checkup.notes)):
        for line in lines:
            print(f"{label}: {printable(line)}")
    if checkup.healthy:
        print("no problems")
