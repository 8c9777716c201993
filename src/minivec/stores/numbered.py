"""Stores that number their rows (files, LanceDB), beside stores that keep rows by key."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from minivec.output import replacing
from minivec.stores.base import Block, Changes, Schema, Store
from minivec.stores.blocks import fetch_all
from minivec.stores.checkpoint import Checkpoint
from minivec.stores.errors import Refused
from minivec.stores.shown import Proxy

END = "end"  # among the positions: behind the last row, whatever the number of rows is


class Numbered(Proxy):
    """A source without keys, with the numbers of its rows as one: a first column of whole numbers.

    When rows of a table change, others get their numbers. So only a file can tell whether it has changed.
    """

    kind = "arrow"
    numbered = False

    @property
    def tells_changes(self) -> bool:
        """Of a file, whether it is another one now."""
        return bool(self.__wrapped__.fixed and self.__wrapped__.tells_changes)

    def changes(self, since: Any) -> Changes | None:
        """None of a table."""
        return self.__wrapped__.changes(since) if self.tells_changes else None

    def schema(self) -> Schema:
        """The numbers are the key."""
        schema = self.__wrapped__.schema()
        key = "row_number" if "id" in (*schema.payload, schema.column) else "id"
        return Schema(schema.column, key, schema.width, (key, *schema.payload))

    def arrow_schema(self) -> Any:
        """The numbers before the other columns."""
        import pyarrow as pa

        others: Any = getattr(self.__wrapped__, "arrow_schema", list)()
        return pa.schema([pa.field(str(self.schema().key), pa.int64(), nullable=False), *others])

    def blocks(self, size: int, after: Any = None, payload: bool = True) -> Iterator[Block]:
        """Rows in order, with their numbers."""
        return map(self._with_numbers, self.__wrapped__.blocks(size, after, payload))

    def fetch(self, keys: Sequence[int], payload: bool = True) -> Block:
        """The rows with these numbers."""
        return self._with_numbers(self.__wrapped__.fetch(keys, payload))

    def _with_numbers(self, block: Block) -> Block:
        import pyarrow as pa

        numbers, others = pa.array(block.keys, pa.int64()), block.payload
        columns = {} if others is None else dict(zip(others.schema.names, others.columns, strict=True))
        return block._replace(payload=pa.table({str(self.schema().key): numbers, **columns}))

    def comparable(self, payload: Any) -> Sequence[Any]:
        """The rows, numbers and all, without their vectors."""
        return payload.select(list(self.schema().payload)).to_pylist()

    def shown_otherwise(self) -> list[str]:
        """That there are numbers, and what follows."""
        told = f"{self}: rows have no key, so their numbers are one, in the column {self.schema().key!r}"
        changes = "" if self.__wrapped__.fixed else "; name a unique column (key=) to catch up with rows that change"
        return [*getattr(self.__wrapped__, "shown_otherwise", list)(), told + changes]


class ByKey(Proxy):
    """A store that numbers its rows, by the key column of ``source``: of itself, or of the source of its rows.

    As a destination it notes, in a file beside it, which position of the source belongs to which number of rows.
    """

    numbered = False

    def __init__(self, store: Any, source: Any):
        super().__init__(store)
        self._self_source = source
        self._self_known: dict[Any, int] | None = None
        self._self_before: dict[Any, int] | None = None  # the changes of a destination's rows
        self._self_replaced: set[int] = set()

    def _key(self) -> str:
        return str(self._self_source.schema().key)

    def _numbers(self) -> dict[Any, int]:
        """The numbers of the rows by their keys."""
        if self._self_known is None:
            keys = self.__wrapped__.values(self._key()).to_pylist()
            self._self_known = {key: number for number, key in enumerate(keys)}
            if len(self._self_known) < len(keys) or None in self._self_known:
                raise Refused(f"{self}: key {self._key()!r} is null or the same in several rows")
        return self._self_known

    def _keyed(self, block: Block) -> Block:
        return block._replace(keys=block.payload[self._key()].to_pylist())

    def named(self, keys: Sequence[Any]) -> Sequence[Any]:
        """The keys are names already."""
        return keys

    def refuse(self, what: str, rows: Any, keys: Sequence[Any]) -> None:
        """As any store does, with the keys that it has here."""
        Store.refuse(self, what, rows, keys)

    def keys(self) -> Sequence[Any]:
        """The values of the key column, in the order of the rows."""
        return list(self._numbers())

    def check(self) -> None:
        """The key is unique and not null, too."""
        self.__wrapped__.check()
        self._numbers()
        self._self_known = None  # another version may be read

    def blocks(self, size: int, after: Any = None, payload: bool = True) -> Iterator[Block]:
        """Rows in order, with their keys."""
        return map(self._keyed, self.__wrapped__.blocks(size, after))

    def fetch(self, keys: Sequence[Any], payload: bool = True) -> Block:
        """The rows with these keys."""
        numbers = self._numbers()
        return self._keyed(self.__wrapped__.fetch([numbers[key] for key in keys if key in numbers]))

    def pin(self, version: Any = None) -> Any:
        """The store's; the keys are those of that version."""
        self._self_known = None
        return self.__wrapped__.pin(version)

    def changes(self, since: Any) -> Changes | None:
        """The store's by key: a row that is written anew is not deleted."""
        before = list(self._numbers())
        found = self.__wrapped__.changes(since)
        if found is None:
            return None
        self._self_known = None
        written = [key for block in fetch_all(self.__wrapped__, found.written) for key in self._keyed(block).keys]
        deleted = {before[number] for number in found.deleted}.difference(written)
        return Changes(written, list(deleted), found.version)

    def _positions(self) -> Path:
        folder, name = self.__wrapped__._place()
        return Path(folder / f".{name}.positions.json")

    def _note(self, positions: dict[str, Any]) -> None:
        with replacing(self._positions()) as temporary:
            temporary.write_text(json.dumps(positions))

    def _noted(self) -> dict[str, Any]:
        """The positions by the number of rows; Refused where the file is gone."""
        if not self._positions().exists():
            raise Refused(f"{self}: {self._positions().name} beside it is gone; remove {self} and migrate again")
        noted: dict[str, Any] = json.loads(self._positions().read_text())
        return noted

    def checkpoint(self) -> Checkpoint | None:
        """The state with the source's position that belongs to the rows that are there."""
        state: Checkpoint | None = self.__wrapped__.checkpoint()
        if state is None or not state.rows:
            return state
        noted = self._noted()
        if END not in noted and str(state.rows) not in noted:
            raise Refused(f"{self}: {state.rows:,} rows, which are not those that the migration has written")
        return state.but(position=noted.get(END, noted.get(str(state.rows))))

    def write(self, block: Block, checkpoint: Checkpoint) -> None:
        """Note the positions before and behind the rows, and write them."""
        before = checkpoint.rows - len(block.keys)
        noted = self._noted() if before else {}
        last = noted.get(END, noted.get(str(before)))
        self._note({str(before): last, str(checkpoint.rows): checkpoint.position})
        self._self_known = None
        self.__wrapped__.write(block, checkpoint)

    def _change(self, checkpoint: Checkpoint) -> dict[Any, int]:
        """The numbers of the rows before any of them is changed."""
        if self._self_before is None:
            self.__wrapped__.change()
            self._note({END: checkpoint.position})
            self._self_known = None
            self._self_before = self._numbers()
        return self._self_before

    def replace(self, block: Block, checkpoint: Checkpoint) -> None:
        """Write the rows; ``remove`` takes away those that have had their keys."""
        before = self._change(checkpoint)
        self._self_replaced.update(before[key] for key in block.keys if key in before)
        columns = block.payload.select(list(self._self_source.schema().payload))
        self.__wrapped__.replace(block._replace(payload=columns), checkpoint)

    def remove(self, keys: Sequence[Any], checkpoint: Checkpoint) -> None:
        """Remove the rows with these keys, and those that others have replaced."""
        before = self._change(checkpoint)
        gone = self._self_replaced.union(before[key] for key in keys if key in before)
        self.__wrapped__.remove(sorted(gone), checkpoint)
        self._self_known = self._self_before = None
        self._self_replaced = set()
