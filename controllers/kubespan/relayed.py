"""Endpoints that are reached over a relay: the local addresses by which WireGuard knows them, and the true ones.

Whatever the node shows or announces has the true ones. A local address that stands for nothing any more, since the
relay was given up, is no endpoint.
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
        # The local address of each endpoint.
        self.local: dict[str, str] = {}
        # Local addresses that stood for an endpoint once.
        self._former: set[str] = set()

    def note(self, local: str, spec: KubeSpanRelayedEndpointSpec | None) -> frozenset[str]:
        """What a local address stands for now, None for nothing. Returns the endpoints that this changes."""
        before = self._by_local.pop(local, None)
        if before is not None and self.local.get(before.endpoint) == local:
            del self.local[before.endpoint]
            # It may have another one, over another relay; the newest counts.
            for other, each in self._by_local.items():
                if each.endpoint == before.endpoint:
                    self.local[before.endpoint] = other
        if spec is not None:
            self._by_local[local] = spec
            self.local[spec.endpoint] = local
            self._former.discard(local)
        elif before is not None:
            self._former.add(local)
        return frozenset(each.endpoint for each in (before, spec) if each is not None)

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
