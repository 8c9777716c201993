"""Where the migrations of a store stand."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from minivec.cli.common import ALIGNER, AsJson, app, printable
from minivec.cli.stores import STORE


@app.command()
def status(
    store: Annotated[str, typer.Argument(metavar="STORE", help=f"Any table or collection of it: {STORE}.")],
    *,
    report: Annotated[Path | None, typer.Option(help="An .html file that tells the whole story.")] = None,
    aligner: Annotated[Path | None, typer.Option("--aligner", "-a", help=f"For the report: {ALIGNER}.")] = None,
    probe: Annotated[Path | None, typer.Option(help="For the report: what `minivec probe --json` printed.")] = None,
    as_json: AsJson = False,
) -> None:
    """List the migrations of a database or folder: how far they are, whether they are cut over or rolled back."""
    from minivec.map import open_map
    from minivec.moving.status import status as run
    from minivec.stores import redact

    found = [asdict(migration) for migration in run(store)]
    if report is not None:
        from minivec.report import story

        told = None if probe is None else _probe(probe)
        bridge = None if aligner is None else open_map(aligner)
        story.save(report, redact(store), found, bridge=bridge, probe=told)
    if as_json:
        print(json.dumps(found, indent=2))
        return
    for migration in found:
        compared = ", {compared:,} compared {compared_at}" if migration["compared_at"] else ""
        line = "{destination}: {state}, {rows:,} of {count:,} rows of {source}" + compared
        print(printable(line.format(**migration)))
    if not found:
        print("no migrations")
    if report is not None:
        print(f"saved {report}")


def _probe(path: Path) -> dict[str, object]:
    """What a probe printed; ValueError for what is no JSON object."""
    try:
        found = json.loads(path.read_text("utf-8"))
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise ValueError(f"{path}: expected the JSON that `minivec probe --json` prints")
    return found
