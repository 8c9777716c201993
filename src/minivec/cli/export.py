"""The map in other formats."""

from pathlib import Path
from typing import Annotated

import typer

from minivec.cli.common import app, load
from minivec.files import check_output


@app.command()
def export(
    file: Annotated[Path, typer.Argument(metavar="FILE.keras", help="The file that `minivec align` made.")],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="bridge.safetensors (minivec.runtime) or bridge.onnx.")
    ],
    inverse: Annotated[bool, typer.Option("--inverse", help="The map from B to A.")] = False,
) -> None:
    """Write an aligner's map for processes without Keras."""
    check_output(output, (".safetensors", ".onnx"), file)
    model = load(file)
    model = model.inverse() if inverse else model
    model.export(output)
    print(f"{output}: {model.embedding_dim} -> {model.target_dim} dimensions")
