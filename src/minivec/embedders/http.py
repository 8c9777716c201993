"""A model behind a server with the ``/v1/embeddings`` call of OpenAI's API."""

import base64
import math
import os
import random
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit

import numpy as np

from minivec.embedders.base import EmbedderError, TooLarge
from minivec.embedders.batches import Batched
from minivec.extras import missing

OPTIONS = ("dimensions", "document_prompt", "query_prompt", "encoding", "key_from")
ENCODINGS = ("base64", "float")
AGAIN = (408, 409, 425, 429, 500, 502, 503, 504, 529)  # statuses that may pass
LONGEST_WAIT = 600.0  # seconds; a server that asks for more is an error
SLOWEST = 60.0  # seconds between two attempts where the server names none
TOO_LARGE = (
    "too large",
    "too long",
    "too many",
    "maximum",
    "context length",
    "exceed",
    "must have less",
    "must be at most",
)


class HttpEmbedder(Batched):
    """The model ``model`` of the server at ``url``, which ends in /v1 with most servers.

    - ``key`` authenticates (a bearer token); it is sent to this server alone, and shown nowhere
    - ``dimensions`` asks for shorter vectors, of models that can
    - ``prompts`` are put before texts, by kind: {"query": "query: ", "document": "passage: "}
    - ``encoding`` is what the server is asked for: "base64" or "float"; either answer is read
    - ``workers`` calls run at a time, each of at most ``most`` texts
    - ``attempts`` are made while the server is busy, fails or cannot be reached. The waits between them double, and
      are at least as long as the server's ``Retry-After``
    - ``timeout`` is in seconds, of one attempt

    Raises ImportError where httpx is missing, and ValueError for an argument that is wrong.
    """

    def __init__(
        self,
        url: str,
        model: str,
        *,
        key: str | None = None,
        dimensions: int | None = None,
        prompts: Mapping[str, str] | None = None,
        encoding: str = "base64",
        workers: int = 4,
        most: int = 128,
        attempts: int = 8,
        timeout: float = 120.0,
    ):
        super().__init__()
        try:
            import httpx
        except ImportError as error:
            raise missing("a model behind a server needs httpx", "embed") from error
        if encoding not in ENCODINGS:
            raise ValueError(f"encoding must be {' or '.join(ENCODINGS)}; got {encoding!r}")
        if key is not None and not (key.isascii() and key.isprintable() and " " not in key):
            raise ValueError("the key has characters that no HTTP header can have, such as a line's end")
        self._prompts = {kind: prompt for kind, prompt in (prompts or {}).items() if prompt}
        self.symmetric = not self._prompts
        self.workers, self.most, self.attempts = workers, most, attempts
        options = {"dimensions": dimensions, **{f"{kind}_prompt": p for kind, p in sorted(self._prompts.items())}}
        chosen = urlencode({name: value for name, value in options.items() if value is not None})
        self._url = url.rstrip("/")
        self.name = f"{self._url}{'?' * bool(chosen)}{chosen}#{model}"
        self.width = dimensions
        self._body = {"model": model, "encoding_format": encoding, **({"dimensions": dimensions} if dimensions else {})}
        self._key = key
        self._not_before = 0.0  # on the monotonic clock: no request is sent earlier
        self._counting = threading.Lock()
        self._httpx, self._timeout = httpx, timeout

    @contextmanager
    def ready(self) -> Iterator[None]:
        """With a client, which keeps connections between requests."""
        headers = {"Authorization": f"Bearer {self._key}"} if self._key else {}
        with self._httpx.Client(headers=headers, timeout=self._timeout) as self._client:
            yield

    def answer(self, texts: Sequence[str], kind: str) -> np.ndarray:
        """One request, sent again while the server is busy or fails."""
        prompt = self._prompts.get(kind, "")
        body = {**self._body, "input": [prompt + text for text in texts]}
        for attempt in range(1, self.attempts + 1):
            self._wait()
            try:
                response = self._client.post(f"{self._url}/embeddings", json=body)
            except self._httpx.TransportError as error:
                what, asked = f"{type(error).__name__}: {error}", 0.0
            except (self._httpx.HTTPError, self._httpx.InvalidURL) as error:
                raise self._error(str(error)) from None
            else:
                if response.status_code == 200:
                    return self._vectors(response, len(texts))
                what, asked = self._refusal(response), asked_wait(response.headers)
            if asked > LONGEST_WAIT:
                raise self._error(f"{what}; it asks to wait {asked:,.0f} s: run it again then")
            if attempt < self.attempts:
                backoff = min(SLOWEST, 0.5 * 2**attempt) * random.uniform(0.5, 1)
                self._not_before = max(self._not_before, time.monotonic() + max(asked, backoff))
        raise self._error(f"{what}, after {self.attempts} attempts")

    def _wait(self) -> None:
        """Until requests may be sent again; EmbedderError where the work is stopped meanwhile."""
        while (left := self._not_before - time.monotonic()) > 0:
            if self.stopping.wait(left):
                raise self._error("stopped")

    def _refusal(self, response: Any) -> str:
        """What a server says that may pass; EmbedderError for what stays."""
        status = response.status_code
        if status in (401, 403):  # whose text may show a part of the key
            raise self._error(f"{status}: the server refuses the key" if self._key else f"{status}: it wants a key")
        error = _said(response)
        what = f"{status}: {error.get('message') or response.reason_phrase}"
        if status == 413 or (status in (400, 422) and any(word in what.lower() for word in TOO_LARGE)):
            raise TooLarge(str(self._error(what)))
        if status not in AGAIN or error.get("code") == "insufficient_quota":
            raise self._error(what)
        return what

    def _error(self, what: str) -> EmbedderError:
        """An error of one line, without the key."""
        what = " ".join(what.split())[:300]
        return EmbedderError(f"{self.name}: {what.replace(self._key, '***') if self._key else what}")

    def _vectors(self, response: Any, texts: int) -> np.ndarray:
        """The vectors in an answer, in the order of the texts; EmbedderError where it is not whole."""
        try:
            answer = response.json()
            items = answer["data"]
            places = [item.get("index") for item in items]
            rows = [decoded(item["embedding"]) for item in items]
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            raise self._error(f"its answer is not one of /v1/embeddings: {type(error).__name__}: {error}") from None
        if len(rows) != texts:
            raise self._error(f"{texts} texts were sent, and {len(rows)} vectors came back")
        if any(place is not None for place in places):  # some servers number none
            if sorted(map(str, places)) != sorted(map(str, range(texts))):
                raise self._error(f"the numbers (index) of its {texts} vectors are not 0 to {texts - 1}")
            rows = [rows[at] for at in np.argsort([int(place) for place in places])]
        widths = sorted({len(row) for row in rows})
        if len(widths) > 1:
            raise self._error(f"vectors of {widths[0]} and of {widths[-1]} dimensions in one answer")
        usage = answer.get("usage")
        counted = usage.get("prompt_tokens") if isinstance(usage, dict) else None
        with self._counting:
            self.tokens += counted if isinstance(counted, int) else 0
        return np.stack(rows)


def decoded(embedding: Any) -> np.ndarray:
    """A vector (width,) float32 of a list of numbers, or of base64 of their bytes."""
    if isinstance(embedding, str):
        return np.frombuffer(base64.b64decode(embedding, validate=True), "<f4")
    with np.errstate(over="ignore"):
        row = np.array(embedding, np.float32)
    if row.ndim != 1:
        raise ValueError(f"an embedding of shape {row.shape}")
    return row


def _said(response: Any) -> dict[str, Any]:
    """The message and code of an error, as servers word it."""
    try:
        body = response.json()
    except ValueError:
        return {"message": response.text}
    error = body.get("error", body) if isinstance(body, dict) else body
    if isinstance(error, dict):
        return {**error, "message": str(error.get("message") or error.get("detail") or error)}
    return {"message": str(error)}


def asked_wait(headers: Mapping[str, str]) -> float:
    """The seconds that ``Retry-After`` (seconds or a date) or ``retry-after-ms`` asks to wait, or 0."""
    try:
        if "retry-after-ms" in headers:
            seconds = float(headers["retry-after-ms"]) / 1000
        else:
            seconds = float(headers.get("retry-after", 0))
    except ValueError:
        try:
            seconds = parsedate_to_datetime(headers.get("retry-after", "")).timestamp() - time.time()
        except (ValueError, TypeError):
            return 0.0
    return max(0.0, seconds) if math.isfinite(seconds) else 0.0


def open_http(model: str) -> HttpEmbedder:
    """The embedder of "http(s)://HOST/v1?OPTIONS#MODEL"; its key is the value of an environment variable."""
    parts = urlsplit(model)
    options = dict(parse_qsl(parts.query, keep_blank_values=True))
    shown = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
    if "@" in parts.netloc:
        raise ValueError(f"{shown}: no credentials in the URL; a key comes from the environment (?key_from=VARIABLE)")
    if not parts.fragment or not parts.hostname:
        raise ValueError(f"{shown}: name the model behind #: {shown}#MODEL")
    unknown = sorted(set(options) - set(OPTIONS))
    if unknown:
        raise ValueError(f"{shown}: unknown option {unknown[0]!r}; known: {', '.join(OPTIONS)}")
    dimensions = options.get("dimensions")
    if dimensions is not None and (not dimensions.isdecimal() or int(dimensions) < 2):
        raise ValueError(f"{shown}: dimensions must be a whole number from 2 on; got {dimensions!r}")
    return HttpEmbedder(
        shown,
        unquote(parts.fragment),
        key=_key(parts.hostname, options.get("key_from"), shown),
        dimensions=None if dimensions is None else int(dimensions),
        prompts={kind: options.get(f"{kind}_prompt", "") for kind in ("document", "query")},
        encoding=options.get("encoding", "base64"),
    )


def _key(host: str, variable: str | None, shown: str) -> str | None:
    """The key for a host: of the ``variable`` that is named, or of the host's own; None where there is none."""
    if variable is not None and not os.environ.get(variable):
        raise ValueError(f"{shown}: the environment variable {variable} (key_from) has no key")
    own = "OPENAI_API_KEY" if host == "api.openai.com" else "MINIVEC_API_KEY"
    return (os.environ.get(variable or own) or "").strip() or None
