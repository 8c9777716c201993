import inspect
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
from typer.main import get_command

import supervised
from minivec import MiniVec2VecAligner
from minivec.algorithm.refinement.loop import WINDOW
from minivec.algorithm.schedule import CELLS, LEVELS, MANY
from minivec.algorithm.starts import ENSEMBLE
from minivec.cli import app
from minivec.settings import FIT_ROWS, HYPERPARAMETERS, OUTLOOK, resolve


def test_paper_preset_has_the_published_values():
    settings = resolve("paper")
    assert (settings.approx_clusters, settings.approx_runs, settings.approx_neighbors) == (20, 30, 50)
    assert (settings.refine1_iterations, settings.refine1_sample_size, settings.refine1_neighbors) == (
        75,
        10000,
        50,
    )
    assert (settings.refine2_clusters, settings.smoothing_alpha) == (500, 0.5)


def test_auto_is_the_default_and_leaves_out_the_stages_that_only_the_paper_has():
    settings = resolve()
    assert (settings.preset, settings.mapping, settings.seed) == ("auto", "orthogonal", 0)
    assert settings.approx_neighbors is None and settings.refine2_clusters is None


@pytest.mark.parametrize("preset", ["auto", "paper"])
def test_a_given_value_wins_over_the_preset(preset):
    settings = resolve(preset, approx_runs=np.int64(3), refine2_clusters=7, smoothing_alpha=1, refine1_neighbors=None)
    assert (settings.approx_runs, settings.refine2_clusters, settings.smoothing_alpha) == (3, 7, 1.0)
    assert settings.refine1_neighbors == resolve(preset).refine1_neighbors
    assert type(settings.approx_runs) is int and type(settings.smoothing_alpha) is float


@pytest.mark.parametrize(
    ("name", "value", "error"),
    [
        ("preset", "papre", ValueError),
        ("preset", ["auto"], ValueError),
        ("mapping", "affine", ValueError),
        ("seed", -1, ValueError),
        ("seed", 1.0, TypeError),
        ("seed", None, TypeError),
        ("approx_clusters", 1, ValueError),
        ("approx_clusters", 20.0, TypeError),
        ("approx_runs", 0, ValueError),
        ("approx_runs", True, TypeError),
        ("approx_neighbors", -3, ValueError),
        ("refine1_iterations", -1, ValueError),
        ("refine1_sample_size", "all", TypeError),
        ("refine1_neighbors", 0, ValueError),
        ("refine2_clusters", 1, ValueError),
        ("smoothing_alpha", 0.0, ValueError),
        ("smoothing_alpha", 1.5, ValueError),
        ("smoothing_alpha", float("nan"), ValueError),
        ("smoothing_alpha", "0.5", TypeError),
    ],
)
def test_bad_values_are_refused_by_name_and_value(name, value, error):
    with pytest.raises(error) as caught:
        resolve(**{name: value})
    assert name in str(caught.value) and repr(value) in str(caught.value)


def test_an_unknown_hyperparameter_is_refused():
    with pytest.raises(TypeError, match="approx_cluster'"):
        resolve(approx_cluster=3)


@pytest.mark.parametrize(
    ("settings", "rows", "message"),
    [
        ({"preset": "paper"}, (600, 499), r"XB has 499 rows to fit; refine2_clusters=500 needs at least 500"),
        ({"preset": "paper", "refine2_clusters": 2}, (19, 600), "XA has 19 rows to fit; approx_clusters=20 .* 20"),
        ({"preset": "paper", "refine2_clusters": 2}, (600, 49), "XB has 49 rows to fit; approx_neighbors=50 .* 50"),
        ({"max_rows": 40}, (100, 600), "XA has 40 rows to fit; .* at least 49"),
        ({}, (48, 600), "XA has 48 rows to fit; .* at least 49"),
        ({"refine1_neighbors": 80}, (600, 79), "XB has 79 rows to fit; refine1_neighbors=80 .* 80"),
        ({"approx_clusters": 65}, (600, 600), "approx_clusters=65 .* XA has 128 and XB 64"),
    ],
)
def test_too_few_rows_are_refused_with_the_number_needed(settings, rows, message):
    with pytest.raises(ValueError, match=message):
        resolve(**settings).check_rows(*rows, 128, 64)


def test_just_enough_rows_pass():
    resolve("paper").check_rows(500, 500, 128, 64)
    resolve().check_rows(49, 49, 128, 64)
    resolve().check_rows(5, 5, 4, 64)
    resolve("paper", refine2_clusters=20).check_rows(20, 50, 128, 64)  # A needs no neighbours, and 10,000 is clipped


def test_the_parameters_page_has_the_declared_defaults_ranges_and_explanations():
    page = (Path(__file__).parents[1] / "docs" / "parameters.md").read_text()
    words = " ".join(page.split())
    for h in HYPERPARAMETERS:
        row = f"| `{h.name}` | {h.defaults['paper']} | {h.defaults['auto']} | {h.range} | {h.stage} |"
        assert row in page.splitlines()
        assert f"`{h.name}` : {h.does} Cost: {h.cost}" in words


def test_align_shows_every_hyperparameter_by_name_and_explains_its_defaults_and_cost():
    shown = inspect.signature(MiniVec2VecAligner.align).parameters
    explanation = " ".join(MiniVec2VecAligner.align.__doc__.split())
    assert [h.name for h in HYPERPARAMETERS] == list(shown)[-9:]
    for h in HYPERPARAMETERS:
        assert shown[h.name].default is None and shown[h.name].kind is inspect.Parameter.KEYWORD_ONLY
        assert f"auto: {h.defaults['auto']}; paper: {h.defaults['paper']}" in explanation and h.cost in explanation


def test_the_command_has_an_option_for_every_hyperparameter():
    options = {option.name: option for option in get_command(app).commands["align"].params}
    for h in HYPERPARAMETERS:
        option = options[h.name]
        assert option.opts == [f"--{h.name.replace('_', '-')}"] and option.help == h.option
        assert option.default is None


def test_the_words_about_auto_are_true_of_its_constants():
    defaults = {h.name: h.defaults["auto"] for h in HYPERPARAMETERS}
    assert defaults["approx_clusters"] == f"{min(ENSEMBLE)} to {max(ENSEMBLE)}, run by run"
    steps = "{}, {}, {} and {}".format(*[level.steps for level in LEVELS])
    assert defaults["refine1_iterations"] == f"{steps} at most in its four levels"
    assert [level.sample for level in LEVELS] == [2000, 2000, 4000, 0]
    assert defaults["refine1_sample_size"].startswith("2,000, in the third level 4,000;")
    assert defaults["max_rows"].startswith(f"{FIT_ROWS:,};")
    assert all(f"{CELLS // width:,} of {width}" in defaults["max_rows"] for width in (384, 512, 768))
    does = {h.name: h.does for h in HYPERPARAMETERS}
    assert all(f"{MANY:,} rows" in does[name] for name in ("refine1_iterations", "refine1_sample_size"))
    can_stop = [level.steps >= 2 * WINDOW for level in LEVELS]
    assert can_stop == [True, True, False, False]


@pytest.mark.parametrize("preset", ["auto", "paper"])
def test_history_keeps_the_form_of_the_settings(preset):
    names = ["preset", "mapping", "seed", *(h.name for h in HYPERPARAMETERS)]
    assert list(asdict(resolve(preset))) == names
    with pytest.raises(ValueError, match="refine2_clusters"):
        resolve().required("refine2_clusters")


def test_a_fit_with_too_few_rows_says_at_its_start_what_to_expect(capsys, monkeypatch):
    supervised.install(monkeypatch)
    rows = np.random.default_rng(0).standard_normal((600, 64)).astype(np.float32)
    model = MiniVec2VecAligner(64)
    model.align(rows, rows, verbose=1)
    assert capsys.readouterr().out.splitlines()[1] == f"600 rows a side: {OUTLOOK[0]}"
    model.align(rows, rows, pairs=[[i, i] for i in range(20)], verbose=1)
    model.align(rows, rows)
    assert "rows a side" not in capsys.readouterr().out
