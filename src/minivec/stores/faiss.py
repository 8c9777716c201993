"""FAISS index files as a store: a destination's rows wait in a hidden file until its index is built of all of them."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import numpy as np

from minivec import files
from minivec.formats.base import ID
from minivec.formats.faiss.recipe import METRICS, Recipe
from minivec.formats.faiss.rows import ERRORS, FaissRows, built, record
from minivec.stores.address import Address
from minivec.stores.base import SAME, Block, Schema, Store
from minivec.stores.checkpoint import Checkpoint
from minivec.stores.errors import Refused, StoreError
from minivec.stores.files import ArrayStore

ROUNDING = 1e-4  # of a cosine


class FaissStore(ArrayStore):
    """A FAISS index. Its ids, where they are not the numbers of its rows, are the key, and a column of Arrow.

    ``?factory=...&metric=ip`` (or ``l2``) behind the name of a destination says which index is built. Otherwise it is
    one like the source's, or flat, of inner products, where the source is no index.
    """

    kind = "arrow"
    extra = "parquet"

    def __init__(self, address: Address, path: Path, column: str | None, options: str = ""):
        super().__init__(address, path, column)
        self._options = dict(parse_qsl(options, keep_blank_values=True))
        self._id, self._texts = ID, False
        if unknown := set(self._options) - {"factory", "metric"}:
            raise Refused(f"{path}: unknown option {min(unknown)!r}; known: factory, metric")
        if self._options.get("metric", "ip") not in METRICS:
            raise Refused(f"{path}: metric must be one of {', '.join(METRICS)}; got {self._options['metric']!r}")

    @property
    def _index(self) -> FaissRows:
        rows: Any = self._rows
        return rows

    def schema(self) -> Schema:
        """The ids are the key, where there are any."""
        key = None if self._index.ids is None else self._id
        return Schema(None, key, self._index.shape[1], self._payload())

    def _payload(self) -> tuple[str, ...]:
        return () if self._index.ids is None else (self._id,)

    def arrow_schema(self) -> Any:
        """The ids'."""
        pa = self.client("pyarrow")
        kind = pa.string() if self._texts else pa.int64()
        return pa.schema([pa.field(name, kind, nullable=False) for name in self._payload()])

    def values(self, column: str) -> Any:
        """The ids, as Arrow, without a look at the vectors."""
        ids, schema = self._index.ids, self.arrow_schema()
        numbers = range(self.count()) if ids is None else ids
        return self.client("pyarrow").array(numbers).cast(schema.field(0).type if ids is not None else "int64")

    def blocks(self, size: int, after: Any = None, payload: bool = True) -> Iterator[Block]:
        """Rows in order, with their ids as a record batch; a position is the number of rows before it."""
        for block in super().blocks(size, after):
            if block.payload is not None:
                pa, schema = self.client("pyarrow"), self.arrow_schema()
                ids = pa.array(block.payload, pa.int64()).cast(schema.field(0).type)
                block = block._replace(payload=pa.record_batch([ids], schema))
            yield block

    @property
    def told(self) -> str | None:  # type: ignore[override]
        """What a reader of the vectors should know."""
        return self._index.told

    def shown_otherwise(self) -> list[str]:
        """That the vectors are approximations, where they are."""
        return [f"{self}: {self.told}"] if self.told else []

    def accepts(self, source: Store) -> None:
        """Rows whose keys, if they have any, are whole numbers of 64 bits."""
        key = source.schema().key
        if key is not None and _kind(source, key) != "int64":
            for value in source.keys():
                if not _is_id(value):
                    what = f"FAISS's ids are whole numbers of 64 bits, and the key {key!r} of {source} is not"
                    raise Refused(f"{self}: {what}: {value!r}")

    def _planned(self, source: Store, width: int) -> tuple[Recipe, list[str]]:
        """The recipe of the new index, and what it will not have, or otherwise."""
        schema, given = source.schema(), getattr(source, "_index", None)
        try:
            like = Recipe.of(given.index) if given is not None and "factory" not in self._options else Recipe("Flat")
            factory, keyed = self._options.get("factory", like.factory), schema.key is not None
            if keyed and (given is None or "factory" in self._options) and not factory.startswith("IDMap"):
                factory = f"IDMap,{factory}"  # an IVF index with ids has no order of its rows
            metric = METRICS.get(self._options.get("metric", ""), like.metric if given is None else _metric(given))
            recipe = Recipe(factory, metric, like.metric_arg, like.settings).at(width, source.count(), keyed)
        except (ValueError, *ERRORS) as error:
            raise Refused(f"{self}: {error}") from error
        lost = [name for name in schema.payload if name != schema.key]
        notes = [f"{self}: an index has no columns; these are left out: {', '.join(lost)}"] if lost else []
        if otherwise := recipe.otherwise(factory, width):
            notes.append(f"{self}: {otherwise}")
        return recipe, notes

    def plan(self, source: Store, width: int) -> None:
        """Refused where there can be no such index."""
        self._planned(source, width)

    def rehearse(self, source: Store, width: int, block: Block) -> list[str]:
        """What the index will not have, or otherwise."""
        return self._planned(source, width)[1]

    def _begin(self, source: Store, width: int, state: Checkpoint) -> Checkpoint:
        recipe, self.notes = self._planned(source, width)
        key = source.schema().key
        texts = key is not None and _kind(source, key) in ("string", "large_string")
        self._partial.touch()
        own = {"start": 0, "row_bytes": record(width).itemsize, "width": width, "recipe": asdict(recipe)}
        return state.keep(**own, key=key, texts=texts)

    def resume(self, checkpoint: Checkpoint) -> None:
        """Take over the name of the ids, too."""
        super().resume(checkpoint)
        self.same = checkpoint.own.get("same", SAME)
        self._id, self._texts = checkpoint.own.get("key") or ID, bool(checkpoint.own.get("texts"))

    def note(self, checkpoint: Checkpoint, **own: Any) -> None:
        """Keep what was found when the index was built, too."""
        super().note(checkpoint, same=self.same, **own)

    def _packed(self, block: Block, state: Checkpoint) -> np.ndarray:
        """Rows with their ids; no vector is a row of zeros."""
        rows = np.empty(len(block.keys), record(state.own["width"]))
        key = state.own["key"]
        ids: Sequence[Any] = block.keys if key is None else block.payload[key].to_pylist()
        rows["id"], rows["vector"] = np.array([int(one) for one in ids], np.int64), block.vectors
        rows["vector"][np.asarray(block.missing, int)] = 0
        return rows

    def finish(self) -> None:
        """Build the index of the rows that wait, which stay until it is whole."""
        if not self._partial.exists():
            return
        state = Checkpoint.from_json(self._state.read_bytes(), self)
        import faiss

        try:
            with files.replacing(self.path) as temporary:
                with open(self._partial, "rb") as waiting:
                    index = built(Recipe(**state.own["recipe"]), waiting, state.own["width"])
                faiss.write_index(index, os.fspath(temporary))
            self._opened = None
            if self.told:
                self.same = self._least_cosine(state.own["width"])
                self.note(state)
        except ERRORS as error:
            raise StoreError(f"{self}: its index was not built: {' '.join(str(error).split())}") from error
        self._partial.unlink()

    def _least_cosine(self, width: int) -> float:
        """The least cosine of a row of the index with the row that it was built of, as verification may find it."""
        least = SAME
        with open(self._partial, "rb") as waiting:
            for block in self._index.blocks(4_096):
                rows = np.fromfile(waiting, record(width), len(block))["vector"]
                lengths = np.linalg.norm(rows, axis=1) * np.linalg.norm(block, axis=1)
                cosine = np.einsum("ij,ij->i", rows, block) / np.maximum(lengths, 1e-12)
                least = min(least, float(cosine[lengths > 0].min(initial=1)) - ROUNDING)
        return least


def _kind(source: Store, key: str) -> str:
    """The Arrow type of the source's key."""
    shown: Any = source
    return str(shown.arrow_schema().field(key).type)


def _is_id(value: Any) -> bool:
    """Whether a key, a number or its text, is one of FAISS's ids."""
    text = str(value)
    return text.removeprefix("-").isdecimal() and str(int(text)) == text and -(2**63) <= int(text) < 2**63


def _metric(rows: FaissRows) -> int:
    return int(rows.index.metric_type)
