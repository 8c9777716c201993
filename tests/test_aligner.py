import pickle
import subprocess
import sys
import tracemalloc
from dataclasses import replace

import keras
import numpy as np
import pytest

import supervised
from minivec import AlignmentWarning, MiniVec2VecAligner, NotAlignedError
from minivec.algorithm.confidence import Verdict
from minivec.frame import Frame, unit
from minivec.record import Step
from supervised import spaces


@pytest.fixture(autouse=True)
def solver(monkeypatch):
    """What ``align`` calls; a test may give it another ``solve``."""
    return supervised.install(monkeypatch)


def aligned(dA=16, dB=16, **settings):
    A, B = spaces(dA, dB)
    model = MiniVec2VecAligner(dA)
    return model, A, B, model.align(A, B, **settings)


def mapped(model, rows):
    return np.asarray(keras.ops.convert_to_numpy(model(rows)))


def state(model):
    return [np.array(weight) for weight in model.get_weights()]


@pytest.mark.parametrize(("dA", "dB"), [(16, 16), (16, 24), (24, 16)])
def test_raw_rows_of_a_become_unit_rows_in_the_raw_space_of_b(dA, dB):
    model, A, B, history = aligned(dA, dB)
    out = mapped(model, A)
    assert out.shape == (len(A), dB) and out.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(out, axis=1), 1, atol=1e-6)
    frame = Frame.of(B)
    v = unit(Frame.of(A).apply(A) @ history["final_W"])
    along = v @ frame.mean  # from the mean in direction v to the sphere that B lies on
    reach = np.sqrt(along**2 + 1 - frame.mean @ frame.mean) - along
    expected = unit(frame.mean + reach[:, None] * v)
    np.testing.assert_allclose(out, expected, atol=1e-6)
    assert (out * unit(B)).sum(1).mean() > 0.99  # compared by cosine with raw rows: no frame needed
    assert (unit(A @ history["final_W"]) * unit(B)).sum(1).mean() < 0.8  # as it would be with the means forgotten


def test_rows_on_a_sphere_come_back_exactly():
    A, B = spaces()
    B = unit(B).astype(np.float32)
    U = Frame.of(B).apply(B)
    model = MiniVec2VecAligner(16)
    model.align(3 * U, B)  # A is B's frame, scaled
    np.testing.assert_allclose(mapped(model, 3 * U), B, atol=2e-2)


@pytest.mark.parametrize("spread", [0.5, 2.0])
def test_the_lengths_of_rows_change_neither_the_fit_nor_its_results(spread):
    A, B = spaces(16, 24)
    rng = np.random.default_rng(0)
    lengths = [np.exp(rng.normal(size=(len(rows), 1)) * spread).astype(np.float32) for rows in (A, B)]
    lengths[0][::100] *= 100
    plain, long = MiniVec2VecAligner(16), MiniVec2VecAligner(16)
    history = plain.align(A, B)
    np.testing.assert_allclose(long.align(A * lengths[0], B * lengths[1])["final_W"], history["final_W"], atol=1e-5)
    np.testing.assert_allclose(mapped(long, A), mapped(plain, A), atol=1e-5)


@pytest.mark.parametrize(("dA", "dB"), [(16, 16), (16, 24), (24, 16)])
def test_inverse_maps_b_to_a(dA, dB):
    model, A, B, _ = aligned(dA, dB)
    back = model.inverse()
    assert (back.embedding_dim, back.target_dim) == (dB, dA)
    assert (mapped(back, B) * unit(A)).sum(1).mean() > 0.99
    assert back.confidence == model.confidence == 0.75
    np.testing.assert_array_equal(mapped(back.inverse(), A), mapped(model, A))


def test_inverse_of_a_map_that_is_not_orthogonal_is_its_own_fit():
    model, A, B, history = aligned(mapping="whitened")
    back = model.inverse()
    np.testing.assert_allclose(back.W @ model.W, np.eye(16), atol=1e-5)  # the stand-in's inverse_W: not W.T
    assert (mapped(back, B) * unit(A)).sum(1).mean() > 0.99


def test_history():
    model, A, B, history = aligned(seed=3, approx_runs=2)
    for name in ("initial_W", "refine1_W", "final_W"):
        assert history[name].shape == (16, 16)
    np.testing.assert_array_equal(history["final_W"], np.asarray(model.W))
    assert history["confidence"] == 0.75 and history["verdict"] == "reliable" and history["causes"] == []
    assert history["stopped"] is False and set(history["seconds"]) == {"frame", "directions", "map"}
    assert [step["objective"] for step in history["steps"]] == [0.0, 1.0, 2.0]
    assert history["settings"]["seed"] == 3 and history["settings"]["approx_runs"] == 2
    assert history["settings"]["preset"] == "auto"
    for one in (history, model.history):  # plain, whatever Keras makes of attributes
        assert type(one["steps"]) is list and type(one["settings"]) is dict
        assert pickle.loads(pickle.dumps(one))["steps"] == history["steps"]


@pytest.mark.parametrize("build", [lambda m: None, lambda m: m.build(), lambda m: m.build(input_shape=(None, 16))])
def test_a_model_that_is_not_aligned_refuses_to_map(build):
    model = MiniVec2VecAligner(16)
    build(model)
    rows = np.ones((2, 16), np.float32)
    for call in (model, model.predict, lambda rows: model.inverse()):
        with pytest.raises(NotAlignedError, match="is not aligned: call align"):
            call(rows)
    assert not model.aligned


def test_a_functional_model_around_it_refuses_too_until_it_is_aligned():
    A, B = spaces()
    model = MiniVec2VecAligner(16)
    inputs = keras.Input((16,))
    outer = keras.Model(inputs, model(inputs))
    for call in (outer, outer.predict):
        with pytest.raises(NotAlignedError, match="is not aligned"):
            call(A)
    model.align(A, B)
    np.testing.assert_allclose(outer.predict(A, verbose=0), mapped(model, A), atol=1e-6)


def test_the_width_of_b_is_read_from_xb_each_time():
    model = MiniVec2VecAligner(16)
    model.build((None, 16))
    for dB in (24, 24, 16):
        A, B = spaces(16, dB)
        model.align(A, B)
        assert len(model.weights) == 9 and model.W.shape == (16, dB)
        assert mapped(model, A).shape == (400, dB)
        fresh = MiniVec2VecAligner(16)
        fresh.align(A, B)
        np.testing.assert_array_equal(mapped(model, A), mapped(fresh, A))  # nothing is left of the last run
    assert model.predict(A, verbose=0).shape == (400, 16)


def test_a_target_dim_that_was_given_is_held_to():
    A, B = spaces(16, 24)
    with pytest.raises(ValueError, match="XB must have 20 dimensions a row; got 24"):
        MiniVec2VecAligner(16, target_dim=20).align(A, B)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"embedding_dim": 1}, ValueError, "embedding_dim .* 1"),
        ({"embedding_dim": 16.0}, TypeError, "embedding_dim .* 16.0"),
        ({"embedding_dim": 16, "target_dim": 0}, ValueError, "target_dim .* 0"),
    ],
)
def test_bad_widths_are_refused(arguments, error, message):
    with pytest.raises(error, match=message):
        MiniVec2VecAligner(**arguments)


def test_build_refuses_another_width():
    with pytest.raises(ValueError, match=r"embedding_dim=16; got \(None, 12\)"):
        MiniVec2VecAligner(16).build((None, 12))


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"XA": np.ones((400, 12), np.float32)}, ValueError, "XA must have 16 dimensions a row; got 12"),
        ({"XB": np.full((400, 16), np.nan)}, ValueError, "XB has NaN"),
        ({"XB": np.tile(np.arange(16.0), (400, 1))}, ValueError, "XB has 400 rows that all point in one"),
        ({"XA": spaces(rows=16)[0]}, ValueError, "XA has 16 rows to fit; .* at least 17"),
        ({"approx_runs": 0}, ValueError, "approx_runs must be at least 1; got 0"),
        ({"callbacks": [1]}, TypeError, "callbacks .* got .1."),
        ({"pairs": [[0, 400]]}, ValueError, "row 400 of XB"),
        ({"verbose": "loud"}, ValueError, "verbose .* 'loud'"),
    ],
)
def test_bad_input_to_align_is_refused_before_any_work(change, error, message, solver):
    model, A, B, _ = aligned()
    before = state(model)
    solver.solve = None
    with pytest.raises(error, match=message):
        model.align(**{"XA": A, "XB": B, **change})
    for old, new in zip(before, state(model), strict=True):
        np.testing.assert_array_equal(old, new)


@pytest.mark.parametrize(
    ("rows", "error", "message"),
    [
        (np.ones(16, np.float32), ValueError, "ndim=2, found ndim=1"),
        (np.ones((3, 12), np.float32), ValueError, "have value 16, but received input with shape"),
        (np.ones((3, 16), int), TypeError, "inputs must hold floating-point embeddings; got dtype int"),
        ([[1.0], [1.0, 2.0]], ValueError, "inputs must be a 2-D array"),
    ],
)
def test_bad_rows_to_map_are_refused(rows, error, message):
    model, *_ = aligned()
    with pytest.raises(error, match=message):
        model(rows)


def test_any_array_type_maps_alike():
    import jax.numpy as jnp
    import torch

    model, A, *_ = aligned()
    expected = mapped(model, A)
    same = [
        A.astype(np.float64),
        A.tolist(),
        jnp.asarray(A),
        torch.tensor(A, requires_grad=True),
        A.astype(">f4"),
    ]
    for rows in same:
        np.testing.assert_allclose(mapped(model, rows), expected, atol=1e-6)
    for rows in (A.astype(np.float16), jnp.asarray(A, jnp.bfloat16), torch.tensor(A, dtype=torch.bfloat16)):
        out = mapped(model, rows)
        assert out.dtype == np.float32
        np.testing.assert_allclose(out, expected, atol=1e-2)


def test_half_precision_as_keras_default_does_not_reach_the_map():
    keras.config.set_dtype_policy("mixed_float16")
    try:
        model, A, *_ = aligned()
        half = mapped(model, A)
    finally:
        keras.config.set_dtype_policy("float32")
    model, A, *_ = aligned()
    np.testing.assert_array_equal(half, mapped(model, A))


def test_a_saved_model_loads_with_identical_outputs(tmp_path):
    model, A, *_ = aligned(16, 24)
    model.save(tmp_path / "aligner.keras")
    loaded = keras.models.load_model(tmp_path / "aligner.keras")
    assert isinstance(loaded, MiniVec2VecAligner)
    assert (loaded.embedding_dim, loaded.target_dim, loaded.confidence) == (16, 24, 0.75)
    assert loaded.history == model.history and loaded.history["settings"]["seed"] == 0
    assert loaded.history["data"]["XB"]["shape"] == [400, 24]
    np.testing.assert_array_equal(loaded.predict(A, verbose=0), model.predict(A, verbose=0))  # compiled, at once
    np.testing.assert_array_equal(mapped(loaded, A), mapped(model, A))
    np.testing.assert_array_equal(mapped(loaded.inverse(), mapped(model, A)), mapped(model.inverse(), mapped(model, A)))


def test_keras_alone_says_shortly_that_it_does_not_know_the_class(tmp_path):
    model, *_ = aligned(16, 24)
    model.save(tmp_path / "aligner.keras")
    code = f"import keras; keras.models.load_model({str(tmp_path / 'aligner.keras')!r})"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    message = run.stderr[run.stderr.rindex("TypeError: ") :]
    assert "MiniVec2VecAligner" in message and len(message) < 1500


@pytest.mark.parametrize("built", [True, False])
@pytest.mark.filterwarnings("ignore:You are saving a model that has not yet been built")
def test_a_saved_model_that_is_not_aligned_still_refuses_and_can_be_aligned(tmp_path, built):
    model = MiniVec2VecAligner(16)
    if built:
        model.build()
    model.save(tmp_path / "aligner.keras")
    loaded = keras.models.load_model(tmp_path / "aligner.keras")
    A, B = spaces(16, 24)
    with pytest.raises(NotAlignedError):
        loaded(A)
    loaded.align(A, B)
    assert mapped(loaded, A).shape == (400, 24)


def test_a_functional_model_around_it_saves_and_loads(tmp_path):
    model, A, *_ = aligned(16, 24)
    inputs = keras.Input((16,))
    outer = keras.Model(inputs, keras.layers.Dense(3)(model(inputs)))
    outer.save(tmp_path / "outer.keras")
    loaded = keras.models.load_model(tmp_path / "outer.keras")
    assert outer.output_shape == (None, 3)
    np.testing.assert_allclose(loaded.predict(A, verbose=0), outer.predict(A, verbose=0), atol=1e-6)


def test_weights_alone_carry_the_map(tmp_path):
    model, A, *_ = aligned()
    model.save_weights(tmp_path / "aligner.weights.h5")
    loaded = MiniVec2VecAligner(16)
    loaded.build()
    loaded.load_weights(tmp_path / "aligner.weights.h5")
    given = MiniVec2VecAligner(16)
    given.build()
    given.set_weights(model.get_weights())
    for other in (loaded, given):
        assert other.aligned
        np.testing.assert_array_equal(mapped(other, A), mapped(model, A))
    blank = MiniVec2VecAligner(16)
    blank.build()
    blank.save_weights(tmp_path / "blank.weights.h5")
    loaded.load_weights(tmp_path / "blank.weights.h5")
    with pytest.raises(NotAlignedError):
        loaded(A)


def test_a_config_alone_carries_no_map():
    model, A, *_ = aligned(16, 24)
    copy = MiniVec2VecAligner.from_config(model.get_config())
    assert (copy.embedding_dim, copy.target_dim, copy.name) == (16, 24, model.name)
    copy.build()
    with pytest.raises(NotAlignedError):
        copy(A)


def test_callbacks_see_every_step_and_can_stop():
    seen = []
    model, *_, history = aligned(callbacks=[seen.append, lambda step: step.step == 2])
    assert seen == [Step("map", 1, 3, {"objective": 0.0}), Step("map", 2, 3, {"objective": 1.0})]
    assert history["stopped"] is True and model.aligned


def test_verbose_shows_the_stages(capsys):
    aligned(verbose=1)
    frame, few, directions, fitted = capsys.readouterr().out.splitlines()
    assert frame.startswith("frame ") and "rows a side" in few
    assert directions.startswith("directions ") and fitted.startswith("map ")


@pytest.mark.parametrize("error", [KeyboardInterrupt, MemoryError])
def test_an_interrupted_run_leaves_the_model_as_it_was(error):
    model, A, B, _ = aligned()
    before, wider = state(model), spaces(16, 24)[1]

    def interrupt(step):
        raise error

    with pytest.raises(error):
        model.align(2 * A, wider, callbacks=[interrupt])
    for old, new in zip(before, state(model), strict=True):
        np.testing.assert_array_equal(old, new)
    fresh = MiniVec2VecAligner(16)
    with pytest.raises(error):
        fresh.align(A, B, callbacks=[interrupt])
    assert not fresh.aligned and fresh.weights == []


def test_a_doubtful_result_warns_and_says_why(solver):
    verdict = Verdict(0.1, "failed", ["the starts disagree", "too few rows"])
    solver.solve = lambda *arguments: replace(supervised.solve(*arguments), verdict=verdict)
    with pytest.warns(AlignmentWarning, match="failed: the starts disagree; too few rows") as caught:
        *_, history = aligned()
    assert caught[0].filename == __file__
    assert (history["verdict"], history["confidence"]) == ("failed", 0.1)


def test_large_inputs_are_fitted_on_a_seeded_sample_in_the_frame_of_all_rows():
    model, A, B, history = aligned(seed=5, max_rows=100)
    assert history["settings"]["max_rows"] == 100 and history["data"]["XA"]["shape"] == [len(A), 16]
    X, Y = supervised.solve.seen.X, supervised.solve.seen.Y
    assert X.shape == Y.shape == (100, 16)
    np.testing.assert_allclose(model.source_mean, A.mean(0), atol=1e-5)
    framed = Frame.of(A).apply(A)
    rows = [int(np.flatnonzero((framed == x).all(1))[0]) for x in X]
    assert rows == sorted(set(rows)) and rows != list(range(100))
    aligned(seed=5, max_rows=100)
    np.testing.assert_array_equal(X, supervised.solve.seen.X)
    aligned(seed=6, max_rows=100)
    assert not np.array_equal(X, supervised.solve.seen.X)


@pytest.mark.parametrize("max_rows", [1000, 100])
def test_known_pairs_follow_their_rows_into_the_sample(max_rows):
    A, B = spaces()
    shuffled = np.random.default_rng(1).permutation(len(B))
    pairs = np.stack([shuffled, np.arange(len(B))], 1)[:60]  # row i of XB is row shuffled[i] of A
    model = MiniVec2VecAligner(16)
    model.align(A, B[shuffled], pairs=pairs, max_rows=max_rows)
    assert (mapped(model, A) * unit(B)).sum(1).mean() > 0.99


def test_more_pairs_than_rows_to_fit_are_sampled():
    aligned(pairs=np.stack([np.arange(400)] * 2, 1), max_rows=50)
    problem = supervised.solve.seen
    X, Y, pairs = problem.X, problem.Y, problem.pairs
    assert len(pairs) == 50 and max(len(X), len(Y)) <= 100


def test_a_memory_map_is_never_loaded_whole(tmp_path):
    A, B = spaces(rows=1000)
    np.save(tmp_path / "a.npy", np.tile(A, (400, 1)))
    XA = np.load(tmp_path / "a.npy", mmap_mode="r")
    model = MiniVec2VecAligner(16)
    tracemalloc.start()
    model.align(XA, B, max_rows=1000)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 0.8 * XA.nbytes


def test_fit_says_align():
    with pytest.raises(TypeError, match=r"call align\(XA, XB\)"):
        MiniVec2VecAligner(16).fit(*spaces())


def test_numpy_gives_numpy_and_a_tensor_a_tensor():
    model, A, B, _ = aligned()
    assert np.sum(model(A) * B, axis=1).shape == (400,)
    assert type(model(A)) is type(model(A.tolist())) is np.ndarray
    assert keras.ops.is_tensor(model(keras.ops.convert_to_tensor(A)))


@pytest.mark.parametrize("build", [False, True])
def test_weights_bring_the_width_and_the_map(build, tmp_path):
    model, A, *_ = aligned(16, 24)
    model.save_weights(tmp_path / "aligner.weights.h5")
    for take in (
        lambda m: m.set_weights(model.get_weights()),
        lambda m: m.load_weights(tmp_path / "aligner.weights.h5"),
    ):
        for other in (MiniVec2VecAligner(16), keras.models.clone_model(model)):
            if build:
                other.build()
            take(other)
            np.testing.assert_allclose(other.predict(A, verbose=0), mapped(model, A), atol=1e-6)
