"""A page that explains an alignment: one file that needs no network, or static pictures of it."""

from functools import cached_property
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from minivec.files import check_output, replacing
from minivec.map import LinearMap

if TYPE_CHECKING:
    from minivec.report.facts import Facts

SUFFIXES = (".html", ".png", ".svg")


class Report:
    """What ``aligner.report`` returns: ``facts`` in numbers; notebooks show the page, ``save`` writes it."""

    def __init__(self, facts: "Facts"):
        self.facts = facts

    @classmethod
    def of(cls, aligner: Any, A: Any, B: Any, **options: Any) -> "Report":
        """The report of a ``LinearMap`` or an aligned model; arguments as ``aligner.report`` has them."""
        from minivec.report.facts import gather  # loads FAISS and SciPy

        bridge = LinearMap.of(aligner)
        if "data" not in bridge.history:
            raise ValueError("a report needs the history of the fit, and this map has none")
        return cls(gather(bridge, A, B, **options))

    @cached_property
    def html(self) -> str:
        """The page, self-contained; ImportError without the packages of ``minivec[report]``."""
        try:
            from minivec.report.page import render
        except ImportError as error:
            raise ImportError(f"reports need Bokeh and Jinja2: pip install 'minivec[report]' ({error})") from error
        return render(self.facts)

    def save(self, path: str | Path) -> None:
        """Write ``path``, whole or not at all: the page (.html) or its main pictures (.png, .svg)."""
        path = Path(path)
        check_output(path, SUFFIXES)
        if path.suffix.lower() == ".html":
            data = self.html.encode("utf-8", "replace")
        else:
            from minivec.report.static import draw

            data = draw(self.facts, path.suffix.lower().removeprefix("."))
        with replacing(path) as temporary:
            temporary.write_bytes(data)

    def _repr_html_(self) -> str:
        """The page in a frame of its own, so that neither its style nor its script meets the notebook's."""
        return (
            '<iframe title="minivec alignment report" sandbox="allow-scripts" '
            'style="width:100%;height:80vh;min-height:30rem;border:1px solid #8886;border-radius:6px" '
            f'srcdoc="{escape(self.html)}"></iframe>'
        )
