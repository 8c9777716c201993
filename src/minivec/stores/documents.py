"""Rows of any source as the documents that Chroma and Qdrant keep, which are JSON."""

import json
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any
from uuid import NAMESPACE_URL, UUID, uuid5

from minivec.arrow import is_text
from minivec.stores.base import Block, Changes, Schema
from minivec.stores.shown import FIELDS, Proxy, columns_of, mark, plain, translated, written

TEXTS = ("document", "text")  # columns that may be Chroma's documents
LARGEST = 2**64  # of Qdrant's ids that are numbers


class Documents(Proxy):
    """A source of Arrow as one of documents, of the kind that ``destination`` keeps.

    Qdrant's payload has a field for each column; Chroma's metadata too, without nulls, and with JSON texts for what is
    nested. The column "document", or else "text", is Chroma's document, and "uri" its URI.
    """

    def __init__(self, source: Any, destination: Any):
        super().__init__(source)
        self._self_destination = destination
        self._self_chroma = destination.kind == "chroma"
        self._self_keys: dict[Any, Any] | None = None

    @property
    def kind(self) -> str:
        """The destination's."""
        return str(self._self_destination.kind)

    def schema(self) -> Schema:
        """The parts of a document."""
        schema = self.__wrapped__.schema()
        payload = ("document", "metadata", "uri") if self._self_chroma else ("payload",)
        return Schema(schema.column, schema.key, schema.width, payload)

    def comparable(self, payload: Any) -> Sequence[Any]:
        """The documents themselves."""
        return [*payload]

    def alike(self, one: Any, other: Any) -> bool:
        """As the destination sees it."""
        if not self._self_chroma:
            one, other = (one[0] or {}, one[1]), (other[0] or {}, other[1])
        return bool(self._self_destination.alike(one, other))

    def keys(self) -> Sequence[Any]:
        """All keys, as the destination has them."""
        self._self_keys = {self._forward(key): key for key in self.__wrapped__.keys()}
        return list(self._self_keys)

    def fetch(self, keys: Sequence[Any], payload: bool = True) -> Block:
        """The rows with these keys."""
        if self._self_keys is None or any(key not in self._self_keys for key in keys):
            self.keys()
        known = self._self_keys or {}
        return self._documents(self.__wrapped__.fetch([known[key] for key in keys if key in known]))

    def blocks(self, size: int, after: Any = None, payload: bool = True) -> Iterator[Block]:
        """Rows in the source's order."""
        for block in self.__wrapped__.blocks(size, after, payload):
            yield self._documents(block) if payload else block

    def changes(self, since: Any) -> Changes | None:
        """The keys as the destination has them."""
        found = self.__wrapped__.changes(since)
        self._self_keys = None
        return translated(found, self._forward)

    def _forward(self, key: Any) -> Any:
        """A key as the destination has it: a text, or of Qdrant a number or UUID, which may be a hash of the key."""
        if self._self_chroma:
            return str(key)
        text = str(key)
        if text.isdecimal() and str(int(text)) == text and int(text) < LARGEST:
            return int(text)
        try:
            return text if str(UUID(text)) == text else str(uuid5(NAMESPACE_URL, text))
        except ValueError:
            return str(uuid5(NAMESPACE_URL, text))

    def _documents(self, block: Block) -> Block:
        keys, key = block.keys, self.__wrapped__.schema().key
        columns = {
            field.name: (field, self._values(field, block))
            for field in columns_of(self.__wrapped__)
            if field.name != key
        }
        rows: list[dict[str, Any]] = [{} for _ in keys]
        for name, (field, values) in columns.items():
            for row, value in zip(rows, values, strict=True):
                row.update((value or {}) if mark(field) == FIELDS else {name: value})
        forward = [self._forward(old) for old in keys]
        if self._self_chroma:
            texts = [name for name in TEXTS if name in columns][:1] or TEXTS
            return block._replace(keys=forward, payload=[_of_chroma(row, texts) for row in rows])
        for row, old, new in zip(rows, keys, forward, strict=True):
            if str(old) != str(new):
                row[str(key)] = old
        return block._replace(keys=forward, payload=[(row, {}) for row in rows])

    def _values(self, field: Any, block: Block) -> list[Any]:
        """A column as values that JSON has."""
        import pyarrow as pa

        column = block.payload[field.name]
        if getattr(field.type, "unit", None) == "ns" and pa.types.is_temporal(field.type):
            column = column.cast(pa.string())
        values = column.to_pylist()
        if mark(field):
            return [None if value is None else json.loads(value) for value in values]
        read = [plain(value) for value in values]
        odd = [i for i, value in enumerate(read) if _not_json(value)]
        self.refuse(f"NaN or infinity, which JSON has not, in column {field.name!r}", odd, block.keys)
        return read

    def shown_otherwise(self) -> list[str]:
        """The columns whose values get another type, and the keys."""
        import pyarrow as pa

        told, fields = list(getattr(self.__wrapped__, "shown_otherwise", list)()), columns_of(self.__wrapped__)
        kinds: tuple[tuple[str, Callable[[Any], bool]], ...] = (
            ("texts, as JSON has no such type", lambda t: pa.types.is_temporal(t) or pa.types.is_decimal(t)),
            ("base64 texts", lambda t: pa.types.is_binary(t) or pa.types.is_large_binary(t)
             or pa.types.is_fixed_size_binary(t) or pa.types.is_binary_view(t)),
            ("texts of JSON", lambda t: pa.types.is_nested(t) and self._self_chroma),
        )  # fmt: skip
        for what, fits in kinds:
            if names := ", ".join(f"{field.name} ({field.type})" for field in fields if fits(field.type)):
                told.append(f"columns become {what}: {names}")
        key = self.__wrapped__.schema().key
        kind = next(field.type for field in fields if field.name == key)
        if self._self_chroma and not is_text(kind):
            told.append(f"keys become texts: {key} ({kind})")
        if not self._self_chroma and not pa.types.is_integer(kind):
            told.append(f"keys that are neither numbers nor UUIDs get a UUID, and stay in the payload: {key}")
        made = "the new collection is of cosine distance"
        return [*told, made if self._self_chroma else f"{made}, and gives back vectors of length 1"]


def _not_json(value: Any) -> bool:
    """Whether there is a NaN or an infinity in a plain value."""
    if isinstance(value, dict | list):
        return any(map(_not_json, value.values() if isinstance(value, dict) else value))
    return isinstance(value, float) and not math.isfinite(value)


def _of_chroma(row: dict[str, Any], texts: Sequence[str]) -> tuple[str | None, dict[str, Any] | None, str | None]:
    """A row as document, which is the first of ``texts`` that it has, metadata and URI."""
    rest = {name: value for name, value in row.items() if value is not None}
    text = next((name for name in texts if isinstance(rest.get(name), str)), None)
    document = None if text is None else rest.pop(text)
    uri = rest.pop("uri") if isinstance(rest.get("uri"), str) else None
    metadata = {name: written(value) if isinstance(value, dict | list) else value for name, value in rest.items()}
    return document, metadata or None, uri
