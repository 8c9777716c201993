"""Elasticsearch and OpenSearch: ``elasticsearch://HOST:PORT/INDEX?column=...`` and ``opensearch://...``."""

from minivec.stores.elastic.engines import ElasticsearchStore, OpenSearchStore

__all__ = ["ElasticsearchStore", "OpenSearchStore"]
