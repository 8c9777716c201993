"""The report in a real browser, from disk: no error, no network, and what it offers works. Run with -m slow."""

import io
import re
import shutil

import numpy as np
import pytest
from matplotlib.image import imread

import supervised
from minivec import LinearMap, MiniVec2VecAligner
from minivec.moving.probe import probe
from minivec.report import Report, story

playwright = pytest.importorskip("playwright.sync_api")
pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")
pytest.importorskip("bokeh")
BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(BROWSER is None, reason="needs Chromium (apt install chromium)"),
    # Playwright's loop runs in this thread for the whole module.
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]

EVIL = "</script><script>alert(1)</script><img src=x onerror=alert(2)>"
A, B = supervised.spaces(16, 16, rows=600)
TEXTS = [f"row of {'birds' if i % 3 else 'fishes'} number {i}" for i in range(599)] + [EVIL]


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """The addresses of reports on disk: of a good map with true pairs, of a good and of a failed one without."""
    folder = tmp_path_factory.mktemp("report")
    with pytest.MonkeyPatch.context() as monkeypatch:
        supervised.install(monkeypatch)
        model = MiniVec2VecAligner(16)
        model.align(A, B)
    B_with_misses = B.copy()
    B_with_misses[500:550] = B[50:100]  # so that 50 rows find another partner than their own
    failed = {**model.history, "verdict": "failed", "confidence": 0.0, "causes": ["too few rows"]}
    reports = {
        "paired": model.report(A, B_with_misses, source_texts=TEXTS, paired=True),
        "unpaired": model.report(A, B[::-1].copy(), source_texts=TEXTS, target_texts=TEXTS[::-1]),
        "failed": Report.of(LinearMap(model.map.weights, failed), A, B, source_texts=TEXTS, target_texts=TEXTS),
    }
    for name, report in reports.items():
        report.save(folder / f"{name}.html")
    return {name: (folder / f"{name}.html").as_uri() for name in reports}


@pytest.fixture(scope="module")
def browser():
    with playwright.sync_playwright() as running:
        yield running.chromium.launch(
            executable_path=BROWSER, args=["--no-sandbox", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"]
        )


@pytest.fixture
def open_page(browser, files):
    """Opens the report; when the test ends, nothing must have gone wrong and nothing been asked of a network."""
    wrong, contexts = [], []

    def open_page(width=1280, theme="light", which="paired", **options):
        file = files[which]
        contexts.append(browser.new_context(viewport={"width": width, "height": 900}, color_scheme=theme, **options))
        page = contexts[-1].new_page()
        page.on("console", lambda message: message.type in ("error", "warning") and wrong.append(message.text))
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("dialog", lambda dialog: wrong.append(f"dialog {dialog.message}") or dialog.dismiss())
        page.on(
            "request",
            lambda request: (
                request.url == file or request.url.startswith(("data:", "blob:")) or wrong.append(request.url)
            ),
        )
        page.goto(file)
        page.wait_for_selector("html[data-ready]")
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert wrong == []


def contrast(one, other):
    """The contrast ratio of two CSS colours (WCAG 2.1)."""

    def luminance(color):
        values = np.array([float(v) for v in re.findall(r"[\d.]+", color)[:3]]) / 255
        return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4) @ (0.2126, 0.7152, 0.0722)

    low, high = sorted([luminance(one), luminance(other)])
    return (high + 0.05) / (low + 0.05)


def test_charts_are_drawn_and_the_user_s_markup_is_text(open_page):
    page = open_page()
    assert page.locator(".bk-Figure").count() == 8
    page.fill("#query", "599")
    playwright.expect(page.locator("#rows .pick")).to_have_count(1)
    assert page.locator("#rows .pick").inner_text() == EVIL and page.locator("#rows img").count() == 0


def test_neither_side_is_painted_over_the_other(open_page):
    """Where a point of A and a point of B lie on each other, the colour tells which one is above."""
    page = open_page(which="unpaired")
    page.wait_for_timeout(500)
    pixels = imread(io.BytesIO(page.locator("#chart-after").screenshot()))[..., :3]
    overlap = pixels.sum(-1) < 1.76
    blue, orange = (overlap & (pixels[..., i] > pixels[..., 2 - i] + 0.04) for i in (2, 0))
    assert 0.5 < blue.sum() / orange.sum() < 2


def test_hover_shows_the_text(open_page):
    page = open_page()
    picture = page.locator("#chart-after")
    picture.scroll_into_view_if_needed()
    box = picture.bounding_box()
    tip = page.locator(".bk-tooltip-content")
    for step in range(40):  # over the middle, where the points are
        page.mouse.move(box["x"] + box["width"] * (0.3 + 0.01 * step), box["y"] + box["height"] * 0.5)
        page.wait_for_timeout(60)
        if any("number" in text for text in tip.all_inner_texts()):
            break
    assert re.search(r"[AB]\s+row of (birds|fishes) number \d+", " ".join(tip.all_inner_texts()))


def test_search_filter_and_order(open_page):
    page = open_page()
    count, rows = page.locator("#count"), page.locator("#rows tr")
    assert count.inner_text() == "600 rows, the first 10 shown" and rows.count() == 10
    page.click("#more")
    assert rows.count() == 20
    page.fill("#query", "FISHES number 3")
    page.wait_for_selector("#rows mark")
    assert all("fishes" in text for text in rows.all_inner_texts())
    page.fill("#query", "no such text")
    page.wait_for_selector("text=0 rows")
    page.fill("#query", "")
    page.wait_for_selector("text=600 rows")
    page.select_option("#which", "bad")
    assert 50 <= int(count.inner_text().split()[0]) <= 100
    page.select_option("#order", "rank")
    ranks = [int(text) for text in page.locator("#rows td:nth-child(4)").all_inner_texts()]
    assert ranks == sorted(ranks, reverse=True) and ranks[0] > 1


def test_a_row_is_shown_in_the_picture_by_keyboard(open_page):
    page = open_page()
    page.focus("#rows tr:nth-child(3) .pick")
    page.keyboard.press("Enter")
    assert page.locator("#detail").inner_text().count("number") == 2
    assert page.evaluate("Bokeh.documents[0].roots()[1].renderers.at(-1).data_source.data.x1.length") == 2


def test_zoom_and_colours(open_page):
    page = open_page()
    width = "(() => { const r = Bokeh.documents[0].roots()[1].x_range; return r.end - r.start; })()"
    before = page.evaluate(width)
    page.click("[data-zoom='0.7']")
    assert page.evaluate(width) == pytest.approx(0.7 * before)
    page.click("[data-zoom='0']")
    assert page.evaluate(width) == pytest.approx(before)
    page.click("[data-color=cluster]")
    assert page.locator("#legend-cluster").is_visible() and not page.locator("#legend-space").is_visible()
    colors = "new Set(Bokeh.documents[0].roots()[1].renderers[0].data_source.data.color).size"
    assert page.evaluate(colors) == 8
    page.click("[data-color=space]")
    assert page.evaluate(colors) == 2


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_both_themes_can_be_read(open_page, theme):
    page = open_page(theme=theme)
    assert page.locator("html").get_attribute("data-theme") == theme
    style = "(e, p) => getComputedStyle(e)[p]"
    card = page.locator("#picture").evaluate(style, "backgroundColor")
    for selector in ("h1", ".over", ".hint", "figcaption", ".tiles .what", ".also", ".ok", "thead th", ".eg"):
        ink = page.locator(selector).first.evaluate(style, "color")
        assert contrast(ink, card) >= 4.5, selector
    axis = "Bokeh.documents[0].roots().find((p) => p.name === 'cosines').below[0].major_label_text_color"
    other = page.evaluate(axis + ".value || " + axis)
    page.click("#theme")
    assert page.locator("html").get_attribute("data-theme") != theme
    assert page.evaluate(axis + ".value || " + axis) != other


OUTSIDE = """() => [...document.querySelectorAll("body *")].filter((e) => {
  const box = e.getBoundingClientRect(), style = getComputedStyle(e);
  if (!box.width || !box.height || style.clipPath !== "none" || e.closest(".skip, .bk-Figure")) return false;
  const cut = style.overflowX !== "visible" && style.textOverflow !== "ellipsis" && e.scrollWidth > e.clientWidth + 1;
  return box.left < 0 || box.right > innerWidth + 0.5 || cut;
}).map((e) => e.tagName + "." + e.className + " " + e.textContent.slice(0, 40))"""


@pytest.mark.parametrize("which", ["paired", "unpaired", "failed"])
@pytest.mark.parametrize("width", [320, 400, 1000, 1400])
def test_nothing_is_cut_or_outside_of_the_page(open_page, width, which):
    """No element is wider than the viewport, and none hides a part of itself behind a scroll bar."""
    page = open_page(width=width, which=which)
    assert page.evaluate(OUTSIDE) == []
    assert page.evaluate("document.documentElement.scrollWidth") == width


@pytest.mark.parametrize("width", [400, 1000, 1400])
def test_what_stands_before_another_match_keeps_its_distance(open_page, width):
    page = open_page(width=width)
    page.select_option("#which", "bad")
    gaps = page.evaluate("""() => [...document.querySelectorAll(".also")].map((e) => {
      const [name, text] = [e.firstChild, e.lastChild].map((node) => {
        const range = document.createRange();
        range.selectNodeContents(node);
        return range.getBoundingClientRect();
      });
      return [e.firstChild.textContent, text.left - name.right];
    })""")
    assert {"by CSLS", "partner"} & {name for name, _ in gaps} and min(gap for _, gap in gaps) >= 6


def test_a_failed_map_shows_no_green(open_page):
    page = open_page(which="failed")
    page.select_option("#which", "good")
    assert page.locator("#rows tr").count() == 10 and page.locator(".ok").count() == 0
    assert "✓" not in page.locator("#matches").inner_text()
    assert "no evidence" in page.locator("#matches").inner_text()


MIGRATION = {
    "destination": "public.documents_of_the_shop_new.embedding",
    "source": "postgresql://shop@database.example.com:5432/shop?table=documents_of_the_shop",
    "state": "complete",
    "rows": 12_000,
    "count": 12_000,
    "left_out": 3,
    "aligner": "16d2246c1db0f1c4bf5f45ad416bd2de",
    "compared": 1_000,
    "compared_at": "2026-01-01T00:00:00+00:00",
    "verified": 0,
    "cut_over": None,
    "rolled_back": None,
}


@pytest.fixture(scope="module")
def pages(files, tmp_path_factory):
    """The addresses of a page of migrations and of one of a probe: pages without a script."""
    folder = tmp_path_factory.mktemp("pages")
    old, new = A.astype(np.float32), B.astype(np.float32)
    bridge = MiniVec2VecAligner.from_pairs(old[:300], new[:300]).map
    vectors = pa.FixedSizeListArray.from_arrays(pa.array(old.ravel()), old.shape[1])
    pq.write_table(pa.table({"text": TEXTS, "vector": vectors}), folder / "old.parquet")
    found = probe(str(folder / "old.parquet"), bridge, text="text", new_documents=new, sample=200, any_vectors=True)
    found.report(folder / "probe.html")
    story.save(folder / "story.html", MIGRATION["source"], [MIGRATION], bridge=bridge, probe=found.to_dict())
    return {name: (folder / f"{name}.html").as_uri() for name in ("probe", "story")}


@pytest.mark.parametrize("which", ["probe", "story"])
def test_pages_without_a_script_fit_and_follow_the_theme(browser, pages, which):
    style = "(e, p) => getComputedStyle(e)[p]"
    for width, theme in ((320, "dark"), (400, "light"), (1000, "dark"), (1400, "light")):
        page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=theme)
        page.goto(pages[which])
        assert page.evaluate(OUTSIDE) == [] and page.evaluate("document.documentElement.scrollWidth") == width
        card, ink = (page.locator("section").first.evaluate(style, name) for name in ("backgroundColor", "color"))
        assert contrast(ink, card) >= 4.5 and (contrast(card, "rgb(0,0,0)") < 4) == (theme == "dark")
        bare = page.locator("thead ~ tbody td:not([data-label])")
        assert width > 736 or bare.count() == 0  # each value of a table says what it is where the head is hidden
        brand, first = (page.locator(name).first.bounding_box()["x"] for name in (".brand", "section"))
        assert brand == pytest.approx(first, abs=10)
        page.close()


@pytest.mark.parametrize("width", [320, 390])
def test_a_phone(open_page, width):
    page = open_page(width=width, has_touch=True, is_mobile=True)
    assert page.evaluate("document.documentElement.scrollWidth") == width
    for name in ("before", "after", "cosines"):
        assert page.locator(f"#chart-{name}").bounding_box()["width"] < width
    touch = "getComputedStyle(document.querySelector('#chart-after .bk-Figure').shadowRoot.querySelector('.bk-Canvas')"
    events = page.evaluate(touch + ".shadowRoot.querySelector('.bk-events')).touchAction")
    assert events != "none"  # a swipe over the picture scrolls the page
    page.fill("#query", "number 7")
    page.wait_for_selector("#rows mark")
