"""A stand-in for a Weaviate server: what the client calls of REST and gRPC, with the server's limits and errors.

The objects lie in dicts. Each request is answered as the documentation of Weaviate 1.32 says; what the client does not
call for a migration is not there.
"""

import json
import re
import struct
import threading
from bisect import bisect_right
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from urllib.parse import parse_qs, urlsplit
from uuid import UUID

import grpc
import numpy as np
from google.protobuf import struct_pb2
from google.protobuf.json_format import MessageToDict
from weaviate.proto.v1 import (
    aggregate_pb2,
    base_pb2,
    batch_delete_pb2,
    batch_pb2,
    properties_pb2,
    search_get_pb2,
    tenants_pb2,
    weaviate_pb2_grpc,
)

from local_server import Handler, serving

MOST = 10_000  # QUERY_MAXIMUM_RESULTS
PQ = {"enabled": False, "bitCompression": False, "segments": 0, "centroids": 256, "trainingLimit": 100_000}
PQ |= {"encoder": {"type": "kmeans", "distribution": "log-normal"}}
SQ, RQ = (
    {"enabled": False, "trainingLimit": 100_000, "rescoreLimit": 20},
    {"enabled": False, "bits": 8, "rescoreLimit": 20},
)
COMMON = {"distance": "cosine", "vectorCacheMaxObjects": 10**12, "pq": PQ, "bq": {"enabled": False}, "sq": SQ, "rq": RQ}
INDEXES = {  # the settings of an index of which nothing else was said
    "flat": COMMON,
    "hnsw": COMMON
    | {"skip": False, "cleanupIntervalSeconds": 300, "maxConnections": 32, "efConstruction": 128, "ef": -1}
    | {"dynamicEfMin": 100, "dynamicEfMax": 500, "dynamicEfFactor": 8, "flatSearchCutoff": 40_000}
    | {"filterStrategy": "sweeping", "multivector": {"enabled": False, "aggregation": "maxSim"}},
    "dynamic": {"distance": "cosine", "threshold": 10_000},
}


class Refused(Exception):
    """An answer of this status and message."""

    def __init__(self, status, message):
        super().__init__(message)
        self.status, self.message = status, message


class Rows(dict):
    """Objects by UUID, which are sorted anew only when one has come or gone."""

    order = None

    def __setitem__(self, uuid, row):
        if uuid not in self:
            self.order = None
        super().__setitem__(uuid, row)

    def __delitem__(self, uuid):
        self.order = None
        super().__delitem__(uuid)

    def pop(self, *given):
        self.order = None
        return super().pop(*given)

    def behind(self, uuid, most):
        """At most so many UUIDs behind this one, in order."""
        if self.order is None:
            self.order = sorted(self)
        place = bisect_right(self.order, uuid)
        return self.order[place : place + most]


class Weaviate:
    """The collections, their objects, and how they are asked for.

    ``before(what)`` is called before each request, with "GET /v1/schema" or "Search", and may raise Refused;
    ``answers(found)`` before each answer of a search.
    """

    version, key, most_bytes = "1.32.5", None, 104_858_000

    def __init__(self):
        self.classes, self.objects, self.aliases, self.lock = {}, {}, {}, threading.RLock()
        self.before = self.answers = lambda what: None

    # Schemas.

    def create(self, schema):
        name = schema["class"]
        if not re.fullmatch(r"[A-Z][_0-9A-Za-z]{0,255}", name):
            raise Refused(422, f"'{name}' is not a valid class name")
        if name in self.classes or name in self.aliases:
            raise Refused(422, f"class name {name} already exists")
        for prop in schema.get("properties") or []:
            if not re.fullmatch(r"[_A-Za-z][_0-9A-Za-z]*", prop["name"]):
                raise Refused(422, f"'{prop['name']}' is not a valid property name")
            if prop["name"] in ("id", "_id", "_additional"):
                raise Refused(422, f"'{prop['name']}' is a reserved property name")
            for kind in prop["dataType"]:
                if kind[:1].isupper() and kind != name and kind not in self.classes:
                    raise Refused(422, f"property '{prop['name']}': SingleRef class name '{kind}' does not exist")
        made = json.loads(json.dumps(schema))
        for prop in made.setdefault("properties", []):
            text = prop["dataType"][0] in ("text", "text[]")
            defaults = {"indexFilterable": True, "indexSearchable": text, "indexRangeFilters": False}
            prop.update({**defaults, **({"tokenization": "word"} if text else {}), **prop})
        named = made.get("vectorConfig")
        for vector in [made] if not named else named.values():
            vector.setdefault("vectorIndexType", "hnsw")
            vector["vectorIndexConfig"] = {
                **INDEXES[vector["vectorIndexType"]],
                **(vector.get("vectorIndexConfig") or {}),
            }
        if named and (made.get("vectorizer") or made.get("moduleConfig", {}).get("text2vec-openai")):
            raise Refused(422, "class.Vectorizer and class.VectorConfig can not be both set")
        made.setdefault("multiTenancyConfig", {"enabled": False})
        self.classes[name] = made
        self.objects[name] = {} if made["multiTenancyConfig"].get("enabled") else {"": Rows()}
        return made

    def schema(self, name):
        name = self.aliases.get(name, name)
        if name not in self.classes:
            raise Refused(422, f"could not find class {name} in schema")
        return self.classes[name]

    def rows(self, name, tenant):
        """The objects of a collection, or of one tenant, by UUID."""
        schema = self.schema(name)
        places, many = self.objects[schema["class"]], schema["multiTenancyConfig"].get("enabled")
        if many and not tenant:
            raise Refused(422, f"class {name} has multi-tenancy enabled, but request was without tenant")
        if tenant and not many:
            raise Refused(422, f"class {name} has multi-tenancy disabled, but request was with tenant")
        if tenant not in places:
            raise Refused(422, f'tenant not found: "{tenant}"')
        return places[tenant]

    # Objects.

    def put(self, sent):
        """Write one object of a batch, instead of one with the same UUID."""
        rows, schema = self.rows(sent.collection, sent.tenant), self.schema(sent.collection)
        named = schema.get("vectorConfig")
        vectors = {vector.name: (vector.type, vector.vector_bytes) for vector in sent.vectors}
        if sent.vector_bytes:
            vectors[""] = (base_pb2.Vectors.VECTOR_TYPE_SINGLE_FP32, sent.vector_bytes)
        for name, vector in vectors.items():
            if name not in (named or {"": 0}):
                raise Refused(422, f"vector {name!r} is not configured in class {schema['class']}")
            there = next((row["vectors"][name] for row in rows.values() if name in row["vectors"]), vector)
            if width(there) != width(vector):
                told = f"new node has a vector with length {width(vector)}. Existing nodes have vectors with length"
                raise Refused(422, f"{told} {width(there)}")
        props = {prop["name"]: prop for prop in schema.get("properties") or []}
        values = sent_values(sent.properties)
        for name, value in values.items():
            if name not in props:
                raise Refused(422, f"no such prop with name '{name}' found in class '{schema['class']}' in the schema")
            values[name] = kept(props[name], value)
        refs = {ref.prop_name: list(ref.uuids) for ref in sent.properties.single_target_ref_props}
        rows[str(UUID(sent.uuid))] = {"values": values, "refs": refs, "vectors": vectors}

    def chosen(self, rows, filters):
        """The UUIDs that a filter by id lets through."""
        if filters.filters:
            return [uuid for one in filters.filters for uuid in self.chosen(rows, one)]
        if filters.target.property not in ("_id", "id"):
            raise Refused(422, f"no filter on {filters.target.property!r} here")
        one = [filters.value_text] if filters.value_text else []
        return [uuid for uuid in (*one, *filters.value_text_array.values) if uuid in rows]


def width(vector):
    """The dimensions of a vector, or of several, which are told in front."""
    kind, blob = vector
    return struct.unpack("<H", blob[:2])[0] if kind == base_pb2.Vectors.VECTOR_TYPE_MULTI_FP32 else len(blob) // 4


def sent_values(props):
    """The values of the properties of a batch's object, by name."""
    values = MessageToDict(props.non_ref_properties)
    for arrays in ("number", "int", "text", "boolean"):
        for array in getattr(props, f"{arrays}_array_properties"):
            packed = getattr(array, "values_bytes", b"")
            values[array.prop_name] = list(np.frombuffer(packed).tolist() if packed else array.values)
    for item in props.object_properties:
        values[item.prop_name] = sent_values(item.value)
    for item in props.object_array_properties:
        values[item.prop_name] = [sent_values(value) for value in item.values]
    return values | {name: [] for name in props.empty_list_props}


def kept(prop, value):
    """A value as the server keeps it for a property; Refused where the type is another."""
    kind = prop["dataType"][0]
    if value is None:
        return None
    if kind.endswith("[]"):
        return [kept({**prop, "dataType": [kind[:-2]]}, item) for item in value]
    python = {
        "int": float,
        "number": float,
        "boolean": bool,
        "object": dict,
        "geoCoordinates": dict,
        "phoneNumber": dict,
    }
    wanted = python.get(kind, str)
    if not isinstance(value, (int, float) if wanted is float else wanted):
        raise Refused(422, f"invalid {kind} property '{prop['name']}' on class: not a {kind}, but {value!r}")
    if kind == "uuid":
        return str(UUID(value))
    if kind == "date" and not re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)", value):
        raise Refused(422, f"invalid date property '{prop['name']}': requires a string with a RFC3339 formatted date")
    if kind == "object":
        inner = {item["name"]: item for item in prop["nestedProperties"]}
        return {name: kept(inner[name], item) for name, item in value.items()}
    return int(value) if kind == "int" else value


def answered(prop, value):
    """A kept value as gRPC gives it."""
    kind, made = prop["dataType"][0], properties_pb2.Value()
    if value is None:
        made.null_value = struct_pb2.NULL_VALUE
    elif kind == "object":
        made.object_value.CopyFrom(fields(prop["nestedProperties"], value))
    elif kind == "object[]":
        objects = [fields(prop["nestedProperties"], item) for item in value]
        made.list_value.object_values.CopyFrom(properties_pb2.ObjectValues(values=objects))
    elif kind in ("int[]", "number[]"):
        packed = struct.pack(f"<{len(value)}{'q' if kind == 'int[]' else 'd'}", *value)
        getattr(made.list_value, f"{kind[:-2]}_values").values = packed
        getattr(made.list_value, f"{kind[:-2]}_values").SetInParent()
    elif kind.endswith("[]"):
        place = getattr(made.list_value, {"boolean": "bool"}.get(kind[:-2], kind[:-2]) + "_values")
        place.SetInParent()
        place.values.extend(value)
    elif kind == "geoCoordinates":
        made.geo_value.CopyFrom(properties_pb2.GeoCoordinate(**value))
    elif kind == "phoneNumber":
        number = {"input": value["input"], "default_country": value.get("defaultCountry", ""), "valid": True}
        made.phone_value.CopyFrom(properties_pb2.PhoneNumber(**number))
    else:
        place = {"boolean": "bool", "string": "text"}.get(kind, kind)
        setattr(made, f"{place}_value", value)
    return made


def fields(props, values):
    return properties_pb2.Properties(fields={p["name"]: answered(p, values.get(p["name"])) for p in props})


class Service(weaviate_pb2_grpc.WeaviateServicer):
    """What the client asks of gRPC."""

    def __init__(self, state):
        self.state = state

    def Search(self, request, context):
        schema, rows = self.state.schema(request.collection), self.state.rows(request.collection, request.tenant)
        if request.limit + request.offset > MOST:
            raise Refused(422, "query maximum results exceeded")
        most = request.limit or 10
        if request.HasField("filters"):
            if request.after:
                raise Refused(422, "where filter cannot be combined with cursor api")
            uuids = self.state.chosen(rows, request.filters)[:most]
        else:
            uuids = rows.behind(request.after, most)
        found = [self.result(schema, uuid, rows[uuid], request) for uuid in uuids]
        self.state.answers(found)
        return search_get_pb2.SearchReply(results=found)

    def result(self, schema, uuid, row, request):
        meta = search_get_pb2.MetadataResult(id=uuid, id_as_bytes=UUID(uuid).bytes)
        for name in ("creation_time_unix", "last_update_time_unix", "is_consistent"):
            setattr(meta, f"{name}_present", getattr(request.metadata, name))
            setattr(meta, name, 1_700_000_000_000 if name != "is_consistent" else True)
        names = set(row["vectors"]) if request.metadata.vector else set(request.metadata.vectors)
        for name in names & set(row["vectors"]):
            kind, blob = row["vectors"][name]
            if name:
                meta.vectors.append(base_pb2.Vectors(name=name, vector_bytes=blob, type=kind))
            else:
                meta.vector_bytes = blob
        asked, props = request.properties, schema.get("properties") or []
        named = {*asked.non_ref_properties, *(item.prop_name for item in asked.object_properties)}
        if asked.return_all_nonref_properties or not request.HasField("properties"):
            named = {prop["name"] for prop in props if prop["dataType"] != ["blob"]}
        chosen = [prop for prop in props if prop["name"] in named and not prop["dataType"][0][:1].isupper()]
        made = search_get_pb2.PropertiesResult(
            non_ref_props=fields(chosen, row["values"]), target_collection=schema["class"], ref_props_requested=True
        )
        for lead in asked.ref_properties:
            (target,) = next(prop["dataType"] for prop in props if prop["name"] == lead.reference_property)
            there = [u for u in row["refs"].get(lead.reference_property, ()) if u in self.state.rows(target, "")]
            if there:
                found = [
                    search_get_pb2.PropertiesResult(
                        metadata=search_get_pb2.MetadataResult(id=u, id_as_bytes=UUID(u).bytes),
                        target_collection=target,
                    )
                    for u in there
                ]
                made.ref_props.append(
                    search_get_pb2.RefPropertiesResult(prop_name=lead.reference_property, properties=found)
                )
        return search_get_pb2.SearchResult(properties=made, metadata=meta)

    def BatchObjects(self, request, context):
        errors = []
        for i, sent in enumerate(request.objects):
            try:
                self.state.put(sent)
            except Refused as error:
                errors.append(batch_pb2.BatchObjectsReply.BatchError(index=i, error=error.message))
        return batch_pb2.BatchObjectsReply(errors=errors)

    def BatchDelete(self, request, context):
        rows = self.state.rows(request.collection, request.tenant)
        uuids = self.state.chosen(rows, request.filters)
        for uuid in uuids:
            del rows[uuid]
        return batch_delete_pb2.BatchDeleteReply(matches=len(uuids), successful=len(uuids))

    def Aggregate(self, request, context):
        count = len(self.state.rows(request.collection, request.tenant))
        return aggregate_pb2.AggregateReply(single_result=aggregate_pb2.AggregateReply.Single(objects_count=count))

    def TenantsGet(self, request, context):
        names = [*self.state.objects[self.state.schema(request.collection)["class"]]]
        hot = tenants_pb2.TENANT_ACTIVITY_STATUS_ACTIVE
        return tenants_pb2.TenantsGetReply(tenants=[tenants_pb2.Tenant(name=n, activity_status=hot) for n in names])


class Guard(grpc.ServerInterceptor):
    """Checks the key before each call of gRPC, and turns Refused into its status."""

    def __init__(self, state):
        self.state = state

    def intercept_service(self, continuation, details):
        handler, name = continuation(details), details.method.rpartition("/")[2]
        keys = [value for key, value in details.invocation_metadata if key == "authorization"]

        def call(request, context):
            if self.state.key and keys != [f"Bearer {self.state.key}"]:
                context.abort(grpc.StatusCode.UNAUTHENTICATED, "unauthorized: invalid api key")
            try:
                with self.state.lock:
                    self.state.before(name)
                    return handler.unary_unary(request, context)
            except Refused as error:
                busy = error.status == 503
                context.abort(grpc.StatusCode.UNAVAILABLE if busy else grpc.StatusCode.UNKNOWN, error.message)

        return grpc.unary_unary_rpc_method_handler(
            call, request_deserializer=handler.request_deserializer, response_serializer=handler.response_serializer
        )


class Rest(Handler):
    """What the client asks of REST."""

    state = None

    def respond(self):
        url, length = urlsplit(self.path), int(self.headers.get("Content-Length") or 0)
        body = json.loads(self.rfile.read(length)) if length else None
        try:
            if self.state.key and self.headers.get("Authorization") != f"Bearer {self.state.key}":
                raise Refused(401, "invalid api key")
            with self.state.lock:
                self.state.before(f"{self.command} {url.path}")
                tenant = parse_qs(url.query).get("tenant", [""])[0]
                status, told = self.route(url.path.removeprefix("/v1/").split("/"), body, tenant)
        except Refused as error:
            status, told = error.status, {"error": [{"message": error.message}]}
        text = b"" if told is None else json.dumps(told).encode()
        self.answer(status, {"Content-Type": "application/json"}, b"" if self.command == "HEAD" else text)

    do_GET = do_POST = do_PUT = do_DELETE = do_HEAD = respond

    def route(self, parts, body, tenant):
        state, method = self.state, self.command
        match parts:
            case ["meta"]:
                return 200, {"version": state.version, "modules": {}, "grpcMaxMessageSize": state.most_bytes}
            case ["schema"] if method == "POST":
                return 200, state.create(body)
            case ["schema"]:
                return 200, {"classes": [*state.classes.values()]}
            case ["schema", name] if method == "DELETE":
                state.classes.pop(name, None)
                state.objects.pop(name, None)
                return 200, None
            case ["schema", name]:
                return (200, state.classes[name]) if name in state.classes else (404, None)
            case ["schema", name, "tenants"]:
                for item in body or ():
                    state.objects[name].setdefault(item["name"], Rows())
                return 200, body
            case ["schema", name, "tenants", one]:
                return (200 if one in state.objects.get(name, ()) else 404), {"name": one}
            case ["objects", name, uuid]:
                return (204 if state.rows(name, tenant).pop(uuid, None) else 404), None
            case ["aliases", *alias]:
                return self.alias(alias, body)
        raise Refused(404, f"no {method} {self.path} here")

    def alias(self, alias, body):
        aliases, method = self.state.aliases, self.command
        if method == "POST":
            if body["class"] not in self.state.classes or body["alias"] in self.state.classes:
                raise Refused(422, f"create alias: no class {body['class']}, or a class of the alias's name")
            aliases[body["alias"]] = body["class"]
            return 200, body
        if alias[0] not in aliases:
            return 404, None
        if method == "DELETE":
            del aliases[alias[0]]
            return 204, None
        if method == "PUT":
            aliases[alias[0]] = self.state.schema(body["class"])["class"]
        return 200, {"alias": alias[0], "class": aliases[alias[0]]}


def weaviate_served():
    """A running stand-in: its state, its two ports, and a function that stops it."""
    state = Weaviate()
    options = [
        ("grpc.max_receive_message_length", state.most_bytes),
        ("grpc.max_send_message_length", state.most_bytes),
    ]
    rpc = grpc.server(ThreadPoolExecutor(4), interceptors=[Guard(state)], options=options)
    weaviate_pb2_grpc.add_WeaviateServicer_to_server(Service(state), rpc)
    rpc_port = rpc.add_insecure_port("127.0.0.1:0")
    rpc.start()
    running = ExitStack()
    running.callback(rpc.stop, None)
    host = running.enter_context(serving(type("Here", (Rest,), {"state": state})))
    return state, int(host.rpartition(":")[2]), rpc_port, running.close
