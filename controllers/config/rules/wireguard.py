"""WireGuard keys, peers and endpoints, in devices and in documents."""

from collections.abc import Iterator, Sequence
from datetime import timedelta

from nodespan.controllers.common.ip.notation import parse_cidr
from nodespan.controllers.common.link_settings.keepalive import keepalive_seconds
from nodespan.controllers.common.quoting import quote
from nodespan.controllers.config.finding import Finding, at, under, warn
from nodespan.controllers.config.notation import CIDR_HINT, ENDPOINT_HINT, KEY_HINT, is_cidr, is_host_port, is_key
from nodespan.controllers.config.rules.base import RuleSet
from nodespan.controllers.config.rules.links import check_made_link
from nodespan.resources.config.device import DeviceWireguard, DeviceWireguardPeer
from nodespan.resources.config.links import (
    WireguardConfig,
    WireguardPeer,
)

RULES = RuleSet()


def check_wireguard(wireguard: DeviceWireguard) -> Iterator[Finding]:
    """Keys, endpoints and allowed addresses."""
    yield from check_allowed_networks(wireguard.peers)
    yield from check_private_key(wireguard.private_key)
    for index, peer in enumerate(wireguard.peers):
        yield from under(("peers", index), check_peer(peer.public_key, peer.allowed_ips))
        yield from under(("peers", index), check_keepalive(peer.persistent_keepalive_interval))
        if peer.endpoint and not is_host_port(peer.endpoint):
            message = f"{quote(peer.endpoint)} is not host:port"
            yield at("peers", index, "endpoint", message=message, hint=ENDPOINT_HINT)


def check_keepalive(interval: timedelta) -> Iterator[Finding]:
    """A warning for an interval that no device takes: the originals find out only when they apply it."""
    seconds = keepalive_seconds(interval)
    if timedelta(seconds=seconds) != interval:
        yield warn(
            "persistentKeepaliveInterval",
            message=f"an interval of {interval.total_seconds():g} s counts as {seconds} s",
            hint="write whole seconds, from 0s for none to 65535s",
        )


def check_allowed_networks(peers: Sequence[DeviceWireguardPeer | WireguardPeer]) -> Iterator[Finding]:
    """A warning for a network that several peers of one link allow: WireGuard sends each packet to one of them."""
    owners: dict[str, str] = {}
    for index, peer in reversed(tuple(enumerate(peers))):
        for position, text in enumerate(peer.allowed_ips):
            network = parse_cidr(text)
            if network is None:
                continue
            owner = owners.setdefault(str(network.network), peer.public_key)
            if owner != peer.public_key:
                yield warn(
                    "peers",
                    index,
                    "allowedIPs",
                    position,
                    message=f"{network.network} is allowed for the peer {quote(owner)} too: "
                    "that one, the last, gets it",
                    hint="give each network to one peer; a part of another one's network may be given",
                )


def check_private_key(private_key: str) -> Iterator[Finding]:
    """The private key of a WireGuard link, which is never shown."""
    if not is_key(private_key):
        yield at("privateKey", message="the private key is not base64 of 32 bytes", hint=KEY_HINT)


def check_peer(public_key: str, allowed_ips: tuple[str, ...]) -> Iterator[Finding]:
    """What WireGuard peers have in common in all documents."""
    if not is_key(public_key):
        yield at("publicKey", message=f"{quote(public_key)} is not base64 of 32 bytes", hint=KEY_HINT)
    for index, network in enumerate(allowed_ips):
        if not is_cidr(network):
            yield at("allowedIPs", index, message=f"{quote(network)} is not a CIDR", hint=CIDR_HINT)


@RULES.document(WireguardConfig)
def check_wireguard_config(wireguard: WireguardConfig) -> Iterator[Finding]:
    """WireguardConfig."""
    yield from check_made_link(wireguard)
    yield from check_private_key(wireguard.private_key)
    yield from check_allowed_networks(wireguard.peers)
    for index, peer in enumerate(wireguard.peers):
        yield from under(("peers", index), _check_peer_document(peer))


def _check_peer_document(peer: WireguardPeer) -> Iterator[Finding]:
    yield from check_peer(peer.public_key, peer.allowed_ips)
    if peer.preshared_key and not is_key(peer.preshared_key):
        yield at("presharedKey", message="the preshared key is not base64 of 32 bytes", hint="make one: `wg genpsk`")
    if peer.endpoint and not is_host_port(peer.endpoint):
        yield at("endpoint", message=f"{quote(peer.endpoint)} is not host:port", hint=ENDPOINT_HINT)
    if peer.persistent_keepalive_interval < timedelta():
        yield at("persistentKeepaliveInterval", message="the interval is negative", hint="write 0s for none")
    else:
        yield from check_keepalive(peer.persistent_keepalive_interval)
