"""WireguardPeerSpec: one peer of a WireGuard link; a resource of its own, so that a join writes one and not a list."""

from nodespan.resources.network.link_spec import WireguardPeer
from nodespan.resources.network.namespace import NAMESPACE
from nodespan.runtime.resource import ResourceType


def wireguard_peer_id(link_name: str, public_key: str) -> str:
    """`kubespan/<public key>`."""
    return f"{link_name}/{public_key}"


def split_wireguard_peer_id(id: str) -> tuple[str, str]:
    """Link name and public key. The key may hold slashes, the name of a link cannot."""
    link_name, _, public_key = id.partition("/")
    return link_name, public_key


WireguardPeerSpec = ResourceType(
    "WireguardPeerSpecs.net.nodespan.dev",
    WireguardPeer,
    namespace=NAMESPACE,
    columns={"Endpoint": ".endpoint", "Allowed IPs": ".allowedIPs"},
    sensitive=True,
)
