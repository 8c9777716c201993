"""The residual MLP of Drift-Adapter (arXiv 2509.23471), on known pairs.

Drift-Adapter has three maps. Orthogonal Procrustes is ``polar``, and the low-rank affine map is ``low_rank`` in closed
form, both in ``minivec.algorithm.procrustes``. From the paper are the three maps and that they learn from pairs. Ours
are the sizes, the training and the start: the residual is that of Procrustes on the same pairs, because two encoders,
unlike two versions of one, share no axes. Where the widths differ, Procrustes is semi-orthogonal.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from minivec.algorithm.procrustes import polar

HIDDEN = 256  # units of the one hidden layer
RATE, DECAY, BATCH = 1e-3, 1e-2, 256  # of AdamW
STEPS = 10_000  # at most
CHECK, PATIENCE = 50, 20  # steps between two looks at the held-out tenth; looks without a lower error that end it all
Weights = dict[str, jax.Array]


def residual_mlp(X: np.ndarray, Y: np.ndarray, seed: int) -> Callable[[np.ndarray], np.ndarray]:
    """The map x Q + GELU(x U + u) V + v of framed rows ``X`` (m, dA) to their partners ``Y`` (m, dB).

    Q is the Procrustes map of nine tenths of them. V starts at zero and AdamW lowers the mean squared error. The
    weights with the lowest error of the last tenth are kept.
    """
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(X))
    held, rest = order[: max(1, len(X) // 10)], order[max(1, len(X) // 10) :]
    Q = jnp.asarray(polar(X[rest].T @ Y[rest]), jnp.float32)
    U = rng.standard_normal((X.shape[1], HIDDEN), np.float32) / np.sqrt(X.shape[1])
    zeros = {"u": (HIDDEN,), "V": (HIDDEN, Y.shape[1]), "v": (Y.shape[1],)}
    weights: Weights = {"U": jnp.asarray(U), **{name: jnp.zeros(shape) for name, shape in zeros.items()}}
    first, second = (jax.tree.map(jnp.zeros_like, weights) for _ in range(2))
    error = jax.jit(lambda w, x, y: jnp.mean((_apply(w, Q, x) - y) ** 2))
    lowest, best, since = float(error(weights, X[held], Y[held])), weights, 0
    for step in range(1, STEPS + 1):
        rows = rng.choice(rest, BATCH, replace=len(rest) < BATCH)
        weights, first, second = _adamw((weights, first, second), Q, X[rows], Y[rows], step)
        if step % CHECK == 0:
            now = float(error(weights, X[held], Y[held]))
            lowest, best, since = (now, weights, 0) if now < lowest else (lowest, best, since + 1)
            if since == PATIENCE:
                break
    return lambda rows: np.asarray(_apply(best, Q, jnp.asarray(rows, jnp.float32)))


def _apply(weights: Weights, Q: jax.Array, x: jax.Array) -> jax.Array:
    return x @ Q + jax.nn.gelu(x @ weights["U"] + weights["u"]) @ weights["V"] + weights["v"]


@jax.jit
def _adamw(
    state: tuple[Weights, Weights, Weights], Q: jax.Array, x: jax.Array, y: jax.Array, step: int
) -> tuple[Weights, Weights, Weights]:
    """One step: the weights and the two moments of their gradient."""
    weights, first, second = state
    gradient = jax.grad(lambda w: jnp.mean(jnp.sum((_apply(w, Q, x) - y) ** 2, 1)))(weights)
    first = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, first, gradient)
    second = jax.tree.map(lambda m, g: 0.999 * m + 0.001 * g**2, second, gradient)

    def moved(w: jax.Array, m: jax.Array, s: jax.Array) -> jax.Array:
        direction = m / (1 - 0.9**step) / (jnp.sqrt(s / (1 - 0.999**step)) + 1e-8)
        return w - RATE * (direction + DECAY * w)

    return jax.tree.map(moved, weights, first, second), first, second
