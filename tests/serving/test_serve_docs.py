"""What docs/serve.md and the Dockerfile say is so."""

import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest
from served_map import serving
from typer.main import get_command

from minivec.cli import app
from small import both_ways

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/serve.md").read_text(encoding="utf-8")
DOCKERFILE = [line for line in (ROOT / "Dockerfile").read_text().splitlines() if not line.startswith("#")]


def blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


def test_the_page_has_every_option_and_every_metric(client):
    options = {name for param in get_command(app).commands["serve"].params for name in param.opts} - {"--help"}
    assert not {name for name in options if f"`{name}`" not in PAGE}
    counted = set(re.findall(r"^# TYPE (minivec_\w+?)(?:_created)? ", client.get("/metrics").text, re.MULTILINE))
    assert counted == set(re.findall(r"^\| `(minivec_\w+)` \|", PAGE, re.MULTILINE))


def test_the_python_block_runs(tmp_path, monkeypatch, bridge):
    pytest.importorskip("starlette", reason="needs starlette")
    monkeypatch.chdir(tmp_path)
    bridge.save("bridge.safetensors")
    (code,) = blocks("python")
    exec(compile(code, "serve.md", "exec"), {})


@pytest.mark.skipif(not shutil.which("curl"), reason="needs curl")
def test_the_calls_by_curl_work(tmp_path, bridge, upstream):
    np.arange(8, dtype="<f4").tofile(tmp_path / "rows.f32")
    calls = [block for block in blocks("bash") if block.startswith("curl ")]
    assert len(calls) == 2
    with serving(bridge, upstream.url) as client, serving(both_ways(dA=4, dB=8), upstream.url) as narrow:
        for call, served in zip(calls, (client, narrow), strict=True):
            call = call.replace("http://localhost:8000", str(served.base_url).rstrip("/"))
            done = subprocess.run(
                ["bash", "-ec", f"KEY=k\n{call}"], cwd=tmp_path, capture_output=True, text=True, check=True
            )
            assert '"error"' not in done.stdout and '"data"' in done.stdout + '"data"' * (served is narrow)
    assert np.fromfile(tmp_path / "mapped.f32", "<f4").shape == (16,)


def words(instruction):
    """The arguments of the Dockerfile's lines with an instruction, line by line."""
    return [line.partition(" ")[2] for line in DOCKERFILE if line.split()[0] == instruction]


def test_the_dockerfile_copies_what_is_there_and_installs_an_extra_that_exists():
    copied = [path for line in words("COPY") for path in line.split()[:-1]]
    assert copied and all((ROOT / path).exists() for path in copied)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert {project["project"]["readme"], *project["project"]["license-files"]} <= set(copied)
    (extra,) = re.findall(r"pip install --no-cache-dir '\.\[(\w+)\]'", "\n".join(words("RUN")))
    assert extra in project["project"]["optional-dependencies"]
    (user,) = words("USER")
    assert f"useradd --system {user}" in "\n".join(words("RUN")) and user != "root"


def test_the_command_of_the_container_parses():
    (entry,), (port,) = words("ENTRYPOINT"), words("EXPOSE")
    command = [*shlex.split(entry.strip("[]").replace(",", " ")), "-a", "bridge.keras", "--upstream", "http://m/v1"]
    assert command[:2] == ["minivec", "serve"]
    given = get_command(app).commands["serve"].make_context("serve", command[2:]).params
    assert (given["host"], str(given["port"])) == ("0.0.0.0", port)
    assert f"127.0.0.1:{port}/health" in words("HEALTHCHECK")[0]


@pytest.mark.slow
def test_what_the_dockerfile_copies_is_enough_to_install(tmp_path):
    for line in words("COPY"):
        for path in line.split()[:-1]:
            copy = shutil.copytree if (ROOT / path).is_dir() else shutil.copy
            copy(ROOT / path, tmp_path / path)
    wheel = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", str(tmp_path / "wheel"), "."]
    subprocess.run(wheel, cwd=tmp_path, check=True)
    assert list((tmp_path / "wheel").glob("minivec-*.whl"))


def test_without_the_extra_the_error_says_how_to_install_it():
    code = """
import sys
sys.modules["starlette"] = None
try:
    import minivec.serving
except ImportError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "needs starlette: pip install '.[serve]'" in done.stdout


def test_the_load_test_counts_what_it_asks(bridge):
    """Its servers and its clients, for a second."""
    pytest.importorskip("uvicorn", reason="needs uvicorn")
    line = [sys.executable, "-m", "benchmarks.load_test", "--seconds", "4", "--rate", "160"]
    done = subprocess.run(line, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    behave, misbehave = done.stdout.splitlines()[2:4]
    assert re.fullmatch(r"\| behave \| .* \| \d+ plain 200 \|", behave)
    assert {"failing 200", "slow 200", "gone left", "plain 200"} <= set(re.findall(r"\d+ (\w+ \w+)", misbehave))
    assert "in flight at the end: 0" in done.stdout and "exit codes: 0 (serve)" in done.stdout
