"""LlamaIndex: an embedding that answers in another model's space, and vector stores moved to another model."""

from typing import Any

from llama_index.core.base.embeddings.base import BaseEmbedding, Embedding
from llama_index.core.embeddings.loading import RECOGNIZED_EMBEDDINGS, load_embed_model
from pydantic import PrivateAttr, SerializeAsAny, field_serializer

from minivec.integrations import opened
from minivec.map import LinearMap


class AlignedEmbedding(BaseEmbedding):
    """What ``base`` embeds, mapped by ``adapter``: unit vectors comparable by cosine with the index's own.

    Queries are mapped ``for_queries``.

    ``to_dict`` and ``to_json`` hold both, the map as lists of numbers. ``from_dict`` and ``from_json`` make the same
    embedding again where LlamaIndex's ``load_embed_model`` knows the class of ``base``; otherwise give ``base`` to
    them: ``AlignedEmbedding.from_json(text, base=base)``.
    """

    base: SerializeAsAny[BaseEmbedding]
    adapter: LinearMap
    _asking: LinearMap = PrivateAttr()

    def __init__(self, base: BaseEmbedding | dict[str, Any], adapter: LinearMap | dict[str, Any], **kwargs: Any):
        base = load_embed_model(base)  # type: ignore[arg-type]
        if isinstance(adapter, dict):
            adapter = LinearMap(adapter["weights"], adapter["history"])
        kwargs = {"model_name": base.model_name, "embed_batch_size": base.embed_batch_size, **kwargs}
        super().__init__(base=base, adapter=adapter, **kwargs)  # type: ignore[call-arg]
        self._asking = adapter.for_queries()

    @classmethod
    def class_name(cls) -> str:
        """The name under which LlamaIndex keeps the class in what it writes."""
        return "AlignedEmbedding"

    @field_serializer("adapter")
    def _plain(self, adapter: LinearMap) -> dict[str, Any]:
        weights = {name: array.tolist() for name, array in adapter.weights.items()}
        return {"weights": weights, "history": adapter.history}

    def _get_query_embedding(self, query: str) -> Embedding:
        return self._asking(self.base.get_query_embedding(query)).tolist()

    async def _aget_query_embedding(self, query: str) -> Embedding:
        return self._asking(await self.base.aget_query_embedding(query)).tolist()

    def _get_text_embedding(self, text: str) -> Embedding:
        return self.adapter(self.base.get_text_embedding(text)).tolist()

    def _get_text_embeddings(self, texts: list[str]) -> list[Embedding]:
        return self.adapter(self.base.get_text_embedding_batch(texts)).tolist()


RECOGNIZED_EMBEDDINGS[AlignedEmbedding.class_name()] = AlignedEmbedding


def migrate_store(store: Any, bridge: Any, *, name: str, **options: Any) -> Any:
    """The same nodes in a new collection or table ``name``, their vectors mapped: a vector store of the same class.

    - ``store``: a ChromaVectorStore, QdrantVectorStore, PGVectorStore or LanceDBVectorStore of LlamaIndex, which stays
      as it is. Give the new one to ``VectorStoreIndex.from_vector_store`` with the new model
    - ``bridge``: an aligned model or a ``LinearMap`` from the space of the store's vectors to that of the new model
    - ``options``: those of ``minivec.migrate.migrate``, such as ``min_confidence`` or ``verify``

    The same call goes on with a migration that was interrupted. Raises TypeError for another store, and what
    ``migrate`` raises.
    """
    return opened.mover_of(store, MOVERS)(store, bridge, name, options)


def _chroma(store: Any, bridge: Any, name: str, options: dict[str, Any]) -> Any:
    import chromadb

    old = store.client
    client = chromadb.Client(old._client.get_settings(), tenant=old.tenant, database=old.database)
    opened.moved(opened.chroma(client, old.name), opened.chroma(client, name), bridge, options)
    made = store.model_copy(update={"collection_name": name})
    made._collection = client.get_collection(name)
    return made


def _qdrant(store: Any, bridge: Any, name: str, options: dict[str, Any]) -> Any:
    client, vector = store.client, store.dense_vector_name
    if client is None:
        raise ValueError("the store has an asynchronous client only; give it a QdrantClient too (client=)")
    source, destination = (opened.qdrant(client, collection, vector) for collection in (store.collection_name, name))
    opened.moved(source, destination, bridge, options)
    return store.model_copy(update={"collection_name": name})


def _lance(store: Any, bridge: Any, name: str, options: dict[str, Any]) -> Any:
    connection, column = store.client, store.vector_column_name
    source, destination = (opened.lance(connection.uri, table, column) for table in (store.table.name, name))
    opened.moved(source, destination, bridge, options)
    made = store.model_copy()
    made._table_name, made._table = name, connection.open_table(name)
    return made


def _postgres(store: Any, bridge: Any, name: str, options: dict[str, Any]) -> Any:
    from sqlalchemy import make_url

    engine, asynchronous = store._engine, store._async_engine
    url, place = engine.url if engine else make_url(store.connection_string), {"schema": store.schema_name}
    source, destination = (
        opened.postgres(url, f"data_{table}", column="embedding", **place) for table in (store.table_name, name)
    )
    width = opened.moved(source, destination, bridge, options).shape[1]
    known = {setting: getattr(store, setting) for setting in type(store).model_fields if setting not in NOT_GIVEN}
    known |= {"table_name": name, "embed_dim": width, "customize_query_fn": store._customize_query_fn}
    return type(store)(**known, engine=engine, async_engine=asynchronous)


NOT_GIVEN = ("stores_text", "is_embedding_query", "flat_metadata")  # fields that a PGVectorStore sets itself
MOVERS = {
    "llama_index.vector_stores.chroma.ChromaVectorStore": _chroma,
    "llama_index.vector_stores.qdrant.QdrantVectorStore": _qdrant,
    "llama_index.vector_stores.postgres.PGVectorStore": _postgres,
    "llama_index.vector_stores.lancedb.LanceDBVectorStore": _lance,
}
