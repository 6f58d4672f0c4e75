"""The requested plan of a cluster, kept in one of its files for the commands that show or remove it later."""

import json
from ipaddress import ip_address, ip_network
from pathlib import Path

import attrs

from nodespan.cluster.plan import CLUSTERS, Plan
from nodespan.runtime.whole_file import replace_file


def write_record(plan: Plan) -> None:
    """Write the file. Blocks. Raises OSError."""
    asked_for = {
        "size": plan.size,
        "control_planes": plan.control_planes,
        "kubespan": plan.kubespan,
        "relay": plan.relay,
    }
    wireguard = None if plan.wireguard is None else str(plan.wireguard)
    vip = None if plan.vip is None else str(plan.vip)
    replace_file(plan.record, json.dumps({**asked_for, "wireguard": wireguard, "vip": vip}))


def recorded(name: str, *, clusters: Path = CLUSTERS) -> Plan:
    """The plan of the cluster of this name; the default plan if the file is missing or damaged."""
    plan = Plan(name=name, clusters=clusters)
    if not plan.record.exists():
        return plan
    asked_for = json.loads(plan.record.read_text())
    wireguard, vip = asked_for.pop("wireguard", None), asked_for.pop("vip", None)
    return attrs.evolve(
        plan,
        wireguard=None if wireguard is None else ip_network(wireguard),
        vip=None if vip is None else ip_address(vip),
        **asked_for,
    )
