"""The space that two spaces share."""

from pathlib import Path
from typing import Annotated

import typer

from minivec import spaces
from minivec.cli.common import ROWS, Aligner, Columns, Seed, SkipBadRows, app, open_all, quietly, warn
from minivec.files import to_fit

SIDES = "source.safetensors", "target.safetensors"


@app.command()
def common(
    a: Annotated[str, typer.Argument(metavar="A", help=f"Embeddings of the space that the map leads from: {ROWS}.")],
    b: Annotated[str, typer.Argument(metavar="B", help="Embeddings of the other space; the rows need not be paired.")],
    *,
    aligner: Aligner,
    output: Annotated[
        Path, typer.Option("--output", "-o", help=f"The folder to write {' and '.join(SIDES)} into, made if missing.")
    ],
    column: Columns = None,
    skip_bad_rows: SkipBadRows = False,
    seed: Seed = 0,
) -> None:
    """Make two maps into the space that both spaces share, which finds more partners than a map from one to the other.

    Use it where the rows of both spaces can be mapped: `minivec transform` with either map.
    """
    A, B = open_all([a, b], column, skip_bad_rows)
    from minivec.aligner import load

    model = load(aligner)
    with quietly():
        maps = model.common(to_fit(A), to_fit(B), seed=seed)
    output.mkdir(parents=True, exist_ok=True)
    for bridge, name in zip(maps, SIDES, strict=True):
        bridge.save(output / name)
        print(f"{output / name}: {spaces.described(bridge.history, bridge.shape)}")
    warn(model.history, aligner)
