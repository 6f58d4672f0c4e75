"""The configured WireGuard devices of a cluster: a star. The control planes are its centre: they listen, and
all nodes connect to them, also they to each other. Workers are not peers of workers.

A node behind NAT is configured at its peers without an endpoint: it connects first.
"""

from collections.abc import Mapping
from ipaddress import ip_network
from typing import Any

from nodespan.cluster.plan import Plan, Station
from nodespan.kernel.wireguard.keys import public_key_of

LINK = "wg0"
LISTEN_PORT = 51111
_KEEPALIVE = "5s"


def wireguard_devices(plan: Plan, private_keys: Mapping[Station, str]) -> dict[Station, dict[str, Any]]:
    """For each node its entry in `machine.network.interfaces`. Raises ValueError if the plan has no such network."""
    if plan.wireguard is None:
        raise ValueError(f"the cluster {plan.name!r} has no WireGuard network")
    public_keys = {node: public_key_of(key) for node, key in private_keys.items()}
    peers: dict[Station, list[dict[str, Any]]] = {node: [] for node in plan.nodes}
    for node, peer in plan.wireguard_pairs:
        peers[node].append(_peer(plan, peer, public_keys[peer]))
    devices = {}
    for node in plan.nodes:
        port = {"listenPort": LISTEN_PORT} if node in plan.control_plane_nodes else {}
        devices[node] = {
            "interface": LINK,
            "addresses": [f"{plan.wireguard_address(node)}/{plan.wireguard.prefixlen}"],
            "wireguard": {"privateKey": private_keys[node], **port, "peers": peers[node]},
        }
    return devices


def _peer(plan: Plan, peer: Station, public_key: str) -> dict[str, Any]:
    can_be_called = peer in plan.control_plane_nodes and peer != plan.hidden_node
    endpoint = {"endpoint": f"{peer.address}:{LISTEN_PORT}"} if can_be_called else {}
    return {
        "publicKey": public_key,
        **endpoint,
        "persistentKeepaliveInterval": _KEEPALIVE,
        "allowedIPs": [str(ip_network(plan.wireguard_address(peer)))],
    }
