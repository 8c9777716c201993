"""How surely vectors of a wrong space are recognised, and how often right ones are refused.

    python -m benchmarks.wrong_space [--data DIR] [--json FILE]

Six encoders, three of texts and three of pictures, all in 384 dimensions: what is wider is cut by random orthonormal
directions. A signature is made of each encoder's rows of one corpus, and batches of 1 to 1,000 rows are judged by it:
the same encoder's (held-out rows of that corpus; other corpora, one in French) and every other encoder's, as they are
and turned at random; noise; and rows that a map between two of the encoders has mapped. Then columns of one encoder's
rows, and of two encoders' rows, are told apart (`minivec doctor`). The pictures' encoders are
compared at their own 1,280 dimensions too. ``--data DIR`` takes ``*_NAME.npz`` files of 8-bit rows for the glosses.
"""

import argparse
import itertools
import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from benchmarks.encoders import embeddings
from benchmarks.peers import load
from benchmarks.pictures import KINDS, VERSIONS, pictures
from minivec.algorithm.procrustes import polar
from minivec.frame import Frame, unit
from minivec.map import LinearMap
from minivec.moving.mixture import second_model
from minivec.signature import Signature, placed

WIDTH = 384
FIT, TEST = 8_000, 1_000
TEXTS = ("e5", "minilm", "use")
OTHER_TEXTS = {"prose": 1_000, "french-words": 1_000, "french-documentation": 400}  # rows
SIZES = (1, 3, 10, 30, 100, 1_000)
BATCHES = 200  # drawn of each size
COLUMN = 4_000  # rows of a column that the doctor looks at
TURNS, TURNED = 20, 300  # random rotations of each wrong space, and of how many rows
# Looked at before the constants of minivec.signature were chosen. What is not among them is held out.
SEEN = {
    *itertools.product(TEXTS, ("glosses", "french-words")),
    *itertools.product(("e5", "minilm"), ("prose",)),
    *itertools.product(("lite0", "lite1"), KINDS),
}


class Case(NamedTuple):
    """Rows beside a signature: whose they are, of which space (the right verdict), and whether they were seen."""

    signature: str
    rows: str
    kind: str
    seen: bool
    X: np.ndarray


def spaces(data: Path | None) -> dict[str, dict[str, np.ndarray]]:
    """By encoder and corpus: the fit's rows, under "fit", and the rows that are judged."""
    result: dict[str, dict[str, np.ndarray]] = {}
    for name in TEXTS:
        glosses = load(name, data, "glosses", FIT + TEST)
        result[name] = {"fit": glosses[:FIT], "glosses": glosses[FIT:]}
        result[name] |= {corpus: embeddings(corpus, name, rows) for corpus, rows in OTHER_TEXTS.items()}
    for version in VERSIONS:
        emoji = pictures("emoji", version)
        result[f"lite{version}"] = {"fit": emoji[:800], "emoji": emoji[800:]}
        result[f"lite{version}"] |= {kind: pictures(kind, version) for kind in KINDS[1:]}
    return result


def cut(parts: dict[str, np.ndarray], rng: np.random.Generator) -> dict[str, np.ndarray]:
    """The rows of one encoder in WIDTH dimensions."""
    width = parts["fit"].shape[1]
    basis = np.linalg.qr(rng.standard_normal((width, WIDTH)))[0].astype(np.float32)
    return parts if width == WIDTH else {name: X @ basis for name, X in parts.items()}


def cases(encoders: dict[str, dict[str, np.ndarray]], rng: np.random.Generator) -> Iterator[Case]:
    """Every encoder's rows beside every encoder's signature."""
    width = next(iter(encoders.values()))["fit"].shape[1]
    turns = [np.linalg.qr(rng.standard_normal((width, width)))[0].astype(np.float32) for _ in range(TURNS)]
    for own, name in itertools.product(encoders, encoders):
        for corpus, X in encoders[name].items():
            if corpus == "fit":
                continue
            seen = (name, corpus) in SEEN and (own in TEXTS or own in ("lite0", "lite1"))
            if own == name:
                held = "its corpus" if corpus in ("glosses", "emoji") else "other corpora"
                yield Case(own, f"{name} {corpus}", f"right, {held}", seen, X)
                continue
            yield Case(own, f"{name} {corpus}", "wrong", seen, X)
            for turn in turns:
                yield Case(own, f"{name} {corpus}, turned", "wrong, turned", False, X[:TURNED] @ turn)
    for own in encoders:
        X = next(X for corpus, X in encoders[own].items() if corpus != "fit")
        yield Case(own, "noise", "noise", False, rng.standard_normal(X.shape).astype(np.float32))
        yield Case(own, "shuffled", "noise", False, rng.permuted(X, axis=1))


def mapped(encoders: dict[str, dict[str, np.ndarray]]) -> Iterator[Case]:
    """Rows that a map has mapped already, beside the signature of where the map leads from."""
    for own, other in itertools.permutations(TEXTS, 2):
        A, B = encoders[own], encoders[other]
        source, target = Frame.of(A["fit"]), Frame.of(B["fit"])
        W = polar(source.apply(A["fit"]).T @ target.apply(B["fit"])).astype(np.float32)
        bridge = LinearMap.between(source, target, W=W, inverse_W=W.T, expected_cosine=0.7)
        for corpus, X in A.items():
            if corpus != "fit":
                yield Case(own, f"{own} {corpus} mapped to {other}", "mapped already", False, bridge(X))


def judged(case: Case, signatures: dict[str, Signature], rng: np.random.Generator) -> Iterator[tuple[int, str]]:
    """The verdict of each batch: its rows and "own", "other", "foreign" or "unknown", as ``recognise`` gives it."""
    target = case.rows.rpartition("mapped to ")[2] if case.kind == "mapped already" else case.rows.split(" ")[0]
    own, other = signatures[case.signature], signatures.get(target)
    U = unit(case.X)
    here = own.levels(U)
    there = None if other is None or target == case.signature or case.kind == "wrong, turned" else other.levels(U)
    for size in SIZES:
        if size <= len(case.X):
            for _ in range(1 if size == len(case.X) else BATCHES // (TURNS if case.kind == "wrong, turned" else 1)):
                rows = rng.choice(len(case.X), size, replace=False)
                space = placed(here[rows], own)
                if there is not None and space != "own" and placed(there[rows], other) == "own":
                    space = "other"
                yield size, space


def columns(
    encoders: dict[str, dict[str, np.ndarray]], rng: np.random.Generator
) -> Iterator[tuple[str, np.ndarray, int]]:
    """What is in one column: whose rows, the rows, and how many are another encoder's."""
    for name in TEXTS:
        parts = encoders[name]
        others = [X for corpus, X in parts.items() if corpus != "fit"]
        yield f"{name}, one corpus", parts["fit"][:COLUMN], 0
        yield f"{name}, four corpora", np.concatenate(others), 0
        for X in others[1:]:
            for n in (len(X) // 10, len(X)):
                yield f"{name}, two corpora", np.concatenate([parts["fit"][:3_000], X[:n]]), 0
    for one, other in itertools.permutations(TEXTS, 2):
        for share in (0.01, 0.1, 0.5):
            n = int(COLUMN * share)
            X = np.concatenate([encoders[one]["fit"][: COLUMN - n], encoders[other]["fit"][COLUMN : COLUMN + n]])
            yield f"{one} and {share:.0%} of {other}", X, n


def doctored(encoders: dict[str, dict[str, np.ndarray]], rng: np.random.Generator) -> str:
    """What ``second_model`` says of columns of one encoder and of two."""
    lines = ["| column | rows | two models | rows judged right |", "| --- | --- | --- | --- |"]
    for name, X, n in columns(encoders):
        order = rng.permutation(len(X))
        true, second = order >= len(X) - n, second_model(X[order])
        right = "" if second is None or not n else f"{max((second == true).mean(), (second != true).mean()):.2%}"
        lines.append(f"| {name} | {len(X):,} | {'no' if second is None else 'yes'} | {right} |")
    return "\n".join(lines)


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--json", type=Path, help="write the counts of every case here")
    args = parser.parse_args()
    rng = np.random.default_rng(0)
    whole = spaces(args.data)
    small = {name: cut(parts, rng) for name, parts in whole.items()}
    large = {name: parts for name, parts in whole.items() if name.startswith("lite")}
    counts: dict[tuple[str, str], dict[int, Counter[str]]] = {}
    found = []
    for encoders, with_maps in ((small, True), (large, False)):
        signatures = {name: Signature.of(parts["fit"]) for name, parts in encoders.items()}
        for case in itertools.chain(cases(encoders, rng), mapped(encoders) if with_maps else ()):
            by_size: dict[int, Counter[str]] = {}
            row = counts.setdefault((case.kind, "seen" if case.seen else "held out"), {})
            for size, space in judged(case, signatures, rng):
                by_size.setdefault(size, Counter())[space] += 1
                row.setdefault(size, Counter())[space] += 1
            found.append({**case._asdict(), "X": case.X.shape, "counts": by_size})
    print(table(counts), doctored(small, rng), sep="\n\n")
    if args.json:
        args.json.write_text(json.dumps(found, indent=1))


def table(counts: dict[tuple[str, str], dict[int, Counter[str]]]) -> str:
    """By kind of rows and size of batch: the share that is refused, and behind it the share that is left open."""
    lines = [
        f"| rows | | batches | {' | '.join(f'{size:,}' for size in SIZES)} |",
        f"| --- | --- | --- | {' | '.join('---' for _ in SIZES)} |",
    ]
    for (kind, part), by_size in sorted(counts.items()):
        cells = []
        for size in SIZES:
            verdicts = by_size.get(size, Counter())
            n = max(verdicts.total(), 1)
            refused, left = (verdicts["other"] + verdicts["foreign"]) / n, verdicts["unknown"] / n
            cells.append(f"{refused:.2%} ({left:.1%})" if verdicts else "")
        lines.append(f"| {kind} | {part} | {sum(c.total() for c in by_size.values()):,} | {' | '.join(cells)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
