"""A map served over HTTP: OpenAI's /v1/embeddings, answered with mapped vectors of another model behind it."""

from minivec.extras import missing

try:
    from minivec.serving.app import create_app
except ModuleNotFoundError as error:
    package = (error.name or "").partition(".")[0]
    if package == "minivec":
        raise
    raise missing(f"a served map needs {package}", "serve") from error

__all__ = ["create_app"]
