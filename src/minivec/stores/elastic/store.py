"""An index of Elasticsearch or OpenSearch: how it is read."""

import json
import re
from abc import abstractmethod
from collections.abc import Sequence
from functools import cached_property
from typing import Any

from minivec.stores.address import Address, says_yes
from minivec.stores.base import MIGRATIONS, Block, Schema
from minivec.stores.checkpoint import Checkpoint
from minivec.stores.elastic import mapping
from minivec.stores.elastic.rows import COLUMNS, near, table, taken_from
from minivec.stores.elastic.talk import Talk
from minivec.stores.elastic.writing import ElasticWriting
from minivec.stores.errors import Denied, Refused, StoreError
from minivec.stores.keyed import Keyed
from minivec.stores.requests import page
from minivec.stores.trees import dumped, vectors_of

MOST = 10_000  # rows that a server gives for one search, unless it is told otherwise
PORT = 9_200
NAME = re.compile(r'[^\\/*?"<>|\s,#:_+-][^\\/*?"<>|\s,#:]*')
INFERRED = "_inference_fields"  # what the server adds where vectors are asked for


class ElasticStore(ElasticWriting, Talk, Keyed):
    """An index, by document id. ``column`` names the field of vectors where there are several.

    ``https=true`` and ``ca=FILE``, the certificates of the authority, are options, and ``where`` is a query as JSON.
    The ids of all rows are read first, from a point in time, and then the documents a page at a time. A destination is
    a new index with the same mappings and settings, or a new field of the source's own documents. The checkpoint is a
    document of an index of its own, written behind the rows.
    """

    scheme: str
    field: mapping.Kind
    keeps_nulls = True

    def __init__(self, address: Address):
        super().__init__(address)
        self.column, self.where, self.tls, self.authority = address.take("column", "where", "https", "ca")
        self._asked = self.column
        self._numbers = False  # whether the keys are whole numbers, as a destination of another kind of store
        self._known: dict[str, dict[str, Any]] = {}
        self._written = False  # whether there may be rows that searches do not see yet
        self._routed = None  # whether there are rows with another routing than their id
        if not address.host or not NAME.fullmatch(address.path) or len(address.path.encode()) > 255:
            raise Refused(f"{self}: expected {self.scheme}://HOST:PORT/INDEX, the name of one index or alias")
        self.name = address.path

    @abstractmethod
    def _open(self, index: str) -> Any:
        """A point in time of an index."""

    @abstractmethod
    def _shut(self, pit: Any) -> None:
        """Let go of a point in time."""

    def _server(self) -> str:
        tls = says_yes(self.tls)
        host = f"[{self.address.host}]" if ":" in str(self.address.host) else self.address.host
        return f"{'https' if tls else 'http'}://{host}:{self.address.port or PORT}"

    def place(self) -> str:
        """The host and port, and the index."""
        return f"{self.scheme}://{self.address.host}:{self.address.port or PORT}/{self.name}"

    def _told(self, name: str) -> dict[str, Any] | None:
        """Name, mappings and settings of an index or of that of an alias, or None where there is none."""
        told = self._ask("GET", name, absent=True, include_defaults="true", flat_settings="true")
        if told is None:
            return None
        if len(told) > 1 or any("data_stream" in info for info in told.values()):
            raise Refused(f"{self}: {name!r} stands for {', '.join(sorted(told))}; name one index, no data stream")
        ((index, info),) = told.items()
        return {"defaults": {}, **info, "name": index}

    def _exists(self, name: str) -> bool:
        return self._told(name) is not None

    def _info(self) -> dict[str, Any]:
        """What the server tells of the index; Refused where there is no such index."""
        if self.name not in self._known:
            if (told := self._told(self.name)) is None:
                raise Refused(f"{self}: no index {self.name!r}")
            self._known[self.name] = told
        return self._known[self.name]

    def _setting(self, name: str, default: Any = None) -> Any:
        info = self._info()
        return info["settings"].get(f"index.{name}", info["defaults"].get(f"index.{name}", default))

    def _most(self, index: str) -> int:
        """How many rows the server gives for one search."""
        return min(MOST, int(self._setting("max_result_window", MOST))) if index == self.name else MOST

    def _has(self, column: str) -> bool:
        return any(path == column for path, *_ in mapping.fields(self._info()["mappings"], self.field))

    @cached_property
    def _described(self) -> tuple[str, dict[str, Any]]:  # a field that is added later does not make it ambiguous
        return mapping.chosen(self._info()["mappings"], self.field, self.column, self)

    def schema(self) -> Schema:
        """The only field of vectors of floats, where none is named."""
        column, field = self._described
        own = COLUMNS if self._old_column is None else ()  # the rows are the source's
        return Schema(column, "_id", int(field[self.field.width]), own)

    def arrow_schema(self) -> Any:
        """The id, the document without the vectors as JSON, its routing, and the vectors."""
        pa, schema = self.client("pyarrow"), self.schema()
        return pa.schema([*table([], [], []).schema, (str(schema.column), pa.list_(pa.float32(), schema.width))])

    @cached_property
    def _query(self) -> dict[str, Any]:
        """The query of the address, or one for all rows."""
        if self.where is None:
            return {"match_all": {}}
        try:
            return dict(json.loads(self.where))
        except (ValueError, TypeError):
            raise Refused(f"{self}: where must be a query as JSON, got {self.where!r}") from None

    def count(self) -> int:
        """The rows that meet the condition, if there is one."""
        self._fresh(self.name)
        told = self._ask("POST", self.name, "_count", body={"query": self._query})
        if told["_shards"]["failed"]:
            raise StoreError(f"{self}: the server could not count all rows")
        return int(told["count"])

    def keys(self) -> Sequence[Any]:
        """All ids, sorted."""
        self._info()
        self._fresh(self.name)
        found = set(self._scan(self.name, self._query))
        return sorted(map(int, found)) if self._numbers else sorted(found)

    def check(self) -> None:
        """The documents are kept whole, no two have the same id, and each has the vector, unless it may be missing."""
        kept = self._info()["mappings"].get("_source", {})
        if kept.get("enabled") is False or kept.get("excludes") or kept.get("includes"):
            raise Refused(f"{self}: its mapping does not keep the documents whole (_source): {dumped(kept)}")
        rows, column = self.count(), self.schema().column
        if rows > (ids := len(self.keys())):
            raise Refused(f"{self}: {rows - ids} rows have the id of another row, with another routing")
        if not self.skip_nulls:
            lacking = {"bool": {"must": [self._query], "must_not": [{"exists": {"field": column}}]}}
            told: Any = self._found(self.name, {"query": lacking, "size": 5, "_source": False})
            without = [hit["_id"] for hit in told["hits"]["hits"]]
            self.refuse("no vector", range(len(without)), without)

    def fetch(self, keys: Sequence[Any], payload: bool = True) -> Block:
        """The rows with these ids."""
        column = str(self.schema().column)
        source: Any = {"excludes": [INFERRED]} if payload else {"includes": [column]}
        if self._setting("mapping.exclude_source_vectors") is not None:  # servers from 9.2 on leave vectors out
            source["exclude_vectors"] = False
        found = self._hits(keys, source)
        there = [key for key in keys if str(key) in found]
        hits = [found[str(key)] for key in there]
        if any("_source" not in hit for hit in hits):
            raise Refused(f"{self}: its mapping does not keep the documents (_source), so they cannot be read")
        return self._block(there, hits, payload)

    def _hits(self, keys: Sequence[Any], source: Any) -> dict[str, dict[str, Any]]:
        """What a search finds of the rows with these ids, by id."""
        if self._written:
            self._fresh(self.name)
            self._written = False
        size = self._page(self._most(self.name)) if source else self._most(self.name)
        found: dict[str, dict[str, Any]] = {}
        for start in range(0, len(keys), size):
            some = [str(key) for key in keys[start : start + size]]
            told: Any = self._found(
                self.name, {"query": {"ids": {"values": some}}, "size": len(some), "_source": source}
            )
            found |= {hit["_id"]: hit for hit in told["hits"]["hits"]}
        return found

    def _page(self, size: int) -> int:
        return min(self._most(self.name), page(size, self.schema().width))

    def _block(self, keys: list[Any], hits: list[dict[str, Any]], payload: bool) -> Block:
        (column, _), width = self._described, self.schema().width
        trees = [hit["_source"] for hit in hits]
        values = [taken_from(tree, column) for tree in trees]
        fits = [value is None or isinstance(value, list) and len(value) == width for value in values]
        self.refuse(f"other than {width} numbers", [i for i, good in enumerate(fits) if not good], keys)
        missing = [i for i, value in enumerate(values) if value is None]
        if not self.skip_nulls:
            self.refuse("no vector", missing, keys)
        rest = None
        if payload:
            routes = [hit.get("_routing") for hit in hits]
            rest = table([str(key) for key in keys], list(map(dumped, trees)), routes)
        return Block(keys, vectors_of(values, width), rest, keys[-1] if keys else None, missing)

    def alike(self, one: Any, other: Any) -> bool:
        """Whether two rows differ by rounding only: a server that keeps other vectors as it searches them rounds."""
        if not (one.get("document") and other.get("document")) or one.get("routing") != other.get("routing"):
            return False
        trees = [json.loads(row["document"]) for row in (one, other)]
        paths = [path for path, *_ in mapping.fields(self._info()["mappings"], self.field)]
        pairs = [[taken_from(tree, path) for tree in trees] for path in paths]
        return trees[0] == trees[1] and all(near(*pair) for pair in pairs)

    def resume(self, checkpoint: Checkpoint) -> None:
        """Take over its field."""
        super().resume(checkpoint)
        vars(self).pop("_described", None)
        self._numbers = checkpoint.own.get("numbers", False)

    def _read_note(self, name: str) -> str | None:
        try:
            found = self._ask("GET", MIGRATIONS, "_doc", name, absent=True)
        except Denied:  # of a role that may only read the source; a destination needs to write notes
            return None
        return None if found is None else str(found["_source"]["text"])

    def _write_note(self, name: str, text: str | None) -> None:
        if text is None:
            self._ask("DELETE", MIGRATIONS, "_doc", name, absent=True)
            return
        if MIGRATIONS not in self._known:
            if (told := self._told(MIGRATIONS)) is None:
                self._create(MIGRATIONS, {"mappings": {"dynamic": False}})
            self._known[MIGRATIONS] = told or {}
        self._ask("PUT", MIGRATIONS, "_doc", name, body={"text": text})

    def _note_names(self) -> list[str]:
        if self._told(MIGRATIONS) is None:
            return []
        self._fresh(MIGRATIONS)
        return sorted(self._scan(MIGRATIONS, {"match_all": {}}))

    def close(self) -> None:
        """Let go of the lock and the connections."""
        client = vars(self).get("_client")
        super().close()
        if client is not None:
            client.close()
