"""kubespan.EndpointController: publishes the endpoints at which this node sees its peers, for others to try."""

from collections.abc import Iterable
from typing import Any

from nodespan.controllers.kubespan.relayed import is_local
from nodespan.resources.cluster import Affiliate
from nodespan.resources.kubespan import (
    KUBESPAN_CONFIG_ID,
    KubeSpanConfig,
    KubeSpanEndpoint,
    KubeSpanEndpointSpec,
    KubeSpanPeerStatus,
    PeerState,
)
from nodespan.runtime.controller import QueueContext, QueueController, exclusive, mapped, primary
from nodespan.runtime.resource import Metadata, Pointer


class EndpointController(QueueController):
    """One endpoint per peer that is up, while harvesting is switched on and the peer is a known affiliate."""

    name = "kubespan.EndpointController"
    inputs = (
        primary(KubeSpanPeerStatus, ignoring=("receive_bytes", "transmit_bytes")),
        mapped(KubeSpanConfig, KUBESPAN_CONFIG_ID),
        mapped(Affiliate),
    )
    outputs = (exclusive(KubeSpanEndpoint),)

    def __init__(self) -> None:
        # The affiliate of each public key, so that a status need not look at all affiliates.
        self._keys: dict[str, str] = {}
        self._affiliates: dict[str, str] = {}

    def map_input(self, ctx: QueueContext, changed: Metadata) -> Iterable[Pointer[Any]]:
        """The peer of a changed affiliate; all peers if the configuration changed."""
        if changed.type != Affiliate.name:
            return [status.pointer for status in ctx.list(KubeSpanPeerStatus)]
        return [KubeSpanPeerStatus.pointer(key) for key in self._note_key(ctx, changed.id)]

    def _note_key(self, ctx: QueueContext, affiliate_id: str) -> set[str]:
        """Remember the key of an affiliate; returns the keys for which that is a change."""
        affiliate = ctx.find(Affiliate, affiliate_id)
        kubespan = None if affiliate is None else affiliate.spec.kubespan
        key = kubespan.public_key if kubespan is not None else ""
        before = self._affiliates.pop(affiliate_id, "")
        if before and self._keys.get(before) == affiliate_id:
            del self._keys[before]
        if key:
            self._affiliates[affiliate_id] = key
            self._keys[key] = affiliate_id
        return {known for known in (before, key) if known}

    async def reconcile(self, ctx: QueueContext, item: Pointer[Any]) -> None:
        """Publish the endpoint of one peer, or remove it."""
        config, status = ctx.find(KubeSpanConfig, KUBESPAN_CONFIG_ID), ctx.find(KubeSpanPeerStatus, item.id)
        affiliate_id = self._keys.get(item.id)
        if (
            config is not None
            and config.spec.enabled
            and config.spec.harvest_extra_endpoints
            and status is not None
            and status.spec.state is PeerState.UP
            and status.spec.endpoint
            and not is_local(status.spec.endpoint)
            and affiliate_id is not None
        ):
            spec = KubeSpanEndpointSpec(affiliate_id=affiliate_id, endpoint=status.spec.endpoint)
            await ctx.put(KubeSpanEndpoint, item.id, spec)
        elif ctx.find(KubeSpanEndpoint, item.id) is not None:
            await ctx.destroy(KubeSpanEndpoint, item.id)
