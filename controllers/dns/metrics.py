"""The metrics of the node's own DNS server, and what they count: queries, the cache, the servers that are asked."""

import enum
from collections import Counter
from collections.abc import Iterator

import attrs

from nodespan.resources.network import DNSResolveCache, DNSUpstream
from nodespan.runtime.metrics import Family, Kind, Metric, MetricSource
from nodespan.runtime.state import State


class Outcome(enum.StrEnum):
    """What came of a query."""

    KNOWN = "known"
    CACHED = "cached"
    FORWARDED = "forwarded"
    FAILED = "failed"
    REFUSED = "refused"
    DROPPED = "dropped"


@attrs.define(eq=False)
class Counts:
    """Since the agent began."""

    queries: Counter[Outcome] = attrs.field(factory=Counter)
    # By the id of the upstream.
    asked: Counter[str] = attrs.field(factory=Counter)
    failed: Counter[str] = attrs.field(factory=Counter)
    # Answers that the cache holds, and about how many bytes they take.
    cached: int = 0
    cached_bytes: int = 0
    in_flight: int = 0


_EACH = "one for each server that is asked"

QUERIES = Metric(
    name="nodespan_dns_queries_total",
    text="Queries by what came of them: known here, cached, forwarded, failed, refused, or dropped without an answer.",
    kind=Kind.COUNTER,
    labels=("outcome",),
    series=str(len(Outcome)),
    remedy="`failed` grows: the servers do not answer, see `nodespan get dnsupstreams`; `refused`: the mesh asks for "
    "more than members",
)
IN_FLIGHT = Metric(
    name="nodespan_dns_queries_in_flight",
    text="Queries that wait for the answers of other servers.",
    series="1",
    remedy="near 1000, more are failed at once: the servers are too slow, or a program asks in a loop",
)
CACHED = Metric(
    name="nodespan_dns_cache_answers", text="Answers in the cache.", series="1", remedy="nothing: it has a bound"
)
CACHED_BYTES = Metric(
    name="nodespan_dns_cache_bytes",
    text="About how many bytes the cache takes.",
    series="1",
    remedy="nothing: it has a bound",
)
LISTENERS = Metric(
    name="nodespan_dns_listeners",
    text="Sockets that take queries.",
    series="1",
    remedy="fewer than two for each address of `hostDNS.listen`: `nodespan get networkproblems` says why",
)
UPSTREAM_HEALTHY = Metric(
    name="nodespan_dns_upstream_healthy",
    text="1 while a server answers, 0 while it does not; nothing before it was asked.",
    labels=("upstream",),
    series=_EACH,
    remedy="0 for all: no name but those known here can be looked up; check the way to the servers",
)
_BY_UPSTREAM = {
    Metric(
        name=f"nodespan_dns_upstream_{name}_total",
        text=text,
        kind=Kind.COUNTER,
        labels=("upstream",),
        series=_EACH,
        remedy=remedy,
    ): name
    for name, text, remedy in (
        ("queries", "Queries that were sent to a server.", "only the first grows while it is healthy"),
        ("failures", "Queries that a server did not answer.", "above a few in a hundred: take another server"),
    )
}


def dns_metrics(counts: Counts) -> MetricSource:
    """The metrics of a server that counts here."""

    def collect(state: State) -> Iterator[Family]:
        yield QUERIES.by({(str(outcome),): counts.queries[outcome] for outcome in Outcome})
        yield IN_FLIGHT.by({(): counts.in_flight})
        yield CACHED.by({(): counts.cached})
        yield CACHED_BYTES.by({(): counts.cached_bytes})
        yield LISTENERS.by({(): len(state.list(DNSResolveCache))})
        servers = {(server.id,): server.spec for server in state.list(DNSUpstream)}
        yield UPSTREAM_HEALTHY.by({id: spec.healthy == "true" for id, spec in servers.items() if spec.healthy})
        for metric, name in _BY_UPSTREAM.items():
            by_id = counts.asked if name == "queries" else counts.failed
            yield metric.by({id: by_id[id[0]] for id in servers})

    return MetricSource(
        title="The DNS server of the node",
        metrics=(QUERIES, IN_FLIGHT, CACHED, CACHED_BYTES, LISTENERS, UPSTREAM_HEALTHY, *_BY_UPSTREAM),
        collect=collect,
    )
