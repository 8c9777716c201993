"""Install lines: nothing is on a package index, so each must work in a copy of the repository."""

import re
import tomllib
from pathlib import Path

import pytest

from minivec.extras import missing

ROOT = Path(__file__).parents[2]
EXTRAS = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
FILES = ("README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md", "Makefile", ".ci/run")
FOLDERS = ("docs", "src", "examples", "benchmarks", ".github")
TEXTS = [ROOT / name for name in FILES]
TEXTS += [path for folder in FOLDERS for path in (ROOT / folder).rglob("*.*")]
LINE = re.compile(r"pip install [^&`\n]*")


def install_lines(path):
    return LINE.findall(path.read_text(encoding="utf-8")) if path.suffix in (".md", ".py", ".yml", "") else []


@pytest.mark.parametrize("path", [pytest.param(path, id=str(path.relative_to(ROOT))) for path in TEXTS])
def test_no_line_installs_minivec_from_an_index(path):
    if path.name != "extras.py":  # where a message gives both forms
        assert not [line for line in install_lines(path) if re.search(r"\bminivec\b", line)]


def test_every_extra_that_is_named_exists():
    named = {extra for path in TEXTS for line in install_lines(path) for extra in re.findall(r"\.\[([\w,-]+)\]", line)}
    assert {"databases", "test", "report"} <= {name for extra in named for name in extra.split(",")} <= set(EXTRAS)


def test_a_message_says_both_forms():
    assert str(missing("reports need Bokeh", "report")) == (
        "reports need Bokeh: pip install '.[report]' in a copy of the repository, "
        "or pip install 'minivec[report]' from a package index"
    )
