"""Small SQLite databases for the tests of stores: a table of BLOBs, and a vec0 table of sqlite-vec."""

import numpy as np
import pytest

from minivec.stores import open_store
from minivec.stores.sql.base import quoted
from small import Database, exceptions, table


class Sqlite(Database):
    def __init__(self, root):
        self.root = root / "docs.db"
        self.store = open_store(self.url("docs"))
        self.store._writes = True

    def url(self, name):
        return f"sqlite://{self.root}/{name}"

    def run(self, query, parameters=()):
        return self.store._connect().execute(query, parameters).fetchall()

    def make(self, name, width):
        self.run(f"CREATE TABLE {quoted(name)} (id INTEGER PRIMARY KEY, text TEXT, {quoted(self.column)} BLOB)")

    def fill(self, name, X, null=None):
        self.make(name, X.shape[1])
        self.run("BEGIN")
        for i, row in enumerate(table(X).to_pylist()):
            self._insert(name, row["id"], row["text"], None if i == null else row["v"])
        self.run("COMMIT")

    def _insert(self, name, key, text, x):
        value = None if x is None else np.asarray(x, "<f4").tobytes()
        self.run(f"INSERT INTO {quoted(name)} VALUES (?, ?, ?)", (key, text, value))

    def read(self, name):
        rows = self.run(f"SELECT id, text, {quoted(self.column)} FROM {quoted(name)}")
        return {key: (text, None if v is None else np.frombuffer(v, "<f4")) for key, text, v in rows}

    def update(self, name, key, x):
        value = None if x is None else np.asarray(x, "<f4").tobytes()
        self.run(f"UPDATE {quoted(name)} SET {quoted(self.column)} = ? WHERE id = ?", (value, key))

    def delete(self, name, key):
        self.run(f"DELETE FROM {quoted(name)} WHERE id = ?", (key,))

    def insert(self, name, key, x):
        self._insert(name, key, f"text {key}", x)

    def left(self):
        if not self.root.exists():
            return []
        return self.run("SELECT name, sql FROM sqlite_master ORDER BY 1")

    def client_classes(self):
        return []  # its methods cannot be replaced

    def errors(self):
        return exceptions("sqlite3", "builtins")

    def close(self):
        self.store.close()


class Vec0(Sqlite):
    """Vectors beside a key and an auxiliary column."""

    nulls = keeps_nulls = False
    column_names = r"[A-Za-z_][A-Za-z0-9_]*"

    def __init__(self, root):
        pytest.importorskip("sqlite_vec")
        super().__init__(root)
        if not hasattr(self.store._connect(), "enable_load_extension"):
            pytest.skip("neither sqlite3 nor pysqlite3 can load extensions")

    def make(self, name, width):
        columns = f"id INTEGER PRIMARY KEY, +text TEXT, {self.column} float[{width}] distance_metric=cosine"
        self.run(f"CREATE VIRTUAL TABLE {quoted(name)} USING vec0({columns})")

    def _insert(self, name, key, text, x):
        value = np.asarray(x, "<f4").tobytes()
        self.run(f"INSERT INTO {quoted(name)} (id, text, {quoted(self.column)}) VALUES (?, ?, ?)", (key, text, value))
