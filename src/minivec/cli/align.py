"""Fit, apply, measure, inspect."""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from minivec import spaces
from minivec.cli.common import (
    EMBEDDINGS,
    ROWS,
    Aligner,
    AnyVectors,
    AsJson,
    Columns,
    File,
    From,
    Inverse,
    Lengths,
    Seed,
    SkipBadRows,
    align_quietly,
    app,
    check_paired,
    check_space,
    check_whole,
    fail,
    open_all,
    open_directed,
    open_lexicon,
    print_facts,
    quietly,
    save,
    say,
    verdict,
    warn,
)
from minivec.cli.embed import Cache, Longest, OptionalModel, rows_to_fit
from minivec.cli.report import Texts, prepare
from minivec.embedders import LOCAL
from minivec.extras import missing
from minivec.files import SUFFIXES, Rows, check_output, map_rows, read_pairs, to_fit
from minivec.history import MEANINGLESS, top1_in_words
from minivec.map import LinearMap, open_map
from minivec.persistence import saved_on
from minivec.settings import Hyperparameter, resolve, with_hyperparameters
from minivec.signature import ROWS as ROWS_SEEN
from minivec.stores import is_url

if TYPE_CHECKING:
    from minivec.aligner import MiniVec2VecAligner

STEPS = "Hyperparameters (each wins over the preset)"


def _option(h: Hyperparameter) -> Any:
    """The annotation of a hyperparameter's option."""
    return Annotated[h.type | None, typer.Option(help=h.option, rich_help_panel=STEPS, show_default=False)]


Source = Annotated[
    str, typer.Argument(metavar="SOURCE", help=f"Embeddings of the space to map from, such as the old model's: {ROWS}.")
]
Target = Annotated[
    str | None,
    typer.Argument(
        metavar="[TARGET]",
        help="Embeddings of the space to map into, such as the new model's, of other texts: no row is paired. "
        "With --model they are made of texts.",
        show_default=False,
    ),
]
SourceName = Annotated[
    str | None, typer.Option("--from", metavar="NAME", help="A name for SOURCE's space, such as ada-002.")
]
TargetName = Annotated[
    str | None, typer.Option("--to", metavar="NAME", help="A name for TARGET's space, such as te3-small.")
]
Pairs = Annotated[
    Path | None,
    typer.Option(help="CSV of known pairs: row numbers of SOURCE and of TARGET, from 0; a header may come first."),
]
MinConfidence = Annotated[float, typer.Option(min=0, max=1, help="Below it write nothing and exit with code 3.")]
PairedText = Annotated[
    str | None,
    typer.Option(
        "--text",
        metavar="COLUMN",
        help="With --model: the column of SOURCE's texts. Some are embedded, and are known pairs.",
        show_default=False,
    ),
]
TargetTexts = Annotated[
    str | None,
    typer.Option(
        "--target",
        metavar="TEXTS",
        help="With --model: other texts of the same kind, as `minivec embed` takes them; for a SOURCE without texts.",
        show_default=False,
    ),
]
ReportFile = Annotated[
    Path | None, typer.Option(help="Also write a report of this fit, .html, .png or .svg.", show_default=False)
]


@app.command()
@with_hyperparameters(_option)
def align(
    source: Source,
    target: Target = None,
    *,
    output: Annotated[Path, typer.Option("--output", "-o", help="The .keras file to write.")],
    model: OptionalModel = None,
    text: PairedText = None,
    target_texts: TargetTexts = None,
    rows: Annotated[int, typer.Option(min=1, help="With --model: texts that are drawn and embedded.")] = 10_000,
    longest: Longest = 32_000,
    cache: Cache = None,
    source_name: SourceName = None,
    target_name: TargetName = None,
    column: Columns = None,
    pairs: Pairs = None,
    preset: Annotated[str, typer.Option(help="auto, or paper for the published procedure.")] = "auto",
    mapping: Annotated[str, typer.Option(help="orthogonal, or whitened to retrieve better.")] = "orthogonal",
    seed: Seed = 0,
    min_confidence: MinConfidence = 0.0,
    report: ReportFile = None,
    texts: Texts = None,
    skip_bad_rows: SkipBadRows = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print warnings and errors only.")] = False,
    **hyperparameters: Any,
) -> None:
    """Fit the map from SOURCE's space, the old one, into TARGET's, the new one, and save it."""
    check_output(output, (".keras",))
    if texts and not report:
        raise ValueError("--texts are the texts of a report: name its file with --report")
    options = {"preset": preset, "mapping": mapping, "seed": seed, **hyperparameters}
    most = resolve(**options).rows
    if model is None:
        if target is None or text or target_texts:
            raise ValueError("name TARGET; or name --model, and its texts with --text or --target")
        A, B, known = _opened([source, target], pairs, texts, columns=column, skip_bad_rows=skip_bad_rows, most=most)
    else:
        unfit = {"TARGET": target, "--pairs": pairs, "--texts": texts, "--skip-bad-rows": skip_bad_rows}
        for name, value in unfit.items():
            if value:
                raise ValueError(f"{name} is not for --model, which makes the vectors and the pairs")
        sampled = {"text": text, "target": target_texts, "rows": rows, "seed": seed, "longest": longest, "most": most}
        A, B, known = rows_to_fit(source, column, model, cache, **sampled)
        target_name = target_name or model.rpartition("#")[2].removeprefix(LOCAL)
    reports, given = prepare(report, None, texts, A, B) if report else ([], {})
    options |= {"source_name": source_name, "target_name": target_name, "verbose": 0 if quiet else 1}
    aligner, history = _fit(A, B, known, pairs, **options)
    if history["confidence"] < min_confidence:
        fail(f"{verdict(history)}, below {min_confidence}: {output} is not written", 3)
    save(aligner, output)
    for path in reports:
        aligner.report(A.array(), B.array(), **given).save(path)
    if not quiet:
        if expected := top1_in_words(history):
            print(f"expected: {expected}")
        trust = f"confidence {history['confidence']:.2f}, {history['verdict']}"
        print(f"{output}: {spaces.described(history, (A.shape[1], B.shape[1]))}, {trust}")
    warn(history, output)


def _opened(paths: list[str], pairs: Path | None, texts: list[Path] | None, **reading: Any) -> tuple[Any, Any, Any]:
    """The source and the target, as ``open_all`` reads them, and the known pairs or None."""
    if reading["skip_bad_rows"] and (pairs or texts):
        raise ValueError("--pairs and --texts count all rows, and --skip-bad-rows would shift them: leave one out")
    A, B = open_all(paths, **reading)
    if pairs is None:
        return A, B, None
    check_whole("--pairs", A, B)
    return A, B, read_pairs(pairs)


def _fit(A: Any, B: Any, known: Any, pairs: Path | None, **options: Any) -> tuple["MiniVec2VecAligner", dict[str, Any]]:
    """The model fitted to the rows of two files, and its history; both name the files, and not the arguments."""
    from minivec.aligner import MiniVec2VecAligner
    from minivec.moving import paired

    def with_names(message: str) -> str:
        message = message.replace("XA", str(A)).replace("XB", str(B))
        return message if pairs is None else message.replace("pairs[", f"{pairs}: pairs[")

    aligner = MiniVec2VecAligner(A.shape[1])
    XA, XB = to_fit(A), to_fit(B)
    try:
        history = align_quietly(aligner, XA, XB, pairs=known, **options)
    except (ValueError, TypeError) as error:
        raise ValueError(with_names(str(error))) from error
    if known is not None:
        aligner.history |= paired.noted(XA[known[:, 0]], XB[known[:, 1]])
    history["causes"] = [with_names(cause) for cause in history["causes"]]
    return aligner, history


@app.command()
def transform(
    input: Annotated[
        str, typer.Argument(metavar="INPUT", help=f"Embeddings of the space that the map leads from: {EMBEDDINGS}.")
    ],
    *,
    aligner: Aligner,
    output: Annotated[
        Path,
        typer.Option("--output", "-o", help=f"{', '.join(SUFFIXES)}; Parquet keeps its other columns."),
    ],
    space: From = None,
    inverse: Inverse = False,
    column: Columns = None,
    skip_bad_rows: SkipBadRows = False,
    any_vectors: AnyVectors = False,
    lengths: Lengths = "target",
    block_size: Annotated[int, typer.Option(min=1, help="Rows in memory at a time.")] = 16384,
    engine: Annotated[
        str, typer.Option(help="local, or ray: from a Parquet file or a folder of them, to a new folder.")
    ] = "local",
    workers: Annotated[int, typer.Option(min=1, help="Processes of --engine ray.")] = 2,
) -> None:
    """Map the rows of INPUT into the other space of the map, in bounded memory."""
    if is_url(input):
        raise ValueError(
            f"{input}: transform maps files; `minivec migrate` maps a database into a new table, and `minivec sample` "
            "takes rows out of it into a file"
        )
    if engine not in ("local", "ray"):
        raise ValueError(f"--engine must be local or ray; got {engine!r}")
    if engine == "ray" and skip_bad_rows:
        raise ValueError("--skip-bad-rows is for --engine local")
    if engine == "local":
        check_output(output, SUFFIXES, Path(input))
    (rows,) = open_all([input if engine == "local" else _parquet_part(Path(input))], column, skip_bad_rows)
    bridge = open_directed(aligner, inverse, space, rows).of_lengths(lengths)
    start, n = time.perf_counter(), rows.shape[0]
    check_space(next(rows.blocks(ROWS_SEEN)), bridge, rows, any_vectors)
    if engine == "local":
        _map_here(bridge, rows, output, block_size, any_vectors)
    else:
        try:
            from minivec import distributed
        except ImportError as error:
            raise missing("--engine ray needs Ray", "ray") from error
        with quietly():
            n = distributed.transform(
                Path(input), bridge, output, str(rows.column), workers, block_size, any_vectors=any_vectors
            )
    mapped = spaces.described(bridge.history, bridge.shape)
    print(f"{n:,} rows in {time.perf_counter() - start:.1f} s, {mapped}, saved to {output}")


def _parquet_part(path: Path) -> Path:
    """The Parquet file ``path``, or the first of a folder of them."""
    files = sorted(path.glob("*.parquet")) if path.is_dir() else [path]
    if not files or files[0].suffix.lower() != ".parquet":
        raise ValueError(f"{path}: --engine ray maps a Parquet file or a folder of them")
    return files[0]


def _map_here(bridge: LinearMap, rows: Rows, output: Path, block_size: int, any_vectors: bool) -> None:
    """Map the rows in this process, with a progress bar on a terminal."""
    from rich.console import Console
    from rich.progress import Progress

    terminal = Console(stderr=True)
    with Progress(console=terminal, transient=True, disable=not terminal.is_terminal) as progress:
        task = progress.add_task("transform", total=rows.shape[0])

        def mapped(block: Any) -> Any:
            check_space(block, bridge, rows, any_vectors)
            progress.advance(task, len(block))
            return bridge.apply(block)

        map_rows(mapped, rows, output, block_size)
    if rows.otherwise:
        say(f"note: {output}: {rows.otherwise}")


@app.command()
def evaluate(
    test_a: Annotated[
        str, typer.Argument(metavar="TEST_A", help=f"Held-out embeddings of the space to map from: {ROWS}.")
    ],
    test_b: Annotated[str, typer.Argument(metavar="TEST_B", help="The same items, row by row, in the other space.")],
    *,
    aligner: Aligner,
    space: From = None,
    inverse: Inverse = False,
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
        lexicon = open_lexicon(test_a, test_b, aligner, column=column, inverse=inverse, space=space, vocabulary=None)
        print_facts(lexicon.evaluate(true), as_json)
        return
    A, B = open_all([test_a, test_b], column)
    bridge = open_directed(aligner, inverse, space, A, B)
    check_paired(A, B)
    from minivec.metrics import evaluate_alignment

    print_facts(evaluate_alignment(bridge, A.array(), B.array()), as_json)


@app.command()
def info(file: File, as_json: AsJson = False) -> None:
    """Show what an aligner maps, how it was made and how far it can be trusted."""
    bridge = open_map(file)
    history, weights = bridge.history, bridge.weights
    known = [name for name in ("expected_cosine", "source_norm", "target_norm") if name in weights]
    source, target, expected = *spaces.names(history), top1_in_words(history)
    facts = {
        **({"source": source, "target": target} if source or target else {}),
        "source_dim": bridge.shape[0],
        "target_dim": bridge.shape[1],
        "verdict": history.get("verdict", "unknown"),
        "confidence": round(float(history.get("confidence", "nan")), 6),
        "causes": history.get("causes", []),
        **({"expected_top1": history["expected_top1"] if as_json else expected} if expected else {}),
        **{name: round(float(weights[name]), 6) for name in known},
        "directions": "both" if bridge.invertible else "A to B",
        "seconds": round(sum(history.get("seconds", {}).values()), 2),
        "pairs": history.get("pairs", 0),
        **{name: value for name, value in history.get("settings", {}).items() if value is not None},
        **{f"{name}_{key}": value for name, data in history.get("data", {}).items() for key, value in data.items()},
        **{f"{name}_version" if name != "backend" else name: v for name, v in history.get("versions", {}).items()},
        "date_saved": saved_on(file),
    }
    if facts["verdict"] == "failed" and not as_json:
        facts["expected_cosine"] = MEANINGLESS
    print_facts(facts, as_json)
