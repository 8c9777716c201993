"""Fit, apply, measure, inspect."""

import sys
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from minivec.cli.common import (
    EMBEDDINGS,
    Aligner,
    AsJson,
    Columns,
    Seed,
    align_quietly,
    app,
    check_width,
    fail,
    load,
    load_between,
    open_all,
    open_lexicon,
    print_facts,
    save,
    verdict,
)
from minivec.cli.report import Texts, prepare
from minivec.files import SUFFIXES, check_output, map_rows, read_pairs
from minivec.history import MEANINGLESS
from minivec.persistence import saved_on

STEPS = "Hyperparameters (each wins over the preset)"


def _hyperparameter(help: str) -> Any:
    return typer.Option(help=help, rich_help_panel=STEPS, show_default=False)


@app.command()
def align(
    source: Annotated[
        str,
        typer.Argument(metavar="SOURCE", help=f"Embeddings of space A: {EMBEDDINGS}, or the URL of a database."),
    ],
    target: Annotated[
        str,
        typer.Argument(metavar="TARGET", help="Embeddings of space B, of other texts: no row is paired."),
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="The .keras file to write.")],
    column: Columns = None,
    pairs: Annotated[
        Path | None,
        typer.Option(help="CSV of known pairs: row numbers of SOURCE and of TARGET, from 0; a header may come first."),
    ] = None,
    preset: Annotated[str, typer.Option(help="auto, or paper for the published procedure.")] = "auto",
    mapping: Annotated[str, typer.Option(help="orthogonal, or whitened to retrieve better.")] = "orthogonal",
    seed: Seed = 0,
    min_confidence: Annotated[
        float, typer.Option(min=0, max=1, help="Below it write nothing and exit with code 3.")
    ] = 0.0,
    report: Annotated[
        Path | None, typer.Option(help="Also write a report of this fit, .html, .png or .svg.", show_default=False)
    ] = None,
    texts: Texts = None,
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
    A, B = open_all([source, target], column)
    if texts and not report:
        raise ValueError("--texts are the texts of a report: name its file with --report")
    reports, given = prepare(report, None, texts, A, B) if report else ([], {})
    known = None if pairs is None else read_pairs(pairs)
    from minivec import MiniVec2VecAligner

    def with_names(message: str) -> str:  # the library's own are those of its arguments
        message = message.replace("XA", str(A)).replace("XB", str(B))
        return message if pairs is None else message.replace("pairs[", f"{pairs}: pairs[")

    aligner = MiniVec2VecAligner(A.shape[1])
    try:
        history = align_quietly(
            aligner,
            A.array(),
            B.array(),
            preset=preset,
            mapping=mapping,
            seed=seed,
            verbose=0 if quiet else 1,
            pairs=known,
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
        fail(f"{verdict(history)}, below {min_confidence}: {output} is not written", 3)
    save(aligner, output)
    for path in reports:
        aligner.report(A.array(), B.array(), **given).save(path)
    if history["verdict"] != "reliable":
        print(f"minivec: warning: {verdict(history)}", file=sys.stderr)
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
    engine: Annotated[
        str, typer.Option(help="local, or ray: from a Parquet file or a folder of them, to a new folder.")
    ] = "local",
    workers: Annotated[int, typer.Option(min=1, help="Processes of --engine ray.")] = 2,
) -> None:
    """Map the rows of INPUT into space B, in bounded memory."""
    if engine == "ray":
        return _transform_with_ray(input, aligner, output, column, inverse, block_size, workers)
    if engine != "local":
        raise ValueError(f"--engine must be local or ray; got {engine!r}")
    check_output(output, SUFFIXES, input)
    (rows,) = open_all([input], column)
    model = load(aligner)
    model = model.inverse() if inverse else model
    check_width(rows, model.embedding_dim, aligner)
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


def _transform_with_ray(
    input: Path, aligner: Path, output: Path, columns: list[str] | None, inverse: bool, block_size: int, workers: int
) -> None:
    """``transform`` of a Parquet file, or of a folder of them, by Ray."""
    files = sorted(input.glob("*.parquet")) if input.is_dir() else [input]
    if not files or files[0].suffix.lower() != ".parquet":
        raise ValueError(f"{input}: --engine ray maps a Parquet file or a folder of them")
    (rows,) = open_all(files[:1], columns)
    model = load(aligner)
    model = model.inverse() if inverse else model
    check_width(rows, model.embedding_dim, aligner)
    try:
        from minivec import distributed
    except ImportError as error:
        raise ImportError("--engine ray needs Ray: pip install 'minivec[ray]'") from error
    from minivec.runtime import QueryAdapter

    start = time.perf_counter()
    adapter = QueryAdapter.of(model)
    n = distributed.transform(input, adapter, output, str(rows.column), workers, block_size)
    print(f"{n:,} rows in {time.perf_counter() - start:.1f} s, saved to {output}")


@app.command()
def evaluate(
    test_a: Annotated[Path, typer.Argument(metavar="TEST_A", help=f"Held-out embeddings of space A: {EMBEDDINGS}.")],
    test_b: Annotated[Path, typer.Argument(metavar="TEST_B", help="The same items, row by row, in space B.")],
    aligner: Aligner,
    column: Columns = None,
    dictionary: Annotated[
        Path | None,
        typer.Option(
            help="True translations, a pair of words a line (MUSE's format): measure precision at 1, 5 and 10 between "
            "the words of TEST_A and TEST_B, which are then no pairs."
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Measure how well the map finds the true partners of held-out pairs, or the translations in a dictionary."""
    if dictionary is not None:
        from minivec.lexicon import read_dictionary

        true = read_dictionary(dictionary)
        print_facts(open_lexicon(test_a, test_b, aligner, column, False, None).evaluate(true), as_json)
        return
    A, B = open_all([test_a, test_b], column)
    model = load_between(aligner, A, B)
    from minivec import evaluate_alignment

    print_facts(evaluate_alignment(model, A.array(), B.array()), as_json)


@app.command()
def info(
    file: Annotated[Path, typer.Argument(metavar="FILE.keras", help="The file that `minivec align` made.")],
    as_json: AsJson = False,
) -> None:
    """Tell what an aligner maps, how it was made and how far it can be trusted."""
    model = load(file)
    history = model.history
    given = {name: value for name, value in history.get("settings", {}).items() if value is not None}
    facts = {
        "source_dim": model.embedding_dim,
        "target_dim": model.W.shape[1],
        "verdict": history.get("verdict", "unknown"),
        "confidence": round(model.confidence, 6),
        "causes": history.get("causes", []),
        "expected_cosine": round(float(model.expected_cosine), 6),
        "source_norm": round(float(model.source_norm), 6),
        "target_norm": round(float(model.target_norm), 6),
        "seconds": round(sum(history.get("seconds", {}).values()), 2),
        "pairs": history.get("pairs", 0),
        **given,
        **{f"{name}_{key}": value for name, facts in history.get("data", {}).items() for key, value in facts.items()},
        **{f"{name}_version" if name != "backend" else name: v for name, v in history.get("versions", {}).items()},
        "date_saved": saved_on(file),
    }
    if facts["verdict"] == "failed" and not as_json:
        facts["expected_cosine"] = MEANINGLESS
    print_facts(facts, as_json)
