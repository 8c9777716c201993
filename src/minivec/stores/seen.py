"""What a store without versions remembers of the rows it has handed on, to tell later what has changed since."""

import json
from collections.abc import Iterable
from hashlib import blake2b
from typing import Any

from minivec.stores.base import Block, Changes


class Seen:
    """Fingerprints of rows by key, some 150 bytes a row in memory."""

    def __init__(self) -> None:
        self._prints: dict[Any, bytes] = {}

    def add(self, block: Block) -> list[Any]:
        """Remember the rows of ``block``; the keys of those that are new or otherwise."""
        new, payload = [], block.payload
        if payload is None:
            payload = [None] * len(block.keys)
        elif hasattr(payload, "to_pylist"):
            payload = payload.to_pylist()
        for key, vector, rest in zip(block.keys, block.vectors, payload, strict=True):
            digest = blake2b(vector.tobytes(), digest_size=8)
            digest.update(json.dumps(rest, sort_keys=True, default=repr).encode())
            if self._prints.get(key) != digest.digest():
                self._prints[key] = digest.digest()
                new.append(key)
        return new

    def changes(self, blocks: Iterable[Block]) -> Changes:
        """What is otherwise in these blocks, which are all rows there are now; they are remembered instead."""
        written: list[Any] = []
        gone = set(self._prints)
        for block in blocks:
            gone.difference_update(block.keys)
            written += self.add(block)
        for key in gone:
            del self._prints[key]
        return Changes(written, list(gone), None)
