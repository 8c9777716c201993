"""What Elasticsearch and OpenSearch have each for itself: the client, points in time, and the type of vectors."""

import os
import warnings
from functools import cached_property
from typing import Any

from minivec.stores.elastic.mapping import Kind
from minivec.stores.elastic.store import ElasticStore
from minivec.stores.elastic.talk import KEEP
from minivec.stores.requests import Patient

TIMEOUT = 60  # seconds that a request may take


class ElasticsearchStore(ElasticStore):
    """An index of Elasticsearch 8 or 9, with the client of the server's own version.

    ``USER:PASSWORD@`` is sent as the credentials, ``:KEY@`` or the variable ELASTIC_API_KEY as an API key.
    """

    extra = "elasticsearch"
    scheme = "elasticsearch"
    field = Kind(
        name="dense_vector",
        width="dims",
        numbers=("element_type", ("float", "bfloat16")),
        most=4_096,
        plain={"type": "dense_vector", "index": True, "similarity": "cosine"},
        settings={},
    )

    @cached_property
    def _client(self) -> Any:
        elasticsearch = self.client("elasticsearch")
        given: dict[str, Any] = {}
        key = self.address.password if not self.address.user else None
        if self.address.user:
            given["basic_auth"] = self.address.user, self.address.password or ""
        elif key := key or os.environ.get("ELASTIC_API_KEY"):
            given["api_key"] = key
        warned = getattr(elasticsearch, "ElasticsearchWarning", Warning)  # such as that security is not enabled
        warnings.filterwarnings("ignore", category=warned, module=r"minivec\.")
        with self.guard():
            options = {"request_timeout": TIMEOUT, "max_retries": 0, "ca_certs": self.authority}
            options = {name: value for name, value in options.items() if value is not None}
            return Patient(elasticsearch.Elasticsearch(self._server(), **options, **given))

    def _open(self, index: str) -> Any:
        return self._ask("POST", index, "_pit", keep_alive=KEEP)["id"]

    def _shut(self, pit: Any) -> None:
        self._ask("DELETE", "_pit", body={"id": pit}, absent=True)


class OpenSearchStore(ElasticStore):
    """An index of OpenSearch 2.4 or later.

    ``USER:PASSWORD@``, or the variables OPENSEARCH_USERNAME and OPENSEARCH_PASSWORD, are sent as the credentials,
    ``:TOKEN@`` as a bearer token.
    """

    extra = "opensearch"
    scheme = "opensearch"
    field = Kind(
        name="knn_vector",
        width="dimension",
        numbers=("data_type", ("float",)),
        most=16_000,
        plain={
            "type": "knn_vector",
            "method": {"name": "hnsw", "space_type": "cosinesimil", "engine": "lucene"},
        },
        settings={"index.knn": "true"},
    )

    @cached_property
    def _client(self) -> Any:
        opensearchpy = self.client("opensearchpy")
        given: dict[str, Any] = {}
        user, password = self.address.user, self.address.password
        if user is None and password is None:
            user, password = (os.environ.get(f"OPENSEARCH_{name}") for name in ("USERNAME", "PASSWORD"))
        if user:
            given["http_auth"] = user, password or ""
        elif password:
            given["headers"] = {"authorization": f"Bearer {password}"}
        with self.guard():
            options = {"timeout": TIMEOUT, "max_retries": 0, "ca_certs": self.authority}
            options = {name: value for name, value in options.items() if value is not None}
            return Patient(opensearchpy.OpenSearch(self._server(), **options, **given).transport)

    def _open(self, index: str) -> Any:
        return self._ask("POST", index, "_search", "point_in_time", keep_alive=KEEP)["pit_id"]

    def _shut(self, pit: Any) -> None:
        self._ask("DELETE", "_search", "point_in_time", body={"pit_id": [pit]}, absent=True)
