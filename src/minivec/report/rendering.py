"""Pages made of templates. What a template is given is escaped."""

from pathlib import Path
from typing import Any

from minivec.extras import missing
from minivec.files import check_output, replacing


def rendered(template: str, **values: Any) -> str:
    """The page that the template of this name makes of the values; ImportError without Jinja2."""
    from jinja2 import Environment, PackageLoader

    templates = Environment(loader=PackageLoader("minivec.report", "templates"), autoescape=True, trim_blocks=True)
    return templates.get_template(template).render(**values)


def save(path: str | Path, template: str, **values: Any) -> None:
    """Write the page as an .html file, whole or not at all; ImportError without the packages of ``minivec[report]``."""
    check_output(path, (".html",))
    try:
        page = rendered(template, **values)
    except ImportError as error:
        raise missing(f"reports need Jinja2 ({error})", "report") from error
    with replacing(path) as temporary:
        temporary.write_bytes(page.encode("utf-8", "replace"))
