"""Words and their vectors: word2vec's files, text (.vec) and binary (.bin), GloVe's (.txt), and tables (.tsv)."""

from collections import Counter
from collections.abc import Iterator
from functools import partial
from itertools import chain, islice, takewhile
from mmap import ACCESS_READ, mmap
from pathlib import Path
from typing import IO, Any

import numpy as np

from minivec.formats.base import Block, Format, Rows

CHUNK = 1 << 20  # bytes of a text that are read together, and the most that a word has
BOM = b"\xef\xbb\xbf"  # some editors write it in front of UTF-8
LOOKED_AT = 100  # lines of a file without a header that tell its width

Row = tuple[bytes, np.ndarray]


class WordRows(Rows):
    """Rows of a word and its vector. Words that are not UTF-8 keep their bytes, as surrogates (PEP 383)."""

    def words(self, batch: Any) -> list[str]:
        """The words in front of the vectors."""
        return list(batch)

    def _blocks(self, rows: Iterator[Row], size: int) -> Iterator[Block]:
        with self.damage_named(EOFError, OSError):
            while block := list(islice(rows, size)):
                words, vectors = zip(*block, strict=True)
                yield np.stack(vectors), [word.decode(errors="surrogateescape") for word in words]

    def _header(self, line: bytes) -> tuple[int, int] | None:
        """The numbers of words and of dimensions in a file's first line, if it holds these."""
        fields = line[:64].split()
        return (int(fields[0]), int(fields[1])) if len(fields) == 2 and all(map(bytes.isdigit, fields)) else None

    def _check_count(self, claimed: int, count: int) -> None:
        if claimed != count:
            raise ValueError(f"{self}: its first line counts {claimed} words, and it has {count}")


class TextRows(WordRows):
    """A line a row. The first line may hold the numbers of words and of dimensions; GloVe's files have none."""

    def __init__(self, path: Path, column: str | None = None):
        super().__init__(path)
        self._tab = b"\t" if path.suffix.lower() == ".tsv" else None
        with open(path, "rb") as file:
            start = file.read(CHUNK).removeprefix(BOM)
        lines = start.split(b"\n", LOOKED_AT)[:-1] or [start]
        header = self._header(lines[0])
        self._skipped = int(header is not None)
        if header is None:
            header = self._lines(), self._width(lines)
        elif (width := self._numbers(lines[1:])) > header[1]:  # which words would swallow
            raise ValueError(f"{self}: its first line says {header[1]} dimensions, and its rows have {width}")
        self.describe(header, np.dtype("<f4"))
        self._check_count(header[0], self._lines() - self._skipped)

    def read(self, size: int) -> Iterator[Block]:
        """Blocks of rows as they lie there, each with its words."""
        with open(self.path, "rb") as file:
            if file.read(len(BOM)) != BOM:
                file.seek(0)
            yield from self._blocks(islice(self._rows(islice(file, self._skipped, None)), self.shape[0]), size)

    def _lines(self) -> int:
        """The lines of the file, without empty ones at its end."""
        count, last = 0, b"\n"
        with open(self.path, "rb") as file:
            while chunk := file.read(CHUNK):
                full = chunk.rstrip(b"\r\n")
                if full:
                    count += last.count(b"\n") + full.count(b"\n")
                    last = b""
                last += chunk[len(full) :]
        return count

    def _numbers(self, lines: list[bytes]) -> int:
        """How many numbers end most of these lines, behind a word."""
        fields = (line.split(self._tab)[1:] for line in lines if line.strip())
        numbers = Counter(sum(1 for _ in takewhile(_is_number, reversed(values))) for values in fields)
        return max(numbers, key=lambda count: (numbers[count], -count), default=0)

    def _width(self, lines: list[bytes]) -> int:
        """The dimensions of a file without a header."""
        width = self._numbers(lines)
        if not width:
            raise ValueError(
                f"{self}: it starts neither with a line of two numbers, of words and of dimensions, nor with a word "
                "and its numbers"
            )
        if all(_is_number(line.split(self._tab)[0]) for line in lines if line.strip()):
            raise ValueError(f"{self}: numbers without words, which a .npy file holds: np.save of np.loadtxt")
        return width

    def _rows(self, lines: Iterator[bytes]) -> Iterator[Row]:
        width = self.shape[1]
        for number, line in enumerate(lines):
            word, values = self._split(line, width)
            try:
                vector = np.array(values, np.float32)
            except ValueError:
                values = []
            if len(values) != width:
                where = f"row {number} (line {number + 1 + self._skipped})"
                raise ValueError(f"{self}: {where} is not a word and {width} numbers")
            yield word, vector

    def _split(self, line: bytes, width: int) -> tuple[bytes, list[bytes]]:
        """The word and what follows it, from the right: a word may hold a space, or be white space."""
        word, *values = line.rstrip(b"\r\n").rsplit(self._tab, width) or [b""]
        if self._tab is None and len(values) == width - 1 and line[:1].isspace():
            values = [word, *values]
            word = line[: line.index(values[0]) - 1]
        return word, values


class BinaryRows(WordRows):
    """A word, a space and the bytes of float32 numbers a row, behind a line of two numbers."""

    def __init__(self, path: Path, column: str | None = None):
        super().__init__(path)
        with open(path, "rb") as file:
            header, self._start = self._header(file.readline(64)), file.tell()
        if header is None:
            raise ValueError(f"{self}: a word2vec file starts with a line of two numbers, of words and of dimensions")
        self.describe(header, np.dtype("<f4"), path.stat().st_size)
        with self.damage_named(EOFError, OSError):
            self._check_count(header[0], sum(1 for _ in self._rows()))

    def read(self, size: int) -> Iterator[Block]:
        """Blocks of rows as they lie there, each with its words."""
        return self._blocks(self._rows(), size)

    def _rows(self) -> Iterator[Row]:
        width, place = self.shape[1], self._start
        with open(self.path, "rb") as file:
            data = mmap(file.fileno(), 0, access=ACCESS_READ)
        while place < len(data):
            space = data.find(b" ", place, place + CHUNK)
            if space < 0:
                rest = data[place : place + CHUNK]
                if not rest.strip(b"\r\n"):
                    return
                what = f"a word of more than {CHUNK:,} bytes" if len(rest) == CHUNK else "the data end within a word"
                raise EOFError(what)
            end = space + 1 + 4 * width
            if end > len(data):
                raise EOFError("the data end within a vector")
            word = data[place:space].lstrip(b"\n")  # some writers end each row with a newline
            yield word, np.frombuffer(data, "<f4", width, space + 1)
            place = end


def _is_number(field: bytes) -> bool:
    try:
        float(field)
    except ValueError:
        return False
    return True


def _write(
    file: IO[bytes],
    blocks: Iterator[Block],
    rows: Rows,
    refused: bytes,
    *,
    separator: bytes = b" ",
    header: bool = True,
) -> None:
    """Write text, or, with no ``separator``, binary rows; words cannot hold the bytes ``refused``."""
    first = next(blocks)
    width = first[0].shape[1]
    if header:
        file.write(f"{rows.shape[0]} {width}\n".encode())
    line = separator + separator.join([b"%.7g"] * width) + b"\n"
    for vectors, batch in chain([first], blocks):
        for word, vector in zip(rows.words(batch), vectors.astype("<f4", copy=False), strict=True):
            name = word.encode(errors="surrogateescape")
            if any(byte in refused for byte in name) or (name.strip() and name != name.rstrip()):
                raise ValueError(f"{rows}: the word {word!r} holds white space that this kind of file cannot keep")
            file.write(name + (line % tuple(vector) if separator else b" " + vector.tobytes()))


def _text(refused: bytes, **options: Any) -> Format:
    return Format(TextRows, partial(_write, refused=refused, **options), named=False, words=True)


TEXT = _text(b"\r\n")
GLOVE = _text(b" \t\r\n\v\f", header=False)
TABLE = _text(b"\t\r\n", separator=b"\t", header=False)
BINARY = Format(BinaryRows, partial(_write, refused=b" \n", separator=b""), named=False, words=True)
