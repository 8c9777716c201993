"""The bundled sample is what its README says."""

from importlib.resources import files

import numpy as np
import pytest

from minivec.datasets import SAMPLE_FILE, load_sample

SAMPLE = files("minivec.datasets") / SAMPLE_FILE


@pytest.fixture(scope="module")
def sample():
    return load_sample()


@pytest.fixture(scope="module")
def arrays():
    with SAMPLE.open("rb") as file, np.load(file, allow_pickle=False) as stored:
        return dict(stored)


def test_shapes(sample):
    shapes = {
        "source": (8000, 384),
        "target": (8000, 512),
        "test_source": (2000, 384),
        "test_target": (2000, 512),
    }
    for name, shape in shapes.items():
        assert getattr(sample, name).shape == shape
        assert getattr(sample, name).dtype == np.float32


def test_rows_are_distinct_and_of_norm_one(sample):
    for rows in sample[:4]:
        np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-5)
        assert len(np.unique(rows, axis=0)) == len(rows)


def test_no_gloss_is_in_two_sets(arrays):
    numbers = np.concatenate([arrays[f"{name}_rows"] for name in ("source", "target", "test")])
    assert len(np.unique(numbers)) == len(numbers) == 18_000


def test_texts_are_the_held_out_glosses(sample):
    assert len(sample.texts) == len(set(sample.texts)) == 2000
    assert all(": " in text and text.isprintable() for text in sample.texts)


def test_test_pairs_are_true_pairs(sample):
    """Glosses that are near in one space are near in the other, row by row; in another order they are not."""
    source, target = (rows[:500] - rows.mean(axis=0) for rows in (sample.test_source, sample.test_target))
    pairs = np.triu_indices(500, k=1)
    target_cosines = (target @ target.T)[pairs]
    shuffled = source[np.random.default_rng(0).permutation(500)]
    assert np.corrcoef((source @ source.T)[pairs], target_cosines)[0, 1] > 0.25
    assert abs(np.corrcoef((shuffled @ shuffled.T)[pairs], target_cosines)[0, 1]) < 0.05


def test_file_is_small_and_without_pickles(arrays):
    assert SAMPLE.stat().st_size < 12e6
    assert all(array.dtype.kind in "iuf" for array in arrays.values())


def test_licences_travel_with_the_sample():
    readme = (files("minivec.datasets") / "README.md").read_text(encoding="utf-8")
    for needed in ("WordNet 3.0 Copyright 2006 by Princeton University", "Apache-2.0", "MIT"):
        assert needed in readme
