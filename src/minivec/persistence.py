"""Aligners from files that need not be trusted: nothing in them is run, and all of it is checked.

Keras's own loader makes whatever objects a file asks for. What an aligner is made of is known: two widths, a history
in JSON and eight float32 arrays. So only those are read, each with its size known before.
"""

import io
import json
import os
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from minivec.runtime import WEIGHTS, QueryAdapter, checked_history, read_tensors

if TYPE_CHECKING:
    from minivec.aligner import MiniVec2VecAligner

ALL_WEIGHTS = (*WEIGHTS, "source_norm", "inverse_W")
TENSORS = "model.safetensors"  # in a folder that save_pretrained wrote

CONFIG, METADATA, H5 = "config.json", "metadata.json", "model.weights.h5"  # in a .keras archive
IN_H5 = ("source_mean", "target_mean", "source_norm", "target_norm", "W", "inverse_W", "expected_cosine", "aligned")
LARGEST_JSON = 16 << 20  # bytes; a history of 100,000 steps has some 10 million
LARGEST_H5_FRAME = 1 << 20  # bytes that HDF5 may need beside the arrays; it needs some 8,000
POLICIES = ("float16", "bfloat16", "float32", "float64", "mixed_float16", "mixed_bfloat16")


def load(path: str | Path) -> "MiniVec2VecAligner":
    """The aligner in a .keras file or in a folder that ``save_pretrained`` wrote, trusted or not.

    Like ``keras.models.load_model``, but the only objects it makes are the aligner and its arrays, and memory is
    bounded by a few times the file's size. Raises OSError where there is nothing to read, and ValueError that says
    what is wrong: damaged, of another class, not aligned, or made to harm (compressed or foreign members, arrays of
    other shapes than the file has bytes for).
    """
    path = Path(path)
    if path.is_dir():
        if not (path / TENSORS).is_file():
            raise IsADirectoryError(f"{path}: a folder without {TENSORS}, not a .keras file")
        return read_tensors(path / TENSORS, ALL_WEIGHTS, _aligner)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file")
    if not os.access(path, os.R_OK):
        raise PermissionError(f"{path}: no permission to read it")
    try:
        members = _members(path)
        config = _config(members)
        weights, history = _weights(members[H5], config), checked_history(config["history"])
        return _aligner(weights, history, name=config["name"], dtype=config["dtype"])
    except zipfile.BadZipFile as error:
        raise ValueError(f"{path}: not a .keras file, or a truncated one") from error
    except (ValueError, TypeError, KeyError, OSError, RuntimeError, EOFError, RecursionError) as error:
        what = " ".join(str(error).split())
        raise ValueError(f"{path}: not a readable model: {what}") from error


def saved_on(path: str | Path) -> str:
    """When the aligner that ``load`` read was saved, as Keras writes it ("2026-01-31@12:00:00"), or "unknown"."""
    if Path(path).is_dir():
        return "unknown"
    date = json.loads(_members(Path(path))[METADATA]).get("date_saved")
    return date if isinstance(date, str) else "unknown"


def _members(path: Path) -> dict[str, bytes]:
    """The three members of a .keras archive, as Keras writes them: uncompressed, none larger than the file."""
    with zipfile.ZipFile(path) as archive:
        listed = {member.filename: member for member in archive.infolist()}
        if set(listed) != {CONFIG, METADATA, H5}:
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
    """Name, dtype, history and widths out of config.json; ValueError where another class or object is asked for."""
    outer = json.loads(members[CONFIG])
    if not isinstance(outer, dict) or outer.get("registered_name") != "minivec>MiniVec2VecAligner":
        asked = outer.get("class_name") if isinstance(outer, dict) else outer
        raise ValueError(f"it holds a {str(asked)[:80]}, not a MiniVec2VecAligner")
    config = outer.get("config")
    expected = {"name", "trainable", "dtype", "embedding_dim", "target_dim", "history"}
    if not isinstance(config, dict) or set(config) != expected:
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


def _aligner(weights: dict[str, np.ndarray], history: dict[str, Any], **options: Any) -> "MiniVec2VecAligner":
    """The aligner with these weights; ValueError where they do not fit together or are not finite."""
    from minivec.aligner import MiniVec2VecAligner

    dA, dB = QueryAdapter(weights).shape
    if weights["inverse_W"].shape != (dB, dA) or weights["source_norm"].shape != ():
        raise ValueError("the weights do not fit together")
    if not (np.isfinite(weights["inverse_W"]).all() and np.isfinite(weights["source_norm"])):
        raise ValueError("the weights hold NaN or infinity")
    aligner = MiniVec2VecAligner(dA, dB, **options)
    aligner._set(history, **weights)
    return aligner
