"""What operators read of changes: a table of before, now, and the events."""

import datetime
from typing import Any

import attrs
import pytest

from nodespan.controllers.overview.events import RULES
from nodespan.resources.cluster import (
    DiscoveryServiceStatus,
    DiscoveryServiceStatusSpec,
    MachineType,
    Member,
    MemberSpec,
    ServiceState,
)
from nodespan.resources.config.status import ConfigStatus, ConfigStatusSpec
from nodespan.resources.kubespan import KubeSpanPeerStatus, KubeSpanPeerStatusSpec, PeerState
from nodespan.resources.network import (
    DHCPLease,
    DHCPLeaseSpec,
    HostnameStatus,
    HostnameStatusSpec,
    LinkStatus,
    LinkStatusSpec,
    NetworkProblem,
    NetworkProblemSpec,
    NodeAddress,
    NodeAddressSpec,
    VIPState,
    VIPStatus,
    VIPStatusSpec,
)
from nodespan.resources.network import Severity as ProblemSeverity
from nodespan.resources.network.enums import OperationalState
from nodespan.resources.network.vip_condition import VIPCondition, VIPConditionSpec
from nodespan.runtime.events import EventSpec
from nodespan.runtime.resource import ResourceType

PEER = KubeSpanPeerStatusSpec(label="two", state=PeerState.UP, endpoint="192.0.2.2:51820", receive_bytes=1)
VIP = VIPStatusSpec(ip="192.0.2.9", link_name="eth0", state=VIPState.CANDIDATE, leader="two")
HELD = attrs.evolve(VIP, state=VIPState.LEADER, leader="one")
LINK = LinkStatusSpec(operational_state=OperationalState.UP, link_state=True, mtu=1500)
LEASE = DHCPLeaseSpec(link_name="eth0", state="bound", addresses=("192.0.2.5/24",), server="192.0.2.1")
SERVICE = DiscoveryServiceStatusSpec(endpoint="discovery.example.org:443", state=ServiceState.CONNECTED)
CONFIG = ConfigStatusSpec(files=("a.yaml",), digest="0123456789abcdef")
PROBLEM = NetworkProblemSpec(type="LinkSpecs.net.talos.dev", id="eth0", message="no")
CONDITION = VIPConditionSpec(ok=True, since="")
ADDRESSES = NodeAddressSpec(addresses=("192.0.2.5/24", "192.0.2.6/24"))

CASES: list[tuple[ResourceType[Any], str, Any, Any, list[str]]] = [
    (KubeSpanPeerStatus, "key", None, attrs.evolve(PEER, state=PeerState.UNKNOWN), []),
    (KubeSpanPeerStatus, "key", None, PEER, ["info peer two is up by 192.0.2.2:51820"]),
    (KubeSpanPeerStatus, "key", PEER, attrs.evolve(PEER, receive_bytes=2), []),
    (KubeSpanPeerStatus, "key", PEER, attrs.evolve(PEER, state=PeerState.DOWN), ["warning peer two is down"]),
    (
        KubeSpanPeerStatus,
        "key",
        PEER,
        attrs.evolve(PEER, endpoint="192.0.2.3:51820"),
        ["info peer two is up by 192.0.2.3:51820"],
    ),
    (KubeSpanPeerStatus, "key", PEER, None, ["info peer two is gone"]),
    (KubeSpanPeerStatus, "key", None, attrs.evolve(PEER, label="", endpoint=""), ["info peer key is up"]),
    (VIPStatus, "v", None, attrs.evolve(VIP, state=VIPState.WAITING, leader=""), []),
    (VIPStatus, "v", None, VIP, ["info two holds 192.0.2.9 on eth0"]),
    (VIPStatus, "v", VIP, HELD, ["info this node holds 192.0.2.9 on eth0"]),
    (VIPStatus, "v", HELD, attrs.evolve(HELD, lease="1f"), []),
    (
        VIPStatus,
        "v",
        HELD,
        attrs.evolve(VIP, reason="the lease was lost"),
        [
            "warning this node gave 192.0.2.9 on eth0 up: the lease was lost",
            "info two holds 192.0.2.9 on eth0",
        ],
    ),
    (
        VIPStatus,
        "v",
        VIP,
        attrs.evolve(VIP, state=VIPState.REFUSED, reason="it is taken"),
        ["error this node cannot hold 192.0.2.9 on eth0: it is taken"],
    ),
    (
        VIPStatus,
        "v",
        VIP,
        attrs.evolve(VIP, state=VIPState.WAITING),
        ["warning this node is no candidate for 192.0.2.9 on eth0"],
    ),
    (
        VIPStatus,
        "v",
        VIP,
        attrs.evolve(VIP, trouble="etcd"),
        ["error the election of 192.0.2.9 on eth0 has trouble: etcd"],
    ),
    (VIPStatus, "v", attrs.evolve(VIP, trouble="etcd"), VIP, ["info 192.0.2.9 on eth0: solved: election"]),
    (VIPStatus, "v", HELD, None, ["info 192.0.2.9 on eth0 is configured no more, which this node held"]),
    (VIPCondition, "c", None, CONDITION, ["info condition c holds"]),
    (VIPCondition, "c", CONDITION, attrs.evolve(CONDITION, since="x"), []),
    (
        VIPCondition,
        "c",
        CONDITION,
        attrs.evolve(CONDITION, ok=False, reason="503"),
        ["warning condition c does not hold: 503"],
    ),
    (LinkStatus, "eth0", None, LINK, ["info link eth0 is up"]),
    (LinkStatus, "eth0", LINK, attrs.evolve(LINK, mtu=9000), ["info link eth0 has an MTU of 9000, and had 1500"]),
    (LinkStatus, "eth0", LINK, attrs.evolve(LINK, queue_disc="fq"), []),
    (
        LinkStatus,
        "eth0",
        LINK,
        attrs.evolve(LINK, operational_state=OperationalState.DOWN, link_state=False),
        ["info link eth0 is down, without carrier"],
    ),
    (LinkStatus, "eth0", LINK, None, ["warning link eth0 is gone"]),
    (LinkStatus, "veth1", None, attrs.evolve(LINK, kind="veth"), []),
    (NodeAddress, "current", None, ADDRESSES, ["info addresses of this node: 192.0.2.5/24, 192.0.2.6/24"]),
    (
        NodeAddress,
        "current",
        ADDRESSES,
        NodeAddressSpec(addresses=("192.0.2.6/24", "192.0.2.7/24")),
        ["info addresses of this node: 192.0.2.7/24 added; 192.0.2.5/24 removed"],
    ),
    (NodeAddress, "routed", None, ADDRESSES, []),
    (DHCPLease, "dhcp4/eth0", None, DHCPLeaseSpec(link_name="eth0", state="selecting"), []),
    (DHCPLease, "dhcp4/eth0", None, LEASE, ["info eth0 has a lease of 192.0.2.5/24 from 192.0.2.1"]),
    (DHCPLease, "dhcp4/eth0", LEASE, attrs.evolve(LEASE, renew_at="later"), []),
    (
        DHCPLease,
        "dhcp4/eth0",
        LEASE,
        attrs.evolve(LEASE, state="selecting", addresses=()),
        ["warning eth0 lost its lease of 192.0.2.5/24 (selecting)"],
    ),
    (DHCPLease, "dhcp4/eth0", LEASE, None, ["info lease of 192.0.2.5/24 given back"]),
    (
        DiscoveryServiceStatus,
        "d",
        None,
        SERVICE,
        ["info discovery service discovery.example.org:443 is connected"],
    ),
    (DiscoveryServiceStatus, "d", SERVICE, attrs.evolve(SERVICE, affiliates=3), []),
    (
        DiscoveryServiceStatus,
        "d",
        SERVICE,
        attrs.evolve(SERVICE, state=ServiceState.FAILED, stage="tls", message="expired"),
        ["warning discovery service discovery.example.org:443 cannot be used: tls: expired"],
    ),
    (
        DiscoveryServiceStatus,
        "d",
        SERVICE,
        attrs.evolve(SERVICE, unreadable=1),
        [
            (
                "warning discovery service discovery.example.org:443 has records of affiliates that cannot be read: "
                "is the cluster's secret the same everywhere?"
            )
        ],
    ),
    (
        Member,
        "two",
        None,
        MemberSpec(machine_type=MachineType.WORKER),
        ["info two is a member of the cluster (worker)"],
    ),
    (Member, "two", MemberSpec(), None, ["info two is no member of the cluster any more"]),
    (ConfigStatus, "v1alpha1", None, CONFIG, ["info configuration 0123456789ab is in effect"]),
    (
        ConfigStatus,
        "v1alpha1",
        None,
        attrs.evolve(CONFIG, trial_until=datetime.datetime(2026, 1, 2, 3, 4, 5, tzinfo=datetime.UTC)),
        ["info configuration 0123456789ab is in effect, on trial until 2026-01-02 03:04:05Z"],
    ),
    (
        ConfigStatus,
        "v1alpha1",
        attrs.evolve(CONFIG, trial_until=datetime.datetime(2026, 1, 2, tzinfo=datetime.UTC)),
        CONFIG,
        ["info configuration 0123456789ab is permanent"],
    ),
    (
        ConfigStatus,
        "v1alpha1",
        CONFIG,
        attrs.evolve(CONFIG, error="a.yaml:3:4: no"),
        ["error configuration files are not used: a.yaml:3:4: no"],
    ),
    (NetworkProblem, "LinkSpecs/eth0", None, PROBLEM, ["error LinkSpecs/eth0: no"]),
    (
        NetworkProblem,
        "LinkSpecs/eth0",
        None,
        attrs.evolve(PROBLEM, severity=ProblemSeverity.WARNING),
        ["warning LinkSpecs/eth0: no"],
    ),
    (NetworkProblem, "LinkSpecs/eth0", PROBLEM, None, ["info solved: LinkSpecs/eth0: no"]),
    (
        HostnameStatus,
        "hostname",
        None,
        HostnameStatusSpec(hostname="one", domainname="example.org"),
        ["info the host is called one.example.org"],
    ),
]


@pytest.mark.parametrize(("type", "id", "before", "now", "expected"), CASES)
def test_changes_as_operators_read_them(
    type: ResourceType[Any], id: str, before: Any, now: Any, expected: list[str]
) -> None:
    was, is_now = (None if spec is None else type.new(id, spec) for spec in (before, now))
    happenings = [each for rule in RULES if rule.type is type for each in rule.describe(was, is_now)]
    assert [f"{each.severity} {each.text}" for each in happenings] == expected


def test_a_problem_that_ended_while_no_agent_ran_is_solved_once() -> None:
    (rule,) = (rule for rule in RULES if rule.type is NetworkProblem)
    moment = datetime.datetime(2026, 1, 2, tzinfo=datetime.UTC)
    solved = rule.ended(EventSpec(time=moment, kind="problem", text="LinkSpecs/eth0: no"))
    assert solved is not None
    assert solved.text == "solved: LinkSpecs/eth0: no"
    assert rule.ended(EventSpec(time=moment, kind="problem", text=solved.text)) is None
