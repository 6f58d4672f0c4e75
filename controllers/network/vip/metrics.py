"""The metrics of virtual IPs: who has them, how often they move, and how far the lease is from its end."""

from collections.abc import Iterator

from nodespan.controllers.network.vip.tally import tally_of
from nodespan.resources.network import VIPState, VIPStatus
from nodespan.runtime.metrics import Family, Kind, Metric, MetricSource
from nodespan.runtime.state import State

_LABELS = ("ip", "link")
_EACH = "one for each virtual IP of the configuration"

STATE = Metric(
    name="nodespan_vip_state",
    text="1 for the state of this node in the election of a virtual IP.",
    labels=(*_LABELS, "state"),
    series="four for each virtual IP of the configuration",
    remedy="over all nodes exactly one is `leader`: if none is, `nodespan get vips` on each has the reason; `refused`: "
    "another machine has the address",
)
OWNER = Metric(
    name="nodespan_vip_owner_info",
    text="The node that is elected for a virtual IP, as this node knows it; nothing while none is known.",
    kind=Kind.INFO,
    labels=(*_LABELS, "owner"),
    series=_EACH,
    remedy="nodes that name different owners for longer than a lease do not reach the same etcd",
)
HANDOVERS = Metric(
    name="nodespan_vip_handovers_total",
    text="How often another node was elected than the one before, as this node saw it since it started.",
    kind=Kind.COUNTER,
    labels=_LABELS,
    series=_EACH,
    remedy="several in an hour: `nodespan events -k vip` says why each was given up; see the lease's margin",
)
LEASE_MARGIN = Metric(
    name="nodespan_vip_lease_margin_seconds",
    text="For how long this node's lease is still valid by its own clock; nothing while it has none.",
    labels=_LABELS,
    series=_EACH,
    remedy="at 0 the address is given up; regularly below half of `nodespan_vip_lease_valid_seconds`: etcd answers "
    "slowly, so look at its disk and at the network, or choose a longer `vip.leaseTTL`",
)
LEASE_VALID = Metric(
    name="nodespan_vip_lease_valid_seconds",
    text="For how long this node's lease is valid after a renewal.",
    labels=_LABELS,
    series=_EACH,
)
TROUBLE = Metric(
    name="nodespan_vip_trouble",
    text="1 while something is wrong with the election of a virtual IP, as an etcd that does not answer.",
    labels=_LABELS,
    series=_EACH,
    remedy="`nodespan get vips -o yaml` says what; `nodespan doctor --only etcd` how far the way there goes",
)


def _collect(state: State) -> Iterator[Family]:
    vips = {(vip.spec.ip, vip.spec.link_name): vip.spec for vip in state.list(VIPStatus)}
    tallies = {(ip, link): tally_of(link, ip) for ip, link in vips}
    leases = {vip: tally.lease for vip, tally in tallies.items() if tally.lease is not None}
    yield STATE.by({(*vip, str(each)): spec.state is each for vip, spec in vips.items() for each in VIPState})
    yield OWNER.by({(*vip, spec.leader): 1 for vip, spec in vips.items() if spec.leader})
    yield HANDOVERS.by({vip: tally.handovers for vip, tally in tallies.items()})
    yield LEASE_MARGIN.by({vip: max(0.0, lease.remaining()) for vip, lease in leases.items()})
    yield LEASE_VALID.by({vip: lease.renewed for vip, lease in leases.items()})
    yield TROUBLE.by({vip: bool(spec.trouble) for vip, spec in vips.items()})


METRICS = MetricSource(
    title="Virtual IPs",
    metrics=(STATE, OWNER, HANDOVERS, LEASE_MARGIN, LEASE_VALID, TROUBLE),
    collect=_collect,
)
