"""The merge controllers: the specs of all layers for one link, address, route and so on become one spec in `network`.

A changed layer affects the one merged spec that it belongs to. Which one follows from the layer's spec, not from its
id; the merged spec that an unmerged one belonged to is remembered for the time when it is gone.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Generic, Protocol, TypeVar

from nodespan.controllers.network.merge.host_rules import merge_hostnames, merge_resolvers, merge_time_servers
from nodespan.controllers.network.merge.rules import last_wins, merge_addresses, merge_links
from nodespan.resources.network import (
    CONFIG_NAMESPACE,
    HOSTNAME_ID,
    RESOLVERS_ID,
    TIME_SERVERS_ID,
    AddressSpec,
    AddressSpecSpec,
    HostnameSpec,
    HostnameSpecSpec,
    LinkSpec,
    LinkSpecSpec,
    OperatorSpec,
    OperatorSpecSpec,
    ProbeSpec,
    ProbeSpecSpec,
    ResolverSpec,
    ResolverSpecSpec,
    RouteSpec,
    RouteSpecSpec,
    RoutingRuleSpec,
    RoutingRuleSpecSpec,
    TimeServerSpec,
    TimeServerSpecSpec,
    address_id,
    operator_id,
    probe_id,
    route_id,
    routing_rule_id,
)
from nodespan.resources.network.layer import ConfigLayer
from nodespan.runtime.controller import QueueContext, QueueController, mapped_destroy_ready, primary, shared
from nodespan.runtime.errors import NotFoundError
from nodespan.runtime.resource import Kind, Metadata, Pointer, Resource, ResourceType


class _Layered(Protocol):
    @property
    def layer(self) -> ConfigLayer: ...


S = TypeVar("S", bound=_Layered)


class MergeController(QueueController, Generic[S]):
    """Merges the specs of one type: specs with the same `id_of` are merged by `merge`."""

    only_derives = True

    def __init__(self, type: ResourceType[S], *, id_of: Callable[[S], str], merge: Callable[[Sequence[S]], S]) -> None:
        self.name = type.name.replace("Spec", "MergeController", 1)
        self._merged: Kind[S] = type.kind
        self._unmerged: Kind[S] = type.within(CONFIG_NAMESPACE)
        self._id_of = id_of
        self._merge = merge
        self.inputs = (primary(self._unmerged), mapped_destroy_ready(type))
        self.outputs = (shared(type),)
        # From unmerged to merged specs, and back. An unmerged spec that is gone stays until the merged one is updated.
        self._merged_ids: defaultdict[str, set[str]] = defaultdict(set)
        self._parts: defaultdict[str, set[str]] = defaultdict(set)

    def map_input(self, ctx: QueueContext, changed: Metadata) -> Iterable[Pointer[Any]]:  # noqa: ARG002
        """A merged spec that may be destroyed now: any of its parts leads to it."""
        return [self._unmerged.pointer(part) for part in sorted(self._parts.get(changed.id, ()))[:1]]

    async def reconcile(self, ctx: QueueContext, item: Pointer[Any]) -> None:
        """Merge again what the unmerged spec belongs or belonged to."""
        resource: Resource[S] | None = ctx.find(self._unmerged, item.id)
        if resource is not None:
            id = self._id_of(resource.spec)
            self._merged_ids[item.id].add(id)
            self._parts[id].add(item.id)
        for id in tuple(self._merged_ids.get(item.id, ())):
            await self._write(ctx, id)

    async def run(self, ctx: QueueContext) -> None:
        """Remove the merged specs of an earlier process that no layer has any more."""
        desired = {self._id_of(resource.spec) for resource in ctx.list(self._unmerged)}
        for resource in ctx.list(self._merged):
            if resource.metadata.owner == self.name and resource.id not in desired:
                await self._remove(ctx, resource.id)

    async def _write(self, ctx: QueueContext, id: str) -> None:
        layers = self._layers(ctx, id)
        if layers:
            current = ctx.find(self._merged, id)
            if current is not None and current.metadata.is_tearing_down and not await self._remove(ctx, id):
                # When it is destroyed, that change leads here again.
                return
            await ctx.put(self._merged, id, self._merge([layer.spec for layer in layers]))
        elif not await self._remove(ctx, id):
            return
        self._forget(id, self._parts[id] - {layer.id for layer in layers})

    def _layers(self, ctx: QueueContext, id: str) -> list[Resource[S]]:
        found: list[Resource[S]] = []
        for part in self._parts[id]:
            resource = ctx.find(self._unmerged, part)
            if resource is None or resource.metadata.is_tearing_down or self._id_of(resource.spec) != id:
                continue
            found.append(resource)
        return sorted(found, key=lambda resource: (resource.spec.layer.number, resource.id))

    async def _remove(self, ctx: QueueContext, id: str) -> bool:
        """Tear the merged spec down, and destroy it unless a finalizer holds it; returns whether it is gone."""
        try:
            if not await ctx.teardown(self._merged, id):
                return False
            await ctx.destroy(self._merged, id)
        except NotFoundError:
            return True
        return True

    def _forget(self, id: str, parts: set[str]) -> None:
        for part in parts:
            _discard(self._merged_ids, part, id)
            _discard(self._parts, id, part)


def _discard(index: defaultdict[str, set[str]], key: str, value: str) -> None:
    index[key].discard(value)
    if not index[key]:
        del index[key]


def _link(spec: LinkSpecSpec) -> str:
    return spec.name


def _address(spec: AddressSpecSpec) -> str:
    return address_id(spec.link_name, spec.address)


def _route(spec: RouteSpecSpec) -> str:
    return route_id(
        table=spec.table,
        family=spec.family,
        gateway=spec.gateway,
        dst=spec.dst,
        priority=spec.priority,
        out_link_name=spec.out_link_name,
    )


def _rule(spec: RoutingRuleSpecSpec) -> str:
    return routing_rule_id(spec.family, spec.priority)


class LinkMergeController(MergeController[LinkSpecSpec]):
    """Links by name."""

    def __init__(self) -> None:
        super().__init__(LinkSpec, id_of=_link, merge=merge_links)


class AddressMergeController(MergeController[AddressSpecSpec]):
    """Addresses by link and prefix."""

    def __init__(self) -> None:
        super().__init__(AddressSpec, id_of=_address, merge=merge_addresses)


class OperatorMergeController(MergeController[OperatorSpecSpec]):
    """Operators by what they run and where."""

    def __init__(self) -> None:
        super().__init__(OperatorSpec, id_of=operator_id, merge=last_wins)


class ProbeMergeController(MergeController[ProbeSpecSpec]):
    """Probes by what they try to reach."""

    def __init__(self) -> None:
        super().__init__(ProbeSpec, id_of=probe_id, merge=last_wins)


class RouteMergeController(MergeController[RouteSpecSpec]):
    """Routes by table, family, destination, gateway, priority and link."""

    def __init__(self) -> None:
        super().__init__(RouteSpec, id_of=_route, merge=last_wins)


class RoutingRuleMergeController(MergeController[RoutingRuleSpecSpec]):
    """Rules by family and priority."""

    def __init__(self) -> None:
        super().__init__(RoutingRuleSpec, id_of=_rule, merge=last_wins)


class HostnameMergeController(MergeController[HostnameSpecSpec]):
    """The one name of the node."""

    def __init__(self) -> None:
        super().__init__(HostnameSpec, id_of=lambda _: HOSTNAME_ID, merge=merge_hostnames)


class ResolverMergeController(MergeController[ResolverSpecSpec]):
    """The name servers of the node, all together."""

    def __init__(self) -> None:
        super().__init__(ResolverSpec, id_of=lambda _: RESOLVERS_ID, merge=merge_resolvers)


class TimeServerMergeController(MergeController[TimeServerSpecSpec]):
    """The time servers of the node, all together."""

    def __init__(self) -> None:
        super().__init__(TimeServerSpec, id_of=lambda _: TIME_SERVERS_ID, merge=merge_time_servers)
