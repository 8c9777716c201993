"""Requests to Elasticsearch and OpenSearch by their clients, and what their errors say."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import quote

from minivec.stores.errors import Denied, Refused, StoreError
from minivec.stores.quiet import quiet

LINES = "application/x-ndjson"
WHOLE = {"allow_partial_search_results": "false"}  # rows of a shard that does not answer would be missing
KEEP = "5m"  # how long the server keeps a point in time, from one page to the next
SCANS = 3  # how often a point in time may be lost before the run ends
OLDER = "the server is older than its client: pip install 'elasticsearch<9' for a server of version 8"
HINTS = {"media_type_header_exception": OLDER, "UnsupportedProductError": "the address of OpenSearch is opensearch://"}


class Talk:
    """The part of the store that asks the server. Its errors are one line without credentials."""

    @contextmanager
    def guard(self: Any) -> Iterator[None]:
        """And what the server says is told without what is around it, and the clients keep their logs to themselves."""
        with quiet("elastic_transport", "opensearch"), super().guard():  # type: ignore[misc]
            try:
                yield
            except (StoreError, Refused):
                raise
            except Exception as error:
                status, told = getattr(error, "status_code", None), said(error)
                if told is None:
                    raise
                kind = Denied if status in (401, 403) else StoreError
                who = f"the server answers {status}: " if isinstance(status, int) else ""
                raise kind(self.address.hide(f"{self}: {who}{told}")) from None

    def _ask(self: Any, method: str, *path: str, body: Any = None, absent: bool = False, **params: str) -> Any:
        """The answer to a request. With ``absent`` it is None for what is not there. A body of bytes is lines."""
        client, place = self._client, "/" + "/".join(quote(part, safe="") for part in path)
        headers = {"accept": "application/json"}
        if body is not None:
            headers["content-type"] = LINES if isinstance(body, bytes) else "application/json"
        with self.guard():
            try:
                answer = client.perform_request(method, place, params=params, body=body, headers=headers)
            except Exception as error:
                if absent and getattr(error, "status_code", None) == 404:
                    return None
                raise
            return dict(answer) if answer else {}

    def _found(self: Any, index: str | None, body: dict[str, Any]) -> dict[str, Any] | None:
        """The answer to a search of an index, or of a point in time; None where that is gone."""
        path = ("_search",) if index is None else (index, "_search")
        told = self._ask("POST", *path, body={"track_total_hits": False, **body}, absent=index is None, **WHOLE)
        if told is not None and (told["timed_out"] or told["_shards"]["failed"]):
            raise StoreError(f"{self}: the server has not searched all of {index or self.name}")
        return told

    def _scan(self: Any, index: str, query: dict[str, Any]) -> list[str]:
        """The ids of all rows that a search finds, in no order."""
        for _ in range(SCANS):
            if (ids := self._scan_once(index, query)) is not None:
                return ids
        raise StoreError(f"{self}: the server has lost its point in time {SCANS} times; run the same command again")

    def _scan_once(self: Any, index: str, query: dict[str, Any]) -> list[str] | None:
        found: list[str] = []
        pit, size = self._open(index), self._most(index)
        body: dict[str, Any] = {"size": size, "query": query, "_source": False, "sort": [{"_shard_doc": "asc"}]}
        try:
            while True:
                try:
                    told = self._found(None, {**body, "pit": {"id": pit, "keep_alive": KEEP}})
                except StoreError as error:
                    if found or "_shard_doc" not in str(error) or body["sort"] == [{"_id": "asc"}]:
                        raise
                    body["sort"] = [{"_id": "asc"}]  # OpenSearch before 3.3
                    continue
                if told is None:
                    return None
                hits, pit = told["hits"]["hits"], told.get("pit_id", pit)
                found += (hit["_id"] for hit in hits)
                if len(hits) < size:
                    return found
                body["search_after"] = hits[-1]["sort"]
        finally:
            self._shut(pit)

    def _fresh(self: Any, index: str) -> None:
        """Let searches see what has been written. A role that may only read has to wait for the server to do so."""
        try:
            self._ask("POST", index, "_refresh")
        except Denied:
            pass


def said(error: Exception) -> str | None:
    """What a server says in an error of its client; None where there is nothing of the server's."""
    hint = HINTS.get(type(error).__name__)
    if hint:
        return f"{error}; {hint}"
    body = getattr(error, "body", None) or getattr(error, "info", None)
    if isinstance(body, dict) and "error" in body:
        return reason(body["error"])
    message = getattr(error, "message", None)  # which some errors of connections do not say
    return None if not message or str(message) in str(error) else f"{error}: {message}"


def reason(told: Any) -> str:
    """An error of the server in words: what it is, and the innermost cause."""
    if not isinstance(told, dict):
        return str(told)
    kind, words = told.get("type"), [told.get("reason")]
    cause = (told.get("root_cause") or [told])[0]
    while isinstance(cause, dict):
        words.append(cause.get("reason"))
        cause = cause.get("caused_by")
    words = list(dict.fromkeys(word for word in words if word))
    return "; ".join(filter(None, [f"{': '.join(map(str, words)) or kind}", HINTS.get(str(kind))]))
