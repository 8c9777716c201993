"""Checkpoints: what is read back, what is refused, and migrations that version 0.1.0 began."""

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from minivec.migrate import migrate
from minivec.stores.checkpoint import Checkpoint
from small import bridge

OLD = Path(__file__).parents[1] / "data" / "migration"
STATE = Checkpoint("a.npy?column=v", "0f", 90, version=[3], rows=40, position="k", in_place=True).keep(place=[7, 2])


def test_a_checkpoint_survives_json():
    assert Checkpoint.from_json(STATE.to_json(), "new") == STATE
    assert Checkpoint.from_json(json.loads(STATE.to_json()), "new") == STATE  # as a jsonb column gives it


@pytest.mark.parametrize(
    "text, words",
    [
        ("{", "damaged"),
        ("[1]", "damaged"),
        ('{"format": 99}', "format 99"),
        ('{"format": 2, "source": "a", "count": 1}', "'aligner' is missing"),
        ('{"source": "a", "aligner": "0f"}', "'count' is missing"),
        ('{"format": 2, "source": "a", "aligner": "0f", "count": 1, "colour": 1}', "'colour' is missing or unknown"),
    ],
)
def test_what_is_no_checkpoint_is_refused_in_one_line(text, words):
    with pytest.raises(ValueError, match=f"new: .*{words}") as caught:
        Checkpoint.from_json(text, "new")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("absolute", [False, True])
def test_a_migration_that_version_0_1_0_began_goes_on(absolute, tmp_path, monkeypatch):
    """It was killed behind 20 of 30 rows, and had noted the source's path as it was spelled."""
    monkeypatch.chdir(tmp_path)
    for name, copy in (("docs.npy",) * 2, ("new.npy.partial", ".new.npy.partial"), ("new.npy.migration.json",) * 2):
        shutil.copy(OLD / name, copy)
    os.utime("docs.npy", (1, 1))  # as the checkpoint knows it
    source = tmp_path / "docs.npy" if absolute else "docs.npy"
    result = migrate(source, "new.npy", bridge(), batch=5, verify="all")
    assert (result.rows, result.written, result.verified) == (30, 10, 30)
    np.testing.assert_allclose(np.load("new.npy"), bridge()(np.load("docs.npy")), atol=1e-6)


def test_a_migration_of_a_parquet_folder_that_version_0_1_0_began_goes_on(tmp_path, monkeypatch):
    """It was killed between two of its files."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(OLD / "parquet", tmp_path, dirs_exist_ok=True)
    for part in Path("docs").iterdir():
        os.utime(part, (1, 1))  # as the checkpoint knows it
    result = migrate("docs", "new", bridge(), batch=5, verify="all")
    assert result.rows == 30 and 0 < result.written < 30 and result.verified == 30
    old, new = pq.read_table("docs"), pq.read_table("new")
    assert new.column_names == ["id", "v", "text"] and new["id"] == old["id"] and new["text"] == old["text"]
    np.testing.assert_allclose(new["v"].to_pylist(), bridge()(np.array(old["v"].to_pylist())), atol=1e-6)
