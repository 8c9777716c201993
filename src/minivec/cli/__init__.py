"""The command line: parsing and printing only. What takes long to import is imported where it is used."""

import signal
import sys
import threading
from typing import Any, NoReturn

import typer

from minivec.cli import (  # noqa: F401  their commands join the app
    align,
    common_space,
    cutover,
    demo,
    doctor,
    embed,
    export,
    probe,
    report,
    serve,
    status,
    stores,
    words,
)
from minivec.cli.common import app, fail


def main(arguments: list[str] | None = None) -> NoReturn:
    """Run the command line: results on stdout; for what goes wrong, one line on stderr and an exit code."""
    if threading.current_thread() is threading.main_thread():  # Python takes signals nowhere else
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # an exception, so that half-written files go
    usage_error: Any = typer.BadParameter.__mro__[2]  # ClickException, of which Typer has had two
    for stream in (sys.stdout, sys.stderr):  # a name that the terminal cannot show must not undo finished work
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    try:
        code = app(arguments or sys.argv[1:] or ["--help"], prog_name="minivec", standalone_mode=False)
    except usage_error as error:
        fail(error.format_message())
    except (ValueError, TypeError, OSError, ImportError, MemoryError) as error:
        fail(str(error) or type(error).__name__)
    if code == 130:
        fail("interrupted", code)
    sys.exit(code)
