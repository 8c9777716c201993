"""Vectors on disk, by model and text, so that no text is paid for twice."""

import hashlib
import os
import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

import numpy as np

from minivec.embedders.base import EmbedderError, check_kind
from minivec.embedders.batches import Done, Streaming
from minivec.stores.base import locked
from minivec.stores.errors import StoreError

VERSION = 1
TABLES = """
CREATE TABLE models (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, width INTEGER);
CREATE TABLE vectors (model INTEGER NOT NULL, text BLOB NOT NULL, vector BLOB NOT NULL, UNIQUE (model, text));
"""
ASKED = 500  # texts that one query asks for
GROUP = 4_096  # texts that are embedded before another process gets its turn
POLL = 0.05  # seconds between two looks at a lock that another process holds


def default_path() -> Path:
    """The user's cache."""
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "minivec" / "embeddings.sqlite3"


class Cached(Streaming):
    """An embedder whose vectors are kept in a SQLite file, by the model's name, the kind and the text's digest.

    A vector is in the file as soon as it is there, so a run that is killed goes on where it was. Several processes may
    use one file: with one model only one of them embeds at a time, and the others find its vectors.
    """

    def __init__(self, embedder: Streaming, path: str | Path | None = None):
        self._embedder = embedder
        self.name, self.symmetric = embedder.name, embedder.symmetric
        self.path = default_path() if path is None else Path(path).expanduser()
        self.found = 0  # texts whose vector was in the file

    @property
    def width(self) -> int | None:  # type: ignore[override]
        """The embedder's, or that of the vectors in the file."""
        return self._embedder.width

    @property
    def tokens(self) -> int:  # type: ignore[override]
        """Those that the embedder has counted: texts that were in the file cost none."""
        return self._embedder.tokens

    def stream(self, texts: Sequence[str], kind: str, done: Done) -> None:
        """Hand on what is in the file, then embed the rest, each text once."""
        check_kind(kind)
        model = self._model(kind)
        places: dict[bytes, list[int]] = {}
        for row, text in enumerate(texts):
            places.setdefault(_digest(text), []).append(row)
        wanted = self._hand_on(model, places, list(places), done)
        for start in range(0, len(wanted), GROUP):
            if start:
                time.sleep(2 * POLL)  # another process that waits for its turn gets it
            with self._alone(model):
                group = self._hand_on(model, places, wanted[start : start + GROUP], done)
                self._embed(model, [(digest, places[digest]) for digest in group], texts, kind, done)

    def _embed(
        self, model: int, group: list[tuple[bytes, list[int]]], texts: Sequence[str], kind: str, done: Done
    ) -> None:
        """Embed a group of texts, and keep their vectors before they are handed on."""

        def keep(numbers: Sequence[int], vectors: np.ndarray | None) -> None:
            rows = [row for number in numbers for row in group[number][1]]
            if vectors is None:
                done(rows, None)
                return
            self._save(model, [group[number][0] for number in numbers], vectors)
            done(rows, np.repeat(vectors, [len(group[number][1]) for number in numbers], axis=0))

        if group:
            self._embedder.stream([texts[rows[0]] for _, rows in group], kind, keep)

    def _hand_on(self, model: int, places: dict[bytes, list[int]], wanted: list[bytes], done: Done) -> list[bytes]:
        """Hand on the vectors that are in the file; the digests that are not."""
        there: set[bytes] = set()
        for start in range(0, len(wanted), ASKED):
            some = wanted[start : start + ASKED]
            marks = ",".join("?" * len(some))
            with self._open() as connection:
                query = f"SELECT text, vector FROM vectors WHERE model = ? AND text IN ({marks})"
                found = connection.execute(query, (model, *some)).fetchall()
            if not found:
                continue
            rows = [row for digest, _ in found for row in places[digest]]
            vectors = [self._read(vector) for digest, vector in found for _ in places[digest]]
            self.found += len(rows)
            there.update(digest for digest, _ in found)
            done(rows, np.stack(vectors))
        return [digest for digest in wanted if digest not in there]

    def _read(self, stored: bytes) -> np.ndarray:
        """A vector as it was saved; EmbedderError where its width is another than the model's."""
        if self._embedder.width is None:
            self._embedder.width = len(stored) // 4
        if len(stored) != 4 * self._embedder.width:
            width = self._embedder.width
            raise EmbedderError(f"{self.path}: a vector of {len(stored) / 4:g} dimensions; {self.name} has {width}")
        return np.frombuffer(stored, "<f4")

    def _save(self, model: int, digests: list[bytes], vectors: np.ndarray) -> None:
        """Keep vectors; EmbedderError where earlier ones of the model are of another width."""
        width = vectors.shape[1]
        with self._open() as connection:
            connection.execute(
                "BEGIN IMMEDIATE"
            )  # to wait for another writer, and not fail between reading and writing
            (known,) = connection.execute("SELECT width FROM models WHERE id = ?", (model,)).fetchone()
            if known not in (None, width):
                raise EmbedderError(f"{self.name}: vectors of {width} dimensions; {self.path} has its {known}")
            connection.execute("UPDATE models SET width = ? WHERE id = ?", (width, model))
            rows = zip(digests, vectors.astype("<f4", copy=False), strict=True)
            query = "INSERT OR IGNORE INTO vectors VALUES (?, ?, ?)"
            connection.executemany(query, [(model, digest, vector.tobytes()) for digest, vector in rows])

    def _model(self, kind: str) -> int:
        """The number of the model, with this kind of texts, in the file."""
        name = self.name if self.symmetric else f"{self.name} ({kind})"
        with self._open() as connection:
            connection.execute("INSERT OR IGNORE INTO models (name) VALUES (?)", (name,))
            query = "SELECT id, width FROM models WHERE name = ?"
            number, width = connection.execute(query, (name,)).fetchone()
        if self._embedder.width is None:
            self._embedder.width = width
        return int(number)

    @contextmanager
    def _alone(self, model: int) -> Iterator[None]:
        """Be the only process that embeds with this model and file; the lock falls with the process."""
        with ExitStack() as held:
            while True:
                try:
                    held.enter_context(locked(self.path.with_name(f"{self.path.name}.{model}.lock")))
                    break
                except StoreError:
                    time.sleep(POLL)
            yield

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        """A transaction of the file, which is made if it is not there; EmbedderError where that does not work."""
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            with closing(sqlite3.connect(self.path, timeout=60)) as connection:
                self._prepare(connection)
                with connection:
                    yield connection
        except sqlite3.Error as error:
            raise EmbedderError(f"{self.path}: not a cache of embeddings that can be used: {error}") from None

    def _prepare(self, connection: sqlite3.Connection) -> None:
        """Make the tables of a new file; EmbedderError for a file that has others."""
        if _version(connection) == VERSION:
            return
        with connection:
            connection.execute("BEGIN IMMEDIATE")  # two processes must not both make the tables
            version = _version(connection)
            if version == 0 and not connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
                for statement in filter(str.strip, TABLES.split(";")):
                    connection.execute(statement)
                connection.execute(f"PRAGMA user_version = {VERSION}")
            elif version != VERSION:
                raise EmbedderError(f"{self.path}: a SQLite file of version {version}, expected {VERSION}")


def _version(connection: sqlite3.Connection) -> int:
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()
