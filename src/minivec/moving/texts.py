"""Texts to embed, with the keys of their rows: from files, from stores, or from a list."""

import csv
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from minivec.arrow import is_text, pyarrow
from minivec.files import parquet_parts
from minivec.formats.base import choose, damage_named, refuse
from minivec.report.texts import read_texts
from minivec.stores import Block, Refused, Store, is_url, open_store
from minivec.stores.blocks import fetch_all
from minivec.stores.shown import FIELDS, mark
from minivec.validation import drawn

TEXT, ID = "text", "_id"  # the columns of corpus.jsonl and queries.jsonl in BEIR's layout, and the common name of texts
TITLE = "title"
LAYOUT = {
    "document": "corpus.jsonl",
    "query": "queries.jsonl",
}  # the files of a folder of BEIR or MTEB, by kind of text
FREE = {"chroma": "metadata", "qdrant": "payload"}  # by kind of store: what has any fields, not the same in all rows


class Texts(NamedTuple):
    """Rows with a text: their keys and texts, None where a row has none. ``where`` names their place in errors."""

    where: str
    keys: Sequence[Any]
    texts: Sequence[str | None]

    def drawn(self, rows: int | None, seed: int) -> "Texts":
        """``rows`` of them, drawn uniformly, in their order; all of them where there are no more, or for None."""
        if rows is None:
            return self
        chosen = drawn(len(self.keys), rows, seed)
        return Texts(self.where, [self.keys[i] for i in chosen], [self.texts[i] for i in chosen])


def texts_of(source: Any, column: str | None, rows: int | None, seed: int, kind: str = "document") -> Texts:
    """The texts of ``source``, or of ``rows`` that are drawn: a list, the path of a file, a store or its URL.

    Of a folder in BEIR's layout ``kind`` says whether they are its corpus ("document") or its queries ("query").
    Raises OSError, or ValueError saying what is wrong with the file, the store or the list.
    """
    if isinstance(source, Store) or is_url(source):
        with open_store(source) as store:
            return _stored(store, column, rows, seed)
    if isinstance(source, str | Path):
        path, _, named = str(source).partition("?column=")
        file = Path(path).expanduser()
        return _file(file / LAYOUT[kind] if in_layout(file) else file, column or named or None).drawn(rows, seed)
    texts = list(source)
    refuse(
        "texts",
        "no text (str) in",
        [i for i, t in enumerate(texts) if not isinstance(t, str | None)],
        range(len(texts)),
    )
    return Texts("texts", range(len(texts)), texts).drawn(rows, seed)


def in_layout(path: Path) -> bool:
    """Whether a path is a folder in the layout of BEIR and MTEB: with corpus.jsonl or queries.jsonl in it."""
    return any((path / name).is_file() for name in LAYOUT.values())


def _stored(store: Store, column: str | None, rows: int | None, seed: int) -> Texts:
    """The texts of a store's rows; those of rows without a vector too."""
    store.schema()
    store.skip_nulls = True
    keys = store.keys()
    chosen = keys if rows is None else [keys[i] for i in drawn(len(keys), rows, seed)]
    there: list[Any] = []
    texts: list[str | None] = []
    for block in fetch_all(store, chosen):
        there += block.keys
        texts += values(store, block, column)
    return Texts(str(store), there, texts)


def values(store: Store, block: Block, column: str | None) -> list[str | None]:
    """The texts that the rows of a ``block`` have in a column of their payload, or None where they have none.

    Without a ``column`` it is "text" or "document". Chroma's metadata and Qdrant's payload are searched as well.
    Raises ValueError where the store has no such column, or a row has something else there than a text.
    """
    names, free = store.schema().payload, _free(store, block)
    rows = [_fields(row, names, free) for row in _rows(store, block)]
    known = {name: None for row in rows for name in row}
    chosen = column or next((name for name in (TEXT, "document") if name in known), None)
    if rows and (chosen is None or not (chosen in known or free)):
        what = "name the column of the texts" if chosen is None else f"no column {chosen!r}"
        raise Refused(f"{store}: {what}; there is {', '.join(known)}")
    if not rows and len(block.keys):
        raise Refused(f"{store}: its rows have no texts, only vectors")
    found = [row.get(str(chosen)) for row in rows]
    wrong = [number for number, value in enumerate(found) if not isinstance(value, str | None)]
    store.refuse(f"no text in column {chosen!r}", wrong, block.keys)
    return found


def _fields(row: Any, names: Sequence[str], free: str | None) -> dict[str, Any]:
    """A row of ``Store.comparable`` by the names of its columns, with the fields that its part ``free`` has."""
    fields = dict(row) if isinstance(row, Mapping) else dict(zip(names, row or (), strict=False))
    more = fields.get(free or "") or {}
    if isinstance(more, str):  # a column of JSON
        del fields[str(free)]
        more = json.loads(more)
    return fields | more


def _free(store: Store, block: Block) -> str | None:
    """The part of a row that has any fields."""
    columns = getattr(block.payload, "schema", ())
    return FREE.get(store.kind) or next((column.name for column in columns if mark(column) == FIELDS), None)


def _rows(store: Store, block: Block) -> Sequence[Any]:
    return [] if block.payload is None else store.comparable(block.payload)


def _file(path: Path, column: str | None) -> Texts:
    """The texts of a file, by its suffix; of Parquet also a folder."""
    suffix = path.suffix.lower()
    if not path.exists():
        raise FileNotFoundError(f"{path}: no such file")
    if path.is_dir() or suffix == ".parquet":
        return _parquet(path, column)
    if suffix not in READERS:
        raise ValueError(f"{path}: expected texts in a file ending in {', '.join(SUFFIXES)}, or a database")
    with damage_named(path, suffix, UnicodeDecodeError, csv.Error):
        return READERS[suffix](path, column)


def _lines(path: Path, column: str | None) -> Texts:
    if column is not None:
        raise ValueError(f"{path}: its lines are texts without a name, got column {column!r}")
    texts = read_texts(path)
    return Texts(str(path), range(len(texts)), texts)


def _records(path: Path, column: str | None, rows: list[dict[str, Any]]) -> Texts:
    """The texts of rows with named fields. In BEIR's layout a title comes before its text, and rows have keys."""
    names = list({name: None for row in rows for name in row})
    chosen = _text_column(path, column, names)
    named = bool(rows) and all(ID in row for row in rows)
    texts = [row.get(chosen) for row in rows]
    refuse(
        path,
        f"no text in {chosen!r} of",
        [i for i, t in enumerate(texts) if not isinstance(t, str | None)],
        range(len(rows)),
    )
    if named and column is None and TITLE in names:
        texts = [f"{row.get(TITLE) or ''} {text or ''}".strip() for row, text in zip(rows, texts, strict=True)]
    return Texts(str(path), [row[ID] for row in rows] if named else range(len(rows)), texts)


def _text_column(path: Path, column: str | None, names: list[str]) -> str:
    if column is None and TEXT in names:
        return TEXT
    return choose(path, column, names, "column", "columns")


def _table(delimiter: str) -> Callable[[Path, str | None], Texts]:
    """A reader of tables with a header."""

    def read(path: Path, column: str | None) -> Texts:
        csv.field_size_limit(1 << 30)  # a text may be long; the default is 128 KiB
        with open(path, newline="", encoding="utf-8-sig") as file:
            reader = csv.reader(file, delimiter=delimiter, strict=True)
            header = next(reader, [])
            rows = []
            for fields in filter(None, reader):
                if len(fields) != len(header):
                    raise ValueError(
                        f"{path}: line {reader.line_num} has {len(fields)} columns, its header has {len(header)}"
                    )
                rows.append(dict(zip(header, fields, strict=True)))
        return _records(path, column, rows)

    return read


def _json_lines(path: Path, column: str | None) -> Texts:
    with open(path, encoding="utf-8-sig") as file:
        rows = list(_objects(path, file))
    return _records(path, column, rows)


def _objects(path: Path, lines: Iterator[str]) -> Iterator[dict[str, Any]]:
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            row = None
        if not isinstance(row, dict):
            raise ValueError(f"{path}: line {number} is no JSON object: {line.strip()[:40]}")
        yield row


def _parquet(path: Path, column: str | None) -> Texts:
    """A column of strings of a Parquet file, or of all files of a folder in the order of their names."""
    pa = pyarrow()
    parts = parquet_parts(path) if path.is_dir() else [path]
    if not parts:
        raise IsADirectoryError(f"{path}: a folder without .parquet files")
    texts: list[str | None] = []
    with damage_named(path, ".parquet", pa.ArrowException, OSError):
        names = [field.name for field in pa.parquet.read_schema(parts[0]) if is_text(field.type)]
        chosen = _text_column(path, column, names)
        for part in parts:
            texts += pa.parquet.ParquetFile(part).read([chosen])[chosen].to_pylist()
    return Texts(str(path), range(len(texts)), texts)


READERS: dict[str, Callable[[Path, str | None], Texts]] = {
    ".txt": _lines,
    ".csv": _table(","),
    ".tsv": _table("\t"),
    ".jsonl": _json_lines,
}
SUFFIXES = (*READERS, ".parquet")


def unsendable(text: str | None, longest: int) -> str | None:
    """Why a text is not sent to a model, or None where it is: "NULL", "empty", "too long", "not Unicode"."""
    if text is None:
        return "NULL"
    if not text.strip():
        return "empty"
    if len(text) > longest:
        return "too long"
    return "not Unicode" if re.search(r"[\ud800-\udfff]", text) else None
