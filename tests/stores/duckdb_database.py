"""A small DuckDB database for the tests of stores."""

import numpy as np
import pytest

from minivec.stores import open_store
from minivec.stores.sql.base import quoted
from small import Database, exceptions, table


class Duck(Database):
    """One file. A process has one connection to it, which the store keeps."""

    def __init__(self, root):
        pytest.importorskip("duckdb")
        self.root = root / "docs.duckdb"
        self.store = open_store(self.url("docs"))
        self.store._writes = True

    def url(self, name):
        return f"duckdb://{self.root}/{name}"

    def run(self, query, parameters=()):
        return self.store._connect().execute(query, list(parameters)).fetchall()

    def fill(self, name, X, null=None):
        rows = table(X, null, self.column)
        kinds = f"id BIGINT PRIMARY KEY, text VARCHAR, {quoted(self.column)} FLOAT[{X.shape[1]}]"
        self.run(f"CREATE TABLE {quoted(name)} ({kinds})")
        connection = self.store._connect()
        connection.register("filled", rows)
        connection.execute(f"INSERT INTO {quoted(name)} SELECT * FROM filled")

    def read(self, name):
        rows = self.run(f"SELECT id, text, {quoted(self.column)} FROM {quoted(name)}")
        return {key: (text, vector) for key, text, vector in rows}

    def update(self, name, key, x):
        value = None if x is None else np.asarray(x).tolist()
        self.run(f"UPDATE {quoted(name)} SET {quoted(self.column)} = ? WHERE id = ?", (value, key))

    def delete(self, name, key):
        self.run(f"DELETE FROM {quoted(name)} WHERE id = ?", (key,))

    def insert(self, name, key, x):
        row = key, f"text {key}", np.asarray(x).tolist()
        self.run(f"INSERT INTO {quoted(name)} VALUES (?, ?, ?)", row)

    def left(self):
        return self.run("SELECT table_name, column_name FROM duckdb_columns() WHERE NOT internal ORDER BY ALL")

    def client_classes(self):
        return []  # its methods cannot be replaced

    def errors(self):
        return exceptions("duckdb", "builtins")

    def let_go(self):
        self.store.close()

    close = let_go
