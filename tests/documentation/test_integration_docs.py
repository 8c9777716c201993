"""The examples of docs/integrations.md run as they stand, those of tools that are installed."""

import importlib.util
import re
from pathlib import Path

import numpy as np
import pytest

import supervised
from minivec import MiniVec2VecAligner

PAGE = (Path(__file__).parents[2] / "docs" / "integrations.md").read_text()
SECTIONS = dict(re.findall(r"^#+ (.*?)$(.*?)(?=^#+ |\Z)", PAGE, re.MULTILINE | re.DOTALL))
NEEDED = {"ONNX": "onnxruntime", "PyTorch": "torch", "scikit-learn": "sklearn", "LangChain": "langchain_core"}
NEEDED |= {"sentence-transformers": "sentence_transformers", "LlamaIndex": "llama_index"}
NEEDED |= {"Vector stores of LangChain": "langchain_chroma"}
NEEDED |= {"Vector stores of LlamaIndex": "llama_index.vector_stores.lancedb"}


def code(section):
    return "\n".join(re.findall(r"^```python\n(.*?)^```$", SECTIONS[section], re.MULTILINE | re.DOTALL))


def installed(module):
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:  # of the package that it would be in
        return False


def langchain_store():
    """A store of LangChain with vectors of 8 dimensions, and a model of 6."""
    from langchain_chroma import Chroma
    from langchain_core.embeddings import DeterministicFakeEmbedding

    store = Chroma("docs", DeterministicFakeEmbedding(size=8), persist_directory="chroma")
    store.add_texts([f"text {i}" for i in range(20)])
    return {"store": store, "new_embeddings": DeterministicFakeEmbedding(size=6)}


def llama_index_store():
    """A store of LlamaIndex with vectors of 8 dimensions, and a model of 6."""
    from llama_index.core.embeddings import MockEmbedding
    from llama_index.core.schema import TextNode
    from llama_index.vector_stores.lancedb import LanceDBVectorStore

    store = LanceDBVectorStore("lance", "nodes")
    X = np.random.default_rng(0).standard_normal((20, 8))
    store.add([TextNode(text=f"text {i}", embedding=x.tolist()) for i, x in enumerate(X)])
    return {"store": store, "new_embedding": MockEmbedding(embed_dim=6)}


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # LlamaIndex's use of LanceDB
@pytest.mark.parametrize("section", [name for name in SECTIONS if name != "In other tools"])
def test_example(section, tmp_path, monkeypatch):
    if section in NEEDED and not installed(NEEDED[section]):
        pytest.skip(f"needs {NEEDED[section]}")
    monkeypatch.chdir(tmp_path)
    supervised.install(monkeypatch)
    A, B = supervised.spaces(8, 6, rows=200)
    aligner = MiniVec2VecAligner(8)
    aligner.align(A, B)
    aligner.save("aligner.keras")
    names = {"source": A, "target": B, "test_A": A[:50], "test_B": B[:50], "labels": (B[:, 0] > 0).astype(int)}
    if section == "sentence-transformers":
        from sentence_transformers import SentenceTransformer
        from sentence_transformers.sentence_transformer.modules import BoW

        SentenceTransformer(modules=[BoW([f"word{i}" for i in range(8)])], device="cpu").save("encoder")
    if section == "LangChain":
        from langchain_core.embeddings import DeterministicFakeEmbedding

        names["new_embeddings"] = DeterministicFakeEmbedding(size=8)
    if section == "LlamaIndex":
        from llama_index.core.embeddings import MockEmbedding

        names["new_embedding"] = MockEmbedding(embed_dim=8)
    if section == "Vector stores of LangChain":
        names |= langchain_store()
    if section == "Vector stores of LlamaIndex":
        names |= llama_index_store()
    run = [code("In other tools"), code("NumPy and safetensors"), code(section)]
    exec(compile("\n".join(run), "integrations.md", "exec"), names)
    assert np.shape(names["mapped"]) == (5, 6)
    if section == "sentence-transformers":
        np.testing.assert_allclose(names["again"].encode(["word1 word2"]), names["model"].encode(["word1 word2"]))
