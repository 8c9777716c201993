"""The map in other people's tools: the same vectors as the Keras model's, in the real library."""

import asyncio
import json
import sys

import keras
import numpy as np
import pytest

import supervised
from minivec import LinearMap, MiniVec2VecAligner, NotAlignedError, cli, load
from minivec.runtime import QueryAdapter


@pytest.fixture(params=[(16, 16), (16, 24), (24, 16)], ids=str)
def fitted(request, monkeypatch):
    """An aligner, rows of its first space, and what it makes of them."""
    supervised.install(monkeypatch)
    A, B = supervised.spaces(*request.param)
    aligner = MiniVec2VecAligner(request.param[0])
    aligner.align(2 * A + 0.1, 3 * B)
    return aligner, 2 * A + 0.1, np.asarray(aligner(2 * A + 0.1))


def less_certain(aligner):
    """The aligner's map as a fit that is not exact gives it: rows that ask are others than rows that are stored."""
    bridge = LinearMap({**aligner.map.weights, "expected_cosine": 0.5})
    rows = np.random.default_rng(0).standard_normal((3, bridge.shape[0]))
    assert np.abs(bridge(rows) - bridge.for_queries()(rows)).max() > 1e-3
    return bridge


@pytest.mark.parametrize("rows", [1, 7, 400])
def test_onnx(fitted, tmp_path, rows):
    pytest.importorskip("onnx")
    runtime = pytest.importorskip("onnxruntime")
    aligner, A, expected = fitted
    aligner.export(tmp_path / "bridge.onnx")
    session = runtime.InferenceSession(tmp_path / "bridge.onnx", providers=["CPUExecutionProvider"])
    (found,) = session.run(None, {"x": A[-rows:]})
    np.testing.assert_allclose(found, expected[-rows:], atol=1e-5)
    assert json.loads(session.get_modelmeta().custom_metadata_map["minivec"]) == aligner.history
    (found,) = session.run(None, {"x": np.asarray(aligner.source_mean)[None]})  # has no direction
    assert np.linalg.norm(found) == pytest.approx(1, abs=1e-5)


def test_onnx_takes_float32_rows_and_half_precision_and_single_rows_once_converted(fitted, tmp_path):
    """As docs/integrations.md says it; anything else is onnxruntime's error and no wrong row."""
    pytest.importorskip("onnx")
    runtime = pytest.importorskip("onnxruntime")
    aligner, A, expected = fitted
    aligner.export(tmp_path / "bridge.onnx")
    session = runtime.InferenceSession(tmp_path / "bridge.onnx", providers=["CPUExecutionProvider"])
    half = A.astype(np.float16)
    (found,) = session.run(None, {"x": half.astype(np.float32)})
    np.testing.assert_allclose(found, aligner.map(half), atol=1e-5)
    (found,) = session.run(None, {"x": A[3][None]})
    np.testing.assert_allclose(found[0], expected[3], atol=1e-5)
    for rows in (half, A[3]):
        with pytest.raises(Exception, match="float16|[Rr]ank"):
            session.run(None, {"x": rows})


def test_export_by_suffix(fitted, tmp_path, monkeypatch):
    aligner, A, expected = fitted
    aligner.export(str(tmp_path / "bridge.safetensors"))
    np.testing.assert_allclose(QueryAdapter.load(tmp_path / "bridge.safetensors")(A), expected, atol=1e-6)
    calls = []
    monkeypatch.setattr(keras.Model, "export", lambda self, path, *a, **k: calls.append((path, a, k)))
    aligner.export("folder")
    aligner.export("bridge.onnx", format="onnx")
    assert calls == [("folder", (), {}), ("bridge.onnx", (), {"format": "onnx"})]
    with pytest.raises(NotAlignedError):
        MiniVec2VecAligner(4).export(tmp_path / "no.safetensors")
    assert not (tmp_path / "no.safetensors").exists()


def test_command_line(fitted, tmp_path, capsys):
    aligner, A, expected = fitted
    aligner.save(tmp_path / "ab.keras")
    outputs = ["bridge.safetensors"]
    if pytest.importorskip("onnx"):
        outputs.append("bridge.onnx")
    for name in outputs:
        with pytest.raises(SystemExit) as caught:
            cli.main(["export", str(tmp_path / "ab.keras"), "-o", str(tmp_path / name)])
        assert not caught.value.code and (tmp_path / name).stat().st_size
    np.testing.assert_allclose(QueryAdapter.load(tmp_path / "bridge.safetensors")(A), expected, atol=1e-6)
    with pytest.raises(SystemExit) as caught:
        cli.main(["export", str(tmp_path / "ab.keras"), "-o", str(tmp_path / "bridge.pt")])
    assert caught.value.code == 2 and ".safetensors or .onnx" in capsys.readouterr().err


@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")  # still supported
def test_torch(fitted):
    torch = pytest.importorskip("torch")
    aligner, A, expected = fitted
    module, x = aligner.to_torch(), torch.tensor(A)
    assert not list(module.parameters())
    batch = torch.export.Dim("n", min=1)
    exported = torch.export.export(module, (x,), dynamic_shapes=[{0: batch}]).module()
    for version in (module, torch.jit.script(module), exported):
        np.testing.assert_allclose(version(x).numpy(), expected, atol=1e-5)
        np.testing.assert_allclose(version(x[:3]).numpy(), expected[:3], atol=1e-5)
    np.testing.assert_allclose(module(x[2]).numpy(), expected[2], atol=1e-5)
    assert module.double()(x).dtype == torch.float64
    x.requires_grad_()
    module.float()(x[:5]).sum().backward()
    assert torch.isfinite(x.grad).all()


def test_huggingface(fitted, tmp_path):
    hub = pytest.importorskip("huggingface_hub")
    aligner, A, expected = fitted
    aligner.save_pretrained(tmp_path / "repo", source="E5", target="USE", metrics={"top1_accuracy": 0.9375})
    for again in (MiniVec2VecAligner.from_pretrained(tmp_path / "repo"), load(tmp_path / "repo")):
        np.testing.assert_array_equal(np.asarray(again(A)), expected)
        np.testing.assert_array_equal(np.asarray(again.inverse()(expected)), np.asarray(aligner.inverse()(expected)))
        assert again.history == aligner.history
    np.testing.assert_allclose(QueryAdapter.load(tmp_path / "repo" / "model.safetensors")(A), expected, atol=1e-6)
    card = hub.ModelCard.load(tmp_path / "repo" / "README.md")
    assert card.data.library_name == "minivec"
    fingerprint = aligner.history["data"]["XB"]["blake2b"]
    for fact in ("# E5 to USE", "| confidence | 0.7500 |", "| top1 accuracy | 0.9375 |", "reliable", fingerprint):
        assert fact in card.text
    with pytest.raises(OSError, match="a folder without model.safetensors"):
        MiniVec2VecAligner.from_pretrained(tmp_path)


def test_a_model_card_says_what_the_hub_reads(fitted, tmp_path):
    hub = pytest.importorskip("huggingface_hub")
    aligner, *_ = fitted
    metrics = {"top1_accuracy": 0.9375, "mean_rank": 1.25}
    names = {"source": "intfloat/e5-small", "target": 'the "USE": encoder'}
    aligner.save_pretrained(tmp_path / "repo", **names, metrics=metrics, license="mit")
    data = hub.ModelCard.load(tmp_path / "repo" / "README.md").data
    assert (data.license, data.base_model) == ("mit", ["intfloat/e5-small"])
    assert {result.metric_type: result.metric_value for result in data.eval_results} == metrics
    aligner.save_pretrained(tmp_path / "plain")
    data = hub.ModelCard.load(tmp_path / "plain" / "README.md").data
    assert data.license is data.base_model is data.eval_results is None


def test_a_repository_of_the_hub_is_downloaded(fitted, tmp_path, monkeypatch):
    """By the real library, out of its cache: no network is needed."""
    hub = pytest.importorskip("huggingface_hub")
    aligner, A, expected = fitted
    folder, commit = tmp_path / "models--someone--bridge", "0" * 40
    aligner.save_pretrained(folder / "snapshots" / commit)
    (folder / "refs").mkdir()
    (folder / "refs" / "main").write_text(commit)
    monkeypatch.setattr(hub.constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(hub.constants, "HF_HUB_OFFLINE", True)
    np.testing.assert_array_equal(MiniVec2VecAligner.from_pretrained("someone/bridge")(A), expected)
    with pytest.raises(OSError, match="someone/else|cached snapshot"):
        MiniVec2VecAligner.from_pretrained("someone/else")
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(FileNotFoundError, match=r"snapshot_download\('someone/bridge'\)"):
        MiniVec2VecAligner.from_pretrained("someone/bridge")
    with pytest.raises(FileNotFoundError, match="no such file"):
        MiniVec2VecAligner.from_pretrained(tmp_path / "nothing" / "here")


def test_sentence_transformers(fitted, tmp_path):
    st = pytest.importorskip("sentence_transformers")
    from sentence_transformers.sentence_transformer.modules import BoW

    from minivec.integrations.sentence_transformers import Bridge

    aligner, _, expected = fitted
    words = [f"word{i}" for i in range(aligner.embedding_dim)]
    model = st.SentenceTransformer(modules=[BoW(words)], device="cpu")
    texts = ["word0 word1", "word2 word3 word3 word5"]
    mapped = np.asarray(aligner(model.encode(texts)))
    model.append(Bridge(QueryAdapter.of(aligner)))
    np.testing.assert_allclose(model.encode(texts), mapped, atol=1e-5)
    assert model.get_embedding_dimension() == expected.shape[1]
    model.save(str(tmp_path / "model"))
    again = st.SentenceTransformer(str(tmp_path / "model"), device="cpu", trust_remote_code=True)
    np.testing.assert_allclose(again.encode(texts), mapped, atol=1e-5)
    assert again[-1].adapter.history == aligner.history


def vectors_of(aligner):
    """A deterministic embedding of texts, as wide as the aligner's first space."""
    return lambda text: np.random.default_rng(len(text)).normal(size=aligner.embedding_dim).tolist()


def test_langchain(fitted):
    pytest.importorskip("langchain_core")
    from langchain_core.embeddings import Embeddings
    from langchain_core.vectorstores import InMemoryVectorStore

    from minivec.integrations.langchain import AlignedEmbeddings

    aligner, *_ = fitted
    embed = vectors_of(aligner)

    class New(Embeddings):
        def embed_documents(self, texts):
            return [embed(text) for text in texts]

        def embed_query(self, text):
            return embed(text)

    texts = ["a", "bb", "ccc"]
    bridge = less_certain(aligner)
    mapped, asking = (use(np.float32([embed(text) for text in texts])) for use in (bridge, bridge.for_queries()))
    aligned = AlignedEmbeddings(New(), bridge)
    for found in (aligned.embed_documents(texts), asyncio.run(aligned.aembed_documents(texts))):
        np.testing.assert_allclose(found, mapped, atol=1e-6)
    for found in (aligned.embed_query("bb"), asyncio.run(aligned.aembed_query("bb"))):
        np.testing.assert_allclose(found, asking[1], atol=1e-6)
    assert aligned.embed_documents([]) == []
    store = InMemoryVectorStore(aligned)
    store.add_texts(texts)
    assert store.similarity_search("ccc", k=1)[0].page_content == "ccc"


def test_llama_index(fitted):
    pytest.importorskip("llama_index.core")
    from llama_index.core import VectorStoreIndex
    from llama_index.core.embeddings import BaseEmbedding
    from llama_index.core.schema import TextNode

    from minivec.integrations.llama_index import AlignedEmbedding

    aligner, *_ = fitted
    embed = vectors_of(aligner)

    class New(BaseEmbedding):
        def _get_text_embedding(self, text):
            return embed(text)

        _get_query_embedding = _get_text_embedding

        async def _aget_query_embedding(self, query):
            return embed(query)

    texts = ["a", "bb", "ccc"]
    bridge = less_certain(aligner)
    mapped, asking = (use(np.float32([embed(text) for text in texts])) for use in (bridge, bridge.for_queries()))
    aligned = AlignedEmbedding(New(model_name="new"), bridge)
    np.testing.assert_allclose(aligned.get_text_embedding_batch(texts), mapped, atol=1e-6)
    np.testing.assert_allclose(aligned.get_text_embedding("ccc"), mapped[2], atol=1e-6)
    np.testing.assert_allclose(aligned.get_query_embedding("bb"), asking[1], atol=1e-6)
    np.testing.assert_allclose(asyncio.run(aligned.aget_query_embedding("bb")), asking[1], atol=1e-6)
    index = VectorStoreIndex([TextNode(text=text) for text in texts], embed_model=aligned)
    assert index.as_retriever(similarity_top_k=1).retrieve("ccc")[0].text == "ccc"


def test_llama_index_writes_and_reads_it(fitted):
    pytest.importorskip("llama_index.core")
    from llama_index.core import MockEmbedding
    from llama_index.core.embeddings.loading import load_embed_model

    from minivec.integrations.llama_index import AlignedEmbedding

    aligner, *_ = fitted
    bridge = aligner.map
    aligned = AlignedEmbedding(MockEmbedding(aligner.embedding_dim), bridge)
    assert aligned.to_dict()["class_name"] == AlignedEmbedding.class_name() == "AlignedEmbedding"
    expected = aligned.get_text_embedding("a")
    text = aligned.to_json()
    read = [
        AlignedEmbedding.from_json(text),
        AlignedEmbedding.from_dict(json.loads(text)),
        AlignedEmbedding.from_json(text, base=MockEmbedding(aligner.embedding_dim)),
        load_embed_model(json.loads(text)),
    ]
    for again in read:
        assert again.adapter.fingerprint == bridge.fingerprint and again.adapter.history == bridge.history
        assert again.get_text_embedding("a") == expected and again.model_name == aligned.model_name
    unknown = {**json.loads(text), "base": {"class_name": "elsewhere"}}
    with pytest.raises(ValueError, match="Invalid Embedding name: elsewhere"):
        AlignedEmbedding.from_dict(unknown)
