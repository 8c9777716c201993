"""A lock for servers that have none: a record with an owner and a beat. A dead owner's record is taken over."""

import os
import socket
import threading
import time
from collections.abc import Callable
from typing import Any
from uuid import uuid4

from minivec.stores.errors import StoreError

BEAT = 5.0  # seconds from one sign of life to the next
PATIENCE = 4 * BEAT  # how long another owner's record is watched for a sign of life
SETTLED = 0.5  # seconds after which a record that was written at the same time is seen

_HELD: set[str] = set()  # owners in this process, whose number says nothing about them


class Lease:
    """The lock ``name``, a record that ``read`` returns (None where there is none) and ``write`` stores.

    ``write(None)`` removes it. A record is written, read again a moment later, and the last writer keeps it. Its
    owner rewrites it every few seconds; where the owner's process is gone, or gives no sign of life for ``PATIENCE``
    seconds, the next one takes the lock over. Clocks of different machines are never compared.
    """

    def __init__(
        self, name: str, read: Callable[[], dict[str, Any] | None], write: Callable[[dict[str, Any] | None], None]
    ):
        self._name, self._read, self._write = name, read, write
        self._record: dict[str, Any] = {
            "owner": uuid4().hex,
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "beat": 0,
        }
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._beat, daemon=True)

    def __enter__(self) -> "Lease":
        """Hold the lock; StoreError where another migration does."""
        record = self._read()
        if record is not None and self._alive(record):
            raise self._refusal(record)
        _HELD.add(self._record["owner"])
        self._write(self._record)
        time.sleep(SETTLED)
        self.check()
        self._thread.start()
        return self

    def check(self) -> None:
        """StoreError where another migration has taken the lock over."""
        record = self._read()
        if record is None or record["owner"] != self._record["owner"]:
            raise self._refusal(record or {"pid": "unknown", "host": "an unknown host"})

    def __exit__(self, *_: object) -> None:
        """Let go of it; a lock that another one has taken over stays."""
        self._over.set()
        self._thread.join()
        _HELD.discard(self._record["owner"])
        try:
            self.check()
            self._write(None)
        except StoreError:  # taken over, or the server is gone: the next one finds no sign of life
            pass

    def _alive(self, record: dict[str, Any]) -> bool:
        """Whether the owner of a record is at work, which may take PATIENCE seconds to find out."""
        if record["host"] == self._record["host"]:
            if record["pid"] == os.getpid():
                return record["owner"] in _HELD
            if not _runs(record["pid"]):
                return False
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            time.sleep(BEAT / 5)
            now = self._read()
            if now != record:
                return now is not None
        return False

    def _beat(self) -> None:
        while not self._over.wait(BEAT):
            try:
                self.check()
                self._record["beat"] += 1
                self._write(self._record)
            except StoreError:  # the migration's own requests will say what is wrong
                pass

    def _refusal(self, record: dict[str, Any]) -> StoreError:
        holder = f"process {record['pid']} on {record['host']}"
        return StoreError(f"{self._name}: another migration is writing there: {holder}")


def _runs(pid: int) -> bool:
    """Whether this machine has a process of this number, as far as it can tell."""
    if os.name != "posix":  # where signal 0 is not a question
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True
