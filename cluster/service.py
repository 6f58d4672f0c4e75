"""The processes at the stations of a cluster: data, nothing is run here."""

from pathlib import Path

import attrs

from nodespan.cluster.commands import Command, agent_command, discovery_command
from nodespan.cluster.etcd import etcd_command, etcd_log
from nodespan.cluster.plan import Plan, Station


@attrs.frozen(kw_only=True)
class Service:
    """A command that runs permanently at a station; its output goes to `log`."""

    title: str
    station: Station
    command: Command
    log: Path


def discovery_service(plan: Plan) -> Service:
    """The discovery service."""
    station = plan.discovery
    return Service(title="the discovery service", station=station, command=discovery_command(plan), log=station.log)


def agent_service(node: Station) -> Service:
    """The agent of a node."""
    return Service(title=f"the agent of {node.name}", station=node, command=agent_command(node), log=node.log)


def etcd_service(plan: Plan, node: Station) -> Service:
    """The etcd member of a node."""
    return Service(title=f"etcd at {node.name}", station=node, command=etcd_command(plan, node), log=etcd_log(node))
