"""The metrics of the network: problems, virtual IPs, DHCP leases, and what of the network is not ready."""

from collections import Counter
from collections.abc import Iterable, Iterator

from nodespan.resources.network import (
    NETWORK_STATUS_ID,
    DHCPLease,
    NetworkProblem,
    NetworkStatus,
    Severity,
    VIPState,
    VIPStatus,
)
from nodespan.runtime.samples import Samples
from nodespan.runtime.state import State


def collect(state: State) -> Iterator[Samples]:
    """The metrics, for one scrape."""
    problems: Counter[tuple[str, ...]] = Counter({(str(severity),): 0 for severity in Severity})
    problems.update((str(problem.spec.severity),) for problem in state.list(NetworkProblem))
    yield Samples(
        name="nodespan_network_problems",
        text="What could not be applied, or needs attention.",
        labels=("severity",),
        values=problems,
    )
    yield Samples(
        name="nodespan_vip_state",
        text="1 for the state of this node in the election of a virtual IP.",
        labels=("ip", "link", "state"),
        values={
            (vip.spec.ip, vip.spec.link_name, str(each)): float(vip.spec.state is each)
            for vip in state.list(VIPStatus)
            for each in VIPState
        },
    )
    yield Samples(
        name="nodespan_vip_trouble",
        text="1 while something is wrong with the election of a virtual IP, as an etcd that does not answer.",
        labels=("ip", "link"),
        values={(vip.spec.ip, vip.spec.link_name): float(bool(vip.spec.trouble)) for vip in state.list(VIPStatus)},
    )
    yield Samples(
        name="nodespan_dhcp_lease_bound",
        text="1 while a DHCP client has a lease.",
        labels=("client", "link"),
        values={
            (lease.id.partition("/")[0], lease.spec.link_name): float(bool(lease.spec.addresses))
            for lease in state.list(DHCPLease)
        },
    )
    yield Samples(
        name="nodespan_network_ready",
        text="1 for each part of the network that is ready.",
        labels=("part",),
        values={(part,): float(is_ready) for part, is_ready in _parts(state)},
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
