"""Qdrant: its settings, its limits and its errors, over its REST protocol and in local mode."""

import time

import numpy as np
import pytest

pytest.importorskip("qdrant_client")

from qdrant_client import QdrantClient, models

from minivec.map import LinearMap
from minivec.migrate import migrate, verify
from minivec.stores import StoreError, lease, open_store, requests, sample
from qdrant_server import LIMIT, Refused, qdrant_server
from small import bridge, vectors

pytestmark = pytest.mark.databases

X = vectors(60)
ADAPTER = bridge()


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setattr(lease, "SETTLED", 0.02)
    monkeypatch.setattr(requests, "PAUSES", (0.01, 0.02))
    with qdrant_server() as (server, address):
        server.url = f"qdrant://{address}"
        server.client = QdrantClient(url=f"http://{address}", check_compatibility=False)
        yield server


def fill(client, name, rows=X, vector=None, **settings):
    vector = vector or models.VectorParams(size=rows.shape[1], distance="Dot")
    client.create_collection(name, vector, **settings)
    points = [models.PointStruct(id=i, vector=row, payload={"n": i}) for i, row in enumerate(rows.tolist())]
    if points:
        client.upsert(name, points)


def read(client, name):
    points, _ = client.scroll(name, limit=10_000, with_vectors=True)
    return {point.id: point for point in points}


def mapped(client, name, rows=X, adapter=ADAPTER, column=None):
    """Whether the collection has these rows as the map has them."""
    points = read(client, name)
    assert sorted(points) == list(range(len(rows)))
    made = [points[i].vector if column is None else points[i].vector[column] for i in range(len(rows))]
    np.testing.assert_allclose(made, adapter(rows), atol=1e-5)
    assert all(points[i].payload == {"n": i} for i in points)


def test_the_settings_of_a_collection_are_carried_over(server):
    vector = models.VectorParams(
        size=6, distance="Dot", on_disk=True, hnsw_config=models.HnswConfigDiff(m=7), datatype="float16"
    )
    fill(
        server.client,
        "docs",
        vector={"v": vector, "w": models.VectorParams(size=2, distance="Euclid")},
        rows=np.empty((0, 6)),
        sparse_vectors_config={"s": models.SparseVectorParams(modifier="idf")},
        hnsw_config=models.HnswConfigDiff(ef_construct=77),
        optimizers_config=models.OptimizersConfigDiff(indexing_threshold=123),
        wal_config=models.WalConfigDiff(wal_capacity_mb=5),
        quantization_config=models.ScalarQuantization(scalar=models.ScalarQuantizationConfig(type="int8")),
        strict_mode_config=models.StrictModeConfig(enabled=True, max_query_limit=20, upsert_max_batchsize=15),
        shard_number=3,
        replication_factor=2,
        write_consistency_factor=2,
        on_disk_payload=True,
    )
    server.client.create_payload_index("docs", "n", models.PayloadSchemaType.INTEGER)
    server.client.create_payload_index("docs", "t", models.TextIndexParams(type="text", min_token_len=3))
    points = [models.PointStruct(id=i, vector={"v": row, "w": [1, 2]}) for i, row in enumerate(X.tolist())]
    for start in range(0, len(points), 15):
        server.client.upsert("docs", points[start : start + 15])
    migrate(f"{server.url}/docs?column=v", f"{server.url}/new", ADAPTER, verify=60)
    old, new = server.client.get_collection("docs"), server.client.get_collection("new")
    assert new.config.params.vectors["v"] == vector.model_copy(update={"size": 8})
    new.config.params.vectors["v"].size = 6
    assert new.config == old.config
    assert new.payload_schema == old.payload_schema and set(new.payload_schema) == {"n", "t"}


def test_a_new_vector_of_the_same_collection_has_the_settings_of_the_old_one(server):
    bodies = {}
    server.before = lambda method, path, body: bodies.update({(method, path): body})
    vector = models.VectorParams(size=6, distance="Dot", datatype="float16", hnsw_config=models.HnswConfigDiff(m=7))
    server.client.create_collection("docs", {"v": vector})
    points = [models.PointStruct(id=i, vector={"v": row}, payload={"n": i}) for i, row in enumerate(X.tolist())]
    server.client.upsert("docs", points)
    migrate(f"{server.url}/docs?column=v", f"{server.url}/docs?column=new", ADAPTER, batch=25, verify=60)
    mapped(server.client, "docs", column="new")
    dense = bodies["PUT", "/collections/docs/vectors/new"]["dense"]
    assert dense == {"size": 8, "distance": "Dot", "datatype": "float16"}
    assert bodies["PATCH", "/collections/docs"]["vectors"]["new"] == {"hnsw_config": {"m": 7}}


@pytest.mark.parametrize("made", [0, 1])
def test_a_run_that_stops_before_the_payload_indexes_goes_on_with_them(server, made):
    fill(server.client, "docs")
    for field in "nt":
        server.client.create_payload_index("docs", field, models.PayloadSchemaType.INTEGER)
    left = [None] * made

    def stop(method, path, body):
        if path.endswith("new/index") and not left:
            raise Refused(400, "stopped here")
        if path.endswith("new/index"):
            left.pop()

    server.before = stop
    words = f"{server.url}/docs", f"{server.url}/new", ADAPTER
    with pytest.raises(StoreError, match="stopped here"):
        migrate(*words)
    assert len(server.client.get_collection("new").payload_schema) == made
    server.before = lambda method, path, body: None
    migrate(*words, verify=60)
    assert set(server.client.get_collection("new").payload_schema) == {"n", "t"}
    server.indexes["new"].pop("n")  # by the user, who has a reason
    migrate(*words)
    assert set(server.client.get_collection("new").payload_schema) == {"t"}


def test_a_run_that_stops_before_the_settings_of_a_new_vector_goes_on_with_them(server):
    bodies = {}
    vector = models.VectorParams(size=6, distance="Dot", hnsw_config=models.HnswConfigDiff(m=7))
    server.client.create_collection("docs", {"v": vector})
    server.client.upsert("docs", [models.PointStruct(id=i, vector={"v": row}) for i, row in enumerate(X.tolist())])

    def stop(method, path, body):
        if method == "PATCH":
            raise Refused(400, "stopped here")

    server.before = stop
    words = f"{server.url}/docs?column=v", f"{server.url}/docs?column=new", ADAPTER
    with pytest.raises(StoreError, match="stopped here"):
        migrate(*words)
    server.before = lambda method, path, body: bodies.update({(method, path): body})
    migrate(*words, verify=60)
    assert bodies["PATCH", "/collections/docs"]["vectors"]["new"] == {"hnsw_config": {"m": 7}}


@pytest.mark.parametrize("named", [False, True])
def test_whole_numbers_do_not_hold_mapped_vectors(server, named):
    rows = np.random.default_rng(0).integers(0, 256, (60, 6)).astype(np.float32)
    vector = models.VectorParams(size=6, distance="Dot", datatype="uint8")
    if named:
        server.client.create_collection("docs", {"v": vector})
        points = [models.PointStruct(id=i, vector={"v": row}, payload={"n": i}) for i, row in enumerate(rows.tolist())]
        server.client.upsert("docs", points)
        migrate(f"{server.url}/docs", f"{server.url}/docs?column=new", ADAPTER)
        mapped(server.client, "docs", rows, column="new")
        return
    fill(server.client, "docs", rows, vector)
    migrate(f"{server.url}/docs", f"{server.url}/new", ADAPTER)
    mapped(server.client, "new", rows)


def test_no_request_is_larger_than_the_server_takes(server):
    fill(server.client, "docs", X[:45])
    assert migrate(f"{server.url}/docs", f"{server.url}/new", bridge_to(40_000)).written == 45
    assert server.local.count("new").count == 45
    assert LIMIT < sum(size for method, path, size in server.requests if path == "/collections/new/points")


def bridge_to(width):
    """A map from 6 to so many dimensions."""
    W = np.random.default_rng(0).standard_normal((6, width))
    weights = dict(W=W, source_mean=np.zeros(6), target_mean=np.zeros(width), target_norm=1, expected_cosine=0.8)
    return LinearMap(weights, {"verdict": "reliable", "confidence": 0.9})


def test_requests_become_smaller_where_the_server_takes_less(server):
    """A proxy before it, or a setting."""
    fill(server.client, "docs")
    server.limit = 2_000
    migrate(f"{server.url}/docs", f"{server.url}/new", ADAPTER, verify=60)
    mapped(server.client, "new")
    server.limit = 60
    with pytest.raises(StoreError, match="larger than allowed"):
        migrate(f"{server.url}/docs", f"{server.url}/none", ADAPTER)


def test_sparse_vectors_beside_the_one_without_a_name(server):
    vector, sparse = models.VectorParams(size=6, distance="Dot"), {"s": models.SparseVectorParams()}
    fill(server.client, "docs", vector=vector, sparse_vectors_config=sparse)
    terms = models.SparseVector(indices=[3, 5], values=[0.5, 2.0])
    server.client.update_vectors("docs", [models.PointVectors(id=7, vector={"s": terms})])
    np.testing.assert_allclose(sample(f"{server.url}/docs", 60), X, atol=1e-6)
    migrate(f"{server.url}/docs", f"{server.url}/new", ADAPTER, verify=60)
    points = read(server.client, "new")
    assert points[7].vector["s"] == terms
    made = [p.vector[""] if isinstance(p.vector, dict) else p.vector for _, p in sorted(points.items())]
    np.testing.assert_allclose(made, ADAPTER(X), atol=1e-5)


def test_multivectors_are_refused_where_they_are_asked_for_and_kept_where_they_lie_beside(server):
    several = models.VectorParams(
        size=6, distance="Dot", multivector_config=models.MultiVectorConfig(comparator="max_sim")
    )
    server.client.create_collection("docs", {"v": models.VectorParams(size=6, distance="Dot"), "m": several})
    rows = {"v": X[0].tolist(), "m": X[1:4].tolist()}
    server.client.upsert("docs", [models.PointStruct(id=1, vector=rows, payload={})])
    with pytest.raises(ValueError, match="'m' has several rows for each point"):
        sample(f"{server.url}/docs?column=m", 5)
    migrate(f"{server.url}/docs?column=v", f"{server.url}/new", ADAPTER, verify=1)
    np.testing.assert_allclose(read(server.client, "new")[1].vector["m"], X[1:4], atol=1e-6)


# Two migrations at once.


def test_another_migration_into_the_same_collection_is_refused(server):
    fill(server.client, "docs")
    seen = []

    def meanwhile(done, total):
        with pytest.raises(StoreError, match="another migration is writing there: process"):
            migrate(f"{server.url}/docs", f"{server.url}/new", ADAPTER)
        seen.append(done)

    migrate(f"{server.url}/docs", f"{server.url}/new", ADAPTER, batch=25, progress=meanwhile)
    assert seen == [25, 50, 60]
    mapped(server.client, "new")
    assert migrate(f"{server.url}/docs", f"{server.url}/new", ADAPTER).written == 0


def test_a_migration_that_was_taken_over_stops(server):
    fill(server.client, "docs")

    def taken(done, total):
        store = open_store(f"{server.url}/new")
        store._notes.hold({"owner": "another", "host": "elsewhere", "pid": 7, "beat": 3})

    with pytest.raises(StoreError, match="another migration is writing there: process 7 on elsewhere"):
        migrate(f"{server.url}/docs", f"{server.url}/new", ADAPTER, batch=25, progress=taken)
    assert len(read(server.client, "new")) == 25


@pytest.mark.parametrize("host", ["here", "elsewhere"])
def test_a_holder_that_crashed_does_not_block(server, host, monkeypatch):
    fill(server.client, "docs")
    monkeypatch.setattr(lease, "BEAT", 0.1)
    monkeypatch.setattr(lease, "PATIENCE", 0.4)
    own = lease.socket.gethostname()
    store = open_store(f"{server.url}/new")
    store._notes.make()
    store._notes.hold({"owner": "gone", "host": own if host == "here" else host, "pid": 2**22 + 1, "beat": 3})
    start = time.perf_counter()
    migrate(f"{server.url}/docs", f"{server.url}/new", ADAPTER)
    assert host == "here" or time.perf_counter() - start > 0.4
    mapped(server.client, "new")


# What a server answers.


def failing(status, message="out of order", headers=None):
    def before(method, path, body):
        raise Refused(status, message, headers)

    return before


def hangs(method, path, body):
    time.sleep(3)


@pytest.mark.parametrize(
    "before", [failing(401), failing(403), failing(404), failing(429), failing(500), failing(503), hangs]
)
def test_every_answer_of_a_server_is_one_line(server, before, run, tmp_path):
    fill(server.client, "docs")
    ADAPTER.save(tmp_path / "bridge.safetensors")
    words = ["migrate", f"{server.url}/docs", f"{server.url}/new", "-a", tmp_path / "bridge.safetensors"]
    hasty = [f"{word}?timeout=1" if before is hangs and word in words[1:3] else word for word in words]
    writes = []

    def later(method, path, body):
        writes.append(path == "/collections/new/points")
        if sum(writes) > 1:
            before(method, path, body)

    for when in (before, later):
        server.before = when
        code, out, err = run(*hasty, "--batch", "25")
        assert code == 2 and out == "" and err.count("\n") == 1 and f"{server.url}/" in err, err
    assert "the same command goes on" in err
    server.before = lambda method, path, body: None
    code, out, err = run(*words)
    assert code == 0, err
    mapped(server.client, "new")


def reset(method, path, body):
    raise ConnectionResetError


@pytest.mark.parametrize(
    "before, tried",
    [
        *((failing(status), True) for status in (429, 502, 503, 504)),
        (failing(429, headers={"Retry-After": "0"}), True),
        (reset, True),
        (hangs, True),
        *((failing(status), False) for status in (400, 401, 403, 404, 500)),
    ],
)
def test_a_request_is_made_again_while_the_server_is_busy(server, before, tried):
    """Every third request succeeds, and twice it is tried again. What will not change is not tried again."""
    fill(server.client, "docs")
    failed = {}

    def often(method, path, body):
        if path.endswith("/points"):
            failed[path] = failed.get(path, 0) + 1
            if failed[path] % (2 if before is hangs else 3):
                before(method, path, body)

    server.before = often
    slow = "?timeout=1" * (before is hangs)
    words = f"{server.url}/docs{slow}", f"{server.url}/new{slow}", ADAPTER
    if not tried:
        with pytest.raises(StoreError):
            migrate(*words, batch=30)
        assert max(failed.values()) == 1
        return
    migrate(*words, batch=30)
    mapped(server.client, "new")
    assert failed["/collections/new/points"] == (4 if before is hangs else 6)


def test_a_busy_server_says_how_long_to_wait(server, monkeypatch):
    fill(server.client, "docs")
    slept = []
    monkeypatch.setattr(requests.time, "sleep", slept.append)
    server.before = failing(429, headers={"Retry-After": "7"})
    with pytest.raises(StoreError):
        sample(f"{server.url}/docs", 5)
    assert slept == [7.0, 7.0]


def test_a_key_that_is_wrong_is_not_told(server, run, tmp_path):
    server.key = "right"
    code, out, err = run("sample", server.url.replace("://", "://:hunter2@") + "/docs", "-o", tmp_path / "x.npy")
    assert code == 2 and err.count("\n") == 1 and "API key" in err and "hunter2" not in err


def test_a_filter_chooses_the_points(server, run, tmp_path):
    fill(server.client, "docs")
    where = '{"must":[{"key":"n","range":{"lt":20}}]}'
    url = f"{server.url}/docs?where={where}"
    np.testing.assert_allclose(sample(url, 60), X[:20], atol=1e-6)
    assert migrate(url, f"{server.url}/new", ADAPTER, batch=7, verify=20).verified == 20
    mapped(server.client, "new", X[:20])
    assert verify(url, f"{server.url}/new", ADAPTER, 20) == 20
    for bad in ("n<20", '{"musst":[]}', "[]"):
        code, _, err = run("sample", f"{server.url}/docs?where={bad}", "-o", tmp_path / "x.npy")
        assert code == 2 and err.count("\n") == 1 and "where must be a filter of Qdrant as JSON" in err


# What a collection gives back, and what happens to it meanwhile.


def raw_map(norm, mean):
    """A map that was fitted on rows of this length, about a mean of this length."""
    rng = np.random.default_rng(0)
    W = np.linalg.qr(rng.standard_normal((8, 8)))[0][:6]
    weights = dict(source_mean=np.full(6, mean / 6**0.5), target_mean=np.zeros(8), source_norm=norm, target_norm=1)
    weights |= dict(W=W, inverse_W=W.T, expected_cosine=0.8)
    return LinearMap(weights, {"verdict": "reliable", "confidence": 0.9})


@pytest.mark.parametrize("norm, mean, fits", [(12.0, 6.0, False), (0.2, 0.1, False), (1.0, 0.5, True), (12.0, 0, True)])
def test_vectors_that_cosine_collections_have_normalised_need_a_map_that_was_fitted_on_such(server, norm, mean, fits):
    fill(server.client, "docs", norm * X, models.VectorParams(size=6, distance="Cosine"))
    fill(server.client, "raw", norm * X)
    adapter = raw_map(norm, mean)
    assert migrate(f"{server.url}/raw", f"{server.url}/from_raw", adapter, verify="all").verified == 60
    if fits:
        assert migrate(f"{server.url}/docs", f"{server.url}/new", adapter, verify="all").verified == 60
        return
    with pytest.raises(ValueError, match="gives back vectors of length 1.*of length"):
        migrate(f"{server.url}/docs", f"{server.url}/new", adapter)
    assert not server.client.collection_exists("new")


def test_verify_does_not_cry_wolf_over_vectors_that_were_normalised_again(server):
    """The other vectors of a point differ by rounding when they have been through a cosine collection twice."""
    parameters = {name: models.VectorParams(size=64, distance="Cosine") for name in ("v", "other")}
    rows, adapter = vectors(40, 64), bridge(64, 8)
    server.client.create_collection("docs", parameters)
    others = 1.7 * vectors(40, 64, seed=2)
    points = [
        models.PointStruct(id=i, vector={"v": row, "other": other}, payload={"n": i})
        for i, (row, other) in enumerate(zip(rows.tolist(), others.tolist(), strict=True))
    ]
    server.client.upsert("docs", points)
    assert migrate(f"{server.url}/docs?column=v", f"{server.url}/new", adapter, verify="all").verified == 40
    server.client.update_vectors("new", [models.PointVectors(id=3, vector={"other": others[5].tolist()})])
    with pytest.raises(ValueError, match="payload.* row 3"):
        verify(f"{server.url}/docs?column=v", f"{server.url}/new", adapter, "all")


def test_points_that_change_meanwhile_are_caught_up_with(server):
    fill(server.client, "docs")

    def meanwhile(done, total):
        if done == 50:
            points = [models.PointStruct(id=i, vector=X[0].tolist(), payload={"new": i}) for i in (3, 100)]
            server.client.upsert("docs", points)
            server.client.delete("docs", models.PointIdsList(points=[4, 5]))

    result = migrate(f"{server.url}/docs", f"{server.url}/new", ADAPTER, batch=25, verify="all", progress=meanwhile)
    assert (result.caught_up, result.verified, result.notes) == (4, 59, ())
    points = read(server.client, "new")
    assert points[3].payload == {"new": 3} and 4 not in points and 100 in points


def test_points_without_the_vector_are_kept_without_it(server):
    fill(server.client, "docs")
    server.client.upsert("docs", [models.PointStruct(id=7, vector={}, payload={"n": 7})])
    with pytest.raises(ValueError, match="no vector in points 7"):
        migrate(f"{server.url}/docs", f"{server.url}/new", ADAPTER)
    result = migrate(f"{server.url}/docs", f"{server.url}/new", ADAPTER, skip_nulls=True, verify="all")
    assert (result.skipped, result.skipped_keys, result.verified) == (1, (7,), 60)
    assert not read(server.client, "new")[7].vector


def test_a_dry_run_tells_what_is_stored_otherwise_and_writes_nothing(server):
    fill(server.client, "docs", 100 * np.abs(X), models.VectorParams(size=6, distance="Dot", datatype="uint8"))
    server.requests.clear()
    result = migrate(f"{server.url}/docs", f"{server.url}/new", ADAPTER, dry_run=True)
    assert "uint8" in " ".join(result.notes)
    assert not [request for request in server.requests if request[0] in ("PUT", "PATCH", "DELETE")]
