"""Recall after a change of embedding model, on real encoders and databases: ``python -m benchmarks.migration``.

20,000 documents are in a database, embedded by the old model; 1,000 other texts are asked for by the new one. What the
database finds is compared with what exact search finds among the documents embedded again by the new model (recall@10):

- nothing done: the new vectors, cut or padded to the old width, ask the old ones
- migrated: ``minivec migrate``, and the new vectors ask as they are
- adapter: the old vectors stay, and ``QueryAdapter`` maps each query

The map is fitted without pairs, from the documents' old vectors and new vectors of other texts (half of the documents
each), or with 500 known pairs besides. Supervised Procrustes, on 500 pairs and on all, is the reference.
"""

import argparse
import json
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.encoders import embeddings
from benchmarks.stores import server
from minivec import MiniVec2VecAligner
from minivec.algorithm.procrustes import polar
from minivec.frame import Frame, unit
from minivec.migrate import migrate
from minivec.moving.probe.lists import shared
from minivec.runtime import QueryAdapter
from minivec.search import top_k

K = 10


class Lance:
    """LanceDB, without an index: its search is exact."""

    name = "LanceDB"

    def __init__(self, root: Path):
        import lancedb

        self.db, self.root = lancedb.connect(str(root / "lance")), root

    def url(self, name: str) -> str:
        """A collection's URL."""
        return f"lance://{self.root}/lance/{name}"

    def fill(self, X: np.ndarray) -> None:
        """Make the collection ``old``, ids counting the rows."""
        import pyarrow as pa

        vectors = pa.FixedSizeListArray.from_arrays(pa.array(X.ravel()), X.shape[1])
        self.db.create_table("old", pa.table({"id": range(len(X)), "v": vectors}))

    def search(self, name: str, Q: np.ndarray) -> np.ndarray:
        """The ids of each query's nearest 10."""
        table = self.db.open_table(name)
        found = [table.search(q).distance_type("cosine").select(["id", "_distance"]).limit(K).to_arrow() for q in Q]
        return np.array([rows["id"].to_pylist() for rows in found])


class Postgres:
    """PostgreSQL with pgvector, without an index: its search is exact."""

    name = "PostgreSQL"

    def __init__(self, root: Path):
        import psycopg

        self.server = server(root)
        self.uri = self.server.get_uri()
        self.connection = psycopg.connect(self.uri, autocommit=True)
        self.connection.execute("CREATE EXTENSION vector")

    def url(self, name: str) -> str:
        """A collection's URL."""
        return f"{self.uri}&table={name}"

    def fill(self, X: np.ndarray) -> None:
        """Make the collection ``old``, ids counting the rows."""
        self.connection.execute(f"CREATE TABLE old (id int PRIMARY KEY, v vector({X.shape[1]}))")
        with self.connection.cursor() as cursor, cursor.copy("COPY old FROM STDIN") as copy:
            for i, x in enumerate(X):
                copy.write_row((i, str(x.tolist())))

    def search(self, name: str, Q: np.ndarray) -> np.ndarray:
        """The ids of each query's nearest 10."""
        from psycopg import sql

        query = sql.SQL("SELECT id FROM {} ORDER BY v <=> %s::vector LIMIT %s").format(sql.Identifier(name))
        rows = [self.connection.execute(query, (str(q.tolist()), K)).fetchall() for q in Q]
        return np.array(rows)[:, :, 0]


class Chroma:
    """Chroma, embedded, with its HNSW index."""

    name = "Chroma"

    def __init__(self, root: Path):
        import chromadb

        self.client, self.root = chromadb.PersistentClient(str(root / "chroma")), root

    def url(self, name: str) -> str:
        """A collection's URL."""
        return f"chroma://{self.root}/chroma/{name}"

    def fill(self, X: np.ndarray) -> None:
        """Make the collection ``old``, ids counting the rows."""
        made = self.client.create_collection("old", metadata={"hnsw:space": "cosine"}, embedding_function=None)
        for i in range(0, len(X), 5_000):
            made.add([str(n) for n in range(i, min(i + 5_000, len(X)))], embeddings=X[i : i + 5_000])

    def search(self, name: str, Q: np.ndarray) -> np.ndarray:
        """The ids of each query's nearest 10."""
        found = self.client.get_collection(name, embedding_function=None).query(Q, n_results=K, include=[])
        return np.array(found["ids"], int)


STORES = {"postgres": Postgres, "lance": Lance, "chroma": Chroma}


def recall(found: np.ndarray, truth: np.ndarray) -> float:
    """Share of the true neighbours (n, 10) among those found."""
    return float(shared(found, truth).mean())


def fit(old: np.ndarray, new: np.ndarray, pairs: np.ndarray | None) -> MiniVec2VecAligner:
    """From disjoint halves of the documents, and ``pairs`` of rows of both, if there are any."""
    half = len(old) // 2
    A, B = old[:half], new[half:]
    rows = None
    if pairs is not None:  # of documents of the first half, whose new vectors come behind
        B = np.concatenate([B, new[pairs]])
        rows = np.stack([pairs, half + np.arange(len(pairs))], 1)
    aligner = MiniVec2VecAligner(old.shape[1])
    start = time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        history = aligner.align(A, B, pairs=rows)
    seconds = time.perf_counter() - start
    print(f"fit with {len(rows) if rows is not None else 0} pairs: {history['verdict']}, ", end="")
    print(f"confidence {history['confidence']:.2f}, {seconds:.0f} s", flush=True)
    return aligner


def supervised(old: np.ndarray, new: np.ndarray, pairs: np.ndarray) -> tuple[Any, Any]:
    """Orthogonal Procrustes on these rows, in frames of all: what maps documents, and what maps queries."""
    source, target = Frame.of(old), Frame.of(new)
    W = polar(source.apply(old[pairs]).T @ target.apply(new[pairs]))
    return (lambda X: unit(source.apply(X) @ W), target.apply), (source.apply, lambda Q: unit(target.apply(Q) @ W.T))


def main() -> None:
    """Print the tables as Markdown; ``--json FILE`` keeps every figure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--old", default="use")
    parser.add_argument("--new", default="minilm")
    parser.add_argument("--corpus", default="prose")
    parser.add_argument("--documents", type=int, default=20_000)
    parser.add_argument("--queries", type=int, default=1_000)
    parser.add_argument("--pairs", type=int, default=500)
    parser.add_argument("--stores", nargs="+", default=list(STORES), choices=STORES)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    n = args.documents
    old, new = (embeddings(args.corpus, name, n + args.queries) for name in (args.old, args.new))
    old, new, Q = old[:n], new[:n], new[n:]
    truth = top_k(unit(Q), unit(new), K)[1]
    pairs = np.sort(np.random.default_rng(0).choice(n // 2, args.pairs, replace=False))
    print(
        f"{n:,} documents by {args.old} ({old.shape[1]} dimensions), {len(Q):,} queries by {args.new} ({new.shape[1]})"
    )
    fits = {"no pair": fit(old, new, None), f"{args.pairs} pairs": fit(old, new, pairs)}

    results: dict[str, Any] = {"chance": K / n, "confidence": {name: a.confidence for name, a in fits.items()}}
    for name, rows in (("all", np.arange(n)), (f"{args.pairs} pairs", pairs)):
        for what, (document, query) in zip(("migrated", "adapter"), supervised(old, new, rows), strict=True):
            results[f"Procrustes, {name}, {what}"] = recall(top_k(query(Q), document(old), K)[1], truth)
    print("\n| recall@10 | " + " | ".join(STORES[s].name for s in args.stores) + " |")
    print("| --- |" + " ---: |" * len(args.stores))
    cut = np.zeros((len(Q), old.shape[1]), np.float32)
    width = min(cut.shape[1], Q.shape[1])
    cut[:, :width] = Q[:, :width]
    with tempfile.TemporaryDirectory(prefix="minivec-migration-", ignore_cleanup_errors=True) as folder:
        for store in args.stores:
            database = STORES[store](Path(folder))
            database.fill(old)
            found = results[store] = {"nothing done": recall(database.search("old", cut), truth)}
            for number, (name, aligner) in enumerate(fits.items()):
                done = migrate(
                    database.url("old"), database.url(f"new{number}"), aligner, verify=1000, min_confidence=0
                )
                found[f"migrated, {name}"] = recall(database.search(f"new{number}", Q), truth)
                adapter = QueryAdapter.of(aligner.inverse()).for_queries()
                found[f"adapter, {name}"] = recall(database.search("old", adapter(Q)), truth)
                found[f"rows/s, {name}"] = done.written / done.seconds
            if isinstance(database, Postgres):
                database.connection.close()
                database.server.cleanup()
    for line in results[args.stores[0]]:
        shown = (f"{results[s][line]:,.0f}" if "rows/s" in line else f"{results[s][line]:.3f}" for s in args.stores)
        print(f"| {line} | " + " | ".join(shown) + " |")
    print("\n| supervised Procrustes, exact search | migrated | adapter |\n| --- | ---: | ---: |")
    for name in ("all", f"{args.pairs} pairs"):
        row = (f"{results[f'Procrustes, {name}, {what}']:.3f}" for what in ("migrated", "adapter"))
        print(f"| {name} | " + " | ".join(row) + " |")
    print(f"\nBy chance: {K / n:.4f}")
    if args.json:
        args.json.write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
