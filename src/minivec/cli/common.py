"""What the commands share: the app, common options, opening and saving."""

import json
import sys
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from minivec.files import SUFFIXES, WORD_SUFFIXES, Rows, open_rows, read_words, replacing
from minivec.map import LinearMap, open_map
from minivec.stores import StoreRows, is_url, redact
from minivec.version import __version__

if TYPE_CHECKING:
    from minivec.aligner import MiniVec2VecAligner
    from minivec.lexicon import Lexicon

app = typer.Typer(
    epilog="Exit codes: 0 done, 2 bad input (one line says what), 3 below --min-confidence, 130 interrupted.",
    add_completion=False,
    pretty_exceptions_enable=False,
)

EMBEDDINGS = f"a {', '.join(SUFFIXES)} file, or a folder of .parquet files"

ALIGNER = "a .keras or .safetensors file, or a folder in Hugging Face's layout"

Aligner = Annotated[Path, typer.Option("--aligner", "-a", help=f"The map: {ALIGNER}.")]
File = Annotated[Path, typer.Argument(metavar="ALIGNER", help=f"The map: {ALIGNER}.")]
Inverse = Annotated[bool, typer.Option("--inverse", help="Map from B to A.")]
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


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"minivec {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_print_version, help="Print the version.")
    ] = False,
) -> None:
    """Align two embedding spaces without paired data, and map vectors from one into the other."""


def fail(message: str, code: int = 2) -> NoReturn:
    """End with one line on stderr, which shows no credentials of URLs, and this exit code."""
    print("minivec:", redact(" ".join(message.split())), file=sys.stderr)
    sys.exit(code)


def open_all(paths: list[Any], columns: list[str] | None) -> list[Any]:
    """Open the inputs, files or stores' URLs, giving each file that can have one its --column."""
    columns = columns or []
    without = (".npy", *WORD_SUFFIXES)
    named = [path for path in paths if not is_url(path) and Path(path).suffix.lower() not in without]
    if len(columns) == 1 and named:
        columns = columns * len(named)
    if columns and len(columns) != len(named):
        raise ValueError(f"--column given {len(columns)} times for {len(named)} files that have names for it")
    chosen = iter(columns)
    return [
        StoreRows(path) if is_url(path) else open_rows(path, next(chosen, None) if path in named else None)
        for path in paths
    ]


def align_quietly(aligner: "MiniVec2VecAligner", A: Any, B: Any, **options: Any) -> dict[str, Any]:
    """The fit's history, without the Python warning that the printed verdict replaces."""
    from minivec.algorithm.confidence import AlignmentWarning

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", AlignmentWarning)
        return aligner.align(A, B, **options)


def verdict(history: dict[str, Any]) -> str:
    """The confidence, the verdict and its causes, in words."""
    causes = f" ({'; '.join(history['causes'])})" if history["causes"] else ""
    return f"confidence {history['confidence']:.2f}, {history['verdict']}{causes}"


def save(aligner: "MiniVec2VecAligner", path: Path) -> None:
    """Save under the final name only once it is whole."""
    with replacing(path) as temporary:
        aligner.save(temporary)


def check_width(rows: Rows, width: int, aligner: Path) -> None:
    """Refuse (ValueError) rows that the aligner cannot map."""
    if rows.shape[1] != width:
        raise ValueError(f"{rows}: rows of {rows.shape[1]} dimensions where {aligner} has {width}")


def open_between(aligner: Path, A: Rows, B: Rows, inverse: bool = False) -> LinearMap:
    """The map from A's space into B's, or, of a file from B to A, its ``inverse``; ValueError for other widths."""
    bridge = open_map(aligner, inverse)
    for rows, width in zip((A, B), bridge.shape, strict=True):
        check_width(rows, width, aligner)
    return bridge


def open_lexicon(
    source: Path, target: Path, aligner: Path, column: list[str] | None, inverse: bool, vocabulary: int | None
) -> "Lexicon":
    """The first ``vocabulary`` words (None: all) of both files in one space."""
    A, B = open_all([source, target], column)
    bridge = open_between(aligner, A, B, inverse)
    from minivec.lexicon import Lexicon

    return Lexicon(bridge, *read_words(A, vocabulary), *read_words(B, vocabulary))


def print_facts(facts: dict[str, Any], as_json: bool) -> None:
    """Print as JSON, or a line each."""
    if as_json:
        print(json.dumps(facts, indent=2))
        return
    for name, value in facts.items():
        shown = f"{value:.4f}" if isinstance(value, float) else value
        if isinstance(value, list):
            shown = "; ".join(map(str, value)) or "none"
        shown = "".join(c if c.isprintable() else "?" for c in str(shown))  # a file's words may not rule the terminal
        print(f"{name.replace('_', ' '):<24}{shown}")
