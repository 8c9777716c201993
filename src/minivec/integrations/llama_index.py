"""A LlamaIndex embedding that answers in another model's space, so that an index built by it serves on."""

from typing import Any

from llama_index.core.base.embeddings.base import BaseEmbedding, Embedding
from llama_index.core.embeddings.loading import RECOGNIZED_EMBEDDINGS, load_embed_model
from pydantic import SerializeAsAny, field_serializer

from minivec.map import LinearMap


class AlignedEmbedding(BaseEmbedding):
    """What ``base`` embeds, mapped by ``adapter``: unit vectors comparable by cosine with the index's own.

    ``to_dict`` and ``to_json`` hold both, the map as lists of numbers. ``from_dict`` and ``from_json`` make the same
    embedding again where LlamaIndex's ``load_embed_model`` knows the class of ``base``; otherwise give ``base`` to
    them: ``AlignedEmbedding.from_json(text, base=base)``.
    """

    base: SerializeAsAny[BaseEmbedding]
    adapter: LinearMap

    def __init__(self, base: BaseEmbedding | dict[str, Any], adapter: LinearMap | dict[str, Any], **kwargs: Any):
        base = load_embed_model(base)  # type: ignore[arg-type]
        if isinstance(adapter, dict):
            adapter = LinearMap(adapter["weights"], adapter["history"])
        kwargs = {"model_name": base.model_name, "embed_batch_size": base.embed_batch_size, **kwargs}
        super().__init__(base=base, adapter=adapter, **kwargs)  # type: ignore[call-arg]

    @classmethod
    def class_name(cls) -> str:
        """The name under which LlamaIndex keeps the class in what it writes."""
        return "AlignedEmbedding"

    @field_serializer("adapter")
    def _plain(self, adapter: LinearMap) -> dict[str, Any]:
        weights = {name: array.tolist() for name, array in adapter.weights.items()}
        return {"weights": weights, "history": adapter.history}

    def _get_query_embedding(self, query: str) -> Embedding:
        return self.adapter(self.base.get_query_embedding(query)).tolist()

    async def _aget_query_embedding(self, query: str) -> Embedding:
        return self.adapter(await self.base.aget_query_embedding(query)).tolist()

    def _get_text_embedding(self, text: str) -> Embedding:
        return self.adapter(self.base.get_text_embedding(text)).tolist()

    def _get_text_embeddings(self, texts: list[str]) -> list[Embedding]:
        return self.adapter(self.base.get_text_embedding_batch(texts)).tolist()


RECOGNIZED_EMBEDDINGS[AlignedEmbedding.class_name()] = AlignedEmbedding
