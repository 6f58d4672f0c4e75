"""Endpoints that are reached over a relay: the local addresses by which WireGuard knows them, and the true ones.

Whatever the node shows or announces has the true ones. A local address that stands for nothing any more, since the
relay was given up, is no endpoint.

What a relay says of where packets come from is a claim, of the relay or of whoever can send to it from a made-up
address. So it changes nothing about a peer until WireGuard itself has taken the peer's packets from there: without that
a peer that answers at its own address could be led over the relay by a single packet.
"""

from collections.abc import Mapping
from ipaddress import ip_address
from typing import Final

import attrs

from nodespan.controllers.kubespan.peer_state import ObservedPeer
from nodespan.resources.kubespan import KubeSpanRelayedEndpointSpec

# The host of local addresses.
LOCAL_HOST: Final = "127.0.0.1"


def is_local(endpoint: str) -> bool:
    """Whether an endpoint is one that no other machine could use."""
    try:
        return ip_address(endpoint.rpartition(":")[0].strip("[]")).is_loopback
    except ValueError:
        return False


class Relayed:
    """The endpoints that are reached over a relay now, from their resources."""

    def __init__(self) -> None:
        self._by_local: dict[str, KubeSpanRelayedEndpointSpec] = {}
        # The local addresses of each endpoint, the newest being the last.
        self._by_endpoint: dict[str, dict[str, KubeSpanRelayedEndpointSpec]] = {}
        # Local addresses that stood for an endpoint once.
        self._former: set[str] = set()

    def note(self, local: str, spec: KubeSpanRelayedEndpointSpec | None) -> frozenset[str]:
        """What a local address stands for now, None for nothing. Returns the endpoints that this changes."""
        before = self._by_local.pop(local, None)
        if before is not None:
            others = self._by_endpoint[before.endpoint]
            del others[local]
            if not others:
                del self._by_endpoint[before.endpoint]
        if spec is not None:
            self._by_local[local] = spec
            self._by_endpoint.setdefault(spec.endpoint, {})[local] = spec
            self._former.discard(local)
        elif before is not None:
            self._former.add(local)
        return frozenset(each.endpoint for each in (before, spec) if each is not None)

    def local_of(self, endpoint: str, relay: str) -> str:
        """The local address by which to give the device an endpoint, "" to give it the endpoint itself.

        `relay` is the one over which the device has heard the peer last, "" for none.
        """
        found = ""
        for local, spec in self._by_endpoint.get(endpoint, {}).items():
            if spec.requested or (relay and spec.relay == relay):
                found = local
        return found

    def named(self, peers: Mapping[str, ObservedPeer]) -> Mapping[str, ObservedPeer]:
        """The peers of a device, with their true endpoints."""
        if not self._by_local and not self._former:
            return peers
        return {key: self._named(peer) for key, peer in peers.items()}

    def _named(self, peer: ObservedPeer) -> ObservedPeer:
        spec = self._by_local.get(peer.endpoint)
        if spec is not None:
            return attrs.evolve(peer, endpoint=spec.endpoint, relay=spec.relay)
        return attrs.evolve(peer, endpoint="") if peer.endpoint in self._former else peer
