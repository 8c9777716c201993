"""Queries and relevance judgements, from files."""

import csv
import json
from pathlib import Path

from minivec.moving.texts import LAYOUT
from minivec.report.texts import read_texts


def read_queries(path: str | Path) -> dict[str, str]:
    """The texts of queries, by name.

    A .jsonl file has an object with ``_id`` and ``text`` a line (BEIR). A .tsv file has a name and a text a line.
    Another file is read as ``minivec.report`` reads texts, a query a line; their names are their numbers, from 0.
    Of a folder in the layout of BEIR and MTEB they are those of its queries.jsonl that its judgements name.
    Raises OSError, or ValueError naming the line.
    """
    path = Path(path)
    if path.is_dir():
        judged = read_relevance(path)
        asked = {name: text for name, text in read_queries(path / LAYOUT["query"]).items() if name in judged}
        if not asked:
            raise ValueError(f"{path}: none of its queries is judged in {_qrels(path)}")
        return asked
    if path.suffix.lower() not in (".jsonl", ".tsv"):
        texts = read_texts(path)
        named = [(str(i), text) for i, text in enumerate(texts)]
    elif path.suffix.lower() == ".tsv":
        named = [(fields[0], fields[1]) for fields in _lines(path, (2,))]
    else:
        named = []
        for number, line in enumerate(read_texts(path), 1):
            try:
                entry = json.loads(line)
                named.append((str(entry["_id"]), str(entry["text"])))
            except (ValueError, KeyError, TypeError):
                raise ValueError(f"{path}: line {number} is no JSON object with _id and text: {line[:80]}") from None
    named = [(name, " ".join(text.split())) for name, text in named]
    empty = [name for name, text in named if not text]
    if empty or not named:
        raise ValueError(f"{path}: the query {empty[0]} is empty" if empty else f"{path}: no queries in it")
    if len(queries := dict(named)) < len(named):
        twice = next(name for i, (name, _) in enumerate(named) if name in dict(named[:i]))
        raise ValueError(f"{path}: two queries have the name {twice}")
    return queries


def read_relevance(path: str | Path) -> dict[str, dict[str, float]]:
    """Judgements by query and document: TREC's qrels (query, 0, document, gain), or BEIR's (query, document, gain).

    Fields are separated by tabs or spaces; BEIR's header is skipped. Of a folder in the layout of BEIR and MTEB they
    are those of qrels/test.tsv, or of the only file in qrels. Raises OSError, or ValueError naming the line.
    """
    path = _qrels(Path(path)) if Path(path).is_dir() else Path(path)
    judged: dict[str, dict[str, float]] = {}
    for number, fields in enumerate(_lines(path, (3, 4)), 1):
        try:
            gain = float(fields[-1])
        except ValueError:
            if number == 1:
                continue
            raise ValueError(f"{path}: line {number} has no number for a gain: {fields[-1]}") from None
        judged.setdefault(fields[0], {})[fields[-2]] = gain
    if not judged:
        raise ValueError(f"{path}: no judgements in it")
    return judged


def _qrels(folder: Path) -> Path:
    """The file of a folder's judgements."""
    files = sorted((folder / "qrels").glob("*.tsv"))
    chosen = [file for file in files if file.name == "test.tsv"] or files
    if len(chosen) != 1:
        there = ", ".join(file.name for file in files) or "no .tsv file"
        raise ValueError(f"{folder}: expected judgements in qrels/test.tsv; there is {there}")
    return chosen[0]


def _lines(path: Path, counts: tuple[int, ...]) -> list[list[str]]:
    """The fields of each line, as many as one of ``counts``; of two, the second may have spaces."""
    lines = []
    for number, line in enumerate(read_texts(path), 1):
        fields = next(csv.reader([line], delimiter="\t", quoting=csv.QUOTE_NONE), []) if "\t" in line else line.split()
        if line.strip() and len(fields) not in counts:
            raise ValueError(
                f"{path}: line {number} has {len(fields)} fields, expected {' or '.join(map(str, counts))}"
            )
        if line.strip():
            lines.append(fields)
    return lines
