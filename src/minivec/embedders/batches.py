"""From many texts to calls of a size that a model takes, several at a time."""

import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import AbstractContextManager, nullcontext

import numpy as np

from minivec.embedders.base import Embedder, EmbedderError, TooLarge, check_kind, verified

# Gets the numbers of some texts and their vectors (m, width), or None for a text that is too long for the model.
Done = Callable[[Sequence[int], np.ndarray | None], None]

HOPELESS = 20  # texts refused as too long, before any is answered: then the texts are not what is wrong


class Streaming(ABC):
    """An embedder that hands its vectors on as they come, so that an interruption loses none of them.

    ``tokens`` are those that the model has counted so far, or 0 where it counts none. ``symmetric``: a text has the
    same vector as a document and as a query.
    """

    name: str
    width: int | None = None
    tokens: int = 0
    symmetric: bool = False

    @abstractmethod
    def stream(self, texts: Sequence[str], kind: str, done: Done) -> None:
        """Call ``done`` once for each of the ``texts``, in any order; never from two threads at a time.

        On KeyboardInterrupt the calls that have begun are finished, and ``done`` gets their vectors.
        """

    def __call__(self, texts: Sequence[str], kind: str = "document") -> np.ndarray:
        """The vectors of ``texts``, as ``Embedder`` says; EmbedderError for a text that is too long."""
        check_kind(kind)
        found: dict[int, np.ndarray] = {}

        def done(rows: Sequence[int], vectors: np.ndarray | None) -> None:
            if vectors is None:
                raise EmbedderError(f"{self.name}: text {rows[0]} is too long for the model")
            found.update(zip(rows, vectors, strict=True))

        self.stream(texts, kind, done)
        if not found:
            return np.empty((0, self.width or 0), np.float32)
        return np.stack([found[row] for row in range(len(texts))])


class Batched(Streaming):
    """An embedder that is asked for the vectors of a few texts at a time.

    ``most`` and ``most_bytes`` (of UTF-8) bound the texts of one call, and ``workers`` is the number of calls at a
    time. A token has at least one byte, so the bound on bytes is one on tokens as well.
    """

    most: int = 256
    most_bytes: int = 256 << 10
    workers: int = 1

    def __init__(self) -> None:
        self.stopping = threading.Event()
        self._streaming, self._telling = threading.Lock(), threading.Lock()
        self._refused, self._answered = 0, False

    def ready(self) -> AbstractContextManager[None]:
        """What calls need that is let go of behind the last of them."""
        return nullcontext()

    @abstractmethod
    def answer(self, texts: Sequence[str], kind: str) -> np.ndarray:
        """The vectors of a few texts, not yet checked; TooLarge where the model takes fewer or shorter ones."""

    def stream(self, texts: Sequence[str], kind: str, done: Done) -> None:
        """Make calls of bounded size in ``workers`` threads."""
        check_kind(kind)
        running: set[Future[bool]] = set()
        with self._streaming, self.ready(), ThreadPoolExecutor(self.workers) as pool:
            self.stopping.clear()
            try:
                for rows in self._parts(texts):
                    running.add(pool.submit(self._ask, texts, rows, kind, done))
                    if len(running) == self.workers:
                        running = _some_done(running)
                while running:
                    running = _some_done(running)
            except BaseException:
                self.stopping.set()
                raise

    def _parts(self, texts: Sequence[str]) -> Iterator[range]:
        """The numbers of the texts of each call; the bounds may change between two of them."""
        start = 0
        while start < len(texts):
            stop, size = start, 0
            while stop < min(len(texts), start + self.most):
                size += len(texts[stop].encode("utf-8", "replace"))
                if size > self.most_bytes and stop > start:
                    break
                stop += 1
            yield range(start, stop)
            start = stop

    def _ask(self, texts: Sequence[str], rows: range, kind: str, done: Done) -> bool:
        """Embed these texts in one call, or in several where that is too much; whether one was enough."""
        try:
            vectors = self.answer([texts[row] for row in rows], kind)
        except TooLarge:
            if len(rows) == 1:
                with self._telling:
                    self._refused += 1
                    if self._refused > HOPELESS and not self._answered:
                        raise
                    done(rows, None)
                return False
            half = len(rows) // 2
            whole = [self._ask(texts, part, kind, done) for part in (rows[:half], rows[half:])]
            if all(whole):  # there were too many texts, and none was too long
                self.most = min(self.most, len(rows) - half)
            return False
        with self._telling:
            vectors = verified(vectors, len(rows), self.width, self.name)
            self.width, self._answered = vectors.shape[1], True
            done(rows, vectors)
        return True


def _some_done(running: "set[Future[bool]]") -> "set[Future[bool]]":
    """Wait until a call is done, and raise what it raised; those that are still running."""
    finished, rest = wait(running, return_when=FIRST_COMPLETED)
    for future in finished:
        future.result()
    return rest


class Plain(Batched):
    """Any embedder, in batches."""

    def __init__(self, embedder: Embedder):
        super().__init__()
        self._embedder, self.name, self.width = embedder, embedder.name, embedder.width

    def answer(self, texts: Sequence[str], kind: str) -> np.ndarray:
        """The embedder's."""
        return self._embedder(texts, kind)


def streaming(embedder: Embedder) -> Streaming:
    """The embedder itself where it can stream, or one around it that can."""
    return embedder if isinstance(embedder, Streaming) else Plain(embedder)
