"""Rows in requests of a size that a server takes."""

from collections.abc import Callable, Sequence

BYTES = 16 << 20  # of a request: servers take 32 MiB or more, unless they are told otherwise
NUMBER = 24  # bytes of one number in JSON, at most, with the comma behind it


def page(rows: int, width: int) -> int:
    """How many of ``rows`` to ask for in one request, where each has a vector of this width."""
    return max(1, min(rows, BYTES // (NUMBER * max(width, 1))))


class Requests:
    """Sends rows in requests of at most BYTES; of fewer, as soon as the server has refused one as too large."""

    def __init__(self, too_large: Callable[[Exception], bool]):
        self._too_large, self._limit = too_large, BYTES

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
