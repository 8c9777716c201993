"""Hyperparameters of ``align``: names, presets, ranges."""

from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any

MAPPINGS = ("orthogonal", "whitened")

PAPER: dict[str, Any] = {
    "approx_clusters": 20,
    "approx_runs": 30,
    "approx_neighbors": 50,
    "refine1_iterations": 75,
    "refine1_sample_size": 10000,
    "refine1_neighbors": 50,
    "refine2_clusters": 500,
    "smoothing_alpha": 0.5,
}
AUTO: dict[str, Any] = {**dict.fromkeys(PAPER), "approx_runs": 6, "smoothing_alpha": 0.5}
PRESETS = {"auto": AUTO, "paper": PAPER}

# The smallest value that means something.
MINIMA = {
    "approx_clusters": 2,
    "approx_runs": 1,
    "approx_neighbors": 1,
    "refine1_iterations": 0,
    "refine1_sample_size": 2,
    "refine1_neighbors": 1,
    "refine2_clusters": 2,
}

# Rows a side that a fit looks at: a uniform sample of larger inputs, of which no framed copy is then made.
FIT_ROWS = 60_000

# The fewest independent components that preset "auto" looks for, dimensions allowing.
COMPONENTS = 48


@dataclass(frozen=True)
class Settings:
    """One fit's hyperparameters; None leaves the choice to the preset, or leaves the stage out.

    ``approx_clusters`` is the anchors per run: centroids for "paper", independent components for "auto".
    """

    preset: str
    mapping: str
    seed: int
    approx_clusters: int | None
    approx_runs: int | None
    approx_neighbors: int | None
    refine1_iterations: int | None
    refine1_sample_size: int | None
    refine1_neighbors: int | None
    refine2_clusters: int | None
    smoothing_alpha: float | None

    def check_rows(self, nA: int, nB: int, dA: int, dB: int) -> None:
        """Refuse (ValueError) nA and nB rows that are too few, or too narrow, for a stage of this run.

        A ``refine1_sample_size`` beyond the rows there are is no error: all of them are then used.
        """
        if self.preset == "auto":
            components = self.approx_clusters or min(COMPONENTS, dA, dB)
            if components > min(dA, dB):
                raise ValueError(
                    f"approx_clusters={components} independent components need as many dimensions; "
                    f"XA has {dA} and XB {dB}"
                )
            _check_rows(nA, nB, components + 1, f"finding {components} independent components")
        else:
            _check_rows(nA, nB, self.approx_clusters, f"approx_clusters={self.approx_clusters}")
        _check_rows(None, nB, self.approx_neighbors, f"approx_neighbors={self.approx_neighbors}")
        _check_rows(None, nB, self.refine1_neighbors, f"refine1_neighbors={self.refine1_neighbors}")
        _check_rows(nA, nB, self.refine2_clusters, f"refine2_clusters={self.refine2_clusters}")


def resolve(preset: str = "auto", mapping: str = "orthogonal", seed: int = 0, **given: Any) -> Settings:
    """The settings of a run: the preset's values, except where the caller gives one that is not None.

    Raises ValueError for an unknown preset or mapping and for a value out of range, TypeError for one of the
    wrong type; the message has the value in it.
    """
    check_choice("preset", preset, tuple(PRESETS))
    check_choice("mapping", mapping, MAPPINGS)
    values: dict[str, Any] = {"seed": whole_number("seed", seed, 0)}
    for name, default in PRESETS[preset].items():
        value = given.pop(name, None)
        if value is None:
            values[name] = default
        elif name == "smoothing_alpha":
            values[name] = _fraction(name, value)
        else:
            values[name] = whole_number(name, value, MINIMA[name])
    if given:
        raise TypeError(f"unknown hyperparameter {sorted(given)[0]!r}; known: {', '.join(PAPER)}")
    return Settings(preset=preset, mapping=mapping, **values)


def whole_number(name: str, value: Any, least: int) -> int:
    """``value`` as an int of at least ``least``; otherwise a TypeError or ValueError that names it."""
    if isinstance(value, bool) or not isinstance(value, Integral):
        raise TypeError(f"{name} must be an integer; got {value!r}")
    if value < least:
        raise ValueError(f"{name} must be at least {least}; got {value!r}")
    return int(value)


def check_choice(name: str, value: Any, choices: tuple[str, ...]) -> None:
    """A ValueError that names the argument and the value, unless it is one of ``choices``."""
    if value not in choices:
        raise ValueError(f"{name} must be one of {', '.join(map(repr, choices))}; got {value!r}")


def _fraction(name: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, Real):
        raise TypeError(f"{name} must be a number; got {value!r}")
    if not 0 < float(value) <= 1:
        raise ValueError(f"{name} must be above 0 and at most 1; got {value!r}")
    return float(value)


def _check_rows(nA: int | None, nB: int, need: int | None, why: str) -> None:
    for name, rows in (("XA", nA), ("XB", nB)):
        if need is not None and rows is not None and rows < need:
            raise ValueError(f"{name} has {rows} rows; {why} needs at least {need}")
