"""From raw rows to a map: the rows are checked, framed and sampled, a fit is run, and its history is written."""

from dataclasses import asdict
from typing import Any, NamedTuple

import numpy as np

from minivec.extras import missing
from minivec.frame import Frame
from minivec.history import recorded_data
from minivec.map import FORMULA, LinearMap
from minivec.record import Record
from minivec.settings import FEW_ROWS, FIT_ROWS, Settings, check_choice, outlook, resolve, whole_number
from minivec.signature import Signature, Signatures, recognise
from minivec.spaces import inverted, of_common
from minivec.validation import as_pairs, as_rows, drawn, frame_of


def fit_unpaired(
    XA: Any,
    XB: Any,
    settings: Settings,
    record: Record,
    *,
    pairs: Any = None,
    widths: tuple[int | None, int | None] = (None, None),
    versions: dict[str, str],
    spaces: dict[str, str | None],
) -> tuple[LinearMap, Any]:
    """The map from raw rows ``XA`` (nA, dA) to raw rows ``XB`` (nB, dB), not paired, and what the algorithm returned.

    ``widths`` are those that dA and dB must have, None for any. ``pairs`` (m, 2) are known pairs of row numbers.
    The history has ``versions`` and ``spaces``.
    """
    with record.stage("frame"):
        (XA, XB), (A, B), (source, target), pairs = _sides(XA, XB, widths, settings, pairs)
        X, Y, signatures = source.apply(A), target.apply(B), Signatures(Signature.of(A), Signature.of(B))

    rows = min(len(A), len(B))
    if settings.preset == "auto" and pairs is None and rows < FEW_ROWS:
        record.say(f"{rows:,} rows a side: {outlook(rows)}")

    from minivec.algorithm.problem import Problem
    from minivec.algorithm.solver import solve  # loads FAISS and SciPy, which a model that only maps can do without

    with record.stage("directions"):
        problem = Problem.of(X, Y, pairs, settings)
    result = solve(problem, record)
    facts = {
        "settings": asdict(settings),
        "pairs": 0 if pairs is None else len(pairs),
        "data": {"XA": recorded_data(XA), "XB": recorded_data(XB)},
        "versions": versions,
        "spaces": spaces,
    }
    return _map_of(result, (source, target), signatures, record, facts), result


def fit_paired(
    XA: Any,
    XB: Any,
    mapping: str,
    seed: int,
    record: Record,
    *,
    versions: dict[str, str],
    spaces: dict[str, str | None],
) -> LinearMap:
    """The map from raw rows ``XA`` (m, dA) to their partners ``XB`` (m, dB), as ``from_pairs`` describes it."""
    from minivec.algorithm import paired

    check_choice("mapping", mapping, paired.CLOSED_FORMS)
    seed = whole_number("seed", seed, 0)
    with record.stage("frame"):
        XA, XB = as_rows(XA, "XA", min_rows=paired.FEWEST), as_rows(XB, "XB", min_rows=paired.FEWEST)
        if len(XA) != len(XB):
            raise ValueError(f"XA and XB must be true pairs, row by row: XA has {len(XA)} rows, XB has {len(XB)}")
        source, target = frame_of(XA, "XA"), frame_of(XB, "XB")
        rows = drawn(len(XA), FIT_ROWS, seed)
        A, B = XA[rows], XB[rows]
        X, Y, signatures = source.apply(A), target.apply(B), Signatures(Signature.of(A), Signature.of(B))
    result = paired.fit(X, Y, mapping, seed, record)
    facts = {
        "settings": {"preset": "pairs", "mapping": mapping, "seed": seed, **result.chosen},
        "pairs": len(rows),
        "data": {"XA": recorded_data(XA), "XB": recorded_data(XB)},
        "versions": versions,
        "spaces": spaces,
        "held_out": result.held_out,
    }
    return _map_of(result, (source, target), signatures, record, facts)


class Common(NamedTuple):
    """Two maps into the space that both spaces share: of raw rows of A (n, dA), and of raw rows of B (n, dB).

    Both give rows of length 1 and k dimensions, to be compared with each other by cosine. ``source.save(path)`` and
    ``target.save(path)`` write them.
    """

    source: LinearMap
    target: LinearMap


def fit_common(bridge: LinearMap, XA: Any, XB: Any, seed: int, record: Record) -> Common:
    """The maps into the common space, from the map between the spaces and raw rows ``XA`` (nA, dA) and ``XB`` (nB, dB).

    The rows need be neither paired nor those of the fit. ValueError where they look like vectors of another space.
    """
    settings = resolve(seed=seed)
    with record.stage("frame"):
        _, (A, B), frames, _ = _sides(XA, XB, bridge.shape, settings)
        if bridge.signatures is not None:
            for name, rows, known in (("XA", A, bridge.signatures), ("XB", B, bridge.signatures.swapped())):
                verdict = recognise(rows, *known)
                if verdict.wrong:
                    raise ValueError(f"{name}: {verdict.cause}")

    from minivec.algorithm.common import common_directions
    from minivec.algorithm.problem import Problem

    with record.stage("directions"):
        problem = Problem.of(frames[0].apply(A), frames[1].apply(B), None, settings)
    directions = common_directions(problem, bridge.weights["W"], record)
    histories = bridge.history, inverted(bridge.history)
    return Common(*map(_into_common, frames, directions, (A, B), histories))


def _into_common(frame: Frame, directions: np.ndarray, rows: np.ndarray, history: dict[str, Any]) -> LinearMap:
    """The map of raw ``rows`` (n, d) into the common space, by its weighted directions (d, k); one direction only."""
    k = directions.shape[1]
    weights = {
        "source_mean": frame.mean,
        "target_mean": np.zeros(k),
        "target_norm": 1.0,
        "unit": FORMULA,
        "W": directions,
        "expected_cosine": 1.0,  # all of the common space's mean, which is zero
    }
    signatures = Signatures(Signature.of(rows), Signature.of(LinearMap(weights)(rows)))
    return LinearMap(weights, of_common(history), signatures=signatures)


def recorder(engine: str) -> type[Record]:
    """The record that runs a fit's independent work in this process ("local") or by Ray tasks ("ray")."""
    check_choice("engine", engine, ("local", "ray"))
    if engine == "local":
        return Record
    try:
        from minivec.distributed import TaskRecord
    except ImportError as error:
        raise missing("engine='ray' needs Ray", "ray") from error
    return TaskRecord


def _map_of(
    result: Any, frames: tuple[Frame, Frame], signatures: Signatures, record: Record, facts: dict[str, Any]
) -> LinearMap:
    """The map of a fit between its frames. Its history has the verdict, the course of the fit and the ``facts``."""
    history = {
        **asdict(result.verdict),
        "expected_cosine": result.expected_cosine,
        "expected_top1": None if result.expected_top1 is None else result.expected_top1._asdict(),
        "seconds": record.seconds,
        "steps": record.steps,
        "stopped": record.stopped,
        **facts,
    }
    fit = {name: getattr(result, name) for name in ("W", "inverse_W", "expected_cosine")}
    return LinearMap.between(*frames, **fit, history=history, signatures=signatures)


class _Sides(NamedTuple):
    """Checked raw rows of A and of B, those of them that a fit looks at, the frames, and known pairs of the latter."""

    whole: tuple[np.ndarray, np.ndarray]
    rows: tuple[np.ndarray, np.ndarray]
    frames: tuple[Frame, Frame]
    pairs: np.ndarray | None


def _sides(XA: Any, XB: Any, widths: tuple[int | None, int | None], settings: Settings, pairs: Any = None) -> _Sides:
    """Both sides of a fit; ``widths`` are those that they must have, None for any."""
    XA, XB = as_rows(XA, "XA", widths[0]), as_rows(XB, "XB", widths[1])
    settings.check_rows(len(XA), len(XB), XA.shape[1], XB.shape[1])
    pairs = None if pairs is None else as_pairs(pairs, len(XA), len(XB))
    frames = frame_of(XA, "XA"), frame_of(XB, "XB")
    rng = np.random.default_rng(settings.seed)
    rows_A, rows_B, pairs = _sample(len(XA), len(XB), pairs, settings.rows, rng)
    return _Sides((XA, XB), (XA[rows_A], XB[rows_B]), frames, pairs)


def _sample(
    nA: int, nB: int, pairs: np.ndarray | None, most: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """Rows of A and of B, in order, for a fit to look at, and where ``pairs`` are among them.

    At most ``most`` a side, drawn uniformly, and those of at most ``most`` pairs.
    """
    if pairs is not None and len(pairs) > most:
        pairs = pairs[rng.choice(len(pairs), most, replace=False)]
    chosen = []
    for side, n in enumerate((nA, nB)):
        rows = drawn(n, most, rng)
        chosen.append(rows if pairs is None else np.union1d(rows, pairs[:, side]))
    if pairs is not None:
        pairs = np.stack([np.searchsorted(rows, column) for rows, column in zip(chosen, pairs.T, strict=True)], 1)
    return chosen[0], chosen[1], pairs
