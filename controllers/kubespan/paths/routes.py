"""kubespan.PathRouteController: keeps packets to a peer as small as its path needs, by the MTU of routes (`autoMTU`).

The tunnel's own route assumes the same size for all peers. One with a narrower path gets routes of its own: to its
address in the mesh, and to what else is led into the tunnel for it. They go when the path carries more again. Both ends
measure, so both do this; what a TCP connection sends is bound by the routes at its ends, also of an end that does not.
"""

from collections.abc import Iterable
from ipaddress import ip_network
from typing import Any

import attrs

from nodespan.controllers.kubespan.data_path import ROUTING_TABLE
from nodespan.controllers.kubespan.manager import route_spec, spec_route_id
from nodespan.controllers.kubespan.peer import routed_prefixes
from nodespan.resources.kubespan import (
    KUBESPAN_CONFIG_ID,
    KubeSpanConfig,
    KubeSpanPathStatus,
    KubeSpanPeerSpec,
)
from nodespan.resources.network import (
    CONFIG_NAMESPACE,
    ConfigLayer,
    Family,
    RouteSpec,
    RouteSpecSpec,
    RoutingTable,
    layered_id,
)
from nodespan.runtime.controller import (
    QueueContext,
    QueueController,
    mapped,
    mapped_destroy_ready,
    primary,
    shared,
)
from nodespan.runtime.resource import Metadata, Pointer

_LAYER = ConfigLayer.OPERATOR
_ROUTES = RouteSpec.within(CONFIG_NAMESPACE)


def narrow_route(prefix: str, mtu: int, *, is_of_mesh: bool) -> RouteSpecSpec:
    """A route into the tunnel for packets of at most this size.

    To an address of the mesh it stands beside the link's own, in the main table; all else is marked, and looked up in
    the mesh's table.
    """
    family = Family.INET6 if ip_network(prefix).version == 6 else Family.INET4
    table = RoutingTable.MAIN if is_of_mesh else RoutingTable.of(ROUTING_TABLE)
    return attrs.evolve(route_spec(family, mtu), dst=prefix, table=table)


def narrow_routes(address: str, allowed_ips: Iterable[str], mtu: int) -> dict[str, RouteSpecSpec]:
    """The routes that keep packets to a peer within this size, by the ids of their specs."""
    routes = [narrow_route(prefix, mtu, is_of_mesh=False) for prefix in routed_prefixes(allowed_ips)]
    routes.append(narrow_route(f"{address}/128", mtu, is_of_mesh=True))
    return {layered_id(_LAYER, spec_route_id(route)): route for route in routes}


class PathRouteController(QueueController):
    """The routes of peers whose paths are narrower than the tunnel, while `autoMTU` is on."""

    name = "kubespan.PathRouteController"
    inputs = (
        primary(KubeSpanPathStatus),
        mapped(KubeSpanPeerSpec),
        mapped(KubeSpanConfig, KUBESPAN_CONFIG_ID),
        mapped_destroy_ready(RouteSpec.within(CONFIG_NAMESPACE)),
    )
    outputs = (shared(RouteSpec),)

    def __init__(self) -> None:
        # The peer of each route that was made, and the routes of each peer.
        self._peers: dict[str, str] = {}
        self._routes: dict[str, set[str]] = {}

    def map_input(self, ctx: QueueContext, changed: Metadata) -> Iterable[Pointer[Any]]:
        """The peer of a route that is to go, or of a spec; all that have routes or are narrow for the configuration."""
        if changed.type == RouteSpec.name:
            peer = self._peers.get(changed.id)
            return () if peer is None else (KubeSpanPathStatus.pointer(peer),)
        if changed.type == KubeSpanPeerSpec.name:
            return (KubeSpanPathStatus.pointer(changed.id),)
        ids = {*self._routes, *(path.id for path in ctx.list(KubeSpanPathStatus) if path.spec.path_mtu)}
        return [KubeSpanPathStatus.pointer(id) for id in ids]

    async def reconcile(self, ctx: QueueContext, item: Pointer[Any]) -> None:
        """Write the routes of one peer, and remove those that it needs no more."""
        config, peer = ctx.find(KubeSpanConfig, KUBESPAN_CONFIG_ID), ctx.find(KubeSpanPeerSpec, item.id)
        path = ctx.find(KubeSpanPathStatus, item.id)
        desired: dict[str, RouteSpecSpec] = {}
        if (
            config is not None
            and config.spec.enabled
            and config.spec.auto_mtu
            and peer is not None
            and path is not None
            and 0 < path.spec.path_mtu < path.spec.tunnel_mtu
        ):
            desired = narrow_routes(peer.spec.address, peer.spec.allowed_ips, path.spec.path_mtu)
        for id in sorted(self._routes.get(item.id, set()) - desired.keys()):
            if ctx.find(_ROUTES, id) is None or await ctx.remove(_ROUTES, id):
                self._forget(id)
        for id, route in desired.items():
            current = ctx.find(_ROUTES, id)
            self._note(id, item.id)
            if current is not None and current.metadata.is_tearing_down and not await ctx.remove(_ROUTES, id):
                continue
            await ctx.put(_ROUTES, id, route)

    def _note(self, id: str, peer: str) -> None:
        """A route is this peer's now."""
        if self._peers.get(id) != peer:
            self._forget(id)
            self._peers[id] = peer
            self._routes.setdefault(peer, set()).add(id)

    def _forget(self, id: str) -> None:
        peer = self._peers.pop(id, None)
        if peer is not None:
            routes = self._routes[peer]
            routes.discard(id)
            if not routes:
                del self._routes[peer]
