"""Databases on servers that the environment names: the kinds of databases.CLOUD, for ``python -m pytest -m cloud``."""

import os
from uuid import uuid4

import pytest

from minivec.stores import open_store


class Cloud:
    """What comes before a class of ``small.Database`` that takes any server of its vendor.

    ``variable`` is the environment variable with the server's address: a URL of the store without the name of a
    collection. The credentials are in it, or where the store looks for them. ``address`` is that URL. Every collection
    has the name that a test gives it behind a random ``prefix``, and ``close`` removes these and their notes. The
    class below gives ``left``, the names of all collections that begin with the prefix, and ``drop``, which removes
    one of them.
    """

    variable = ""

    def __init__(self, root):
        self.address = os.environ.get(self.variable, "").rstrip("/")
        if not self.address:
            pytest.skip(f"{self.variable} is not set: the URL of a server of your own, on which tests may write")
        self.prefix = f"minivec-test-{uuid4().hex[:8]}-"
        super().__init__(root)

    def close(self):
        for name in self.left():
            self.drop(name)
        with open_store(self.url("docs")) as store:
            for name in store._note_names():
                if self.prefix in name:
                    store._write_note(name, None)
        super().close()
