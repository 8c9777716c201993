"""The aligner as a scikit-learn estimator: for pipelines, grid searches and what else speaks that interface."""

from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils.validation import check_array, check_is_fitted, validate_data

from minivec.aligner import MiniVec2VecAligner
from minivec.metrics import evaluate_alignment


class EmbeddingAligner(TransformerMixin, BaseEstimator):
    """``fit(X, y)`` finds the map from the space of ``X`` (nA, dA) into that of ``y`` (nB, dB), rows unpaired.

    ``target`` takes the place of y where ``fit``'s second argument is something else, as the labels in a pipeline that
    ends in a classifier. ``random_state`` is an integer; ``options`` are further arguments of ``align``.

    After ``fit``: ``aligner_`` (the Keras model), ``history_``, ``n_features_in_``.
    """

    def __init__(
        self,
        target: Any = None,
        preset: str = "auto",
        mapping: str = "orthogonal",
        random_state: int = 0,
        options: dict[str, Any] | None = None,
    ):
        self.target = target
        self.preset = preset
        self.mapping = mapping
        self.random_state = random_state
        self.options = options

    def fit(self, X: Any, y: Any = None) -> "EmbeddingAligner":
        """Align; ValueError without a second space."""
        X = validate_data(self, X, dtype=np.float32, ensure_min_samples=2, ensure_min_features=2)
        Y = self.target if self.target is not None else y
        if Y is None:
            raise ValueError("no second space: give y, or target at construction")
        Y = check_array(Y, dtype=np.float32, ensure_min_samples=2, ensure_min_features=2, input_name="y")
        self.aligner_ = MiniVec2VecAligner(X.shape[1])
        settings: dict[str, Any] = {"preset": self.preset, "mapping": self.mapping, "seed": self.random_state}
        self.history_ = self.aligner_.align(X, Y, **settings, **(self.options or {}))
        self._forward = self.aligner_.map
        self._backward = self._forward.inverse()
        return self

    def transform(self, X: Any) -> np.ndarray:
        """Raw rows of A (n, dA) to unit rows (n, dB) comparable by cosine with raw rows of B."""
        check_is_fitted(self)
        return self._forward(validate_data(self, X, dtype=np.float32, reset=False))

    def inverse_transform(self, X: Any) -> np.ndarray:
        """Raw rows of B (n, dB) to unit rows (n, dA) comparable by cosine with raw rows of A."""
        check_is_fitted(self)
        return self._backward(check_array(X, dtype=np.float32))

    def score(self, X: Any, y: Any = None) -> float:
        """The share of rows of ``X`` (n, dA) whose own row of ``y`` (n, dB) is the nearest: held-out true pairs.

        Without y, or with labels in its place (``target`` is given): the confidence, which needs no pairs.
        """
        check_is_fitted(self)
        X = validate_data(self, X, dtype=np.float32, reset=False)
        if y is None or self.target is not None:
            return self.aligner_.confidence
        return evaluate_alignment(self._forward, X, check_array(y, dtype=np.float32))["top1_accuracy"]

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float32"]
        return tags
