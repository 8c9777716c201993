"""What a store remembers of the rows it has handed on."""

import sqlite3
from uuid import UUID

import numpy as np
import pytest

from minivec.stores import StoreError
from minivec.stores.base import Block
from minivec.stores.seen import Prints, Seen
from moved import memory


def block(keys, value=1.0, payload=None):
    return Block(keys, np.full((len(keys), 3), value, np.float32), payload, None)


@pytest.mark.parametrize(
    "keys", [[1, 2, -3], [2**63, 2**64 - 1, 7], ["a", "é\ud800", '"'], [str(UUID(int=5)), "5", "6"]]
)
def test_rows_that_came_changed_or_went_are_found(keys):
    seen = Seen()
    seen.add(block(keys[:2], payload=["x", "y"]))
    assert seen.changes([block(keys[:1], payload=["x"]), block(keys[1:2], payload=["y"])]) == ([], [], None)
    assert seen.changes([block(keys[:2], payload=["x", "z"]), block(keys[2:])]) == (keys[1:], [], None)
    assert seen.changes([block(keys[:1], 2.0, ["x"]), block(keys[2:])]) == (keys[:1], keys[1:2], None)
    written, deleted, _ = seen.changes([])
    assert written == [] and sorted(deleted) == sorted([keys[0], keys[2]])
    assert seen.changes([]) == ([], [], None)


def test_a_number_is_another_key_than_its_text():
    prints = Prints()
    assert prints.put([5], ["x"]) == [5] and prints.put(["5"], ["x"]) == ["5"] and prints.put([5], ["x"]) == []


def test_memory_does_not_grow_with_the_rows():
    prints = Prints()
    prints.put(range(50_000), ["0123456789abcdef"] * 50_000)
    held = memory("VmRSS")
    for start in range(50_000, 350_000, 10_000):
        prints.put(range(start, start + 10_000), ["0123456789abcdef"] * 10_000)
    assert not memory("VmRSS") - held > 12  # MiB; NaN where the system does not tell


def test_a_full_temporary_folder_is_said():
    prints = Prints()
    prints._file.execute("PRAGMA max_page_count = 4")
    with pytest.raises(StoreError, match="temporary file: database or disk is full; SQLITE_TMPDIR names another"):
        prints.put(range(10_000), ["x"] * 10_000)


def test_it_goes_with_the_store():
    prints = Prints()
    file = prints._file
    del prints
    with pytest.raises(sqlite3.ProgrammingError, match="closed"):
        file.execute("SELECT 1")
