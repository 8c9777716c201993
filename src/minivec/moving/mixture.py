"""Whether rows come from two models, found without labels."""

import numpy as np

from minivec.frame import directions as scaled_to_1
from minivec.signature import LEAST, Signature, placed

ROWS = 4_000  # that a group grows in, at most; the others are judged by its signature
STARTS = 6  # random rows that groups grow from
NEIGHBOURS = 100  # of such a row, which the group begins with
ROUNDS = 12
PART = 0.5  # of the level of a group's own rows: what lies above it joins the group
SETTLED = 0.005  # of the rows: a group that grows by less has ended
FEWEST = 12  # rows that make a second model
MANY = 300  # rows that can judge the others in turn


def second_model(X: np.ndarray) -> np.ndarray | None:
    """Which rows (n,) another model made than most, of raw rows (n, d), finite and not zero; None for one model.

    A group grows from the neighbours of a random row: what looks like the group (``Signature``) joins it. In the rows
    of one model, of any subjects and languages, it ends with nearly all of them. In those of two it ends with one
    model's, and the others lie in its leading directions by chance alone.
    """
    U = scaled_to_1(np.asarray(X, np.float32))
    if len(U) < 4 * FEWEST:
        return None
    rng = np.random.default_rng(0)
    drawn = U if len(U) <= ROWS else U[np.sort(rng.choice(len(U), ROWS, replace=False))]
    for row in rng.choice(len(drawn), min(STARTS, len(drawn)), replace=False):
        signature = _grown(drawn, int(row))
        if signature.tells:
            levels = signature.levels(U)
            rest = levels < signature.bounds(len(U))[0]
            if _is_foreign(U, rest, levels, signature):
                return rest if rest.mean() <= 0.5 else ~rest
    return None


def _grown(U: np.ndarray, row: int) -> Signature:
    """The signature of the group of unit rows that grows from the neighbours of a row."""
    cosines = U @ U[row]
    near = min(NEIGHBOURS, len(U) // 4)
    group = cosines >= np.partition(cosines, -near)[-near]
    for _ in range(ROUNDS):
        signature = Signature.of(U[group])
        before, group = group, signature.levels(U) > max(LEAST, PART * signature.typical)
        if group.sum() < FEWEST or abs(before.mean() - group.mean()) < SETTLED:
            break
    return signature


def _is_foreign(U: np.ndarray, rest: np.ndarray, levels: np.ndarray, signature: Signature) -> bool:
    """Whether the rows outside a group are another model's, rather than the least typical ones of the same model.

    Of these most lie near the bound. Many rows judge the group in turn.
    """
    least = signature.bounds(len(U))[0]
    if rest.sum() < FEWEST or np.median(levels[rest]) > least / 2:
        return False
    if rest.sum() < MANY:
        return True
    other = Signature.of(U[rest])
    return not other.tells or placed(other.levels(U[~rest]), other) == "foreign"
