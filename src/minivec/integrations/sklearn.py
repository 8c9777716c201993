"""The aligner as a scikit-learn estimator: for pipelines, grid searches and what else speaks that interface."""

from numbers import Integral
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_array, check_is_fitted, validate_data

from minivec.aligner import MiniVec2VecAligner
from minivec.metrics import evaluate_alignment
from minivec.settings import with_hyperparameters

DATA = ("target", "random_state", "options")  # parameters that ``align`` does not have by these names


class EmbeddingAligner(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    """``fit(X, y)`` finds the map from the space of ``X`` (nA, dA) into that of ``y`` (nB, dB), rows unpaired.

    ``target`` takes the place of y where ``fit``'s second argument is something else, as the labels in a pipeline that
    ends in a classifier. ``random_state`` is as in scikit-learn. An integer is the ``seed`` of ``align``. From a
    RandomState or, for None, from NumPy's global one, every fit draws another seed. All other arguments of ``align``
    but ``pairs`` are parameters of their own, so that a grid search can vary them. ``options`` are arguments of
    ``align`` as a dict, such as ``{"pairs": pairs}``. They win over the parameters.

    After ``fit``: ``aligner_`` (the Keras model), ``history_``, ``n_features_in_``.
    """

    @with_hyperparameters(lambda h: h.type | None)
    def __init__(
        self,
        target: Any = None,
        preset: str = "auto",
        mapping: str = "orthogonal",
        random_state: Any = 0,
        options: dict[str, Any] | None = None,
        *,
        source_name: str | None = None,
        target_name: str | None = None,
        verbose: int = 0,
        callbacks: Any = (),
        engine: str = "local",
        **hyperparameters: Any,
    ):
        self.target = target
        self.preset = preset
        self.mapping = mapping
        self.random_state = random_state
        self.options = options
        self.source_name = source_name
        self.target_name = target_name
        self.verbose = verbose
        self.callbacks = callbacks
        self.engine = engine
        unknown = sorted(hyperparameters.keys() - set(self._get_param_names()))
        if unknown:
            raise TypeError(f"EmbeddingAligner has no parameter {unknown[0]!r}")
        for name in self._get_param_names():
            if name not in vars(self):
                setattr(self, name, hyperparameters.get(name))

    def fit(self, X: Any, y: Any = None) -> "EmbeddingAligner":
        """Align; ValueError without a second space."""
        X = validate_data(self, X, dtype=np.float32, ensure_min_samples=2, ensure_min_features=2)
        Y = self.target if self.target is not None else y
        if Y is None:
            raise ValueError("no second space: give y, or target at construction")
        Y = check_array(Y, dtype=np.float32, ensure_min_samples=2, ensure_min_features=2, input_name="y")
        settings = {name: value for name, value in self.get_params(deep=False).items() if name not in DATA}
        settings |= {"seed": self._seed(), **(self.options or {})}
        self.aligner_ = MiniVec2VecAligner(X.shape[1])
        self.history_ = self.aligner_.align(X, Y, **settings)
        self._forward = self.aligner_.map
        self._backward = self._forward.inverse()
        self._n_features_out = self._forward.shape[1]
        return self

    def _seed(self) -> int:
        """The seed of a fit, by scikit-learn's rules for ``random_state``."""
        if isinstance(self.random_state, Integral):
            return int(self.random_state)
        return int(check_random_state(self.random_state).randint(np.iinfo(np.int32).max))

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
