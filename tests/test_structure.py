"""The rules that keep the code readable: imports without circles, and short files, functions and signatures."""

import ast
import tomllib
from pathlib import Path

from minivec.version import __version__

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src"
FILES = sorted(SOURCE.glob("minivec/**/*.py"))
LINES, FUNCTION, POSITIONAL = 350, 60, 6


def module(path):
    """The dotted name of a file's module."""
    parts = path.relative_to(SOURCE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


TREES = {module(path): ast.parse(path.read_text()) for path in FILES}


def imported(name):
    """The modules of the package that a module imports anywhere: in functions and for type checking too."""
    for node in ast.walk(TREES[name]):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in TREES)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{name}: a relative import"
            for alias in node.names:
                submodule = f"{node.module}.{alias.name}"
                yield from (target for target in [submodule if submodule in TREES else node.module] if target in TREES)


def functions():
    """Every function or method of the package, with the name of its module."""
    for name, tree in TREES.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                yield f"{name}.{node.name}", node


def circle(graph):
    """A list of modules each of which imports the next, and the last of which imports the first; None without one."""
    done = set()

    def visit(name, path):
        if name in path:
            return path[path.index(name) :]
        if name in done:
            return None
        found = next(filter(None, (visit(target, [*path, name]) for target in sorted(graph[name]))), None)
        done.add(name)
        return found

    return next(filter(None, (visit(name, []) for name in graph)), None)


def test_a_circle_is_found():
    assert circle({"a": {"b"}, "b": {"c"}, "c": {"b"}}) == ["b", "c"]
    assert circle({"a": {"b", "c"}, "b": {"c"}, "c": set()}) is None


def test_no_modules_import_each_other_in_a_circle():
    assert circle({name: set(imported(name)) for name in TREES}) is None


def test_no_file_is_long():
    long = {module(path) for path in FILES if len(path.read_text().splitlines()) > LINES}
    assert not long


def test_no_function_is_long():
    long = {name for name, node in functions() if node.end_lineno - node.lineno + 1 > FUNCTION}
    assert not long


def test_no_function_has_many_positional_arguments():
    many = {name for name, node in functions() if len(node.args.posonlyargs + node.args.args) > POSITIONAL}
    assert not many


def test_the_version_is_that_of_the_project():
    assert tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"] == __version__
