"""Metrics of the service: counters and gauges, without labels for clusters, clients or addresses."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import Protocol

import attrs

from nodespan.discovery.service.cluster import Clusters
from nodespan.discovery.service.exposition import CONTENT_TYPE, Family, Labels, Sample, render
from nodespan.runtime.api.grpc import Call, Method, Sources, Status
from nodespan.runtime.api.pages import Page

_BUCKETS = (0.01, 0.1, 0.25, 0.5, 1.0, 2.5)


class StorageOutcome(Protocol):
    """The contents of a snapshot that was saved or loaded."""

    clusters: int
    affiliates: int
    endpoints: int
    size: int


class _Calls:
    """Counts the calls of one method."""

    __slots__ = ("buckets", "handled", "labels", "received", "seconds", "sent", "started")

    def __init__(self, method: Method) -> None:
        self.labels: Labels = (
            ("grpc_method", method.name),
            ("grpc_service", method.service),
            ("grpc_type", "bidi_stream" if method.is_duplex else "server_stream" if method.is_stream else "unary"),
        )
        self.started = self.received = self.sent = 0
        self.handled: Counter[str] = Counter()
        self.seconds = 0.0
        # How many calls took at most so long; each is in all buckets above its own.
        self.buckets = [0] * len(_BUCKETS)

    def finished(self, call: Call, status: Status, seconds: float) -> None:
        self.handled[status.code.name] += 1
        self.received += call.request is not None
        self.sent += call.sent
        self.seconds += seconds
        for place, bound in enumerate(_BUCKETS):
            if seconds <= bound:
                self.buckets[place] += 1
                break

    def durations(self) -> Iterator[Sample]:
        below = 0
        for bound, count in zip(_BUCKETS, self.buckets, strict=True):
            below += count
            yield Sample(below, (*self.labels, ("le", repr(bound))), "_bucket")
        total = sum(self.handled.values())
        yield Sample(total, (*self.labels, ("le", "+Inf")), "_bucket")
        yield Sample(total, self.labels, "_count")
        yield Sample(self.seconds, self.labels, "_sum")


class Metrics:
    """All metrics of one process. `has_all`: it has all clusters, although it is one of several."""

    def __init__(self, clusters: Clusters, *, has_all: bool = False) -> None:
        self._clusters = clusters
        self._has_all = has_all
        self._sources: Sources | None = None
        self._more: list[Callable[[], Iterable[Family]]] = []
        self._hellos: Counter[str] = Counter()
        self._gc_runs = self._gc_clusters = self._gc_affiliates = 0
        # By operation and outcome; and what is known of the latest of each operation.
        self._storage: Counter[tuple[str, str]] = Counter()
        self._latest: dict[str, tuple[StorageOutcome, float]] = {}
        self._calls: dict[str, _Calls] = {}

    def watch_connections(self, sources: Sources) -> None:
        """Count the connections of a server too."""
        self._sources = sources

    def add(self, more: Callable[[], Iterable[Family]]) -> None:
        """Show more metrics, of another part of the process."""
        self._more.append(more)

    def greeted(self, client_version: str) -> None:
        """A client of this version label said hello."""
        self._hellos[client_version] += 1

    def collected(self, clusters: int, affiliates: int) -> None:
        """A collection has dropped this many."""
        self._gc_runs += 1
        self._gc_clusters += clusters
        self._gc_affiliates += affiliates

    def stored(self, operation: str, outcome: StorageOutcome, seconds: float) -> None:
        """A `save` or `load` succeeded."""
        self._storage[operation, "success"] += 1
        self._latest[operation] = (outcome, seconds)

    def not_stored(self, operation: str) -> None:
        """A `save` or `load` failed."""
        self._storage[operation, "error"] += 1

    def started(self, call: Call) -> None:
        """A call reached its handler."""
        self._of(call.method).started += 1

    def finished(self, call: Call, status: Status, seconds: float) -> None:
        """A started call has ended."""
        self._of(call.method).finished(call, status, seconds)

    def _of(self, method: Method) -> _Calls:
        calls = self._calls.get(method.path)
        if calls is None:
            calls = self._calls[method.path] = _Calls(method)
        return calls

    def respond(self, target: str) -> Page:
        """The page for a scrape."""
        if target.partition("?")[0] != "/metrics":
            return Page(status=404, body=b"metrics are at /metrics\n")
        return page(self.families())

    # What a scrape sees.

    def families(self) -> list[Family]:
        """Everything, as it is now."""
        return [
            *self._of_state(),
            *self._of_work(),
            *self._of_storage(),
            *self._of_calls(),
            *(() if self._sources is None else _of_connections(self._sources)),
            *(family for more in self._more for family in more()),
        ]

    def _of_state(self) -> Iterator[Family]:
        clusters = [cluster for _, cluster in self._clusters.items()]
        affiliates = [affiliate for cluster in clusters for affiliate in cluster.affiliates.values()]
        for name, text, value in (
            ("clusters", "Clusters.", len(clusters)),
            ("affiliates", "Affiliates of all clusters.", len(affiliates)),
            ("endpoints", "Endpoints of all affiliates.", sum(len(affiliate.endpoints) for affiliate in affiliates)),
            ("subscriptions", "Open watches.", sum(cluster.watchers for cluster in clusters)),
        ):
            shared = self._has_all and name != "subscriptions"
            yield attrs.evolve(_gauge(f"discovery_state_{name}", text, value), shared=shared)

    def _of_work(self) -> Iterator[Family]:
        hellos = (Sample(count, (("client_version", label),)) for label, count in sorted(self._hellos.items()))
        yield Family("discovery_server_hello_requests", "counter", "Hello requests.", tuple(hellos))
        for name, text, value in (
            ("runs", "Collections of expired records.", self._gc_runs),
            ("clusters", "Clusters that were dropped.", self._gc_clusters),
            ("affiliates", "Affiliates that expired.", self._gc_affiliates),
        ):
            yield Family(f"discovery_state_gc_{name}", "counter", text, (Sample(value),))

    def _of_storage(self) -> Iterator[Family]:
        counts = (
            Sample(count, (("operation", operation), ("status", status)))
            for (operation, status), count in sorted(self._storage.items())
        )
        yield Family("discovery_storage_operations", "counter", "Snapshots.", tuple(counts))
        for name, text, field in (
            ("snapshot_size_bytes", "Size of the latest snapshot.", "size"),
            ("operation_clusters", "Clusters in the latest snapshot.", "clusters"),
            ("operation_affiliates", "Affiliates in the latest snapshot.", "affiliates"),
            ("operation_endpoints", "Endpoints in the latest snapshot.", "endpoints"),
        ):
            samples = (
                Sample(getattr(outcome, field), (("operation", operation),))
                for operation, (outcome, _) in sorted(self._latest.items())
            )
            yield Family(f"discovery_storage_last_{name}", "gauge", text, tuple(samples))
        durations = (
            Sample(seconds, (("operation", operation),)) for operation, (_, seconds) in sorted(self._latest.items())
        )
        name, text = "discovery_storage_last_operation_duration_seconds", "Duration of the latest snapshot."
        yield Family(name, "gauge", text, tuple(durations), shared=True)

    def _of_calls(self) -> Iterator[Family]:
        calls = self._calls.values()
        for name, text, field in (
            ("started", "Calls that reached their handler.", "started"),
            ("msg_received", "Messages from clients.", "received"),
            ("msg_sent", "Messages to clients.", "sent"),
        ):
            samples = (Sample(getattr(each, field), each.labels) for each in calls)
            yield Family(f"grpc_server_{name}", "counter", text, tuple(samples))
        handled = (
            Sample(count, (("grpc_code", _camel_case(code)), *each.labels))
            for each in calls
            for code, count in sorted(each.handled.items())
        )
        yield Family("grpc_server_handled", "counter", "Finished calls.", tuple(handled))
        durations = tuple(sample for each in calls for sample in each.durations())
        yield Family("grpc_server_handling_seconds", "histogram", "Duration of calls.", durations)


def page(families: Iterable[Family]) -> Page:
    """The page for a scrape of these."""
    return Page(content_type=CONTENT_TYPE, body=render(families))


def _gauge(name: str, text: str, value: float) -> Family:
    return Family(name, "gauge", text, (Sample(value),))


def _of_connections(sources: Sources) -> Iterator[Family]:
    limits = sources.limits
    for name, text, value in (
        ("connections", "Connections of clients.", sources.connections - sources.carried),
        ("connections_carried", "Connections over TLS whose bytes go on to another process.", sources.carried),
        ("connections_idle", "Connections of clients without a request under way.", sources.idle),
        ("connections_limit", "Connections that clients may have in all.", limits.connections.total),
        ("sources", "Addresses (networks of 64 bits for IPv6) that have connections.", len(sources)),
        ("held_bytes", "Bytes of requests and of responses that wait for their clients.", sources.held),
    ):
        yield _gauge(f"discovery_server_{name}", text, value)
    bound = _gauge(
        "discovery_server_connections_source_limit",
        "Connections that one address may have.",
        limits.connections.source,
    )
    yield attrs.evolve(bound, shared=True)
    away = (Sample(count, (("reason", reason),)) for reason, count in sorted(sources.turned_away.items()))
    text = "Connections and requests beyond a limit."
    yield Family("discovery_server_turned_away", "counter", text, tuple(away))


def _camel_case(code: str) -> str:
    """RESOURCE_EXHAUSTED becomes ResourceExhausted, OK stays: the spelling that dashboards expect."""
    return code if code == "OK" else code.title().replace("_", "")
