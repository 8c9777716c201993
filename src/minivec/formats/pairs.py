"""Known pairs in a CSV file."""

import csv
from pathlib import Path

import numpy as np


def read_pairs(path: str | Path) -> np.ndarray:
    """Known pairs (m, 2) of a CSV file: two columns of row numbers, from 0; a header may come first.

    Raises OSError for no such file, and ValueError naming the line that holds anything else.
    """
    path, pairs = Path(path), []
    with open(path, newline="", encoding="utf-8-sig") as file:
        try:
            for fields in filter(None, reader := csv.reader(file)):
                if len(fields) != 2:
                    raise ValueError(f"{path}: line {reader.line_num} has {len(fields)} columns, expected 2: {fields}")
                if all(field.strip().isdecimal() for field in fields):
                    pairs.append([int(field) for field in fields])
                elif reader.line_num > 1 or not all(field.strip()[:1].isalpha() for field in fields):
                    raise ValueError(f"{path}: line {reader.line_num} has no two row numbers: {','.join(fields)}")
        except (csv.Error, UnicodeDecodeError) as error:
            raise ValueError(f"{path}: not a CSV file: {error}") from error
    if not pairs:
        raise ValueError(f"{path}: no pairs in it")
    return np.array(pairs)
