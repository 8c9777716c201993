"""The README's examples run as they stand, on small data and with a stand-in for the fit."""

import re
import shlex
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import supervised
from minivec import cli, datasets

README = (Path(__file__).parents[2] / "README.md").read_text()


def blocks(language):
    """The blocks of a language that are run: all but those after a comment that says why not."""
    run = re.sub(r"^<!-- not run: .*? -->\n```.*?^```$", "", README, flags=re.MULTILINE | re.DOTALL)
    return re.findall(rf"^```{language}\n(.*?)^```$", run, re.MULTILINE | re.DOTALL)


@pytest.fixture
def sample(tmp_path, monkeypatch):
    """A small part of the sample, which ``load_sample`` returns, and an empty folder to work in."""
    monkeypatch.chdir(tmp_path)
    supervised.install(monkeypatch)
    source, target, test_source, test_target, texts = datasets.load_sample()
    small = datasets.Sample(
        source[:500, :64], target[:500, :48], test_source[:200, :64], test_target[:200, :48], texts[:200]
    )
    monkeypatch.setattr(datasets, "load_sample", lambda: small)
    return small


def test_python_examples(sample):
    examples = blocks("python")
    assert examples
    for example in examples:
        exec(compile(example, "README.md", "exec"), {})


def test_command_lines(sample):
    np.save("source.npy", sample.source)
    np.save("target.npy", sample.target)
    np.save("test_a.npy", sample.test_source)
    np.save("test_b.npy", sample.test_target)
    pq.write_table(pa.table({"text": sample.texts, "vector": list(sample.test_source)}), "corpus.parquet")
    lines = [line for block in blocks("bash") for line in block.splitlines() if line.startswith("minivec ")]
    assert lines
    for line in lines:
        with pytest.raises(SystemExit) as caught:
            cli.main(shlex.split(line)[1:])
        assert not caught.value.code, line
    assert pq.read_table("moved.parquet")["text"].to_pylist() == sample.texts
