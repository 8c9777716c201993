"""The page: a Jinja2 template around the charts, the texts and the facts, with all scripts inside."""

import json
from typing import Any

from bokeh.document import Document
from bokeh.embed.util import standalone_docs_json_and_render_items
from bokeh.resources import Resources
from markupsafe import Markup

from minivec.report import rendering, words
from minivec.report.charts import charts
from minivec.report.facts import Facts, Side

TEXT_BYTES = 2_000_000  # of both sides together: with the scripts and 20,000 points a page stays under 5 MB
LONGEST = 240  # characters of a text


def render(facts: Facts) -> str:
    """The whole page. What users wrote is data or escaped, never markup."""
    document = Document()
    for plot in charts(facts).values():
        document.add_root(plot)
    documents, (item,) = standalone_docs_json_and_render_items(document)
    places = {model.id: f"chart-{model.name}" for model in document.roots}
    return rendering.rendered(
        "page.html",
        facts=facts,
        words=words,
        captions=words.captions(facts),
        bokeh=Markup(Resources(mode="inline", components=["bokeh"]).js_raw[0]),
        data=Markup(_json({"docs": documents, "items": [{**item.to_json(), "roots": places}]})),
        rows=Markup(_json(_rows(facts))),
    )


def _json(value: Any) -> str:
    """JSON that may stand in a script element: nothing in it ends one, or begins a comment."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c")


def _rows(facts: Facts) -> dict[str, Any]:
    """What the table of matches and the hover texts need."""
    source, target = shortened([facts.source, facts.target])
    return {
        "A": {"rows": _numbers(facts.source), "texts": source},
        "B": {"rows": _numbers(facts.target), "texts": None if target is source else target},
        "paired": facts.paired,
        "ticks": facts.ticks,
        "near": facts.near.ravel().tolist(),
        "cosine": [round(float(c), 3) for c in facts.cosine.ravel()],
        "csls": facts.csls.tolist(),
        "rank": (facts.back if facts.rank is None else facts.rank).tolist(),
    }


def _numbers(side: Side) -> list[int] | None:
    """The numbers of the rows shown, None where they are all there are."""
    return None if len(side.rows) == side.count else side.rows.tolist()


def shortened(sides: list[Side]) -> list[list[str] | None]:
    """The sides' texts, cut to one length with which all of them fit into TEXT_BYTES."""
    length = LONGEST
    while True:
        cut = [side.texts and [t if len(t) <= length else t[: length - 1] + "…" for t in side.texts] for side in sides]
        if sides[0].texts == sides[1].texts:
            cut[1] = cut[0]
        size = sum(len(_json(t).encode("utf-8", "replace")) for t in {id(t): t for t in cut}.values())
        if size <= TEXT_BYTES or length < 8:
            return cut
        length = int(length * min(0.9, TEXT_BYTES / size))
