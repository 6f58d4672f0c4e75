"""The etcd of a cluster with a virtual IP: a member on each control plane, at the node's own address.

It uses plain text without passwords, because its traffic does not leave the machine.
"""

from pathlib import Path

from nodespan.cluster.commands import Command, enter
from nodespan.cluster.plan import Plan, Station

PROGRAM = "etcd"
_CLIENT_PORT = 2379
_PEER_PORT = 2380


def etcd_endpoints(plan: Plan) -> tuple[str, ...]:
    """The URLs of the members."""
    return tuple(_url(node, _CLIENT_PORT) for node in plan.etcd_nodes)


def etcd_command(plan: Plan, node: Station) -> Command:
    """The command of a node's member."""
    client, peer = _url(node, _CLIENT_PORT), _url(node, _PEER_PORT)
    members = ",".join(f"{member.name}={_url(member, _PEER_PORT)}" for member in plan.etcd_nodes)
    return enter(
        node,
        (
            *(PROGRAM, "--name", node.name, "--data-dir", str(node.directory / "etcd")),
            *("--listen-client-urls", client, "--advertise-client-urls", client),
            *("--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer),
            *("--initial-cluster", members, "--initial-cluster-token", plan.name),
            *("--logger", "zap", "--log-level", "warn"),
        ),
    )


def etcd_log(node: Station) -> Path:
    """The log of a node's member."""
    return node.directory / "etcd.log"


def _url(node: Station, port: int) -> str:
    return f"http://{node.address}:{port}"
