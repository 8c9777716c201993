"""word2vec's files, text (.vec) and binary (.bin): a word and its vector a row."""

from collections.abc import Iterator
from functools import partial
from itertools import chain, islice
from pathlib import Path
from typing import IO, Any

import numpy as np

from minivec.formats.base import Block, Format, Rows

CHUNK = 1 << 20  # bytes of a file read at a time, and more than any word has


class WordRows(Rows):
    """A word2vec file, text (.vec) or binary (.bin): each row a word and its vector. Streamed, words included."""

    def __init__(self, path: Path, column: str | None = None):
        super().__init__(path)
        self._binary = path.suffix.lower() == ".bin"
        with open(path, "rb") as file:
            header = file.readline(64).split()
        if len(header) != 2 or not all(map(bytes.isdigit, header)):
            raise ValueError(f"{self}: a word2vec file starts with a line of two numbers, of words and of dimensions")
        n, width = map(int, header)
        self.describe((n, width), np.dtype("<f4"), path.stat().st_size if self._binary else None)

    def words(self, batch: Any) -> list[str]:
        """Those that stand before the vectors."""
        return list(batch)

    def read(self, size: int) -> Iterator[Block]:
        """Blocks of rows as they lie there."""
        n = self.shape[0]
        with self.damage_named(EOFError, OSError), open(self.path, "rb") as file:
            file.readline()
            rows = self._binary_rows(file) if self._binary else self._text_rows(file)
            for start in range(0, n, size):
                block = list(islice(rows, min(size, n - start)))
                if len(block) < min(size, n - start):
                    raise EOFError(f"the data end before row {n}")
                words, vectors = zip(*block, strict=True)
                yield np.stack(vectors), [word.decode(errors="replace") for word in words]

    def _text_rows(self, file: IO[bytes]) -> Iterator[tuple[bytes, np.ndarray]]:
        width = self.shape[1]
        for number, line in enumerate(file):
            word, *values = line.rsplit(None, width) or [b""]  # from the right: a word may hold a space
            try:
                vector = np.array(values, np.float32)
            except ValueError:
                values = []
            if len(values) != width:
                raise ValueError(f"{self}: row {number} (line {number + 2}) is not a word and {width} numbers")
            yield word, vector

    def _binary_rows(self, file: IO[bytes]) -> Iterator[tuple[bytes, np.ndarray]]:
        length, data = 4 * self.shape[1], b""
        while chunk := file.read(max(CHUNK, length)):
            data, place = data + chunk, 0
            while (space := data.find(b" ", place)) >= 0 and space + length < len(data):
                vector = np.frombuffer(data, "<f4", self.shape[1], space + 1)
                yield data[place:space].lstrip(b"\n"), vector  # some writers end each row with a newline
                place = space + 1 + length
            data = data[place:]
            if len(data) > 2 * max(CHUNK, length):  # or a file without a space would be searched again and again
                raise EOFError(f"a word of more than {CHUNK:,} bytes")


def _write(file: IO[bytes], blocks: Iterator[Block], rows: Rows, binary: bool) -> None:
    first = next(blocks)
    width = first[0].shape[1]
    file.write(f"{rows.shape[0]} {width}\n".encode())
    line = " ".join(["%.7g"] * width) + "\n"
    for vectors, batch in chain([first], blocks):
        for word, vector in zip(rows.words(batch), vectors, strict=True):
            name = word.encode()
            if name.split() != [name]:
                raise ValueError(
                    f"{rows}: the word {word!r} is empty or holds white space, which word2vec files cannot"
                )
            file.write(name + b" " + (vector.astype("<f4").tobytes() if binary else (line % tuple(vector)).encode()))


TEXT = Format(WordRows, partial(_write, binary=False), named=False, words=True)
BINARY = Format(WordRows, partial(_write, binary=True), named=False, words=True)
