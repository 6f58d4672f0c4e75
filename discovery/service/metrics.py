"""Metrics of the service: counters and gauges, without labels for clusters, clients or addresses.

The service counts too often for a library that locks, and every process of a service has a part of the truth.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from itertools import accumulate
from typing import Protocol

import attrs

from nodespan.discovery.service.cluster import Clusters
from nodespan.runtime.api.exposition import LEFT_OUT, scraped
from nodespan.runtime.api.grpc import Call, Method, Sources, Status
from nodespan.runtime.api.pages import Page
from nodespan.runtime.metrics import Family, Kind, Labels, Metric, Sample, process
from nodespan.runtime.process.loop_lag import BOUNDS, LoopLag

_BUCKETS = (0.01, 0.1, 0.25, 0.5, 1.0, 2.5)
_METHOD = ("grpc_method", "grpc_service", "grpc_type")
_METHODS = "one for each method of the protocol, and process"
_STORED = "2"


def _counter(name: str, text: str, labels: tuple[str, ...] = (), series: str = "", remedy: str = "") -> Metric:
    return Metric(name=name, text=text, kind=Kind.COUNTER, labels=labels, series=series, remedy=remedy)


BUILD = Metric(
    name="discovery_build_info",
    text="The version that runs.",
    kind=Kind.INFO,
    labels=("version",),
    series="1",
    shared=True,
)
LOOP_LAG = Metric(
    name="discovery_loop_lag_seconds",
    text="How long the event loop took for what was ready before it looked for new events: how late it is at most.",
    kind=Kind.HISTOGRAM,
    remedy="many rounds above 0.1 s: the process is at its limit; run it with `--processes`",
)
_LIMITED = "near `discovery_server_connections_limit` idle clients are sent away: raise LimitNOFILE"
STATE_GAUGES = {
    name: Metric(name=f"discovery_state_{name}", text=text, remedy=remedy)
    for name, text, remedy in (
        ("clusters", "Clusters.", "far more than you have: others use the service"),
        ("affiliates", "Affiliates of all clusters.", ""),
        ("endpoints", "Endpoints of all affiliates.", ""),
        ("subscriptions", "Open watches.", "about one for each node; fewer: nodes cannot connect"),
    )
}
HELLOS = _counter(
    "discovery_server_hello_requests_total",
    "Hello requests.",
    ("client_version",),
    "one for each minor version that clients name",
    "a rate far above the number of nodes an hour: clients connect again and again",
)
COLLECTED = {
    name: _counter(f"discovery_state_gc_{name}_total", text)
    for name, text in (
        ("runs", "Collections of expired records."),
        ("clusters", "Clusters that were dropped."),
        ("affiliates", "Affiliates that expired."),
    )
}
STORAGE = _counter(
    "discovery_storage_operations_total",
    "Snapshots that were saved or loaded.",
    ("operation", "status"),
    "4",
    "of status `error`: is the disk full, or the file damaged? The log has the reason",
)
LAST_STORED = {
    field: Metric(name=f"discovery_storage_last_{name}", text=text, labels=("operation",), series=_STORED)
    for name, text, field in (
        ("snapshot_size_bytes", "Size of the latest snapshot.", "size"),
        ("operation_clusters", "Clusters in the latest snapshot.", "clusters"),
        ("operation_affiliates", "Affiliates in the latest snapshot.", "affiliates"),
        ("operation_endpoints", "Endpoints in the latest snapshot.", "endpoints"),
    )
}
LAST_DURATION = Metric(
    name="discovery_storage_last_operation_duration_seconds",
    text="Duration of the latest snapshot.",
    labels=("operation",),
    series=_STORED,
    shared=True,
)
CALLS = {
    field: _counter(f"grpc_server_{name}_total", text, _METHOD, _METHODS)
    for name, text, field in (
        ("started", "Calls that reached their handler.", "started"),
        ("msg_received", "Messages from clients.", "received"),
        ("msg_sent", "Messages to clients.", "sent"),
    )
}
HANDLED = _counter(
    "grpc_server_handled_total",
    "Finished calls.",
    ("grpc_code", *_METHOD),
    "one for each method of the protocol, process, and code",
    "of code `Internal` or `Unavailable`: the log has the reason; `ResourceExhausted`: a client is above its rate",
)
DURATIONS = Metric(
    name="grpc_server_handling_seconds",
    text="Duration of calls.",
    kind=Kind.HISTOGRAM,
    labels=_METHOD,
    series=f"{_METHODS}, times {len(_BUCKETS) + 3}",
)
CONNECTIONS = {
    name: Metric(name=f"discovery_server_{name}", text=text, remedy=remedy)
    for name, text, remedy in (
        ("connections", "Connections of clients.", _LIMITED),
        ("connections_carried", "Connections over TLS whose bytes go on to another process.", ""),
        ("connections_idle", "Connections of clients without a request under way.", ""),
        ("connections_limit", "Connections that clients may have in all.", ""),
        ("sources", "Addresses (networks of 64 bits for IPv6) that have connections.", ""),
        ("held_bytes", "Bytes of requests and of responses that wait for their clients.", "grows: slow clients"),
    )
}
SOURCE_LIMIT = Metric(
    name="discovery_server_connections_source_limit", text="Connections that one address may have.", shared=True
)
TURNED_AWAY = _counter(
    "discovery_server_turned_away_total",
    "Connections and requests beyond a limit.",
    ("reason",),
    "one for each limit",
    "[what the limits are](kubespan.md#a-discovery-service); nodes behind one address may need `--trust`",
)
PROCESSES = Metric(
    name="discovery_server_processes",
    text="Processes that answer, of a service with `--processes`.",
    remedy="fewer than were asked for: one has just ended and is started again; the log has the reason",
)
METRICS = (
    BUILD,
    *STATE_GAUGES.values(),
    HELLOS,
    *COLLECTED.values(),
    STORAGE,
    *LAST_STORED.values(),
    LAST_DURATION,
    *CALLS.values(),
    HANDLED,
    DURATIONS,
    *CONNECTIONS.values(),
    SOURCE_LIMIT,
    TURNED_AWAY,
    PROCESSES,
    LOOP_LAG,
    LEFT_OUT,
)


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

    def durations(self) -> tuple[Sample, ...]:
        counts = (*accumulate(self.buckets), sum(self.handled.values()))
        return DURATIONS.histogram(_BUCKETS, counts, self.seconds, self.labels).samples


class Metrics:
    """All metrics of one process. `has_all`: it has all clusters, although it is one of several."""

    def __init__(
        self, clusters: Clusters, *, has_all: bool = False, version: str = "", lag: LoopLag | None = None
    ) -> None:
        self._version = version
        self._lag = lag
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

    async def respond(self, target: str, accept: str = "") -> Page:
        """The page for a scrape, in the format that its header prefers."""
        if not is_scrape(target):
            return Page(status=404, body=b"metrics are at /metrics\n")
        return await scraped(self.families(), accept)

    # What a scrape sees.

    def families(self) -> list[Family]:
        """Everything, as it is now."""
        return [
            BUILD.by({(self._version,): 1}),
            *self._of_state(),
            *self._of_work(),
            *self._of_storage(),
            *self._of_calls(),
            *(() if self._sources is None else _of_connections(self._sources)),
            *(family for more in self._more for family in more()),
            *(() if self._lag is None else [LOOP_LAG.histogram(BOUNDS, self._lag.counts, self._lag.seconds)]),
            *process.collect(),
        ]

    def _of_state(self) -> Iterator[Family]:
        clusters = [cluster for _, cluster in self._clusters.items()]
        affiliates = [affiliate for cluster in clusters for affiliate in cluster.affiliates.values()]
        for name, value in (
            ("clusters", len(clusters)),
            ("affiliates", len(affiliates)),
            ("endpoints", sum(len(affiliate.endpoints) for affiliate in affiliates)),
            ("subscriptions", sum(cluster.watchers for cluster in clusters)),
        ):
            shared = self._has_all and name != "subscriptions"
            yield attrs.evolve(STATE_GAUGES[name], shared=shared)(value)

    def _of_work(self) -> Iterator[Family]:
        yield HELLOS.by({(label,): count for label, count in sorted(self._hellos.items())})
        for name, value in (
            ("runs", self._gc_runs),
            ("clusters", self._gc_clusters),
            ("affiliates", self._gc_affiliates),
        ):
            yield COLLECTED[name](value)

    def _of_storage(self) -> Iterator[Family]:
        yield STORAGE.by(dict(sorted(self._storage.items())))
        latest = sorted(self._latest.items())
        for field, metric in LAST_STORED.items():
            yield metric.by({(operation,): getattr(outcome, field) for operation, (outcome, _) in latest})
        yield LAST_DURATION.by({(operation,): seconds for operation, (_, seconds) in latest})

    def _of_calls(self) -> Iterator[Family]:
        calls = self._calls.values()
        for field, metric in CALLS.items():
            yield Family(metric, tuple(Sample(getattr(each, field), each.labels) for each in calls))
        handled = (
            Sample(count, (("grpc_code", _camel_case(code)), *each.labels))
            for each in calls
            for code, count in sorted(each.handled.items())
        )
        yield Family(HANDLED, tuple(handled))
        yield Family(DURATIONS, tuple(sample for each in calls for sample in each.durations()))


def is_scrape(target: str) -> bool:
    """Whether the target of a request is the metrics."""
    return target.partition("?")[0] == "/metrics"


def _of_connections(sources: Sources) -> Iterator[Family]:
    limits = sources.limits
    for name, value in (
        ("connections", sources.connections - sources.carried),
        ("connections_carried", sources.carried),
        ("connections_idle", sources.idle),
        ("connections_limit", limits.connections.total),
        ("sources", len(sources)),
        ("held_bytes", sources.held),
    ):
        yield CONNECTIONS[name](value)
    yield SOURCE_LIMIT(limits.connections.source)
    yield TURNED_AWAY.by({(reason,): count for reason, count in sorted(sources.turned_away.items())})


def _camel_case(code: str) -> str:
    """RESOURCE_EXHAUSTED becomes ResourceExhausted, OK stays: the spelling that dashboards expect."""
    return code if code == "OK" else code.title().replace("_", "")
