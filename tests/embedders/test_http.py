"""A server with /v1/embeddings, which also misbehaves: every fault ends in right vectors or in one clear error."""

import logging
import time
from email.utils import formatdate

import numpy as np
import pytest
from embedding_server import Server, tiny

from minivec.embedders import EmbedderError, open_embedder
from minivec.embedders.http import HttpEmbedder

pytest.importorskip("httpx", reason="needs httpx")

TEXTS = [f"text number {i}" for i in range(20)]


def embedder(server, **options):
    return HttpEmbedder(server.url, "tiny", **options)


def once(*answer):
    """A fault of the first request."""
    return lambda number, texts, good: answer if number == 1 else None


def data(change):
    """A fault that changes the list of embeddings of every good answer."""
    return lambda number, texts, good: (200, {}, {**good, "data": change(good["data"])})


def refused(server, *parts, **options):
    """The error of one line that embedding ends in, with these words in it."""
    with pytest.raises(EmbedderError) as caught:
        embedder(server, **options)(TEXTS)
    error = str(caught.value)
    assert "\n" not in error and error.startswith(server.url)
    assert all(part in error for part in parts), error
    return error


@pytest.mark.parametrize("encoding", ["base64", "float"])
def test_vectors_come_in_the_order_of_the_texts(server, encoding):
    made = embedder(server, encoding=encoding, most=3)
    assert made.width is None
    X = made(TEXTS)
    np.testing.assert_allclose(X, tiny(TEXTS), rtol=1e-6)
    assert X.dtype == np.float32 and made.width == 16 and made.tokens == 60
    assert {body["encoding_format"] for _, body in server.requests} == {encoding}
    assert sorted(server.embedded) == sorted(TEXTS) and len(server.requests) == 7


def test_either_encoding_is_read_whatever_was_asked_for(server):
    server.faults.append(lambda number, texts, good: (200, {}, floats(texts)))
    np.testing.assert_allclose(embedder(server)(TEXTS), tiny(TEXTS), rtol=1e-6)


def floats(texts):
    return {"data": [{"index": i, "embedding": x.tolist()} for i, x in enumerate(tiny(texts))]}


def test_no_texts_are_no_request(server):
    assert embedder(server)([]).shape == (0, 0) and not server.requests


def test_calls_are_bounded_by_texts_and_by_bytes(server):
    made = embedder(server, most=4)
    made.most_bytes = 100
    texts = ["é" * 20] * 5 + ["a"] * 9 + ["long " * 50]
    made(texts)
    sent = [body["input"] for _, body in server.requests]
    assert all(len(part) == 1 or sum(len(text.encode()) for text in part) <= 100 for part in sent)
    assert max(map(len, sent)) == 4 and sum(map(len, sent)) == len(texts)


def test_a_few_calls_run_at_a_time(server):
    server.slow = 0.1
    embedder(server, most=2, workers=3)(TEXTS)
    assert server.most_at_once == 3


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504, 529])
def test_a_fault_that_passes_is_tried_again(server, quick, status):
    server.faults.append(lambda number, texts, good: (status, {}, {"error": "busy"}) if number <= 3 else None)
    np.testing.assert_allclose(embedder(server)(TEXTS), tiny(TEXTS), rtol=1e-6)
    assert len(server.requests) == 4


def test_a_fault_that_stays_ends_in_an_error(server, quick):
    server.faults.append(lambda number, texts, good: (500, {}, {"error": {"message": "out of\nmemory"}}))
    refused(server, "500", "out of memory", "3 attempts", attempts=3)
    assert len(server.requests) == 3


@pytest.mark.parametrize(
    "headers",
    [
        lambda: {"Retry-After": "1"},
        lambda: {"retry-after-ms": "1000"},
        lambda: {"Retry-After": formatdate(time.time() + 2)},
    ],
)
def test_the_server_says_when_to_come_again(server, quick, headers):
    server.faults.append(lambda number, texts, good: (429, headers(), {}) if number == 1 else None)
    start = time.monotonic()
    embedder(server, most=10, workers=1)(TEXTS)
    assert 0.9 < time.monotonic() - start < 10 and len(server.requests) == 3


def test_all_calls_wait_when_one_is_told_to(server, quick):
    times = []
    server.faults.append(lambda number, texts, good: times.append(time.monotonic()))
    server.faults.append(once(429, {"Retry-After": "1"}, {}))
    embedder(server, most=1, workers=2)(TEXTS)
    late = [when for when in times[2:] if when - times[0] < 0.9]
    assert len(late) <= 1  # the call that was under way


@pytest.mark.parametrize(
    "headers", [{"Retry-After": "soon"}, {"retry-after-ms": "x"}, {"Retry-After": "-5"}, {"Retry-After": "nan"}]
)
def test_a_wait_that_cannot_be_read_is_none(server, quick, headers):
    server.faults.append(once(429, headers, {}))
    start = time.monotonic()
    embedder(server)(TEXTS)
    assert time.monotonic() - start < 0.9 and len(server.requests) == 2


def test_a_long_wait_is_an_error_at_once(server, quick):
    server.faults.append(
        lambda number, texts, good: (429, {"Retry-After": "86400"}, {"error": {"message": "daily limit"}})
    )
    refused(server, "daily limit", "86,400 s")
    assert len(server.requests) == 1


def test_a_spent_quota_is_not_tried_again(server, quick):
    error = {"error": {"message": "You exceeded your current quota", "code": "insufficient_quota"}}
    server.faults.append(lambda number, texts, good: (429, {}, error))
    refused(server, "current quota")
    assert len(server.requests) == 1


def test_a_slow_server_is_given_up_and_asked_again(server, quick):
    server.slow = 2.0
    server.faults.append(lambda number, texts, good: setattr(server, "slow", 0.0))
    refused(server, "ReadTimeout", "2 attempts", timeout=0.2, attempts=2)


def test_no_server(quick):
    with Server() as server:
        made = embedder(server, attempts=2)
    with pytest.raises(EmbedderError, match="ConnectError.*after 2 attempts"):
        made(["text"])


def test_an_unknown_model_says_what_the_server_says(server, quick):
    server.faults.append(lambda number, texts, good: (404, {}, {"error": {"message": "model 'tiny' not found"}}))
    refused(server, "404", "model 'tiny' not found")
    assert len(server.requests) == 1


def shorter(items):
    return items[:-1]


def doubled(items):
    return [*items, items[0]]


def of_two_widths(items):
    return [*items[:-1], {**items[-1], "embedding": items[-1]["embedding"][:4]}]


def with_value(value):
    return lambda items: [*items[:-1], {**items[-1], "embedding": [value, *items[-1]["embedding"][1:]]}]


def numbered(*first):
    return lambda items: [
        {**item, "index": i} for item, i in zip(items, [*first, *range(len(first), 99)], strict=False)
    ]


@pytest.mark.parametrize(
    ("change", "part"),
    [
        (shorter, "20 texts were sent, and 19 vectors came back"),
        (doubled, "20 texts were sent, and 21 vectors came back"),
        (of_two_widths, "of 4 and of 16 dimensions"),
        (with_value(float("nan")), "NaN or infinity in vector 19"),
        (with_value(1e39), "NaN or infinity in vector 19"),
        (with_value("x"), "not one of /v1/embeddings"),
        (with_value([1.0]), "not one of /v1/embeddings"),
        (lambda items: [{**item, "embedding": [0.0] * 16} for item in items], "one repeated value"),
        (lambda items: [{**item, "embedding": None} for item in items], "not one of /v1/embeddings"),
        (lambda items: [{**item, "embedding": "&&&"} for item in items], "not one of /v1/embeddings"),
        (lambda items: [{**item, "embedding": []} for item in items], "shape (20, 0)"),
        (numbered(0, 0), "the numbers (index)"),
        (numbered(1), "the numbers (index)"),
        (numbered(-1), "the numbers (index)"),
        (numbered(None), "the numbers (index)"),
        (lambda items: None, "not one of /v1/embeddings"),
    ],
)
def test_a_wrong_answer_is_refused(server, change, part):
    server.faults.append(data(change))
    refused(server, part, encoding="float")
    assert len(server.requests) == 1


def test_vectors_are_put_where_their_numbers_say(server):
    server.faults.append(data(lambda items: items[::-1]))
    np.testing.assert_allclose(embedder(server)(TEXTS), tiny(TEXTS), rtol=1e-6)


def test_vectors_without_numbers_are_in_order(server):
    server.faults.append(data(lambda items: [{"embedding": item["embedding"]} for item in items]))
    np.testing.assert_allclose(embedder(server)(TEXTS), tiny(TEXTS), rtol=1e-6)


def test_a_dimension_that_changes_is_refused(server):
    made = embedder(server)
    made(TEXTS)
    server.encode = lambda texts: tiny(texts, 8)
    with pytest.raises(EmbedderError, match="8 dimensions where others have 16"):
        made(["another text"])


def test_dimensions_that_are_asked_for_must_come(server):
    refused(server, "16 dimensions where others have 8", dimensions=8)
    assert server.requests[0][1]["dimensions"] == 8


@pytest.mark.parametrize("body", [b"<html>a proxy</html>", b"", b"[]", b'{"data": 3}', b"\xff\xfe", b"[" * 99_999])
def test_an_answer_that_is_no_json_of_embeddings(server, body):
    server.faults.append(lambda number, texts, good: (200, {}, body))
    refused(server, "not one of /v1/embeddings")


def limited(texts_at_most, longest):
    """What a server answers that takes so many texts, and texts of so many characters."""

    def fault(number, texts, good):
        if len(texts) > texts_at_most:
            return 422, {}, {"error": f"batch size {len(texts)} > maximum allowed batch size {texts_at_most}"}
        if any(len(text) > longest for text in texts):
            return 400, {}, {"error": {"message": f"This model's maximum context length is {longest} tokens"}}
        return None

    return fault


def test_batches_that_are_too_large_are_halved_and_stay_so(server):
    server.faults.append(limited(6, 999))
    made = embedder(server, workers=1)
    texts = [f"text {i}" for i in range(60)]
    np.testing.assert_allclose(made(texts), tiny(texts), rtol=1e-6)
    before = len(server.requests)
    made(texts[:12])
    assert all(len(body["input"]) <= 6 for _, body in server.requests[before:])
    assert sorted(server.embedded) == sorted(texts + texts[:12])  # a refused batch is not embedded


def test_a_text_that_is_too_long_is_found_and_does_not_make_batches_small(server):
    server.faults.append(limited(999, 50))
    made, got = embedder(server, workers=1), {}
    texts = [f"text {i}" for i in range(16)]
    texts[5] = "long " * 20
    made.stream(texts, "document", lambda rows, vectors: got.update({row: vectors is None for row in rows}))
    assert sorted(got) == list(range(16)) and [row for row, missing in got.items() if missing] == [5]
    assert made.most == 128
    with pytest.raises(EmbedderError, match="text 5 is too long"):
        made(texts)


def test_a_server_that_refuses_every_text_is_not_asked_for_all_of_them(server):
    server.faults.append(lambda number, texts, good: (400, {}, {"error": "dimensions exceed the maximum"}))
    made, got = embedder(server, workers=1), []
    with pytest.raises(EmbedderError, match="400: dimensions exceed the maximum"):
        made.stream([f"text {i}" for i in range(1_000)], "document", lambda rows, vectors: got.append(rows))
    assert len(server.requests) < 60


KEY = "sk-very-secret-0123456789"


@pytest.mark.parametrize(
    "fault",
    [
        lambda number, texts, good: (500, {}, {"error": f"key {KEY} is bad"}),
        lambda number, texts, good: (400, {}, {"error": f"key {KEY} is bad"}),
        lambda number, texts, good: (401, {}, {"error": f"key {KEY[:9]}*** is bad"}),
        lambda number, texts, good: (200, {}, {"data": [{"embedding": KEY}]}),
        lambda number, texts, good: (307, {"Location": "http://127.0.0.1:9/"}, {}),
    ],
)
def test_a_key_is_in_no_error_and_in_no_log(server, quick, caplog, fault):
    caplog.set_level(logging.DEBUG)
    server.faults.append(fault)
    made = embedder(server, key=KEY, attempts=2)
    with pytest.raises(EmbedderError) as caught:
        made(TEXTS)
    assert server.requests[0][0]["Authorization"] == f"Bearer {KEY}"
    shown = [str(caught.value), repr(caught.value), caplog.text, repr(made), str(made), made.name]
    assert not any("very-secret" in text or KEY[:9] in text for text in shown)
    assert caught.value.__cause__ is None


def test_a_key_that_no_header_can_have_is_refused_and_not_shown(server):
    with pytest.raises(ValueError, match="HTTP header") as caught:
        embedder(server, key="secret\n")
    assert "secret" not in str(caught.value)


def test_the_key_is_that_of_the_named_variable(monkeypatch):
    with Server(key=KEY) as server:
        monkeypatch.setenv("VOYAGE_KEY", f" {KEY}\n")
        open_embedder(f"{server.url}?key_from=VOYAGE_KEY#tiny", cache=False)(["text"])
        monkeypatch.setenv("OPENAI_API_KEY", KEY)  # of another host: it is not sent here
        with pytest.raises(EmbedderError, match="401: it wants a key"):
            open_embedder(f"{server.url}#tiny", cache=False)(["text"])
        assert "Authorization" not in server.requests[-1][0]
        monkeypatch.setenv("MINIVEC_API_KEY", KEY)
        open_embedder(f"{server.url}#tiny", cache=False)(["text"])
        with pytest.raises(ValueError, match="NO_SUCH_KEY"):
            open_embedder(f"{server.url}?key_from=NO_SUCH_KEY#tiny", cache=False)


def test_openai_gets_its_own_key(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    made = open_embedder("https://api.openai.com/v1#text-embedding-3-small", cache=False)
    with made.ready():
        assert made._client.headers["Authorization"] == f"Bearer {KEY}"
    assert made.name == "https://api.openai.com/v1#text-embedding-3-small"


def test_prompts_come_before_texts_by_kind(server):
    url = f"{server.url}?query_prompt=query: &document_prompt=passage: #BAAI/tiny:latest"
    made = open_embedder(url, cache=False)
    made(["one"]), made(["two"], "query")
    assert server.embedded == ["passage: one", "query: two"]
    assert server.requests[0][1]["model"] == "BAAI/tiny:latest"
    with pytest.raises(ValueError, match="kind must be document or query; got 'doc'"):
        made(["three"], "doc")


@pytest.mark.parametrize(
    ("model", "part"),
    [
        ("tiny", "sentence-transformers:NAME_OR_FOLDER or https://HOST/v1#MODEL; got 'tiny'"),
        ("sentence-transformers:", "got 'sentence-transformers:'"),
        ("http://host/v1", "name the model behind #"),
        ("https:///v1#m", "name the model behind #"),
        ("https://user:very-secret@host/v1#m", "no credentials in the URL"),
        ("https://host/v1?api_key=very-secret#m", "unknown option 'api_key'"),
        ("https://host/v1?dimensions=many#m", "dimensions must be a whole number from 2 on; got 'many'"),
        ("https://host/v1?encoding=zip#m", "encoding must be base64 or float; got 'zip'"),
    ],
)
def test_a_wrong_name_of_a_model(model, part):
    with pytest.raises(ValueError) as caught:
        open_embedder(model, cache=False)
    assert part in str(caught.value) and "very-secret" not in str(caught.value)


def test_the_figures_of_the_page():
    """docs/embedding.md promises these bounds."""
    from inspect import signature

    from minivec.embedders import http
    from minivec.moving import embed

    defaults = {name: p.default for name, p in signature(HttpEmbedder).parameters.items()}
    assert (defaults["most"], defaults["attempts"], defaults["workers"]) == (128, 8, 4)
    assert (HttpEmbedder.most_bytes, http.LONGEST_WAIT, embed.LONGEST, embed.PAIRS) == (256 << 10, 600, 32_000, 10_000)
