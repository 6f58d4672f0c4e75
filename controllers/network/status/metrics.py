"""The metrics of the network: problems, DHCP leases, lost notifications, and what of the network is not ready."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping

from nodespan.kernel.netlink_counts import netlink_counts
from nodespan.resources.network import (
    NETWORK_STATUS_ID,
    DHCPLease,
    NetworkProblem,
    NetworkStatus,
    ProbeStatus,
    Severity,
)
from nodespan.runtime.metrics import Family, Kind, Metric, MetricSource
from nodespan.runtime.state import State

_KINDS = "one for each kind of kernel object: addresses, links, routes, rules, nftables, ethtool"

PROBLEMS = Metric(
    name="nodespan_network_problems",
    text="What could not be applied, or needs attention.",
    labels=("severity",),
    series="2",
    remedy="`nodespan get networkproblems`, or the end of `nodespan status`: each says what to do",
)
LEASE_BOUND = Metric(
    name="nodespan_dhcp_lease_bound",
    text="1 while a DHCP client has a lease.",
    labels=("client", "link"),
    series="two for each link with DHCP",
    remedy="`nodespan get dhcpleases` has the state of the client, `nodespan events -k lease` since when",
)
PROBE = Metric(
    name="nodespan_probe_success",
    text="1 while a probe of the configuration succeeds.",
    labels=("probe",),
    series="one for each probe of the configuration",
    remedy="`nodespan get probestatuses` has the last error; `nodespan describe probestatus ID` since when",
)
READY = Metric(
    name="nodespan_network_ready",
    text="1 for each part of the network that is ready.",
    labels=("part",),
    series="6",
    remedy="`nodespan get netstatus`, and `nodespan doctor` on the node",
)
DUMPS = Metric(
    name="nodespan_netlink_resyncs_total",
    text="How often all objects of a kind were read from the kernel again: once a minute, and after a loss.",
    kind=Kind.COUNTER,
    labels=("kind",),
    series=_KINDS,
    remedy="many more than one a minute: routes or rules change all the time; `nodespan get routes -w` shows which",
)
OVERRUNS = Metric(
    name="nodespan_netlink_overruns_total",
    text="How often the kernel dropped notifications because they were not read in time; all is read again then.",
    kind=Kind.COUNTER,
    labels=("kind",),
    series=_KINDS,
    remedy="nothing is lost; if it goes on, another program changes thousands of objects, or the agent gets too little "
    "processor time (`nodespan_loop_lag_seconds`)",
)


def _collect(state: State) -> Iterator[Family]:
    problems: Counter[tuple[str, ...]] = Counter({(str(severity),): 0 for severity in Severity})
    problems.update((str(problem.spec.severity),) for problem in state.list(NetworkProblem))
    yield PROBLEMS.by(problems)
    leases = {(lease.id.partition("/")[0], lease.spec.link_name): lease.spec for lease in state.list(DHCPLease)}
    yield LEASE_BOUND.by({client: bool(spec.addresses) for client, spec in leases.items()})
    yield PROBE.by(_probes(state))
    yield READY.by({(part,): is_ready for part, is_ready in _parts(state)})
    counts = {(kind,): counts for kind, counts in netlink_counts().items()}
    yield DUMPS.by({kind: each.dumps for kind, each in counts.items()})
    yield OVERRUNS.by({kind: each.overruns for kind, each in counts.items()})


def _probes(state: State) -> Mapping[tuple[str, ...], float]:
    """By what they reach, without the query of a URL: it may have a token. Of several that differ in it the worst."""
    found: dict[tuple[str, ...], float] = {}
    for probe in state.list(ProbeStatus):
        name = (probe.id.partition("?")[0],)
        found[name] = min(found.get(name, 1), probe.spec.success)
    return found


METRICS = MetricSource(
    title="The network", metrics=(PROBLEMS, LEASE_BOUND, PROBE, READY, DUMPS, OVERRUNS), collect=_collect
)


def missing(state: State) -> Iterable[str]:
    """The parts of the network that are not ready."""
    parts = _parts(state)
    return [f"network: {part} is not ready" for part, is_ready in parts if not is_ready] or (
        () if parts else ("network: not looked at yet",)
    )


def _parts(state: State) -> list[tuple[str, bool]]:
    status = state.find(NetworkStatus, NETWORK_STATUS_ID)
    if status is None:
        return []
    spec = status.spec
    return [
        ("address", spec.address_ready),
        ("connectivity", spec.connectivity_ready),
        ("hostname", spec.hostname_ready),
        ("etcfiles", spec.etc_files_ready),
        ("discovery", spec.discovery_ready),
        ("vip", spec.vip_ready),
    ]
