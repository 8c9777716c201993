"""The whole way from one embedding model to another, as docs/migrate.md tells it: ``python -m benchmarks.move``.

A PostgreSQL table holds WordNet's glosses with vectors of the old model (the Universal Sentence Encoder, or another by
``--old``) and an HNSW index. The new model (all-MiniLM-L6-v2) is behind a server with the call /v1/embeddings. Every
command of the page is run as it stands there, and printed with what it prints and its seconds. ``--data DIR`` takes a
``*_OLD.npz`` file of 8-bit rows for the old vectors, and their texts from a ``*.txt.gz`` file.
"""

import argparse
import gzip
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.corpora import texts
from benchmarks.peers import load
from benchmarks.serve import serving
from benchmarks.stores import server

COMMANDS = (
    'align "$old" --text body --model "$model" --rows 5000 --from {old} --to minilm -o bridge.keras',
    'probe "$old" -a bridge.keras --text body --model "$model" --sample 500',
    'migrate "$old" "$new" -a bridge.keras --dry-run',
    'migrate "$old" "$new" -a bridge.keras --verify',
    'cutover "$old" "$new" -a bridge.keras --dry-run',
    'cutover "$old" "$new" -a bridge.keras',
    'status "$old"',
    'rollback "$old" -a bridge.keras',
    'align "$old" --target corpus.jsonl --model "$model" --rows 10000 --from {old} --to minilm -o unpaired.keras',
)


def fill(uri: str, X: Any, lines: list[str]) -> None:
    """Make the table ``docs``: id, body, embedding, and an HNSW index."""
    import psycopg

    with psycopg.connect(uri, autocommit=True) as connection:
        connection.execute("CREATE EXTENSION IF NOT EXISTS vector")
        connection.execute(f"CREATE TABLE docs (id bigint PRIMARY KEY, body text, embedding vector({X.shape[1]}))")
        with connection.cursor().copy("COPY docs FROM STDIN") as copy:
            for i, (line, row) in enumerate(zip(lines, X.tolist(), strict=True)):
                copy.write_row((i, line, json.dumps(row)))
        connection.execute("CREATE INDEX docs_embedding ON docs USING hnsw (embedding vector_cosine_ops)")


def main() -> None:
    """Run every command."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.move", description=__doc__)
    parser.add_argument("--rows", type=int, default=50_000)
    parser.add_argument("--old", default="use")
    parser.add_argument("--data", type=Path)
    arguments = parser.parse_args()
    lines = texts("glosses")
    if arguments.data:
        (path,) = arguments.data.glob("*.txt.gz")
        own = gzip.decompress(path.read_bytes()).decode().splitlines()[: arguments.rows]
        lines = own + sorted(set(lines) - set(own))
    X = load(arguments.old, arguments.data, "glosses", arguments.rows)
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder, serving("minilm") as url:
        root = Path(folder)
        database = server(root)
        fill(database.get_uri(), X, lines[: arguments.rows])
        others = lines[arguments.rows :][::7][:10_000]  # of the whole alphabet
        (root / "corpus.jsonl").write_text("".join(json.dumps({"text": line}) + "\n" for line in others))
        old = f"{database.get_uri()}&table=docs&column=embedding" if "?" in database.get_uri() else ""
        old = old or f"{database.get_uri()}?table=docs&column=embedding"
        variables = {"old": old, "new": f"{old}_new", "model": f"{url}#minilm", "MINIVEC_API_KEY": "none"}
        variables |= {"XDG_CACHE_HOME": str(root / "cache"), "KERAS_BACKEND": "jax"}
        try:
            for command in (command.format(old=arguments.old) for command in COMMANDS):
                shell = f"{sys.executable} -W ignore -c 'from minivec.cli import main; main()' {command}"
                start = time.perf_counter()
                run = subprocess.run(
                    shell, shell=True, cwd=root, env={**os.environ, **variables}, capture_output=True, text=True
                )
                print(f"$ minivec {command}", flush=True)
                shown = (run.stdout + run.stderr).replace(database.get_uri(), "postgresql://db.example/shop")
                print(
                    shown.rstrip(),
                    f"[exit {run.returncode}, {time.perf_counter() - start:.0f} s]\n",
                    sep="\n",
                    flush=True,
                )
        finally:
            database.cleanup()


if __name__ == "__main__":
    main()
