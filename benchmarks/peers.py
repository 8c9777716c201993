"""minivec beside its peers on real encoders, in one run: ``python -m benchmarks.peers --json FILE --plots DIR``.

- ``auto``, ``paper``: the presets of ``MiniVec2VecAligner.align``
- ``mini-vec2vec``: the package of that name on PyPI, with its defaults (its random numbers seeded)
- ``gromov-wasserstein``: POT's entropic plan between samples of both sides, then Procrustes on its barycentric targets
- ``supervised N``: Procrustes on N true pairs; with N the rows a side it is the ceiling

Rows of one encoder against *other* rows of the other, A rotated at random. Every fit has a process of its own, so that
the seconds (of the fit alone) and the peak memory (of the process, libraries included; Linux tells) are its own; peers
have virtual environments of their own, made on first use. The maps are scored alike, on the same held-out pairs,
between rows centred by the means of the unpaired ones. A range is over seeds.

minivec's settings were chosen on glosses in E5, MiniLM and USE. mpnet and prose had no part in it, but for how far
halves must agree: rows of the table that have one of them say "held out". ``--data DIR`` takes ``*_NAME.npz`` files of
8-bit rows (arrays ``q`` and ``s``), row i of each the same text; without it the embeddings are made by
``benchmarks.encoders``. With ``--json FILE`` a run that was interrupted, or asks for more, goes on with what FILE has.
"""

import argparse
import itertools
import json
import os
import re
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.encoders import embeddings, environment
from minivec.algorithm.procrustes import polar
from minivec.frame import Frame, unit

ROOT = Path(__file__).parents[1]
CHOSEN_ON = {"e5", "minilm", "use"}, {"glosses"}  # encoders, corpora
PAIRS = (100, 1_000, 10_000)  # of "supervised"
LIMIT = 3_600  # seconds for one fit
GW_ROWS, GW_EPSILON, GW_STEPS = 1_000, 1e-3, 60  # time grows with the rows' cube; the best of five tried
COLUMNS = {  # heading: the figure, its digits
    "top-1": ("top1_accuracy", 3),
    "of ceiling": ("share", 2),
    "CSLS top-1": ("csls_top1_accuracy", 3),
    "mean rank": ("mean_rank", 1),
    "confidence": ("confidence", 2),
    "s": ("seconds", 1),
    "MB": ("peak_mb", 0),
}
Key = tuple[str, str, int]  # "one -> other", method, seed
Figures = dict[str, Any]
Fit = Callable[[np.ndarray, np.ndarray, np.ndarray, int], tuple[np.ndarray, Figures]]
"""Raw rows of A (n, dA), of B (m, dB), A's true partners (n, dB), seed -> the map (dA, dB) of framed rows, and more."""


def _preset(preset: str) -> Fit:
    import minivec.algorithm.solver  # noqa: F401  which align would import
    from minivec import AlignmentWarning, MiniVec2VecAligner

    warnings.simplefilter("ignore", AlignmentWarning)

    def fit(A: np.ndarray, B: np.ndarray, partners: np.ndarray, seed: int) -> tuple[np.ndarray, Figures]:
        history = MiniVec2VecAligner(A.shape[1]).align(A, B, preset=preset, seed=seed)
        return history["final_W"], {name: history[name] for name in ("confidence", "verdict")}

    return fit


def _mini_vec2vec() -> Fit:
    from mini_vec2vec import MiniVec2Vec

    warnings.simplefilter("ignore", UserWarning)  # that it pads the narrower space

    def fit(A: np.ndarray, B: np.ndarray, partners: np.ndarray, seed: int) -> tuple[np.ndarray, Figures]:
        assignment = {"method": "2opt", "options": {"maximize": True, "rng": np.random.default_rng(seed)}}
        model = MiniVec2Vec().fit(A, B, random_seed=seed, verbose=False, quadratic_assignment_kwargs=assignment)
        return model.W[: A.shape[1], : B.shape[1]], {}

    return fit


def _gromov_wasserstein() -> Fit:
    from ot.gromov import entropic_gromov_wasserstein

    warnings.simplefilter("ignore", UserWarning)  # that a step's Sinkhorn ended before it converged

    def fit(A: np.ndarray, B: np.ndarray, partners: np.ndarray, seed: int) -> tuple[np.ndarray, Figures]:
        rng = np.random.default_rng(seed)
        X, Y = (Frame.of(rows).apply(rng.permutation(rows)[:GW_ROWS]).astype(np.float64) for rows in (A, B))
        plan = entropic_gromov_wasserstein(1 - X @ X.T, 1 - Y @ Y.T, epsilon=GW_EPSILON, max_iter=GW_STEPS)
        return polar(X.T @ plan @ Y), {}

    return fit


def _supervised(pairs: int) -> Fit:
    def fit(A: np.ndarray, B: np.ndarray, partners: np.ndarray, seed: int) -> tuple[np.ndarray, Figures]:
        chosen = np.random.default_rng(seed).permutation(len(A))[:pairs]
        source, target = Frame.of(A), Frame.of(B)
        return polar(source.apply(A[chosen]).T @ target.apply(partners[chosen])), {}

    return fit


@dataclass(frozen=True)
class Method:
    """How to load a fit, and what its own environment needs; without packages it runs in this one."""

    load: Callable[..., Fit]
    packages: tuple[str, ...] = ()
    alone: tuple[str, ...] = ()


METHODS = {
    "supervised": Method(_supervised),
    "auto": Method(partial(_preset, "auto")),
    "paper": Method(partial(_preset, "paper")),
    "mini-vec2vec": Method(
        _mini_vec2vec,
        ("wrapt", "scikit-learn==1.8.0", "scipy==1.17.1", "tqdm"),
        ("mini-vec2vec==0.1.2",),  # asks for Python 3.12, runs on 3.11
    ),
    "gromov-wasserstein": Method(_gromov_wasserstein, ("wrapt", "POT==0.9.7.post1")),
}


def load(name: str, data: Path | None, corpus: str, rows: int) -> np.ndarray:
    """The first ``rows`` embeddings (rows, d) of an encoder, float32; ValueError where there are fewer."""
    if data is None:
        return embeddings(corpus, name, rows)
    (path,) = data.glob(f"*_{name}.npz")
    with np.load(path) as file:
        X = file["q"][:rows].astype(np.float32) * file["s"][:rows, None]
    if len(X) < rows:
        raise ValueError(f"{path} has {len(X):,} rows, fewer than the {rows:,} asked for")
    return X


def data_options(parser: argparse.ArgumentParser, spaces: str) -> None:
    """Options for what ``load`` and ``directed`` take; the directed pairs of encoders are named by ``spaces``."""
    parser.add_argument("--data", type=Path)
    parser.add_argument("--corpus", default="glosses")
    parser.add_argument("--encoders", nargs="+", default=["e5", "minilm", "use"])
    parser.add_argument(spaces, nargs="+", metavar="ONE:OTHER", help="directed pairs; without them all")


def directed(spaces: list[str] | None, encoders: list[str]) -> list[tuple[str, str]]:
    """The encoders of A and of B: those given as ONE:OTHER, or all directed pairs."""
    if not spaces:
        return list(itertools.permutations(encoders, 2))
    return [(one, other) for one, other in (names.split(":") for names in spaces)]


def memory_mb(field: str) -> float | None:
    """A ``field`` of this process's status, in MiB, if the system tells: VmHWM is the most memory it has held.

    Not ru_maxrss: on Linux a process inherits the peak of the one that started it.
    """
    status = Path("/proc/self/status")
    held = re.search(rf"{field}:\s+(\d+)", status.read_text() if status.exists() else "")
    return int(held[1]) / 1024 if held else None


def sides(test: int, rows: int) -> tuple[slice, slice, slice]:
    """Which rows of a corpus are held-out pairs, A's side and B's side; A's encoder needs none of the last."""
    return slice(test), slice(test, test + rows), slice(test + rows, test + 2 * rows)


def prepare(pair: tuple[str, str], args: argparse.Namespace, folder: Path) -> Callable[[np.ndarray], Figures]:
    """Write the rows that fits read into ``folder``; return what scores a map of framed rows."""
    from minivec import evaluate_alignment

    held, first, second = sides(args.test, args.rows)
    A = load(pair[0], args.data, args.corpus, first.stop)
    A = A @ polar(np.random.default_rng(0).standard_normal((A.shape[1],) * 2))
    B = load(pair[1], args.data, args.corpus, second.stop)
    for name, rows in (("A", A[first]), ("B", B[second]), ("partners", B[first])):
        np.save(folder / f"{name}.npy", rows)
    source, target = Frame.of(A[first]), Frame.of(B[second])
    held_A, held_B = A[held], target.apply(B[held])
    return lambda W: evaluate_alignment(lambda X: unit(source.apply(X) @ W), held_A, held_B)


def work(method: str, seed: int, folder: Path) -> None:
    """Fit what ``prepare`` wrote, in this process; write the map and the figures beside it."""
    name, *numbers = method.split()
    fit = METHODS[name].load(*map(int, numbers))
    A, B, partners = (np.load(folder / f"{rows}.npy") for rows in ("A", "B", "partners"))
    start, cpu = time.perf_counter(), time.process_time()
    W, found = fit(A, B, partners, seed)
    times = {"seconds": time.perf_counter() - start, "cpu_seconds": time.process_time() - cpu}
    if not np.isfinite(W).all():
        raise ValueError(f"{method} returned a map with NaN or infinity")
    np.save(folder / "W.npy", W)
    (folder / "figures.json").write_text(json.dumps({**times, "peak_mb": memory_mb("VmHWM"), **found}))


def measure(method: str, seed: int, folder: Path, score: Callable[[np.ndarray], Figures]) -> Figures:
    """The figures of one fit in a process of its own, or why it ``failed``."""
    needs = METHODS[method.split()[0]]
    python = environment(method, needs.packages, needs.alone) if needs.packages else sys.executable
    command = [str(python), "-m", "benchmarks.peers", "--worker", method, str(seed), str(folder)]
    try:
        paths = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
        subprocess.run(command, cwd=ROOT, env=paths, check=True, timeout=LIMIT, stdout=subprocess.DEVNULL)
    except subprocess.TimeoutExpired:
        return {"failed": f"no result in {LIMIT:,} s"}
    except subprocess.CalledProcessError as error:
        return {"failed": f"exit status {error.returncode}"}
    return {**json.loads((folder / "figures.json").read_text()), **score(np.load(folder / "W.npy"))}


def resume(path: Path | None, settings: Figures) -> dict[Key, Figures]:
    """What an earlier run left in the file, but for failures; ValueError if its settings were others."""
    if path is None or not path.exists():
        return {}
    found = json.loads(path.read_text())
    if found["settings"] != settings:
        raise ValueError(f"{path} is of other settings: {found['settings']}, not {settings}")
    runs = {(run.pop("pair"), run.pop("method"), run.pop("seed")): run for run in found["runs"]}
    return {key: run for key, run in runs.items() if "failed" not in run}


def save(path: Path, settings: Figures, runs: dict[Key, Figures]) -> None:
    """Write every figure, in one step: an interruption leaves the file as it was."""
    from minivec.files import replacing

    listed = [dict(zip(("pair", "method", "seed"), key, strict=True)) | run for key, run in runs.items()]
    with replacing(path) as part:
        part.write_text(json.dumps({"settings": settings, "runs": listed}, indent=1))


def table_row(label: str, method: str, runs: list[Figures], ceiling: float) -> str:
    """One line of the table, from the runs of a method over seeds."""
    good = [{**run, "share": run["top1_accuracy"] / ceiling} for run in runs if "failed" not in run]
    cells = [spread([run.get(figure) for run in good], digits) for figure, digits in COLUMNS.values()]
    failed = "".join(f" ({run['failed']})" for run in runs if "failed" in run)
    return f"| {label} | {method}{failed} | {' | '.join(cells)} |"


def spread(values: list[float | None], digits: int) -> str:
    """Lowest to highest of those known, as far as the digits tell them apart."""
    known = [value for value in values if value is not None and not np.isnan(value)]
    if not known:
        return "-"
    low, high = (f"{value:,.{digits}f}" for value in (min(known), max(known)))
    return low if low == high else f"{low} to {high}"


def main() -> None:
    """Print the table as Markdown, each row as soon as it is known."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    data_options(parser, "--pairs")
    parser.add_argument("--methods", nargs="+", default=list(METHODS), choices=METHODS, metavar="METHOD")
    parser.add_argument("--rows", type=int, default=10_904, help="rows a side")
    parser.add_argument("--test", type=int, default=8_192, help="held-out pairs")
    parser.add_argument("--seeds", type=int, default=3, help="of auto")
    parser.add_argument("--peer-seeds", type=int, default=1, help="of every other method")
    parser.add_argument("--json", type=Path, metavar="FILE", help="keeps every figure")
    parser.add_argument("--plots", type=Path, metavar="DIR", help="gets accuracy.png and cost.png")
    parser.add_argument("--worker", nargs=3, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.worker:
        work(args.worker[0], int(args.worker[1]), Path(args.worker[2]))
        return
    source = args.data.resolve().name if args.data else args.corpus
    settings = {"source": source, "rows": args.rows, "test": args.test}
    try:
        runs = resume(args.json, settings)
    except ValueError as error:
        parser.error(str(error))
    pairs = directed(args.pairs, args.encoders)
    numbers = [n for n in PAIRS if n < args.rows and "supervised" in args.methods]
    ceiling = f"supervised {args.rows}"  # always: the others are shares of it
    methods = [ceiling, *(f"supervised {n}" for n in numbers), *(m for m in args.methods if m != "supervised")]

    print("| pair | method |", " | ".join(COLUMNS), "|\n|", "--- | " * (len(COLUMNS) + 2), flush=True)
    for one, other in pairs:
        pair = f"{one} -> {other}"
        new = {one, other} - CHOSEN_ON[0] or (args.data is None and args.corpus not in CHOSEN_ON[1])
        keys = {m: [(pair, m, seed) for seed in range(args.seeds if m == "auto" else args.peer_seeds)] for m in methods}
        with tempfile.TemporaryDirectory() as name:
            if any(key not in runs for key in itertools.chain(*keys.values())):
                score = prepare((one, other), args, Path(name))
            for method in methods:
                for key in keys[method]:
                    if key not in runs:
                        runs[key] = measure(method, key[2], Path(name), score)
                        if args.json:
                            save(args.json, settings, runs)
                best = runs[keys[ceiling][0]].get("top1_accuracy", float("nan"))
                label = f"{pair} (held out)" if new else pair
                print(table_row(label, method, [runs[key] for key in keys[method]], best), flush=True)
    if args.plots:
        from benchmarks.plots import plot

        plot(runs, args.rows, args.plots)


if __name__ == "__main__":
    main()
