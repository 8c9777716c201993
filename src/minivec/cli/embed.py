"""Vectors of a new model, from texts."""

import json
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from minivec.cli.common import AsJson, Seed, app, print_facts, say
from minivec.files import NAME, check_output, replacing

if TYPE_CHECKING:
    import numpy as np

    from minivec.moving.embed import Cost, Embedded, Progress

SUFFIXES = (".npy", ".parquet")
EVERY = 30.0  # seconds between two lines of progress where there is no terminal

MODEL = typer.Option(
    "--model",
    help="The new model: sentence-transformers:NAME_OR_FOLDER, or https://HOST/v1#MODEL for a server with OpenAI's "
    "/v1/embeddings call. Its key comes from MINIVEC_API_KEY, or from OPENAI_API_KEY for api.openai.com.",
    show_default=False,
)
Model = Annotated[str, MODEL]
OptionalModel = Annotated[str | None, MODEL]
Text = Annotated[
    str | None,
    typer.Option(
        "--text", metavar="COLUMN", help="The column of the texts, where several could be it.", show_default=False
    ),
]
Longest = Annotated[int, typer.Option(min=1, help="Characters; longer texts are named and not sent.")]
Cache = Annotated[
    Path | None,
    typer.Option(help="The file that keeps vectors by model and text; one in ~/.cache by default.", show_default=False),
]


@app.command()
def embed(
    texts: Annotated[
        str,
        typer.Argument(
            metavar="TEXTS|STORE",
            help="A .txt (a text a line), .csv, .tsv, .jsonl or .parquet file, a folder in the layout of BEIR and "
            "MTEB, or the URL of a database.",
        ),
    ],
    *,
    model: Model,
    output: Annotated[
        Path,
        typer.Option(
            "--output", "-o", help="The .npy file to write, with the keys beside it (.keys.jsonl); or .parquet."
        ),
    ],
    text: Text = None,
    rows: Annotated[
        int | None, typer.Option(min=1, help="How many to draw; all without it.", show_default=False)
    ] = None,
    seed: Seed = 0,
    kind: Annotated[
        str,
        typer.Option(help="document or query, for models that tell them apart; of a folder of BEIR, which of the two."),
    ] = "document",
    longest: Longest = 32_000,
    cache: Cache = None,
    as_json: AsJson = False,
) -> None:
    """Embed texts with a new model; run it again to resume. What is embedded is never paid for twice."""
    check_output(output, SUFFIXES)
    from minivec.moving import embed as moving

    with shown() as progress:
        made = moving.embed(
            texts,
            model,
            text=text,
            rows=rows,
            seed=seed,
            kind=kind,
            longest=longest,
            cache=cache or True,
            progress=progress,
        )
    _write(made, output)
    tell(made)
    if as_json:
        skipped = {why: len(keys) for why, keys in made.skipped.items()}
        print_facts({**facts(made), "skipped": skipped, "output": str(output)}, as_json)
    else:
        print(f"{output}: {len(made.vectors):,} rows of {made.vectors.shape[1]} dimensions; {made.cost}")


def _write(made: "Embedded", output: Path) -> None:
    """Write the vectors with their keys: whole, or not at all."""
    import numpy as np

    from minivec.moving.embed import plain

    keys = [plain(key) for key in made.keys]
    with ExitStack() as files:
        if output.suffix.lower() == ".npy":
            beside = files.enter_context(replacing(output.with_suffix(".keys.jsonl")))
            beside.write_text("".join(f"{json.dumps(key)}\n" for key in keys), encoding="utf-8")
            np.save(files.enter_context(replacing(output)), made.vectors)
            return
        import pyarrow as pa
        import pyarrow.parquet as pq

        from minivec.stores import Block
        from minivec.stores.arrow import with_vectors

        batch = pa.record_batch({"key": pa.array(keys)})
        table = with_vectors(Block(keys, made.vectors, batch, None), None, NAME)
        pq.write_table(table, files.enter_context(replacing(output)))


def facts(made: "Embedded") -> dict[str, Any]:
    """What was embedded and what it cost, for --json."""
    rows, width = made.vectors.shape
    cost = {"cached": made.cost.cached, "tokens": made.cost.tokens, "seconds": round(made.cost.seconds, 3)}
    return {"model": made.model, "rows": rows, "width": width, **cost}


def tell(made: "Embedded") -> None:
    """Print on stderr which texts were not embedded, and why."""
    for note in made.notes():
        say(f"note: {note}")


class _Made:
    """Vectors in memory, where a file's rows would do."""

    def __init__(self, name: str, X: "np.ndarray"):
        self._name, self._X, self.shape = name, X, X.shape

    def __str__(self) -> str:
        return self._name

    def array(self) -> "np.ndarray":
        """All rows, (n, d) float32."""
        return self._X


def rows_to_fit(
    source: str, column: list[str] | None, model: str, cache: Path | None, **sampled: Any
) -> tuple[Any, Any, Any]:
    """The rows of a source and of a new model for a fit, and the known pairs or None; skipped texts are told."""
    from minivec.moving.embed import fit_rows
    from minivec.stores import open_store

    if len(column or ()) > 1:
        raise ValueError("--column given twice: with --model there is one input that has vectors")
    store = open_store(source, column[0] if column else None)
    with shown() as progress:
        made = fit_rows(store, model, cache=cache or True, progress=progress, **sampled)
    for part in made.embedded:
        tell(part)
        say(f"embedded {part.cost}")
    return _Made(str(store), made.XA), _Made(made.embedded[0].model, made.XB), made.pairs


@contextmanager
def shown() -> "Iterator[Progress]":
    """The cost so far, and the time left: a bar on a terminal, else a line now and then; the cost when interrupted."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn

    terminal = Console(stderr=True)
    last: list[Any] = [time.monotonic(), None]  # when the last line was printed, and the cost
    with Progress(
        BarColumn(),
        TextColumn("{task.fields[cost]}"),
        console=terminal,
        transient=True,
        disable=not terminal.is_terminal,
    ) as bar:
        task = bar.add_task("embed", total=None, cost="")

        def show(cost: "Cost") -> None:
            last[1] = cost
            left = f", {cost.left:,.0f} s left" if cost.left > 0 else ""
            bar.update(task, completed=cost.done, total=cost.total, cost=f"{cost}{left}")
            if not terminal.is_terminal and time.monotonic() - last[0] > EVERY:
                last[0] = time.monotonic()
                say(f"{cost}{left}")

        try:
            yield show
        except BaseException:
            if last[1] is not None:
                say(f"so far {last[1]}; what is embedded is kept: run it again to go on")
            raise
