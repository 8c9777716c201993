"""The names of the two spaces of a map, in the history of its fit."""

import re
from collections.abc import Mapping
from typing import Any

COMMON = "common space"
OF_BOTH = "confidence", "verdict", "causes", "stopped", "settings", "pairs", "data", "versions"
LONGEST = 100  # characters of a name
SWAPPED = {"source": "target", "target": "source", "XA": "XB", "XB": "XA"}
TURNED = {"expected_top1": "inverse_expected_top1", "inverse_expected_top1": "expected_top1"}


def recorded(source_name: Any, target_name: Any) -> dict[str, str | None]:
    """What a history records: the names of the source's and of the target's space, None where there is no name.

    Raises TypeError for a name that is no text, and ValueError for one that is empty, cannot be printed or has more
    than 100 characters, and for two equal names.
    """
    for argument, name in (("source_name", source_name), ("target_name", target_name)):
        if name is None:
            continue
        if not isinstance(name, str):
            raise TypeError(f"{argument} must be text; got {name!r}")
        if not name.strip() or not name.isprintable() or len(name) > LONGEST:
            raise ValueError(f"{argument} must be 1 to {LONGEST} printable characters; got {name[: LONGEST + 1]!r}")
    if source_name is not None and source_name == target_name:
        raise ValueError(f"source_name and target_name must differ; both are {source_name!r}")
    return {"source": source_name, "target": target_name}


def names(history: Mapping[str, Any]) -> tuple[str | None, str | None]:
    """The names of the source's and of the target's space, None where the fit was given none."""
    spaces = history.get("spaces") or {}
    return spaces.get("source"), spaces.get("target")


def described(history: Mapping[str, Any], widths: tuple[int, int]) -> str:
    """From where to where a map leads, as "old -> new, 8 -> 6 dimensions"; without names only the widths."""
    source, target = names(history)
    named = f"{source or '(no name)'} -> {target or '(no name)'}, " if source or target else ""
    return f"{named}{widths[0]} -> {widths[1]} dimensions"


def inverted(history: Mapping[str, Any]) -> dict[str, Any]:
    """The history of the inverse: its source is the target of the fit, in the names, the data and the causes.

    ``expected_top1``, which is of one direction, is kept as ``inverse_expected_top1``, and the other way round.
    """
    result = {TURNED.get(name, name): value for name, value in history.items()}
    for entry in ("spaces", "data"):
        if entry in history:
            result[entry] = dict(sorted((SWAPPED.get(name, name), value) for name, value in history[entry].items()))
    if "causes" in history:
        result["causes"] = [re.sub(r"\bX[AB]\b", lambda name: SWAPPED[name[0]], c) for c in history["causes"]]
    return result


def of_common(history: Mapping[str, Any]) -> dict[str, Any]:
    """The history of the map from the source into the space that both spaces share: what holds for both, and names."""
    kept = {name: history[name] for name in OF_BOTH if name in history}
    return {**kept, "spaces": {"source": names(history)[0], "target": COMMON}}
