"""LangChain: an ``Embeddings`` that answers in another model's space, and vector stores moved to another model."""

from typing import Any

import numpy as np
from langchain_core.embeddings import Embeddings

from minivec.integrations import opened
from minivec.map import LinearMap


class AlignedEmbeddings(Embeddings):
    """What ``base`` embeds, mapped by ``adapter``: unit vectors comparable by cosine with the index's own.

    Queries are mapped ``for_queries``.
    """

    def __init__(self, base: Embeddings, adapter: LinearMap):
        self.base, self.adapter, self._asking = base, adapter, adapter.for_queries()

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        """A vector (dB,) for each text."""
        return _mapped(self.adapter, self.base.embed_documents(texts))

    def embed_query(self, text: str) -> list[float]:
        """The vector (dB,) of a query."""
        return _mapped(self._asking, [self.base.embed_query(text)])[0]

    async def aembed_documents(self, texts: list[str]) -> list[list[float]]:
        """``embed_documents``, by the base's own asynchronous one."""
        return _mapped(self.adapter, await self.base.aembed_documents(texts))

    async def aembed_query(self, text: str) -> list[float]:
        """``embed_query``, by the base's own asynchronous one."""
        return _mapped(self._asking, [await self.base.aembed_query(text)])[0]


def _mapped(adapter: LinearMap, vectors: list[list[float]]) -> list[list[float]]:
    return adapter(np.asarray(vectors)).tolist() if vectors else []


def migrate_store(store: Any, bridge: Any, *, name: str, embedding: Embeddings, **options: Any) -> Any:
    """The same documents in a new collection or table ``name``, their vectors mapped: a vector store of the same class.

    - ``store``: a Chroma (langchain-chroma), a QdrantVectorStore (langchain-qdrant) or a PGVectorStore
      (langchain-postgres), which stays as it is
    - ``bridge``: an aligned model or a ``LinearMap`` from the space of the store's vectors to that of ``embedding``
    - ``embedding``: the new model, which the new store embeds queries and documents with
    - ``options``: those of ``minivec.migrate.migrate``, such as ``min_confidence`` or ``verify``

    The same call goes on with a migration that was interrupted. Raises TypeError for another store, and what
    ``migrate`` raises.
    """
    return opened.mover_of(store, MOVERS)(store, bridge, name, embedding, options)


def _chroma(store: Any, bridge: Any, name: str, embedding: Embeddings, options: dict[str, Any]) -> Any:
    client = store._client
    opened.moved(opened.chroma(client, store._collection_name), opened.chroma(client, name), bridge, options)
    score = store.override_relevance_score_fn
    return type(store)(name, embedding, client=client, relevance_score_fn=score, create_collection_if_not_exists=False)


def _qdrant(store: Any, bridge: Any, name: str, embedding: Embeddings, options: dict[str, Any]) -> Any:
    client, vector = store.client, store.vector_name
    source, destination = (opened.qdrant(client, collection, vector) for collection in (store.collection_name, name))
    opened.moved(source, destination, bridge, options)
    return type(store)(
        client,
        name,
        embedding,
        retrieval_mode=store.retrieval_mode,
        vector_name=vector,
        content_payload_key=store.content_payload_key,
        metadata_payload_key=store.metadata_payload_key,
        distance=store.distance,
        sparse_embedding=store._sparse_embeddings,
        sparse_vector_name=store.sparse_vector_name,
        validate_embeddings=False,
        validate_collection_config=False,
    )


TABLE = (  # what a PGVectorStore knows of its table and of its searches
    "schema_name",
    "content_column",
    "embedding_column",
    "metadata_columns",
    "id_column",
    "metadata_json_column",
    "distance_strategy",
    "k",
    "fetch_k",
    "lambda_mult",
    "index_query_options",
    "hybrid_search_config",
)


def _postgres(store: Any, bridge: Any, name: str, embedding: Embeddings, options: dict[str, Any]) -> Any:
    engine, inner = store._engine, store._PGVectorStore__vs
    url, place = engine._pool.url, {"schema": inner.schema_name, "column": inner.embedding_column}
    source = opened.postgres(url, inner.table_name, key=inner.id_column, **place)
    opened.moved(source, opened.postgres(url, name, **place), bridge, options)
    known = {setting: getattr(inner, setting) for setting in TABLE}
    return type(store).create_sync(engine, embedding, name, **known)


MOVERS = {
    "langchain_chroma.Chroma": _chroma,
    "langchain_qdrant.QdrantVectorStore": _qdrant,
    "langchain_postgres.v2.PGVectorStore": _postgres,
}
