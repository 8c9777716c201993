"""Folders of older versions of Chroma, which its client upgrades for good as soon as it opens them."""

import shutil
import sqlite3
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

DATABASE = "chroma.sqlite3"


def outdated(folder: Path) -> bool:
    """Whether the installed client would upgrade the folder; it is only looked at."""
    steps = _steps(folder)
    return bool(steps) and not steps >= _newest()


def copied(folder: Path) -> Path:
    """A copy of the folder as it is now, which lasts until the process ends."""
    changed = (folder / DATABASE).stat().st_mtime_ns
    return Path(_copy(folder.resolve(), changed).name)


@cache
def _copy(folder: Path, changed: int) -> "TemporaryDirectory[str]":
    made = TemporaryDirectory(prefix="minivec-chroma-", ignore_cleanup_errors=True)
    shutil.copytree(folder, made.name, dirs_exist_ok=True)
    return made


def _steps(folder: Path) -> set[Any]:
    """The upgrades that a folder has been through; none where it cannot be read."""
    place = f"{(folder / DATABASE).resolve().as_uri()}?mode=ro"
    try:
        database = sqlite3.connect(place, uri=True)
        try:
            return set(database.execute("SELECT dir, version FROM migrations"))
        finally:
            database.close()
    except sqlite3.Error:  # the client says what is wrong with it
        return set()


@cache
def _newest() -> set[Any]:
    """The upgrades that the installed client knows, as a new folder of its own tells."""
    import chromadb

    with TemporaryDirectory(prefix="minivec-chroma-", ignore_cleanup_errors=True) as made:
        chromadb.PersistentClient(made)
        return _steps(Path(made))
