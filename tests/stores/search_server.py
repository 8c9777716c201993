"""A stand-in for Elasticsearch and OpenSearch: the documented REST of what stores ask, with its limits and errors."""

import json
import threading
import time
from contextlib import contextmanager
from itertools import count, islice
from urllib.parse import parse_qsl, unquote

from local_server import Handler, serving
from search_index import Index, Refused
from search_queries import flattened, matches, source_of

LIMIT = 100 << 20  # bytes of a request (http.max_content_length)
WINDOW = 10_000  # rows that one search gives (index.max_result_window)
PRIVATE = ("uuid", "creation_date", "provided_name", "version.created", "history.uuid", "resize.source.name")
SHARDS = {"_shards": {"total": 1, "successful": 1, "skipped": 0, "failed": 0}}


class Server:
    """Indexes in memory, and what a test may set.

    ``limit`` is the bytes of a request, ``key`` the value of the header Authorization, and ``forbidden`` the ends of
    paths that the role may not ask. ``before`` is called with the method, path and body of each request; it may raise
    Refused, or sleep. ``busy`` is how many rows of bulk requests are still to be rejected. ``failed`` is the number of
    shards that do not answer a search. ``requests`` are the (method, path, bytes) that came in.
    """

    def __init__(self, flavour="elasticsearch", version=None):
        self.flavour, self.version = flavour, version or {"elasticsearch": "9.2.0", "opensearch": "3.3.0"}[flavour]
        self.indexes, self.aliases, self.pits = {}, {}, {}
        self.limit, self.key, self.forbidden, self.busy, self.failed = LIMIT, None, (), 0, 0
        self.before, self.requests = lambda method, path, body: None, []
        self._lock, self._numbers = threading.RLock(), count(1)

    @property
    def hides_vectors(self):
        """Whether the server leaves vectors out of documents, and can be told not to."""
        return self.flavour == "elasticsearch" and self._since(9, 2)

    def _since(self, *version):
        return tuple(map(int, self.version.split(".")[:2])) >= version

    def answer(self, method, target, headers, read):
        path, _, query = target.partition("?")
        size = int(headers.get("Content-Length") or 0)
        self.requests.append((method, path, size))
        text = read(size)
        if size > self.limit:
            raise Refused(413, "content_too_long_exception", f"entity content is too long [{size}]")
        if self.flavour == "opensearch" and "vnd.elasticsearch" in (headers.get("Content-Type") or ""):
            raise Refused(406, "not_acceptable", f"Content-Type header [{headers['Content-Type']}] is not supported")
        for name in ("Accept", "Content-Type") if self.flavour == "elasticsearch" else ():
            wanted = (headers.get(name) or "").partition("compatible-with=")[2]
            if wanted and int(wanted) > int(self.version.split(".")[0]):
                told = f"{name} version must be either version 8 or 7, but found {wanted}. {name}={headers.get(name)}"
                raise Refused(400, "media_type_header_exception", f"Invalid media-type value on headers [{name}]",
                              {"type": "status_exception", "reason": told})  # fmt: skip
        if self.key is not None and headers.get("Authorization") != self.key:
            raise Refused(401, "security_exception", "unable to authenticate user for REST request")
        if path.endswith(self.forbidden):
            raise Refused(403, "security_exception", "action is unauthorized for user [reader]")
        lines = "ndjson" in (headers.get("Content-Type") or "")
        body = [json.loads(line) for line in text.splitlines()] if lines else json.loads(text or "{}")
        self.before(method, path, body)
        with self._lock:
            return self._dispatch(
                method, [unquote(part) for part in path.strip("/").split("/")], body, dict(parse_qsl(query))
            )

    def _dispatch(self, method, parts, body, query):
        match method, *parts:
            case "GET", "":
                return {"version": {"number": self.version, "distribution": self.flavour}}
            case "POST", "_aliases":
                return self._set_aliases(body)
            case "GET", "_alias", alias:
                return self._alias(alias)
            case "POST", "_search":
                return self._search(None, body, query)
            case "DELETE", "_pit":
                return {"succeeded": self._es().pits.pop(body["id"], None) is not None, "num_freed": 1}
            case "DELETE", "_search", "point_in_time":
                return {"pits": [{"pit_id": pit, "successful": bool(self.pits.pop(pit, 1))} for pit in body["pit_id"]]}
            case "POST", index, "_pit":
                return {"id": self._es().pit(index, query)}
            case "POST", index, "_search", "point_in_time":
                return {"pit_id": self.pit(index, query), **SHARDS}
            case "PUT", index if not index.startswith("_"):
                return self._create(index, body)
            case _, index, *rest if not index.startswith("_"):
                return self._of_index(method, index, rest, body, query)
        raise Refused(405, "method_not_allowed", f"Incorrect HTTP method for uri {parts}: {method}")

    def _es(self):
        if self.flavour != "elasticsearch":
            raise Refused(405, "method_not_allowed", "Incorrect HTTP method for uri [_pit]")
        return self

    def _of_index(self, method, name, rest, body, query):
        if method == "GET" and not rest:
            return self._get(name, query)
        if method == "DELETE" and not rest:
            if name in self.aliases:
                raise Refused(400, "illegal_argument_exception", "The provided expression matches an alias")
            del self.indexes[self.real(name)]
            self.aliases = {a: {i: v for i, v in to.items() if i != name} for a, to in self.aliases.items()}
            self.aliases = {alias: to for alias, to in self.aliases.items() if to}
            return {"acknowledged": True}
        index = self.indexes[self.real(name)]
        match method, *rest:
            case "PUT", "_mapping":
                index.map(body)
                return {"acknowledged": True}
            case "POST", "_refresh":
                index.refresh()
                return SHARDS
            case "POST", "_count":
                return {"count": sum(matches(doc, body["query"]) for doc in index.seen.values()), **SHARDS}
            case "POST", "_search":
                return self._search(name, body, query)
            case "POST", "_bulk":
                return self._bulk(index, body, query)
            case _, "_doc", key:
                return self._doc(method, index, key, body)
        raise Refused(400, "illegal_argument_exception", f"unknown request {method} {rest}")

    # Indexes and aliases.

    def real(self, name):
        """The index of a name, which may be an alias."""
        found = list(self.aliases.get(name, {name: None}))
        if found[0] not in self.indexes:
            raise Refused(404, "index_not_found_exception", f"no such index [{name}]")
        if len(found) > 1:
            raise Refused(400, "illegal_argument_exception", f"alias [{name}] has more than one index")
        return found[0]

    def _create(self, name, body):
        bad = set(name) & set('\\/*?"<>| ,#:') or name != name.lower() or name[0] in "_-+" or name in (".", "..")
        if bad or len(name.encode()) > 255:
            raise Refused(400, "invalid_index_name_exception", f"Invalid index name [{name}]")
        if name in self.indexes or name in self.aliases:
            raise Refused(400, "resource_already_exists_exception", f"index [{name}] already exists")
        flat = flattened(body.get("settings", {}))
        flat = {key if key.startswith("index.") else f"index.{key}": str(v).lower() if isinstance(v, int) else v
                for key, v in flat.items()}  # fmt: skip
        if private := [key for key in flat if key.removeprefix("index.") in PRIVATE]:
            told = f"private index setting [{private[0]}] can not be set explicitly"
            raise Refused(400, "validation_exception", told)
        made = {"number_of_shards": "1", "number_of_replicas": "1", "provided_name": name, "uuid": f"u{name}"}
        made |= {"creation_date": str(int(time.time() * 1000)), "version.created": "9039000"}
        flat = {f"index.{key}": value for key, value in made.items()} | flat
        if self.flavour == "opensearch" and '"knn_vector"' in json.dumps(body) and flat.get("index.knn") != "true":
            raise Refused(400, "mapper_parsing_exception", "Cannot set method: index.knn is not true")
        self.indexes[name] = Index(flat, body.get("mappings", {}), self.flavour)
        return {"acknowledged": True, "shards_acknowledged": True, "index": name}

    def _get(self, name, query):
        names = list(self.aliases.get(name, {name: None}))
        if "*" in name:
            names = [index for index in self.indexes if index.startswith(name.rstrip("*"))]
        made = {}
        for real in names:
            index = self.indexes[self.real(real)]
            aliases = {alias: to[real] for alias, to in self.aliases.items() if real in to}
            made[real] = {"aliases": aliases, "mappings": index.mappings, "settings": index.settings}
            if query.get("include_defaults"):
                made[real]["defaults"] = {"index.max_result_window": str(WINDOW)}
                if self.hides_vectors:
                    made[real]["defaults"]["index.mapping.exclude_source_vectors"] = "true"
        return json.loads(json.dumps(made))

    def _alias(self, alias):
        if alias not in self.aliases:
            raise Refused(404, "aliases_not_found_exception", f"alias [{alias}] missing")
        return {index: {"aliases": {alias: kept}} for index, kept in self.aliases[alias].items()}

    def _set_aliases(self, body):
        """All of the changes, or none."""
        made = {alias: dict(to) for alias, to in self.aliases.items()}
        for action in body["actions"]:
            ((what, given),) = action.items()
            index, alias = given["index"], given["alias"]
            if index not in self.indexes:
                raise Refused(404, "index_not_found_exception", f"no such index [{index}]")
            if what == "add" and alias in self.indexes:
                raise Refused(400, "invalid_alias_name_exception", f"an index [{alias}] exists with the same name")
            if what == "add":
                kept = {key: value for key, value in given.items() if key not in ("index", "alias")}
                made.setdefault(alias, {})[index] = kept
            elif made.get(alias, {}).pop(index, None) is None:
                raise Refused(404, "aliases_not_found_exception", f"aliases [{alias}] missing")
        self.aliases = {alias: to for alias, to in made.items() if to}
        return {"acknowledged": True}

    # Documents.

    def _doc(self, method, index, key, body):
        if method == "PUT":
            status = index.put(key, body)
            return {"_id": key, "result": "created" if status == 201 else "updated", **SHARDS}
        if method == "DELETE":
            if not index.delete(key):
                raise Answer(404, {"_id": key, "result": "not_found"})
            return {"_id": key, "result": "deleted"}
        found = index.get(key)  # at once, whether it has been refreshed or not
        if found is None:
            raise Answer(404, {"_id": key, "found": False})
        return {"found": True, **found}

    def _bulk(self, index, lines, query):
        """A pipeline of the index adds a field to each whole document, unless the request names none."""
        items, lines = [], iter(lines)
        pipeline = query.get("pipeline", index.settings.get("index.default_pipeline", "_none"))
        for action in lines:
            ((what, given),) = action.items()
            document = next(lines) if what != "delete" else None
            if what == "index" and pipeline != "_none":
                document["pipeline"] = pipeline
            items.append({what: {"_id": given["_id"], **self._one(index, what, given, document)}})
        errors = any("error" in result for item in items for result in item.values())
        return {"took": 1, "errors": errors, "items": items}

    def _one(self, index, what, given, document):
        key, routing = given["_id"], given.get("routing")
        try:
            if self.busy:
                self.busy -= 1
                raise Refused(429, "es_rejected_execution_exception", "rejected execution of coordinating operation")
            if index.settings.get("index.blocks.write") == "true":
                raise Refused(403, "cluster_block_exception", "index blocked by: [FORBIDDEN/8/index write (api)]")
            if what == "index":
                return {"status": index.put(key, document, routing)}
            if what == "update":
                return {"status": index.update(key, document["doc"], routing)}
            return {"status": 200 if index.delete(key, routing) else 404}
        except Refused as refused:
            return {"status": refused.status, "error": refused.told}

    # Searches.

    def pit(self, name, query):
        """A point in time, from which a search sees what it saw then."""
        number = f"pit{next(self._numbers)}"
        assert query["keep_alive"]
        self.pits[number] = self.real(name), list(self.indexes[self.real(name)].seen.values())
        return number

    def _search(self, name, body, query):
        size, pit = body.get("size", 10), body.get("pit")
        if pit is not None:
            if pit["id"] not in self.pits:
                told = f"No search context found for id [{pit['id']}]"
                raise Refused(404, "search_context_missing_exception", told)
            real, docs = self.pits[pit["id"]]
        else:
            real = self.real(name)
            docs = self.indexes[real].found(body.get("query", {}))
        index = self.indexes[real]
        if size > (most := int(index.settings.get("index.max_result_window", WINDOW))):
            raise Refused(400, "illegal_argument_exception", f"Result window is too large, it must be below [{most}]")
        if self.failed and query.get("allow_partial_search_results") == "false":
            raise Refused(503, "search_phase_execution_exception", "Partial shards failure")
        hits = list(islice(self._hits(index, docs, body), size))
        told = {"took": 1, "timed_out": False, **SHARDS, "hits": {"hits": hits}}
        return told | ({"pit_id": pit["id"]} if pit else {})

    def _hits(self, index, docs, body):
        """What a search finds, one after the other: what is behind the last one that is wanted is never looked at."""
        wanted, (after,) = body.get("query", {"match_all": {}}), body.get("search_after", [None])
        if "ids" in wanted:
            wanted = {"ids": {"values": set(wanted["ids"]["values"])}}
        for value, doc in self._sorted(docs, body.get("sort"), body.get("pit"), after):
            if matches(doc, wanted):
                hit = {"_id": doc["_id"], "_score": None, **({"sort": [value]} if body.get("sort") else {})}
                hit |= {"_routing": doc["_routing"]} if "_routing" in doc else {}
                source = source_of(index, doc["_source"], body.get("_source", True), self.hides_vectors)
                yield hit | ({} if source is None else {"_source": source})

    def _sorted(self, docs, sort, pit, after):
        """Documents behind ``after``, each with the value that it is sorted by."""
        field = next(iter(sort[0])) if sort else None
        if field == "_shard_doc" and (not pit or self.flavour == "opensearch" and not self._since(3, 3)):
            raise Refused(400, "search_phase_execution_exception", "all shards failed",
                          {"type": "query_shard_exception",
                           "reason": "No mapping found for [_shard_doc] in order to sort on"})  # fmt: skip
        if field == "_id":
            if self.flavour == "elasticsearch":
                told = "Fielddata access on the _id field is disallowed"
                raise Refused(400, "illegal_argument_exception", told)
            found = sorted((doc["_id"], i) for i, doc in enumerate(docs))
            return ((key, docs[i]) for key, i in found if after is None or key > after)
        start = 0 if after is None else after + 1
        return enumerate(docs[start:], start)


class Answer(Exception):
    """An answer with this status that is no error of the server."""

    def __init__(self, status, body):
        self.status, self.body, self.headers = status, body, {}


@contextmanager
def search_server(flavour="elasticsearch", version=None):
    """A running server and its address, HOST:PORT."""
    server = Server(flavour, version)

    class Asked(Handler):
        def handle_any(self):
            headers = {"X-Elastic-Product": "Elasticsearch"} if flavour == "elasticsearch" else {}
            try:
                status, answer = 200, server.answer(self.command, self.path, self.headers, self.rfile.read)
            except Answer as other:
                status, answer = other.status, other.body
            except Refused as refused:
                status, headers = refused.status, headers | refused.headers
                answer = {"error": {"root_cause": [refused.told], **refused.told}, "status": status}
            except (BrokenPipeError, ConnectionResetError):
                self.close_connection = True
                return
            accepted = (self.headers.get("Accept") or "").partition(",")[0]
            kind = accepted if "vnd.elasticsearch+json" in accepted else "application/json"
            self.answer(status, {"Content-Type": kind, **headers}, json.dumps(answer).encode())

        do_GET = do_PUT = do_POST = do_DELETE = handle_any

    with serving(Asked) as address:
        yield server, address
