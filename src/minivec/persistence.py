"""Aligners' files, which need not be trusted: nothing in them is run, and all of it is checked.

Keras's own loader makes whatever objects a file asks for. An aligner is known to consist of two widths, a history in
JSON and at most nine float32 arrays. Only those are read, and the size of each is known before.
"""

import io
import json
import os
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np

from minivec.files import replacing
from minivec.signature import SHAPES, Signatures

FORWARD = ("source_mean", "target_mean", "target_norm", "W", "expected_cosine", "unit")  # what maps A to B
BACKWARD = ("source_norm", "inverse_W")  # what the way back needs beside them
SIGNATURES = tuple(  # by which vectors of another space are recognised; maps of version 0.1.0 have none
    f"{side}_signature_{name}" for side in Signatures._fields for name in SHAPES
)
TENSORS = "model.safetensors"  # in a folder that save_pretrained wrote

CONFIG, METADATA, H5 = "config.json", "metadata.json", "model.weights.h5"  # in a .keras archive
HISTORY_FILE = "history.json"
SIGNATURE_FILE = "signatures.safetensors"
# In archives since 0.2.0. Before, the history was in the configuration.
ASSETS = (f"assets/{HISTORY_FILE}", f"assets/{SIGNATURE_FILE}")
IN_H5 = (
    "source_mean",
    "target_mean",
    "source_norm",
    "target_norm",
    "W",
    "inverse_W",
    "expected_cosine",
    "aligned",
    "unit",
)
LARGEST_JSON = 16 << 20  # bytes; a history of 100,000 steps has some 10 million
LARGEST_H5_FRAME = 1 << 20  # bytes that HDF5 may need beside the arrays; it needs some 8,000
# What the libraries that read a file raise where it is damaged.
DAMAGE = (ValueError, TypeError, KeyError, OSError, RuntimeError, EOFError, RecursionError)
POLICIES = ("float16", "bfloat16", "float32", "float64", "mixed_float16", "mixed_bfloat16")

# What a history from a file may hold: the type of each entry, and the types of its members.
HISTORY: dict[str, tuple[type, ...]] = {
    "confidence": (float,),
    "verdict": (str,),
    "causes": (list, str),
    "expected_cosine": (float,),
    "seconds": (dict, float, int),
    "settings": (dict, str, float, int, type(None)),
    "pairs": (int,),
    "paired_rows": (dict, str, int),
    "data": (dict, dict),
    "versions": (dict, str),
    "spaces": (dict, str, type(None)),
}

T = TypeVar("T")


class Stored(NamedTuple):
    """What a file holds: the map's arrays and the signatures' by name, the fit's history, a model's name and dtype."""

    weights: dict[str, np.ndarray]
    history: dict[str, Any]
    options: dict[str, str]
    signatures: dict[str, np.ndarray]


def read_aligner(path: str | Path, make: Callable[[Stored], T]) -> T:
    """What ``make`` makes of the .keras file, the .safetensors file or the folder in Hugging Face's layout.

    Memory is bounded by a few times the file's size. Raises OSError where there is nothing to read, and ValueError,
    also for one that ``make`` raises, that names the file and says what is wrong: damaged, of another class, not
    aligned, or made to harm (compressed or foreign members, arrays of other shapes than the file has bytes for).
    """
    path = Path(path)
    if path.is_dir():
        if not (path / TENSORS).is_file():
            raise IsADirectoryError(f"{path}: a folder without {TENSORS}, not a .keras file")
        return read_tensors(path / TENSORS, make)
    if path.suffix.lower() == ".safetensors":
        return read_tensors(path, make)
    _check_readable(path)
    with _named(path, "not a readable model"):
        try:
            members = _members(path)
        except zipfile.BadZipFile as error:
            raise ValueError("not a .keras file, or a truncated one") from error
        config = _config(members)
        history = config["history"] if "history" in config else json.loads(members.get(ASSETS[0], b"{}"))
        options = {"name": config["name"], "dtype": config["dtype"]}
        signatures = signature_tensors(members.get(ASSETS[1]))
        return make(Stored(_weights(members[H5], config), checked_history(history), options, signatures))


def read_tensors(path: str | Path, make: Callable[[Stored], T]) -> T:
    """What ``make`` makes of a file that ``write_tensors`` wrote; errors as ``read_aligner`` raises them."""
    from safetensors import SafetensorError, safe_open

    _check_readable(Path(path))
    with _named(path, "not a map that minivec exported", SafetensorError), safe_open(path, "numpy") as file:
        present = set(file.keys())
        missing = sorted(set(FORWARD) - present - {"unit"})
        if missing:
            raise ValueError(f"no tensor {missing[0]!r}")
        names = [name for name in (*FORWARD, *BACKWARD) if name in present]
        types = {name: file.get_slice(name).get_dtype() for name in names}
        if set(types.values()) != {"F32"}:
            raise ValueError(f"the tensors are not float32: {types}")
        history = checked_history(json.loads((file.metadata() or {}).get("minivec", "{}")))
        weights = {name: file.get_tensor(name) for name in names}
        if "source_norm" in weights:
            weights.setdefault("inverse_W", weights["W"].T)  # which write_tensors leaves out
        signatures = {name: file.get_tensor(name) for name in SIGNATURES if name in present}
        return make(Stored(weights, history, {}, signatures))


def signature_tensors(data: bytes | None) -> dict[str, np.ndarray]:
    """The arrays of the signatures in the bytes of a safetensors file; ValueError for a damaged one."""
    from safetensors import SafetensorError
    from safetensors.numpy import load

    try:
        return {} if data is None else {name: array for name, array in load(data).items() if name in SIGNATURES}
    except SafetensorError as error:
        raise ValueError(f"{SIGNATURE_FILE}: {error}") from None


def write_tensors(path: str | Path, weights: Mapping[str, np.ndarray], history: dict[str, Any]) -> None:
    """Write named float32 tensors and a fit's history to a safetensors file, whole or not at all.

    An ``inverse_W`` that is the transpose of ``W`` is left out.
    """
    from safetensors.numpy import save

    weights = dict(weights)
    if "inverse_W" in weights and np.array_equal(weights["inverse_W"], weights["W"].T):
        del weights["inverse_W"]
    data = save(weights, {"minivec": json.dumps(history)})
    with replacing(path) as temporary:
        temporary.write_bytes(data)


def checked_history(history: Any) -> dict[str, Any]:
    """``history`` out of a file, unless it is of another form than what ``align`` returns (ValueError)."""
    if not isinstance(history, dict):
        raise ValueError(f"the history is a {type(history).__name__}, not a dict")
    for name, kind in HISTORY.items():
        value = history.get(name)
        members = value if isinstance(value, list) else value.values() if isinstance(value, dict) else ()
        if value is not None and not (isinstance(value, kind[0]) and all(isinstance(m, kind[1:]) for m in members)):
            raise ValueError(f"the history's {name!r} is not what align records")
    return history


def saved_on(path: str | Path) -> str:
    """When Keras saved a readable .keras file ("2026-01-31@12:00:00"); "unknown" for other files."""
    path = Path(path)
    if path.is_dir() or path.suffix.lower() == ".safetensors":
        return "unknown"
    date = json.loads(_members(path)[METADATA]).get("date_saved")
    return date if isinstance(date, str) else "unknown"


def _check_readable(path: Path) -> None:
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file")
    if not os.access(path, os.R_OK):
        raise PermissionError(f"{path}: no permission to read it")


@contextmanager
def _named(path: str | Path, what: str, *errors: type[Exception]) -> Iterator[None]:
    """Whatever is wrong with a file, as a ValueError of one line that names it."""
    damage: tuple[type[Exception], ...] = (
        ValueError,
        TypeError,
        KeyError,
        OSError,
        RuntimeError,
        EOFError,
        RecursionError,
        *errors,
    )
    try:
        yield
    except damage as error:
        raise ValueError(f"{path}: {what}: {' '.join(str(error).split())}") from error


def _members(path: Path) -> dict[str, bytes]:
    """The members of a .keras archive, as Keras writes them: uncompressed, none larger than the file."""
    with zipfile.ZipFile(path) as archive:
        listed = {member.filename: member for member in archive.infolist()}
        if set(listed) - set(ASSETS) != {CONFIG, METADATA, H5}:
            raise ValueError(f"its members are {sorted(listed)[:5]}, not {CONFIG}, {METADATA} and {H5}")
        for name, member in listed.items():
            if member.compress_type != zipfile.ZIP_STORED:
                raise ValueError(f"{name} is compressed, which Keras never does")
            if member.file_size > path.stat().st_size:
                raise ValueError(f"{name} claims {member.file_size:,} bytes, more than the file has")
            if name != H5 and member.file_size > LARGEST_JSON:
                raise ValueError(f"{name} has {member.file_size:,} bytes, more than {LARGEST_JSON:,}")
        return {name: archive.read(member) for name, member in listed.items()}


def _config(members: dict[str, bytes]) -> dict[str, Any]:
    """Name, dtype, widths and an older file's history; ValueError where another class or object is asked for."""
    outer = json.loads(members[CONFIG])
    if not isinstance(outer, dict) or outer.get("registered_name") != "minivec>MiniVec2VecAligner":
        asked = outer.get("class_name") if isinstance(outer, dict) else outer
        raise ValueError(f"it holds a {str(asked)[:80]}, not a MiniVec2VecAligner")
    config = outer.get("config")
    expected = {"name", "trainable", "dtype", "embedding_dim", "target_dim"}
    if not isinstance(config, dict) or set(config) - {"history"} != expected:
        raise ValueError(f"its config is not one of {sorted(expected)}")
    policy = config["dtype"]
    if isinstance(policy, dict) and policy.get("class_name") == "DTypePolicy":
        policy = policy["config"]["name"]
    if policy not in POLICIES:
        raise ValueError(f"dtype {str(policy)[:80]!r} is none of {', '.join(POLICIES)}")
    if not isinstance(config["name"], str):
        raise ValueError("its name is not a string")
    return {**config, "dtype": policy}


def _weights(data: bytes, config: dict[str, Any]) -> dict[str, np.ndarray]:
    """The arrays of Keras's HDF5 file, by name; ValueError for any of another layout than Keras's, or not its own."""
    import h5py

    dA, dB = config["embedding_dim"], config["target_dim"]
    if not (isinstance(dA, int) and isinstance(dB, int) and dA > 1 and dB > 1):
        raise ValueError("its model has not been aligned" if dB is None else f"widths {dA!r} and {dB!r}")
    shapes = {"source_mean": (dA,), "target_mean": (dB,), "W": (dA, dB), "inverse_W": (dB, dA)}
    if not 8 * dA * dB < len(data) < 8 * (dA + 1) * (dB + 1) + LARGEST_H5_FRAME:
        raise ValueError(f"{len(data):,} bytes of weights cannot be those of widths {dA} and {dB}")
    weights = {}
    with h5py.File(io.BytesIO(data), "r") as file:
        variables = _own(file, "vars", h5py.Group)
        for i, name in enumerate(IN_H5):
            if name == "unit" and str(i) not in variables:  # of version 0.1.0
                continue
            array = _own(variables, str(i), h5py.Dataset)
            shape = shapes.get(name, ())
            if array.shape != shape or array.dtype != np.float32:
                raise ValueError(f"{name} is {array.dtype} of shape {array.shape}, not float32 of {shape}")
            if array.chunks or array.external or array.is_virtual:
                raise ValueError(f"{name} is compressed or lies elsewhere, which Keras never does")
            weights[name] = array[()]
    if weights.pop("aligned") != 1:
        raise ValueError("its model has not been aligned")
    return weights


def _own(group: Any, name: str, kind: type) -> Any:
    """What lies under ``name`` in the group itself: a link could lead into other files."""
    import h5py

    if not isinstance(group.get(name, getlink=True), h5py.HardLink) or group.get(name, getclass=True) is not kind:
        raise ValueError(f"no {kind.__name__.lower()} {name!r} in its weights")
    return group[name]
