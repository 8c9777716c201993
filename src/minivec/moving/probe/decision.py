"""From figures to a decision, its reason, and what would change it."""

import math
from collections.abc import Mapping
from typing import Any

from minivec.moving.probe.estimate import Estimate
from minivec.moving.probe.lists import ADAPT, CEILING, MIGRATE, RERANK, STAY
from minivec.moving.probe.result import Decision, Learning
from minivec.settings import FEW_ROWS

UNKNOWN = "too few queries to tell"
FEWEST = 30  # queries that a bootstrap needs
LARGER_POOL = "more documents in the pool would narrow the interval, and more queries would not"


def decide(
    retentions: Mapping[str, Estimate],
    differences: Mapping[tuple[str, str], Estimate],
    *,
    queries: int,
    target: float,
    judged: bool,
    extrapolated: bool = False,
) -> Decision:
    """The decision by the ``retentions`` of the ways to search, at a ``target`` (0 to 1).

    ``differences`` are those of two ways' quality, the first less the second, on the same queries. Quality is nDCG
    where queries are ``judged``, otherwise the share of the ceiling's documents that are found. That share is
    ``extrapolated`` where most of its interval comes from the step from the pool to all rows.
    """
    best = better_map(retentions)
    kept, what = retentions[best], "nDCG" if judged else "first documents"

    def decision(choice: str, reason: str, more: str | None = None) -> Decision:
        return Decision(choice, reason, [more] if more else [], best, kept)

    keeps = f"{best} keeps {_span(kept)} of the new model's {what}"
    if queries < FEWEST:
        return decision(UNKNOWN, f"{queries} queries were measured; {FEWEST} are the fewest.")
    gain = differences.get((CEILING, STAY)) if judged else None
    if gain and gain.high < 0:
        return decision("stay", f"the new model's nDCG is lower than the old one's, by {_span(_minus(gain))}.")
    behind = differences.get((best, STAY)) if judged else None
    if behind and behind.high < 0:
        lost = f"the best map's nDCG is lower than today's, by {_span(_minus(behind))}"
        if gain and gain.low > 0:
            return decision("re-embed", f"{lost}, and the new model's is higher, by {_span(gain)}.")
        return decision("stay", f"{lost}, and no gain of the new model is certain.")
    if kept.low >= target:
        return _of_maps(decision, keeps, differences, best)
    if kept.high >= target:
        more = LARGER_POOL if extrapolated else _queries(kept, target, queries)
        return decision(UNKNOWN, f"{keeps}, and the interval holds {target:g}.", more=more)
    again = retentions.get(RERANK)
    if again and again.low >= target:
        reason = f"{keeps}; adapt's results, ranked again by the new model's vectors, keep {_span(again)}"
        return decision("adapt", f"{reason}. Embed what is retrieved, and no more.")
    if gain and gain.low <= 0:
        more = _queries(gain, 0.0, queries)
        return decision(UNKNOWN, f"{keeps}, and no gain of the new model is certain ({_span(gain)}).", more=more)
    return decision("re-embed", f"{keeps}, less than {target:g}.{_beside_today(retentions, best)}")


def better_map(retentions: Mapping[str, Estimate]) -> str:
    """The map whose results are better: migrate or adapt."""
    return max((way for way in (MIGRATE, ADAPT) if way in retentions), key=lambda way: retentions[way].value)


def _of_maps(decision: Any, keeps: str, differences: Mapping[tuple[str, str], Estimate], best: str) -> Decision:
    """Migrate or adapt: the better one, or adapt where neither is better for certain."""
    between = differences.get((MIGRATE, ADAPT))
    if between is None or between.low > 0 or between.high < 0:
        result: Decision = decision(best, f"{keeps}.")
        return result
    equal = "migrate and adapt do not differ for certain, and adapt changes nothing in the store"
    result = decision(ADAPT, f"{keeps}; {equal}.")
    return result


def _beside_today(retentions: Mapping[str, Estimate], best: str) -> str:
    """Without relevance: whether the map brings the results nearer to the new model's than they are today."""
    today = retentions.get(STAY)
    if today is None:
        return ""
    nearer = "nearer to" if retentions[best].low > today.high else "no nearer to"
    return f" Today's search keeps {_span(today)}, so the map brings results {nearer} the new model's."


def _queries(interval: Estimate, limit: float, queries: int) -> str:
    """How many queries would take the ``limit`` out of the interval, as its width falls with their square root."""
    half, distance = (interval.high - interval.low) / 2, abs(interval.value - limit)
    needed = math.ceil(queries * (half / distance) ** 2 / 10) * 10 if distance > 1e-9 else math.inf
    if needed > 100_000:
        return "the figure is so near the limit that no number of queries would tell"
    return f"about {max(needed, queries + 10):,} queries would tell, if the figure stays what it is"


def advice(history: Mapping[str, Any], learning: list[Learning]) -> list[str]:
    """What more pairs or rows would change, as far as this is known."""
    lines = []
    better = [step for step in learning if step.gain.low > 0]
    if better:
        step = max(better, key=lambda step: step.recall.value)
        lines.append(
            f"a map from {step.pairs:,} known pairs, rows of this pool, finds {_span(step.recall)} of the new model's "
            f"first documents, {_span(step.gain)} more than this map: fit again with pairs"
        )
    elif learning:
        lines.append(f"a map from {learning[-1].pairs:,} known pairs of this pool does no better for certain")
    rows = min((entry["shape"][0] for entry in history.get("data", {}).values()), default=FEW_ROWS)
    if not history.get("pairs") and rows < FEW_ROWS:
        lines.append(f"the map was fitted to {rows:,} rows a side; {FEW_ROWS:,} and more give better maps")
    return lines


def _minus(interval: Estimate) -> Estimate:
    return Estimate(-interval.value, -interval.high, -interval.low)


def _span(interval: Estimate) -> str:
    return f"{interval.value:.2f} ({interval.low:.2f} to {interval.high:.2f})"
