"""kubespan.NATController: what this node looks like from outside, from what its peers see and discovery carries.

A discovery service gives a node its own record back, with the endpoints that others report of it, where they harvest
endpoints. Those that this node has not announced itself are where others see it: at one port of its public address, or
at several, one for each destination. How many saw the same is not known, so one port may be that of a single peer. A
service keeps an endpoint for half an hour, so a router that was restarted looks like one with several ports.
"""

from collections.abc import Collection, Iterable
from ipaddress import IPv4Address, ip_interface
from typing import Any

from nodespan.controllers.kubespan.endpoint_order import is_private, split
from nodespan.controllers.kubespan.member_word import believed_endpoints
from nodespan.resources.cluster import (
    LOCAL,
    NAMESPACE,
    PUBLIC_ADDRESS_ID,
    Affiliate,
    DiscoveryServiceStatus,
    Identity,
)
from nodespan.resources.kubespan import KubeSpanNATStatus, KubeSpanNATStatusSpec, NATKind
from nodespan.resources.network import CURRENT_NO_K8S_ID, AddressStatus, NodeAddress
from nodespan.runtime.controller import QueueContext, QueueController, exclusive, mapped, primary
from nodespan.runtime.resource import Metadata, Pointer

_PUBLIC_ADDRESS = AddressStatus.within(NAMESPACE)
# Endpoints that this node has announced lately: services have them for a while.
_MOST_REMEMBERED = 256


def nat_status(
    known: Iterable[str], *, announced: Collection[str], addresses: Iterable[str], public: str
) -> KubeSpanNATStatusSpec:
    """What the endpoints that services have of this node say; `addresses` are its own, as CIDRs."""
    own = {str(ip_interface(address).ip) for address in addresses}
    seen = []
    for endpoint in believed_endpoints(known):
        address, _ = split(endpoint)
        if isinstance(address, IPv4Address) and not is_private(address) and endpoint not in announced:
            seen.append(endpoint)
    if public in own:
        kind = NATKind.NONE
    elif len(seen) > 1:
        kind = NATKind.BY_DESTINATION
    else:
        kind = NATKind.ONE_PORT if seen else NATKind.UNKNOWN
    return KubeSpanNATStatusSpec(kind=kind, public_address=public, seen=tuple(sorted(seen)))


class NATController(QueueController):
    """Writes `local` while there is a discovery service."""

    name = "kubespan.NATController"
    inputs = (
        primary(DiscoveryServiceStatus),
        mapped(Affiliate),
        mapped(Identity, LOCAL),
        mapped(NodeAddress, CURRENT_NO_K8S_ID),
        mapped(_PUBLIC_ADDRESS, PUBLIC_ADDRESS_ID),
    )
    outputs = (exclusive(KubeSpanNATStatus),)

    def __init__(self) -> None:
        # In the order in which they were announced last.
        self._announced: dict[str, None] = {}

    def map_input(self, ctx: QueueContext, changed: Metadata) -> Iterable[Pointer[Any]]:
        """Any service: all of them are looked at. Other nodes' affiliates say nothing."""
        identity = ctx.find(Identity, LOCAL)
        if changed.type == Affiliate.name and (identity is None or changed.id != identity.spec.node_id):
            return ()
        return [service.pointer for service in ctx.list(DiscoveryServiceStatus)][:1]

    async def reconcile(self, ctx: QueueContext, item: Pointer[Any]) -> None:  # noqa: ARG002 (all are looked at)
        """Look at what all services have of this node."""
        services = list(ctx.list(DiscoveryServiceStatus))
        if not services:
            if ctx.find(KubeSpanNATStatus, LOCAL) is not None:
                await ctx.destroy(KubeSpanNATStatus, LOCAL)
            return
        self._note_announced(ctx)
        addresses, public = ctx.find(NodeAddress, CURRENT_NO_K8S_ID), ctx.find(_PUBLIC_ADDRESS, PUBLIC_ADDRESS_ID)
        status = nat_status(
            dict.fromkeys(endpoint for service in services for endpoint in service.spec.own_endpoints),
            announced=self._announced,
            addresses=() if addresses is None else addresses.spec.addresses,
            public="" if public is None else public.spec.address.partition("/")[0],
        )
        await ctx.put(KubeSpanNATStatus, LOCAL, status)

    def _note_announced(self, ctx: QueueContext) -> None:
        identity = ctx.find(Identity, LOCAL)
        own = None if identity is None else ctx.find(Affiliate, identity.spec.node_id)
        if own is None or own.spec.kubespan is None:
            return
        for endpoint in own.spec.kubespan.endpoints:
            self._announced.pop(endpoint, None)
            self._announced[endpoint] = None
        while len(self._announced) > _MOST_REMEMBERED:
            del self._announced[next(iter(self._announced))]
