"""Explain a map."""

from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any

import typer

from minivec.cli.common import ROWS, Columns, File, From, app, check_paired, check_whole, open_all, open_directed
from minivec.extras import missing
from minivec.files import Rows, check_output

FORMATS = ("html", "png", "svg")

Texts = Annotated[
    list[Path] | None,
    typer.Option(
        help="A text for each row: a UTF-8 file of lines, or a Parquet file with a string column. Given twice: "
        "the source's, then the target's. Given once: the source's, with --paired of both."
    ),
]


@app.command()
def report(
    file: File,
    *,
    source: Annotated[str, typer.Option("--source", help=f"Embeddings of the space to map from: {ROWS}.")],
    target: Annotated[str, typer.Option("--target", help="Embeddings of the space to map into.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="The .html file to write, or .png or .svg.")],
    texts: Texts = None,
    paired: Annotated[
        bool, typer.Option("--paired", help="Row i of the source and row i of the target are a true pair.")
    ] = False,
    format: Annotated[
        list[str] | None, typer.Option(help="Also write the main pictures, beside the report: png, svg.")
    ] = None,
    space: From = None,
    column: Columns = None,
) -> None:
    """Write a page that explains the map: one file, to be opened in a browser without any network."""
    A, B = open_all([source, target], column)
    bridge = open_directed(file, False, space, A, B)
    outputs, given = prepare(output, format, texts, A, B, paired)
    from minivec.report import Report

    made = Report.of(bridge, A.array(), B.array(), paired=paired, **given)
    for path in outputs:
        made.save(path)
    print(f"saved {', '.join(map(str, outputs))}")


def prepare(
    output: Path, formats: list[str] | None, texts: list[Path] | None, A: Rows, B: Rows, paired: bool = False
) -> tuple[list[Path], dict[str, Any]]:
    """The files to write, and the texts as ``aligner.report`` takes them; an error for what would fail later."""
    for name in formats or ():
        if name not in FORMATS:
            raise ValueError(f"--format must be one of {', '.join(FORMATS)}; got {name!r}")
    outputs = list(dict.fromkeys([output, *(output.with_suffix(f".{name}") for name in formats or ())]))
    for path in outputs:
        check_output(path, tuple(f".{name}" for name in FORMATS))
    for package in ("bokeh", "jinja2"):
        if output.suffix.lower() == ".html" and not find_spec(package):
            raise missing(f"{output}: reports need {package}", "report")
    if paired and A.shape[0] != B.shape[0]:
        raise ValueError(f"--paired needs as many rows on both sides: {A} has {A.shape[0]}, {B} has {B.shape[0]}")
    if paired:
        check_paired(A, B)
    if texts:
        check_whole("--texts", A, B)
    if len(texts or ()) > 2:
        raise ValueError(f"--texts given {len(texts or ())} times; it is for the source, and for the target")
    from minivec.report.texts import read_texts

    given: dict[str, Any] = {}
    for name, path, rows in zip(("source_texts", "target_texts"), texts or (), (A, B), strict=False):
        given[name] = read_texts(path)
        if len(given[name]) != rows.shape[0]:
            raise ValueError(f"{path}: {len(given[name])} texts for the {rows.shape[0]} rows of {rows}")
    return outputs, given
