"""What only FAISS index files have: kinds of indexes, ids, training, and an index that is built at the end."""

import os
import signal
import subprocess
import time

import faiss
import numpy as np
import pyarrow.parquet as pq
import pytest

import small
from databases import MAKERS
from minivec.files import map_rows, open_rows
from minivec.formats.faiss import rows
from minivec.formats.faiss.recipe import Recipe
from minivec.migrate import migrate, verify
from minivec.stores import Refused, StoreError, open_store, sample
from small import Killed, bridge, command, killed_after

X = small.vectors(600)
ADAPTER = bridge()
IDS = np.random.default_rng(3).permutation(600) * 7 - 20  # negative ones among them


TAKE_NUMBERS = ("sqlite", "postgres", "qdrant server", "duckdb", "milvus", "chroma")


@pytest.fixture
def kind():
    return "faiss ids"


def made(path, factory, vectors=X, ids=None, metric=faiss.METRIC_INNER_PRODUCT):
    """An index file of these vectors."""
    index = faiss.index_factory(vectors.shape[1], factory, metric)
    for part in (index, faiss.try_extract_index_ivf(index), getattr(index, "pq", None)):
        if hasattr(part, "cp"):
            part.cp.min_points_per_centroid = 1  # FAISS warns of few rows
    index.train(vectors)
    index.add(vectors) if ids is None else index.add_with_ids(vectors, ids)
    faiss.write_index(index, str(path))
    return index


def found(path, queries, k=1):
    """The ids that a search of the file gives, with all of it looked at."""
    index = faiss.read_index(str(path))
    if (ivf := faiss.try_extract_index_ivf(index)) is not None:
        ivf.nprobe = ivf.nlist
    return index.search(queries, k)[1]


WITHOUT_LOSS = ["Flat", "IVF8,Flat", "HNSW8", "SQfp16", "IVF8_HNSW4,Flat", "RR,Flat", "L2norm,Flat", "IVF8,SQ8,RFlat"]
WITH_LOSS = ["SQ8", "PQ3x4", "IVF8,SQ8", "HNSW8,SQ8", "IVF4,PQ3x4", "PCA4,Flat"]


@pytest.mark.parametrize("factory", WITHOUT_LOSS + WITH_LOSS)
@pytest.mark.parametrize("metric", [faiss.METRIC_INNER_PRODUCT, faiss.METRIC_L2])
def test_every_kind_of_index_becomes_one_of_the_same_kind(tmp_path, factory, metric):
    old, new = tmp_path / "old.faiss", tmp_path / "new.faiss"
    made(old, factory, metric=metric)
    notes = migrate(old, new, ADAPTER, verify="all").notes
    assert any("approximations" in note for note in notes) == (factory in WITH_LOSS)
    loss = 1e-3 if factory in WITHOUT_LOSS else 0.5
    kept = open_rows(old).array()
    assert ((kept * X).sum(1) / np.linalg.norm(kept, axis=1)).mean() > 1 - loss
    built = faiss.read_index(str(new))
    assert (built.metric_type, built.d, built.ntotal) == (metric, 8, 600)
    assert Recipe.of(built).factory == Recipe.of(faiss.read_index(str(old))).factory.replace("PQ3x4", "PQ4x4")
    if factory in WITHOUT_LOSS:
        assert (found(new, ADAPTER(X))[:, 0] == np.arange(600)).mean() > 0.97


@pytest.mark.parametrize("factory", ["IDMap,Flat", "IDMap2,HNSW8", "IDMap,IVF8,Flat", "IVF8,Flat", "PCA6,IVF8,Flat"])
def test_ids_stay_with_their_vectors(tmp_path, factory):
    old, new = tmp_path / "old.faiss", tmp_path / "new.index"
    made(old, factory, ids=IDS)
    with pytest.raises(Killed):
        migrate(old, new, ADAPTER, batch=100, progress=killed_after(300))
    assert migrate(old, new, ADAPTER, batch=100, verify="all").written == 300
    assert (found(new, ADAPTER(X))[:, 0] == IDS).mean() > 0.9
    assert Recipe.of(faiss.read_index(str(new))).factory == factory
    migrate(old, f"{tmp_path}/lists.faiss?factory=IVF8,Flat", ADAPTER, verify="all")
    copy = tmp_path / "copy.faiss"
    map_rows(ADAPTER, open_rows(old), copy, 100)
    assert (found(copy, ADAPTER(X))[:, 0] == IDS).mean() > 0.9


def test_verification_of_an_index_of_approximations_finds_a_wrong_row(tmp_path):
    old, new = tmp_path / "old.faiss", tmp_path / "new.faiss"
    made(old, "IVF4,PQ3x4")
    migrate(old, new, ADAPTER, verify="all")
    kept = open_rows(new).array()
    kept[7] *= -1
    made(new, "Flat", kept)
    with pytest.raises(ValueError, match="another vector than the aligner's in row 7"):
        verify(old, new, ADAPTER, "all")


def test_ids_may_be_the_same_and_rows_may_be_gone(tmp_path):
    old, new = tmp_path / "old.faiss", tmp_path / "new.faiss"
    ids = IDS // 14
    made(old, "IDMap,Flat", ids=ids)
    assert len(set(ids)) < 600
    migrate(old, new, ADAPTER, verify="all")
    np.testing.assert_array_equal(open_rows(new).ids, ids)
    with pytest.raises(ValueError, match="same in several rows"):
        migrate(old, f"sqlite://{tmp_path}/a.db/docs", ADAPTER)
    index = made(old, "IVF8,Flat")
    index.remove_ids(np.arange(10, 20))
    faiss.write_index(index, str(old))
    new.unlink(), (tmp_path / "new.faiss.migration.json").unlink()
    migrate(old, new, ADAPTER, verify="all")
    assert (found(new, ADAPTER(X[20:])) == np.arange(20, 600)[:, None]).all()


def test_settings_of_building_and_of_searching_are_carried_over(tmp_path):
    old, new = tmp_path / "old.faiss", tmp_path / "new.faiss"
    index = faiss.IndexHNSWFlat(6, 12, faiss.METRIC_L2)
    index.hnsw.efConstruction, index.hnsw.efSearch = 77, 33
    index.add(X)
    faiss.write_index(index, str(old))
    migrate(old, new, ADAPTER)
    graph = faiss.read_index(str(new))
    assert (graph.hnsw.efConstruction, graph.hnsw.efSearch, graph.metric_type) == (77, 33, faiss.METRIC_L2)
    lists = made(old, "IVF8,Flat")
    lists.nprobe = 5
    faiss.write_index(lists, str(old))
    migrate(old, tmp_path / "lists.faiss", ADAPTER)
    assert faiss.read_index(str(tmp_path / "lists.faiss")).nprobe == 5


def test_an_orthogonal_matrix_before_a_quantizer_is_learned_anew(tmp_path):
    """FAISS reads its OPQ matrix as a matrix of no kind."""
    index = faiss.index_factory(6, "OPQ3,PQ3x4")
    matrix = faiss.downcast_VectorTransform(index.chain.at(0))
    matrix.niter = matrix.niter_pq = matrix.niter_pq_0 = 1
    index.train(np.tile(X, (2, 1)))
    index.add(X)
    faiss.write_index(index, str(tmp_path / "old.faiss"))
    assert Recipe.of(faiss.read_index(str(tmp_path / "old.faiss"))).factory == "OPQ3,PQ3x4"
    assert Recipe("OPQ3,PQ3x4").at(8, 600, False).factory == "OPQ4,PQ4x4"
    assert Recipe("OPQ3_6,PQ3x4").at(8, 600, False).factory == "OPQ3_6,PQ3x4"
    assert Recipe("HNSW8").at(8, 600, True).factory == "IDMap,HNSW8"


def test_what_is_built_can_be_chosen_and_what_changes_is_told_before_anything_is_written(tmp_path):
    old = tmp_path / "old.faiss"
    made(old, "PQ3x4")
    told = migrate(old, tmp_path / "new.faiss", ADAPTER, dry_run=True).notes
    assert "PQ4x4, as PQ3x4 does not suit 8 dimensions" in " ".join(told)
    np.save(tmp_path / "x.npy", X)
    for place, factory, metric in (
        ("flat.faiss", "Flat", faiss.METRIC_INNER_PRODUCT),
        ("a.faiss?factory=IVF8,Flat&metric=l2", "IVF8,Flat", faiss.METRIC_L2),
        ("b.INDEX?factory=IDMap,HNSW8", "IDMap,HNSW8", faiss.METRIC_INNER_PRODUCT),
    ):
        migrate(tmp_path / "x.npy", f"{tmp_path}/{place}", ADAPTER, verify="all")
        index = faiss.read_index(str(tmp_path / place.partition("?")[0]))
        assert (Recipe.of(index).factory, index.metric_type) == (factory, metric)
    before = sorted(path for path in tmp_path.iterdir() if path.suffix != ".lock")
    for options, what in (
        ("factory=IVF1000,Flat", "trained on 1,000 rows, and there are 600"),
        ("factory=Nothing9", "FAISS makes no index Nothing9 of 8 dimensions"),
        ("factory=PQ3x12", "trained on 4,096 rows"),
        ("metric=cosine", "metric must be one of ip, l2"),
        ("kind=Flat", "unknown option 'kind'"),
    ):
        with pytest.raises(ValueError, match=what):
            migrate(tmp_path / "x.npy", f"{tmp_path}/c.faiss?{options}", ADAPTER)
    assert sorted(path for path in tmp_path.iterdir() if path.suffix != ".lock") == before


KINDS = [pytest.param(kind, marks=[pytest.mark.slow] * (kind != "sqlite")) for kind in MAKERS if kind in TAKE_NUMBERS]


@pytest.mark.parametrize("other", KINDS)
def test_rows_of_a_database_keep_their_keys_as_ids_and_come_back(tmp_path, other):
    table = MAKERS[other](tmp_path)
    table.fill("docs", X)
    source, place = table.source(), str(tmp_path / "new.faiss")
    notes = migrate(source, place, ADAPTER, batch=100, verify="all").notes
    assert any("these are left out: " in note for note in notes)
    assert migrate(source, place, ADAPTER, verify="all").written == 0
    keys = small.table(X)["id"].to_pylist()
    assert sorted(open_rows(place).ids) == sorted(keys)
    assert (found(place, ADAPTER(X))[:, 0] == keys).all()
    assert open_store(place).schema().key == "id"
    migrate(place, table.url("back"), verify="all")
    assert open_store(table.url("back")).count() == 600
    table.close()


def test_keys_that_are_texts_of_numbers_are_ids_and_others_are_refused(tmp_path):
    chroma = pytest.importorskip("chromadb").PersistentClient(str(tmp_path / "chroma"))
    for name, keys in (("numbers", ["5", "-7", "900"]), ("words", ["5", "05", "a"])):
        chroma.create_collection(name, embedding_function=None).add(keys, embeddings=X[:3])
    source = f"chroma://{tmp_path}/chroma"
    assert migrate(f"{source}/numbers", tmp_path / "new.faiss", ADAPTER, verify="all").verified == 3
    assert sorted(open_rows(tmp_path / "new.faiss").ids) == [-7, 5, 900]
    with pytest.raises(ValueError, match="whole numbers of 64 bits, and the key 'id' of .*words is not: '05'"):
        migrate(f"{source}/words", tmp_path / "other.faiss", ADAPTER)
    assert not (tmp_path / "other.faiss.migration.json").exists()


@pytest.mark.parametrize("crashed", ["before", "after"])
def test_a_run_that_ends_while_the_index_is_built_loses_no_mapped_row(tmp_path, monkeypatch, crashed):
    old, new = tmp_path / "old.faiss", tmp_path / "new.faiss"
    made(old, "IVF8,Flat")
    write = faiss.write_index

    def dies(index, path):
        if crashed == "after":
            write(index, path)
        raise RuntimeError("Error in x at y.cpp:1: no space left on\ndevice")

    monkeypatch.setattr(faiss, "write_index", dies)
    with pytest.raises(StoreError, match="its index was not built: .*600 of 600 rows were done") as caught:
        migrate(old, new, ADAPTER)
    assert "\n" not in str(caught.value)
    monkeypatch.undo()
    assert not new.exists() and open_store(new).checkpoint().rows == 600
    assert migrate(old, new, ADAPTER, verify="all").written == 0
    assert sorted(path.name for path in tmp_path.glob("*.faiss")) == ["new.faiss", "old.faiss"]
    assert not (tmp_path / ".new.faiss.partial").exists()


@pytest.mark.slow
def test_a_build_that_is_killed_is_done_again(tmp_path):
    made(tmp_path / "old.faiss", "HNSW16", small.vectors(30_000, 32))
    bridge(32, 48).save(tmp_path / "bridge.safetensors")
    line = command("migrate", tmp_path / "old.faiss", tmp_path / "new.faiss", "-a", tmp_path / "bridge.safetensors")
    for _ in range(3):
        process = subprocess.Popen(line, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        partial = tmp_path / ".new.faiss.partial"
        while process.poll() is None and not (partial.exists() and partial.stat().st_size == 30_000 * (8 + 4 * 48)):
            time.sleep(0.01)
        time.sleep(0.2)
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert not (tmp_path / "new.faiss").exists()
    done = subprocess.run([*line, "--verify-all"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert not partial.exists()


# What is refused.


def refused(path, what):
    with pytest.raises(ValueError, match=what) as caught:
        list(open_rows(path).batches(100))
    assert "\n" not in str(caught.value) and str(path) in str(caught.value) and "/project/" not in str(caught.value)


def test_files_that_hold_no_vectors_are_refused_in_one_line(tmp_path):
    path = tmp_path / "x.faiss"
    binary = faiss.IndexBinaryFlat(16)
    binary.add(np.zeros((3, 2), np.uint8))
    faiss.write_index_binary(binary, str(path))
    refused(path, "a binary index")
    faiss.write_index(faiss.IndexFlatL2(6), str(path))
    refused(path, "it is empty")
    made(path, "ITQ4,LSH", metric=faiss.METRIC_L2)
    refused(path, "FAISS cannot give back")
    made(path, "IVF4,PQ3x4fs", metric=faiss.METRIC_L2)
    refused(path, "IndexIVFPQFastScan")
    made(path, "Flat")
    content = path.read_bytes()
    for damaged in (content[:-50], content[:20], bytes(len(content)), b"IxFI" + os.urandom(200), b""):
        path.write_bytes(damaged)
        refused(path, "damaged, or not a .faiss file")


@pytest.mark.parametrize("factory", ["Flat", "IVF8,SQ8", "IDMap,HNSW8"])
def test_a_large_file_is_mapped_and_gives_the_same_rows(tmp_path, monkeypatch, factory):
    path = tmp_path / "x.faiss"
    made(path, factory, ids=IDS if "IDMap" in factory else None)
    whole = open_rows(path)
    monkeypatch.setattr(rows, "WHOLE", 0)
    np.testing.assert_array_equal(open_rows(path).array(), whole.array())
    np.testing.assert_array_equal(open_rows(path).ids, whole.ids)
    assert migrate(path, tmp_path / "new.faiss", ADAPTER, verify="all").verified == 600


@pytest.mark.parametrize("mapped", [False, True])
def test_a_file_that_is_written_while_it_is_read_is_refused(tmp_path, monkeypatch, mapped):
    path = tmp_path / "x.faiss"
    monkeypatch.setattr(rows, "WHOLE", 0 if mapped else rows.WHOLE)
    made(path, "Flat")
    blocks = open_rows(path).batches(100)
    next(blocks)
    made(path, "Flat", -X)
    with pytest.raises(ValueError, match="written while it was read"):
        next(blocks)


def test_an_index_that_cannot_be_made_again_asks_for_another_one(tmp_path):
    old = tmp_path / "old.faiss"
    index = faiss.IndexNNDescentFlat(6, 8)
    index.nndescent.K, index.nndescent.L = 16, 24
    index.add(X)
    faiss.write_index(index, str(old))
    with pytest.raises(Refused, match=r"IndexNNDescentFlat.*NEW.faiss\?factory=Flat"):
        migrate(old, tmp_path / "new.faiss", ADAPTER)
    assert migrate(old, f"{tmp_path}/new.faiss?factory=HNSW8", ADAPTER, verify="all").verified == 600


# The commands.


@pytest.mark.parametrize("factory", ["IVF8,SQ8", "Flat", "IDMap,HNSW8"])
def test_commands_that_read_vectors_take_index_files(tmp_path, run, factory):
    old, new, ids = tmp_path / "old.faiss", tmp_path / "new.faiss", None if factory == "Flat" else IDS
    aligner = tmp_path / "bridge.safetensors"
    made(old, factory, ids=ids)
    made(new, "Flat", ADAPTER(open_rows(old).array()))
    ADAPTER.save(aligner)
    for words, told in (
        (("sample", old, "-o", tmp_path / "s.npy", "--rows", 50), "50 rows"),
        (("transform", old, "-a", aligner, "-o", tmp_path / "t.npy"), "600 rows"),
        (("transform", old, "-a", aligner, "-o", tmp_path / "t.parquet"), "600 rows"),
        (("transform", old, "-a", aligner, "-o", tmp_path / "t.index"), "600 rows"),
        (("adapt", old, "-a", aligner, "-o", tmp_path / "a.npy"), "600 queries"),
        (("evaluate", old, new, "-a", aligner), "1.0000"),
        (("doctor", old, "-a", aligner), "no problems"),
        (("probe", old, "-a", aligner, "--sample", 50), "neighbours that stay"),
        (("status", old), "no migrations"),
    ):
        code, out, err = run(*words)
        assert code == 0 and told in out, (words, err)
        lines = [line for line in err.splitlines() if "approximations" not in line]
        assert not lines, err
    np.testing.assert_array_equal(sample(old, 50), np.load(tmp_path / "s.npy"))
    assert np.load(tmp_path / "t.npy").shape == (600, 8)
    there = open_rows(tmp_path / "t.index").ids
    if ids is not None:
        np.testing.assert_array_equal(np.sort(there), np.sort(IDS))
        assert pq.read_table(tmp_path / "t.parquet")["id"].to_pylist() == there.tolist()
    assert (there is None) == (ids is None)
    code, out, err = run("embed", old, "--model", "sentence-transformers:x", "-o", tmp_path / "e.npy")
    assert code == 2 and err.count("\n") == 1 and "expected texts" in err
    code, _, err = run("transform", old, "--column", "v", "-a", aligner, "-o", tmp_path / "u.npy")
    assert code == 2 and err.count("\n") == 1


def test_transform_tells_that_the_index_is_another_one(tmp_path, run):
    made(tmp_path / "old.faiss", "PQ3x4")
    ADAPTER.save(tmp_path / "bridge.safetensors")
    words = "transform", tmp_path / "old.faiss", "-a", tmp_path / "bridge.safetensors", "-o", tmp_path / "t.faiss"
    code, _, err = run(*words)
    assert code == 0 and "t.faiss: the index is PQ4x4, as PQ3x4 does not suit 8 dimensions" in err


def test_an_index_that_cannot_be_built_leaves_nothing(tmp_path):
    np.save(tmp_path / "old.npy", X[:100])
    with pytest.raises(Refused, match="trained on 256 rows"):
        migrate(tmp_path / "old.npy", f"{tmp_path}/new.faiss?factory=IVF256,Flat", ADAPTER)
    assert [path.name for path in tmp_path.iterdir()] == ["old.npy"]
