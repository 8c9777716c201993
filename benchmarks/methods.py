"""The methods that ``benchmarks.peers`` compares, with and without pairs.

- ``auto``, ``paper``: the presets of ``MiniVec2VecAligner.align``
- ``mini-vec2vec``: the package of that name on PyPI, with its defaults (its random numbers seeded)
- ``gromov-wasserstein``: POT's entropic plan between samples of both sides, then Procrustes on its barycentric targets
- ``unpaired-rosetta``: ``benchmarks.rivals``
- ``supervised N``: Procrustes on N true pairs, the first map of Drift-Adapter; with N the rows a side it is the ceiling
- ``drift-low-rank N``, ``drift-mlp N``: its other two maps, on N true pairs; ``benchmarks.adapters``
- ``isotrieve N``: the package of that name on PyPI with its default map, ridge regression, on N true pairs
"""

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from minivec.algorithm.procrustes import low_rank, polar
from minivec.frame import Frame

GW_ROWS, GW_EPSILON, GW_STEPS = 1_000, 1e-3, 60  # time grows with the rows' cube; the best of five tried
Figures = dict[str, Any]
Map = Callable[[np.ndarray], np.ndarray]
"""Framed rows (n, dA) -> (n, dB), of any length."""
Fit = Callable[[np.ndarray, np.ndarray, np.ndarray, int], tuple[Map, Figures]]
"""Raw rows of A (n, dA), of B (m, dB), A's true partners (n, dB), seed -> the map, and more."""


def linear(W: np.ndarray) -> Map:
    """The map of a matrix (dA, dB)."""
    return lambda X: X @ W


def _preset(preset: str) -> Fit:
    import minivec.algorithm.solver  # noqa: F401  which align would import
    from minivec import AlignmentWarning, MiniVec2VecAligner

    warnings.simplefilter("ignore", AlignmentWarning)

    def fit(A: np.ndarray, B: np.ndarray, partners: np.ndarray, seed: int) -> tuple[Map, Figures]:
        history = MiniVec2VecAligner(A.shape[1]).align(A, B, preset=preset, seed=seed)
        return linear(history["final_W"]), {name: history[name] for name in ("confidence", "verdict")}

    return fit


def _mini_vec2vec() -> Fit:
    from mini_vec2vec import MiniVec2Vec

    warnings.simplefilter("ignore", UserWarning)  # that it pads the narrower space

    def fit(A: np.ndarray, B: np.ndarray, partners: np.ndarray, seed: int) -> tuple[Map, Figures]:
        assignment = {"method": "2opt", "options": {"maximize": True, "rng": np.random.default_rng(seed)}}
        model = MiniVec2Vec().fit(A, B, random_seed=seed, verbose=False, quadratic_assignment_kwargs=assignment)
        return linear(model.W[: A.shape[1], : B.shape[1]]), {}

    return fit


def _gromov_wasserstein() -> Fit:
    from ot.gromov import entropic_gromov_wasserstein

    warnings.simplefilter("ignore", UserWarning)  # that a step's Sinkhorn ended before it converged

    def fit(A: np.ndarray, B: np.ndarray, partners: np.ndarray, seed: int) -> tuple[Map, Figures]:
        rng = np.random.default_rng(seed)
        X, Y = (Frame.of(rows).apply(rng.permutation(rows)[:GW_ROWS]).astype(np.float64) for rows in (A, B))
        plan = entropic_gromov_wasserstein(1 - X @ X.T, 1 - Y @ Y.T, epsilon=GW_EPSILON, max_iter=GW_STEPS)
        return linear(polar(X.T @ plan @ Y)), {}

    return fit


def _unpaired_rosetta() -> Fit:
    from benchmarks.rivals import unpaired_rosetta

    def fit(A: np.ndarray, B: np.ndarray, partners: np.ndarray, seed: int) -> tuple[Map, Figures]:
        W, cosine = unpaired_rosetta(A, B, seed)
        return linear(W), {"matched_cosine": cosine}

    return fit


def _paired(pairs: int, adapt: Callable[[np.ndarray, np.ndarray, int], Map]) -> Fit:
    """The fit of framed rows to their partners by ``adapt``, which also takes the seed, on so many ``pairs``."""

    def fit(A: np.ndarray, B: np.ndarray, partners: np.ndarray, seed: int) -> tuple[Map, Figures]:
        chosen = np.random.default_rng(seed).permutation(len(A))[:pairs]
        source, target = Frame.of(A), Frame.of(B)
        return adapt(source.apply(A[chosen]), target.apply(partners[chosen]), seed), {}

    return fit


def _supervised(pairs: int) -> Fit:
    return _paired(pairs, lambda X, Y, seed: linear(polar(X.T @ Y)))


def _drift_low_rank(pairs: int) -> Fit:
    return _paired(pairs, lambda X, Y, seed: linear(low_rank(X, Y, np.random.default_rng(seed))[0]))


def _drift_mlp(pairs: int) -> Fit:
    from benchmarks.adapters import residual_mlp

    return _paired(pairs, residual_mlp)


def _isotrieve(pairs: int) -> Fit:
    from isotrieve import RidgeMapping

    warnings.simplefilter("ignore", UserWarning)  # that there are fewer pairs than it recommends
    return _paired(pairs, lambda X, Y, seed: RidgeMapping(seed=seed).fit(X, Y).transform)


@dataclass(frozen=True)
class Method:
    """How to load a fit, and what its own environment needs; without packages it runs in this one."""

    load: Callable[..., Fit]
    packages: tuple[str, ...] = ()
    alone: tuple[str, ...] = ()


METHODS = {
    "supervised": Method(_supervised),
    "drift-low-rank": Method(_drift_low_rank),
    "drift-mlp": Method(_drift_mlp),
    "isotrieve": Method(_isotrieve, ("wrapt", "isotrieve==0.4.0")),
    "auto": Method(partial(_preset, "auto")),
    "paper": Method(partial(_preset, "paper")),
    "mini-vec2vec": Method(
        _mini_vec2vec,
        ("wrapt", "scikit-learn==1.8.0", "scipy==1.17.1", "tqdm"),
        ("mini-vec2vec==0.1.2",),  # asks for Python 3.12, runs on 3.11
    ),
    "gromov-wasserstein": Method(_gromov_wasserstein, ("wrapt", "POT==0.9.7.post1")),
    "unpaired-rosetta": Method(_unpaired_rosetta),
}
BY_PAIRS = ("supervised", "drift-low-rank", "drift-mlp", "isotrieve")
