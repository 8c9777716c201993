"""Texts to vectors of a new model, and to rows for a fit."""

import math
import tracemalloc

import numpy as np
import pytest

from databases import KINDS, MAKERS
from embedders.embedding_server import Server, tiny
from minivec.moving.embed import Cost, embed, fit_rows
from small import vectors

pytest.importorskip("httpx", reason="needs httpx")


class Tiny:
    """An embedder of one's own, which says what it was asked."""

    name, width = "tiny", None

    def __init__(self):
        self.asked = []

    def __call__(self, texts, kind="document"):
        self.asked += [(text, kind) for text in texts]
        return tiny(texts)


@pytest.fixture
def cache(tmp_path):
    return tmp_path / "cache.sqlite3"


def test_vectors_with_their_keys(cache):
    mine = Tiny()
    made = embed(["one", None, "two", " ", "x" * 99, "\ud800", "one"], mine, longest=50, cache=cache)
    assert made.keys == [0, 2, 6] and made.model == "tiny"
    np.testing.assert_allclose(made.vectors, tiny(["one", "two", "one"]), rtol=1e-6)
    assert made.skipped == {"NULL": [1], "empty": [3], "too long": [4], "not Unicode": [5]}
    assert mine.asked == [("one", "document"), ("two", "document")]
    assert made.notes()[0] == "1 texts are NULL and were not embedded: 1"


def test_vectors_are_in_memory_once(cache):
    class Wide(Tiny):
        def __call__(self, texts, kind="document"):
            return np.random.default_rng(len(self.asked)).standard_normal((len(texts), 2_000)).astype(np.float32)

    tracemalloc.start()
    made = embed([f"text {i}" for i in range(3_000)], Wide(), cache=False)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert made.vectors.shape == (3_000, 2_000) and peak < 1.7 * made.vectors.nbytes


def test_a_text_that_the_model_refuses_is_skipped_too(cache):
    def fault(number, texts, good):
        if any(len(text) > 30 for text in texts):
            return 400, {}, {"error": {"message": "maximum context length is 30 tokens"}}

    with Server() as server:
        server.faults.append(fault)
        made = embed(["one", "long " * 9, "two"], f"{server.url}#tiny", cache=cache)
        assert made.keys == [0, 2] and made.skipped == {"too long": [1]}
        with pytest.raises(ValueError, match="every text is too long"):
            embed(["long " * 9], f"{server.url}#tiny", cache=cache)


def test_queries_are_embedded_as_queries(cache):
    mine = Tiny()
    embed(["one"], mine, kind="query", cache=cache)
    assert mine.asked == [("one", "query")]


def test_what_it_costs_and_what_is_left(cache):
    costs = []
    with Server() as server:
        texts = [f"text {i}" for i in range(300)]
        embed(texts[:100], f"{server.url}#tiny", cache=cache)
        made = embed(texts, f"{server.url}#tiny", cache=cache, progress=lambda cost: costs.append(str(cost)))
    assert (made.cost.total, made.cost.done, made.cost.cached, made.cost.tokens) == (300, 300, 100, 600)
    assert costs[0].startswith("100 of 300 texts (100 from the cache), 0 s") and len(costs) == 3
    assert math.isnan(Cost(10).left) and Cost(10, done=6, cached=2, seconds=8).left == 8


@pytest.mark.parametrize(
    ("texts", "options", "part"),
    [
        ([], {}, "no text to embed"),
        (["", None], {}, "no text to embed; its 2 rows are all NULL, empty or too long"),
        (["one"], {"rows": 0}, "rows must be at least 1"),
        (["one"], {"kind": "doc"}, "kind must be"),
        (["one"], {"longest": 0}, "longest must be"),
        (["one"], {"seed": -1}, "seed must be"),
    ],
)
def test_wrong_arguments(cache, texts, options, part):
    with pytest.raises(ValueError, match=part):
        embed(texts, Tiny(), cache=cache, **options)


@pytest.mark.parametrize("kind", KINDS)
def test_rows_for_a_fit_from_a_store_with_texts(kind, tmp_path, cache):
    """The drawn rows are pairs of a vector of the store and one of the new model; the others are there too."""
    database = MAKERS[kind](tmp_path)
    database.fill("texts", vectors(500), **({} if kind in ("chroma", "qdrant") else {"null": 5}))
    url = database.url("texts") + "?column=v" * (kind == "qdrant")
    mine = Tiny()
    made = fit_rows(url, mine, text="document" if kind == "chroma" else "text", rows=60, cache=cache)
    n = len(database.read("texts")) - (kind not in ("chroma", "qdrant"))
    assert made.XA.shape == (n, 6) and made.XB.shape == (len(made.pairs), 16) and 59 <= len(made.pairs) <= 60
    by_text = {text: vector for text, vector in database.read("texts").values()}
    texts = [text for text, _ in mine.asked]
    for a, b in made.pairs:
        (text,) = [text for text in texts if np.allclose(tiny([text])[0], made.XB[b])]
        np.testing.assert_allclose(made.XA[a], by_text[text], atol=1e-5)


def test_a_text_that_is_skipped_is_no_pair(tmp_path, cache):
    pytest.importorskip("lancedb", reason="needs lancedb")
    import lancedb
    import pyarrow as pa

    X = vectors(50)
    texts = [None if i % 5 == 0 else f"text {i}" for i in range(50)]
    lancedb.connect(tmp_path / "db").create_table("t", pa.table({"v": list(X), "body": texts}))
    made = fit_rows(f"lance://{tmp_path}/db/t", Tiny(), text="body", cache=cache)
    assert len(made.XA) == 50 and len(made.XB) == 40 and len(made.pairs) == 40
    assert made.pairs[:, 0].tolist() == [i for i in range(50) if i % 5]
    assert len(made.embedded[0].skipped["NULL"]) == 10


def test_rows_for_a_fit_from_other_texts(tmp_path, cache):
    np.save(tmp_path / "old.npy", vectors(50))
    other = [f"other text {i}" for i in range(40)]
    made = fit_rows(tmp_path / "old.npy", Tiny(), target=other, rows=30, cache=cache)
    assert made.XA.shape == (50, 6) and made.XB.shape == (30, 16) and made.pairs is None
    assert fit_rows(tmp_path / "old.npy", Tiny(), target=other, rows=30, most=20, cache=cache).XA.shape == (20, 6)
    with pytest.raises(ValueError, match=r"\(text\), or other texts of the same kind \(target\)"):
        fit_rows(tmp_path / "old.npy", Tiny(), cache=cache)
    with pytest.raises(ValueError, match="only vectors"):
        fit_rows(tmp_path / "old.npy", Tiny(), text="text", cache=cache)


def test_both_make_pairs_and_more_rows_of_the_target(tmp_path, cache):
    lance = MAKERS["lance"](tmp_path)
    lance.fill("t", vectors(50))
    made = fit_rows(lance.url("t"), Tiny(), text="text", target=["other one", "other two"], rows=20, cache=cache)
    assert len(made.XB) == 22 and sorted(made.pairs[:, 1]) == list(range(20))


def test_embed_and_fit_rows_draw_the_same_texts(tmp_path, cache):
    lance = MAKERS["lance"](tmp_path)
    lance.fill("t", vectors(500))
    embed(lance.url("t"), Tiny(), text="text", rows=50, seed=2, cache=cache)
    mine = Tiny()
    fit_rows(lance.url("t"), mine, text="text", rows=50, seed=2, cache=cache)
    assert mine.asked == []
