"""CONTRIBUTING names every room of the house, and every command that it names is there."""

import re
import tomllib
from pathlib import Path

import minivec

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
NAMED = set(re.findall(r"`([\w./-]+)`", PAGE))


def test_every_folder_and_module_of_the_package_is_on_the_map():
    package = ROOT / "src/minivec"
    rooms = {f"{path.relative_to(package)}/" for path in package.rglob("*") if path.is_dir()}
    rooms = {room for room in rooms if "__pycache__" not in room}
    modules = {path.name for path in package.glob("*.py") if path.name != "__init__.py"}
    assert not (rooms | modules) - NAMED


def test_every_other_folder_with_code_is_on_the_map():
    assert not {f"{path.parent.name}/" for path in ROOT.glob("*/*.py")} - NAMED
    assert not {f"tests/{path.parent.name}/" for path in ROOT.glob("tests/*/*.py")} - NAMED


def test_the_targets_of_make_are_explained():
    makefile = (ROOT / "Makefile").read_text()
    targets = set(re.findall(r"^([a-z-]+):", makefile, re.MULTILINE))
    assert targets == {"help", "install", "test", "test-all", "lint", "types", "docs", "bench", "demo"}
    assert set(re.findall(r"^([a-z-]+):.*##", makefile, re.MULTILINE)) == targets


def test_one_version_everywhere():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    citation = re.search(r"^version: (.+)$", (ROOT / "CITATION.cff").read_text(), re.MULTILINE)[1]
    newest = re.search(r"^## (.+)$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)[1]
    assert project == citation == newest == minivec.__version__
