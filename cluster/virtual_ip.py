"""The virtual IP of a cluster: its configuration on the control planes, and the states reported by their agents."""

import time
from collections.abc import Iterator, Mapping
from typing import Any

import attrs

from nodespan.cluster.commands import LINK
from nodespan.cluster.etcd import etcd_endpoints
from nodespan.cluster.peers import specs_of
from nodespan.cluster.plan import Plan, Station
from nodespan.resources.network import VIPState
from nodespan.runtime.cli.client import AgentGoneError
from nodespan.runtime.codec.plain import parse_time
from nodespan.runtime.text.table import Table

LEASE_TTL = 5.0
NO_AGENT = "no agent"
_NANOSECONDS = 1e9


@attrs.frozen(kw_only=True)
class VipView:
    """One node's report of the virtual IP: a VIPState, "" before there is one, or NO_AGENT. `since` is RFC 3339."""

    state: str = ""
    leader: str = ""
    since: str = ""
    reason: str = ""


# By control plane, in their order.
VipViews = Mapping[Station, VipView]


def vip_interface(plan: Plan) -> dict[str, Any]:
    """The entry in `machine.network.interfaces` of a control plane."""
    return {"interface": LINK, "vip": {"ip": str(plan.vip)}}


def vip_settings(plan: Plan) -> dict[str, Any]:
    """The settings in the NodespanConfig of a control plane."""
    return {"etcd": {"endpoints": list(etcd_endpoints(plan))}, "vip": {"leaseTTL": f"{LEASE_TTL:g}s"}}


def look_at_vip(plan: Plan) -> dict[Station, VipView]:
    """Query the agents of all control planes. Blocks for a moment. Raises CommandError for an invalid answer."""
    return {node: vip_view(plan, node) for node in plan.control_plane_nodes}


def vip_view(plan: Plan, node: Station) -> VipView:
    """Query the agent of one node; see `look_at_vip`."""
    try:
        statuses = specs_of(node, "vipstatuses")
    except AgentGoneError:
        return VipView(state=NO_AGENT)
    for spec in statuses:
        if spec["ip"] == str(plan.vip):
            return VipView(
                state=spec["state"], leader=spec["leader"], since=spec["since"], reason=spec.get("reason", "")
            )
    return VipView()


def agreed_holder(views: VipViews) -> Station | None:
    """The holder of the address, if all nodes agree."""
    for node, view in views.items():
        if view.state == VIPState.LEADER and all(other.leader == node.name for other in views.values()):
            return node
    return None


def would_take_over_at_once(views: VipViews, now: float | None = None) -> bool:
    """Whether all agree, and the candidates have waited for a lease: before that they do not trust their own
    election. `now` is the time of day in seconds."""
    if agreed_holder(views) is None:
        return False
    # Times of day are shown without their fractions.
    latest = (time.time() if now is None else now) - LEASE_TTL - 1
    waiting = [view for view in views.values() if view.state != VIPState.LEADER]
    return all(view.state == VIPState.CANDIDATE and parse_time(view.since) / _NANOSECONDS <= latest for view in waiting)


def vip_table(views: VipViews) -> list[str]:
    """The lines of a table with each node's report."""
    rows = Table(["NODE", "STATE", "LEADER", "SINCE", "REASON"])
    for node, view in views.items():
        rows.add([node.name, view.state, view.leader, view.since, view.reason])
    return rows.flush().splitlines()


def vip_changes(before: VipViews, after: VipViews) -> Iterator[str]:
    """A line for each node whose report changed."""
    for node, view in after.items():
        known = before.get(node, VipView())
        if (view.state, view.leader) == (known.state, known.leader):
            continue
        if view.state == NO_AGENT:
            yield f"{node.name}: its agent does not answer"
        elif view.state == VIPState.LEADER:
            yield f"{node.name}: has the address"
        elif view.state:
            yield f"{node.name}: {view.state}, {f'{view.leader} leads' if view.leader else 'knows of no leader'}"
