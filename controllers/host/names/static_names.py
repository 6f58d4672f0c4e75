"""The static peers of the mesh that have a name, as if they announced it themselves."""

import ipaddress
from collections.abc import Iterable, Mapping

from nodespan.resources.cluster import LOCAL, AffiliateSpec, KubeSpanAffiliate
from nodespan.resources.kubespan import (
    KUBESPAN_CONFIG_ID,
    KubeSpanConfig,
    KubeSpanIdentity,
    KubeSpanStaticPeer,
)
from nodespan.runtime.controller import QueueContext

# Before the public key of a static peer, instead of the id of an affiliate, which has no space in it.
STATIC = "static peer "


class StaticNames:
    """The static peers of the configuration as it is now."""

    def __init__(self) -> None:
        self._made_of: tuple[object, str] = ((), "")
        self._specs: Mapping[str, AffiliateSpec] = {}

    def ids(self, ctx: QueueContext) -> Iterable[str]:
        """Their ids."""
        return (STATIC + key for key in self._all(ctx))

    def find(self, ctx: QueueContext, public_key: str) -> AffiliateSpec | None:
        """What one would announce; None if there is none of this key that has a name."""
        return self._all(ctx).get(public_key)

    def _all(self, ctx: QueueContext) -> Mapping[str, AffiliateSpec]:
        config, identity = ctx.find(KubeSpanConfig, KUBESPAN_CONFIG_ID), ctx.find(KubeSpanIdentity, LOCAL)
        peers = config.spec.static_peers if config is not None and config.spec.enabled else ()
        own = "" if identity is None else identity.spec.public_key
        # Made once for each configuration: it is asked for by each peer.
        if self._made_of[0] is not peers or self._made_of[1] != own:
            self._made_of = peers, own
            self._specs = {peer.public_key: announced(peer) for peer in peers if peer.label and peer.public_key != own}
        return self._specs


def announced(peer: KubeSpanStaticPeer) -> AffiliateSpec:
    """What a static peer would announce. Of what is reached through it, single addresses are its own."""
    networks = (ipaddress.ip_network(text, strict=False) for text in peer.allowed_ips)
    return AffiliateSpec(
        node_id=peer.public_key,
        addresses=tuple(str(each.network_address) for each in networks if each.num_addresses == 1),
        hostname=peer.label,
        nodename=peer.label,
        kubespan=KubeSpanAffiliate(public_key=peer.public_key, address=peer.address),
    )
