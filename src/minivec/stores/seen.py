"""What a store without versions remembers of the rows it has handed on, to tell later what has changed since."""

import json
import sqlite3
import weakref
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from hashlib import blake2b
from itertools import repeat
from typing import Any

from minivec.stores.base import Block, Changes
from minivec.stores.errors import StoreError

CACHE = 8  # MiB of fingerprints that memory holds; the rest lies in a temporary file
TABLE = "CREATE TABLE prints (key TEXT PRIMARY KEY, print TEXT, pass INTEGER) WITHOUT ROWID"


class Prints:
    """Texts by key, in a temporary file that is gone with the process. Keys are what JSON has: texts and numbers."""

    def __init__(self) -> None:
        with _told():
            self._file = sqlite3.connect("", check_same_thread=False)  # one transaction, which never ends
            weakref.finalize(self, self._file.close)
            self._file.execute(f"PRAGMA cache_size = -{CACHE << 10}")
            self._file.execute("PRAGMA journal_mode = OFF")
            self._file.execute(TABLE)
        self._pass = 0

    def add(self, keys: Sequence[Any], prints: Sequence[str]) -> None:
        """Remember these."""
        with _told():
            rows = zip(map(json.dumps, keys), prints, repeat(self._pass), strict=False)
            self._file.executemany("INSERT OR REPLACE INTO prints VALUES (?, ?, ?)", rows)

    def put(self, keys: Sequence[Any], prints: Sequence[str]) -> list[Any]:
        """Remember these; the keys that are new or have another text."""
        with _told():
            ask = "SELECT print FROM prints WHERE key = ?"
            before = [self._file.execute(ask, (json.dumps(key),)).fetchone() for key in keys]
        self.add(keys, prints)
        return [key for key, found, now in zip(keys, before, prints, strict=True) if found != (now,)]

    def changes(self, parts: Iterable[tuple[Sequence[Any], Sequence[str]]]) -> Changes:
        """What is otherwise in these keys and texts, which are all that there are now; they are remembered instead."""
        self._pass += 1
        written = [key for part in parts for key in self.put(*part)]
        with _told():
            gone = self._file.execute("SELECT key FROM prints WHERE pass < ?", (self._pass,)).fetchall()
            self._file.execute("DELETE FROM prints WHERE pass < ?", (self._pass,))
        return Changes(written, [json.loads(name) for (name,) in gone], None)


class Seen:
    """Fingerprints of rows by key."""

    def __init__(self) -> None:
        self._prints = Prints()

    def add(self, block: Block) -> None:
        """Remember the rows of ``block``."""
        self._prints.add(block.keys, _prints(block))

    def changes(self, blocks: Iterable[Block]) -> Changes:
        """What is otherwise in these blocks, which are all rows there are now; they are remembered instead."""
        return self._prints.changes((block.keys, _prints(block)) for block in blocks)


def _prints(block: Block) -> list[str]:
    payload = block.payload
    if payload is None:
        payload = [None] * len(block.keys)
    elif hasattr(payload, "to_pylist"):
        payload = payload.to_pylist()
    made = []
    for vector, rest in zip(block.vectors, payload, strict=True):
        digest = blake2b(vector.tobytes(), digest_size=8)
        digest.update(json.dumps(rest, sort_keys=True, default=repr).encode())
        made.append(digest.hexdigest())
    return made


@contextmanager
def _told() -> Iterator[None]:
    """What is wrong with the temporary file, as a StoreError."""
    try:
        yield
    except sqlite3.Error as error:
        what = f"fingerprints of the rows are kept in a temporary file: {error}; SQLITE_TMPDIR names another folder"
        raise StoreError(what) from None
