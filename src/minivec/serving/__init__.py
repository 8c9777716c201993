"""A map served over HTTP: OpenAI's /v1/embeddings, answered with mapped vectors of another model behind it."""

from minivec.extras import missing

try:
    from minivec.serving.app import create_app
except ModuleNotFoundError as error:
    if (error.name or "").startswith("minivec"):
        raise
    raise missing(f"a served map needs {error.name}", "serve") from error

__all__ = ["create_app"]
