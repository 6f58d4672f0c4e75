"""What changes of resources mean to operators: the rules for events, a function per type and a table of all."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

from nodespan.resources.cluster import (
    DiscoveryServiceStatus,
    DiscoveryServiceStatusSpec,
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
from nodespan.resources.network.node_address import CURRENT_ADDRESSES_ID
from nodespan.resources.network.vip_condition import VIPCondition, VIPConditionSpec
from nodespan.runtime.events import EventRule, EventSpec, Happening, Severity
from nodespan.runtime.resource import Resource

S = TypeVar("S")
Before = Resource[S] | None
_INFO, _WARNING, _ERROR = Severity.INFO, Severity.WARNING, Severity.ERROR

# Pairs of virtual links come and go with every container: the links of the node are what they are about.
_NO_NEWS = frozenset({"veth"})
# In seconds: while an agent starts, and while a configuration is applied, specs wait for links for some moments.
_PROBLEM_SETTLES = 3.0
_SOLVED = "solved: "


def _spec(resource: Before[S]) -> S | None:
    return None if resource is None else resource.spec


def _peer(before: Before[KubeSpanPeerStatusSpec], now: Before[KubeSpanPeerStatusSpec]) -> Iterator[Happening]:
    known = now or before
    assert known is not None  # a change has at least one side
    name = f"peer {known.spec.label or known.id}"
    was, spec = _spec(before), _spec(now)
    if spec is None:
        yield Happening("peer", f"{name} is gone")
    elif was is None or was.state is not spec.state:
        if spec.state is PeerState.UP:
            yield Happening("peer", f"{name} is up by {spec.endpoint}" if spec.endpoint else f"{name} is up")
        elif spec.state is PeerState.DOWN:
            yield Happening("peer", f"{name} is down", _WARNING)
    elif spec.state is PeerState.UP and spec.endpoint and spec.endpoint != was.endpoint:
        yield Happening("peer", f"{name} is up by {spec.endpoint}")


def _vip(before: Before[VIPStatusSpec], now: Before[VIPStatusSpec]) -> Iterator[Happening]:
    was, spec = _spec(before), _spec(now)
    if spec is None:
        assert was is not None  # a change has at least one side
        held = ", which this node held" if was.state is VIPState.LEADER else ""
        yield Happening("vip", f"{was.ip} on {was.link_name} is configured no more{held}")
        return
    place = f"{spec.ip} on {spec.link_name}"
    if was is None or was.state is not spec.state:
        if spec.state is VIPState.LEADER:
            yield Happening("vip", f"this node holds {place}")
        elif was is not None and was.state is VIPState.LEADER:
            yield Happening("vip", f"this node gave {place} up{_because(spec.reason)}", _WARNING)
        if spec.state is VIPState.REFUSED:
            yield Happening("vip", f"this node cannot hold {place}{_because(spec.reason)}", _ERROR)
        elif spec.state is VIPState.WAITING and (was is not None or spec.reason):
            yield Happening("vip", f"this node is no candidate for {place}{_because(spec.reason)}", _WARNING)
    if spec.state is not VIPState.LEADER and spec.leader and (was is None or was.leader != spec.leader):
        yield Happening("vip", f"{spec.leader} holds {place}")
    if spec.trouble != ("" if was is None else was.trouble):
        text = f"the election of {place} has trouble: {spec.trouble}" if spec.trouble else f"{place}: {_SOLVED}election"
        yield Happening("vip", text, _ERROR if spec.trouble else _INFO)


def _because(reason: str) -> str:
    return f": {reason}" if reason else ""


def _condition(before: Before[VIPConditionSpec], now: Before[VIPConditionSpec]) -> Iterator[Happening]:
    if now is not None and (before is None or before.spec.ok != now.spec.ok):
        if now.spec.ok:
            yield Happening("vip", f"condition {now.id} holds")
        else:
            yield Happening("vip", f"condition {now.id} does not hold{_because(now.spec.reason)}", _WARNING)


def _link(before: Before[LinkStatusSpec], now: Before[LinkStatusSpec]) -> Iterator[Happening]:
    known = now or before
    assert known is not None  # a change has at least one side
    if known.spec.kind in _NO_NEWS or known.spec.type.value == "loopback":
        return
    was, spec = _spec(before), _spec(now)
    if spec is None:
        yield Happening("link", f"link {known.id} is gone", _WARNING)
    elif was is None or (was.operational_state, was.link_state) != (spec.operational_state, spec.link_state):
        carrier = "" if spec.link_state else ", without carrier"
        is_unknown = spec.operational_state is OperationalState.UNKNOWN
        state = "there" if is_unknown else str(spec.operational_state)
        yield Happening("link", f"link {known.id} is {state}{carrier}")
    elif was.mtu != spec.mtu:
        yield Happening("link", f"link {known.id} has an MTU of {spec.mtu}, and had {was.mtu}")


def _addresses(before: Before[NodeAddressSpec], now: Before[NodeAddressSpec]) -> Iterator[Happening]:
    known = now or before
    if known is None or known.id != CURRENT_ADDRESSES_ID:
        return
    had = () if before is None else before.spec.addresses
    has = () if now is None else now.spec.addresses
    if before is None:
        if has:
            yield Happening("address", f"addresses of this node: {', '.join(has)}")
        return
    added = [address for address in has if address not in had]
    removed = [address for address in had if address not in has]
    changes = [f"{', '.join(added)} added"] * bool(added) + [f"{', '.join(removed)} removed"] * bool(removed)
    if changes:
        yield Happening("address", f"addresses of this node: {'; '.join(changes)}")


def _lease(before: Before[DHCPLeaseSpec], now: Before[DHCPLeaseSpec]) -> Iterator[Happening]:
    was, spec = _spec(before), _spec(now)
    had = () if was is None else was.addresses
    if spec is None:
        if had:
            yield Happening("lease", f"lease of {', '.join(had)} given back")
    elif spec.addresses and spec.addresses != had:
        yield Happening("lease", f"{spec.link_name} has a lease of {', '.join(spec.addresses)} from {spec.server}")
    elif had and not spec.addresses:
        yield Happening("lease", f"{spec.link_name} lost its lease of {', '.join(had)} ({spec.state})", _WARNING)


def _discovery(
    before: Before[DiscoveryServiceStatusSpec], now: Before[DiscoveryServiceStatusSpec]
) -> Iterator[Happening]:
    if now is None:
        return
    spec, name = now.spec, f"discovery service {now.spec.endpoint or now.id}"
    if before is None or before.spec.state is not spec.state:
        if spec.state is ServiceState.CONNECTED:
            yield Happening("discovery", f"{name} is connected")
        elif spec.state is ServiceState.FAILED:
            yield Happening("discovery", f"{name} cannot be used: {spec.stage}: {spec.message}", _WARNING)
    if spec.unreadable and (before is None or before.spec.unreadable == 0):
        text = f"{name} has records of affiliates that cannot be read: is the cluster's secret the same everywhere?"
        yield Happening("discovery", text, _WARNING)


def _member(before: Before[MemberSpec], now: Before[MemberSpec]) -> Iterator[Happening]:
    if before is None and now is not None:
        yield Happening("member", f"{now.id} is a member of the cluster ({now.spec.machine_type})")
    elif now is None and before is not None:
        yield Happening("member", f"{before.id} is no member of the cluster any more")


def _config(before: Before[ConfigStatusSpec], now: Before[ConfigStatusSpec]) -> Iterator[Happening]:
    if now is None:
        return
    was, spec = _spec(before), now.spec
    if spec.digest and (was is None or was.digest != spec.digest):
        text = f"configuration {spec.digest[:12]} is in effect"
        trial = "" if spec.trial_until is None else f", on trial until {spec.trial_until:%Y-%m-%d %H:%M:%S}Z"
        yield Happening("configuration", text + trial)
    elif was is not None and was.trial_until is not None and spec.trial_until is None:
        yield Happening("configuration", f"configuration {spec.digest[:12]} is permanent")
    error = "" if was is None else was.error
    if spec.error and spec.error != error:
        yield Happening("configuration", f"configuration files are not used: {spec.error}", _ERROR)


def _problem(before: Before[NetworkProblemSpec], now: Before[NetworkProblemSpec]) -> Iterator[Happening]:
    known = now or before
    if known is None or known.spec.type == DiscoveryServiceStatus.name:
        return  # the status itself is an event
    if now is None:
        assert before is not None  # a change has at least one side
        yield Happening("problem", f"{_SOLVED}{_problem_text(before)}")
    elif before is None or before.spec.message != now.spec.message:
        severity = _ERROR if now.spec.severity is ProblemSeverity.ERROR else _WARNING
        yield Happening("problem", _problem_text(now), severity)


def _problem_text(problem: Resource[NetworkProblemSpec]) -> str:
    return f"{problem.id}: {problem.spec.message}"


def _solved(last: EventSpec) -> Happening | None:
    """A problem that the agent before had and this one does not have."""
    return None if last.text.startswith(_SOLVED) else Happening("problem", f"{_SOLVED}{last.text}")


def _hostname(before: Before[HostnameStatusSpec], now: Before[HostnameStatusSpec]) -> Iterator[Happening]:
    if now is not None and (before is None or before.spec != now.spec):
        yield Happening("hostname", f"the host is called {next(iter(now.spec.names), '(nothing)')}")


def _rule(type: Any, describe: Callable[[Any, Any], Iterable[Happening]], **more: Any) -> EventRule[Any]:
    return EventRule(type=type, describe=describe, **more)


# What the entry point stands for.
RULES = (
    _rule(KubeSpanPeerStatus, _peer, ignoring=("receive_bytes", "transmit_bytes")),
    _rule(VIPStatus, _vip),
    _rule(VIPCondition, _condition),
    _rule(LinkStatus, _link),
    _rule(NodeAddress, _addresses),
    _rule(DHCPLease, _lease),
    _rule(DiscoveryServiceStatus, _discovery),
    _rule(Member, _member),
    _rule(ConfigStatus, _config),
    _rule(NetworkProblem, _problem, ended=_solved, settle=_PROBLEM_SETTLES),
    _rule(HostnameStatus, _hostname),
)
