"""Packages that only some features need, and what to say when one of them is missing."""


def missing(needs: str, extra: str) -> ImportError:
    """The error to raise for a missing package: it says how to install it.

    ``needs`` says what needs which package, such as "reports need Bokeh and Jinja2"; ``extra`` is the extra of
    pyproject.toml that has the package, such as "report".
    """
    return ImportError(
        f"{needs}: pip install '.[{extra}]' in a copy of the repository, "
        f"or pip install 'minivec[{extra}]' from a package index"
    )
