"""Requests to servers: of a size that they take, and made again while they are busy."""

import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

BYTES = 16 << 20  # of a request: servers take 32 MiB or more, unless they are told otherwise
NUMBER = 24  # bytes of one number in JSON, at most, with the comma behind it
BUSY = (429, 502, 503, 504)  # answers after which the same request may succeed
NO_SERVER: dict[
    str, tuple[str, ...]
] = {  # errors of the libraries below the clients: there is no server to be asked again
    "httpx": ("ConnectError", "ConnectTimeout"),
    "urllib3.exceptions": ("NewConnectionError", "ConnectTimeoutError"),
}
LOST: dict[str, tuple[str, ...]] = {  # and of a connection that was there
    "httpx": ("NetworkError", "RemoteProtocolError", "TimeoutException"),
    "urllib3.exceptions": ("ProtocolError", "ReadTimeoutError"),
}
PAUSES, LONGEST = (0.5, 1.0, 2.0, 4.0), 60.0  # seconds before a request is made again, and the most of them


def page(rows: int, width: int) -> int:
    """How many of ``rows`` to ask for in one request, where each has a vector of this width."""
    return max(1, min(rows, BYTES // (NUMBER * max(width, 1))))


class Requests:
    """Sends rows in requests of at most ``limit`` bytes; of fewer, once the server has refused one as too large."""

    def __init__(self, too_large: Callable[[Exception], bool], limit: int = BYTES):
        self._too_large, self._limit = too_large, limit

    def send(self, sizes: Sequence[int], post: Callable[[slice], None], most: int = 0) -> None:
        """Call ``post`` with one slice of the rows after the other; ``sizes`` are the bytes of each row.

        ``most``, if it is positive, is the number of rows that a request may have.
        """
        start = 0
        while start < len(sizes):
            stop = self._stop(sizes, start, most if most > 0 else len(sizes))
            try:
                post(slice(start, stop))
            except Exception as error:
                if stop - start == 1 or not self._too_large(error):
                    raise
                self._limit = sum(sizes[start:stop]) // 2
            else:
                start = stop

    def _stop(self, sizes: Sequence[int], start: int, most: int) -> int:
        """Behind the last row of the request that begins with row ``start``, which has one row at least."""
        total, stop = sizes[start], start + 1
        while stop < min(len(sizes), start + most) and total + sizes[stop] <= self._limit:
            total, stop = total + sizes[stop], stop + 1
        return stop


class Patient:
    """A client, or a part of it, whose calls are made again while its server is busy or loses the connection.

    That is for answers of BUSY, for connections that are lost and for time-outs behind the connecting, after each of
    PAUSES, or as long as the answer asks for (Retry-After), but at most LONGEST. What a call returns is patient too if
    it is one of the types ``parts``. Every call must do no harm when it is made twice.
    """

    def __init__(self, wrapped: Any, *parts: type):
        self._wrapped, self._parts = wrapped, parts

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._wrapped, name)
        return partial(self._call, found) if callable(found) else found

    def _call(self, method: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
        for pause in (*PAUSES, None):
            try:
                result = method(*arguments, **options)
            except Exception as error:
                asked = _asked(error)
                if asked is None or pause is None:
                    raise
                time.sleep(min(max(asked, pause), LONGEST))
            else:
                return Patient(result, *self._parts) if isinstance(result, self._parts) else result


def _asked(error: BaseException | None) -> float | None:
    """The seconds after which a server asks to be tried again, 0 if it says nothing; None where that is of no use."""
    while error is not None:
        answer = getattr(error, "response", error)  # exceptions of Qdrant, Elasticsearch, OpenSearch are like answers
        headers = getattr(answer, "headers", None) or {}
        after = getattr(error, "retry_after_s", headers.get("Retry-After"))
        if hasattr(error, "retry_after_s") or getattr(answer, "status_code", None) in BUSY:
            return float(str(after)) if str(after).isdecimal() else 0.0  # it may be a date
        if _is_among(NO_SERVER, error):
            return None
        if _is_among(LOST, error):
            return 0.0
        error = getattr(error, "source", None) or error.__cause__ or error.__context__
    return None


def _is_among(kinds: dict[str, tuple[str, ...]], error: BaseException) -> bool:
    """Whether an error is of one of these classes by module; that of a module nobody has imported is of none."""
    there = [(sys.modules[module], names) for module, names in kinds.items() if module in sys.modules]
    return any(isinstance(error, getattr(module, name)) for module, names in there for name in names)
