"""What a map would lose of a search."""

import json
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from minivec.cli.common import (
    Aligner,
    AnyVectors,
    AsJson,
    From,
    Inverse,
    Seed,
    app,
    check_whole,
    fail,
    open_all,
    open_turned,
    printable,
    warn,
)
from minivec.cli.embed import Cache, OptionalModel
from minivec.cli.stores import STORE
from minivec.files import check_output, read_pairs
from minivec.stores import Store, is_url, open_store

if TYPE_CHECKING:
    from minivec.map import LinearMap
    from minivec.moving.probe import Probe

Judged = dict[str, dict[str, float]]  # gains by query and document
OldModel = Annotated[str | None, typer.Option("--old-model", help="The old model, for the texts of --queries.")]
Text = Annotated[str | None, typer.Option("--text", metavar="COLUMN", help="STORE's column of texts, for --model.")]
Queries = Annotated[
    Path | None,
    typer.Option(
        "--queries",
        help="Texts of queries: lines, a .tsv file of names and texts, a .jsonl file of _id and text, or a folder in "
        "the layout of BEIR and MTEB, whose judgements are read too. Without it --sample documents are the queries.",
    ),
]
NewDocuments = Annotated[
    str | None,
    typer.Option(
        "--new-documents",
        help="The new model's vectors of STORE's rows: a file, row for row, or what `minivec embed` wrote.",
    ),
]
NewQueries = Annotated[
    str | None, typer.Option("--new-queries", help="The new model's vectors of the queries: a file.")
]
OldQueries = Annotated[
    str | None, typer.Option("--old-queries", help="The old model's vectors of the same queries: a file.")
]
Relevance = Annotated[
    Path | None,
    typer.Option(
        "--relevance", help="Which document is relevant to which query: qrels of TREC, or a .tsv or a folder of BEIR."
    ),
]
Pairs = Annotated[
    Path | None,
    typer.Option("--pairs", help="The file that `align --pairs` was given: its rows of STORE are not scored."),
]
Sample = Annotated[int, typer.Option(min=1, help="Documents that are the queries, where none are given.")]
PoolSize = Annotated[int, typer.Option("--pool", min=1, help="Random documents to search: 2,000 to 20,000.")]
K = Annotated[int, typer.Option("--k", min=1, help="How many results of a query count.")]
Rerank = Annotated[int, typer.Option(min=1, help="Results of adapt that the new model's own vectors rank again.")]
MinRetention = Annotated[
    float | None,
    typer.Option(min=0, max=1, help="The share to keep (0.9): exit with code 3 unless the interval lies above it."),
]
ReportFile = Annotated[Path | None, typer.Option("--report", help="An .html file to write.")]


@app.command()
def probe(
    store: Annotated[str, typer.Argument(metavar="STORE", help=f"The old vectors: {STORE}.")],
    *,
    aligner: Aligner,
    inverse: Inverse = False,
    space: From = None,
    model: OptionalModel = None,
    text: Text = None,
    old_model: OldModel = None,
    cache: Cache = None,
    queries: Queries = None,
    new_documents: NewDocuments = None,
    new_queries: NewQueries = None,
    old_queries: OldQueries = None,
    relevance: Relevance = None,
    pairs: Pairs = None,
    sample: Sample = 500,
    pool: PoolSize = 5_000,
    k: K = 10,
    rerank: Rerank = 200,
    min_retention: MinRetention = None,
    any_vectors: AnyVectors = False,
    report: ReportFile = None,
    as_json: AsJson = False,
    seed: Seed = 0,
) -> None:
    """Measure what the map would lose of the search in STORE, and say what to do. Nothing is written there."""
    if report is not None:
        check_output(report, (".html",))
    from minivec.moving.probe import probe as run

    asked, judged = _asked(queries, relevance)
    numbers = {key: number for number, key in enumerate(_keys(store) or [])}
    with open_store(store) as opened:
        bridge = _turned(aligner, inverse, space, opened.schema().width)
        result = run(
            opened,
            bridge,
            embedder=_embedder(model, cache),
            text=text,
            old_embedder=_embedder(old_model, cache),
            queries=asked,
            new_documents=_rows(new_documents),
            new_keys=_numbered(_keys(new_documents), numbers),
            new_queries=_rows(new_queries, asked),
            old_queries=_rows(old_queries, asked),
            relevance=_renamed(judged, numbers),
            fitted=_fitted(opened, pairs),
            sample=sample,
            pool=pool,
            k=k,
            rerank=rerank,
            min_retention=0.9 if min_retention is None else min_retention,
            any_vectors=any_vectors,
            seed=seed,
        )
    _finish(result, report, as_json, min_retention)


def _finish(result: "Probe", report: Path | None, as_json: bool, min_retention: float | None) -> None:
    """Write the page, print the result, and end with code 3 below --min-retention."""
    if report is not None:
        result.report(report)
    print(json.dumps(result.to_dict(), indent=2) if as_json else "\n".join(map(printable, repr(result).split("\n"))))
    if min_retention is not None and not result.keeps(min_retention):
        kept = result.decision.retention
        found = "not known" if kept is None else f"{kept.value:.3f}, at least {kept.low:.3f}"
        fail(f"the retention is {found}, and --min-retention is {min_retention:g}", 3)


def _fitted(store: Store, pairs: Path | None) -> list[Any]:
    """The keys of the rows of known pairs, whose numbers a file has."""
    if pairs is None:
        return []
    keys, numbers = store.keys(), read_pairs(pairs)[:, 0]
    return [keys[int(i)] for i in numbers if i < len(keys)]


def _turned(aligner: Path, inverse: bool, space: str | None, width: int) -> "LinearMap":
    bridge = open_turned(aligner, inverse, space, [width])
    warn(bridge.history, aligner)
    return bridge


def _embedder(model: str | None, cache: Path | None) -> Any:
    if model is None:
        return None
    from minivec.embedders import open_embedder

    return open_embedder(model, cache=cache or True)


def _asked(queries: Path | None, relevance: Path | None) -> tuple[dict[str, str] | None, Judged | None]:
    """The queries and the judgements, as far as they are given; a folder of queries has both."""
    from minivec.moving.probe import read_queries, read_relevance

    if relevance is None and queries is not None and queries.is_dir():
        relevance = queries
    return read_queries(queries) if queries else None, read_relevance(relevance) if relevance else None


def _rows(path: str | None, names: Collection[str] | None = None) -> Any:
    """All rows of a file; or, where keys are beside it, those of the ``names``, in their order."""
    if path is None:
        return None
    (rows,) = open_all([path], None)
    check_whole("probe", rows)
    keys = None if names is None else _keys(path)
    if names is None or keys is None:
        return rows.array()
    places = {str(key): place for place, key in enumerate(keys)}
    if missing := [name for name in names if name not in places]:
        raise ValueError(f"{path}: no vector of the query {missing[0]}")
    return rows.array()[[places[name] for name in names]]


def _keys(path: str | None) -> list[Any] | None:
    """The keys that ``minivec embed`` wrote beside a file of vectors, if it did."""
    beside = None if path is None or is_url(path) else Path(path).with_suffix(".keys.jsonl")
    if beside is None or not beside.exists():
        return None
    return [json.loads(line) for line in beside.read_text(encoding="utf-8").splitlines()]


def _numbered(keys: list[Any] | None, numbers: Mapping[Any, int]) -> list[Any] | None:
    """The keys as a store knows them: a file, whose own keys are ``numbers`` by the keys beside it, or a database."""
    return keys and [numbers.get(key, key) for key in keys] if numbers else keys


def _renamed(judged: Judged | None, numbers: Mapping[Any, int]) -> Judged | None:
    """The judgements with documents called as a store knows them."""
    if judged is None or not numbers:
        return judged
    names = {str(key): str(number) for key, number in numbers.items()}
    return {query: {names.get(key, key): gain for key, gain in gains.items()} for query, gains in judged.items()}
