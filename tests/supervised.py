"""Stands in for the solver where the model around it is tested: Procrustes on rows as if paired."""

import sys
from types import SimpleNamespace

import numpy as np

from minivec.algorithm.confidence import Verdict
from minivec.algorithm.expected import Top1
from minivec.algorithm.problem import Outcome
from minivec.algorithm.procrustes import polar
from minivec.frame import unit


def solve(problem, record):
    solve.seen = problem
    X, Y = problem.X, problem.Y
    rows = np.arange(min(len(X), len(Y)))
    left, right = problem.pairs.T if len(problem.pairs) else (rows, rows)
    with record.stage("map", steps=3):
        for i in range(3):
            if record.step(objective=float(i)):
                break
    W = polar(X[left].T @ Y[right])
    whitened = problem.settings.mapping == "whitened"
    return Outcome(
        W=2 * W if whitened else W,
        inverse_W=W.T / 2 if whitened else W.T,
        initial_W=W,
        refine1_W=W,
        expected_cosine=1.0,  # exact copies
        expected_top1=Top1(1.0, 0.9, 1.0),
        verdict=Verdict(0.75, "reliable", []),
    )


def install(monkeypatch=None):
    """Make ``align`` use this ``solve``, for one test or for a whole process; returns the module it is in."""
    module = SimpleNamespace(solve=solve)
    if monkeypatch is None:
        sys.modules["minivec.algorithm.solver"] = module
    else:
        monkeypatch.setitem(sys.modules, "minivec.algorithm.solver", module)
    return module


def spaces(dA=16, dB=16, rows=400, seed=0):
    """Unit rows of two spaces, row by row the same but for a rotation and a mean of its own in each."""
    rng = np.random.default_rng(seed)
    Z = unit(rng.standard_normal((rows, min(dA, dB))))

    def place(width):
        rotation = np.linalg.qr(rng.standard_normal((width, width)))[0]
        mean = 0.7 * unit(rng.standard_normal((1, width)))
        return unit(Z @ rotation[: Z.shape[1]] + mean).astype(np.float32)

    return place(dA), place(dB)
