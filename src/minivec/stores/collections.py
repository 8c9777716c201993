"""Collections of Chroma and Qdrant shown as tables of Arrow."""

from collections.abc import Sequence
from typing import Any

from minivec.stores.base import Block, Changes, Schema
from minivec.stores.shown import FIELDS, ShownAsArrow, marked, translated, written


class ChromaArrow(ShownAsArrow):
    """A collection of Chroma as a table: id, document, metadata as JSON, and URI."""

    def schema(self) -> Schema:
        """The columns; the vectors have no name."""
        names = tuple(field.name for field in self.fields())
        return Schema(None, "id", self.__wrapped__.schema().width, names)

    def fields(self) -> list[Any]:
        """Four columns of text."""
        import pyarrow as pa

        text = pa.string()
        key, document, uri = pa.field("id", text, nullable=False), pa.field("document", text), pa.field("uri", text)
        return [key, document, marked("metadata", FIELDS), uri]

    def columns(self, block: Block) -> list[Any]:
        """Documents, metadata and URIs."""
        documents, metadatas, uris = zip(*block.payload, strict=True) if block.payload else ((), (), ())
        return [block.keys, documents, [written(metadata) for metadata in metadatas], uris]


class QdrantArrow(ShownAsArrow):
    """A collection of Qdrant as a table: the id as text, the payload as JSON, and other vectors by their names."""

    def schema(self) -> Schema:
        """The columns."""
        schema = self.__wrapped__.schema()
        names = tuple(field.name for field in self.fields())
        return Schema(schema.column, "id", schema.width, names)

    def _others(self) -> dict[str, int]:
        """The widths of the other vectors of a point, but for sparse ones and multivectors."""
        vectors, column = self._info().config.params.vectors, self.__wrapped__.schema().column
        named = vectors if isinstance(vectors, dict) else {}
        return {name: v.size for name, v in named.items() if name != column and v.multivector_config is None}

    def fields(self) -> list[Any]:
        """Id, payload, vectors."""
        import pyarrow as pa

        others = [pa.field(name, pa.list_(pa.float32(), size)) for name, size in self._others().items()]
        return [pa.field("id", pa.string(), nullable=False), marked("payload", FIELDS), *others]

    def columns(self, block: Block) -> list[Any]:
        """Payload and vectors."""
        payloads, vectors = zip(*block.payload, strict=True) if block.payload else ((), ())
        others = [[named.get(name) for named in vectors] for name in self._others()]
        return [block.keys, [written(payload) for payload in payloads], *others]

    def shown(self, block: Block) -> Block:
        """The ids become texts."""
        return super().shown(block._replace(keys=[*map(str, block.keys)]))

    def keys(self) -> Sequence[str]:
        """All ids."""
        return [*map(str, self.__wrapped__.keys())]

    def fetch(self, keys: Sequence[str], payload: bool = True) -> Block:
        """The points with these ids."""
        return super().fetch([int(key) if key.isdecimal() else key for key in keys])

    def changes(self, since: Any) -> Changes | None:
        """The ids as texts."""
        return translated(self.__wrapped__.changes(since), str)

    def shown_otherwise(self) -> list[str]:
        """Vectors that are left out."""
        params = self._info().config.params
        named = params.vectors if isinstance(params.vectors, dict) else {}
        several = [name for name, vector in named.items() if vector.multivector_config is not None]
        left = ", ".join([*several, *(params.sparse_vectors or {})])
        return [f"{self}: sparse vectors and multivectors are left out: {left}"] if left else []
