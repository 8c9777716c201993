"""Align two embedding spaces without paired data."""

import importlib.util
import json
import os
import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any

from wrapt import register_post_import_hook

from minivec.version import __version__

if TYPE_CHECKING:
    from minivec.algorithm.confidence import AlignmentWarning
    from minivec.aligner import MiniVec2VecAligner, NotAlignedError, load
    from minivec.map import LinearMap, open_map
    from minivec.metrics import evaluate_alignment
    from minivec.signature import WrongVectorsWarning

__all__ = [
    "AlignmentWarning",
    "LinearMap",
    "MiniVec2VecAligner",
    "NotAlignedError",
    "WrongVectorsWarning",
    "__version__",
    "evaluate_alignment",
    "load",
    "open_map",
]

_MODULES = {
    "AlignmentWarning": "algorithm.confidence",
    "LinearMap": "map",
    "MiniVec2VecAligner": "aligner",
    "NotAlignedError": "aligner",
    "WrongVectorsWarning": "signature",
    "evaluate_alignment": "metrics",
    "load": "aligner",
    "open_map": "map",
}
_BEFORE_THE_CLASS = ("minivec.backend", "minivec.weights")  # they import Keras, and the class's module imports them


def _choose_backend() -> None:
    """Name an installed backend for Keras, whose own default is TensorFlow, unless the user has chosen one.

    Keras itself writes a keras.json that names TensorFlow, so only a file that names an installed backend is
    a choice.
    """
    if "keras" in sys.modules or os.environ.get("KERAS_BACKEND"):
        return
    home = "~" if os.access(os.path.expanduser("~"), os.W_OK) else "/tmp"
    folder = os.environ.get("KERAS_HOME", f"{home}/.keras")
    try:
        with open(os.path.expanduser(f"{folder}/keras.json")) as file:
            chosen = json.load(file).get("backend")
    except (OSError, ValueError, AttributeError):
        chosen = None
    for backend in (chosen, "jax", "torch", "tensorflow"):
        if backend and importlib.util.find_spec(backend):
            if backend != chosen:
                os.environ["KERAS_BACKEND"] = backend
            return


def _register_class(module: Any) -> None:
    """Import the class's module behind Keras, which loads a model only if its class is registered by then.

    Where a module that the class needs has asked for Keras, that module must be whole first.
    """
    if module.__name__ != "keras" or not any(name in sys.modules for name in _BEFORE_THE_CLASS):
        import_module("minivec.aligner")


def __getattr__(name: str) -> Any:
    """A public name, from its module on first use: ``minivec.runtime`` must not load Keras."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
    return value


_choose_backend()
for _name in ("keras", *_BEFORE_THE_CLASS):
    register_post_import_hook(_register_class, _name)
