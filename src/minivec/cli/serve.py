"""A map served over HTTP."""

import signal
import socket
from typing import TYPE_CHECKING, Annotated

import typer

from minivec import spaces
from minivec.cli.common import Aligner, AnyVectors, From, Inverse, Lengths, app, open_turned
from minivec.cli.stores import MinConfidence
from minivec.threads import lone_blas

if TYPE_CHECKING:
    from starlette.applications import Starlette

IDLE = 65  # seconds that a connection is kept: more than clients keep one, so that none closes as a request comes


@app.command()
def serve(
    *,
    aligner: Aligner,
    upstream: Annotated[
        str, typer.Option(metavar="URL", help="http(s)://HOST/v1 of the model whose vectors the map takes.")
    ],
    inverse: Inverse = False,
    space: From = None,
    host: Annotated[str, typer.Option(help="The address to listen at; 0.0.0.0 is every one.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free one.")] = 8000,
    model: Annotated[
        str | None,
        typer.Option(help="The model that the upstream is asked for, whatever requests name.", show_default=False),
    ] = None,
    shorten: Annotated[
        bool, typer.Option("--shorten", help="Ask the upstream for vectors of the map's width (`dimensions`).")
    ] = False,
    timeout: Annotated[
        float, typer.Option(min=0.1, help="Seconds for a request, with all attempts at the upstream.")
    ] = 60.0,
    attempts: Annotated[int, typer.Option(min=1, help="At the upstream, while it is busy or fails.")] = 3,
    at_once: Annotated[int, typer.Option(min=1, help="Requests that are with the upstream at a time.")] = 16,
    queue: Annotated[int, typer.Option(min=0, help="Requests that may wait besides; others get 503.")] = 64,
    max_bytes: Annotated[int, typer.Option(min=1, help="Of a request's body.")] = 16 << 20,
    lengths: Lengths = "target",
    min_confidence: MinConfidence = None,
    any_vectors: AnyVectors = False,
) -> None:
    """Serve OpenAI's /v1/embeddings with vectors of the model at --upstream, mapped; Ctrl-C or SIGTERM ends it."""
    from minivec.serving import create_app

    bridge = open_turned(aligner, inverse, space).of_lengths(lengths)
    made = create_app(
        bridge,
        upstream,
        model=model,
        shorten=shorten,
        timeout=timeout,
        attempts=attempts,
        at_once=at_once,
        queue=queue,
        max_bytes=max_bytes,
        min_confidence=min_confidence,
        any_vectors=any_vectors,
    )
    _listen(made, host, port, timeout, spaces.described(bridge.history, bridge.shape))


def _listen(made: "Starlette", host: str, port: int, timeout: float, way: str) -> None:
    """Serve until a signal comes; the requests that have begun are answered, for ``timeout`` seconds at most."""
    import uvicorn

    config = uvicorn.Config(
        made,
        access_log=False,  # its lines have the query, which may have a key
        log_config=None,  # uvicorn's own closes every handler of the process, and the streams of some with them
        log_level="warning",
        server_header=False,
        timeout_keep_alive=IDLE,
        timeout_graceful_shutdown=int(timeout) + 1,
    )
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listening = socket.create_server((host, port), family=family)
    except OSError as error:
        raise OSError(f"--host {host} --port {port}: {error.strerror or error}") from None
    for number in (signal.SIGINT, signal.SIGTERM):  # uvicorn raises them again when all is answered
        signal.signal(number, lambda *_: None)
    shown = f"[{host}]" if ":" in host else host
    print(f"http://{shown}:{listening.getsockname()[1]}/v1: {way}", flush=True)
    with lone_blas():
        uvicorn.Server(config).run([listening])
