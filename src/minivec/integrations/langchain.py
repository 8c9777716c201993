"""A LangChain ``Embeddings`` that answers in another model's space, so that an index built by it serves on."""

import numpy as np
from langchain_core.embeddings import Embeddings

from minivec.map import LinearMap


class AlignedEmbeddings(Embeddings):
    """What ``base`` embeds, mapped by ``adapter``: unit vectors comparable by cosine with the index's own."""

    def __init__(self, base: Embeddings, adapter: LinearMap):
        self.base, self.adapter = base, adapter

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        """A vector (dB,) for each text."""
        return self._mapped(self.base.embed_documents(texts))

    def embed_query(self, text: str) -> list[float]:
        """The vector (dB,) of a query."""
        return self._mapped([self.base.embed_query(text)])[0]

    async def aembed_documents(self, texts: list[str]) -> list[list[float]]:
        """``embed_documents``, by the base's own asynchronous one."""
        return self._mapped(await self.base.aembed_documents(texts))

    async def aembed_query(self, text: str) -> list[float]:
        """``embed_query``, by the base's own asynchronous one."""
        return self._mapped([await self.base.aembed_query(text)])[0]

    def _mapped(self, vectors: list[list[float]]) -> list[list[float]]:
        return self.adapter(np.asarray(vectors)).tolist() if vectors else []
