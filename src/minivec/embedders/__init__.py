"""Models that make vectors of texts, behind one small protocol: each maker a module, its package an extra."""

from pathlib import Path

from minivec.embedders.base import KINDS, Embedder, EmbedderError
from minivec.embedders.batches import Streaming, streaming
from minivec.embedders.cache import Cached

__all__ = ["KINDS", "Cached", "Embedder", "EmbedderError", "Streaming", "open_embedder", "streaming"]

LOCAL = "sentence-transformers:"


def open_embedder(model: "str | Embedder", *, cache: str | Path | bool = True) -> Streaming:
    """The embedder that ``model`` names; nothing is loaded or asked before it is given texts.

    - "sentence-transformers:NAME_OR_FOLDER": a model of that library, with its own prompts for queries and documents
    - "https://HOST/v1#MODEL": a server with OpenAI's ``/v1/embeddings`` call (OpenAI, Ollama, vLLM, Text Embeddings
      Inference, LiteLLM ...). Options follow a question mark: ``?dimensions=512``, ``?query_prompt=...`` and
      ``?document_prompt=...``, ``?encoding=float``, ``?key_from=VARIABLE``. The key is the value of that environment
      variable, else of OPENAI_API_KEY for api.openai.com and of MINIVEC_API_KEY for any other host.
    - an ``Embedder`` of your own

    Vectors are kept in ``cache``, a file by model and text: True for the user's own
    (``~/.cache/minivec/embeddings.sqlite3``), a path for another one, False for none. The texts are not in it.
    Raises ValueError for a name of another form.
    """
    if not isinstance(model, str):
        made = streaming(model)
    elif model.startswith(LOCAL) and model != LOCAL:
        from minivec.embedders.sentence_transformers import SentenceTransformerEmbedder

        made = SentenceTransformerEmbedder(model.removeprefix(LOCAL))
    elif model.startswith(("http://", "https://")):
        from minivec.embedders.http import open_http

        made = open_http(model)
    else:
        raise ValueError(f"model must be {LOCAL}NAME_OR_FOLDER or https://HOST/v1#MODEL; got {model!r}")
    if cache is False or isinstance(made, Cached):
        return made
    return Cached(made, None if cache is True else cache)
