"""A served map: what applications get, with an upstream that works and with one that does not."""

import base64
import json
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection

import numpy as np
import pytest
from embedding_server import Server, tiny
from served_map import httpx, serving, until, value

from minivec import LinearMap, MiniVec2VecAligner
from minivec.datasets import load_sample
from small import RELIABLE, both_ways

ASK = {"model": "ada-002", "input": ["one text", "another"]}
PATH = "/v1/embeddings"


def vectors(response):
    """The vectors of an answer, of either encoding."""
    assert response.status_code == 200, response.text
    rows = [item["embedding"] for item in response.json()["data"]]
    return np.array([np.frombuffer(base64.b64decode(r), "<f4") if isinstance(r, str) else r for r in rows], np.float32)


def code(response):
    """The code of an error, which has the form of OpenAI's."""
    error = response.json()["error"]
    assert set(error) == {"message", "type", "param", "code"} and error["message"]
    return error["code"]


@pytest.mark.parametrize("encoding", [None, "float", "base64"])
@pytest.mark.parametrize("given", [["one text", "another"], "one text", [5, 6, 7], [[5, 6], [7]]])
def test_vectors_are_the_upstreams_mapped(client, upstream, bridge, given, encoding):
    asked = {**ASK, "input": given, "user": "u1"} | ({"encoding_format": encoding} if encoding else {})
    response = client.post(PATH, json=asked)
    texts = [given] if isinstance(given, str) or isinstance(given[0], int) else given
    texts = [text if isinstance(text, str) else " ".join(map(str, text)) for text in texts]
    np.testing.assert_allclose(vectors(response), bridge(tiny(texts)), atol=1e-6)
    body = response.json()
    assert isinstance(body["data"][0]["embedding"], str) == (encoding == "base64")
    assert [item["index"] for item in body["data"]] == list(range(len(texts)))
    assert body["model"] == "ada-002" and body["usage"] == {"prompt_tokens": 3 * len(texts)}
    assert upstream.requests[-1][1] == {**asked, "model": "tiny"}


def test_names_of_models(bridge, upstream):
    with serving(bridge, upstream.url) as client:
        client.post(PATH, json={**ASK, "model": "something-else"})
        assert upstream.requests[-1][1]["model"] == "something-else"
        assert client.get("/v1/models").json()["data"] == [{"id": "tiny", "object": "model"}]
        client.get("/v1/models/owner/tiny")
        assert upstream.requests[-1][1] == "/v1/models/owner/tiny"
    with serving(bridge, upstream.url, model="tiny-2") as client:
        client.post(PATH, json=ASK)
        assert upstream.requests[-1][1]["model"] == "tiny-2"
    with serving(LinearMap(bridge.weights, RELIABLE), upstream.url) as client:
        assert client.post(PATH, json=ASK).json()["model"] == "tiny"  # as the upstream calls it
        assert upstream.requests[-1][1]["model"] == "ada-002"


def test_dimensions_are_those_of_the_target(bridge, upstream):
    with serving(bridge, upstream.url, shorten=True) as client:
        assert vectors(client.post(PATH, json={**ASK, "dimensions": 8})).shape == (2, 8)
        assert upstream.requests[-1][1]["dimensions"] == 16
        refused = client.post(PATH, json={**ASK, "dimensions": 16})
        assert refused.status_code == 400 and "dimensions must be 8" in refused.text
    with serving(bridge, upstream.url) as client:
        assert client.post(PATH, json={**ASK, "dimensions": 8}).status_code == 200
        assert "dimensions" not in upstream.requests[-1][1]


def test_what_a_request_carries_is_passed_through(client, upstream):
    upstream.key = "very-secret"
    sent = {"Authorization": "Bearer very-secret", "OpenAI-Project": "p1"}
    assert client.post(PATH, json=ASK, headers=sent).status_code == 200
    assert upstream.requests[-1][0]["openai-project"] == "p1"
    assert "?api-version=7" in client.post(PATH, json=ASK, headers=sent, params={"api-version": "7"}).text
    refused = client.post(PATH, json=ASK, headers={"Authorization": "Bearer wrong"})
    assert refused.status_code == 401 and "Incorrect API key" in refused.json()["error"]["message"]
    assert "secret" not in client.get("/metrics").text


def test_a_header_that_cannot_be_passed_on_is_the_clients_error(client, upstream):
    connection = HTTPConnection(client.base_url.host, client.base_url.port)
    connection.request("POST", PATH, json.dumps(ASK), {"Authorization": "Bearer "})  # HTTP allows no space at the end
    answer = connection.getresponse()
    assert answer.status == 400 and b"a header that HTTP does not allow" in answer.read()
    connection.close()


def test_raw_vectors(client, bridge):
    X = tiny(["a", "b c"])
    answer = client.post("/map", json={"vectors": X.tolist()})
    np.testing.assert_allclose(np.array(answer.json()["vectors"], np.float32), bridge(X), atol=1e-6)
    raw = {"Content-Type": "application/octet-stream"}
    answer = client.post("/map", params={"width": 16}, content=X.astype("<f4").tobytes(), headers=raw)
    assert answer.headers["width"] == "8" and answer.headers["content-type"] == raw["Content-Type"]
    np.testing.assert_allclose(np.frombuffer(answer.content, "<f4").reshape(-1, 8), bridge(X), atol=1e-6)
    assert value(client, 'minivec_vectors_total{path="/map"}') == 4


@pytest.mark.parametrize(
    ("sent", "status", "part"),
    [
        ({"content": b"{"}, 400, "not JSON"),
        ({"json": [1]}, 400, "not a JSON object"),
        ({"json": {}}, 400, "vectors must be 2-D"),
        ({"json": {"vectors": [[1.0, 2.0], [3.0]]}}, 400, "inhomogeneous"),
        ({"json": {"vectors": [[1.0] + [2.0] * 15, [0.0] * 16]}}, 400, "zero or constant rows"),
        ({"json": {"vectors": [[1.0, 2.0]]}}, 422, "2 dimensions where the map takes 16"),
        ({"content": b"1234", "headers": {"Content-Type": "application/octet-stream"}}, 400, "?width="),
        ({"content": b"12345678", "params": {"width": 3}, "headers": {"Content-Type": "application/octet-stream"}},
         400, "8 bytes are no rows"),
    ],
)  # fmt: skip
def test_vectors_that_are_none(client, sent, status, part):
    answer = client.post("/map", **sent)
    assert answer.status_code == status and part in answer.json()["error"]["message"]


def test_requests_that_are_none(client, upstream):
    for sent in ({"content": b"no"}, {"json": "text"}, {"json": {"model": "ada-002"}}):
        answer = client.post(PATH, **sent)
        assert (answer.status_code, code(answer)) == (400, "bad_request")
    assert code(client.get("/v1/other")) == code(client.get(PATH)) == "bad_request"
    assert not upstream.requests


def test_a_large_body_is_refused_whether_its_length_is_told_or_not(bridge, upstream):
    with serving(bridge, upstream.url, max_bytes=1_000) as client:
        for content in (b"x" * 1_001, iter([b"x" * 600] * 2)):
            answer = client.post(PATH, content=content)
            assert (answer.status_code, code(answer)) == (413, "too_large")
        assert client.post(PATH, json=ASK).status_code == 200
    assert len(upstream.requests) == 1


def failing(times, status=503, headers=(), body=b'{"error": {"message": "busy"}}'):
    """A fault of the first requests."""
    return lambda number, texts, good: (status, dict(headers), body) if number <= times else None


@pytest.mark.parametrize("status", [429, 502, 503, 504])
def test_a_busy_upstream_is_asked_again(client, upstream, status):
    upstream.faults.append(failing(2, status))
    assert vectors(client.post(PATH, json=ASK)).shape == (2, 8)
    assert len(upstream.requests) == 3
    assert value(client, f'minivec_upstream_attempts_total{{status="{status}"}}') == 2


def test_the_upstreams_retry_after_is_waited_for_where_there_is_time(bridge, upstream):
    upstream.faults.append(failing(1, 429, {"Retry-After": "2"}))
    with serving(bridge, upstream.url, timeout=30) as client:
        start = time.monotonic()
        assert client.post(PATH, json=ASK).status_code == 200
        assert time.monotonic() - start >= 2
    upstream.faults[:] = [failing(99, 429, {"Retry-After": "60"}, b'{"error": {"message": "slower"}}')]
    with serving(bridge, upstream.url, timeout=10) as client:
        answer = client.post(PATH, json=ASK)
        assert answer.status_code == 429 and answer.headers["retry-after"] == "60"
        assert answer.json() == {"error": {"message": "slower"}} and len(upstream.requests) == 3


def test_an_error_that_stays_is_handed_on_as_it_is(client, upstream):
    upstream.faults.append(failing(99, 503))
    answer = client.post(PATH, json=ASK)
    assert (answer.status_code, answer.json()) == (503, {"error": {"message": "busy"}}) and len(upstream.requests) == 3
    upstream.faults[:] = [failing(99, 400, body=b'{"error": {"message": "no such model", "code": "x"}}')]
    answer = client.post(PATH, json=ASK)
    assert answer.status_code == 400 and answer.json()["error"]["code"] == "x" and len(upstream.requests) == 4


def test_an_upstream_that_is_not_there(bridge):
    with Server() as gone:
        url = gone.url
    with serving(bridge, url, attempts=2) as client:
        answer = client.post(PATH, json=ASK)
        assert (answer.status_code, code(answer)) == (502, "upstream_unreachable") and "ConnectError" in answer.text
        assert value(client, 'minivec_upstream_attempts_total{status="none"}') == 2
        assert client.get("/health").status_code == 200 and client.get("/ready").status_code == 503
        assert client.post("/map", json={"vectors": tiny(["a"]).tolist()}).status_code == 200


def test_ready_where_the_upstream_answers(client):
    assert client.get("/ready").text == "ready\n"


def test_an_upstream_that_is_slow_ends_in_a_timeout(bridge, upstream):
    upstream.slow = 5
    with serving(bridge, upstream.url, timeout=0.5) as client:
        start = time.monotonic()
        answer = client.post(PATH, json=ASK)
        assert (answer.status_code, code(answer)) == (504, "timeout") and time.monotonic() - start < 3
        until(lambda: upstream.left == 1)
        assert value(client, "minivec_in_flight") == 0


@pytest.mark.parametrize(
    "spoil",
    [
        lambda good: b"not JSON",
        lambda good: [],
        lambda good: {**good, "data": good["data"][:1]},
        lambda good: {**good, "data": [{"embedding": "?"}] * 2},
        lambda good: {**good, "data": [{"embedding": [0.0] * 16}] * 2},
        lambda good: {**good, "data": [{"embedding": [1.0, 2.0]}, {"embedding": [1.0]}]},
    ],
)
def test_an_answer_that_is_none_is_refused(client, upstream, spoil):
    upstream.faults.append(lambda number, texts, good: (200, {}, spoil(good)))
    answer = client.post(PATH, json=ASK)
    assert (answer.status_code, code(answer)) == (502, "bad_upstream_answer")


def test_a_full_queue_refuses_and_says_when_to_come_again(bridge, upstream):
    upstream.slow = 1
    with serving(bridge, upstream.url, at_once=1, queue=1) as client, ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(lambda _: httpx.post(f"{client.base_url}{PATH}", json=ASK, timeout=30), range(6)))
        full = [answer for answer in answers if answer.status_code == 503]
        assert len(full) == 4 and upstream.most_at_once == 1
        assert {code(answer) for answer in full} == {"queue_full"} and full[0].headers["retry-after"] == "1"
        assert [answer.status_code for answer in answers].count(200) == 2
        assert client.post(PATH, json=ASK).status_code == 200


def test_a_client_that_goes_away_cancels_its_work(bridge, upstream):
    upstream.slow = 20
    with serving(bridge, upstream.url, at_once=1, queue=1) as client:
        for expected in (1, 2):
            with pytest.raises(httpx.ReadTimeout):
                httpx.post(f"{client.base_url}{PATH}", json=ASK, timeout=0.5)
            until(lambda: upstream.left == expected)  # noqa: B023
        until(lambda: value(client, "minivec_in_flight") == 0)
        assert value(client, f'minivec_requests_total{{path="{PATH}",status="499"}}') == 2
        upstream.slow = 0
        assert client.post(PATH, json=ASK).status_code == 200


def test_a_client_that_goes_away_amid_its_body_leaves_nothing(client, upstream):
    host, port = client.base_url.host, client.base_url.port
    with socket.create_connection((host, port)) as half:
        half.sendall(f"POST {PATH} HTTP/1.1\r\nHost: x\r\nContent-Length: 999\r\n\r\nhalf".encode())
        until(lambda: value(client, "minivec_in_flight") == 1)
    until(lambda: value(client, "minivec_in_flight") == 0)
    assert not upstream.requests


def test_a_map_that_is_not_reliable_is_refused_unless_it_is_accepted(bridge, upstream):
    doubtful = LinearMap(bridge.weights, {"verdict": "doubtful", "confidence": 0.4})
    with (
        pytest.raises(ValueError, match="is doubtful, confidence 0.40: nothing is served, unless"),
        serving(doubtful, upstream.url),
    ):
        pass
    with serving(doubtful, upstream.url, min_confidence=0.3) as client:
        assert client.post(PATH, json=ASK).status_code == 200


@pytest.mark.parametrize(
    ("url", "options", "part"),
    [
        ("ftp://host/v1", {}, "http"),
        ("http://user:very-secret@host/v1", {}, "no credentials"),
        ("http://host/v1", {"timeout": 0}, "timeout"),
        ("http://host/v1", {"attempts": 0}, "attempts"),
        ("http://host/v1", {"at_once": 0}, "at_once"),
        ("http://host/v1", {"queue": -1}, "queue"),
        ("http://host/v1", {"max_bytes": 0}, "max_bytes"),
    ],
)
def test_arguments(bridge, url, options, part):
    with pytest.raises(ValueError, match=part) as caught, serving(bridge, url, **options):
        pass
    assert "secret" not in str(caught.value)


@pytest.fixture(scope="module")
def sample():
    """Rows of E5 and of USE in 384 dimensions, and a map between them that knows what they look like."""
    whole = load_sample()
    cut = np.linalg.qr(np.random.default_rng(0).standard_normal((512, 384)))[0].astype(np.float32)
    made = MiniVec2VecAligner.from_pairs(whole.test_source, whole.test_target @ cut).map
    rows = {"old": whole.source[:500], "new": whole.target[:500] @ cut}
    return LinearMap(made.weights, RELIABLE, signatures=made.signatures), rows


def rows_of(rows):
    """An encoder whose texts are a name and a number: "old 7" is the row 7 of those."""
    return lambda texts: np.stack([rows[text.split()[0]][int(text.split()[1])] for text in texts])


def ask(client, name, first, number=1):
    return client.post(PATH, json={"model": "m", "input": [f"{name} {first + i}" for i in range(number)]})


def test_vectors_of_another_space_are_refused(sample):
    bridge, rows = sample
    with Server(rows_of(rows)) as upstream, serving(bridge, upstream.url) as client:
        assert ask(client, "old", 0, 100).status_code == 200
        answer = ask(client, "new", 0, 100)
        assert (answer.status_code, code(answer)) == (422, "wrong_space") and "target space" in answer.text
        answer = client.post("/map", json={"vectors": rows["new"][:100].tolist()})
        assert (answer.status_code, code(answer)) == (422, "wrong_space")
        assert ask(client, "old", 200).status_code == 200


def test_single_vectors_of_another_space_are_refused_after_a_few(sample):
    bridge, rows = sample
    turn = np.linalg.qr(np.random.default_rng(1).standard_normal((384, 384)))[0].astype(np.float32)
    with Server(rows_of({**rows, "turned": rows["old"] @ turn})) as upstream, serving(bridge, upstream.url) as client:
        assert {ask(client, "old", i).status_code for i in range(100)} == {200}
        answers = [ask(client, "turned", i).status_code for i in range(30)]
        assert answers[0] == 200 and set(answers[15:]) == {422}
        assert {ask(client, "old", i).status_code for i in range(100, 103)} <= {200}
    with Server(rows_of(rows)) as upstream, serving(bridge, upstream.url, any_vectors=True) as client:
        assert ask(client, "new", 0, 100).status_code == 200


def test_a_map_without_a_signature_serves_any_vectors():
    with Server() as upstream, serving(both_ways(dA=16, dB=8), upstream.url) as client:
        assert client.post(PATH, json=ASK).status_code == 200
