"""Commands refuse vectors of another space than the map leads from, and --any-vectors goes on with them."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from minivec import MiniVec2VecAligner
from minivec.datasets import load_sample


@pytest.fixture(scope="module")
def spaces(tmp_path_factory):
    """Rows of E5 and of USE in 384 dimensions, and the file of a map between them."""
    sample = load_sample()
    cut = np.linalg.qr(np.random.default_rng(0).standard_normal((512, 384)))[0].astype(np.float32)
    file = tmp_path_factory.mktemp("map") / "bridge.keras"
    MiniVec2VecAligner.from_pairs(sample.test_source, sample.test_target @ cut).save(file)
    return {"old": sample.source[:3_000], "new": sample.target[:3_000] @ cut, "bridge": file}


def save(path, X):
    if path.suffix == ".npy":
        np.save(path, X)
    else:
        vectors = pa.FixedSizeListArray.from_arrays(pa.array(X.ravel()), X.shape[1])
        pq.write_table(pa.table({"id": range(len(X)), "vector": vectors}), path)
    return path


@pytest.mark.parametrize("suffix", [".npy", ".parquet"])
def test_transform_refuses_the_target_spaces_vectors(spaces, tmp_path, run, suffix):
    source, output = save(tmp_path / f"in{suffix}", spaces["new"]), tmp_path / f"out{suffix}"
    code, _, err = run("transform", source, "-a", spaces["bridge"], "-o", output)
    assert code == 2
    assert f"{source}" in err
    assert "target space" in err and "--inverse" in err and "--any-vectors" in err
    assert len(err.splitlines()) == 1
    assert not output.exists()
    assert run("transform", source, "-a", spaces["bridge"], "-o", output, "--any-vectors")[0] == 0
    assert output.exists()
    assert run("transform", source, "-a", spaces["bridge"], "-o", output, "--inverse")[0] == 0


def test_transform_passes_the_right_vectors_and_what_it_mapped_is_refused(spaces, tmp_path, run):
    source, output = save(tmp_path / "in.npy", spaces["old"]), tmp_path / "out.npy"
    assert run("transform", source, "-a", spaces["bridge"], "-o", output)[0] == 0
    code, _, err = run("transform", output, "-a", spaces["bridge"], "-o", tmp_path / "again.npy")
    assert code == 2
    assert "mapped already" in err


def test_transform_refuses_wrong_vectors_behind_right_ones(spaces, tmp_path, run):
    source, output = save(tmp_path / "in.npy", np.concatenate([spaces["old"], spaces["new"]])), tmp_path / "out.npy"
    code, _, err = run("transform", source, "-a", spaces["bridge"], "-o", output, "--block-size", 1_000)
    assert code == 2
    assert "target space" in err
    assert list(tmp_path.iterdir()) == [source]


def test_adapt_refuses_queries_of_the_wrong_model(spaces, tmp_path, run):
    queries = save(tmp_path / "queries.npy", spaces["old"][:20])
    code, out, err = run("adapt", queries, "-a", spaces["bridge"], "--inverse")
    assert (code, out) == (2, "")
    assert "target space" in err
    code, out, _ = run("adapt", queries, "-a", spaces["bridge"], "--inverse", "--any-vectors")
    assert code == 0
    assert len(out.splitlines()) == 20
    good = save(tmp_path / "good.npy", spaces["new"][:20])
    assert run("adapt", good, "-a", spaces["bridge"], "--inverse")[0] == 0


@pytest.mark.parametrize("dry", [(), ("--dry-run",)])
def test_migrate_refuses_before_anything_is_written(spaces, tmp_path, run, dry):
    source, output = save(tmp_path / "in.parquet", spaces["new"]), tmp_path / "out"
    code, _, err = run("migrate", source, output, "-a", spaces["bridge"], *dry)
    assert code == 2
    assert "rows 0 to 999" in err and "target space" in err
    assert list(tmp_path.iterdir()) == [source]
    assert run("migrate", source, output, "-a", spaces["bridge"], "--any-vectors", "--verify", *dry)[0] == 0


def test_migrate_stops_at_wrong_vectors_behind_right_ones(spaces, tmp_path, run):
    """A dry run names them too; with --any-vectors the same command goes on."""
    source = save(tmp_path / "in.parquet", np.concatenate([spaces["old"], spaces["new"]]))
    output = tmp_path / "out"
    command = "migrate", source, output, "-a", spaces["bridge"], "--batch", 500
    for dry in (("--dry-run",), ()):
        code, _, err = run(*command, *dry)
        assert code == 2
        assert "rows 3000 to 3499" in err
    assert run(*command, "--any-vectors", "--verify-all")[0] == 0
    assert pq.read_table(output).num_rows == 6_000


def test_doctor_tells_what_a_file_holds(spaces, tmp_path, run):
    code, out, _ = run("doctor", save(tmp_path / "in.npy", spaces["new"]), "-a", spaces["bridge"], "--json")
    assert code == 3
    assert json.loads(out)["space"] == "other"
    assert run("doctor", tmp_path / "in.npy", "-a", spaces["bridge"], "--inverse")[0] == 0
