"""The map in other formats."""

from pathlib import Path
from typing import Annotated

import typer

from minivec.cli.common import File, Inverse, app
from minivec.files import check_output
from minivec.map import open_map


@app.command()
def export(
    file: File,
    output: Annotated[Path, typer.Option("--output", "-o", help="bridge.safetensors or bridge.onnx.")],
    inverse: Inverse = False,
) -> None:
    """Write the map for processes without Keras."""
    check_output(output, (".safetensors", ".onnx"), file)
    bridge = open_map(file, inverse)
    if output.suffix.lower() == ".onnx":
        from minivec.integrations import onnx

        onnx.save(bridge, output)
    else:
        bridge.save(output)
    print(f"{output}: {bridge.shape[0]} -> {bridge.shape[1]} dimensions")
