"""The map in other formats."""

from pathlib import Path
from typing import Annotated

import typer

from minivec import spaces
from minivec.cli.common import File, From, app, open_directed
from minivec.files import check_output


@app.command()
def export(
    file: File,
    output: Annotated[Path, typer.Option("--output", "-o", help="bridge.safetensors or bridge.onnx.")],
    space: From = None,
    inverse: Annotated[bool, typer.Option("--inverse", help="Write the map of the other direction.")] = False,
) -> None:
    """Write the map for processes without Keras."""
    check_output(output, (".safetensors", ".onnx"), file)
    bridge = open_directed(file, inverse, space)
    if output.suffix.lower() == ".onnx":
        from minivec.integrations import onnx

        onnx.save(bridge, output)
    else:
        bridge.save(output)
    print(f"{output}: {spaces.described(bridge.history, bridge.shape)}")
