"""What is released: a wheel and an sdist that build, install and run alone. Needs the network (a package index)."""

import os
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """The sdist, and the wheel built from it."""
    pytest.importorskip("build")
    folder = tmp_path_factory.mktemp("dist")
    subprocess.run([sys.executable, "-m", "build", "--outdir", folder, ROOT], check=True)
    (sdist,), (wheel,) = folder.glob("*.tar.gz"), folder.glob("*.whl")
    return sdist, wheel


def environment(folder):
    """A fresh virtual environment's Python, and what it is run with: nothing of this one leaks in."""
    venv.create(folder, with_pip=True, clear=True)
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "KERAS"))}
    return folder / "bin" / "python", clean


def test_the_lock_has_all_that_development_needs():
    """requirements-dev.lock, made by the command in its first line, has every package of the extra dev pinned."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    wanted = [*project["dependencies"], *extras["dev"], *extras["test"], *extras["parquet"], *extras["report"]]
    names = {re.match(r"[\w-]+", line)[0] for line in wanted} - {"minivec"}
    locked = set(re.findall(r"^([\w-]+)==", (ROOT / "requirements-dev.lock").read_text(), re.MULTILINE))
    assert not names - locked


@pytest.mark.slow
def test_contents(built):
    sdist, wheel = built
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    assert "minivec/py.typed" in names and "minivec/datasets/glosses_e5_use.npz" in names
    assert not any(name.startswith(("tests", "benchmarks")) for name in names)
    with tarfile.open(sdist) as archive:
        names = [name.split("/", 1)[-1] for name in archive.getnames()]
    assert {
        "README.md",
        "LICENSE",
        "pyproject.toml",
        "src/minivec/algorithm/solver.py",
        "tests/test_package.py",
    } <= set(names)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["wheel", "sdist"])
def test_installed_alone_it_runs(built, tmp_path, kind):
    """The wheel in a fresh environment: version, and the whole demo; the sdist: it installs and imports."""
    python, clean = environment(tmp_path / "venv")
    package = built[kind == "wheel"]
    subprocess.run([python, "-m", "pip", "install", "-q", package], check=True, cwd=tmp_path, env=clean)

    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]

    def run(command, *arguments):
        command = [python.parent / command, *arguments]
        return subprocess.run(command, cwd=tmp_path, env=clean, check=True, stdout=subprocess.PIPE, text=True).stdout

    assert run("minivec", "--version") == f"minivec {version}\n"
    if kind == "wheel":
        run("minivec", "demo")
        assert (tmp_path / "demo.keras").stat().st_size
    else:
        assert run("python", "-c", "import minivec; print(minivec.MiniVec2VecAligner(4).embedding_dim)") == "4\n"


@pytest.mark.slow
def test_the_oldest_dependencies_that_are_allowed(tmp_path):
    """Every lower bound of pyproject.toml at once: they install together, and the tests of the model pass."""
    uv = shutil.which("uv") or pytest.skip("needs uv, which resolves to lowest versions")
    python, clean = environment(tmp_path / "venv")
    target = [uv, "pip", "install", "-q", "--python", python]
    subprocess.run(
        [*target, "--resolution", "lowest-direct", f"{ROOT}[parquet]", "pytest>=8", "hypothesis>=6.100"],
        check=True,
        env=clean,
    )
    tests = [ROOT / "tests" / name for name in ("test_runtime.py", "test_aligner.py", "test_settings.py", "formats")]
    only = "not any_array and not nulls_and_ragged"  # torch is not there, and PyArrow 15 cannot write such a file
    subprocess.run(
        [python, "-m", "pytest", "-p", "no:cacheprovider", "-W", "ignore", "-k", only, *tests],
        check=True,
        cwd=ROOT,
        env=clean,
    )
