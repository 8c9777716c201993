"""What tests of stores share: the class of a small database, its rows, and a map that needs no fit."""

import re
import sys
from importlib import import_module
from urllib.parse import quote

import numpy as np

from minivec.runtime import QueryAdapter

RELIABLE = {"verdict": "reliable", "confidence": 0.9}


def bridge(dA=6, dB=8, seed=0, history=RELIABLE):
    """A map from dA to dB dimensions."""
    rng = np.random.default_rng(seed)
    W = np.linalg.qr(rng.standard_normal((max(dA, dB),) * 2))[0][:dA, :dB]
    weights = dict(W=W, source_mean=np.full(dA, 0.1), target_mean=np.full(dB, 0.05), target_norm=1, expected_cosine=0.8)
    return QueryAdapter(weights, history)


def both_ways(**options):
    """The same map with a way back."""
    weights = dict(bridge(**options).weights)
    weights |= {"source_norm": 1, "inverse_W": weights["W"].T, "expected_cosine": 1}
    return QueryAdapter(weights, RELIABLE)


def vectors(rows, width=6, seed=0):
    X = np.random.default_rng(seed).standard_normal((rows, width))
    return (X / np.linalg.norm(X, axis=1, keepdims=True)).astype(np.float32)


def table(X, null=None, column="v"):
    """Ids that do not follow the order of the rows, texts and vectors as Arrow."""
    import pyarrow as pa

    ids = np.random.default_rng(1).permutation(len(X))
    rows = [None if i == null else x for i, x in enumerate(X)]
    kind = pa.list_(pa.float32(), X.shape[1])
    return pa.table({"id": ids, "text": [f"text {i}" for i in ids], column: pa.array(rows, kind)})


class Database:
    """What a test asks of every kind: addresses, rows, and changes of single rows.

    ``read`` gives (text, vector) by id; None, there and for ``update``, is a vector that is missing. A class that is a
    kind of its own is a line in MAKERS.
    """

    column = "v"
    nulls = True  # whether a row may have no vector
    keeps_nulls = True  # whether a destination does
    payload = True  # whether its rows have more than a vector
    columns = True  # whether vectors lie in a column with a name
    in_place = False  # whether the destination is the source's own rows
    names = column_names = r".*"  # of tables, collections or files, and of columns: a regular expression

    def source(self, name="docs"):
        """The address of the vectors that ``fill`` has made."""
        return self.url(name)

    def quoted(self, name):
        """A name as a part of an address."""
        return quote(name, safe="")

    def client_classes(self):
        """The classes of the client whose methods a migration calls."""
        return []

    def errors(self):
        """The exceptions that the client may raise."""
        return []

    def let_go(self):
        """Let other processes have the files."""

    def close(self):
        pass


class File(Database):
    """What is written as a whole: a change of one row writes all others anew."""

    def __init__(self, root):
        self.root = root

    def quoted(self, name):
        return name

    def fill(self, name, X, null=None):
        self.store(name, {key: (text, v) for key, text, v in zip(*table(X, null).to_pydict().values(), strict=True)})

    def update(self, name, key, x):
        rows = self.read(name)
        self.store(name, rows | {key: (rows[key][0], x)})

    def delete(self, name, key):
        self.store(name, {other: row for other, row in self.read(name).items() if other != key})

    def insert(self, name, key, x):
        self.store(name, self.read(name) | {key: (f"text {key}", x)})

    def left(self):
        return sorted(str(path.relative_to(self.root)) for path in self.root.rglob("*"))


def with_column(url, column):
    """The address with another column."""
    named = url if "column=" in url else f"{url}{'&' if '?' in url else '?'}column="
    return re.sub("column=[^&]*", f"column={column}", named)


def exceptions(*modules):
    """The classes of exceptions that these modules have."""
    named = [kind for module in map(import_module, modules) for kind in vars(module).values()]
    return [kind for kind in named if isinstance(kind, type) and issubclass(kind, Exception)]


def once(work):
    """Progress that does ``work`` after the first block."""
    done = []

    def progress(rows, total):
        if not done:
            done.append(rows)
            work()

    return progress


class Killed(Exception):
    """A run ends here, as by a kill."""


def killed_after(rows):
    """Progress that ends the run when so many rows are done."""

    def progress(done, total):
        if done >= rows:
            raise Killed

    return progress


def command(*arguments):
    """The command line as a process of its own."""
    return [sys.executable, "-W", "ignore", "-c", "from minivec.cli import main; main()", *map(str, arguments)]


def expected(X, adapter):
    """What a migration of ``table(X)`` makes: text and vector by id."""
    mapped = adapter(X)
    return {row["id"]: (row["text"], mapped[i]) for i, row in enumerate(table(X).to_pylist())}


def same(read, wanted, atol=1e-5):
    assert read.keys() == wanted.keys()
    for key, (text, vector) in wanted.items():
        assert read[key][0] == text
        if vector is None:
            assert read[key][1] is None
        else:
            np.testing.assert_allclose(read[key][1], vector, atol=atol)
