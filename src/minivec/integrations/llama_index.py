"""A LlamaIndex embedding that answers in another model's space, so that an index built by it serves on."""

from typing import Any

from llama_index.core.base.embeddings.base import BaseEmbedding, Embedding

from minivec.map import LinearMap


class AlignedEmbedding(BaseEmbedding):
    """What ``base`` embeds, mapped by ``adapter``: unit vectors comparable by cosine with the index's own."""

    base: BaseEmbedding
    adapter: LinearMap

    def __init__(self, base: BaseEmbedding, adapter: LinearMap, **kwargs: Any):
        kwargs = {"model_name": base.model_name, "embed_batch_size": base.embed_batch_size, **kwargs}
        super().__init__(base=base, adapter=adapter, **kwargs)  # type: ignore[call-arg]

    def _get_query_embedding(self, query: str) -> Embedding:
        return self.adapter(self.base.get_query_embedding(query)).tolist()

    async def _aget_query_embedding(self, query: str) -> Embedding:
        return self.adapter(await self.base.aget_query_embedding(query)).tolist()

    def _get_text_embedding(self, text: str) -> Embedding:
        return self.adapter(self.base.get_text_embedding(text)).tolist()

    def _get_text_embeddings(self, texts: list[str]) -> list[Embedding]:
        return self.adapter(self.base.get_text_embedding_batch(texts)).tolist()
