import numpy as np
import pytest

from minivec.settings import resolve


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
        ({"preset": "paper"}, (600, 499), r"XB has 499 rows; refine2_clusters=500 needs at least 500"),
        ({"preset": "paper", "refine2_clusters": 2}, (19, 600), "XA has 19 rows; approx_clusters=20 .* 20"),
        ({"preset": "paper", "refine2_clusters": 2}, (600, 49), "XB has 49 rows; approx_neighbors=50 .* 50"),
        ({}, (48, 600), "XA has 48 rows; .* at least 49"),
        ({"refine1_neighbors": 80}, (600, 79), "XB has 79 rows; refine1_neighbors=80 .* 80"),
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
