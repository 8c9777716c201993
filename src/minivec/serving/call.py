"""One request: its body, its deadline, the client that may go away, and its place in the queue."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from typing import TypeVar

from starlette.requests import ClientDisconnect, Request

from minivec.serving.metrics import Metrics
from minivec.serving.refused import Refused

T = TypeVar("T")


class Call:
    """A request on its way to an answer, until ``deadline`` (of the event loop's clock).

    ``elsewhere`` are the seconds that it has waited for the client's body, in the queue and for the upstream.
    """

    def __init__(self, request: Request, deadline: float):
        self.request, self.deadline, self.elsewhere = request, deadline, 0.0

    @asynccontextmanager
    async def waiting(self) -> AsyncIterator[None]:
        """A block whose time is not ours."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.elsewhere += time.perf_counter() - start

    async def body(self, most: int) -> bytes:
        """The whole body; Refused (413) from ``most`` bytes on, as soon as they are known of."""
        told = self.request.headers.get("content-length", "")
        body = bytearray()
        if not (told.isdecimal() and int(told) > most):
            async with self.waiting():
                async for part in self.request.stream():
                    body += part
                    if len(body) > most:
                        break
                else:
                    return bytes(body)
        raise Refused(413, "too_large", f"a request has at most {most:,} bytes (--max-bytes)")

    async def while_connected(self, work: Awaitable[T]) -> T:
        """The result of ``work``, which is cancelled where the client goes away (ClientDisconnect).

        The body must have been read before.
        """
        working, watching = asyncio.ensure_future(work), asyncio.ensure_future(self._gone())
        try:
            await asyncio.wait((working, watching), return_when=asyncio.FIRST_COMPLETED)
            if not working.done():
                raise ClientDisconnect
            return working.result()
        finally:
            working.cancel()
            watching.cancel()
            await asyncio.gather(working, watching, return_exceptions=True)

    async def _gone(self) -> None:
        """Until the client goes away."""
        while (await self.request.receive())["type"] != "http.disconnect":
            pass


class Queue:
    """Lets ``at_once`` calls work at a time, and ``most`` others wait; any more are Refused (503)."""

    def __init__(self, at_once: int, most: int, metrics: Metrics):
        self._free, self._most, self._metrics = asyncio.Semaphore(at_once), at_once + most, metrics
        self._there = 0

    @asynccontextmanager
    async def entered(self) -> AsyncIterator[None]:
        """A place in the queue or at work."""
        if self._there >= self._most:
            full = f"{self._there:,} requests are being answered, and no more can wait (--queue)"
            raise Refused(503, "queue_full", full, {"Retry-After": "1"})
        self._there += 1
        self._metrics.in_flight.set(self._there)
        try:
            yield
        finally:
            self._there -= 1
            self._metrics.in_flight.set(self._there)

    @asynccontextmanager
    async def working(self, call: Call) -> AsyncIterator[None]:
        """A place at work, when one is free."""
        with self._metrics.queued.track_inprogress():
            async with call.waiting():
                await self._free.acquire()
        try:
            yield
        finally:
            self._free.release()
