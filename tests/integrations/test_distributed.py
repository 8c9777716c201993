"""Ray: the same vectors and the same fit as on one machine, and blocks that are mapped again when a worker dies."""

import os
import re
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import supervised
from minivec import AlignmentWarning, MiniVec2VecAligner, cli, evaluate_alignment
from minivec.datasets import load_sample
from minivec.runtime import QueryAdapter

pytestmark = pytest.mark.slow
ray = pytest.importorskip("ray")

from minivec import distributed  # noqa: E402

A, B = supervised.spaces(8, 6, rows=3000)


@pytest.fixture(scope="module")
def cluster():
    ray.init(num_cpus=2, object_store_memory=200 << 20, include_dashboard=False, log_to_driver=False)
    yield
    ray.shutdown()


@pytest.fixture
def aligner(monkeypatch):
    supervised.install(monkeypatch)
    aligner = MiniVec2VecAligner(8)
    aligner.align(A, B)
    return aligner


@pytest.fixture
def shards(tmp_path):
    """A folder of three Parquet files with A's rows."""
    folder = tmp_path / "shards"
    folder.mkdir()
    for i, (start, stop) in enumerate([(0, 500), (500, 501), (501, 3000)]):
        texts = [f"text {row}" for row in range(start, stop)]
        table = pa.table({"text": texts, "v": pa.array(list(A[start:stop]), pa.list_(pa.float32()))})
        pq.write_table(table, folder / f"part-{i}.parquet", row_group_size=400)
    return folder


def complete(output, aligner):
    """All rows are there, once, in order, with their other columns, mapped as the model maps them."""
    out = pq.read_table(output)
    assert out["text"].to_pylist() == [f"text {row}" for row in range(3000)]
    assert out.schema.field("v").type == pa.list_(pa.float32(), 6)
    np.testing.assert_allclose(np.stack(out["v"].to_numpy()), np.asarray(aligner(A)), atol=1e-6)


def test_transform(cluster, aligner, shards, tmp_path, capsys):
    aligner.save(tmp_path / "ab.keras")
    command = ["transform", str(shards), "-a", str(tmp_path / "ab.keras"), "--engine", "ray", "-o"]
    with pytest.raises(SystemExit) as caught:
        cli.main([*command, str(tmp_path / "moved"), "--block-size", "256"])
    assert not caught.value.code
    complete(tmp_path / "moved", aligner)
    with pytest.raises(SystemExit) as caught:
        cli.main([*command, str(tmp_path / "moved")])
    assert caught.value.code == 2 and "exists" in capsys.readouterr().err


def test_bad_rows_leave_no_output(cluster, aligner, shards, tmp_path):
    bad = A[:9].copy()
    bad[4] = np.nan
    pq.write_table(pa.table({"text": list("abcdefghi"), "v": list(bad)}), shards / "part-9.parquet")
    before = sorted(path.name for path in tmp_path.iterdir())
    with pytest.raises(ValueError, match=r"NaN or infinity in row \d+"):
        distributed.transform(shards, QueryAdapter.of(aligner), tmp_path / "moved", "v", 1)
    assert sorted(path.name for path in tmp_path.iterdir()) == before


def test_wrong_vectors_behind_right_ones_are_refused(cluster, tmp_path, capsys):
    sample = load_sample()
    cut = np.linalg.qr(np.random.default_rng(0).standard_normal((512, 384)))[0].astype(np.float32)
    MiniVec2VecAligner.from_pairs(sample.test_source, sample.test_target @ cut).save(tmp_path / "bridge.keras")
    X = np.concatenate([sample.source[:2_000], sample.target[:2_000] @ cut])
    table = pa.table({"v": pa.FixedSizeListArray.from_arrays(pa.array(X.ravel()), 384)})
    pq.write_table(table, tmp_path / "in.parquet", row_group_size=500)
    words = ["transform", tmp_path / "in.parquet", "-a", tmp_path / "bridge.keras", "-o", tmp_path / "out"]
    words = [str(word) for word in [*words, "--engine", "ray", "--block-size", 500]]
    with pytest.raises(SystemExit) as caught:
        cli.main(words)
    assert caught.value.code == 2
    assert "target space" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
    with pytest.raises(SystemExit) as caught:
        cli.main([*words, "--any-vectors"])
    assert not caught.value.code
    assert pq.read_table(tmp_path / "out").num_rows == 4_000


def test_a_worker_that_dies_is_replaced(cluster, aligner, shards, tmp_path, monkeypatch):
    killed = tmp_path / "killed"

    class Dies(distributed.MapColumn):
        """Ends its process in the middle of the run, once."""

        def __call__(self, table):
            if table["text"][0].as_py() > "text 2" and not killed.exists():
                killed.touch()
                os._exit(1)
            return super().__call__(table)

    monkeypatch.setattr(distributed, "MapColumn", Dies)
    rows = distributed.transform(shards, QueryAdapter.of(aligner), tmp_path / "moved", "v", 2, 256)
    assert rows == 3000 and killed.exists()
    complete(tmp_path / "moved", aligner)


def test_a_fit_on_shards_is_the_fit_on_the_array(cluster, aligner, shards):
    whole, sharded = MiniVec2VecAligner(8), MiniVec2VecAligner(8)
    np.save(shards.parent / "b-1.npy", B[:1000])
    np.save(shards.parent / "b-2.npy", B[1000:])
    expected = whole.align(A, B, seed=3, max_rows=700)
    rows = distributed.Shards(shards / "*.parquet")
    found = sharded.align(rows, distributed.Shards(shards.parent / "b-*.npy"), seed=3, max_rows=700)
    assert found["data"] == expected["data"]
    for one, other in zip(sharded.weights, whole.weights, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)
    np.testing.assert_array_equal(rows[[0, 499, 500, 501, 2999]], A[[0, 499, 500, 501, 2999]])
    np.testing.assert_array_equal(rows[::700], A[::700])
    with pytest.raises(ValueError, match="XA must have 6 dimensions a row; got 8"):
        MiniVec2VecAligner(6).align(rows, B)


def test_held_out_pairs_in_shards(cluster, aligner, shards):
    noisy = B + np.random.default_rng(0).normal(scale=0.2, size=B.shape).astype(np.float32)
    np.save(shards.parent / "b-1.npy", noisy[:1000])
    np.save(shards.parent / "b-2.npy", noisy[1000:])
    pairs = distributed.Shards(shards / "*.parquet"), distributed.Shards(shards.parent / "b-*.npy")
    expected = evaluate_alignment(aligner, A, noisy)
    adapter = QueryAdapter.of(aligner)
    found = distributed.evaluate(adapter, *pairs, sample=5000)
    assert 0.05 < found["top1_accuracy"] < 0.95  # it could be wrong
    for name, value in found.items():
        assert value == pytest.approx(expected[name], rel=2e-3), name
    some = distributed.evaluate(adapter, *pairs, sample=500)
    assert some["mean_rank"] == pytest.approx(expected["mean_rank"], rel=0.3) and some != found
    with pytest.raises(ValueError, match="widths"):
        distributed.evaluate(adapter, *pairs[::-1])


def test_shards_that_are_no_embeddings(cluster, tmp_path):
    with pytest.raises(FileNotFoundError, match="no shards"):
        distributed.Shards(tmp_path / "*.npy")
    np.save(tmp_path / "1.npy", A)
    np.save(tmp_path / "2.npy", A[:, :4])
    with pytest.raises(ValueError, match=r"several widths: \[4, 8\]"):
        distributed.Shards(tmp_path / "*.npy")
    np.save(tmp_path / "2.npy", A * np.nan)
    with pytest.raises(ValueError, match=r"2\.npy: NaN or infinity in rows 0, 1"):
        distributed.Shards(tmp_path / "*.npy")


@pytest.mark.parametrize("preset", ["auto", "paper"])
@pytest.mark.filterwarnings("ignore::minivec.AlignmentWarning")
def test_a_fit_by_tasks_is_the_fit_here(cluster, preset):
    sample = load_sample()
    A, B = sample.source[:1500, :96], sample.target[:1500, :96]
    small = {"approx_runs": 3, "approx_clusters": 12, "refine1_iterations": 12, "seed": 5, "preset": preset}
    if preset == "paper":
        small |= {"refine1_neighbors": 10, "refine2_clusters": 20}
    here, there = (MiniVec2VecAligner(96).align(A, B, engine=engine, **small) for engine in ("local", "ray"))
    for name in ("initial_W", "refine1_W", "final_W"):
        np.testing.assert_allclose(there[name], here[name], atol=1e-4)
    assert there["confidence"] == pytest.approx(here["confidence"], abs=1e-3)
    told = [[(step["stage"], step["step"]) for step in history["steps"]] for history in (here, there)]
    assert told[0] == told[1] and there["seconds"].keys() == here["seconds"].keys()


def test_a_callback_stops_a_fit_by_tasks(cluster):
    seen = []
    A, B = supervised.spaces(16, 16, rows=300)

    def stop(step):
        seen.append(step)
        return len(seen) == 2

    with pytest.warns(AlignmentWarning):
        history = MiniVec2VecAligner(16).align(A, B, engine="ray", approx_runs=4, callbacks=[stop])
    assert history["stopped"] and [step["stage"] for step in history["steps"][:2]] == ["anchors"] * 2
    assert "anchors" not in [step["stage"] for step in history["steps"][2:]]
    np.testing.assert_allclose(history["final_W"] @ history["final_W"].T, np.eye(16), atol=1e-5)


def test_what_a_task_refuses_is_the_error(cluster):
    def task(record, value):
        raise ValueError(f"no {value}")

    with pytest.raises(ValueError, match="^no 3$"):
        list(distributed.TaskRecord().each(task, [3]))


def test_the_page(cluster, aligner, tmp_path, monkeypatch):
    """The Python of docs/scaling.md."""
    monkeypatch.chdir(tmp_path)
    for folder, rows in (("corpus", A), ("old", A), ("new", B)):
        (tmp_path / folder).mkdir()
        pq.write_table(pa.table({"vector": list(rows)}), tmp_path / folder / "part-0.parquet")
    (tmp_path / "held-out").mkdir()
    np.save("held-out/old-0.npy", A)
    np.save("held-out/new-0.npy", B)
    aligner.export("bridge.safetensors")
    page = (Path(__file__).parents[2] / "docs" / "scaling.md").read_text()
    code = re.findall(r"^```python\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    code = "\n".join(code).replace('"corpus"', repr(str(tmp_path / "corpus")))  # Ray's workers are in another folder
    names = {"aligner": aligner}
    exec(compile(code, "scaling.md", "exec"), names)
    assert names["moved"].schema().names == ["vector"]
    found = np.stack(names["moved"].to_pandas()["vector"])
    np.testing.assert_allclose(found, names["adapter"](A), atol=1e-6)


def test_a_task_whose_worker_dies_is_done_again(cluster, tmp_path):
    killed = tmp_path / "killed"

    def task(record, value):
        if not killed.exists():
            killed.touch()
            os._exit(1)
        return 2 * value

    assert list(distributed.TaskRecord().each(task, [1, 2])) == [2, 4] and killed.exists()
