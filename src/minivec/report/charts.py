"""The report's charts as Bokeh figures, one document; colours are the page's business, as themes change."""

from typing import Any

import numpy as np
from bokeh.models import (
    ColumnDataSource,
    FixedTicker,
    HoverTool,
    NumeralTickFormatter,
    PanTool,
    Scatter,
    Segment,
    TapTool,
    WheelZoomTool,
)
from bokeh.plotting import figure

from minivec.report.facts import Direction, Facts, Stage

TIP = "max-width:22rem;white-space:normal;overflow-wrap:anywhere;font:14px/1.4 system-ui,sans-serif;padding:3px 5px"
POINT = f'<div style="{TIP}"><b>@side</b>&ensp;@text</div>'


def charts(facts: Facts) -> dict[str, Any]:
    """The figures by name, without those of matches where these are no evidence.

    Texts are not in them: the page fills them in, so that a file holds them once.
    """
    drawn = {**_maps(facts), "seconds": _seconds(facts.stages)}
    if any(stage.runs for stage in facts.stages):
        drawn["objective"] = _objective(facts.stages)
    if facts.telling:
        drawn["cosines"] = _histograms(_cosines(facts), "cosine", 40)
        drawn["ranks"] = _recall(facts)
        drawn["hubs"] = _hubs(facts)
        drawn["directions"] = _directions(facts.directions)
    return drawn


def _figure(name: str, height: int, x: str = "", y: str = "", tools: Any = "", **options: Any) -> Any:
    """A figure as wide as its place."""
    plot = figure(
        name=name,
        height=height,
        sizing_mode="stretch_width",
        toolbar_location=None,
        tools=tools,
        x_axis_label=x or None,
        y_axis_label=y or None,
        **options,
    )
    plot.min_border_right = 12
    plot.background_fill_color = plot.border_fill_color = plot.outline_line_color = None
    plot.axis.minor_tick_line_color = None
    return plot


def _legend_above(plot: Any) -> None:
    """The legend where no curve can run into it."""
    plot.add_layout(plot.legend[0], "above")


def _maps(facts: Facts) -> dict[str, Any]:
    """Both spaces before and after, the same points in both, so that what is chosen in one shows in the other."""
    drawn = {}
    focus = ColumnDataSource(dict(x0=[], y0=[], x1=[], y1=[], side=[]), name="focus")
    link = ColumnDataSource({key: [] for key in ("xa0", "ya0", "xb0", "yb0", "xa1", "ya1", "xb1", "yb1")}, name="link")
    points = _points(facts)
    crowded = len(facts.source.rows) + len(facts.target.rows) > 8_000
    for step, place in ((0, "before"), (1, "after")):
        plot = _figure(
            place,
            420,
            tools=[PanTool(), WheelZoomTool(modifiers={"ctrl": True}), TapTool()],
            match_aspect=True,
        )
        plot.grid.visible = False
        plot.axis.visible = False
        glyph = Scatter(
            x=f"x{step}",
            y=f"y{step}",
            size=4 if crowded else 5,
            marker={"field": "marker"},
            fill_alpha=0.2 if crowded else 0.45,
            line_color=None,
            name="points",
        )
        shown = plot.add_glyph(points, glyph)
        shown.nonselection_glyph = shown.selection_glyph = None
        lines = Segment(x0=f"xa{step}", y0=f"ya{step}", x1=f"xb{step}", y1=f"yb{step}", line_width=2, name="link line")
        plot.add_glyph(link, lines)
        rings = Scatter(
            x=f"x{step}", y=f"y{step}", size=15, marker="circle", fill_alpha=0.9, line_width=2, name="focus mark"
        )
        plot.add_glyph(focus, rings)
        plot.add_tools(HoverTool(renderers=[shown], tooltips=POINT, point_policy="snap_to_data", limit=2))
        drawn[place] = plot
    return drawn


def _points(facts: Facts) -> Any:
    """The rows of both sides in a random order, so that neither side is painted over the other.

    ``at`` numbers them: the rows of A, then those of B. The page adds side, text, marker and colour of each.
    """
    sides = facts.source, facts.target
    before, after, cluster = (
        np.concatenate([getattr(s, part) for s in sides]) for part in ("before", "after", "cluster")
    )
    at = np.random.default_rng(0).permutation(len(before))
    places = {"x0": before[:, 0], "y0": before[:, 1], "x1": after[:, 0], "y1": after[:, 1]}
    data: dict[str, Any] = {name: value[at].astype(np.float32) for name, value in places.items()}
    return ColumnDataSource({**data, "at": at.astype(np.uint16), "cluster": cluster[at].astype(np.uint8)})


def _cosines(facts: Facts) -> dict[str, np.ndarray]:
    cosines = {"nearest row of B": facts.cosine[:, 0], "random row of B": facts.random_cosine}
    return cosines if facts.partner_cosine is None else {"true partner": facts.partner_cosine, **cosines}


def _histograms(values: dict[str, np.ndarray], what: str, bins: int) -> Any:
    """Outlines of distributions, on common bins."""
    everything = np.concatenate(list(values.values()))
    edges = np.linspace(everything.min(), everything.max() + 1e-6, bins + 1)
    plot = _figure("cosines", 310, x=what, y="share of rows")
    for i, (name, sample) in enumerate(values.items()):
        share = np.histogram(sample, edges)[0] / len(sample)
        steps = plot.step(edges[:-1], share, mode="after", line_width=2, name=f"series {i}", legend_label=name)
        steps.glyph.name = f"series {i}"
        plot.varea(edges.repeat(2)[1:-1], 0, share.repeat(2), fill_alpha=0.12).glyph.name = f"series {i}"
    plot.y_range.start = 0
    plot.yaxis.formatter = NumeralTickFormatter(format="0%")
    _legend_above(plot)
    return plot


def _recall(facts: Facts) -> Any:
    """The share of rows whose rank is at most k, for every k: the true partner's rank, or the rank back."""
    plot = _figure("ranks", 310, x="rank at most", y="share of rows", x_axis_type="log")
    name, rank = ("of a row, from its match", facts.back) if facts.rank is None else ("of the true partner", facts.rank)
    values, counts = np.unique(rank, return_counts=True)
    steps = (1, 2, 5) if values[-1] <= 200 else (1,)  # labels must not touch
    x = np.append(values, max(rank.max(), 10))
    y = np.append(counts.cumsum(), len(rank)) / len(rank)
    plot.step(x, y, mode="after", line_width=2, legend_label=name).glyph.name = "series 0"
    plot.y_range.start, plot.y_range.end = 0, 1.02
    plot.yaxis.formatter = NumeralTickFormatter(format="0%")
    plot.xaxis.ticker = FixedTicker(ticks=[step * 10**power for power in range(7) for step in steps])
    plot.xaxis.formatter = NumeralTickFormatter(format="0,0")
    _legend_above(plot)
    return plot


def _hubs(facts: Facts) -> Any:
    """How many rows of B are how often among the nearest."""
    counts = np.bincount(facts.occurrences)
    plot = _figure("hubs", 310, x="times among the ten nearest", y="rows of B", y_axis_type="log")
    present = np.flatnonzero(counts)
    plot.vbar(x=present, top=counts[present], bottom=0.5, width=0.9, line_color=None).glyph.name = "series 0"
    plot.y_range.start = 0.5
    plot.yaxis.formatter = NumeralTickFormatter(format="0,0")
    return plot


def _directions(directions: list[Direction]) -> Any:
    plot = _figure("directions", 260, x="principal direction of A, by variance", y="agreement with B (correlation)")
    data = {
        "number": [direction.number for direction in directions],
        "correlation": [direction.correlation for direction in directions],
        "low": ["  ·  ".join(direction.low) for direction in directions],
        "high": ["  ·  ".join(direction.high) for direction in directions],
    }
    drawn = plot.scatter("number", "correlation", size=8, source=ColumnDataSource(data), line_color=None)
    drawn.glyph.name = "series 0"
    tips = (
        f'<div style="{TIP}"><b>direction @number</b> correlation @correlation{0.00}'
        "<br><b>one end</b> @low<br><b>other end</b> @high</div>"
    )
    plot.add_tools(HoverTool(renderers=[drawn], tooltips=tips, limit=1))
    plot.y_range.start = min(0.0, *(direction.correlation for direction in directions))
    plot.y_range.end = 1.03
    return plot


def _seconds(stages: list[Stage]) -> Any:
    names = [stage.name for stage in stages][::-1]
    plot = _figure("seconds", 60 + 30 * len(names), x="seconds", y_range=names)
    bars = plot.hbar(y=names, right=[stage.seconds for stage in stages][::-1], height=0.6, line_color=None)
    bars.glyph.name = "series 0"
    plot.x_range.start = 0
    return plot


def _objective(stages: list[Stage]) -> Any:
    """The objective of every iteration, run after run: each run is a line of its own."""
    plot = _figure("objective", 260, x="iteration", y="objective (mean cosine)")
    start, drawn = 0, 0
    for i, stage in enumerate(stage for stage in stages if stage.runs):
        for run in stage.runs:
            x = np.arange(start + 1, start + len(run) + 1)
            plot.line(x, run, line_width=2, legend_label=stage.name).glyph.name = f"series {i}"
            start += len(run)
        drawn += 1
    plot.legend.visible = drawn > 1
    _legend_above(plot)
    return plot
