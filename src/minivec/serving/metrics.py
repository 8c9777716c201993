"""What is counted and timed, in Prometheus's form."""

from functools import partial

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector

SECONDS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60)  # bounds of the histograms


class Metrics:
    """Counters of one served map. No label comes from a client, so their number is bounded."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        counted = partial(Counter, registry=self.registry)
        timed = partial(Histogram, registry=self.registry, buckets=SECONDS)
        held = partial(Gauge, registry=self.registry)
        self.requests = counted(
            "minivec_requests", "Requests, by HTTP status; 499: the client went away.", ["path", "status"]
        )
        self.vectors = counted("minivec_vectors", "Vectors that were mapped.", ["path"])
        self.attempts = counted(
            "minivec_upstream_attempts",
            "Requests to the upstream, by HTTP status; none: it did not answer.",
            ["status"],
        )
        self.seconds = timed("minivec_request_seconds", "From the first byte to the answer.", ["path"])
        self.own = timed(
            "minivec_own_seconds",
            "The same, less the waits for the client's body, in the queue and for the upstream.",
            ["path"],
        )
        self.in_flight = held("minivec_in_flight", "Requests that are being answered, or wait.")
        self.queued = held("minivec_queued", "Requests that wait for others to be answered.")
