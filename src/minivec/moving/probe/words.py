"""A probe in a few lines of text."""

from minivec.moving.probe.estimate import Estimate
from minivec.moving.probe.result import Probe


def table(probe: Probe) -> str:
    """The decision, the ways to search in figures, the weak subjects, and the notes."""
    lines = [f"{probe.decision.choice}: {probe.decision.reason}", ""]
    lines += _ways(probe) if probe.ways else _blind(probe)
    if probe.subjects:
        lines += ["", "weakest subjects (share kept, queries)"]
        lines += [f"  {s.words}: {s.retention.value:.2f}, {s.queries}" for s in probe.subjects[:3]]
    if probe.worse:
        lines += ["", "queries that lose most"]
        lines += [f"  {_cut(w.query)}: {w.now:.2f} to {w.mapped:.2f}" for w in probe.worse[:3]]
    more = [*probe.decision.more, *probe.notes]
    return "\n".join([*lines, "", *(f"- {line}" for line in more)]).rstrip()


def _ways(probe: Probe) -> list[str]:
    about = (
        f"{probe.queries:,} queries among {probe.pool:,} of {probe.rows:,} documents, first {probe.k}; 90% intervals"
    )
    width = max(len(way.name) for way in probe.ways)
    figures = probe.figures
    lines = [about, " " * width + "".join(f"  {title:<18}" for title in figures.values()).rstrip()]
    for way in probe.ways:
        cells = (getattr(way, name) for name in figures)
        shown = "".join(f"  {_span(cell):<18}" for cell in cells)
        lines.append(f"{way.name:<{width}}{shown}".rstrip())
    return lines


def _blind(probe: Probe) -> list[str]:
    blind = probe.blind
    if blind is None:
        return []
    return [
        f"confidence                {blind.confidence:.2f} ({blind.verdict})",
        f"expected cosine           {blind.expected_cosine:.2f} of a mapped row with its partner",
        f"neighbours that stay      {_span(blind.consistency)} of the first {probe.k} once mapped",
    ]


def _span(estimate: Estimate | None) -> str:
    if estimate is None:
        return "-"
    return f"{estimate.value:.2f} ({estimate.low:.2f}-{estimate.high:.2f})"


def _cut(text: str, length: int = 70) -> str:
    return text if len(text) <= length else text[: length - 1] + "…"
