"""kubespan.PeerSpecController: makes a peer of each affiliate that takes part in KubeSpan.

A peer that the configuration names stands for itself while no affiliate has its key, and is added to what that one
announces when one has; either way, a network behind it takes no address from a member. One file may name all nodes:
this node's own key is left out.

The endpoints of a peer are in the order of their likelihood (`endpoint_order`), with the relay early (`relay_order`),
unless a filter says which comes first.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import attrs

from nodespan.controllers.common.ip.blocks import IPSet
from nodespan.controllers.kubespan.allowed_ips import AllowedIPs, Claim, Overlap, claim_of, static_claim
from nodespan.controllers.kubespan.endpoint_order import (
    RelayPorts,
    Whereabouts,
    networks_of,
    ordered,
    ordered_without_relays,
)
from nodespan.controllers.kubespan.known_relays import KnownRelays
from nodespan.controllers.kubespan.relay_order import Reach, with_relay
from nodespan.resources.cluster import NAMESPACE, PUBLIC_ADDRESS_ID, Affiliate, Identity
from nodespan.resources.kubespan import (
    KUBESPAN_CONFIG_ID,
    LOCAL,
    KubeSpanConfig,
    KubeSpanIdentity,
    KubeSpanPeerSpec,
    KubeSpanPeerSpecSpec,
    KubeSpanRelayStatus,
    KubeSpanStaticPeer,
)
from nodespan.resources.network import CURRENT_NO_K8S_ID, AddressStatus, NodeAddress
from nodespan.runtime.controller import QueueContext, QueueController, exclusive, mapped, primary
from nodespan.runtime.resource import Metadata, Pointer

# In front of the key of a peer that the configuration names, where ids of affiliates stand.
_STATIC = "~static:"
_PUBLIC_ADDRESS = AddressStatus.within(NAMESPACE)
_PLACES = (NodeAddress.name, AddressStatus.name, KubeSpanRelayStatus.name)


class PeerSpecController(QueueController):
    """One peer per public key. A change of an affiliate touches it, and those whose addresses overlap its own."""

    name = "kubespan.PeerSpecController"
    inputs = (
        primary(Affiliate),
        mapped(KubeSpanConfig, KUBESPAN_CONFIG_ID),
        mapped(Identity, LOCAL),
        mapped(KubeSpanIdentity, LOCAL),
        mapped(NodeAddress, CURRENT_NO_K8S_ID),
        mapped(_PUBLIC_ADDRESS, PUBLIC_ADDRESS_ID),
        mapped(KubeSpanRelayStatus),
    )
    outputs = (exclusive(KubeSpanPeerSpec),)

    def __init__(self) -> None:
        self._allowed = AllowedIPs()
        # Warned once for each pair: a floating address moves between nodes again and again.
        self._warned: set[Overlap] = set()
        self._unreadable: dict[str, str] = {}
        self._here = Whereabouts()
        self._reach = Reach()
        self._relays = KnownRelays()
        self._static: tuple[Sequence[KubeSpanStaticPeer], str, Mapping[str, KubeSpanStaticPeer]] = ((), "", {})

    def map_input(self, ctx: QueueContext, changed: Metadata) -> Iterable[Pointer[Any]]:
        """The configuration, the identity of this node and where it is concern all peers."""
        if changed.type in _PLACES:
            before, self._here = self._here, _whereabouts(ctx)
            if not self._note_reach(ctx, changed) and self._here == before:
                return ()
        known = {affiliate.id for affiliate in ctx.list(Affiliate)} | set(self._allowed.affiliates())
        known |= {_STATIC + key for key in self._static_peers(ctx)}
        return [Affiliate.pointer(id) for id in known]

    def _note_reach(self, ctx: QueueContext, changed: Metadata) -> bool:
        """Take in this node's addresses, or a relay of its own; whether that changes the order of endpoints."""
        if changed.type == KubeSpanRelayStatus.name:
            relay = ctx.find(KubeSpanRelayStatus, changed.id)
            return self._relays.note(changed.id, None if relay is None else relay.spec)
        addresses = ctx.find(NodeAddress, CURRENT_NO_K8S_ID)
        before, self._reach = self._reach, Reach.of(() if addresses is None else addresses.spec.addresses)
        return self._reach != before

    async def reconcile(self, ctx: QueueContext, item: Pointer[Any]) -> None:
        """Take up an affiliate that was added, changed or removed."""
        claim = self._claim(ctx, item.id)
        changes = self._allowed.assign(item.id, claim)
        for overlap in changes.overlaps:
            self._warn(ctx, overlap)
        # Where the relay comes in the order follows from no claim.
        ordered_again = frozenset[str]() if claim is None else {claim.public_key}
        for key in changes.keys | ordered_again:
            await self._write(ctx, key)

    def _claim(self, ctx: QueueContext, id: str) -> Claim | None:
        config, local = ctx.find(KubeSpanConfig, KUBESPAN_CONFIG_ID), ctx.find(Identity, LOCAL)
        if config is None or not config.spec.enabled or local is None:
            return None
        if id.startswith(_STATIC):
            static = self._static_peers(ctx).get(id.removeprefix(_STATIC))
            return None if static is None else static_claim(static)
        affiliate = ctx.find(Affiliate, id)
        if affiliate is None:
            return None
        if affiliate.metadata.is_tearing_down or id == local.spec.node_id:
            return None
        try:
            claim = claim_of(
                affiliate.spec,
                accepted=IPSet.parse(config.spec.accepted_networks),
                endpoint_filters=config.spec.peer_endpoint_filters,
            )
        except ValueError as error:
            if self._unreadable.get(id) != str(error):
                self._unreadable[id] = str(error)
                ctx.log.warning("a peer is ignored: it announces an invalid address", node=id, error=str(error))
            return None
        self._unreadable.pop(id, None)
        if claim is None or config.spec.peer_endpoint_filters is not None:
            return claim
        # Which of them are at a relay is known in a moment, unless it is down: none of those is to be tried until then.
        order = ordered_without_relays if config.spec.relays and not self._relays else ordered
        return attrs.evolve(claim, endpoints=order(claim.endpoints, self._here))

    def _static_peers(self, ctx: QueueContext) -> Mapping[str, KubeSpanStaticPeer]:
        """The peers that the configuration names, by public key, without this node itself."""
        config, identity = ctx.find(KubeSpanConfig, KUBESPAN_CONFIG_ID), ctx.find(KubeSpanIdentity, LOCAL)
        if config is None or identity is None:
            return {}
        named, own = config.spec.static_peers, identity.spec.public_key
        # Made once for each configuration: it is asked for by each peer that is named.
        if self._static[0] is not named or self._static[1] != own:
            self._static = named, own, {peer.public_key: peer for peer in named if peer.public_key != own}
        return self._static[2]

    def _warn(self, ctx: QueueContext, overlap: Overlap) -> None:
        if overlap in self._warned:
            return
        self._warned.add(overlap)
        ctx.log.warning(
            "two nodes announce the same addresses: the one with the lower id keeps them",
            kept_by=self._name(ctx, overlap.holder_id),
            lost_by=self._name(ctx, overlap.affiliate_id),
        )

    def _name(self, ctx: QueueContext, id: str) -> str:
        affiliate = ctx.find(Affiliate, id)
        return f"{affiliate.spec.nodename} ({id})" if affiliate is not None and affiliate.spec.nodename else id

    async def _write(self, ctx: QueueContext, key: str) -> None:
        peer = self._allowed.peer(key)
        if peer is None:
            if ctx.find(KubeSpanPeerSpec, key) is not None:
                await ctx.destroy(KubeSpanPeerSpec, key)
            return
        claim, granted = peer
        spec = KubeSpanPeerSpecSpec(
            address=claim.address,
            allowed_ips=granted.texts(),
            endpoints=self._with_relay(ctx, key, claim.endpoints),
            label=claim.label,
        )
        await ctx.put(KubeSpanPeerSpec, key, spec)

    def _with_relay(self, ctx: QueueContext, key: str, endpoints: tuple[str, ...]) -> tuple[str, ...]:
        config = ctx.find(KubeSpanConfig, KUBESPAN_CONFIG_ID)
        # The order of a filter is the operator's.
        if config is None or config.spec.peer_endpoint_filters is not None:
            return endpoints
        if config.spec.relays and not self._relays:
            if ctx.list(KubeSpanRelayStatus):
                return endpoints
            # The first one is tried until then, or none if nothing before an address that may be a relay's is reached.
            return self._reach.unreached_before(endpoints) or endpoints
        before = ctx.find(KubeSpanPeerSpec, key)
        first = before.spec.endpoints[0] if before is not None and before.spec.endpoints else ""
        return with_relay(endpoints, self._relays, self._reach, first)


def _whereabouts(ctx: QueueContext) -> Whereabouts:
    addresses = ctx.find(NodeAddress, CURRENT_NO_K8S_ID)
    public = ctx.find(_PUBLIC_ADDRESS, PUBLIC_ADDRESS_ID)
    return Whereabouts(
        networks=networks_of(() if addresses is None else addresses.spec.addresses),
        public="" if public is None else public.spec.address.partition("/")[0],
        relays=tuple(
            RelayPorts(frozenset(relay.spec.addresses), relay.spec.ports) for relay in ctx.list(KubeSpanRelayStatus)
        ),
    )
