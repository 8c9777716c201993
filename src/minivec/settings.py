"""Hyperparameters of ``align``. ``Settings`` declares each of them once.

Its declarations yield the presets' defaults, the checks, the signature and the docstring of ``align``, the options of
``minivec align`` and the table in docs/parameters.md.
"""

import inspect
import textwrap
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from numbers import Integral, Real
from typing import Any, TypeVar

MAPPINGS = ("orthogonal", "whitened")
PRESETS = ("auto", "paper")

FIT_ROWS = 60_000  # a side, at most, that a fit looks at, unless max_rows says otherwise

# What to expect of a fit without pairs, by the least number of rows of the smaller side. Figures: docs/confidence.md.
OUTLOOK = {
    10_000: "comfortable",
    5_000: "enough for most pairs of encoders",
    2_000: "some maps are right, and the verdict is not always sure of them",
    0: "hardly any map is right: give known pairs, or more rows",
}
FEW_ROWS = 5_000  # fewer are named as a likely cause of a bad fit

# Preset "auto" needs one row more than this a side, or than the narrower space has dimensions.
MANY_DIMENSIONS = 48

F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True)
class Hyperparameter:
    """One hyperparameter: its defaults, its range and what users are told about it.

    ``least`` is the smallest integer allowed; None stands for a number above 0 and at most 1. ``auto`` is None where
    the preset chooses from the data or leaves the stage out; ``auto_text`` then says which. ``option`` is the help of
    the command-line option.
    """

    name: str
    paper: float
    auto: float | None
    least: int | None
    stage: str
    does: str
    cost: str
    option: str
    auto_text: str

    @property
    def type(self) -> type:
        """``int`` or ``float``."""
        return float if self.least is None else int

    @property
    def range(self) -> str:
        """The values allowed, in words."""
        return "above 0, at most 1" if self.least is None else f"at least {self.least}"

    @property
    def defaults(self) -> dict[str, str]:
        """The default of each preset, in words."""
        return {"paper": f"{self.paper:,}", "auto": self.auto_text or f"{self.auto:,}"}

    def checked(self, value: Any) -> Any:
        """``value`` as an int or float; otherwise a TypeError or ValueError that names it."""
        return _fraction(self.name, value) if self.least is None else whole_number(self.name, value, self.least)


def hyperparameter(
    *,
    paper: float,
    auto: float | None = None,
    least: int | None = None,
    stage: str,
    does: str,
    cost: str,
    option: str,
    auto_text: str = "",
) -> Any:
    """A field of ``Settings``; the arguments are those of ``Hyperparameter``."""
    return field(metadata={key: value for key, value in locals().items()})


@dataclass(frozen=True)
class Settings:
    """The settings of one fit. None leaves a choice to the preset, or leaves the stage out."""

    preset: str
    mapping: str
    seed: int
    approx_clusters: int | None = hyperparameter(
        paper=20,
        least=2,
        auto_text="96 to 128, run by run",
        stage="anchors",
        does='Anchors per run: independent components in "auto", centroids in "paper". More anchors see finer '
        "structure and need more rows. Change it only where the widths are small.",
        cost="A run's time grows faster than their number.",
        option="Anchors per run.",
    )
    approx_runs: int = hyperparameter(
        paper=30,
        auto=6,
        least=1,
        stage="anchors",
        does="Runs of the anchors' ensemble. Try 12 when a verdict is doubtful. With a single run the two halves that "
        "confidence compares share it, and their agreement proves little.",
        cost="The anchors' time grows in proportion.",
        option="Runs of the anchors' ensemble.",
    )
    approx_neighbors: int | None = hyperparameter(
        paper=50,
        least=1,
        auto_text="stage left out",
        stage="first map",
        does="Rows of B whose mean is the target of a row of A in the first map, by relative representations. Few "
        'follow single rows, many blur. In "auto" a value adds the stage.',
        cost="One search of all rows per map.",
        option="Neighbours averaged to a pseudo-pair.",
    )
    refine1_iterations: int | None = hyperparameter(
        paper=75,
        least=0,
        auto_text="60, 40, 10 and 7 at most in its four levels",
        stage="refinement",
        does='Steps of refinement. In "auto" the first two levels stop when their objective no longer gains. With few '
        "rows the last level runs up to six times. From 20,000 rows on it begins with a part of them, and takes 4 more "
        "steps with twice as many, until it has all. A value is shared out evenly among the levels, and no level then "
        "stops early.",
        cost="Most of a fit's time, in proportion.",
        option="Refinement: steps.",
    )
    refine1_sample_size: int | None = hyperparameter(
        paper=10000,
        least=2,
        auto_text="2,000, in the third level 4,000; in the last level as many as max_rows says",
        stage="refinement",
        does="Rows a side per step. Larger samples give steadier steps. A value beyond the number of rows uses all of "
        'them. The last level of "auto" takes the same rows in every step, each with 64 '
        "candidates; from 20,000 rows on, a part of them first.",
        cost='Grows with its square in "auto", where a step couples two samples, and linearly in "paper".',
        option="Refinement: rows sampled per step.",
    )
    refine1_neighbors: int | None = hyperparameter(
        paper=50,
        least=1,
        auto_text="stage left out",
        stage="refinement",
        does='Rows of B averaged for each mapped row, the published Refine-1. In "auto" a value puts this stage in the '
        "place of the last level.",
        cost="One search of the sampled rows per step.",
        option="Refinement: neighbours averaged.",
    )
    refine2_clusters: int | None = hyperparameter(
        paper=500,
        least=2,
        auto_text="stage left out",
        stage="refinement",
        does="Clusters of A whose centroids move among the rows of B, the published Refine-2. It needs as many rows. "
        'In "auto" a value adds the stage.',
        cost="One k-means on each side.",
        option="Second refinement: clusters.",
    )
    smoothing_alpha: float = hyperparameter(
        paper=0.5,
        auto=0.5,
        stage="refinement",
        does='The share of the new map in a step. Smaller is slower and steadier. In "auto", the last level and '
        "levels whose sample holds all rows go three times as far, 1.5 at most.",
        cost="Smaller values need more steps.",
        option="Share of the new map in a step.",
    )

    max_rows: int | None = hyperparameter(
        paper=FIT_ROWS,
        least=2,
        auto_text="60,000; in the last level 49,152 of 384 dimensions, 36,864 of 512, 24,576 of 768",
        stage="rows",
        does="Rows a side that the fit looks at, at most. Of larger inputs it takes a uniform sample. More rows bring "
        "the map nearer to the truth, and the last level looks at all of a number that you give.",
        cost="Time and memory grow somewhat more than in proportion.",
        option="Rows a side that the fit looks at, at most.",
    )

    @property
    def rows(self) -> int:
        """The rows a side that a fit looks at, at most."""
        return self.max_rows or FIT_ROWS

    def check_rows(self, nA: int, nB: int, dA: int, dB: int) -> None:
        """Raise a ValueError where nA and nB rows, of widths dA and dB, are too few or too narrow for a stage.

        Rows beyond ``max_rows`` do not count. A ``refine1_sample_size`` beyond the number of rows is no error: all of
        them are then used.
        """
        nA, nB = min(nA, self.rows), min(nB, self.rows)
        if self.preset == "auto":
            components = self.approx_clusters or min(MANY_DIMENSIONS, dA, dB)
            if components > min(dA, dB):
                raise ValueError(
                    f"approx_clusters={components} independent components need as many dimensions; "
                    f"XA has {dA} and XB {dB}"
                )
            why = f"approx_clusters={self.approx_clusters}" if self.approx_clusters else 'preset "auto"'
            _check_rows(nA, nB, components + 1, why)
        else:
            _check_rows(nA, nB, self.approx_clusters, f"approx_clusters={self.approx_clusters}")
        _check_rows(None, nB, self.approx_neighbors, f"approx_neighbors={self.approx_neighbors}")
        _check_rows(None, nB, self.refine1_neighbors, f"refine1_neighbors={self.refine1_neighbors}")
        _check_rows(nA, nB, self.refine2_clusters, f"refine2_clusters={self.refine2_clusters}")

    def required(self, name: str) -> int:
        """The value of an integer hyperparameter; ValueError where the settings leave it open."""
        value = getattr(self, name)
        if value is None:
            raise ValueError(f'preset "{self.preset}" leaves {name} open, and this stage needs a value')
        return int(value)


HYPERPARAMETERS = tuple(Hyperparameter(name=f.name, **f.metadata) for f in fields(Settings) if f.metadata)


def resolve(preset: str = "auto", mapping: str = "orthogonal", seed: int = 0, **given: Any) -> Settings:
    """The settings of a fit: the preset's values, except where the caller gives one that is not None.

    Raises ValueError for an unknown preset or mapping and for a value out of range, TypeError for an unknown name and
    for a value of the wrong type. The message holds the value.
    """
    check_choice("preset", preset, PRESETS)
    check_choice("mapping", mapping, MAPPINGS)
    unknown = sorted(given.keys() - {h.name for h in HYPERPARAMETERS})
    if unknown:
        known = ", ".join(h.name for h in HYPERPARAMETERS)
        raise TypeError(f"unknown hyperparameter {unknown[0]!r}; known: {known}")
    values: dict[str, Any] = {"seed": whole_number("seed", seed, 0)}
    for h in HYPERPARAMETERS:
        value = given.get(h.name)
        values[h.name] = getattr(h, preset) if value is None else h.checked(value)
    return Settings(preset=preset, mapping=mapping, **values)


def with_hyperparameters(annotation: Callable[[Hyperparameter], Any], explain: bool = False) -> Callable[[F], F]:
    """Let a function whose last parameter is ``**hyperparameters`` show each of them by name, None by default.

    ``annotation`` gives a hyperparameter's annotation in the signature. With ``explain`` the docstring gets a
    paragraph for each, with its defaults and its cost.
    """

    def decorate(function: F) -> F:
        signature = inspect.signature(function)
        own = [p for p in signature.parameters.values() if p.kind is not p.VAR_KEYWORD]
        shown = [
            inspect.Parameter(h.name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation(h))
            for h in HYPERPARAMETERS
        ]
        function.__signature__ = signature.replace(parameters=[*own, *shown])  # type: ignore[attr-defined]
        if explain and function.__doc__:  # which is None under python -OO
            function.__doc__ = f"{inspect.cleandoc(function.__doc__)}\n\n{explained()}"
        return function

    return decorate


def explained() -> str:
    """The section of a docstring that explains every hyperparameter: defaults, range, what it does and costs."""
    lines = ["Hyperparameters (None: the preset's default):"]
    for h in HYPERPARAMETERS:
        defaults = "; ".join(f"{preset}: {h.defaults[preset]}" for preset in PRESETS)
        text = f"{h.name} ({h.range}; {defaults}): {h.does} Cost: {h.cost}"
        lines.append(textwrap.fill(text, 112, initial_indent="    ", subsequent_indent="        "))
    return "\n".join(lines)


def outlook(rows: int) -> str:
    """What OUTLOOK says of so many rows."""
    return next(words for least, words in OUTLOOK.items() if rows >= least)


def whole_number(name: str, value: Any, least: int) -> int:
    """``value`` as an int of at least ``least``; otherwise a TypeError or ValueError that names it."""
    if isinstance(value, bool) or not isinstance(value, Integral):
        raise TypeError(f"{name} must be an integer; got {value!r}")
    if value < least:
        raise ValueError(f"{name} must be at least {least}; got {value!r}")
    return int(value)


def check_choice(name: str, value: Any, choices: tuple[str, ...]) -> None:
    """Raise a ValueError that names the argument and the value, unless it is one of ``choices``."""
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
            raise ValueError(f"{name} has {rows} rows to fit; {why} needs at least {need}")
