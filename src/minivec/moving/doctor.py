"""What is wrong with the vectors of a store, by a look at some of them: nothing is changed."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from minivec.map import LinearMap
from minivec.moving.mixture import second_model
from minivec.settings import whole_number
from minivec.signature import recognise
from minivec.stores import Store, open_store
from minivec.stores.blocks import absent, fetch_all
from minivec.validation import constant, drawn, not_finite

ROWS = 20_000  # that are looked at where no number is given
NAMED = 10  # keys that stand for many
LEVELS = (0.0, 0.5, 1.0)  # of the quantiles of lengths


@dataclass(frozen=True)
class Checkup:
    """What ``doctor`` saw.

    - ``store``, its ``rows`` and their ``width``; ``looked_at``: the rows that were looked at, drawn uniformly
    - ``missing``: of these, rows without a vector; ``not_finite``: with NaN or infinity; ``constant``: of one repeated
      value, as zero; ``duplicates``: with the vector of another row looked at
    - ``lengths``: the least, the median and the largest of the others
    - ``second_model``: the share of rows, from 0 to 0.5, that another model made than most, 0 for one model;
      ``second_model_keys`` are the first of them
    - ``space``: beside an aligner, of which of its spaces the rows are: "own", "other" (the target's), "foreign" or
      "unknown"
    - ``problems`` and ``notes``: what to do something about, and what to know, a sentence each
    """

    store: str
    rows: int
    width: int
    looked_at: int
    missing: int
    not_finite: int
    constant: int
    duplicates: int
    lengths: tuple[float, ...]
    second_model: float
    second_model_keys: tuple[Any, ...]
    space: str | None
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def healthy(self) -> bool:
        """Whether there are no problems."""
        return not self.problems


def doctor(store: Any, aligner: Any = None, rows: int = ROWS, seed: int = 0) -> Checkup:
    """Look at ``rows`` random rows, or all if there are fewer, of a store (a Store, a URL or a path); change nothing.

    ``aligner``, an aligned model or a ``LinearMap``, tells what the vectors should look like. Memory holds the keys and
    the rows that are looked at. Raises ValueError and StoreError where the store cannot be read.
    """
    rows = whole_number("rows", rows, 1)
    bridge = None if aligner is None else LinearMap.of(aligner)
    with open_store(store) as opened:
        opened.skip_nulls = True
        width, count = opened.schema().width, opened.count()
        keys, X, missing = _drawn(opened, rows, whole_number("seed", seed, 0))
        checkup = _seen(str(opened), count=count, width=width, keys=keys, X=X, missing=missing, bridge=bridge)
        if opened.told:
            checkup.notes.append(opened.told)
        return checkup


def _drawn(store: Store, rows: int, seed: int) -> tuple[Sequence[Any], np.ndarray, np.ndarray]:
    """The keys (m), the vectors (m, d), and which rows (m,) have none, of a uniform sample, in key order."""
    every = store.keys()
    chosen = [every[i] for i in drawn(len(every), rows, seed)]
    keys: list[Any] = []
    vectors, missing = [np.zeros((0, store.schema().width), np.float32)], [np.zeros(0, bool)]
    for block in fetch_all(store, chosen, payload=False):
        keys += list(block.keys)
        vectors.append(block.vectors)
        missing.append(absent(block))
    return keys, np.concatenate(vectors), np.concatenate(missing)


def _seen(
    name: str,
    *,
    count: int,
    width: int,
    keys: Sequence[Any],
    X: np.ndarray,
    missing: np.ndarray,
    bridge: LinearMap | None,
) -> Checkup:
    """What there is to say of rows that were drawn."""
    broken = np.zeros(len(X), bool)
    broken[not_finite(X)] = True
    flat = np.zeros(len(X), bool)
    flat[constant(X)] = True
    broken, flat = broken & ~missing, flat & ~missing
    good = np.flatnonzero(~(missing | broken | flat))
    vectors = X[good]
    lengths = np.linalg.norm(vectors.astype(np.float64), axis=1)
    second = second_model(vectors) if len(vectors) else None
    found = good[:0] if second is None else good[second]
    verdict = None
    if bridge is not None and bridge.signatures is not None and bridge.shape[0] == width:
        verdict = recognise(vectors, *bridge.signatures)
    checkup = Checkup(
        store=name,
        rows=count,
        width=width,
        looked_at=len(X),
        missing=int(missing.sum()),
        not_finite=int(broken.sum()),
        constant=int(flat.sum()),
        duplicates=len(vectors) - len({row.tobytes() for row in vectors}),
        lengths=tuple(float(q) for q in np.quantile(lengths, LEVELS)) if len(lengths) else (),
        second_model=len(found) / max(len(vectors), 1),
        second_model_keys=tuple(keys[i] for i in found[:NAMED]),
        space=None if verdict is None else verdict.space,
    )
    checkup.problems.extend(_problems(checkup, bridge, [keys[i] for i in np.flatnonzero(broken)[:NAMED]]))
    checkup.notes.extend(_notes(checkup, "" if verdict is None else verdict.note))
    return checkup


def _problems(checkup: Checkup, bridge: LinearMap | None, broken: Sequence[Any]) -> list[str]:
    """What to do something about."""
    problems = []
    if not checkup.rows:
        problems.append("it is empty")
    if checkup.not_finite:
        problems.append(f"{checkup.not_finite:,} rows have NaN or infinity: {_named(broken, checkup.not_finite)}")
    if checkup.second_model:
        number = round(checkup.second_model * (checkup.looked_at - checkup.missing))
        problems.append(
            f"vectors of two models: {1 - checkup.second_model:.1%} of one and {checkup.second_model:.1%} of another, "
            f"as of the rows {_named(checkup.second_model_keys, number)}"
        )
    if bridge is not None and bridge.shape[0] != checkup.width:
        problems.append(f"{checkup.width} dimensions where the aligner takes {bridge.shape[0]}")
    if checkup.space == "other":
        problems.append(
            "these look like vectors of the aligner's target space: use --inverse, or they are mapped already"
        )
    if checkup.space == "foreign":
        problems.append("these do not look like vectors of either space of the aligner: another model made them")
    return problems


def _notes(checkup: Checkup, lengths: str) -> list[str]:
    """What to know, with what there is to say of ``lengths``."""
    notes = [f"{lengths}; lengths do not matter to the aligner"] if lengths else []
    if checkup.missing:
        notes.append(f"{checkup.missing:,} rows have no vector; --skip-nulls keeps them so")
    if checkup.constant:
        notes.append(f"{checkup.constant:,} rows are zero or one repeated value; --skip-bad-rows passes over them")
    if checkup.duplicates:
        notes.append(f"{checkup.duplicates:,} rows have the vector of another row")
    if checkup.space == "unknown":
        notes.append("too few rows to tell whether they are of the aligner's space")
    return notes


def _named(keys: Sequence[Any], number: int) -> str:
    return ", ".join(map(str, keys)) + (", ..." if number > len(keys) else "")
