"""The choice of a Keras backend, and files that travel between backends, each in a process of its own."""

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import keras
import numpy as np
import pytest

import minivec
import supervised
from minivec import backend
from minivec.datasets import load_sample

KERAS_DEFAULT = {
    "floatx": "float32",
    "epsilon": 1e-07,
    "backend": "tensorflow",
    "image_data_format": "channels_last",
}


@pytest.fixture
def choose(monkeypatch, tmp_path):
    """The backend that is named for Keras, None where it is left alone."""

    def choose(installed, config=None, environment=None):
        monkeypatch.delitem(sys.modules, "keras", raising=False)
        monkeypatch.setattr("importlib.util.find_spec", lambda name: name in installed or None)
        monkeypatch.setenv("KERAS_HOME", str(tmp_path))
        monkeypatch.delenv("KERAS_BACKEND", raising=False)
        if environment is not None:
            monkeypatch.setenv("KERAS_BACKEND", environment)
        if config is not None:
            (tmp_path / "keras.json").write_text(config)
        minivec._choose_backend()
        return os.environ.get("KERAS_BACKEND")

    return choose


@pytest.mark.parametrize(
    ("installed", "named"),
    [
        (["tensorflow", "torch", "jax"], "jax"),
        (["tensorflow", "torch"], "torch"),
        (["tensorflow"], "tensorflow"),
        ([], None),
    ],
)
def test_an_installed_backend_is_named(choose, installed, named):
    assert choose(installed) == named


def test_the_environment_wins(choose):
    assert choose(["jax"], json.dumps({"backend": "jax"}), environment="torch") == "torch"


def test_an_empty_environment_variable_is_no_choice_as_for_keras(choose):
    assert choose(["jax"], environment="") == "jax"


def test_a_config_that_names_an_installed_backend_wins(choose):
    assert choose(["jax", "torch"], json.dumps({"backend": "torch"})) is None


@pytest.mark.parametrize("config", [json.dumps(KERAS_DEFAULT), json.dumps({"floatx": "float32"}), "{", "[]"])
def test_a_config_that_names_no_installed_backend_is_no_choice(choose, config):
    assert choose(["jax", "torch"], config) == "jax"


def test_keras_is_left_alone_once_it_is_imported(monkeypatch):
    monkeypatch.delenv("KERAS_BACKEND", raising=False)
    minivec._choose_backend()
    assert "KERAS_BACKEND" not in os.environ


@pytest.mark.parametrize("module", ["backend", "weights", "aligner"])
def test_a_module_that_imports_keras_may_come_first(tmp_path, module):
    code = f"import minivec.{module}, keras; print(keras.saving.get_registered_object('minivec>MiniVec2VecAligner'))"
    assert run(code, tmp_path, backend=keras.backend.backend()) == "<class 'minivec.aligner.MiniVec2VecAligner'>"


def run(code, folder, backend=None):
    """Run ``code`` in a new process with ``folder`` as the working directory and Keras's home."""
    environment = {name: value for name, value in os.environ.items() if name != "KERAS_BACKEND"}
    paths = os.pathsep.join([str(Path(__file__).parent), *sys.path])
    environment |= {"KERAS_HOME": str(folder), "PYTHONPATH": paths}
    if backend:
        environment["KERAS_BACKEND"] = backend
    result = subprocess.run([sys.executable, "-c", code], cwd=folder, env=environment, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    return result.stdout.strip()


@pytest.fixture
def saved(tmp_path, monkeypatch):
    """An aligned model, saved in ``tmp_path`` with rows of A and what they map to."""
    supervised.install(monkeypatch)
    A, B = supervised.spaces(16, 24)
    model = minivec.MiniVec2VecAligner(16)
    model.align(A, B)
    model.save(tmp_path / "aligner.keras")
    np.save(tmp_path / "A.npy", A)
    np.save(tmp_path / "B.npy", B)
    np.save(tmp_path / "mapped.npy", keras.ops.convert_to_numpy(model(A)))
    return model


def test_torch_loads_what_this_backend_saved_and_the_other_way_round(saved, tmp_path):
    """Keras alone imports the class's module up to 3.8; later it trusts no package but its own, ever."""
    code = """
import keras
try:
    keras.models.load_model("aligner.keras")
except TypeError as error:
    assert "'minivec.aligner'" in str(error), error

import minivec, numpy as np, supervised, torch
assert keras.backend.backend() == "torch"
A, B = np.load("A.npy"), np.load("B.npy")
model = keras.models.load_model("aligner.keras")
out = model(torch.tensor(A))
assert isinstance(out, torch.Tensor) and not out.requires_grad
assert np.sum(model(A) * np.load("B.npy"), axis=1).shape == (len(A),)
np.testing.assert_allclose(out, np.load("mapped.npy"), atol=1e-5)
np.testing.assert_allclose(model.predict(A, verbose=0), np.load("mapped.npy"), atol=1e-5)

supervised.install()
again = minivec.MiniVec2VecAligner(16)
try:
    again(A)
    raise SystemExit("mapped without a map")
except minivec.NotAlignedError:
    pass
again.align(torch.tensor(A), torch.tensor(B, dtype=torch.float64))
again.inverse().save("inverse.keras")
np.save("back.npy", again.inverse()(B))
"""
    run(code, tmp_path, backend="torch")
    back = keras.models.load_model(tmp_path / "inverse.keras")
    B = np.load(tmp_path / "B.npy")
    np.testing.assert_allclose(back(B), np.load(tmp_path / "back.npy"), atol=1e-5)
    np.testing.assert_allclose(back(B), saved.inverse()(B), atol=1e-5)


EXPORTED = """
from pathlib import Path
import minivec
model = minivec.load("aligner.keras")
model.export("exported")  # not called before
assert list(Path("exported").iterdir())
"""
PROMISES = """
import keras, minivec, numpy as np
A, B = np.load("A.npy"), np.load("B.npy")
model = minivec.load("aligner.keras")
expected = np.load("mapped.npy")
assert np.sum(model(A) * B, axis=1).shape == (len(A),)
copy = keras.models.clone_model(model)
copy.set_weights(model.get_weights())
blank = minivec.MiniVec2VecAligner(16)
blank.set_weights(model.get_weights())
model.save_weights("map.weights.h5")
loaded = minivec.MiniVec2VecAligner(16)  # no target_dim
loaded.load_weights("map.weights.h5")
for again in (copy, blank, loaded):
    np.testing.assert_allclose(again.predict(A, verbose=0), expected, atol=1e-5)
    np.testing.assert_allclose(again(A), expected, atol=1e-5)
"""
BACKENDS = [
    pytest.param("jax", marks=pytest.mark.skipif(not find_spec("jax"), reason="needs jax")),
    pytest.param("torch", marks=pytest.mark.skipif(not find_spec("torch"), reason="needs torch")),
    pytest.param("tensorflow", marks=pytest.mark.tensorflow),
]


@pytest.mark.parametrize("backend", BACKENDS)
def test_what_keras_users_do_works_on_every_backend(saved, tmp_path, backend):
    run(PROMISES, tmp_path, backend=backend)


@pytest.mark.tensorflow
def test_a_loaded_model_can_be_exported_without_a_call(saved, tmp_path):
    """Keras writes its own format through TensorFlow only."""
    pytest.importorskip("tensorflow")
    run(EXPORTED, tmp_path, backend="tensorflow")


def test_no_backend_takes_part_in_a_fit(tmp_path):
    """So that the map is the same on each: not even Keras is imported by what fits."""
    code = "import minivec.algorithm.solver, sys; print([m for m in ('keras', 'jax', 'torch') if m in sys.modules])"
    assert run(code, tmp_path) == "[]"


def test_a_new_process_without_any_choice_loads_it(saved, tmp_path):
    (tmp_path / "keras.json").write_text(json.dumps(KERAS_DEFAULT))
    code = """
import minivec, keras, numpy as np
model = keras.models.load_model("aligner.keras")
np.testing.assert_allclose(model(np.load("A.npy")), np.load("mapped.npy"), atol=1e-5)
print(keras.backend.backend())
"""
    assert run(code, tmp_path) in ("jax", "torch", "tensorflow")


@pytest.mark.tensorflow
def test_a_fit_on_tensorflow(tmp_path):
    """A whole fit of part of the sample finds held-out partners, and its file maps alike on this backend."""
    pytest.importorskip("tensorflow")
    code = """
import keras, minivec, numpy as np
from minivec.datasets import load_sample
assert keras.backend.backend() == "tensorflow"
source, target, test_A, test_B, _ = load_sample()
aligner = minivec.MiniVec2VecAligner(384)
history = aligner.align(source[:4000], target[:4000], approx_runs=2, refine1_sample_size=1200, refine1_iterations=30)
aligner.save("aligner.keras")
np.save("mapped.npy", aligner(test_A))
print(minivec.evaluate_alignment(aligner, test_A, test_B)["top1_accuracy"])
"""
    assert float(run(code, tmp_path, backend="tensorflow")) > 0.5
    test_A = load_sample().test_source
    np.testing.assert_allclose(
        minivec.load(tmp_path / "aligner.keras")(test_A), np.load(tmp_path / "mapped.npy"), atol=1e-5
    )


@pytest.mark.skipif(keras.backend.backend() != "jax", reason="compiles nothing")
def test_compiled_functions_are_kept_for_the_shapes_that_were_used_last():
    traced = []

    @backend.compiled
    def double(x):
        traced.append(x.shape)
        return 2 * x

    def call(n):
        np.testing.assert_array_equal(double(np.ones(n, np.float32)), np.full(n, 2, np.float32))

    for n in (*range(1, backend.SHAPES + 1), 1, 2):
        call(n)
    assert len(traced) == backend.SHAPES
    call(backend.SHAPES + 1)  # the third was not used for longest, and is forgotten
    call(1)
    assert len(traced) == backend.SHAPES + 1
    call(3)
    assert len(traced) == backend.SHAPES + 2


GROWTH = """
import gc
import numpy as np
from minivec import backend

def memory():
    gc.collect()
    status = open("/proc/self/status").read()
    return int(status.split("VmRSS:")[1].split()[0]) / 1024, sum(1 for _ in open("/proc/self/maps"))

def map_of(n):
    weights = (np.zeros(8), np.eye(8), np.zeros(8), 1.0, 1.0, 0.0)
    backend.map_rows(np.ones((n, 8), np.float32), tuple(np.asarray(w, np.float32) for w in weights))

for n in range(20, 20 + backend.SHAPES + 3):
    map_of(n)
before, maps = memory()
for n in range(100, 112):
    map_of(n)
after, more = memory()
print((after - before) / 12, more - maps)
"""


@pytest.mark.skipif(keras.backend.backend() != "jax", reason="compiles nothing")
@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="reads what Linux says of the process")
def test_memory_does_not_grow_with_every_new_shape(tmp_path):
    """Compiled code of a shape is some 2.5 MB, in 55 areas of memory: it must go when the shape is forgotten."""
    megabytes, areas = map(float, run(GROWTH, tmp_path, backend="jax").split())
    assert megabytes < 1.8 and areas < 55
