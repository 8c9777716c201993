"""The command line: parsing and printing only. What takes long to import is imported where it is used."""

import json
import signal
import sys
import time
import warnings
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from minivec.files import SUFFIXES, Rows, check_output, map_rows, open_rows, replacing

if TYPE_CHECKING:
    import numpy as np

    from minivec.aligner import MiniVec2VecAligner

app = typer.Typer(
    epilog="Exit codes: 0 done, 2 bad input (one line says what), 3 below --min-confidence, 130 interrupted.",
    add_completion=False,
    pretty_exceptions_enable=False,
)

EMBEDDINGS = "a .npy, .npz or .parquet file"
STEPS = "Hyperparameters (each wins over the preset)"
COLORS = {"reliable": "green", "doubtful": "yellow", "failed": "red"}

Aligner = Annotated[Path, typer.Option("--aligner", "-a", help="The .keras file that `minivec align` made.")]
Columns = Annotated[
    list[str] | None,
    typer.Option(
        "--column",
        help="Array of an .npz or column of a Parquet file that has several. Once for all inputs, or twice "
        "for the first and the second.",
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Seed = Annotated[int, typer.Option(help="Same seed, same result.")]


def _hyperparameter(help: str) -> Any:
    return typer.Option(help=help, rich_help_panel=STEPS, show_default=False)


def main(arguments: list[str] | None = None) -> NoReturn:
    """Run the command line: results on stdout; for what goes wrong, one line on stderr and an exit code."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # an exception, so that half-written files go
    usage_error: Any = typer.BadParameter.__mro__[2]  # ClickException, of which Typer has had two
    try:
        code = app(arguments or sys.argv[1:] or ["--help"], prog_name="minivec", standalone_mode=False)
    except usage_error as error:
        _fail(error.format_message())
    except (ValueError, TypeError, OSError, ImportError, MemoryError) as error:
        _fail(str(error) or type(error).__name__)
    if code == 130:
        _fail("interrupted", code)
    sys.exit(code)


def _fail(message: str, code: int = 2) -> NoReturn:
    print("minivec:", " ".join(message.split()), file=sys.stderr)
    sys.exit(code)


def _print_version(wanted: bool) -> None:
    if wanted:
        from minivec import __version__

        print(f"minivec {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_print_version, help="Print the version.")
    ] = False,
) -> None:
    """Align two embedding spaces without paired data, and map vectors from one into the other."""


@app.command()
def align(
    source: Annotated[Path, typer.Argument(metavar="SOURCE", help=f"Embeddings of space A: {EMBEDDINGS}.")],
    target: Annotated[
        Path,
        typer.Argument(metavar="TARGET", help="Embeddings of space B, of other texts: no row is paired."),
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="The .keras file to write.")],
    column: Columns = None,
    preset: Annotated[str, typer.Option(help="auto, or paper for the published procedure.")] = "auto",
    mapping: Annotated[str, typer.Option(help="orthogonal, or whitened to retrieve better.")] = "orthogonal",
    seed: Seed = 0,
    min_confidence: Annotated[
        float, typer.Option(min=0, max=1, help="Below it write nothing and exit with code 3.")
    ] = 0.0,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print warnings and errors only.")] = False,
    approx_clusters: Annotated[int | None, _hyperparameter("Anchors per run.")] = None,
    approx_runs: Annotated[int | None, _hyperparameter("Runs of the anchors' ensemble.")] = None,
    approx_neighbors: Annotated[int | None, _hyperparameter("Neighbours averaged to a pseudo-pair.")] = None,
    refine1_iterations: Annotated[int | None, _hyperparameter("Refinement: steps.")] = None,
    refine1_sample_size: Annotated[int | None, _hyperparameter("Refinement: rows sampled per step.")] = None,
    refine1_neighbors: Annotated[int | None, _hyperparameter("Refinement: neighbours averaged.")] = None,
    refine2_clusters: Annotated[int | None, _hyperparameter("Second refinement: clusters.")] = None,
    smoothing_alpha: Annotated[float | None, _hyperparameter("Share of the new map in a step.")] = None,
) -> None:
    """Fit the map from SOURCE's space into TARGET's and save it."""
    check_output(output, (".keras",))
    A, B = _open([source, target], column)
    from minivec import MiniVec2VecAligner

    def with_names(message: str) -> str:  # the library's own are those of its arguments
        return message.replace("XA", str(source)).replace("XB", str(target))

    aligner = MiniVec2VecAligner(A.shape[1])
    try:
        history = _align(
            aligner,
            A.array(),
            B.array(),
            preset=preset,
            mapping=mapping,
            seed=seed,
            verbose=0 if quiet else 1,
            approx_clusters=approx_clusters,
            approx_runs=approx_runs,
            approx_neighbors=approx_neighbors,
            refine1_iterations=refine1_iterations,
            refine1_sample_size=refine1_sample_size,
            refine1_neighbors=refine1_neighbors,
            refine2_clusters=refine2_clusters,
            smoothing_alpha=smoothing_alpha,
        )
    except (ValueError, TypeError) as error:
        raise ValueError(with_names(str(error))) from error
    history["causes"] = [with_names(cause) for cause in history["causes"]]
    if history["confidence"] < min_confidence:
        _fail(f"{_verdict(history)}, below {min_confidence}: {output} is not written", 3)
    _save(aligner, output)
    if history["verdict"] != "reliable":
        print(f"minivec: warning: {_verdict(history)}", file=sys.stderr)
    if not quiet:
        trust = f"confidence {history['confidence']:.2f}, {history['verdict']}"
        print(f"{output}: {A.shape[1]} -> {B.shape[1]} dimensions, {trust}")


@app.command()
def transform(
    input: Annotated[Path, typer.Argument(metavar="INPUT", help=f"Embeddings of space A: {EMBEDDINGS}.")],
    aligner: Aligner,
    output: Annotated[
        Path,
        typer.Option("--output", "-o", help=f"{', '.join(SUFFIXES)}; Parquet keeps its other columns."),
    ],
    column: Columns = None,
    inverse: Annotated[bool, typer.Option("--inverse", help="Map from B to A.")] = False,
    block_size: Annotated[int, typer.Option(min=1, help="Rows in memory at a time.")] = 16384,
) -> None:
    """Map the rows of INPUT into space B, in bounded memory."""
    check_output(output, SUFFIXES, input)
    (rows,) = _open([input], column)
    model = _load(aligner)
    model = model.inverse() if inverse else model
    _check_width(rows, model.embedding_dim, aligner)
    import keras
    from rich.console import Console
    from rich.progress import Progress

    start, terminal = time.perf_counter(), Console(stderr=True)
    with Progress(console=terminal, transient=True, disable=not terminal.is_terminal) as progress:
        task = progress.add_task("transform", total=rows.shape[0])

        def mapped(block: Any) -> Any:
            out = keras.ops.convert_to_numpy(model(block))
            progress.advance(task, len(block))
            return out

        map_rows(mapped, rows, output, block_size)
    print(f"{rows.shape[0]:,} rows in {time.perf_counter() - start:.1f} s, saved to {output}")


@app.command()
def evaluate(
    test_a: Annotated[
        Path, typer.Argument(metavar="TEST_A", help=f"Held-out embeddings of space A: {EMBEDDINGS}.")
    ],
    test_b: Annotated[Path, typer.Argument(metavar="TEST_B", help="The same items, row by row, in space B.")],
    aligner: Aligner,
    column: Columns = None,
    as_json: AsJson = False,
) -> None:
    """Measure how well the map finds the true partners of held-out pairs."""
    A, B = _open([test_a, test_b], column)
    model = _load(aligner)
    _check_width(A, model.embedding_dim, aligner)
    _check_width(B, model.compute_output_shape(A.shape)[1], aligner)
    from minivec import evaluate_alignment

    _print(evaluate_alignment(model, A.array(), B.array()), as_json)


@app.command()
def info(
    file: Annotated[Path, typer.Argument(metavar="FILE.keras", help="The file that `minivec align` made.")],
    as_json: AsJson = False,
) -> None:
    """Tell what an aligner maps, how it was made and how far it can be trusted."""
    model = _load(file)
    with zipfile.ZipFile(file) as archive:
        saved = json.loads(archive.read("metadata.json"))
    facts = {
        "source_dim": model.embedding_dim,
        "target_dim": model.W.shape[1],
        "confidence": round(model.confidence, 6),
        "source_norm": round(float(model.source_norm), 6),
        "target_norm": round(float(model.target_norm), 6),
        "keras_version": saved["keras_version"],
        "date_saved": saved["date_saved"],
    }
    _print(facts, as_json)


@app.command()
def demo(
    output: Annotated[Path, typer.Option(help="Folder for demo.keras and demo.png.")] = Path("."),
    seed: Seed = 0,
) -> None:
    """Align two real encoders from the bundled sample and show how well it went."""
    output.mkdir(parents=True, exist_ok=True)
    for name in ("demo.keras", "demo.png"):
        check_output(output / name, (Path(name).suffix,))
    from rich.console import Console

    from minivec import MiniVec2VecAligner, evaluate_alignment
    from minivec.datasets import load_sample
    from minivec.picture import before_after

    console = Console(highlight=False)
    source, target, test_source, test_target, texts = load_sample()
    console.print("[bold]Two embedding spaces, and not one known pair.[/bold]")
    console.print(f"  A: {len(source):,} texts in {source.shape[1]} dimensions")
    console.print(f"  B: {len(target):,} [bold]other[/bold] texts, another encoder, in {target.shape[1]}\n")

    aligner = MiniVec2VecAligner(source.shape[1])
    history = _align(aligner, source, target, seed=seed, verbose=1)
    seconds, color = sum(history["seconds"].values()), COLORS[history["verdict"]]
    console.print(f"\nAligned in {seconds:.1f} s: [{color}]{_verdict(history)}[/{color}]\n")

    metrics, n = evaluate_alignment(aligner, test_source, test_target), len(texts)
    console.print(
        f"[bold]{n:,} held-out texts, embedded by both:[/bold] each looked up in B by its vector from A"
    )
    console.print(f"  found first (top-1)   {metrics['top1_accuracy']:.1%} (by chance {1 / n:.2%})")
    console.print(f"  found first by CSLS   {metrics['csls_top1_accuracy']:.1%}")
    console.print(f"  mean rank             {metrics['mean_rank']:.2f} of {n:,}")
    console.print(f"  mean cosine           {metrics['mean_cosine_similarity']:.3f}\n")
    console.print(_matches(aligner, test_source, test_target, texts))

    _save(aligner, output / "demo.keras")
    with replacing(output / "demo.png") as temporary:
        before_after(aligner, test_source, test_target, temporary, texts)
    console.print(f"\nSaved {output / 'demo.keras'} and, before and after, {output / 'demo.png'}.")
    console.print(
        "[bold]Next, your own embeddings:[/bold]\n"
        "  minivec align A.npy B.npy -o a_to_b.keras\n"
        "  minivec transform A.npy -a a_to_b.keras -o a_in_b.npy"
    )


def _matches(aligner: "MiniVec2VecAligner", A: "np.ndarray", B: "np.ndarray", texts: list[str]) -> Any:
    """A table of some held-out texts beside the text that the map finds for them."""
    import numpy as np
    from keras import ops
    from rich.markup import escape
    from rich.table import Table

    from minivec.frame import unit
    from minivec.search import top_k

    shown = np.linspace(0, len(texts) - 1, 6).astype(int)
    cosines, found = top_k(ops.convert_to_numpy(aligner(A[shown])), unit(B), 1)
    table = Table(box=None, expand=True, pad_edge=False)
    for heading in ("text, embedded in A", "nearest to it in B"):
        table.add_column(heading, no_wrap=True, ratio=1)
    table.add_column("cosine", justify="right")
    for row, match, cosine in zip(shown, found[:, 0], cosines[:, 0], strict=True):
        color = "green" if row == match else "red"
        table.add_row(escape(texts[row]), f"[{color}]{escape(texts[match])}[/{color}]", f"{cosine:.2f}")
    return table


def _open(paths: list[Path], columns: list[str] | None) -> list[Rows]:
    """Open the input files, giving each that can have one its --column."""
    columns = columns or []
    named = [path for path in paths if path.suffix.lower() != ".npy"]
    if len(columns) == 1 and named:
        columns = columns * len(named)
    if columns and len(columns) != len(named):
        raise ValueError(f"--column given {len(columns)} times for {len(named)} .npz or .parquet files")
    chosen = iter(columns)
    return [open_rows(path, next(chosen, None) if path in named else None) for path in paths]


def _align(aligner: "MiniVec2VecAligner", A: Any, B: Any, **options: Any) -> dict[str, Any]:
    """The fit's history, without the Python warning that the printed verdict replaces."""
    from minivec import AlignmentWarning

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", AlignmentWarning)
        return aligner.align(A, B, **options)


def _verdict(history: dict[str, Any]) -> str:
    causes = f" ({'; '.join(history['causes'])})" if history["causes"] else ""
    return f"confidence {history['confidence']:.2f}, {history['verdict']}{causes}"


def _save(aligner: "MiniVec2VecAligner", path: Path) -> None:
    with replacing(path) as temporary:
        aligner.save(temporary)


def _load(path: Path) -> "MiniVec2VecAligner":
    """The aligner in ``path``; ValueError or OSError for anything else."""
    if path.is_dir():
        raise IsADirectoryError(f"{path}: a folder, not a .keras file")
    if not path.exists():
        raise FileNotFoundError(f"{path}: no such file")
    if not zipfile.is_zipfile(path):
        raise ValueError(f"{path}: not a .keras file, or a truncated one")
    import keras

    from minivec import MiniVec2VecAligner

    try:
        model = keras.models.load_model(path, compile=False)
    except Exception as error:  # Keras raises whatever a damaged archive leads to
        reason = str(error).split("\n")[0]
        raise ValueError(f"{path}: not a readable model: {reason}") from error
    if not isinstance(model, MiniVec2VecAligner):
        raise ValueError(f"{path}: it holds a {type(model).__name__}, not a MiniVec2VecAligner")
    if not model.aligned:
        raise ValueError(f"{path}: its model has not been aligned")
    return model


def _check_width(rows: Rows, width: int, aligner: Path) -> None:
    if rows.shape[1] != width:
        raise ValueError(f"{rows}: rows of {rows.shape[1]} dimensions where {aligner} has {width}")


def _print(facts: dict[str, Any], as_json: bool) -> None:
    if as_json:
        print(json.dumps(facts, indent=2))
        return
    for name, value in facts.items():
        shown = f"{value:.4f}" if isinstance(value, float) else value
        print(f"{name.replace('_', ' '):<24}{shown}")
