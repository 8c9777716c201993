"""What a report takes for evidence: true pairs before all else, and nothing of a failed map without them."""

import json
import re

import pytest

import supervised
from minivec import LinearMap, MiniVec2VecAligner
from minivec.history import History, advice
from minivec.integrations import huggingface
from minivec.report import Report, words
from minivec.report.decision import decide

A, B = supervised.spaces(12, 12, rows=300)
FAILED = {"verdict": "failed", "confidence": 0.0, "causes": ["too few rows"], "expected_cosine": 1.0}


@pytest.fixture(scope="module")
def aligner():
    with pytest.MonkeyPatch.context() as monkeypatch:
        supervised.install(monkeypatch)
        model = MiniVec2VecAligner(12)
        model.align(A, B)
    return model


@pytest.fixture(scope="module")
def report(aligner):
    """Makes a report of the map, whose fit may have told something else of itself."""
    bridge = aligner.map

    def report(history=None, A=A, B=B, **options):
        return Report.of(LinearMap(bridge.weights, {**bridge.history, **(history or {})}), A, B, **options)

    return report


def verdict_of(page):
    """The class that colours the head of the page, and the text of its headline."""
    return re.search(r'class="verdict (\w+)"', page)[1], re.search(r'<h1 id="headline">(.*?)</h1>', page)[1]


# ---- true pairs decide ----


@pytest.fixture(scope="module")
def backwards(aligner):
    """A map of which its fit said "reliable", the wrong way round, and true pairs."""
    return aligner.inverse().report(A, B, paired=True)


def test_a_map_the_wrong_way_round_is_not_green(backwards):
    pytest.importorskip("bokeh")
    assert backwards.facts.metrics["top1_accuracy"] < 0.05
    tone, headline = verdict_of(backwards.html)
    assert tone == "failed" and headline.startswith("This map does not work")
    for line in (
        "decided by 300 true pairs",
        "called itself reliable. The true pairs overrule this.",
        "The direction is wrong: the inverse of this map finds the true partner first for 100.0% of these rows.",
    ):
        assert line in backwards.html
    assert "can be relied on" not in backwards.html


def test_the_printed_summary_follows_the_pairs(backwards):
    text = repr(backwards)
    assert text.startswith("This map does not work") and "decided by 300 true pairs" in text
    assert "overrule" in text and "aligner.inverse()" in text and "relied on" not in text


def test_the_static_picture_follows_the_pairs(backwards, tmp_path):
    backwards.save(tmp_path / "report.svg")
    drawn = (tmp_path / "report.svg").read_text()
    assert "This map does not work" in drawn and "#b3261e" in drawn


def test_pairs_that_are_found_overrule_a_fit_that_called_itself_failed(report):
    pytest.importorskip("bokeh")
    made = report(FAILED, paired=True)
    tone, headline = verdict_of(made.html)
    assert tone == "reliable" and headline == "This map works: 100.0% of rows find their true partner first."
    assert "called itself failed" in made.html and "Too few rows" not in made.html
    assert words.advice(made.facts)[0].startswith("Use this map")


def test_without_pairs_the_fit_decides_and_the_report_says_so(report):
    made = report()
    assert repr(made).startswith("This map can be relied on.\n  decided by the fit itself, without true pairs")


@pytest.mark.parametrize(
    ("top1", "pairs", "verdict"),
    [
        (0.95, 2000, "reliable"),
        (0.5, 2000, "reliable"),
        (0.49, 2000, "doubtful"),
        (0.1, 2000, "doubtful"),
        (0.09, 2000, "failed"),
        (0.0, 2000, "failed"),
        (0.2, 20, "failed"),  # 4 of 20: a random map may find as many
        (0.25, 20, "doubtful"),
    ],
)
def test_top_1_decides(top1, pairs, verdict):
    decision = decide({"verdict": "reliable", "confidence": 1.0}, top1, pairs)
    assert (decision.verdict, decision.fit, decision.value) == (verdict, "reliable", top1)


def test_few_pairs_and_pairs_of_the_fit_are_named(report):
    few = report(A=A[:50], B=B[:50], paired=True)
    assert "easy to find among 50 rows" in repr(few) and "not fitted on these rows" in repr(few)
    assert "figures too high" in repr(report({"pairs": 30}, paired=True))


def test_a_fit_from_pairs_names_its_own_pairs_as_evidence():
    made = MiniVec2VecAligner.from_pairs(A, B).report(A, B)
    assert "decided by known pairs that were held out" in repr(made)
    assert "60 known pairs were held out" in repr(made) and "without labels" not in repr(made)
    assert words.example(made.facts) == [
        "from minivec import MiniVec2VecAligner\n\n"
        'aligner = MiniVec2VecAligner.from_pairs(XA, XB, mapping="orthogonal", seed=0)'
    ]


# ---- a failed map has no evidence in its favour ----


def test_a_failed_map_shows_no_figures_of_its_matches(report):
    pytest.importorskip("bokeh")
    page = report(FAILED).html
    assert verdict_of(page) == ("failed", "This map failed: do not use it.")
    assert page.count('role="img"') == 5  # the confidence, both pictures, time and convergence
    for absent in (
        "expected cosine",
        "<dt>mutual</dt>",
        'id="chart-cosines"',
        'id="weak"',
        'href="#weak"',
        "By cluster",
    ):
        assert absent not in page
    data = json.loads(re.search(r'id="data">(.*?)</script>', page, re.S)[1])
    assert data["ticks"] is False
    assert "this is no evidence" in page and words.NOT_SHOWN in page


@pytest.mark.parametrize(("history", "ticks"), [({}, True), ({"verdict": "doubtful"}, False), (FAILED, False)])
def test_only_good_maps_and_true_pairs_have_green_ticks(report, history, ticks):
    assert report(history).facts.ticks is ticks and report(history, paired=True).facts.ticks


def test_the_summaries_of_a_failed_map_show_no_figures(report, tmp_path):
    text = repr(report(FAILED))
    assert "expected cosine" not in text and "mutual" not in text and text.startswith("This map failed")
    failed, good = tmp_path / "failed.svg", tmp_path / "good.svg"
    report(FAILED).save(failed)
    report().save(good)
    assert failed.read_text().count('id="axes_') == 3 and good.read_text().count('id="axes_') == 6


def test_the_history_of_a_failed_fit_shows_no_cosine(aligner):
    shown = repr(History({**aligner.history, **FAILED}))
    assert "1.00 of a mapped row" not in shown and re.search(r"expected cosine +means nothing", shown)
    assert "expected cosine  1.00" in repr(History({**aligner.history}))


def test_info_shows_no_cosine_of_a_failed_fit(aligner, run, tmp_path):
    path = tmp_path / "failed.safetensors"
    LinearMap(aligner.map.weights, {**aligner.history, **FAILED}).save(path)
    assert re.search(r"expected cosine +means nothing", run("info", path)[1])
    assert json.loads(run("info", path, "--json")[1])["expected_cosine"] == 1.0


def test_the_model_card_of_a_failed_fit_shows_no_cosine(aligner, tmp_path):
    huggingface.save(LinearMap(aligner.map.weights, {**aligner.history, **FAILED}), tmp_path / "card")
    assert "| expected cosine | means nothing" in (tmp_path / "card" / "README.md").read_text()


# ---- advice, in Python and on the command line ----


def test_advice_is_for_python_and_for_the_command_line(aligner):
    settings = {**aligner.history["settings"], "preset": "paper"}
    lines = advice({**aligner.history, **FAILED, "settings": settings})
    for python, command in (
        ("pairs=", "--pairs"),
        ("preset=", "--preset"),
        ("seed=", "--seed"),
        ("evaluate_alignment", "minivec evaluate"),
    ):
        assert any(python in line and command in line for line in lines), python
    assert all(command in advice(aligner.history)[0] for command in ("evaluate_alignment", "minivec evaluate"))


def test_the_command_that_fits_again_has_the_options_of_align(report, run):
    python, command = words.example(report().facts)
    assert "aligner.align(XA, XB" in python and command.startswith("minivec align A.npy B.npy -o aligner.keras")
    words_of_it = command.replace("\\\n", "").split()
    help = run("align", "--help")[1]
    assert all(word in help for word in words_of_it if word.startswith("--"))


def test_a_map_that_is_wrong_both_ways_does_not_blame_the_direction(report):
    found = words.advice(report(A=A[::-1], paired=True).facts)
    assert any(line.startswith("Check the direction.") for line in found) and "The direction is wrong" not in str(found)


def test_what_fits_the_map_again_names_the_spaces(report):
    named = report({"spaces": {"source": "ada-002", "target": "te3 small"}}).facts
    python, command = words.example(named)
    assert 'source_name="ada-002", target_name="te3 small"' in python
    assert "--from ada-002" in command and "--to 'te3 small'" in command
    assert "--from" not in words.example(report().facts)[1]
