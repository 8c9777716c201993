"""Two English corpora from Debian packages: WordNet's glosses, and prose from books and manuals.

`texts("glosses")` and `texts("prose")` give lists of distinct strings in a fixed, well-mixed order, so that
any prefix is a random sample of the whole. The packages come from `apt-get download` (no root needed; Debian
or Ubuntu, after one `apt-get update`) and stay in the cache folder, as do the lists: `$MINIVEC_BENCH_CACHE`,
or `minivec-bench` in `$XDG_CACHE_HOME` (`~/.cache`).
"""

import gzip
import hashlib
import os
import re
import struct
import subprocess
import zlib
from collections.abc import Iterable, Iterator
from html.parser import HTMLParser
from pathlib import Path

WORDNET = "wordnet-base"
PROSE = {  # package: the files in it that hold English text
    "r-cran-janeaustenr": "**/Rdata.rdb",  # Jane Austen's six novels
    "anarchism": "**/html/*.html",  # An Anarchist FAQ: essays on history, politics, economics
    "git-doc": "**/*.html",
    "apache2-doc": "**/manual/en/**/*.html",
}
PROSE_PER_PACKAGE = 25_000  # so that no package is more than a third of the corpus
PROSE_WORDS = range(8, 41)


def cache() -> Path:
    """Return the benchmarks' cache folder, made if missing."""
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    folder = Path(os.environ.get("MINIVEC_BENCH_CACHE") or Path(home) / "minivec-bench")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def texts(corpus: str) -> list[str]:
    """Return a corpus, "glosses" (some 117,000 rows) or "prose" (some 75,000), built on the first call."""
    builders = {"glosses": _glosses, "prose": _prose}
    if corpus not in builders:
        raise ValueError(f"corpus must be one of {', '.join(builders)}, not {corpus!r}")
    path = cache() / f"{corpus}.txt.gz"
    if not path.exists():
        lines = builders[corpus]()
        part = path.with_suffix(".part")
        part.write_bytes(gzip.compress("\n".join(lines).encode(), mtime=0))
        part.rename(path)
    return gzip.decompress(path.read_bytes()).decode().split("\n")


def _mixed(lines: Iterable[str]) -> list[str]:
    """Distinct lines, ordered by their hash: shuffled, and hardly changed by a package's next version."""
    return sorted(set(lines), key=lambda line: hashlib.sha1(line.encode()).digest())


def _glosses() -> list[str]:
    """'lemma: definition; "examples"' for every synset, the lemma being the synset's first."""
    lines = []
    for path in sorted(_package(WORDNET).glob("**/wordnet/data.*")):
        for line in path.read_text().splitlines():
            if not line.startswith("  "):  # the licence is indented
                fields, gloss = line.split(" | ", 1)
                lemma = re.sub(r"\(\w+\)$", "", fields.split(" ")[4]).replace("_", " ")
                lines.append(f"{lemma}: {' '.join(gloss.split())}")
    return _mixed(lines)


def _prose() -> list[str]:
    """Sentences of 8 to 40 words."""
    chosen: list[str] = []
    for package, pattern in PROSE.items():
        sentences: list[str] = []
        for path in sorted(path for path in _package(package).glob(pattern) if path.is_file()):
            paragraphs = _r_paragraphs(path.read_bytes()) if path.suffix == ".rdb" else _html_paragraphs(path)
            sentences.extend(sentence for paragraph in paragraphs for sentence in _sentences(paragraph))
        chosen.extend(_mixed(sentences)[:PROSE_PER_PACKAGE])
    return _mixed(chosen)


def _package(name: str) -> Path:
    """Download a Debian package and unpack it into the cache; nothing is installed."""
    folder = cache() / "debian" / name
    if not folder.exists():
        download = folder.parent / f"{name}.download"
        download.mkdir(parents=True, exist_ok=True)
        subprocess.run(["apt-get", "-q", "download", name], cwd=download, check=True)
        part = folder.with_suffix(".part")
        subprocess.run(["dpkg-deb", "-x", str(next(download.glob("*.deb"))), str(part)], check=True)
        part.rename(folder)
    return folder


def _sentences(paragraph: str) -> Iterator[str]:
    end = r"(?<=[.!?])(?<!\bMr\.)(?<!\bMrs\.)[\"')]?\s+(?=[\"'(A-Z])"
    for sentence in re.split(end, " ".join(paragraph.split())):
        sentence = sentence.strip("\"'_ ")
        if len(sentence.split()) in PROSE_WORDS and sentence[:1].isupper() and sentence[-1:] in ".!?":
            yield sentence


class _Blocks(HTMLParser):
    """The text of a page by block element, without listings."""

    skipped = frozenset({"head", "script", "style", "pre"})
    inline = frozenset("a b em i strong code tt span q cite var sup sub font".split())

    def __init__(self) -> None:
        super().__init__()
        self.paragraphs = [""]
        self.depth = 0

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.depth += tag in self.skipped
        if tag not in self.inline:
            self.paragraphs.append("")

    def handle_endtag(self, tag: str) -> None:
        self.depth -= tag in self.skipped and self.depth > 0
        if tag not in self.inline:
            self.paragraphs.append("")

    def handle_data(self, data: str) -> None:
        if not self.depth:
            self.paragraphs[-1] += data


def _html_paragraphs(path: Path) -> list[str]:
    page = _Blocks()
    page.feed(path.read_text(encoding="utf-8", errors="replace"))
    return page.paragraphs


def _r_paragraphs(database: bytes) -> Iterator[str]:
    """Paragraphs of the character vectors in an R lazy-load database: (length, zlib stream) pairs.

    A string in R's serialisation is the tag 0x..0009 (CHARSXP, with its encoding's flags), a length and the
    bytes; here each is a line of a book, and an empty one ends a paragraph.
    """
    while database:
        stream = zlib.decompressobj()
        book = stream.decompress(database[4:])
        database = stream.unused_data
        lines = []
        for tag in re.finditer(rb"\x00[\x04\x08\x0c]\x00\x09", book):
            length = struct.unpack(">i", book[tag.end() : tag.end() + 4])[0]
            lines.append(book[tag.end() + 4 : tag.end() + 4 + length].decode("utf-8", "replace"))
        yield from "\n".join(lines).split("\n\n")
