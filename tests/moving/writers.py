"""A process that inserts, updates and deletes rows of a table all the time, and knows what it has written."""

import json
import sys
from pathlib import Path

import numpy as np
import psycopg

import small


def main(uri, stop, told):
    """Write until the file ``stop`` is there; then tell what each row must be: text, and the seed of its vector.

    The application embeds by the model that the column is for: it reads the width.
    """
    adapter, rng = small.both_ways(), np.random.default_rng(1)
    rows, deleted, number, retried = {}, set(), 0, 0
    with psycopg.connect(uri, autocommit=True) as connection:
        keys = [key for (key,) in connection.execute("SELECT id FROM docs ORDER BY 1")]
        while not Path(stop).exists():
            number += 1
            kind = rng.choice(["insert", "update", "delete"])
            key = 10_000 + number if kind == "insert" else int(rng.choice(keys))
            for _ in range(50):
                width = connection.execute(
                    "SELECT atttypmod FROM pg_attribute WHERE attrelid = 'docs'::regclass AND attname = 'v'"
                ).fetchone()[0]
                x = small.vectors(1, seed=number)
                vector = str((x if width == 6 else adapter(x))[0].tolist())
                try:
                    if kind == "delete":
                        connection.execute("DELETE FROM docs WHERE id = %s", (key,))
                        rows.pop(key, None)
                        deleted.add(key)
                    else:
                        connection.execute(
                            "INSERT INTO docs (id, text, v) VALUES (%s, %s, %s) "
                            "ON CONFLICT (id) DO UPDATE SET text = excluded.text, v = excluded.v",
                            (key, f"by {number}", vector),
                        )
                        rows[key] = (f"by {number}", number)
                        deleted.discard(key)
                        keys.append(key)
                    break
                except psycopg.Error:  # the model has changed between the question and the row
                    retried += 1
            else:
                raise SystemExit("the table does not take a row any more")
            Path(f"{told}.writes").write_text(str(number))
    Path(told).write_text(json.dumps({"rows": rows, "deleted": sorted(deleted), "writes": number, "retried": retried}))


if __name__ == "__main__":
    main(*sys.argv[1:])
