"""Metrics of the service: counters and gauges, without labels for clusters, clients or addresses."""

from collections.abc import Iterator
from typing import Protocol

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric

from nodespan.discovery.service.cluster import Clusters
from nodespan.runtime.api.grpc import Call, Method, Sources, Status
from nodespan.runtime.api.pages import Page

_BUCKETS = (0.01, 0.1, 0.25, 0.5, 1, 2.5)
_METHOD = ("grpc_type", "grpc_service", "grpc_method")


class _State:
    """Counts the clusters' contents at a scrape."""

    def __init__(self, clusters: Clusters) -> None:
        self._clusters = clusters

    def collect(self) -> Iterator[Metric]:
        clusters = [cluster for _, cluster in self._clusters.items()]
        affiliates = [affiliate for cluster in clusters for affiliate in cluster.affiliates.values()]
        for name, text, value in (
            ("clusters", "Clusters.", len(clusters)),
            ("affiliates", "Affiliates of all clusters.", len(affiliates)),
            ("endpoints", "Endpoints of all affiliates.", sum(len(affiliate.endpoints) for affiliate in affiliates)),
            ("subscriptions", "Open watches.", sum(cluster.watchers for cluster in clusters)),
        ):
            yield GaugeMetricFamily(f"discovery_state_{name}", text, value=value)


class _Connections:
    """Counts connections when a scrape asks for them."""

    def __init__(self, sources: Sources) -> None:
        self._sources = sources

    def collect(self) -> Iterator[Metric]:
        sources, limits = self._sources, self._sources.limits
        for name, text, value in (
            ("connections", "Connections of clients.", sources.connections),
            ("connections_idle", "Connections of clients without a request under way.", sources.idle),
            ("connections_limit", "Connections that clients may have in all.", limits.connections.total),
            ("connections_source_limit", "Connections that one address may have.", limits.connections.source),
            ("sources", "Addresses (networks of 64 bits for IPv6) that have connections.", len(sources)),
            ("held_bytes", "Bytes of requests and of responses that wait for their clients.", sources.held),
        ):
            yield GaugeMetricFamily(f"discovery_server_{name}", text, value=value)
        away = CounterMetricFamily(
            "discovery_server_turned_away", "Connections and requests beyond a limit.", labels=["reason"]
        )
        for reason, count in sorted(sources.turned_away.items()):
            away.add_metric([reason], count)
        yield away


class StorageOutcome(Protocol):
    """The contents of a snapshot that was saved or loaded."""

    clusters: int
    affiliates: int
    endpoints: int
    size: int


class Metrics:
    """All metrics of one service."""

    def __init__(self, clusters: Clusters) -> None:
        registry = self._registry = CollectorRegistry()
        registry.register(_State(clusters))

        def counter(name: str, text: str, labels: tuple[str, ...] = ()) -> Counter:
            return Counter(name, text, labels, registry=registry)

        def gauge(name: str, text: str) -> Gauge:
            return Gauge(f"discovery_storage_last_{name}", text, ("operation",), registry=registry)

        self._hellos = counter("discovery_server_hello_requests", "Hello requests.", ("client_version",))
        self._gc_runs = counter("discovery_state_gc_runs", "Collections of expired records.")
        self._gc_clusters = counter("discovery_state_gc_clusters", "Clusters that were dropped.")
        self._gc_affiliates = counter("discovery_state_gc_affiliates", "Affiliates that expired.")
        self._storage = counter("discovery_storage_operations", "Snapshots.", ("operation", "status"))
        self._size = gauge("snapshot_size_bytes", "Size of the latest snapshot.")
        self._clusters = gauge("operation_clusters", "Clusters in the latest snapshot.")
        self._affiliates = gauge("operation_affiliates", "Affiliates in the latest snapshot.")
        self._endpoints = gauge("operation_endpoints", "Endpoints in the latest snapshot.")
        self._duration = gauge("operation_duration_seconds", "Duration of the latest snapshot.")
        self._started = counter("grpc_server_started", "Calls that reached their handler.", _METHOD)
        self._handled = counter("grpc_server_handled", "Finished calls.", (*_METHOD, "grpc_code"))
        self._received = counter("grpc_server_msg_received", "Messages from clients.", _METHOD)
        self._sent = counter("grpc_server_msg_sent", "Messages to clients.", _METHOD)
        self._handling = Histogram(
            "grpc_server_handling_seconds", "Duration of calls.", _METHOD, buckets=_BUCKETS, registry=registry
        )

    def watch_connections(self, sources: Sources) -> None:
        """Count the connections of a server too."""
        self._registry.register(_Connections(sources))

    def greeted(self, client_version: str) -> None:
        """A client of this version label said hello."""
        self._hellos.labels(client_version).inc()

    def collected(self, clusters: int, affiliates: int) -> None:
        """A collection has dropped this many."""
        self._gc_runs.inc()
        self._gc_clusters.inc(clusters)
        self._gc_affiliates.inc(affiliates)

    def stored(self, operation: str, outcome: StorageOutcome, seconds: float) -> None:
        """A `save` or `load` succeeded."""
        self._storage.labels(operation, "success").inc()
        for gauge, value in (
            (self._size, outcome.size),
            (self._clusters, outcome.clusters),
            (self._affiliates, outcome.affiliates),
            (self._endpoints, outcome.endpoints),
            (self._duration, seconds),
        ):
            gauge.labels(operation).set(value)

    def not_stored(self, operation: str) -> None:
        """A `save` or `load` failed."""
        self._storage.labels(operation, "error").inc()

    def started(self, call: Call) -> None:
        """A call reached its handler."""
        self._started.labels(*_labels(call.method)).inc()

    def finished(self, call: Call, status: Status, seconds: float) -> None:
        """A started call has ended."""
        labels = _labels(call.method)
        self._handled.labels(*labels, _camel_case(status.code.name)).inc()
        self._received.labels(*labels).inc(call.request is not None)
        self._sent.labels(*labels).inc(call.sent)
        self._handling.labels(*labels).observe(seconds)

    def respond(self, target: str) -> Page:
        """The page for a scrape."""
        if target.partition("?")[0] != "/metrics":
            return Page(status=404, body=b"metrics are at /metrics\n")
        return Page(content_type=CONTENT_TYPE_LATEST, body=generate_latest(self._registry))


def _labels(method: Method) -> tuple[str, str, str]:
    return ("server_stream" if method.is_stream else "unary", method.service, method.name)


def _camel_case(code: str) -> str:
    """RESOURCE_EXHAUSTED becomes ResourceExhausted, OK stays: the spelling that dashboards expect."""
    return code if code == "OK" else code.title().replace("_", "")
