"""What commands print: on terminals that know ASCII only, from a thread, and in their help."""

import os
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

import supervised
from minivec import cli, datasets

A, B = supervised.spaces(8, 6, rows=400)
DATA = Path(__file__).parents[1] / "data"
COMMANDS = "align transform evaluate info demo report sample migrate adapt export translate dictionary".split()


def minivec(*arguments, before="", **environment):
    """A run of the command line in a process of its own."""
    command = [sys.executable, "-c", f"{before}\nfrom minivec.cli import main; main()", *map(str, arguments)]
    environment = {**os.environ, "KERAS_BACKEND": "jax", **environment}
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


ASCII = {"PYTHONIOENCODING": "ascii", "LC_ALL": "C"}


def test_a_name_that_the_terminal_cannot_show_is_no_error(folder):
    np.save("é.npy", A)
    run = minivec("transform", "é.npy", "-a", DATA / "aligner.keras", "-o", "ü.npy", **ASCII)
    assert (run.returncode, run.stderr) == (0, "")
    assert len(np.load("ü.npy")) == 400 and "saved to \\xfc.npy" in run.stdout
    run = minivec("transform", "ä.npy", "-a", DATA / "aligner.keras", "-o", "o.npy", **ASCII)
    assert run.returncode == 2 and run.stderr == "minivec: \\xe4.npy: no such file\n"


DEMO = """
import sys
sys.path[:0] = {paths!r}
import supervised
from minivec import datasets
supervised.install()
A, B = supervised.spaces(8, 6, rows=400)
texts = [f"gloss {{i}} " + "é" * 200 for i in range(200)]
datasets.load_sample = lambda: datasets.Sample(A[:200], B[:200], A[200:], B[200:], texts)
"""


def test_the_demo_ends_on_a_terminal_without_an_ellipsis(folder):
    before = DEMO.format(paths=[str(Path(__file__).parents[1])])
    run = minivec("demo", "-o", "here", before=before, **ASCII)
    assert run.returncode == 0, run.stderr
    assert {"demo.keras", "demo.png"} == {path.name for path in Path("here").iterdir()}
    assert "minivec align" in run.stdout and "\\u2026" not in run.stdout


def test_the_demo_saves_before_it_prints(folder, run, monkeypatch):
    supervised.install(monkeypatch)
    sample = datasets.Sample(A[:200], B[:200], A[200:], B[200:], ["text"] * 200)
    monkeypatch.setattr(datasets, "load_sample", lambda: sample)

    def broken(*_, **__):
        raise OSError("the terminal went away")

    monkeypatch.setattr("minivec.cli.demo._matches", broken)
    assert run("demo", "--output", "here")[0] == 2
    assert Path("here/demo.keras").exists() and Path("here/demo.png").exists()


def test_main_runs_in_a_thread(folder):
    ended = []

    def work():
        try:
            cli.main(["transform", "a.npy", "-a", str(DATA / "aligner.keras"), "-o", "out.npy"])
        except BaseException as error:
            ended.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert isinstance(ended[0], SystemExit) and not ended[0].code and len(np.load("out.npy")) == 400


@pytest.mark.parametrize("arguments", [["info", DATA / "aligner.keras"], ["--help"]])
def test_what_only_shows_something_loads_nothing_heavy(arguments):
    heavy = "keras jax torch tensorflow scipy faiss sklearn rich.progress".split()
    before = f"import atexit, sys; atexit.register(lambda: print(sorted(set({heavy}) & set(sys.modules))))"
    run = minivec(*arguments, before=before)
    assert run.returncode == 0 and run.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_flags_are_shown_without_a_type(run, command):
    code, out, _ = run(*filter(None, [command]), "--help")
    assert code == 0 and "--help" in out and "bool" not in out.lower().replace("boolean", "bool")


def test_help_names_the_spaces_of_a_map(run):
    for command in ("transform", "adapt"):
        help = " ".join(run(command, "--help")[1].replace("│", " ").split())
        assert "space A" not in help and "space B" not in help and "from B to A" not in help
        assert "--from" in help and "the other way" in help


def test_output_is_o_in_every_command(run):
    for command in set(COMMANDS) - {"evaluate", "info", "migrate", "translate"}:
        out = run(command, "--help")[1]
        line = next(line for line in out.splitlines() if "--output" in line)
        assert "-o" in line.split(), command
