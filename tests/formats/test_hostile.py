"""Files made to harm: refused with one clear line, in bounded time and memory, and without running anything."""

import io
import json
import os
import pickle
import resource
import subprocess
import sys
import time
import warnings
import zipfile
import zlib
from contextlib import nullcontext
from pathlib import Path

import faiss
import h5py
import keras
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.numpy import save_file

import supervised
from minivec import MiniVec2VecAligner, cli, load
from minivec.files import open_rows
from minivec.persistence import ASSETS, CONFIG, H5, METADATA
from minivec.runtime import QueryAdapter

A, B = supervised.spaces(8, 6)
QUICK = settings(max_examples=300, suppress_health_check=list(HealthCheck))
LONG = settings(max_examples=5_000, suppress_health_check=list(HealthCheck))


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    """A folder with an honest file of every kind."""
    folder = tmp_path_factory.mktemp("kept")
    with pytest.MonkeyPatch.context() as monkeypatch:
        supervised.install(monkeypatch)
        aligner = MiniVec2VecAligner(8)
        aligner.align(A, B)
    aligner.save(folder / "x.keras")
    aligner.export(folder / "x.safetensors")
    save_file({"vectors": A[:9]}, folder / "rows.safetensors")
    rows = [(f"w{i} ", row) for i, row in enumerate(A[:9])]
    (folder / "x.vec").write_text("9 8\n" + "".join(f"{word}{' '.join(map(str, row))}\n" for word, row in rows))
    (folder / "x.bin").write_bytes(b"9 8\n" + b"".join(word.encode() + row.tobytes() for word, row in rows))
    lines = [[f"w{i}", *map(str, row)] for i, row in enumerate(A[:9])]
    for name, separator in (("x.txt", " "), ("x.tsv", "\t")):
        (folder / name).write_text("".join(f"{separator.join(line)}\n" for line in lines))
    scaled = {"v": A[:9].astype("i1"), "v_scale": np.ones((9, 1), "f4")}
    np.savez(folder / "scaled.npz", **scaled)
    save_file(scaled, folder / "scaled.safetensors")
    np.save(folder / "x.npy", A[:9])
    index = faiss.IndexFlatL2(8)
    index.add(A[:9])
    faiss.write_index(index, str(folder / "x.faiss"))
    np.savez_compressed(folder / "x.npz", vectors=A[:9])
    pq.write_table(pa.table({"v": list(A[:9]), "text": list("abcdefghi")}), folder / "x.parquet")
    return folder


def read(path):
    """Whatever the library reads from a file of this suffix, to the end; rows of safetensors if so named."""
    if path.suffix == ".keras":
        return load(path)
    if path.name == "x.safetensors":
        return QueryAdapter.load(path)
    return list(open_rows(path).batches(4)), open_rows(path).array()


def refused(path, *words):
    """Reading ``path`` ends in a ValueError of one line with these words in a second of processor time and 64 MB."""
    before, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
    with pytest.raises(ValueError) as caught:
        read(path)
    assert time.process_time() - start < 1
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 64 * 1024  # kilobytes
    message = str(caught.value)
    assert "\n" not in message and str(path) in message and len(message) < 1000
    for word in words:
        assert word in message, message


def rezip(source, target, changes=(), compression=zipfile.ZIP_STORED):
    """The archive ``source`` with members replaced or added, or removed where the value is None."""
    with zipfile.ZipFile(source) as archive:
        members = {name: archive.read(name) for name in archive.namelist()} | dict(changes)
    with zipfile.ZipFile(target, "w", compression) as archive:
        for name, content in members.items():
            if content is not None:
                archive.writestr(name, content)
    return target


def member(path, name):
    with zipfile.ZipFile(path) as archive:
        return archive.read(name)


def hdf5(path, change):
    """The weights of the archive after ``change(file)``."""
    content = io.BytesIO(member(path, H5))
    with h5py.File(content, "r+") as file:
        change(file)
    return content.getvalue()


def config(path, **changes):
    """The config.json of the archive, with these entries of the model's own config changed."""
    outer = json.loads(member(path, CONFIG))
    outer["config"].update(changes)
    return json.dumps(outer)


def test_an_honest_file_loads_as_keras_loads_it(kept):
    ours, theirs = load(kept / "x.keras"), keras.models.load_model(kept / "x.keras")
    assert ours.get_config() == theirs.get_config() and ours.history == theirs.history
    for one, other in zip(ours.weights, theirs.weights, strict=True):
        np.testing.assert_array_equal(one, other)


def test_keras_archives_with_foreign_objects(kept, tmp_path, monkeypatch):
    honest, path = kept / "x.keras", tmp_path / "x.keras"
    forbidden = lambda *a, **k: pytest.fail("Keras's own loader was asked")  # noqa: E731
    monkeypatch.setattr(keras.models, "load_model", forbidden)
    monkeypatch.setattr(keras.saving, "deserialize_keras_object", forbidden)
    code = {"class_name": "__lambda__", "config": {"value": "4wEAAAA="}}
    lambda_layer = {"module": "keras.layers", "class_name": "Lambda", "config": {"function": code}}
    os_system = {"module": "os", "class_name": "function", "config": "system", "registered_name": "function"}
    for outer in (lambda_layer, os_system, [], 3, None, "MiniVec2VecAligner", {"registered_name": ["x"]}):
        refused(rezip(honest, path, {CONFIG: json.dumps(outer)}), "not a MiniVec2VecAligner")
    for changes, word in (
        ({"dtype": lambda_layer}, "dtype"),
        ({"dtype": {"class_name": "DTypePolicy", "config": {"name": "x" * 10**6}}}, "dtype"),
        ({"layers": [lambda_layer]}, "its config"),
        ({"name": lambda_layer}, "name"),
        ({"history": [lambda_layer]}, "history"),
        ({"history": {"data": lambda_layer}}, "history's 'data'"),
        ({"history": {"causes": [os_system]}}, "history's 'causes'"),
        ({"embedding_dim": 2**60}, "cannot be those"),
        ({"embedding_dim": "8"}, "widths"),
        ({"embedding_dim": 6, "target_dim": 8}, "shape"),
        ({"embedding_dim": True}, "widths"),
        ({"target_dim": None}, "not been aligned"),
    ):
        refused(rezip(honest, path, {CONFIG: config(honest, **changes)}), word)
    for history in ([lambda_layer], {"data": lambda_layer}, {"causes": [os_system]}, 3, None):
        refused(rezip(honest, path, {ASSETS[0]: json.dumps(history)}), "history")
    refused(rezip(honest, path, {ASSETS[0]: "["}), "not a readable model")
    harmless = {**lambda_layer, "registered_name": "minivec>MiniVec2VecAligner"}  # the class's own name is no key
    refused(rezip(honest, path, {CONFIG: json.dumps(harmless)}), "its config")


def test_keras_archives_with_foreign_members(kept, tmp_path):
    honest, path = kept / "x.keras", tmp_path / "x.keras"
    escaped = tmp_path.parent / "escaped"
    refused(rezip(honest, path, {"../escaped": b"x"}), "its members are")
    refused(rezip(honest, path, {f"{escaped}": b"x"}), "its members are")
    refused(rezip(honest, path, {"assets/x.pkl": pickle.dumps(print)}), "its members are")
    refused(rezip(honest, path, {METADATA: None}), "its members are")
    assert not escaped.exists()
    refused(rezip(honest, path, compression=zipfile.ZIP_DEFLATED), "compressed")
    bomb = {H5: member(honest, H5) + bytes(50 << 20)}
    refused(rezip(honest, path, bomb, zipfile.ZIP_LZMA), "compressed")
    refused(rezip(honest, path, {CONFIG: b" " * (17 << 20)}), "more than")
    refused(rezip(honest, path, {CONFIG: b"[" * 100_000}), "not a readable model")
    refused(rezip(honest, path, {CONFIG: b"1" * 100_000}), "not a readable model")
    content = bytearray(honest.read_bytes())
    place = content.rindex(b"PK\x01\x02") + 20  # the sizes in the last member's directory entry
    content[place : place + 8] = b"\xf0\xff\xff\x7f" * 2
    path.write_bytes(content)
    refused(path, "claims")


def test_weights_that_lie_elsewhere_or_are_larger_than_the_file(kept, tmp_path):
    honest, path = kept / "x.keras", tmp_path / "x.keras"
    secret = tmp_path / "secret.h5"
    with h5py.File(secret, "w") as file:
        file["W"] = np.zeros((8, 6), "f4")
    raw = tmp_path / "raw"
    raw.write_bytes(bytes(192))

    def replace(make):
        def change(file):
            del file["vars/4"]
            make(file)

        return change

    virtual = h5py.VirtualLayout((8, 6), "f4")
    virtual[:] = h5py.VirtualSource(secret, "W", (8, 6))
    external = dict(shape=(8, 6), dtype="f4", external=[(str(raw), 0, 192)])
    for make, word in (
        (lambda f: f.update({"vars/4": h5py.ExternalLink(str(secret), "W")}), "no dataset '4'"),
        (lambda f: f.update({"vars/4": h5py.SoftLink("/vars/5")}), "no dataset '4'"),
        (lambda f: f.create_group("vars/4"), "no dataset '4'"),
        (lambda f: f.create_dataset("vars/4", **external), "elsewhere"),
        (lambda f: f["vars"].create_virtual_dataset("4", virtual), "elsewhere"),
        (lambda f: f.create_dataset("vars/4", (8, 6), "f4", chunks=(8, 6), compression="gzip"), "compressed"),
        (lambda f: f.create_dataset("vars/4", (2**20, 2**20), "f4", chunks=(1024, 1024)), "shape (1048576"),
        (lambda f: f.create_dataset("vars/4", (8, 6), "f8"), "float64"),
        (lambda f: f.create_dataset("vars/4", data=np.full((8, 6), np.nan, "f4")), "NaN"),
        (lambda f: None, "no dataset '4'"),
    ):
        refused(rezip(honest, path, {H5: hdf5(honest, replace(make))}), word)
    refused(rezip(honest, path, {H5: hdf5(honest, lambda f: f["vars/7"].write_direct(np.zeros((), "f4")))}), "aligned")
    refused(rezip(honest, path, {H5: b"\x89HDF\r\n\x1a\n" + bytes(1000)}), "not a readable model")


def deflated(size, block=b"\x01\x02\x03\x04" * 2**18):
    """An npz whose one member is ``size`` bytes of rows (n, 2) float32, some thousandth of that in the file."""
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "<f4", "fortran_order": False, "shape": (size // 8, 2)})
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        with archive.open("x.npy", "w", force_zip64=True) as file:
            file.write(header.getvalue())
            for _ in range(size // len(block)):
                file.write(block)
    return out.getvalue()


def test_npz_bombs_traversal_and_pickles(tmp_path):
    path = tmp_path / "x.npz"
    path.write_bytes(deflated(512 << 20))
    assert path.stat().st_size < 4 << 20
    refused(path, "refused", "claim to hold")
    np.savez(path, **{"../../x": A})
    refused(path, "leads out of the archive")
    np.savez(path, x=np.array([os.system], object))
    refused(path, "pickled")
    rezip(path, path, compression=zipfile.ZIP_LZMA)
    refused(path, "compressed as NumPy never does")
    with zipfile.ZipFile(path, "w") as archive:
        for i in range(5000):
            archive.writestr(f"array-of-a-long-name-{i}.npy", b"")
    refused(path, "several arrays", ", ...")


def header(shape, descr="<f4"):
    """The start of a .npy file that claims this."""
    text = repr({"descr": descr, "fortran_order": False, "shape": shape}).encode() + b"\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text


@pytest.mark.parametrize(
    ("content", "word"),
    [
        (header((2**62, 2**62)), "truncated"),
        (header((2**40, 384)), "truncated"),
        (header((-1, -5)), "empty"),
        (header((1,) * 30), "2-D"),
        (header((3, 3), "|O"), "pickled"),
        (header((3, 3), [("a", "<f4", (2**28,))]), "floats"),
        (header((3, 3), "<U1000000000"), ""),  # NumPy 2 refuses it, NumPy 1 leaves that to us
        (header("__import__('os').system('false')"), "damaged"),
        (b"\x93NUMPY\x02\x00\xff\xff\xff\xff" + b"(" * 100_000, "damaged"),
        (b"\x93NUMPY\x01\x00\xff\x20" + b"(" * 0x20FF, "damaged"),
        (pickle.dumps(os.system), "damaged"),
    ],
)
def test_npy_headers(tmp_path, content, word):
    (tmp_path / "x.npy").write_bytes(content + bytes(64))
    refused(tmp_path / "x.npy", word)


def test_parquet_that_claims_too_much(tmp_path, monkeypatch):
    path = tmp_path / "x.parquet"
    monkeypatch.setattr("minivec.formats.base.ALWAYS_FINE", 1 << 20)
    values = pa.array(np.tile(np.arange(64, dtype="f4"), 40_000))
    same = pa.table({"v": pa.FixedSizeListArray.from_arrays(values, 64)})
    pq.write_table(same, path, compression="zstd")
    assert path.stat().st_size < 50_000
    refused(path, "refused", "claim to hold 10,240,000")
    (tmp_path / "folder").mkdir()
    path.rename(tmp_path / "folder" / "x.parquet")
    refused(tmp_path / "folder", "refused", "claim to hold 10,240,000")
    pq.write_table(pa.table([list(A), list(A)], names=["v", "v"]), path)
    refused(path, "several columns of one name")
    pq.write_table(pa.table({"v": list(A[:9])}), path)
    for claim in (8, 10):
        rows = open_rows(path)
        rows.shape = (claim, 8)
        with pytest.raises(ValueError, match=f"claims {claim} rows"):
            rows.array()


def test_a_folder_of_parquet_is_as_large_as_its_files(tmp_path, monkeypatch):
    monkeypatch.setattr("minivec.formats.base.ALWAYS_FINE", 1 << 10)
    X = np.random.default_rng(0).standard_normal((20_000, 8)).astype("f4")
    for i, part in enumerate(np.split(X, 4)):
        values = pa.FixedSizeListArray.from_arrays(pa.array(part.ravel()), 8)
        pq.write_table(pa.table({"v": values}), tmp_path / f"{i}.parquet")
    assert X.nbytes > 100 * tmp_path.stat().st_size
    np.testing.assert_array_equal(open_rows(tmp_path).array(), X)


def test_a_column_name_cannot_lead_out_of_the_output(tmp_path):
    from minivec.files import map_rows

    pq.write_table(pa.table({"../../v": list(A[:9])}), tmp_path / "x.parquet")
    map_rows(lambda X: X, open_rows(tmp_path / "x.parquet"), tmp_path / "out.npz", 4)
    with zipfile.ZipFile(tmp_path / "out.npz") as archive:
        assert archive.namelist() == [".._.._v.npy"]


def test_safetensors(kept, tmp_path):
    path = tmp_path / "x.safetensors"
    weights = QueryAdapter.load(kept / "x.safetensors").weights
    for size, text in ((2**60, b"{}"), (100_000, b"[" * 100_000), (2, b"{}")):
        path.write_bytes(size.to_bytes(8, "little") + text)
        refused(path, "not a map")
    absurd = {name: {"dtype": "F32", "shape": [2**40, 2**40], "data_offsets": [0, 8]} for name in weights}
    text = json.dumps(absurd).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + bytes(8))
    refused(path, "not a map")
    save_file({**weights, "W": weights["W"].astype("i8")}, path)
    refused(path, "not float32")
    save_file({**weights, "target_norm": np.ones(5, "f4")}, path)
    refused(path, "do not fit together")
    for history in ("[1]", "3", "null", "[" * 100_000, '{"seconds": {"frame": "x"}}'):
        save_file(weights, path, {"minivec": history})
        refused(path, "not a map")


def test_rows_of_safetensors(tmp_path):
    path = tmp_path / "rows.safetensors"
    for shape, ends, word in (([2**40, 2**40], 8, "damaged"), ([0, 8], 0, "empty"), ([2, 1], 8, "")):
        text = json.dumps({"v": {"dtype": "F32", "shape": shape, "data_offsets": [0, ends]}}).encode()
        path.write_bytes(len(text).to_bytes(8, "little") + text + bytes(ends))
        refused(path, word)
    path.write_bytes((2**60).to_bytes(8, "little") + b"{}")
    refused(path, "damaged")


@pytest.mark.parametrize("suffix", [".vec", ".bin"])
def test_word_files(tmp_path, suffix):
    path = tmp_path / f"x{suffix}"
    for header in (b"9" * 60 + b" 9\n", b"1000000000 300\n"):
        path.write_bytes(header + b"a 1 2\n")
        refused(path, str(path))
    path.write_bytes(b"1 300\n" + b"a" * (24 << 20))  # no word ever ends
    refused(path, "1,048,576 bytes" if suffix == ".bin" else "is not a word and 300 numbers")


@pytest.mark.parametrize("suffix", [".npy", ".npz", ".parquet"])
def test_what_is_no_regular_file(tmp_path, suffix):
    os.mkfifo(tmp_path / f"x{suffix}")  # opening it would wait for ever
    refused(tmp_path / f"x{suffix}", "not a regular file")
    if suffix == ".parquet":
        with pytest.raises(ValueError, match="not a regular file"):
            open_rows(tmp_path)


def test_info_shows_no_control_characters(kept, tmp_path, capsys):
    history = {**json.loads(member(kept / "x.keras", ASSETS[0])), "causes": ["\x1b]0;owned\x07\x1b[2J"]}
    rezip(kept / "x.keras", tmp_path / "x.keras", {ASSETS[0]: json.dumps(history)})
    with pytest.raises(SystemExit):
        cli.main(["info", str(tmp_path / "x.keras")])
    assert "\x1b" not in capsys.readouterr().out


FILES = (
    "x.keras",
    "x.safetensors",
    "rows.safetensors",
    "x.npy",
    "x.npz",
    "x.faiss",
    "x.parquet",
    "x.vec",
    "x.bin",
    "x.txt",
    "x.tsv",
)
FILES += ("scaled.npz", "scaled.safetensors")
READER = """
import sys
from test_hostile import read_fuzzed
from pathlib import Path
for line in sys.stdin:
    print(read_fuzzed(Path(line.rstrip("\\n"))) or "ok", flush=True)
"""


class Reader:
    """A process that reads files: FAISS's parser is C++, and a crash of it must not end the tests."""

    def __enter__(self):
        self._start()
        return self

    def _start(self):
        paths = [str(Path(__file__).parent), str(Path(__file__).parent.parent), *sys.path]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))}
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True, "env": environment}
        self.process = subprocess.Popen([sys.executable, "-W", "ignore", "-c", READER], **pipes)

    def __exit__(self, *_):
        self._stop()

    def _stop(self):
        self.process.stdin.close()
        self.process.stdout.close()
        return self.process.wait()

    def read(self, path):
        """Fails where the process ends, or where reading ends otherwise than it may."""
        self.process.stdin.write(f"{path}\n")
        self.process.stdin.flush()
        told = self.process.stdout.readline().rstrip("\n")
        if not told:
            code = self._stop()
            self._start()  # for the next file, which hypothesis tries to make smaller
            raise AssertionError(f"reading it ended the process, with exit code {code}")
        assert told == "ok", told


def read_fuzzed(path):
    """What is wrong with how the reading of a damaged file ends, or None."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            read(path)
        except ValueError as error:
            return f"several lines: {error!r}" if "\n" in str(error) else None
        except Exception as error:  # a refusal is a ValueError
            return repr(error)
    return None


def fuzz(kept, path, data, reader=None):
    """A file with bytes changed, removed or doubled is read, or refused with a ValueError of one line."""
    content = bytearray((kept / path.name).read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(content) - 1))
        kind = data.draw(st.sampled_from(["change", "insert", "remove", "double"]))
        length = data.draw(st.integers(1, 64))
        if kind == "change":
            content[at] = data.draw(st.integers(0, 255))
        elif kind == "insert":
            content[at:at] = data.draw(st.binary(min_size=1, max_size=8))
        elif kind == "remove" and len(content) > length:
            del content[at : at + length]
        else:
            content[at:at] = content[at : at + length]
    if path.suffix in (".keras", ".npz") and data.draw(st.booleans()):
        content = mended(content)
    path.write_bytes(content)
    if reader is not None:
        reader.read(path)
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            read(path)
        except ValueError as error:
            assert "\n" not in str(error)


def mended(content):
    """The archive with the checksums that its stored members now have, so that the change is not found at once."""
    at = content.find(b"PK\x03\x04")
    while at >= 0:
        size = int.from_bytes(content[at + 18 : at + 22], "little")
        start = at + 30 + int.from_bytes(content[at + 26 : at + 28], "little")
        start += int.from_bytes(content[at + 28 : at + 30], "little")
        if size < len(content) and content[at + 8 : at + 10] == b"\0\0":
            old, new = (
                bytes(content[at + 14 : at + 18]),
                zlib.crc32(content[start : start + size]).to_bytes(4, "little"),
            )
            content = bytearray(bytes(content).replace(old, new)) if any(old) else content
        at = content.find(b"PK\x03\x04", at + 4)
    return content


def fuzz_all(settings, kept, path):
    with Reader() if path.suffix == ".faiss" else nullcontext() as reader:
        settings(given(st.data())(lambda data: fuzz(kept, path, data, reader)))()


@pytest.mark.parametrize("file", FILES)
def test_fuzz(kept, tmp_path_factory, file):
    fuzz_all(QUICK, kept, tmp_path_factory.mktemp("fuzz") / file)


@pytest.mark.slow
@pytest.mark.parametrize("file", FILES)
def test_fuzz_for_long(kept, tmp_path_factory, file):
    fuzz_all(LONG, kept, tmp_path_factory.mktemp("fuzz") / file)


def test_a_crash_of_the_reader_is_a_failure(monkeypatch, tmp_path):
    monkeypatch.setattr(sys.modules[__name__], "READER", "import os, sys; sys.stdin.readline(); os.abort()")
    with Reader() as reader, pytest.raises(AssertionError, match="ended the process, with exit code -6"):
        reader.read(tmp_path)
