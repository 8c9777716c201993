"""What a new Pinecone index takes over from another one, and what it does not."""

import re
from typing import Any

from minivec.stores.errors import Refused

DENSE, SPARSE = "_values", "_sparse_values"  # the fields of an index of vectors
NAME = r"[a-z0-9]([a-z0-9-]{0,43}[a-z0-9])?"  # of an index
SERVERLESS = {"deployment_type": "managed", "cloud": "aws", "region": "us-east-1"}  # where no other is known


def fields(info: Any) -> dict[str, Any]:
    """The fields of an index's schema, by name."""
    return dict(info.schema.fields)


def embeds(info: Any) -> str | None:
    """The model that makes an index's vectors of texts, or None."""
    return next((str(field.model) for field in fields(info).values() if getattr(field, "model", None)), None)


def check(info: Any, store: object) -> None:
    """Refused for an index that has no vectors that can be listed and fetched by id."""
    if type(info.deployment).__name__ == "PodDeployment":
        raise Refused(f"{store}: an index of pods cannot list its ids: make a serverless index of it first")
    if DENSE not in fields(info) and embeds(info) is None:
        raise Refused(f"{store}: an index of documents or of sparse vectors, with fields {', '.join(fields(info))}")


def created(info: Any | None, metric: str, width: int) -> dict[str, Any]:
    """The arguments of ``indexes.create`` for an index like the one of ``info``, or for one of Arrow."""
    schema: dict[str, Any] = {DENSE: {"type": "dense_vector", "dimension": width, "metric": metric}}
    if info is None:
        return {"schema": {"fields": schema}, "deployment": dict(SERVERLESS)}
    if SPARSE in fields(info) or metric == "dotproduct":
        schema[SPARSE] = {"type": "sparse_vector"}
    made = {"schema": {"fields": schema}, "deployment": _deployment(info.deployment)}
    given = {"tags": info.tags or None, "deletion_protection": info.deletion_protection, "cmek_id": info.cmek_id}
    return made | {name: value for name, value in given.items() if value}


def _deployment(deployment: Any) -> dict[str, Any]:
    if hasattr(deployment, "cloud"):
        return {"deployment_type": "managed", "cloud": deployment.cloud, "region": deployment.region}
    return {"deployment_type": "byoc", "environment": deployment.environment}


def losses(info: Any) -> list[str]:
    """What a copy of an index has otherwise, a line each."""
    told = []
    if (model := embeds(info)) is not None:
        told.append(
            f"the new index has no integrated model: {model!r} would embed texts and queries by the old model; the "
            "application embeds them itself"
        )
    if type(info.read_capacity).__name__.startswith("ReadCapacityDedicated"):
        told.append("the new index has read capacity on demand, not dedicated nodes")
    return told


def check_name(store: object, name: str) -> None:
    """Refused for a name that no index can have."""
    if not re.fullmatch(NAME, name):
        raise Refused(f"{store}: {name!r} is no name for an index: at most 45 of a-z, 0-9 and -")


def check_taker(info: Any, width: int, store: object) -> None:
    """Refused where an index that is there cannot take vectors of this width."""
    if embeds(info) is not None or not set(fields(info)) <= {DENSE, SPARSE}:
        what = "it makes its vectors of texts by a model of its own" if embeds(info) else "it is of another kind"
        raise Refused(f"{store}: {what}, and takes no others: name a new index")
    if fields(info)[DENSE].dimension != width:
        raise Refused(f"{store}: vectors of {fields(info)[DENSE].dimension} dimensions, not {width}: name a new index")
