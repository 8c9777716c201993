"""Each example from its command to its table and picture, on few rows. Packages and encoders come on first use."""

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[2]
TABLES = {
    "cross_lingual": ("MiniLM, English / E5, French", "word2vec, English / French"),
    "multi_modal": ("picture to name", "name to picture"),
    "domain_adaptation": ("nouns / verbs and adjectives", "glosses / prose"),
    "model_stitching": ("convolution, alone", "stitched by align, no pairs"),
}


@pytest.mark.parametrize("name", TABLES)
def test_an_example_ends_in_a_table_and_a_picture(name, tmp_path):
    if name == "cross_lingual":
        pytest.importorskip("gensim")
    command = [sys.executable, "-m", f"examples.{name}", "--rows", "600", "--output", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    for row in TABLES[name]:
        assert f"| {row} |" in done.stdout
    picture = (tmp_path / f"{name}.png").read_bytes()
    assert picture.startswith(b"\x89PNG") and len(picture) < 150_000
    if name == "model_stitching":
        assert "largest difference of a logit 0.0e+00" in done.stdout
