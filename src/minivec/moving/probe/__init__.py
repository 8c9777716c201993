"""What a map would lose of a search: measured on queries and documents of the user's own, before anything is moved."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from minivec.map import LinearMap
from minivec.moving.probe.estimate import Estimate
from minivec.moving.probe.material import Embed
from minivec.moving.probe.relevance import read_queries, read_relevance
from minivec.moving.probe.result import Blind, Decision, Learning, Probe, Subject, Way, Worse
from minivec.moving.probe.run import Given, Options, run
from minivec.stores import open_store

__all__ = [
    "Blind",
    "Decision",
    "Estimate",
    "Learning",
    "Probe",
    "Subject",
    "Way",
    "Worse",
    "probe",
    "read_queries",
    "read_relevance",
]


def probe(
    store: Any,
    aligner: Any,
    *,
    embedder: Embed | None = None,
    text: str | None = None,
    old_embedder: Embed | None = None,
    queries: Mapping[str, str] | Sequence[str] | None = None,
    new_documents: Any = None,
    new_keys: Sequence[Any] | None = None,
    new_queries: Any = None,
    old_queries: Any = None,
    relevance: Mapping[str, Mapping[str, float]] | None = None,
    fitted: Collection[Any] = (),
    sample: int = 500,
    pool: int = 5_000,
    k: int = 10,
    rerank: int = 200,
    min_retention: float = 0.9,
    any_vectors: bool = False,
    seed: int = 0,
) -> Probe:
    """Measure what a map would lose of the search in a store. Nothing is written.

    ``store`` (a Store, a URL or a path) has n rows of the old model's vectors. ``aligner`` (an aligned model or a
    ``LinearMap``) maps from the old model to the new one. Vectors of the new model come from one of two places:

    - ``embedder``, called with a list of texts and kind="document" or "query"; ``text`` names the store's column
    - ``new_documents``, row for row with the store's rows in key order or, if given, with the keys ``new_keys``; and
      ``new_queries`` (q, dB)

    ``queries`` are texts, by name or in a list; a list's names are "0", "1", ... Beside ``new_queries`` they only name
    the rows. ``old_queries`` (q, dA) or ``old_embedder`` give today's search its queries. Without queries, ``sample``
    documents of the pool are the queries, and their own documents do not count among their results.

    ``pool`` is the number of documents, drawn with ``seed``; 2,000 to 20,000 are sensible. ``relevance``, gains by name
    of query and key of document, adds nDCG and MRR; the documents it names are always in the pool. ``fitted`` are
    keys of rows that the map was fitted on as known pairs: they are never scored. ``k`` is the length of the lists,
    ``rerank`` how many results of adapt are ranked again, ``min_retention`` (0 to 1) what the decision asks for.

    Old vectors that look like those of another space than the map leads from are refused, unless ``any_vectors``.
    Without vectors of the new model the result has what is still known, as ``blind``. Raises ValueError or TypeError
    that names the argument; what can be checked without embedding is checked first.
    """
    options = Options(sample, pool, k, rerank, min_retention, any_vectors, seed)
    named = queries if queries is None or isinstance(queries, Mapping) else _numbered(queries)
    given = Given(embedder, text, old_embedder, named, new_documents, new_keys, new_queries, old_queries, relevance)
    with open_store(store) as opened:
        return run(opened, LinearMap.of(aligner), given, set(fitted), options)


def _numbered(queries: Sequence[str]) -> dict[str, str]:
    if isinstance(queries, str):
        raise TypeError(f"queries must be a list of texts, or texts by name; got the text {queries!r}")
    return {str(i): query for i, query in enumerate(queries)}
