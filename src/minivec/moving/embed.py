"""Vectors of a new model: of texts in files and databases, and as known pairs for a fit."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from minivec.embedders import Embedder, Streaming, open_embedder
from minivec.embedders.base import check_kind
from minivec.formats.base import listed
from minivec.moving.paired import noted
from minivec.moving.texts import Texts, texts_of, unsendable, values
from minivec.settings import FIT_ROWS, whole_number
from minivec.stores import Store, open_store
from minivec.stores.blocks import fetch_all, without_vector
from minivec.validation import drawn

LONGEST = 32_000  # characters of a text that is sent: about the 8,192 tokens that most models take
PAIRS = 10_000  # rows that are drawn and embedded for a fit


@dataclass
class Cost:
    """What embedding has cost: ``done`` of ``total`` texts, ``cached`` of them known before, tokens, seconds.

    ``tokens`` are those that the server counted, 0 where it counts none.
    """

    total: int
    done: int = 0
    cached: int = 0
    tokens: int = 0
    seconds: float = 0.0

    @property
    def left(self) -> float:
        """The seconds that the rest takes at the speed so far; NaN before the first texts."""
        paid = self.done - self.cached
        return (self.total - self.done) * self.seconds / paid if paid else float("nan")

    def __str__(self) -> str:
        cached = f" ({self.cached:,} from the cache)" if self.cached else ""
        tokens = f", {self.tokens:,} tokens" if self.tokens else ""
        return f"{self.done:,} of {self.total:,} texts{cached}{tokens}, {self.seconds:,.0f} s"


Progress = Callable[[Cost], None]


@dataclass(frozen=True)
class Embedded:
    """Texts as vectors of a model.

    - ``keys`` (n) of the rows: a store's keys, ``_id`` of a BEIR file, else row numbers from 0
    - ``vectors`` (n, width), float32, in the order of the keys
    - ``skipped``: the keys of rows that have no vector, by reason: "NULL", "empty", "too long", "not Unicode"
    - ``model``: the embedder's name
    - ``cost``: texts, tokens and seconds
    """

    keys: Sequence[Any]
    vectors: np.ndarray
    skipped: dict[str, list[Any]]
    model: str
    cost: Cost

    def notes(self) -> list[str]:
        """A line for each reason why rows were skipped, with their number and the first keys."""
        return [
            f"{len(keys):,} texts are {why} and were not embedded: {listed(keys)}" for why, keys in self.skipped.items()
        ]


def embed(
    texts: Any,
    model: str | Embedder,
    *,
    text: str | None = None,
    rows: int | None = None,
    seed: int = 0,
    kind: str = "document",
    longest: int = LONGEST,
    cache: str | Path | bool = True,
    progress: Progress | None = None,
) -> Embedded:
    """Embed texts with ``model``, the name of one or an ``Embedder`` (see ``open_embedder``, also for ``cache``).

    - ``texts``: a list of str (None for no text), a .txt (a text a line), .csv, .tsv, .jsonl or .parquet file, a folder
      in BEIR's layout (of which ``kind`` takes the corpus or the queries), or a store or its URL. ``text`` names the
      column; without it, "text" or the only one ("document" of Chroma)
    - ``rows``: how many are drawn, uniformly, with ``seed``; None for all. ``minivec.stores.sample`` draws the same
    - ``kind``: "document" or "query"
    - ``longest``: characters; longer texts are skipped, and so are those that the model refuses as too long
    - ``progress`` is called with the cost so far

    What is embedded is in the cache at once, so that an interrupted call, made again, pays for the rest alone.
    Raises ValueError for texts or arguments that are wrong, and EmbedderError (an OSError) where the model fails.
    """
    check_kind(kind)
    if rows is not None:
        whole_number("rows", rows, 1)
    whole_number("longest", longest, 1)
    embedder = open_embedder(model, cache=cache)
    found = texts_of(texts, text, rows, whole_number("seed", seed, 0), kind)
    return _embedded(found, embedder, kind, longest, progress)


def _embedded(texts: Texts, embedder: Streaming, kind: str, longest: int, progress: Progress | None) -> Embedded:
    """The vectors of the texts that can be sent and that the model takes."""
    reasons = [unsendable(text, longest) for text in texts.texts]
    sent = [row for row, reason in enumerate(reasons) if reason is None]
    if not sent:
        raise ValueError(f"{texts.where}: no text to embed; its {len(reasons):,} rows are all NULL, empty or too long")
    cost, start, counted = Cost(len(sent)), time.monotonic(), embedder.tokens
    known = getattr(embedder, "found", 0)
    found, there = np.empty((0, 0), np.float32), np.zeros(len(sent), bool)

    def done(numbers: Sequence[int], vectors: np.ndarray | None) -> None:
        nonlocal found
        for number in numbers if vectors is None else ():
            reasons[sent[number]] = "too long"
        if vectors is not None:
            if not found.size:  # one array from the first vectors on: all of them may be gigabytes
                found = np.empty((len(sent), vectors.shape[1]), np.float32)
            found[np.asarray(numbers)], there[np.asarray(numbers)] = vectors, True
        cost.done += len(numbers)
        cost.cached = getattr(embedder, "found", 0) - known
        cost.tokens, cost.seconds = embedder.tokens - counted, time.monotonic() - start
        if progress is not None:
            progress(cost)

    embedder.stream([str(texts.texts[row]) for row in sent], kind, done)
    if not there.any():
        raise ValueError(f"{texts.where}: every text is too long for {embedder.name}")
    skipped: dict[str, list[Any]] = {}
    for key, reason in zip(texts.keys, reasons, strict=True):
        if reason is not None:
            skipped.setdefault(reason, []).append(key)
    keys = [texts.keys[sent[number]] for number in np.flatnonzero(there)]
    return Embedded(keys, found if there.all() else found[there], skipped, embedder.name, cost)


def plain(key: Any) -> Any:
    """A key as ``minivec embed`` writes it: a number or a text."""
    return key if isinstance(key, int | str) else str(key)


@dataclass(frozen=True)
class FitRows:
    """What ``MiniVec2VecAligner.align`` takes: ``align(rows.XA, rows.XB, pairs=rows.pairs)``.

    - ``XA`` (nA, dA): vectors of a store, those of the pairs among them
    - ``XB`` (nB, dB): vectors of the new model, float32
    - ``pairs`` (m, 2): the row numbers of XA and XB that are of one text, or None
    - ``embedded``: what was embedded, the store's texts first
    """

    XA: np.ndarray
    XB: np.ndarray
    pairs: np.ndarray | None
    embedded: list[Embedded] = field(default_factory=list)

    def paired_rows(self) -> dict[str, Any]:
        """What the fit's history is to have besides, so that ``probe`` leaves the pairs out: an entry, or none."""
        return {} if self.pairs is None else noted(self.XA[self.pairs[:, 0]], self.XB[self.pairs[:, 1]])


def fit_rows(
    store: Any,
    model: str | Embedder,
    *,
    text: str | None = None,
    target: Any = None,
    rows: int = PAIRS,
    seed: int = 0,
    most: int = FIT_ROWS,
    longest: int = LONGEST,
    cache: str | Path | bool = True,
    progress: Progress | None = None,
) -> FitRows:
    """Rows for a fit from the vectors of ``store`` (a store, its URL or a file) into the space of ``model``.

    - ``text``: the column of the store's texts. ``rows`` of them are drawn with ``seed`` and embedded. They are known
      pairs, next to the other rows of the store
    - ``target``: other texts of the same kind, as ``embed`` takes them, of which ``rows`` are drawn and embedded. They
      are not paired, and need not be in the store. Give this where the store has no texts
    - ``most``: rows of the store at most, besides the pairs, drawn uniformly. Give ``align`` the same number as
      ``max_rows``

    The other arguments are those of ``embed``. Raises ValueError where neither ``text`` nor ``target`` is given, and
    for vectors or texts that are wrong.
    """
    if text is None and target is None:
        raise ValueError("name the column of the store's texts (text), or other texts of the same kind (target)")
    rows, seed = whole_number("rows", rows, 1), whole_number("seed", seed, 0)
    embedder = open_embedder(model, cache=cache)
    with open_store(store) as opened:
        XA, numbers, texts = _drawn(opened, text, rows, most, seed)
    made = []
    pairs = None
    if text is not None:
        made.append(_embedded(texts, embedder, "document", longest, progress))
        places = dict(zip(texts.keys, numbers, strict=True))
        pairs = np.array([(places[key], row) for row, key in enumerate(made[0].keys)])
    if target is not None:
        made.append(_embedded(texts_of(target, None, rows, seed), embedder, "document", longest, progress))
    return FitRows(XA, np.concatenate([part.vectors for part in made]), pairs, made)


def _drawn(store: Store, column: str | None, rows: int, most: int, seed: int) -> tuple[np.ndarray, list[int], Texts]:
    """Vectors of a store for a fit, and which of them are drawn for their texts of ``column``, with these, if any."""
    store.schema()
    store.skip_nulls = True
    keys = store.keys()
    if not len(keys):
        raise ValueError(f"{store}: it is empty")
    paired = drawn(len(keys), rows, seed) if column is not None else np.arange(0)
    chosen = np.union1d(paired, drawn(len(keys), most, seed))
    with_text = {keys[int(i)] for i in paired}
    vectors: list[np.ndarray] = []
    numbers: list[int] = []
    with_keys: list[Any] = []
    texts: list[str | None] = []
    for block in fetch_all(store, [keys[int(i)] for i in chosen], payload=column is not None):
        has = ~without_vector(block, store)
        first = sum(map(len, vectors))
        vectors.append(block.vectors[has])
        places = first + np.cumsum(has) - 1
        wanted = [i for i, key in enumerate(block.keys) if has[i] and key in with_text]
        if wanted:
            found = values(store, block, column)
            numbers += [int(places[i]) for i in wanted]
            with_keys += [block.keys[i] for i in wanted]
            texts += [found[i] for i in wanted]
    return np.concatenate(vectors), numbers, Texts(str(store), with_keys, texts)
