"""Files that appear whole or not at all."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from minivec.arrow import pyarrow


def check_output(path: str | Path, suffixes: tuple[str, ...], *inputs: Path) -> None:
    """Raise, before any work, where ``path`` cannot be written: suffix, folder, or an input of that name."""
    path = Path(path)
    if path.suffix.lower() not in suffixes:
        raise ValueError(f"{path}: the output must end in {' or '.join(suffixes)}")
    if path.suffix.lower() == ".parquet":
        pyarrow()
    if path.is_dir():
        raise IsADirectoryError(f"{path}: a folder, not a file name to write to")
    if not path.parent.is_dir():
        raise NotADirectoryError(f"{path.parent}: no such folder to write {path.name} to")
    if not os.access(path.parent, os.W_OK):
        raise PermissionError(f"{path.parent}: no permission to write {path.name} there")
    for given in inputs:
        if path.exists() and path.samefile(given):
            raise ValueError(f"{path}: the output is also an input")


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """A temporary name beside ``path``, of the same suffix, to write to.

    It takes the place of ``path`` in one step when the block ends, and is removed when the block raises
    anything, KeyboardInterrupt and SystemExit included.
    """
    path = Path(path).resolve()
    temporary = path.with_name(f".{path.stem}.{os.getpid()}{path.suffix}")
    try:
        yield temporary
        with open(temporary, "rb+") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
