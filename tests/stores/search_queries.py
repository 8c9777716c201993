"""Queries and parts of documents, as the stand-in for Elasticsearch and OpenSearch understands them."""

import fnmatch

import numpy as np

from search_index import Refused


def flattened(tree, before=""):
    """Settings by their whole names."""
    made = {}
    for name, value in tree.items():
        made |= flattened(value, f"{before}{name}.") if isinstance(value, dict) else {before + name: value}
    return made


def filtered(tree, includes, excludes, before=""):
    """A document with the fields that ``includes`` name, without those that ``excludes`` name."""
    made = {}
    for name, value in tree.items():
        path = before + name
        if any(fnmatch.fnmatchcase(path, pattern) for pattern in excludes):
            continue
        if any(fnmatch.fnmatchcase(path, pattern) for pattern in includes):
            made[name] = filtered(value, ["*"], excludes, f"{path}.") if isinstance(value, dict) else value
        elif isinstance(value, dict) and (inner := filtered(value, includes, excludes, f"{path}.")):
            made[name] = inner
    return made


def source_of(index, tree, asked, hides):
    """What a search gives of a document; ``hides`` says whether the server leaves vectors out of it."""
    if asked is False or index.mappings.get("_source", {}).get("enabled") is False:
        return None
    asked = {"includes": asked} if isinstance(asked, list) else {} if asked is True else asked
    if "exclude_vectors" in asked and not hides:
        raise Refused(400, "parsing_exception", "Unknown key for a VALUE_BOOLEAN in [exclude_vectors].")
    hides = hides and index.settings.get("index.mapping.exclude_source_vectors", "true") == "true"
    hidden = list(index.vectors()) if asked.get("exclude_vectors", hides) else []
    if hides:  # a vector of cosine similarity is kept as its direction and its length
        tree = dict(tree)
        for path, field in index.vectors().items():
            if field.get("similarity") == "cosine" and isinstance(at(tree, path), list):
                x = np.asarray(tree[path], np.float32)
                length = np.sqrt(np.float32(x @ x))
                tree[path] = (x * (1 / length) * length).tolist()
    hidden += index.mappings.get("_source", {}).get("excludes", []) + asked.get("excludes", [])
    return filtered(tree, asked.get("includes", ["*"]), hidden)


def matches(doc, query):
    """Whether a document meets a query of a few kinds."""
    ((kind, given),) = query.items()
    if kind == "bool":
        met = all(matches(doc, part) for part in [*given.get("must", []), *given.get("filter", [])])
        return met and not any(matches(doc, part) for part in given.get("must_not", []))
    if kind == "ids":
        return doc["_id"] in given["values"]
    if kind == "term":
        ((field, value),) = given.items()
        found = at(doc["_source"], field)
        return value in found if isinstance(found, list) else found == value
    if kind == "exists":
        return "_routing" in doc if given["field"] == "_routing" else at(doc["_source"], given["field"]) is not None
    if kind != "match_all":
        raise Refused(400, "parsing_exception", f"unknown query [{kind}]")
    return True


def at(tree, path):
    """What lies at a path of a document, whose dots may be in a name."""
    if path in tree:
        return tree[path]
    head, _, rest = path.partition(".")
    return at(tree[head], rest) if rest and isinstance(tree.get(head), dict) else None
