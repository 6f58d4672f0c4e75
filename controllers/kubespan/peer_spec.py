"""kubespan.PeerSpecController: makes a peer of each affiliate that takes part in KubeSpan.

A peer that the configuration names stands for itself while no affiliate has its key, and is added to what that one
announces when one has. One file may name all nodes: this node's own key is left out.
"""

from collections.abc import Iterable
from typing import Any

from nodespan.controllers.common.ip.blocks import IPSet
from nodespan.controllers.kubespan.allowed_ips import AllowedIPs, Claim, Overlap, claim_of, static_claim
from nodespan.resources.cluster import Affiliate, Identity
from nodespan.resources.kubespan import (
    KUBESPAN_CONFIG_ID,
    LOCAL,
    KubeSpanConfig,
    KubeSpanIdentity,
    KubeSpanPeerSpec,
    KubeSpanPeerSpecSpec,
    KubeSpanStaticPeer,
)
from nodespan.runtime.controller import QueueContext, QueueController, exclusive, mapped, primary
from nodespan.runtime.resource import Metadata, Pointer

# In front of the key of a peer that the configuration names, where ids of affiliates stand. It ranks after all of them,
# so that a wide network behind such a peer takes no address from a member.
_STATIC = "~static:"


class PeerSpecController(QueueController):
    """One peer per public key. A change of an affiliate touches it, and those whose addresses overlap its own."""

    name = "kubespan.PeerSpecController"
    inputs = (
        primary(Affiliate),
        mapped(KubeSpanConfig, KUBESPAN_CONFIG_ID),
        mapped(Identity, LOCAL),
        mapped(KubeSpanIdentity, LOCAL),
    )
    outputs = (exclusive(KubeSpanPeerSpec),)

    def __init__(self) -> None:
        self._allowed = AllowedIPs()
        # Warned once for each pair: a floating address moves between nodes again and again.
        self._warned: set[Overlap] = set()
        self._unreadable: dict[str, str] = {}

    def map_input(self, ctx: QueueContext, changed: Metadata) -> Iterable[Pointer[Any]]:  # noqa: ARG002
        """The configuration and the identity of this node concern all peers."""
        known = {affiliate.id for affiliate in ctx.list(Affiliate)} | set(self._allowed.affiliates())
        known |= {_STATIC + key for key in _static_peers(ctx)}
        return [Affiliate.pointer(id) for id in known]

    async def reconcile(self, ctx: QueueContext, item: Pointer[Any]) -> None:
        """Take up an affiliate that was added, changed or removed."""
        key = self._allowed.key_of(item.id)
        await self._assign(ctx, item.id)
        if not item.id.startswith(_STATIC):
            # A static peer stands for itself only while nobody announces its key.
            for each in {key, self._allowed.key_of(item.id)} & {*_static_peers(ctx)}:
                await self._assign(ctx, _STATIC + each)

    async def _assign(self, ctx: QueueContext, id: str) -> None:
        changes = self._allowed.assign(id, self._claim(ctx, id))
        for overlap in changes.overlaps:
            self._warn(ctx, overlap)
        for key in changes.keys:
            await self._write(ctx, key)

    def _claim(self, ctx: QueueContext, id: str) -> Claim | None:
        config, local = ctx.find(KubeSpanConfig, KUBESPAN_CONFIG_ID), ctx.find(Identity, LOCAL)
        if config is None or not config.spec.enabled or local is None:
            return None
        static = _static_peers(ctx)
        if id.startswith(_STATIC):
            key = id.removeprefix(_STATIC)
            announced = any(carrier != id for carrier in self._allowed.carriers(key))
            return static_claim(static[key]) if key in static and not announced else None
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
        if claim is not None and claim.public_key in static:
            return static_claim(static[claim.public_key], claim)
        return claim

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
            endpoints=claim.endpoints,
            label=claim.label,
        )
        await ctx.put(KubeSpanPeerSpec, key, spec)


def _static_peers(ctx: QueueContext) -> dict[str, KubeSpanStaticPeer]:
    """The peers that the configuration names, by public key, without this node itself."""
    config, identity = ctx.find(KubeSpanConfig, KUBESPAN_CONFIG_ID), ctx.find(KubeSpanIdentity, LOCAL)
    if config is None or identity is None:
        return {}
    return {peer.public_key: peer for peer in config.spec.static_peers if peer.public_key != identity.spec.public_key}
