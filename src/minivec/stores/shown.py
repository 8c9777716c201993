"""What stores have in common that are shown as tables of Arrow: columns of JSON, other keys, and values compared."""

import base64
import json
from collections.abc import Callable, Iterator, Sequence
from datetime import date, time
from typing import Any

import wrapt

from minivec.stores.base import Block, Changes

Proxy: Any = wrapt.ObjectProxy  # a store seen through another one; newer versions give it a type parameter
MARK = b"minivec"  # in the metadata of an Arrow field of text: what its texts are
JSON, FIELDS = b"json", b"fields"  # JSON values; JSON objects whose fields are the row's own


def marked(name: str, what: bytes) -> Any:
    """An Arrow field of texts that are JSON."""
    import pyarrow as pa

    return pa.field(name, pa.string(), metadata={MARK: what})


def mark(field: Any) -> bytes | None:
    """What the texts of an Arrow field are, if they are JSON."""
    what: bytes | None = (field.metadata or {}).get(MARK)
    return what


def columns_of(source: Any) -> list[Any]:
    """The Arrow fields of a source but for its vectors."""
    names = source.schema().payload
    return [field for field in source.arrow_schema() if field.name in names]


class ShownAsArrow(Proxy):
    """What the stores that are shown as Arrow have in common."""

    kind = "arrow"

    def fields(self) -> list[Any]:
        """The columns but for the vectors, as Arrow fields."""
        raise NotImplementedError

    def columns(self, block: Block) -> list[Any]:
        """A block's columns as Arrow arrays, or lists of values."""
        raise NotImplementedError

    def arrow_schema(self) -> Any:
        """The key, the other columns, and behind them the vectors, where they have a name."""
        import pyarrow as pa

        schema = self.schema()
        vectors = [pa.field(schema.column, pa.list_(pa.float32(), schema.width))] if schema.column else []
        return pa.schema([*self.fields(), *vectors])

    def blocks(self, size: int, after: Any = None, payload: bool = True) -> Iterator[Block]:
        """Rows in the source's order."""
        for block in self.__wrapped__.blocks(size, after, payload):
            yield self.shown(block) if payload else block

    def fetch(self, keys: Sequence[Any], payload: bool = True) -> Block:
        """The rows with these keys."""
        return self.shown(self.__wrapped__.fetch(keys))

    def shown(self, block: Block) -> Block:
        """The block with Arrow as payload, without the vectors."""
        import pyarrow as pa

        fields = self.fields()
        with self.guard():
            arrays = [pa.array(values, f.type) for values, f in zip(self.columns(block), fields, strict=True)]
        return block._replace(payload=pa.Table.from_arrays(arrays, schema=pa.schema(fields)))

    def comparable(self, payload: Any) -> Sequence[Any]:
        """The rows without their vectors."""
        return payload.select(list(self.schema().payload)).to_pylist()

    def alike(self, one: Any, other: Any) -> bool:
        """Whether two rows have values that are the ``same``."""
        return one.keys() == other.keys() and all(same(value, other[name]) for name, value in one.items())


def same(one: Any, other: Any) -> bool:
    """Whether two values are equal, or one is the other as JSON, as text, or without its nanoseconds."""
    if one == other or (one != one and other != other):
        return True
    if hasattr(one, "isoformat") and hasattr(other, "isoformat"):
        one, other = (
            value.isoformat(**{"timespec": "microseconds"} if hasattr(value, "hour") else {}) for value in (one, other)
        )
        return bool(one == other)
    if isinstance(one, str) and isinstance(other, str) and one[:1] not in ("{", "["):
        return False
    return bool(_read(one) == _read(other))


def _read(value: Any) -> Any:
    """A value as JSON has it, or what a text of JSON says."""
    try:
        return json.loads(value) if isinstance(value, str) and value[:1] in "{[" else plain(value)
    except ValueError:
        return value


def translated(found: Changes | None, forward: Callable[[Any], Any]) -> Changes | None:
    """Changes with other keys."""
    if found is None:
        return None
    return Changes([*map(forward, found.written)], [*map(forward, found.deleted)], found.version)


def plain(value: Any) -> Any:
    """A value as JSON has it."""
    if isinstance(value, dict):
        return {str(name): plain(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, date | time):
        return value.isoformat()
    return value if value is None or isinstance(value, bool | int | float | str) else str(value)


def written(value: Any) -> str | None:
    """A value as a text of JSON; None stays None."""
    return None if value is None else json.dumps(value, ensure_ascii=False)
