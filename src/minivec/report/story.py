"""The page that tells a migration from its source to the way back."""

from pathlib import Path
from typing import Any

from minivec import history as fit
from minivec import spaces
from minivec.map import LinearMap
from minivec.report import rendering

NAMES = {  # of what `minivec probe --json` prints, in words
    "k": "results of a query",
    "rows": "documents",
    "pool": "documents in the pool",
    "decision: choice": "advice",
    "decision: reason": "reason",
    "decision: more": "further advice",
    "decision: way": "way to search",
    "decision: retention": "kept of the new model's results",
}


def save(
    path: str | Path,
    store: str,
    migrations: list[dict[str, Any]],
    *,
    bridge: LinearMap | None = None,
    probe: dict[str, Any] | None = None,
) -> None:
    """Write the story of a store's migrations as one HTML file, whole or not at all.

    - ``migrations``: what ``minivec.moving.status`` says, as dicts
    - ``bridge``: the map, for its verdict and the names of the spaces
    - ``probe``: what ``minivec probe --json`` printed

    ImportError without the packages of ``minivec[report]``.
    """
    rendering.save(
        path,
        "story.html",
        store=store,
        migrations=migrations,
        own=[m for m in migrations if bridge is not None and m["aligner"] == bridge.fingerprint],
        bridge=bridge,
        headline=fit.headline(bridge.history) if bridge is not None and "verdict" in bridge.history else None,
        way=None if bridge is None else spaces.described(bridge.history, bridge.shape),
        probe=None if probe is None else flat({name: value for name, value in probe.items() if name != "ways"}),
        ways=ways(probe or {}),
    )


def ways(probe: dict[str, Any]) -> list[tuple[str, str, str]]:
    """Of each way to search that was measured: its name, its recall in the pool and among all rows, with intervals."""
    try:
        return [(way["name"], span(way["recall"]), span(way["recall_all"])) for way in probe.get("ways", ())]
    except (TypeError, KeyError):
        raise ValueError("the probe's ways are not what `minivec probe --json` prints") from None


def flat(values: dict[str, Any], before: str = "") -> list[tuple[str, str]]:
    """The values of nested dicts as (name, text): a paragraph for each text of a list, no tables."""
    rows: list[tuple[str, str]] = []
    for key, value in values.items():
        place = f"{before}{key}".replace("_", " ")
        name = NAMES.get(place, place)
        if isinstance(value, dict) and all(isinstance(value.get(end), float) for end in ("value", "low", "high")):
            rows.append((name, span(value)))
        elif isinstance(value, dict):
            rows += flat(value, f"{place}: ")
        elif isinstance(value, list) and value and all(isinstance(item, str) for item in value):
            rows.append((name, "\n\n".join(value)))
        elif isinstance(value, float):
            rows.append((name, f"{value:.4g}"))
        elif value is not None and not isinstance(value, list):
            rows.append((name, f"{value:,}" if type(value) is int else str(value)))
    return rows


def span(of: dict[str, float]) -> str:
    """An estimate and its interval."""
    return f"{of['value']:.2f} ({of['low']:.2f} to {of['high']:.2f})"
