"""The model behind the map: a server with OpenAI's API that is asked again while it is busy."""

import asyncio
import random
from collections.abc import Iterable, Mapping
from urllib.parse import urlsplit

import httpx

from minivec.embedders.http import asked_wait
from minivec.serving.call import Call
from minivec.serving.metrics import Metrics
from minivec.serving.refused import Refused
from minivec.stores.requests import BUSY

CONNECT = 5.0  # seconds to connect, of one attempt
IDLE = 2.0  # seconds that a connection is kept: fewer than servers keep one, so that none closes as a request comes
READY = 2.0  # seconds for an answer to whether it can be reached
# Headers of one connection, and those that whoever sends the message writes.
OWN = {
    "connection",
    "content-encoding",
    "content-length",
    "date",
    "host",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "server",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "accept-encoding",
    "expect",
}


class Upstream:
    """The server at ``url``, which ends in /v1 with most servers; ``attempts`` bound the requests for one call.

    ValueError for a URL of another form, and for one with credentials.
    """

    def __init__(self, url: str, *, at_once: int, attempts: int, metrics: Metrics):
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
            raise ValueError(f"upstream must be http(s)://HOST/v1; got {url!r}")
        if "@" in parts.netloc:
            raise ValueError("upstream: no credentials in the URL; clients send their key, and it is passed through")
        self.url, self._attempts, self._metrics = url.rstrip("/"), attempts, metrics
        limits = httpx.Limits(max_connections=at_once + 1, max_keepalive_connections=at_once, keepalive_expiry=IDLE)
        self.client = httpx.AsyncClient(timeout=httpx.Timeout(None, connect=CONNECT), limits=limits)

    async def ask(self, call: Call, path: str, content: bytes | None = None) -> httpx.Response:
        """The answer to the call's method on ``path``, whatever its status; Refused (502) where none comes.

        While the upstream is busy, fails or cannot be reached, it is asked again. The waits between the attempts
        double, and are at least as long as its ``Retry-After``. The last answer is returned where no attempt is left,
        or no time for one.
        """
        request = self.client.build_request(
            call.request.method,
            self.url + path,
            params=call.request.query_params,
            headers=passed(call.request.headers.items()),
            content=content,
        )
        async with call.waiting():
            for attempt in range(1, self._attempts + 1):
                response, what = await self._attempt(request)
                if response is not None and response.status_code not in BUSY:
                    return response
                asked = asked_wait(response.headers) if response is not None else 0.0
                wait = max(asked, 0.25 * 2**attempt * random.uniform(0.5, 1))
                if attempt == self._attempts or asyncio.get_running_loop().time() + wait >= call.deadline:
                    break
                await asyncio.sleep(wait)
        if response is None:
            raise Refused(502, "upstream_unreachable", f"the upstream does not answer: {what}")
        return response

    async def _attempt(self, request: httpx.Request) -> tuple[httpx.Response | None, str]:
        """The answer to one request; or None, and what was in the way."""
        try:
            response = await self.client.send(request)
        except httpx.LocalProtocolError:
            raise Refused(400, "bad_request", "the request has a header that HTTP does not allow") from None
        except httpx.HTTPError as error:
            self._metrics.attempts.labels("none").inc()
            return None, type(error).__name__
        self._metrics.attempts.labels(str(response.status_code)).inc()
        return response, ""

    async def reachable(self) -> bool:
        """Whether it answers at all, at once and without a key."""
        try:
            response = await self.client.get(f"{self.url}/models", timeout=READY)
        except httpx.HTTPError:
            return False
        return response.status_code < 500


def passed(headers: Iterable[tuple[str, str]]) -> Mapping[str, str]:
    """The headers that a message keeps from one connection to the next."""
    return {name: value for name, value in headers if name.lower() not in OWN}
