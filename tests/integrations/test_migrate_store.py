"""migrate_store: vector stores of LangChain and LlamaIndex, of the real packages, moved to another model."""

import asyncio

import pytest

from databases import MAKERS
from embedders.embedding_server import tiny
from minivec.map import LinearMap
from small import both_ways

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # the packages' use of LanceDB and SQLAlchemy
    pytest.mark.filterwarnings("ignore:Payload indexes have no effect in the local Qdrant"),
    pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning"),  # Chroma's clients cannot be closed
]

BRIDGE = both_ways(dA=16, dB=8)
DOUBTFUL = LinearMap(BRIDGE.weights, {"verdict": "doubtful", "confidence": 0.2})
TEXTS = [f"text number {i}" for i in range(60)]


def chroma_clients(folder):
    """Of a folder with settings of its own, in memory, and of a server."""
    chromadb = pytest.importorskip("chromadb", reason="needs chromadb")
    yield chromadb.PersistentClient(str(folder / "chroma"), chromadb.Settings(anonymized_telemetry=False))
    memory = chromadb.EphemeralClient()
    for collection in memory.list_collections():  # there is one memory for the whole process
        memory.delete_collection(collection.name)
    yield memory
    from chroma_server import chroma_server

    with chroma_server(folder / "server") as (host, port):
        yield chromadb.HttpClient(host, port, headers={"X-Mine": "passed on"})


def qdrant_clients(folder):
    """Of a folder, in memory, and of a server."""
    qdrant = pytest.importorskip("qdrant_client", reason="needs qdrant-client")
    yield qdrant.QdrantClient(path=str(folder / "qdrant"))
    yield qdrant.QdrantClient(":memory:")
    from qdrant_server import qdrant_server

    with qdrant_server() as (_, address):
        yield qdrant.QdrantClient(url=f"http://{address}")


class TestLangChain:
    @pytest.fixture(autouse=True)
    def models(self):
        """The old model and the new one, whose vectors are the old one's, mapped."""
        Embeddings = pytest.importorskip("langchain_core.embeddings", reason="needs langchain-core").Embeddings

        class Model(Embeddings):
            def __init__(self, encode):
                self.encode = encode

            def embed_documents(self, texts):
                return self.encode(texts).tolist()

            def embed_query(self, text):
                return self.embed_documents([text])[0]

        self.old, self.new = Model(tiny), Model(lambda texts: BRIDGE(tiny(texts)))

    def check(self, store, **options):
        """The new store finds what the new model asks for, takes new documents, and the old one is as it was."""
        from minivec.integrations.langchain import migrate_store

        store.add_texts(TEXTS, metadatas=[{"n": i} for i in range(60)])
        with pytest.raises(ValueError, match="is doubtful"):
            migrate_store(store, DOUBTFUL, name="moved", embedding=self.new)
        moved = migrate_store(store, BRIDGE, name="moved", embedding=self.new, verify=20, **options)
        assert type(moved) is type(store) and moved.embeddings is self.new
        for texts, found in ((TEXTS, moved), (TEXTS, store)):
            (best,) = found.similarity_search(texts[7], k=1)
            assert (best.page_content, best.metadata["n"]) == (texts[7], 7)
        moved.add_texts(["something else"], metadatas=[{"n": 99}])
        assert moved.similarity_search("something else", k=1)[0].metadata["n"] == 99
        assert store.similarity_search("something else", k=1)[0].page_content in TEXTS
        return moved

    @pytest.mark.slow
    def test_chroma(self, tmp_path):
        Chroma = pytest.importorskip("langchain_chroma", reason="needs langchain-chroma").Chroma
        for client in chroma_clients(tmp_path):
            self.check(Chroma("docs", self.old, client=client, collection_metadata={"hnsw:space": "cosine"}))

    @pytest.mark.slow
    def test_qdrant(self, tmp_path):
        langchain_qdrant = pytest.importorskip("langchain_qdrant", reason="needs langchain-qdrant")
        from qdrant_client.models import Distance, VectorParams

        vectors = VectorParams(size=16, distance=Distance.COSINE)
        for client in qdrant_clients(tmp_path):
            for name in ("", "dense"):
                client.create_collection(f"docs{name}", vectors_config={name: vectors} if name else vectors)
                store = langchain_qdrant.QdrantVectorStore(client, f"docs{name}", self.old, vector_name=name)
                self.check(store)
                client.delete_collection("moved")
                client.delete_collection("minivec_migrations")

    @pytest.mark.slow
    def test_postgres(self, tmp_path):
        langchain_postgres = pytest.importorskip("langchain_postgres", reason="needs langchain-postgres")
        uri = MAKERS["postgres"](tmp_path).uri
        engine = langchain_postgres.PGEngine.from_connection_string(uri.replace("postgresql:", "postgresql+psycopg:"))
        engine.init_vectorstore_table("docs", vector_size=16)
        store = langchain_postgres.PGVectorStore.create_sync(engine, self.old, "docs", k=7)
        moved = self.check(store)
        assert len(moved.similarity_search("text")) == 7
        asyncio.run(engine.close())

    def test_a_store_that_it_does_not_know(self):
        from langchain_core.vectorstores import InMemoryVectorStore

        from minivec.integrations.langchain import migrate_store

        with pytest.raises(TypeError) as caught:
            migrate_store(InMemoryVectorStore(self.old), BRIDGE, name="moved", embedding=self.new)
        known = "langchain_chroma.Chroma, langchain_postgres.v2.PGVectorStore, langchain_qdrant.QdrantVectorStore"
        assert str(caught.value).endswith(f"InMemoryVectorStore; of these: {known}")


class TestLlamaIndex:
    def check(self, store, **options):
        """The new store finds what the new model asks for and takes new nodes, and the old one is as it was."""
        from llama_index.core.schema import TextNode
        from llama_index.core.vector_stores import VectorStoreQuery

        from minivec.integrations.llama_index import migrate_store

        def nodes(texts, X):
            return [
                TextNode(text=t, embedding=x.tolist(), metadata={"n": i})
                for i, (t, x) in enumerate(zip(texts, X, strict=True))
            ]

        def best(found, x):
            (node,) = found.query(VectorStoreQuery(query_embedding=x.tolist(), similarity_top_k=1)).nodes
            return node.get_content(), node.metadata["n"]

        X = tiny(TEXTS)
        store.add(nodes(TEXTS, X))
        with pytest.raises(ValueError, match="is doubtful"):
            migrate_store(store, DOUBTFUL, name="moved")
        moved = migrate_store(store, BRIDGE, name="moved", verify=20, **options)
        assert type(moved) is type(store)
        assert best(moved, BRIDGE(X[7])) == best(store, X[7]) == ("text number 7", 7)
        new = BRIDGE(tiny(["something else"]))
        moved.add(nodes(["something else"], new))
        assert best(moved, new[0]) == ("something else", 0)
        assert best(store, tiny(["something else"])[0])[0] in TEXTS

    @pytest.mark.slow
    def test_chroma(self, tmp_path):
        package = pytest.importorskip(
            "llama_index.vector_stores.chroma", reason="needs llama-index-vector-stores-chroma"
        )
        for client in chroma_clients(tmp_path):
            made = client.create_collection("nodes", metadata={"hnsw:space": "cosine"})
            self.check(package.ChromaVectorStore.from_collection(made))

    @pytest.mark.slow
    def test_qdrant(self, tmp_path):
        package = pytest.importorskip(
            "llama_index.vector_stores.qdrant", reason="needs llama-index-vector-stores-qdrant"
        )
        for client in qdrant_clients(tmp_path):
            self.check(package.QdrantVectorStore("nodes", client=client))

    def test_lancedb(self, tmp_path):
        package = pytest.importorskip(
            "llama_index.vector_stores.lancedb", reason="needs llama-index-vector-stores-lancedb"
        )
        self.check(package.LanceDBVectorStore(uri=str(tmp_path / "lance"), table_name="nodes"))

    @pytest.mark.slow
    @pytest.mark.parametrize("half", [False, True])
    def test_postgres(self, tmp_path, half):
        package = pytest.importorskip(
            "llama_index.vector_stores.postgres", reason="needs llama-index-vector-stores-postgres"
        )
        uri = MAKERS["postgres"](tmp_path).uri
        uris = [uri.replace("postgresql:", f"postgresql+{driver}:") for driver in ("psycopg2", "asyncpg")]
        self.check(package.PGVectorStore(*uris, table_name="nodes", embed_dim=16, use_jsonb=True, use_halfvec=half))

    def test_a_store_that_it_does_not_know(self):
        vector_stores = pytest.importorskip("llama_index.core.vector_stores", reason="needs llama-index-core")
        from minivec.integrations.llama_index import migrate_store

        with pytest.raises(TypeError, match="SimpleVectorStore; of these: llama_index.vector_stores.chroma.Chroma"):
            migrate_store(vector_stores.SimpleVectorStore(), BRIDGE, name="moved")
