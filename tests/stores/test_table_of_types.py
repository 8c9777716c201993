"""The table of types in docs/stores.md: what it says of Arrow's types in Milvus and Redis is what becomes of them."""

import datetime
import json
import re
from decimal import Decimal
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from minivec.stores.base import Block
from minivec.stores.milvus.settings import ITEM_TYPES, milvus_type
from minivec.stores.redis.rows import documents_of, fields
from minivec.stores.shown import JSON, marked

PAGE = Path(__file__).parents[2] / "docs" / "stores.md"
NOW = datetime.datetime(2024, 2, 29, 12, 30, 1, 5)
TIMES = (NOW.date(), NOW.time(), NOW, NOW.astimezone(datetime.UTC))
ROWS = {  # what the first cell of a row begins with: values, and their Arrow type, if it is not what they suggest
    "`smallint`": [(7, pa.int16()), (7, pa.int32()), (7, pa.int64())],
    "`real`": [(0.5, pa.float32()), (np.float16(0.5), pa.float16()), (0.5, pa.float64())],
    "`numeric(p,s)`": [(Decimal("0.50"), None)],
    "`numeric` ": [("0.50", None)],
    "`boolean`": [(True, None), (False, None)],
    "`text`": [("é", None), ("é", pa.large_string()), ("é", pa.dictionary(pa.int32(), pa.string()))],
    "`uuid`": [("ab", None)],
    "`bytea`": [(b"\xff\0", None), (b"text", pa.large_binary())],
    "`date`": [(value, None) for value in TIMES],
    "`jsonb`, `json`": [],
    "arrays": [([1, 2], pa.list_(pa.int64())), ([0.5], pa.list_(pa.float64())), (["a"], pa.large_list(pa.string()))],
    "`jsonb` ": [({"a": [1]}, None), ([[1], [2]], None), ([{"a": 1}], None)],
    "`vector`": [([0.5, 1.0], pa.list_(pa.float32(), 2)), ([0.5, 1.0], pa.list_(pa.float32()))],
}


def said(column):
    """The cells of a column by the first cell of their rows."""
    table = re.search(r"^\| PostgreSQL \| Arrow.*?(?=\n\n)", PAGE.read_text(), re.MULTILINE | re.DOTALL)[0]
    heading, _, *rows = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in table.splitlines()]
    place = next(i for i, name in enumerate(heading) if name.strip().startswith(column))
    return {f"{row[0]} ": row[place].strip(" |") for row in rows}


def cell(column, begins):
    (found,) = [text for first, text in said(column).items() if first.startswith(begins)]
    return found


def test_every_row_of_the_table_is_compared():
    """But for NULL, which has a test of its own."""
    firsts = [first for first in said("Milvus") if first.strip() != "NULL"]
    assert all(any(first.startswith(begins) for begins in ROWS) for first in firsts) and len(firsts) == len(ROWS)


@pytest.mark.parametrize("begins", ROWS)
def test_the_fields_of_milvus(begins):
    names = re.findall("`(.*?)`", cell("Milvus", begins))
    made = [milvus_type(pa.array([value], kind).type) for value, kind in ROWS[begins]]
    if begins == "`bytea`":
        assert cell("Milvus", begins) == "left out" and made == [None, None]
    elif begins == "`vector`":
        assert names == ["ARRAY", "FLOAT"] and set(made) == {"ARRAY"} and milvus_type(pa.float32()) == "FLOAT"
    else:
        assert set(made) <= set(names) and (made or begins == "`jsonb`, `json`")
        assert begins != "`smallint`" and begins != "`real`" or set(made) == set(names)


def test_lists_that_milvus_has_no_array_for_are_json():
    assert milvus_type(pa.list_(pa.list_(pa.int64()))) == "JSON" and "JSON" not in ITEM_TYPES


def in_redis(value, kind=None, field=None):
    """What a field of a hash has of a value of Arrow; None where there is no field."""
    array = pa.array([value], kind)
    table = pa.Table.from_arrays([array], schema=pa.schema([field or pa.field("a", array.type)]))
    ((document,), _) = documents_of(Block([1], np.zeros((1, 2), np.float32), table, None), ())
    return fields(document).get(b"a")


@pytest.mark.parametrize("begins", ROWS)
def test_the_fields_of_redis(begins):
    form = cell("Redis", begins)
    for value, kind in ROWS[begins]:
        texts = {
            "text": str(value),
            "`true` or `false`": str(value).lower(),
            "text of JSON": json.dumps(value, default=str),
            "text (ISO 8601)": value.isoformat() if hasattr(value, "isoformat") else None,
            "the bytes": value,
        }
        wanted = texts[form]
        assert in_redis(value, kind) == (wanted if isinstance(wanted, bytes) else wanted.encode())


def test_json_and_null_in_redis():
    assert in_redis('{"b": 1}', field=marked("a", JSON)) == b'{"b": 1}'
    assert in_redis(None, pa.int64()) is None and cell("Redis", "NULL") == "no field"
