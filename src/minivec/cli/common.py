"""What the commands share: the app, common options, opening and saving."""

import json
import math
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn, TypeVar

import typer
from typer.core import TyperCommand, TyperGroup

from minivec import spaces
from minivec.algorithm.confidence import AlignmentWarning
from minivec.files import SUFFIXES, GoodRows, open_rows, read_words, replacing, takes_column
from minivec.history import headline
from minivec.map import LinearMap, open_map
from minivec.settings import FIT_ROWS
from minivec.signature import refuse_wrong
from minivec.stores import STORES, StoreRows, is_url, redact
from minivec.version import __version__

if TYPE_CHECKING:
    import numpy as np

    from minivec.aligner import MiniVec2VecAligner
    from minivec.lexicon import Lexicon


F = TypeVar("F", bound=Callable[..., Any])


class _PlainFlags:
    """A command whose help shows a flag without a type: it takes no value."""

    def get_params(self, ctx: Any) -> Any:
        """The parameters, as Typer's commands return them."""
        params = super().get_params(ctx)  # type: ignore[misc]
        for param in params:
            if getattr(param, "is_flag", False):
                param.metavar = ""
        return params


class _Command(_PlainFlags, TyperCommand):
    pass


class _Group(_PlainFlags, TyperGroup):
    pass


class _App(typer.Typer):
    def command(self, name: str | None = None, **options: Any) -> Callable[[F], F]:
        """Typer's, for commands with plain flags."""
        return super().command(name, cls=_Command, **options)


app = _App(
    cls=_Group,
    epilog="Exit codes: 0 done, 2 bad input (one line says what), 3 below --min-confidence or --min-retention, or "
    "doctor found a problem, 4 migrated without rows that changed meanwhile, 130 interrupted.",
    add_completion=False,
    pretty_exceptions_enable=False,
)

EMBEDDINGS = f"a {', '.join(SUFFIXES)} file, or a folder of .parquet files"

DATABASES = ", ".join(f"{scheme}://" for scheme in STORES if scheme not in ("postgres", "rediss"))

ROWS = f"{EMBEDDINGS}, or the URL of a database ({DATABASES})"

ALIGNER = "a .keras or .safetensors file, or a folder in Hugging Face's layout"

Aligner = Annotated[Path, typer.Option("--aligner", "-a", help=f"The map: {ALIGNER}.")]
File = Annotated[Path, typer.Argument(metavar="ALIGNER", help=f"The map: {ALIGNER}.")]
Inverse = Annotated[
    bool, typer.Option("--inverse", help="Map the other way: the input is in the space that the map leads to.")
]
From = Annotated[
    str | None,
    typer.Option(
        "--from",
        metavar="NAME",
        help="The space of the input, by the name that `align --from ... --to ...` gave it; `minivec info` shows the "
        "names. Without it the width of the rows decides, and where both spaces have one width, --inverse.",
    ),
]
Columns = Annotated[
    list[str] | None,
    typer.Option(
        "--column",
        help="Array of an .npz or column of a Parquet file that has several. Once for all inputs, or twice "
        "for the first and the second.",
    ),
]
Lengths = Annotated[
    str, typer.Option(help="Of mapped rows: target (as long as the target's rows were in the fit), or unit (1).")
]
SkipBadRows = Annotated[
    bool,
    typer.Option(
        "--skip-bad-rows",
        help="Leave out the rows that are no embeddings (nulls, NaN, zeros or one repeated value, as of empty texts), "
        "and say which. A Parquet output keeps them, with null for a vector.",
    ),
]
AnyVectors = Annotated[
    bool,
    typer.Option(
        "--any-vectors", help="Go on with vectors that look like those of another space than the map leads from."
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


def say(message: str) -> None:
    """Print one line on stderr, which shows no credentials of URLs."""
    sys.stdout.flush()  # what was printed before comes before it
    print("minivec:", printable(redact(" ".join(message.split()))), file=sys.stderr)


def printable(text: str) -> str:
    """``text`` in which a file's words cannot rule the terminal."""
    return "".join(c if c.isprintable() else "?" for c in text)


def fail(message: str, code: int = 2) -> NoReturn:
    """End with one line on stderr and this exit code."""
    say(message)
    sys.exit(code)


def open_all(
    paths: list[Any], columns: list[str] | None, skip_bad_rows: bool = False, most: int = FIT_ROWS
) -> list[Any]:
    """Open the inputs, files or stores' URLs, giving each file that can have one its --column.

    ``skip_bad_rows`` leaves out the rows that are no embeddings, and says which. Of a store at most ``most`` rows are
    read.
    """
    columns = columns or []
    named = [path for path in paths if not is_url(path) and takes_column(path)]
    if len(columns) == 1 and named:
        columns = columns * len(named)
    if columns and len(columns) != len(named):
        raise ValueError(f"--column given {len(columns)} times for {len(named)} files that have names for it")
    chosen = iter(columns)
    opened: list[Any] = []
    for path in paths:
        name = next(chosen, None) if path in named else None
        if is_url(path):
            opened.append(StoreRows(path, skip_bad_rows, say, most))
        else:
            opened.append(open_rows(path, name, skip_bad_rows=skip_bad_rows))
    for rows in opened:
        if told := getattr(rows, "told", None):
            say(f"note: {rows}: {told}")
        if isinstance(rows, GoodRows) and len(rows.bad):
            say(f"{rows}: no embeddings in {rows.skipped()}, which are skipped")
    return opened


def check_whole(what: str, *inputs: Any) -> None:
    """Refuse (ValueError) inputs of which only a sample is read, where ``what`` counts all rows.

    From now on rows without a vector are refused too.
    """
    for rows in inputs:
        if isinstance(rows, StoreRows):
            rows.skip_nulls = False
        if isinstance(rows, StoreRows) and not rows.whole:
            raise ValueError(
                f"{rows}: {what} needs all of its {rows.count:,} rows, and of a database at most {rows.shape[0]:,} are "
                "read; take them out with `minivec sample`, or store them in a file"
            )


def check_paired(A: Any, B: Any) -> None:
    """Refuse (ValueError) databases whose rows, as they are read, are no true pairs: other counts, or other keys."""
    if not (isinstance(A, StoreRows) and isinstance(B, StoreRows)):
        check_whole("a comparison row by row", A, B)
        return
    A.skip_nulls = B.skip_nulls = False
    if A.count != B.count:
        raise ValueError(f"{A} has {A.count:,} rows and {B} has {B.count:,}: row by row they are no pairs")
    keys, others = A.keys(), B.keys()
    if not (isinstance(keys, range) or isinstance(others, range)):  # row numbers are no names of rows
        for key, other in zip(keys, others, strict=True):
            if key != other:
                raise ValueError(f"{A} has the key {key!r} where {B} has {other!r}: row by row they are no pairs")


@contextmanager
def quietly() -> Iterator[None]:
    """Without the Python warning that the printed verdict replaces."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", AlignmentWarning)
        yield


def align_quietly(aligner: "MiniVec2VecAligner", A: Any, B: Any, **options: Any) -> dict[str, Any]:
    """The fit's history, without the Python warning that the printed verdict replaces."""
    with quietly():
        return aligner.align(A, B, **options)


def verdict(history: dict[str, Any]) -> str:
    """The confidence, the verdict and its causes, in words."""
    causes = f" ({'; '.join(history['causes'])})" if history.get("causes") else ""
    return f"confidence {history.get('confidence', math.nan):.2f}, {history['verdict']}{causes}"


def warn(history: dict[str, Any], aligner: Path) -> None:
    """Print on stderr what is wrong with a map that is not reliable."""
    if history.get("verdict") in ("doubtful", "failed"):
        label = "FAILED" if history["verdict"] == "failed" else "warning"
        say(f"{label}: {aligner}: {verdict(history)}. {headline(history)}")


def save(aligner: "MiniVec2VecAligner", path: Path) -> None:
    """Save under the final name only once it is whole."""
    with replacing(path) as temporary:
        aligner.save(temporary)


def open_directed(aligner: Path, inverse: bool, space: str | None, *rows: Any) -> LinearMap:
    """The map in a file, in the direction of the inputs ``rows``: those to be mapped and, if any, their counterparts.

    The direction is that of ``open_turned``. ValueError for other widths. A map that is not reliable is warned of.
    """
    bridge = open_turned(aligner, inverse, space, [given.shape[1] for given in rows])
    for side, given in enumerate(rows):
        check_width(given, bridge, aligner, side)
    warn(bridge.history, aligner)
    return bridge


def open_turned(aligner: Path, inverse: bool, space: str | None, widths: Sequence[int] = ()) -> LinearMap:
    """The map in a file, from the ``space`` of this name (ValueError if it has none of that name).

    Without a name it is turned where ``inverse`` says so, or where it fits the ``widths`` only if turned.
    """
    bridge = open_map(aligner)
    names, n = spaces.names(bridge.history), len(widths)
    if space is None:
        straight, back = list(bridge.shape[:n]), list(bridge.shape[::-1][:n])
        turn = inverse or (list(widths) == back != straight)
    elif space in names:
        turn = space == names[1]
        if inverse and not turn:
            raise ValueError(f"--inverse maps to {space!r}, and --from {space!r} from it: leave one out")
    else:
        known = " and ".join(repr(name) for name in names if name) or "unknown; use --inverse to map the other way"
        raise ValueError(f"--from {space!r}: the names of the spaces of {aligner} are {known}")
    try:
        return bridge.inverse() if turn else bridge
    except ValueError as error:
        raise ValueError(f"{aligner}: {error}") from None


def check_width(rows: Any, bridge: LinearMap, aligner: Path, side: int = 0) -> None:
    """Refuse (ValueError) rows of another width than the map's source has (``side`` 0), or its target (1)."""
    width, name = bridge.shape[side], spaces.names(bridge.history)[side]
    if rows.shape[1] != width:
        has = f"{width} ({name})" if name else width
        raise ValueError(f"{rows}: rows of {rows.shape[1]} dimensions where {aligner} has {has}")


def check_space(vectors: "np.ndarray", bridge: LinearMap, where: Any, any_vectors: bool) -> None:
    """Refuse (ValueError) vectors of another space than the map leads from, unless ``any_vectors``."""
    if not any_vectors:
        refuse_wrong(vectors, bridge.signatures, where)


def open_lexicon(
    source: str,
    target: str,
    aligner: Path,
    *,
    column: list[str] | None,
    inverse: bool,
    space: str | None,
    vocabulary: int | None,
) -> "Lexicon":
    """The first ``vocabulary`` words (None: all) of both files in one space."""
    for path in (source, target):
        if is_url(path):
            raise ValueError(f"{path}: the words are read from a file, and this is a database")
    A, B = open_all([source, target], column)
    bridge = open_directed(aligner, inverse, space, A, B)
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
        print(f"{name.replace('_', ' '):<24}{printable(str(shown))}")
