"""What every store can do, and what its errors look like."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, Self
from urllib.parse import urlencode

import numpy as np

from minivec.extras import missing
from minivec.files import refuse
from minivec.stores.address import Address
from minivec.stores.checkpoint import Checkpoint
from minivec.stores.errors import Denied, Refused, StoreError
from minivec.stores.swapping import Swapping

SAME = 0.9999  # the least cosine of a stored row with its source's, mapped again; half precision is within it
DENIED = ("InsufficientPrivilege", "AuthorizationError", "InsufficientPermissionsError")  # exceptions of clients
MIGRATIONS = "minivec_migrations"  # table or collection of checkpoints, in stores that keep them apart


@dataclass(frozen=True)
class Schema:
    """Where vectors lie in a store: their column (None where there is but one), its key, and their width.

    ``payload`` names what else a row has.
    """

    column: str | None
    key: str | None
    width: int
    payload: tuple[str, ...] = ()


class Block(NamedTuple):
    """Some rows of a store, in key order.

    - ``keys`` (m)
    - ``vectors`` (m, width), float32; the rows named in ``missing`` are zero
    - ``payload``: the rest of the rows, as this kind of store hands it on
    - ``position``: JSON that tells ``blocks`` to go on behind the last row
    - ``missing``: the numbers (from 0, in this block) of rows without a vector, which a destination keeps without one
    """

    keys: Sequence[Any]
    vectors: np.ndarray
    payload: Any
    position: Any
    missing: Sequence[int] = ()


class Changes(NamedTuple):
    """What has happened to a source: keys of rows that were inserted or changed, and of rows that were deleted.

    ``version`` names the state that the rows have now, for the next question.
    """

    written: Sequence[Any]
    deleted: Sequence[Any]
    version: Any


class Store(Swapping, ABC):
    """Vectors in a database or file, read in blocks by key and written, elsewhere, with a checkpoint.

    A store connects when it is first asked for something, and only then needs its vendor's client. As a source it is
    never changed. As a destination it may not exist yet; ``checkpoint`` is then None. A question (``schema``,
    ``count``, ``keys``, ``checkpoint``, ``changes`` ...) changes nothing, neither here nor in the database.

    A migration calls, of the destination: ``checkpoint``, ``accepts``, then ``plan``, ``lock`` and ``create``, or
    ``lock`` and ``resume``, ``write`` block by block, ``replace`` and ``remove`` to catch up, ``finish``, ``close``.
    """

    kind: ClassVar[str]  # stores of one kind can hand their payload on to one another
    extra: ClassVar[str] = ""  # of minivec, that brings the client
    fetched: ClassVar[int] = 4_096  # rows of a sample that are asked for together
    keeps_nulls: ClassVar[bool] = False  # whether a row without a vector can be written; otherwise it is left out
    numbered: ClassVar[bool] = False  # whether rows have numbers for keys, from 0, and lie in their order
    tells_changes: bool = False  # whether ``changes`` can answer
    column: str | None = None  # of the vectors, where the address names one
    skip_nulls: bool = False  # rows without a vector are handed on as ``Block.missing``, and are not refused
    skip_bad_rows: bool = False  # nor are rows with NaN or infinity, or of one repeated value
    told: str | None = None  # what a reader of the vectors should know, such as that they are approximations
    notes: Sequence[str] = ()  # as a destination: what it has not carried over, and what it sets off
    same: float = SAME  # as a destination: less where it keeps approximations of its vectors
    without_triggers: bool = False  # as a destination: the database's triggers do not fire for what is written
    changed_at: str | None = None  # a column that tells when a row was last written, for stores without versions

    def __init__(self, address: Address):
        self.address = address

    def __str__(self) -> str:
        return str(self.address)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def identity(self) -> str:
        """What names this source, however its address is spelled: place, column and filter. It has no credentials.

        Call it before a migration makes a new column; the same text at two times means the same rows.
        """
        chosen = {"column": self.schema().column, "where": self.address.options.get("where")}
        options = {name: value for name, value in chosen.items() if value is not None}
        return f"{self.place()}?{urlencode(options, safe='/,')}" if options else self.place()

    def place(self) -> str:
        """The table, collection or file alone, whatever the spelling: paths are absolute, and hosts have a port."""
        return str(self.address).partition("?")[0]

    @abstractmethod
    def schema(self) -> Schema:
        """Where the vectors are; ValueError where there is no such table, column or key, or several fit."""

    @abstractmethod
    def count(self) -> int:
        """The rows there are now."""

    def comparable(self, payload: Any) -> Sequence[Any]:
        """The payload of a block, row by row, as values that are equal where their meaning is."""
        if not hasattr(payload, "to_pylist"):
            return payload
        if not hasattr(payload, "schema"):  # rows of a store's own kind
            return payload.to_pylist()
        names = [
            name for name in self.schema().payload if name in payload.schema.names
        ]  # the vectors may be among them
        return payload.select(names).to_pylist()

    def alike(self, one: Any, other: Any) -> bool:
        """Whether two rows' payload, of ``comparable``, mean the same although they are not equal."""
        return False

    def suits(self, bridge: Any) -> None:  # noqa: B027
        """ValueError where this source hands on vectors in another form than those that ``bridge`` was fitted on."""

    def check(self) -> None:  # noqa: B027  not every store can have what others must look for
        """Refuse, before any work, rows without a vector and keys that are missing or not unique."""

    def pin(self, version: Any = None) -> Any:
        """Read, from now on, the version of the data that this JSON value names, or the newest: its name.

        None where the store has no versions. ValueError where that version is gone.
        """
        return None

    def changes(self, since: Any) -> Changes | None:
        """What has happened to the rows since ``pin`` gave ``since``; None where the store cannot tell.

        The newest rows are compared, not those of the pinned version. Afterwards ``fetch`` gives the newest rows.
        """
        return None

    @abstractmethod
    def blocks(self, size: int, after: Any = None, payload: bool = True) -> Iterator[Block]:
        """All rows in key order, at most ``size`` at a time, or those behind a block's ``position``.

        Without ``payload`` it need not be read.
        """

    def head(self, size: int) -> Block | None:
        """The first rows, at most ``size``, perhaps without payload; None where there are none."""
        return next(self.blocks(size, payload=False), None)

    @abstractmethod
    def keys(self) -> Sequence[Any]:
        """All keys, in order."""

    @abstractmethod
    def fetch(self, keys: Sequence[Any], payload: bool = True) -> Block:
        """The rows with these keys, in their order; without those that are gone.

        Without ``payload`` it need not be read.
        """

    @abstractmethod
    def lock(self) -> None:
        """Keep other migrations out of this destination until ``close``; StoreError where one is at work.

        The lock of a process that was killed falls, at once or after a time that the error names.
        """

    @abstractmethod
    def checkpoint(self) -> Checkpoint | None:
        """The state that was last written here, or None where there is nothing yet.

        ValueError where there is something that no migration has made.
        """

    def origin(self) -> Checkpoint | None:
        """The state of the migration that made this source's vectors, under whatever name, or None."""
        try:
            made = self.checkpoint()
        except Refused:  # there is something, and no migration has made it
            return None
        return made if made is not None and made.new_column in (None, self.schema().column) else None

    def plan(self, source: "Store", width: int) -> None:  # noqa: B027
        """Refused, before anything is locked or made, where ``create`` could not make this destination."""

    @abstractmethod
    def create(self, source: "Store", width: int, checkpoint: Checkpoint) -> Checkpoint:
        """Make the column, table or collection for rows of ``source`` with vectors of this width, and note the state.

        Returns the state with ``new_column``, ``in_place`` and ``own`` filled in.
        """

    def create_rest(self, source: "Store", width: int, checkpoint: Checkpoint) -> None:  # noqa: B027
        """Make what ``create`` has left out in a run that was killed in it, before any row was written."""

    def resume(self, checkpoint: Checkpoint) -> None:
        """Be the destination that ``checkpoint`` tells of: take over its column."""
        self.column = checkpoint.new_column

    def losses(self, source: "Store") -> list[str]:
        """What of ``source`` a new destination does not take over, or changes, a line each."""
        return []

    def rehearse(self, source: "Store", width: int, block: Block) -> list[str]:
        """Do what ``create`` and ``write`` of a first ``block`` would do, and take it back: a dry run.

        Returns what would not be carried over, or would be changed, a line each; StoreError or ValueError for what
        would fail. Here nothing is tried.
        """
        return []

    @abstractmethod
    def write(self, block: Block, checkpoint: Checkpoint) -> None:
        """Write new rows, and that ``checkpoint`` is now reached: together, or rows that may be written again first."""

    def replace(self, block: Block, checkpoint: Checkpoint) -> None:
        """Write rows whose keys may be there already; Refused where that cannot be done.

        ``checkpoint`` is the state that holds until ``remove`` ends the catching up.
        """
        raise Refused(f"{self}: rows that are written cannot be changed")

    def remove(self, keys: Sequence[Any], checkpoint: Checkpoint) -> None:
        """Remove the rows with these keys, if any, then note ``checkpoint``; Refused where that cannot be done."""
        raise Refused(f"{self}: rows that are written cannot be removed")

    def note(self, checkpoint: Checkpoint, **own: Any) -> None:
        """Note these values beside the store's own, and nothing else; Refused where that cannot be done."""
        self.remove([], checkpoint.keep(**own))

    def finish(self) -> None:  # noqa: B027
        """Do what is left when all rows are written."""

    def close(self) -> None:  # noqa: B027
        """Let go of connections and files."""

    def accepts(self, source: "Store") -> None:
        """ValueError where this store cannot take what ``source`` hands on."""
        if self.kind != source.kind:
            raise Refused(f"{self}: rows of {source} cannot be kept whole there: {source.kind} to {self.kind}")

    def client(self, module: str) -> Any:
        """The vendor's client, or an ImportError that says how to get it."""
        try:
            return import_module(module)
        except ImportError as error:
            raise missing(f"{self}: needs {module}", self.extra) from error

    @contextmanager
    def guard(self) -> Iterator[None]:
        """Whatever a client raises inside, as a StoreError of one line without credentials."""
        try:
            yield
        except (StoreError, Refused, ImportError, KeyboardInterrupt, SystemExit, GeneratorExit):
            raise
        except BaseException as error:  # a panic of a client in Rust is no Exception
            name = type(error).__name__
            denied = isinstance(error, PermissionError) or name in DENIED
            what = self.address.hide(f"{self}: {str(error) or name}")
            raise (Denied if denied else StoreError)(what) from None  # a chained one would show what is hidden

    def named(self, keys: Sequence[Any]) -> Sequence[Any]:
        """What errors and notes call the rows with these keys."""
        return keys

    def refuse(self, what: str, rows: Any, keys: Sequence[Any]) -> None:
        """Refused (a ValueError) naming at most five of the ``keys`` of these row numbers, if there are any."""
        bad = [keys[i] for i in rows]
        refuse(self, f"{what} in", range(len(bad)), self.named(bad), Refused)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock file ``path``; StoreError where another process does. It falls with the process."""
    from filelock import FileLock, Timeout

    try:
        held = FileLock(path, timeout=0).acquire()
    except Timeout:
        raise StoreError(f"{path}: another migration is writing there") from None
    with held:
        yield
