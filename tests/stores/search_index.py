"""One index of the stand-in for Elasticsearch and OpenSearch: what it takes, and what a search sees of it."""

import copy
from itertools import count
from zlib import crc32

import numpy as np

NUMBERS = ("long", "integer", "short", "byte", "double", "float", "unsigned_long")
MOST = {"dense_vector": 4_096, "knn_vector": 16_000}
WIDTH = {"dense_vector": "dims", "knn_vector": "dimension"}


class Refused(Exception):
    """An answer that is an error: its status, type, reason, and the cause of it."""

    def __init__(self, status, kind, reason, cause=None, headers=None):
        super().__init__(reason)
        self.status, self.headers = status, headers or {}
        self.told = {"type": kind, "reason": reason} | ({"caused_by": cause} if cause else {})


class Index:
    """Documents by shard and id. ``seen`` are those of the last refresh, which are all that a search sees."""

    def __init__(self, settings, mappings, flavour):
        self.settings, self.mappings, self.flavour = settings, {}, flavour
        self.shards = int(settings.get("index.number_of_shards", 1))
        self.docs, self.seen, self._numbers = {}, {}, count()
        self.map(mappings)

    def map(self, mappings):
        """Merge mappings, or refuse what cannot be changed."""
        mappings = copy.deepcopy(mappings)
        merged = copy.deepcopy(self.mappings)
        merged.update({key: value for key, value in mappings.items() if key != "properties"})
        self._merge(merged.setdefault("properties", {}), mappings.get("properties", {}))
        self.mappings = merged

    def _merge(self, old, new):
        for name, field in new.items():
            if not all(name.split(".")):
                raise Refused(400, "mapper_parsing_exception", f"field name [{name}] cannot be empty or end in a dot")
            head, _, rest = name.partition(".")
            if rest:
                field, name = {"properties": {rest: field}}, head
            known = old.get(name)
            if field.get("type") in WIDTH:
                field = self._vector(name, field)
                if known is not None and known != field:
                    raise Refused(400, "illegal_argument_exception", f"Mapper for [{name}] conflicts with existing")
            elif known is not None and known.get("type") != field.get("type"):
                raise Refused(400, "illegal_argument_exception", f"mapper [{name}] cannot be changed")
            made = old.setdefault(name, {})
            made.update({key: value for key, value in field.items() if key != "properties"})
            if "properties" in field:
                self._merge(made.setdefault("properties", {}), field["properties"])

    def _vector(self, name, field):
        kind = field["type"]
        if kind != {"elasticsearch": "dense_vector", "opensearch": "knn_vector"}[self.flavour]:
            raise Refused(400, "mapper_parsing_exception", f"No handler for type [{kind}] declared on field [{name}]")
        width = field.get(WIDTH[kind])
        if width is not None and not 1 <= width <= MOST[kind]:
            cause = f"The number of dimensions should be in the range [1, {MOST[kind]}] but was [{width}]"
            raise Refused(400, "mapper_parsing_exception", f"Failed to parse mapping: {cause}")
        if kind == "dense_vector":
            if str(field.get("index_options", {}).get("type", "")).startswith("bbq") and width < 64:
                raise Refused(400, "mapper_parsing_exception", "bbq_hnsw does not support dimensions below 64")
            if field.get("index", True):
                options = {"type": "int8_hnsw", "m": 16, "ef_construction": 100}
                field = {"similarity": "cosine", "index_options": options, **field, "index": True}
        encoder = field.get("method", {}).get("parameters", {}).get("encoder", {})
        if encoder.get("name") == "pq" and width % encoder["parameters"]["m"]:
            raise Refused(400, "mapper_parsing_exception", "m must divide the dimension")
        return field

    def vectors(self):
        """The paths of the fields of vectors, and these."""

        def of(properties, before=""):
            for name, field in properties.items():
                if field.get("type") in WIDTH:
                    yield before + name, field
                yield from of(field.get("properties", {}), f"{before}{name}.")

        return dict(of(self.mappings["properties"]))

    # Documents.

    def place(self, key, routing):
        """Where a document lies: the routing, or else its id, chooses the shard."""
        if self.mappings.get("_routing", {}).get("required") and routing is None:
            raise Refused(400, "routing_missing_exception", f"routing is required for [docs]/[{key}]")
        return crc32(str(routing or key).encode()) % self.shards, key

    def put(self, key, source, routing=None):
        """Write a document whole."""
        if len(key.encode()) > 512:
            size = len(key.encode())
            raise Refused(400, "illegal_argument_exception", f"id [{key}] is too long, it has {size} bytes of 512")
        place = self.place(key, routing)
        self._check(key, source)
        there = self.docs.get(place)
        self.docs[place] = {
            "_id": key, "_source": source, "_seq_no": next(self._numbers), "_primary_term": 1,
            "_version": there["_version"] + 1 if there else 1, **({"_routing": routing} if routing else {}),
        }  # fmt: skip
        return 200 if there else 201

    def update(self, key, doc, routing=None):
        """Merge into a document."""
        there = self.get(key, routing)
        if there is None:
            raise Refused(404, "document_missing_exception", f"[{key}]: document missing")
        return self.put(key, merged(there["_source"], doc), routing)

    def get(self, key, routing=None):
        return self.docs.get(self.place(key, routing))

    def delete(self, key, routing=None):
        return self.docs.pop(self.place(key, routing), None) is not None

    def refresh(self):
        self.seen = dict(self.docs)

    def found(self, query):
        """The documents among which a query finds its own; a query for ids alone looks at no others."""
        if "ids" not in query:
            return list(self.seen.values())
        places = [(shard, key) for key in query["ids"]["values"] for shard in range(self.shards)]
        return [self.seen[place] for place in places if place in self.seen]

    def _check(self, key, source):
        vectors = self.vectors()
        self._fields(key, source, self.mappings, vectors)

    def _fields(self, key, tree, mapping, vectors, before=""):
        properties = mapping.setdefault("properties", {})
        dynamic = mapping.get("dynamic", self.mappings.get("dynamic", True))
        for name, value in tree.items():
            path = before + name
            if path in vectors:
                self._check_vector(key, path, vectors[path], value)
                continue
            field = properties.get(name)
            if field is None:
                if str(dynamic).lower() == "strict":
                    told = f"mapping set to strict, dynamic introduction of [{path}] within [_doc] is not allowed"
                    raise Refused(400, "strict_dynamic_mapping_exception", told)
                if str(dynamic).lower() == "false" or value is None or value == []:
                    continue
                field = properties[name] = typed(value)
            if isinstance(value, dict):
                self._fields(key, value, field, vectors, f"{path}.")
            elif field.get("type") in NUMBERS:
                for number in value if isinstance(value, list) else [value]:
                    self._check_number(key, path, field["type"], number)

    def _check_number(self, key, path, kind, value):
        try:
            float(value if value is not None else 0)
        except (TypeError, ValueError):
            cause = {"type": "illegal_argument_exception", "reason": f'For input string: "{value}"'}
            told = f"failed to parse field [{path}] of type [{kind}] in document with id '{key}'"
            raise Refused(400, self._parsing(), told, cause) from None

    def _parsing(self):
        return "document_parsing_exception" if self.flavour == "elasticsearch" else "mapper_parsing_exception"

    def _check_vector(self, key, path, field, value):
        if value is None:
            return

        def refused(reason):
            cause = {"type": "illegal_argument_exception", "reason": reason}
            told = f"failed to parse field [{path}] of type [{field['type']}] in document with id '{key}'"
            return Refused(400, self._parsing(), told, cause)

        width = field.get(WIDTH[field["type"]])
        if len(value) != width:
            if field["type"] == "dense_vector":
                raise refused(f"The [dense_vector] field [{path}] has a different number of dimensions [{len(value)}] "
                              f"than defined in the mapping [{width}]")  # fmt: skip
            raise refused(f"Vector dimension mismatch. Expected: {width}, Given: {len(value)}")
        square, space = float(np.square(np.asarray(value, float)).sum()), field.get("method", {}).get("space_type")
        if (field.get("index") and field.get("similarity") == "cosine" or space == "cosinesimil") and not square:
            raise refused("The [cosine] similarity does not support vectors with zero magnitude.")
        if field.get("index") and field.get("similarity") == "dot_product" and abs(square - 1) > 1e-3:
            raise refused("The [dot_product] similarity can only be used with unit-length vectors.")


def typed(value):
    """The field that dynamic mapping makes for a value."""
    first = value[0] if isinstance(value, list) else value
    if isinstance(first, dict):
        return {"properties": {}}
    kinds = {bool: "boolean", int: "long", float: "float"}
    return {"type": kinds.get(type(first), "text")}


def merged(tree, doc):
    """A document with a part of it merged in."""
    made = dict(tree)
    for name, value in doc.items():
        both = isinstance(value, dict) and isinstance(made.get(name), dict)
        made[name] = merged(made[name], value) if both else value
    return made
