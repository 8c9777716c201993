"""The NumPy map: the same vectors as the Keras model's, without loading Keras."""

import os
import pickle
import subprocess
import sys

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from minivec import MiniVec2VecAligner, NotAlignedError
from minivec.runtime import QueryAdapter
from supervised import install, spaces


@pytest.fixture(params=[(16, 16), (16, 24), (24, 16)])
def fitted(request, monkeypatch):
    install(monkeypatch)
    A, B = spaces(*request.param)
    aligner = MiniVec2VecAligner(request.param[0])
    aligner.align(2 * A + 0.1, 3 * B)
    return aligner, 2 * A + 0.1


def test_it_maps_as_the_model_does(fitted, tmp_path):
    aligner, A = fitted
    QueryAdapter.of(aligner).save(tmp_path / "bridge.safetensors")
    adapter = QueryAdapter.load(tmp_path / "bridge.safetensors")
    assert adapter.shape == aligner.W.shape and adapter.history == aligner.history
    expected = np.asarray(aligner(A))
    np.testing.assert_allclose(adapter(A), expected, atol=1e-6)
    np.testing.assert_allclose(adapter(A[7]), expected[7], atol=1e-6)
    assert adapter(A[7].tolist()).dtype == np.float32
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(QueryAdapter.of(aligner)))(A), adapter(A))


def test_without_keras(fitted, tmp_path):
    aligner, A = fitted
    QueryAdapter.of(aligner).save(tmp_path / "bridge.safetensors")
    np.save(tmp_path / "query.npy", A[0])
    code = """
import sys
import numpy as np
from minivec.runtime import QueryAdapter
print(np.linalg.norm(QueryAdapter.load("bridge.safetensors")(np.load("query.npy"))))
assert not {"keras", "jax", "torch", "scipy", "faiss"} & set(sys.modules)
"""
    out = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True, capture_output=True, text=True).stdout
    assert float(out) == pytest.approx(1, abs=1e-5)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")
def test_a_fork_of_a_process_that_used_the_model_maps_with_the_map(tmp_path):
    """Where JAX has run, the Keras model would hang in the fork; JAX warns of it."""
    code = """
import os, warnings
import numpy as np
from minivec import MiniVec2VecAligner
warnings.simplefilter("ignore")
A = np.random.default_rng(0).standard_normal((60, 8)).astype(np.float32)
model = MiniVec2VecAligner.from_pairs(A, A[:, ::-1])
expected, bridge = model(A), model.map
child = os.fork()
if not child:
    os._exit(0 if np.allclose(bridge(A), expected, atol=1e-5) else 1)
assert os.waitpid(child, 0)[1] == 0
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=300)


def test_bad_input(fitted, tmp_path):
    adapter = QueryAdapter.of(fitted[0])
    with pytest.raises(ValueError, match=r"got shape \(3,\)"):
        adapter(np.zeros(3))
    with pytest.raises(NotAlignedError):
        QueryAdapter.of(MiniVec2VecAligner(4))
    path = tmp_path / "bridge.safetensors"
    with pytest.raises(FileNotFoundError, match="no such file"):
        QueryAdapter.load(path)
    adapter.save(path)
    whole = path.read_bytes()
    tensors = load_file(path)
    for damage, message in (
        (lambda: path.write_bytes(whole[:-5]), "not a map"),
        (lambda: path.write_bytes(b"no"), "not a map"),
        (lambda: save_file({"W": tensors["W"]}, path), "no tensor 'expected_cosine'"),
        (lambda: save_file({**tensors, "W": tensors["W"][:-1]}, path), "do not fit together"),
        (lambda: save_file({**tensors, "W": tensors["W"] * np.nan}, path), "NaN or infinity"),
    ):
        damage()
        with pytest.raises(ValueError, match=message):
            QueryAdapter.load(path)
