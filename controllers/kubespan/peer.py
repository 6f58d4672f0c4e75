"""kubespan.PeerController: writes each peer of the WireGuard link, and its part of the set of routed addresses.

An address at a relay of this node is never given to the device itself: WireGuard would send there by UDP, past the
stream, and the answers that come by UDP would keep it from the local address that it is to use instead.
"""

from collections.abc import Callable, Iterable
from datetime import timedelta
from ipaddress import ip_network
from typing import TYPE_CHECKING, Any

import trio

from nodespan.controllers.common.ip.blocks import IPSet, parse_network
from nodespan.controllers.kubespan.addressing import Purpose, has_purpose
from nodespan.controllers.kubespan.data_path import KEEPALIVE, LINK_NAME, ROUTED_SET
from nodespan.controllers.kubespan.known_relays import KnownRelays
from nodespan.controllers.kubespan.member_word import needed_addresses, outside
from nodespan.controllers.kubespan.peer_state import Path
from nodespan.controllers.kubespan.relayed import Relayed
from nodespan.resources.kubespan import (
    KUBESPAN_CONFIG_ID,
    LOCAL,
    KubeSpanConfig,
    KubeSpanConfigSpec,
    KubeSpanIdentity,
    KubeSpanPeerSpec,
    KubeSpanPeerSpecSpec,
    KubeSpanPeerStatus,
    KubeSpanPeerStatusSpec,
    KubeSpanRelayedEndpoint,
    KubeSpanRelayStatus,
    PeerState,
)
from nodespan.resources.network import (
    NfTablesSetElements,
    NfTablesSetElementsSpec,
    ResolverStatus,
    RouteStatus,
    WireguardPeer,
    WireguardPeerSpec,
    nftables_set_elements_id,
    wireguard_peer_id,
)
from nodespan.resources.network.wireguard import split_wireguard_peer_id
from nodespan.runtime.controller import (
    QueueContext,
    QueueController,
    mapped,
    mapped_destroy_ready,
    primary,
    shared,
)
from nodespan.runtime.resource import Kind, Metadata, Pointer

if TYPE_CHECKING:
    from nodespan.controllers.kubespan.relay_claims import DirectEndpoints

_NO_RELAYS = KnownRelays()


def routed_prefixes(allowed_ips: Iterable[str]) -> tuple[str, ...]:
    """The addresses of a peer that need a mark to find the tunnel: the mesh's own prefix has a route anyway."""
    return tuple(
        prefix
        for prefix in allowed_ips
        # Only a private prefix of IPv6 can be one of the mesh.
        if not (prefix.startswith("fd") and has_purpose(ip_network(prefix).network_address, Purpose.KUBESPAN))
    )


def is_routed(config: KubeSpanConfigSpec, state: PeerState) -> bool:
    """Whether packets to a peer are sent into the tunnel: always, unless a peer that is down may be bypassed."""
    return config.force_routing or state is PeerState.UP


def desired_peer(
    key: str,
    config: KubeSpanConfigSpec,
    spec: KubeSpanPeerSpecSpec,
    status: KubeSpanPeerStatusSpec,
    relayed: Relayed | None = None,
    relays: KnownRelays = _NO_RELAYS,
    answers: Callable[[str], bool] = lambda _: False,
) -> WireguardPeer:
    """The desired peer of the device. An endpoint that the device found itself is left to it.

    `relayed` are the endpoints that are reached over a relay, which the device knows by local addresses. One at one of
    the `relays` that has none yet waits for it, and the device keeps what it has; unless a peer answers there without a
    relay, or did so lately (`answers`).
    """
    endpoint = Path(endpoint=status.endpoint, last_used=status.last_used_endpoint).desired_endpoint
    is_up = status.state is PeerState.UP

    def is_at_relay(endpoint: str) -> bool:
        return relays.have(endpoint, answers_directly=answers(endpoint))

    if not endpoint and not is_up and is_at_relay(status.last_used_endpoint):
        # What the device has was not found by it: it is what it had before, while this one waits for its local address.
        endpoint = status.last_used_endpoint
    local = "" if relayed is None else relayed.local_of(endpoint, status.relay)
    is_direct = is_up and not status.relay
    if not local and not is_direct and is_at_relay(endpoint):
        endpoint = ""
    # A device that is to keep a peer alive and has no endpoint for it begins a handshake all the same, and the next one
    # 5 s after that, however soon there is an endpoint.
    is_found = bool(status.endpoint) and (is_up or bool(status.relay) or not is_at_relay(status.endpoint))
    is_sent_to = bool(local or endpoint) or is_found
    return WireguardPeer(
        public_key=key,
        preshared_key=config.shared_secret,
        endpoint=local or endpoint,
        persistent_keepalive_interval=timedelta(seconds=KEEPALIVE if is_sent_to else 0),
        allowed_ips=spec.allowed_ips,
    )


class PeerController(QueueController):
    """One peer of the link per peer of the mesh. A join writes one peer and the elements of that peer."""

    name = "kubespan.PeerController"
    inputs = (
        primary(KubeSpanPeerSpec),
        # `transmit_bytes` is not ignored: it is all that changes of a peer that is down, whose direct endpoint expires.
        mapped(KubeSpanPeerStatus),
        mapped(KubeSpanConfig, KUBESPAN_CONFIG_ID),
        mapped(KubeSpanIdentity, LOCAL),
        mapped(RouteStatus),
        mapped(ResolverStatus),
        mapped(KubeSpanRelayedEndpoint),
        mapped(KubeSpanRelayStatus),
        mapped_destroy_ready(WireguardPeerSpec),
        mapped_destroy_ready(NfTablesSetElements),
    )
    outputs = (shared(WireguardPeerSpec), shared(NfTablesSetElements))

    def __init__(self) -> None:
        # The gateways of default routes by the id of the route, and the resolvers.
        self._gateways: dict[str, tuple[str, ...]] = {}
        self._resolvers: dict[str, tuple[str, ...]] = {}
        self._relayed = Relayed()
        self._relays = KnownRelays()
        # The endpoint that each peer is given, and the peers of each: relayed endpoints change whenever strangers like.
        self._endpoints: dict[str, str] = {}
        self._by_endpoint: dict[str, set[str]] = {}
        # What peers were made of, of their statuses.
        self._seen: dict[str, tuple[PeerState, str, str, str]] = {}
        # Since there are relays: a node without any has nothing to remember for them.
        self._direct: DirectEndpoints | None = None

    def _note_direct(self, id: str, status: KubeSpanPeerStatusSpec | None) -> None:
        if self._direct is None:
            return
        now = trio.current_time()
        if status is None:
            self._direct.forget(id)
        else:
            self._direct.note(id, status, now)
        self._direct.expire(now)

    def _answers(self, endpoint: str) -> bool:
        return self._direct is not None and self._direct.answers(endpoint, trio.current_time())

    def _expect_claims(self, ctx: QueueContext) -> None:
        """There is a relay: remember from now on where peers answer without it."""
        if self._direct is None:
            from nodespan.controllers.kubespan.relay_claims import DirectEndpoints

            self._direct = DirectEndpoints()
            for status in ctx.list(KubeSpanPeerStatus):
                self._note_direct(status.id, status.spec)

    def _note_endpoint(self, id: str, status: KubeSpanPeerStatusSpec | None) -> None:
        before = self._endpoints.pop(id, "")
        if before:
            peers = self._by_endpoint[before]
            peers.discard(id)
            if not peers:
                del self._by_endpoint[before]
        if status is not None and status.last_used_endpoint:
            self._endpoints[id] = status.last_used_endpoint
            self._by_endpoint.setdefault(status.last_used_endpoint, set()).add(id)

    def _note_seen(self, id: str, status: KubeSpanPeerStatusSpec | None) -> bool:
        """Whether what peers are made of is in the status as it was: mostly it only counts more bytes."""
        before = self._seen.pop(id, None)
        if status is None:
            return False
        seen = self._seen[id] = status.state, status.endpoint, status.last_used_endpoint, status.relay
        return seen == before

    def _is_needed_changed(self, ctx: QueueContext, changed: Metadata) -> bool:
        """Take in a route or the resolvers; whether another address is needed by this node now."""
        before = self._needed()
        if changed.type == ResolverStatus.name:
            status = ctx.find(ResolverStatus, changed.id)
            self._resolvers[changed.id] = () if status is None else status.spec.dns_servers
        else:
            route = ctx.find(RouteStatus, changed.id)
            gateways: tuple[str, ...] = ()
            if route is not None and not route.spec.dst:
                hops = (hop.gateway for hop in route.spec.next_hops)
                gateways = tuple(filter(None, (route.spec.gateway, *hops)))
            self._gateways.pop(changed.id, None)
            if gateways:
                self._gateways[changed.id] = gateways
        return self._needed() != before

    def _needed(self) -> frozenset[str]:
        return needed_addresses(
            (each for gateways in self._gateways.values() for each in gateways),
            (each for servers in self._resolvers.values() for each in servers),
        )

    def map_input(self, ctx: QueueContext, changed: Metadata) -> Iterable[Pointer[Any]]:
        """The peer that a status, a peer of the link or a set's elements belong to; all for the configuration."""
        match changed.type:
            case KubeSpanPeerStatus.name:
                status = ctx.find(KubeSpanPeerStatus, changed.id)
                self._note_endpoint(changed.id, None if status is None else status.spec)
                self._note_direct(changed.id, None if status is None else status.spec)
                is_known = self._note_seen(changed.id, None if status is None else status.spec)
                # Whether a peer answers without a relay depends on what was received, and on time.
                return () if is_known and self._direct is None else (KubeSpanPeerSpec.pointer(changed.id),)
            case WireguardPeerSpec.name | NfTablesSetElements.name:
                return (KubeSpanPeerSpec.pointer(split_wireguard_peer_id(changed.id)[1]),)
            case KubeSpanRelayedEndpoint.name:
                relayed = ctx.find(KubeSpanRelayedEndpoint, changed.id)
                endpoints = self._relayed.note(changed.id, None if relayed is None else relayed.spec)
                return [
                    KubeSpanPeerSpec.pointer(peer)
                    for endpoint in endpoints
                    for peer in self._by_endpoint.get(endpoint, ())
                ]
            case KubeSpanRelayStatus.name:
                relay = ctx.find(KubeSpanRelayStatus, changed.id)
                self._expect_claims(ctx)
                if not self._relays.note(changed.id, None if relay is None else relay.spec):
                    return ()
                return [KubeSpanPeerSpec.pointer(peer) for peer in self._endpoints]
            case RouteStatus.name | ResolverStatus.name if not self._is_needed_changed(ctx, changed):
                return ()
            case _:
                held = {split_wireguard_peer_id(peer.id)[1] for peer in ctx.list(WireguardPeerSpec)}
                held.update(peer.id for peer in ctx.list(KubeSpanPeerSpec))
                return [KubeSpanPeerSpec.pointer(key) for key in held]

    async def reconcile(self, ctx: QueueContext, item: Pointer[Any]) -> None:
        """Write the link's peer, and what is routed to it."""
        key = item.id
        config, spec = ctx.find(KubeSpanConfig, KUBESPAN_CONFIG_ID), ctx.find(KubeSpanPeerSpec, key)
        status = ctx.find(KubeSpanPeerStatus, key)
        peer: WireguardPeer | None = None
        elements: NfTablesSetElementsSpec | None = None
        if (
            config is not None
            and config.spec.enabled
            and ctx.find(KubeSpanIdentity, LOCAL) is not None
            and spec is not None
            and status is not None
        ):
            # Read here, not noted as it changes: what has an endpoint be the first may come before the change itself.
            relays = KnownRelays.of(ctx.list(KubeSpanRelayStatus))
            peer = desired_peer(key, config.spec, spec.spec, status.spec, self._relayed, relays, self._answers)
            accepted = IPSet.of(map(parse_network, config.spec.accepted_networks))
            prefixes = outside(routed_prefixes(spec.spec.allowed_ips), self._needed(), accepted)
            if prefixes and is_routed(config.spec, status.spec.state):
                elements = NfTablesSetElementsSpec(set_name=ROUTED_SET, prefixes=prefixes)
        await _make(ctx, WireguardPeerSpec.kind, wireguard_peer_id(LINK_NAME, key), peer)
        await _make(ctx, NfTablesSetElements.kind, nftables_set_elements_id(ROUTED_SET, key), elements)


async def _make(ctx: QueueContext, kind: Kind[Any], id: str, spec: object | None) -> None:
    """Write the output, or, for None, remove it. One that is being torn down is created again when it is gone."""
    current = ctx.find(kind, id)
    is_in_the_way = current is not None and (spec is None or current.metadata.is_tearing_down)
    if (is_in_the_way and not await ctx.remove(kind, id)) or spec is None:
        return
    await ctx.put(kind, id, spec)
