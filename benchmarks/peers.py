"""minivec beside its peers on real encoders, in one run: ``python -m benchmarks.peers --json FILE --plots DIR``.

``benchmarks.methods`` says what each method is. Rows of one encoder against *other* rows of the other, A rotated at
random. Every fit has a process of its own, so that the seconds (of the fit alone) and the peak memory (of the process,
libraries included; Linux tells) are its own; peers have virtual environments of their own, made on first use. The maps
are scored alike, on the same held-out pairs, between rows centred by the means of the unpaired ones. A range is over
seeds.

minivec's settings were chosen on glosses in E5, MiniLM and USE, and a few on prose in the same encoders. mpnet had no
part in it: rows of the table that have it say "held out". ``--data DIR`` takes ``*_NAME.npz`` files of 8-bit rows
(arrays ``q`` and ``s``), row i of each the same text; without it the embeddings are made by ``benchmarks.encoders``.
With ``--json FILE`` a run that was interrupted, or asks for more, goes on with what FILE has.
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
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.encoders import embeddings, environment
from benchmarks.methods import BY_PAIRS, METHODS
from minivec.algorithm.procrustes import polar
from minivec.frame import Frame, unit

ROOT = Path(__file__).parents[1]
CHOSEN_ON = "e5", "minilm", "use"  # the encoders
PAIRS = (100, 1_000, 10_000)  # of the methods BY_PAIRS
LIMIT = 14_400  # seconds for one fit
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


def data_options(parser: argparse.ArgumentParser, spaces: str, *, corpora: Sequence[str] = ()) -> None:
    """Options for what ``load`` and ``directed`` take; the directed pairs of encoders are named by ``spaces``.

    With ``corpora``, which are its default, there is an option for several corpora instead of one.
    """
    parser.add_argument("--data", type=Path)
    if corpora:
        parser.add_argument("--corpora", nargs="+", default=corpora)
    else:
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


def rotation(width: int, rng: np.random.Generator) -> np.ndarray:
    """A random orthogonal matrix (width, width), by which A is turned: encoders may share their axes."""
    return polar(rng.standard_normal((width, width)))


def sides(test: int, rows: int) -> tuple[slice, slice, slice]:
    """Which rows of a corpus are held-out pairs, A's side and B's side; A's encoder needs none of the last."""
    return slice(test), slice(test, test + rows), slice(test + rows, test + 2 * rows)


def prepare(pair: tuple[str, str], args: argparse.Namespace, folder: Path) -> Callable[[np.ndarray], Figures]:
    """``stage`` the rows of a directed pair of encoders."""
    held, first, second = sides(args.test, args.rows)
    A = load(pair[0], args.data, args.corpus, first.stop)
    B = load(pair[1], args.data, args.corpus, second.stop)
    return stage(folder, A[first], B[second], partners=B[first], held=(A[held], B[held]))


def stage(
    folder: Path, A: np.ndarray, B: np.ndarray, *, partners: np.ndarray, held: tuple[np.ndarray, np.ndarray]
) -> Callable[[np.ndarray], Figures]:
    """Write the rows that fits read into ``folder``, A's turned at random; return what scores the mapped held-out rows.

    ``partners`` are the rows of B's encoder for those of ``A``; ``held`` are true pairs.
    """
    from minivec import evaluate_alignment

    turn = rotation(A.shape[1], np.random.default_rng(0))
    for name, rows in (("A", A @ turn), ("B", B), ("partners", partners), ("held", held[0] @ turn)):
        np.save(folder / f"{name}.npy", rows)
    truth = Frame.of(B).apply(held[1])
    return lambda mapped: evaluate_alignment(unit, mapped, truth)


def work(method: str, seed: int, folder: Path) -> None:
    """Fit what ``prepare`` wrote, in this process; write the mapped held-out rows and the figures beside it."""
    name, *numbers = method.split()
    fit = METHODS[name].load(*map(int, numbers))
    A, B, partners, held = (np.load(folder / f"{rows}.npy") for rows in ("A", "B", "partners", "held"))
    start, cpu = time.perf_counter(), time.process_time()
    fitted, found = fit(A, B, partners, seed)
    times = {"seconds": time.perf_counter() - start, "cpu_seconds": time.process_time() - cpu}
    figures = {**times, "peak_mb": memory_mb("VmHWM"), **found}
    mapped = np.asarray(fitted(Frame.of(A).apply(held)), np.float32)
    if not np.isfinite(mapped).all():
        raise ValueError(f"{method} returned rows with NaN or infinity")
    np.save(folder / "mapped.npy", mapped)
    (folder / "figures.json").write_text(json.dumps(figures))


def variables() -> dict[str, str]:
    """Environment variables with which another interpreter finds minivec; it starts in ROOT, where benchmarks is."""
    return {**os.environ, "PYTHONPATH": str(ROOT / "src")}


def measure(method: str, seed: int, folder: Path, score: Callable[[np.ndarray], Figures]) -> Figures:
    """The figures of one fit in a process of its own, or why it ``failed``."""
    name = method.split()[0]
    needs = METHODS[name]
    python = environment(name, needs.packages, needs.alone) if needs.packages else sys.executable
    command = [str(python), "-m", "benchmarks.peers", "--worker", method, str(seed), str(folder)]
    try:
        subprocess.run(command, cwd=ROOT, env=variables(), check=True, timeout=LIMIT, stdout=subprocess.DEVNULL)
    except subprocess.TimeoutExpired:
        return {"failed": f"no result in {LIMIT:,} s"}
    except subprocess.CalledProcessError as error:
        return {"failed": f"exit status {error.returncode}"}
    return {**json.loads((folder / "figures.json").read_text()), **score(np.load(folder / "mapped.npy"))}


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


def main(arguments: Sequence[str] | None = None) -> None:
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
    args = parser.parse_args(arguments)
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
    numbers = [n for n in PAIRS if n < args.rows]
    ceiling = f"supervised {args.rows}"  # always: the others are shares of it
    methods = [ceiling, *(f"{name} {n}" for name in BY_PAIRS if name in args.methods for n in numbers)]
    methods += [name for name in args.methods if name not in BY_PAIRS]

    print("| pair | method |", " | ".join(COLUMNS), "|\n|", "--- | " * (len(COLUMNS) + 2), flush=True)
    for one, other in pairs:
        pair = f"{one} -> {other}"
        new = {one, other}.difference(CHOSEN_ON)
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
