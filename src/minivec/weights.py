"""The map as the weights of a Keras model: how they are made, filled and loaded."""

import json
from pathlib import Path
from typing import Any

import keras
import numpy as np

from minivec.map import LinearMap
from minivec.persistence import HISTORY_FILE, SIGNATURE_FILE, checked_history, signature_tensors
from minivec.signature import Signatures, Watch


class MapWeights(keras.Model):
    """A model whose weights are a ``LinearMap`` from ``embedding_dim`` dimensions to ``_width``.

    A weight of its own, ``aligned``, is 1 once there is a map.
    """

    built: bool
    embedding_dim: int
    target_dim: int | None
    history: dict[str, Any]
    _width: int
    _is_aligned: bool
    _signatures: Signatures | None
    _watch: Watch | None

    @property
    def aligned(self) -> bool:
        """Whether there is a map, so that the model can be called."""
        if not self._is_aligned and self.built:  # asked of the weight once: its value may be on a GPU
            try:
                self._is_aligned = bool(self._aligned.value)
            except TypeError:  # inside a compiled call, where it has no value
                return False
        return self._is_aligned

    def build(self, input_shape: Any = None) -> None:
        """Create the weights; ``align`` makes them anew if B is of another width than assumed here."""
        if input_shape is not None and input_shape[-1] != self.embedding_dim:
            raise ValueError(f"input_shape must end in embedding_dim={self.embedding_dim}; got {input_shape}")
        if self.built:
            return
        for weight in list(self.weights):
            self._untrack_variable(weight)
        dA, dB = self.embedding_dim, self._width
        self.source_mean = self._weight("source_mean", dA)
        self.target_mean = self._weight("target_mean", dB)
        self.source_norm = self._weight("source_norm")
        self.target_norm = self._weight("target_norm")
        self.W = self._weight("W", dA, dB)
        self.inverse_W = self._weight("inverse_W", dB, dA)
        self.expected_cosine = self._weight("expected_cosine")
        self._aligned = self._weight("aligned")
        self.unit = self._weight("unit")

    def _weight(self, name: str, *shape: int) -> keras.Variable:
        return self.add_weight(name=name, shape=shape, initializer="zeros", dtype="float32", trainable=False)

    def _set(self, bridge: LinearMap) -> None:
        """Take over a map."""
        self._make_weights(bridge.shape[1])
        for name, value in bridge.weights.items():
            getattr(self, name).assign(value)
        self._aligned.assign(1.0)
        self._is_aligned, self.history = True, bridge.history
        self._know(bridge.signatures)

    def _know(self, signatures: Signatures | None) -> None:
        """Take over the signatures of the spaces, past Keras, which would wrap them."""
        object.__setattr__(self, "_signatures", signatures)
        object.__setattr__(self, "_watch", signatures and Watch(signatures))

    def _make_weights(self, width: int) -> None:
        """Make weights for a B of ``width`` dimensions, unless they are there."""
        if not self.built or width != self._width:
            if self.target_dim not in (None, width):
                raise ValueError(f"the weights map to {width} dimensions, and target_dim is {self.target_dim}")
            self.built, self._width, self.predict_function = False, width, None
            self._tracker.unlock()
            self.build((None, self.embedding_dim))

    def load_weights(self, *args: Any, **kwargs: Any) -> None:
        """As Keras's own; the width of B comes from the file, unless ``target_dim`` was given."""
        self.build()
        super().load_weights(*args, **kwargs)

    def load_own_variables(self, store: Any) -> None:
        """Load the weights, and whether they are a map: compiled calls cannot ask."""
        if "1" in store:  # the mean of B
            self._make_weights(store["1"].shape[0])
        if "7" in store and "8" not in store:  # a file of version 0.1.0, whose maps know no ``unit``
            store = {**{name: store[name] for name in store.keys()}, "8": np.zeros((), np.float32)}
        super().load_own_variables(store)
        self._know(None)  # until load_assets, where there are assets
        self._is_aligned = self.built and bool(self._aligned.value)

    def set_weights(self, weights: Any) -> None:
        """Take over another model's ``get_weights()``, with the width of its B and, if it is aligned, its map."""
        if len(weights) > 1:
            self._make_weights(len(weights[1]))
        super().set_weights(weights)
        self._know(None)
        self._is_aligned = self.built and bool(self._aligned.value)

    def save_assets(self, dir_path: str) -> None:
        """Put the history beside the weights: in the configuration, Keras would print it whole with its errors.

        The signatures of the spaces, where there are any, lie beside it.
        """
        (Path(dir_path) / HISTORY_FILE).write_text(json.dumps(self.history), "utf-8")
        if self._signatures is not None:
            from safetensors.numpy import save

            (Path(dir_path) / SIGNATURE_FILE).write_bytes(save(self._signatures.arrays()))

    def load_assets(self, dir_path: str) -> None:
        """Take over the history and the signatures that ``save_assets`` wrote."""
        self.history = checked_history(json.loads((Path(dir_path) / HISTORY_FILE).read_text("utf-8")))
        path = Path(dir_path) / SIGNATURE_FILE
        tensors = signature_tensors(path.read_bytes() if path.exists() else None)
        self._know(Signatures.from_arrays(tensors, (self.embedding_dim, self._width)))
