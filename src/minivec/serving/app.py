"""The paths of a served map."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import numpy as np
import orjson
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from minivec.history import check_trust
from minivec.map import LinearMap
from minivec.serving.call import Call, Queue
from minivec.serving.metrics import Metrics
from minivec.serving.refused import Refused
from minivec.serving.upstream import Upstream, passed
from minivec.serving.vectors import Mapper
from minivec.settings import whole_number
from minivec.validation import as_rows

MANY = 1 << 20  # bytes of JSON from which a thread works on them, so that other requests go on
GONE = 499  # the status that is counted for a client that went away
RAW = "application/octet-stream"

Work = Callable[[Call], Awaitable[Response]]


class Service:
    """What a served map answers; ``create_app`` documents the arguments."""

    def __init__(
        self,
        bridge: LinearMap,
        upstream: str,
        *,
        model: str | None,
        shorten: bool,
        timeout: float,
        attempts: int,
        at_once: int,
        queue: int,
        max_bytes: int,
        any_vectors: bool,
    ):
        self.metrics = Metrics()
        self.mapper = Mapper(bridge, any_vectors)
        self.upstream = Upstream(upstream, at_once=at_once, attempts=attempts, metrics=self.metrics)
        self.queue = Queue(at_once, queue, self.metrics)
        self.model, self.shorten, self.timeout, self.max_bytes = model, shorten, timeout, max_bytes

    def routes(self) -> list[Route]:
        """All paths."""
        models = self.endpoint("/v1/models", self.models)
        return [
            Route("/v1/embeddings", self.endpoint("/v1/embeddings", self.embeddings), methods=["POST"]),
            Route("/v1/models", models),
            Route("/v1/models/{name:path}", models),
            Route("/map", self.endpoint("/map", self.map), methods=["POST"]),
            Route("/health", self.health),
            Route("/ready", self.ready),
            Route("/metrics", self.metered),
        ]

    def endpoint(self, path: str, work: Work) -> Callable[[Request], Awaitable[Response]]:
        """``work`` on requests of a ``path``: queued, with a deadline, counted and timed."""

        async def answer(request: Request) -> Response:
            start = time.perf_counter()
            call = Call(request, asyncio.get_running_loop().time() + self.timeout)
            try:
                async with asyncio.timeout_at(call.deadline), self.queue.entered():
                    response = await work(call)
            except Refused as refused:
                response = refused.response()
            except TimeoutError:
                response = Refused(504, "timeout", f"no answer within {self.timeout:g} s (--timeout)").response()
            except ClientDisconnect:
                response = Response(status_code=GONE)
            except Exception:
                self.metrics.requests.labels(path, "500").inc()
                raise
            else:
                seconds = time.perf_counter() - start
                self.metrics.seconds.labels(path).observe(seconds)
                self.metrics.own.labels(path).observe(seconds - call.elsewhere)
            self.metrics.requests.labels(path, str(response.status_code)).inc()
            return response

        return answer

    async def embeddings(self, call: Call) -> Response:
        """OpenAI's /v1/embeddings: the upstream's answer, its vectors mapped."""
        asked = _json(await call.body(self.max_bytes))
        if "input" not in asked:
            raise Refused(400, "bad_request", "the body has no 'input'")
        return await call.while_connected(self._embedded(call, asked))

    async def _embedded(self, call: Call, asked: dict[str, Any]) -> Response:
        """The answer to the body ``asked``."""
        sent = self._sent(asked)
        async with self.queue.working(call):
            answer = await self.upstream.ask(call, "/embeddings", orjson.dumps(sent))
        if answer.status_code != 200:
            return Response(answer.content, answer.status_code, passed(answer.headers.items()))
        work = partial(self.mapper.answer, answer.content, asked, str(sent.get("model")))
        content, rows = await asyncio.to_thread(work) if len(answer.content) > MANY else work()
        self.metrics.vectors.labels("/v1/embeddings").inc(rows)
        return Response(content, headers=passed(answer.headers.items()))

    def _sent(self, asked: dict[str, Any]) -> dict[str, Any]:
        """The body that the upstream gets: ``asked`` with the name of its model and, to shorten, the map's width."""
        (width, target), sent = self.mapper.bridge.shape, dict(asked)
        if sent.pop("dimensions", target) != target:
            raise Refused(400, "bad_request", f"dimensions must be {target}, those of the map's target")
        if self.shorten:
            sent["dimensions"] = width
        named = self.mapper.target is not None and sent.get("model") == self.mapper.target
        model = self.model or (self.mapper.source if named else None)
        return {**sent, "model": model} if model else sent

    async def models(self, call: Call) -> Response:
        """The upstream's own answer to a GET of /models."""
        path = call.request.url.path.removeprefix("/v1")
        async with self.queue.working(call):
            answer = await call.while_connected(self.upstream.ask(call, path))
        return Response(answer.content, answer.status_code, passed(answer.headers.items()))

    async def map(self, call: Call) -> Response:
        """Raw vectors, mapped: {"vectors": [[...], ...]} in JSON both ways, or float32 bytes with ?width=."""
        content = await call.body(self.max_bytes)
        raw = call.request.headers.get("content-type", "").partition(";")[0].strip() == RAW
        width = call.request.query_params.get("width", "")

        def work() -> Response:
            try:
                rows = _raw(content, width) if raw else np.array(_json(content).get("vectors"), np.float32)
                rows = as_rows(rows, "vectors")
            except (ValueError, TypeError) as error:
                raise Refused(400, "bad_request", str(error)) from None
            mapped = self.mapper.mapped(rows)
            self.metrics.vectors.labels("/map").inc(len(mapped))
            if raw:
                return Response(mapped.astype("<f4").tobytes(), headers={"width": str(mapped.shape[1])}, media_type=RAW)
            body = orjson.dumps({"vectors": mapped}, option=orjson.OPT_SERIALIZE_NUMPY)
            return Response(body, media_type="application/json")

        return await asyncio.to_thread(work) if len(content) > MANY else work()

    async def health(self, request: Request) -> Response:
        """The process is alive."""
        return PlainTextResponse("ok\n")

    async def ready(self, request: Request) -> Response:
        """The upstream can be reached."""
        if await self.upstream.reachable():
            return PlainTextResponse("ready\n")
        return PlainTextResponse("the upstream does not answer\n", 503)

    async def metered(self, request: Request) -> Response:
        """The metrics, in Prometheus's text form."""
        return Response(generate_latest(self.metrics.registry), media_type=CONTENT_TYPE_LATEST)


def create_app(
    bridge: LinearMap,
    upstream: str,
    *,
    model: str | None = None,
    shorten: bool = False,
    timeout: float = 60.0,
    attempts: int = 3,
    at_once: int = 16,
    queue: int = 64,
    max_bytes: int = 16 << 20,
    min_confidence: float | None = None,
    any_vectors: bool = False,
) -> Starlette:
    """An ASGI application with OpenAI's /v1/embeddings: vectors of the model behind ``upstream``, mapped by ``bridge``.

    - ``upstream``: http(s)://HOST/v1 of a server with the same call
    - ``model``: what the upstream is asked for, whatever model a request names. Without it the name of the map's target
      space becomes that of its source space, and other names are passed on
    - ``shorten``: ask the upstream for vectors of the map's width (``dimensions``), of models that can
    - ``timeout``: seconds that a request may take, in the queue and with all ``attempts`` at the upstream
    - ``at_once`` requests are with the upstream at a time; ``queue`` others may wait
    - ``max_bytes`` of a request's body
    - ``min_confidence``: from 0 to 1, accept the map from this confidence on, whatever its verdict
    - ``any_vectors``: go on with vectors that look like those of another space than the map leads from

    Raises ValueError for a map that is not reliable, and for arguments out of range.
    """
    check_trust(bridge.history, min_confidence, "served")
    if not timeout > 0:
        raise ValueError(f"timeout must be above 0; got {timeout}")
    service = Service(
        bridge,
        upstream,
        model=model,
        shorten=shorten,
        timeout=timeout,
        attempts=whole_number("attempts", attempts, 1),
        at_once=whole_number("at_once", at_once, 1),
        queue=whole_number("queue", queue, 0),
        max_bytes=whole_number("max_bytes", max_bytes, 1),
        any_vectors=any_vectors,
    )

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        async with service.upstream.client:
            yield

    return Starlette(routes=service.routes(), exception_handlers={HTTPException: _refused}, lifespan=lifespan)


async def _refused(request: Request, error: Exception) -> Response:
    """Starlette's own refusals, such as of an unknown path, in our form."""
    assert isinstance(error, HTTPException)
    return Refused(error.status_code, "bad_request", error.detail, error.headers).response()


def _json(content: bytes) -> dict[str, Any]:
    """The JSON object of a body; Refused (400) for anything else."""
    try:
        body = orjson.loads(content)
    except ValueError as error:
        raise Refused(400, "bad_request", f"the body is not JSON: {error}") from None
    if not isinstance(body, dict):
        raise Refused(400, "bad_request", "the body is not a JSON object")
    return body


def _raw(content: bytes, width: str) -> np.ndarray:
    """Rows (n, width) of little-endian float32 bytes; ValueError where they are no whole rows."""
    size = int(width) if width.isdecimal() else 0
    if not size or not content or len(content) % (4 * size):
        raise ValueError(
            f"{len(content):,} bytes are no rows of float32: ?width= must be their dimensions; got {width!r}"
        )
    return np.frombuffer(content, "<f4").reshape(-1, size)
