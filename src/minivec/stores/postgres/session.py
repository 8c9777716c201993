"""A connection to one table of PostgreSQL: queries with quoted names, transactions, locks, and errors of one line."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from typing import Any, TypeVar

from minivec.stores.address import Address
from minivec.stores.base import Store
from minivec.stores.errors import Refused, StoreError

ITEM = {"vector": ">f4", "halfvec": ">f2"}  # types of pgvector and their numbers
ATTEMPTS, PAUSE = 5, 1.0  # of work that waits for locks, and the seconds between two of them
LOCK_TIMEOUT = "2s"  # longer, and the sessions behind a waiting ALTER TABLE stand still

# The texts of keys and payload must not depend on the role or the server. Without row_security=off the server leaves
# out rows in silence; with it, it refuses.
SETTLED = """
SET LOCAL row_security = off; SET LOCAL TimeZone = 'UTC'; SET LOCAL DateStyle = 'ISO, YMD';
SET LOCAL IntervalStyle = 'postgres'; SET LOCAL extra_float_digits = 1; SET LOCAL bytea_output = 'hex';
SET LOCAL idle_in_transaction_session_timeout = 0
"""
READING = f"SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY;{SETTLED}"
OID = """
SELECT c.oid FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.relname = %s AND
CASE WHEN %s::text IS NULL THEN pg_table_is_visible(c.oid) ELSE n.nspname = %s END
AND c.relkind IN ('r', 'p', 'v', 'm', 'f')
"""
HOLDERS = """
SELECT DISTINCT a.pid, a.usename, nullif(a.application_name, ''), a.state,
       extract(epoch FROM now() - a.xact_start)::int AS seconds, left(a.query, 80)
FROM pg_locks l JOIN pg_stat_activity a USING (pid)
WHERE l.relation = %s AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
AND l.granted AND pid <> ALL(%s) ORDER BY seconds DESC NULLS LAST LIMIT 3
"""
HINTS = {  # by the text of the server's message
    "statement timeout": "statement_timeout is set for this role or database; options=-c%20statement_timeout=0 in the "
    "URL lifts it, a smaller batch needs less time",
    "row-level security policy": "row security hides rows from this role; a role with BYPASSRLS or the owner sees all",
    "received 2 results": "the server cancelled the query: perhaps statement_timeout",
}

T = TypeVar("T")
Parameters = Sequence[Any] | Mapping[str, Any]


class Session(Store):
    """What every statement about the table goes through."""

    kind = "postgresql"
    extra = "postgres"
    _path = ""  # the statement that finds the operators of the key's types, where the search path does not

    def __init__(self, address: Address):
        super().__init__(address)
        options = dict(address.options)
        table = options.pop("table", None)
        self.column, self.key = options.pop("column", None), options.pop("key", None)
        self.type, self.namespace = options.pop("type", None), options.pop("schema", None)
        self.filter = options.pop("where", None)
        if not table:
            raise Refused(f"{self}: name the table: ?table=NAME")
        if self.type not in (None, *ITEM):
            raise Refused(f"{self}: type must be {' or '.join(ITEM)}, not {self.type!r}")
        if self.namespace is None and "." in table:
            self.namespace, _, table = table.partition(".")
        self.table: str = table
        self._target = {
            "host": address.host, "port": address.port, "user": address.user, "password": address.password,
            "dbname": address.path or None, **options,
        }  # fmt: skip

    @cached_property
    def _connection(self) -> Any:
        with self.guard():
            return self._connect(autocommit=True)

    def _connect(self, autocommit: bool) -> Any:
        psycopg, target = self.client("psycopg"), {"application_name": "minivec", **self._target}
        target = {name: value for name, value in target.items() if value not in (None, "")}
        conninfo = psycopg.conninfo.make_conninfo("", **target)  # which knows libpq's options, and no others
        return psycopg.connect(conninfo, autocommit=autocommit, prepare_threshold=None)  # for poolers

    @cached_property
    def _sql(self) -> Any:
        return self.client("psycopg.sql")

    @cached_property
    def _errors(self) -> Any:
        return self.client("psycopg.errors")

    @contextmanager
    def guard(self) -> Iterator[None]:
        """The client's exceptions as one line, with what helps against the known ones."""
        try:
            with super().guard():
                yield
        except StoreError as error:
            hint = next((hint for text, hint in HINTS.items() if text in str(error) and hint not in str(error)), None)
            if hint is None:
                raise
            raise type(error)(f"{error} ({hint})") from None

    def _quoted(self, value: Any) -> Any:
        """A string as an identifier, a list as several; a percent sign is doubled, as psycopg wants it."""
        if isinstance(value, list):
            return self._sql.SQL(", ").join(map(self._quoted, value))
        if isinstance(value, str):
            return self._sql.SQL(self._sql.Identifier(value).as_string().replace("%", "%%"))
        return value

    def _compose(self, query: str, **names: Any) -> Any:
        """A query with {names} put in: strings as quoted identifiers, lists as several, the rest as it is."""
        names = {"table": self._name(self.table), **names}
        return self._sql.SQL(query).format(**{name: self._quoted(value) for name, value in names.items()})

    def _plain(self, text: str) -> Any:
        """SQL that the server or the user wrote, to be put into a query."""
        return self._sql.SQL(text.replace("%", "%%").replace("{", "{{").replace("}", "}}")).format()

    def _name(self, table: str) -> Any:
        parts = [self._quoted(part) for part in (self.namespace, table) if part]
        return self._sql.SQL(".").join(parts)

    @staticmethod
    def shown(composed: Any) -> str:
        """A composed piece of a query as the server sees it."""
        return composed.as_string().replace("%%", "%")

    def exists(self, name: str) -> bool:
        """Whether there is a table, index or sequence of this name beside the table."""
        return self._query("SELECT to_regclass(%s)", (self.shown(self._name(name)),))[0][0] is not None

    def _run(self, query: str, parameters: Parameters = (), **names: Any) -> Any:
        """A statement of a transaction that ``guard`` is around."""
        return self._connection.execute(self._compose(query, **names), parameters)

    def _query(self, query: str, parameters: Parameters = (), **names: Any) -> list[Any]:
        """The rows of a query about the catalog."""
        with self.guard():
            cursor = self._run(query, parameters, **names)
            return cursor.fetchall() if cursor.description else []

    @contextmanager
    def _reading(self) -> Iterator[None]:
        """A transaction that sees one snapshot and can change nothing; within another one, that one."""
        with self.guard():
            if self._connection.info.transaction_status:
                yield
                return
            with self._connection.transaction():
                self._run(READING + ";{path}", path=self._plain(self._path))
                yield

    def _read(self, query: str, parameters: Sequence[Any] = (), **names: Any) -> list[Any]:
        """The rows of a query about the table's rows."""
        with self._reading():
            return self._run(query, parameters, **names).fetchall()

    def _locking(self, what: str, work: Callable[[], T]) -> T:
        """``work`` in a transaction of its own, tried again while other sessions hold the locks it needs.

        Within another one it is part of that one, which is tried again as a whole.
        """
        if self._connection.info.transaction_status:
            return work()
        busy = (self._errors.LockNotAvailable, self._errors.DeadlockDetected)
        for _ in range(ATTEMPTS):
            try:
                with self._connection.transaction():
                    limits = f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT}'; SET LOCAL row_security = off;"
                    self._run(limits + "{path}", path=self._plain(self._path))
                    return work()
            except busy:
                time.sleep(PAUSE)
        raise StoreError(f"{self}: {what} waits for a lock on {self.table!r}{self._holders()}")

    def _holders(self) -> str:
        """Who holds locks on the table, in words, or nothing."""
        told = [
            f"process {pid} ({', '.join(filter(None, (user, application, state)))}, for {seconds or 0} s): {query}"
            for pid, user, application, state, seconds, query in self._query(HOLDERS, (self._oid(), self._processes()))
        ]
        return " that others hold: " + "; ".join(told) if told else ""

    def _processes(self) -> list[int]:
        """The server's processes of this migration."""
        return [self._connection.info.backend_pid]

    def _oid(self) -> int | None:
        """The table's, or None where there is none."""
        found = self._query(OID, (self.table, self.namespace, self.namespace))
        return found[0][0] if found else None

    def _server(self) -> Any:
        return self._query("SELECT pg_postmaster_start_time()::text, current_database(), inet_server_port()")[0]

    def _forget(self) -> None:
        for cached in ("_layout", "_item"):
            self.__dict__.pop(cached, None)

    def close(self) -> None:
        """Close the connection, and forget what the table was like."""
        connection = self.__dict__.pop("_connection", None)
        self._forget()
        if connection is not None:
            connection.close()
