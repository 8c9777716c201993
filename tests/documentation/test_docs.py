"""The documentation: every Python block runs, every command line parses, and the site builds without a warning."""

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from typer.main import get_command

import supervised
from minivec import datasets
from minivec.cli import app
from minivec.settings import OUTLOOK

ROOT = Path(__file__).parents[2]
OWN_TESTS = {  # whose Python runs in test_integration_docs, test_migrate, test_distributed and test_serve_docs
    "integrations.md",
    "vector-databases.md",
    "scaling.md",
    "serve.md",
}
PAGES = sorted([*(ROOT / "docs").rglob("*.md"), ROOT / "CONTRIBUTING.md"])  # README.md has a test of its own
FENCE = re.compile(r"^(?P<note><!-- not run: .+ -->\n+)?```(?P<language>\w+)\n(?P<code>.*?)^```$", re.M | re.S)


def name(page):
    return str(page.relative_to(ROOT))


def blocks(page, language):
    """The fenced blocks of a language, but for those that a comment excuses."""
    found = FENCE.finditer(page.read_text(encoding="utf-8"))
    return [match["code"] for match in found if match["language"] == language and not match["note"]]


def pages_with(language):
    return [pytest.param(page, id=name(page)) for page in PAGES if blocks(page, language)]


@pytest.fixture
def sample(tmp_path, monkeypatch):
    """An empty folder to work in, a small part of the sample, and a stand-in for the fit."""
    monkeypatch.chdir(tmp_path)
    supervised.install(monkeypatch)
    whole = datasets.load_sample()
    small = datasets.Sample(
        whole.source[:500, :64],
        whole.target[:500, :48],
        whole.test_source[:200, :64],
        whole.test_target[:200, :48],
        whole.texts[:200],
    )
    monkeypatch.setattr(datasets, "load_sample", lambda: small)


@pytest.mark.filterwarnings("ignore::minivec.AlignmentWarning")  # few rows and a stand-in for the fit
@pytest.mark.parametrize("page", [param for param in pages_with("python") if param.values[0].name not in OWN_TESTS])
def test_python_blocks_run_from_top_to_bottom(page, sample):
    names = {"__name__": "__main__"}
    for code in blocks(page, "python"):
        try:
            exec(compile(code, name(page), "exec"), names)
        except ModuleNotFoundError as error:
            if (error.name or "").startswith("minivec"):
                raise
            pytest.skip(f"needs {error.name}")


@pytest.mark.parametrize("page", pages_with("bash"))
def test_command_lines_parse(page):
    group = get_command(app)
    for code in blocks(page, "bash"):
        assert subprocess.run(["bash", "-n"], input=code, text=True).returncode == 0
        for line in code.replace("\\\n", " ").splitlines():
            words = shlex.split(line, comments=True)
            if words and words[0].rpartition("/")[2] == "minivec":
                assert words[1] in group.commands, line
                group.commands[words[1]].make_context(words[1], words[2:])


def test_every_page_is_in_the_navigation_and_every_image_exists():
    nav = (ROOT / "mkdocs.yml").read_text()
    for page in (ROOT / "docs").rglob("*.md"):
        assert str(page.relative_to(ROOT / "docs")) in nav, page
        for image in re.findall(r"!\[.+?\]\((.+?)\)", page.read_text(encoding="utf-8")):
            assert (page.parent / image).stat().st_size < 400_000, image


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The folder of the built documentation."""
    for package in ("mkdocs", "material", "mkdocstrings"):
        pytest.importorskip(package)
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


@pytest.mark.slow
def test_the_site_builds_without_a_warning_and_asks_nothing_of_a_network(site):
    loaded = re.compile(
        r"""<(?:script|img|iframe)[^>]*src=["']?(?:https?:)?//|<link[^>]*stylesheet[^>]*href=["']?https?:"""
    )
    for page in site.rglob("*.html"):
        assert not loaded.search(page.read_text(encoding="utf-8")), page
    api = (site / "api/index.html").read_text(encoding="utf-8")
    assert "hyperparameter given here wins" in api and api.count("doc-object") > 5


HIDDEN = """() => [...document.querySelectorAll("pre > code")].filter(code => code.scrollWidth > code.clientWidth + 1)
    .map(code => code.textContent).concat(document.body.scrollWidth > innerWidth ? ["the page itself"] : [])"""


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # Playwright's
@pytest.mark.parametrize("width", [400, 1000, 1400])
def test_no_code_of_the_site_is_cut(site, width):
    playwright = pytest.importorskip("playwright.sync_api")
    chromium = shutil.which("chromium") or pytest.skip("needs Chromium (apt install chromium)")
    with playwright.sync_playwright() as running:
        browser = running.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": width, "height": 900})
        for path in sorted(site.rglob("index.html")):
            page.goto(path.as_uri())
            assert page.evaluate(HIDDEN) == [], path
        browser.close()


def test_vector_databases_come_first():
    entries = re.findall(r"^ +- (.+?):", (ROOT / "mkdocs.yml").read_text().partition("  - Use:")[2], re.MULTILINE)
    assert entries[0] == "Vector databases"


@pytest.mark.parametrize("page", ["README.md", "docs/confidence.md"])
def test_pages_say_how_many_rows_as_fits_do(page):
    lines = [f"| {f'{rows:,} and more' if rows else 'fewer'} | {words} |" for rows, words in OUTLOOK.items()]
    assert "\n".join(lines) in (ROOT / page).read_text()
