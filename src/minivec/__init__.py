"""Align two embedding spaces without paired data."""

import importlib.util
import json
import os
import sys


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


_choose_backend()

from minivec.aligner import MiniVec2VecAligner, NotAlignedError  # noqa: E402
from minivec.confidence import AlignmentWarning  # noqa: E402
from minivec.metrics import evaluate_alignment  # noqa: E402

__version__ = "0.1.0"
__all__ = ["AlignmentWarning", "MiniVec2VecAligner", "NotAlignedError", "__version__", "evaluate_alignment"]
