"""The merge controllers: one changed layer touches the one spec that it belongs to."""

from typing import Any

import attrs
import pytest

from nodespan.controllers.network.merge.controllers import (
    AddressMergeController,
    LinkMergeController,
    OperatorMergeController,
    RouteMergeController,
    RoutingRuleMergeController,
)
from nodespan.resources.network import (
    CONFIG_NAMESPACE,
    AddressSpec,
    AddressSpecSpec,
    ConfigLayer,
    Family,
    LinkSpec,
    LinkSpecSpec,
    Operator,
    OperatorSpec,
    OperatorSpecSpec,
    RouteSpec,
    RouteSpecSpec,
    RoutingRuleSpec,
    RoutingRuleSpecSpec,
    RoutingTable,
    VIPOperatorSpec,
)
from nodespan.runtime.resource import ResourceType
from nodespan.runtime.testing.kit import Node, running
from tests.support.vectors import load

pytestmark = pytest.mark.virtual_clock

LINK = LinkSpecSpec(name="eth0", up=True, layer=ConfigLayer.DEFAULT)
CONFIGURED = LinkSpecSpec(name="eth0", mtu=9000, layer=ConfigLayer.CONFIGURATION)


def everything() -> tuple[Any, ...]:
    return (LinkMergeController(), AddressMergeController(), RouteMergeController(), RoutingRuleMergeController())


async def put(node: Node, type: ResourceType[Any], id: str, spec: Any) -> None:
    resource = type.new(id, spec, namespace=CONFIG_NAMESPACE)
    await node.state.modify(resource, lambda known: known.with_spec(spec))


async def drop(node: Node, type: ResourceType[Any], id: str) -> None:
    await node.state.destroy(type.within(CONFIG_NAMESPACE), id)


async def test_layers_come_and_go() -> None:
    async with running(*everything()) as node:
        await put(node, LinkSpec, "default/eth0", LINK)
        merged = await node.eventually(LinkSpec, "eth0", spec=LINK)
        assert merged.metadata.owner == "LinkMergeControllers.net.talos.dev"
        await put(node, LinkSpec, "configuration/eth0", CONFIGURED)
        await node.eventually(LinkSpec, "eth0", spec=attrs.evolve(CONFIGURED, up=True))
        await drop(node, LinkSpec, "default/eth0")
        await node.eventually(LinkSpec, "eth0", spec=CONFIGURED)
        await drop(node, LinkSpec, "configuration/eth0")
        await node.gone(LinkSpec, "eth0")


async def test_ids_follow_from_specs() -> None:
    ids = {vector["name"]: vector["id"] for vector in load("resource_id")}
    kubespan = ConfigLayer.OPERATOR
    table = RoutingTable.of(180)
    specs: list[tuple[ResourceType[Any], str, Any, str]] = [
        (
            AddressSpec,
            ids["address"],
            AddressSpecSpec(address="fd7f:175a:b97c:5602:e871:1bff:feb2:ccee/64", link_name="kubespan", layer=kubespan),
            # Layers write what they like; the merged id says what is on the link.
            "kubespan/fd7f:175a:b97c:5602:e871:1bff:feb2:ccee/64",
        ),
        (
            RouteSpec,
            ids["route-v4"],
            RouteSpecSpec(table=table, priority=1, out_link_name="kubespan", layer=kubespan),
            "180/inet4///1",
        ),
        (
            RouteSpec,
            ids["route-v6"],
            RouteSpecSpec(family=Family.INET6, table=table, priority=1, out_link_name="kubespan", layer=kubespan),
            "180/kubespan/inet6///1",
        ),
        (
            RoutingRuleSpec,
            ids["rule-v6"],
            RoutingRuleSpecSpec(family=Family.INET6, table=table, priority=32500, layer=kubespan),
            "inet6/32500",
        ),
    ]
    async with running(*everything()) as node:
        for type, id, spec, merged in specs:
            await put(node, type, id, spec)
            await node.eventually(type, merged, spec=spec)


async def test_a_change_touches_the_merged_spec_that_it_belongs_to() -> None:
    async with running(*everything()) as node:
        for number in range(50):
            await put(node, LinkSpec, f"default/eth{number}", attrs.evolve(LINK, name=f"eth{number}"))
        await node.settled()
        versions = {link.id: link.metadata.version for link in node.state.list(LinkSpec)}
        await put(node, LinkSpec, "configuration/eth7", attrs.evolve(CONFIGURED, name="eth7"))
        await node.settled()
        after = {link.id: link.metadata.version for link in node.state.list(LinkSpec)}
        assert {id for id, version in after.items() if version != versions[id]} == {"eth7"}


async def test_a_layer_may_move_to_another_spec() -> None:
    async with running(*everything()) as node:
        await put(node, LinkSpec, "dhcp4/eth0", LINK)
        await node.eventually(LinkSpec, "eth0")
        await node.state.add_finalizer(LinkSpec, "eth0", "applier")
        await put(node, LinkSpec, "dhcp4/eth0", attrs.evolve(LINK, name="eth1"))
        await node.eventually(LinkSpec, "eth1")
        await node.eventually(LinkSpec, "eth0", lambda link: link.metadata.is_tearing_down)
        await node.state.remove_finalizer(LinkSpec, "eth0", "applier")
        await node.gone(LinkSpec, "eth0")


async def test_a_held_spec_is_torn_down_and_recreated_only_after_it_is_destroyed() -> None:
    async with running(*everything()) as node:
        await put(node, LinkSpec, "default/eth0", LINK)
        await node.eventually(LinkSpec, "eth0")
        await node.state.add_finalizer(LinkSpec, "eth0", "applier")
        await drop(node, LinkSpec, "default/eth0")
        await node.eventually(LinkSpec, "eth0", lambda link: link.metadata.is_tearing_down)
        await put(node, LinkSpec, "default/eth0", CONFIGURED)
        await node.settled()
        held = node.state.get(LinkSpec, "eth0")
        assert held.metadata.is_tearing_down
        assert held.spec == LINK
        await node.state.remove_finalizer(LinkSpec, "eth0", "applier")
        await node.eventually(LinkSpec, "eth0", lambda link: not link.metadata.is_tearing_down, spec=CONFIGURED)


async def test_merged_specs_of_an_earlier_process_without_layers_are_removed() -> None:
    async with running() as first:
        owner = "LinkMergeControllers.net.talos.dev"
        await first.put(LinkSpec, "old0", attrs.evolve(LINK, name="old0"), owner=owner)
        await first.put(LinkSpec, "mine", attrs.evolve(LINK, name="mine"), owner="somebody")
        await put(first, LinkSpec, "default/eth0", LINK)
        async with running(*everything(), state=first.state) as node:
            await node.gone(LinkSpec, "old0")
            await node.eventually(LinkSpec, "eth0")
            assert node.state.find(LinkSpec, "mine") is not None


async def test_operators_are_merged_by_kind_and_link() -> None:
    default = OperatorSpecSpec(operator=Operator.DHCP4, link_name="eth0", layer=ConfigLayer.DEFAULT)
    configured = attrs.evolve(default, require_up=False, layer=ConfigLayer.CONFIGURATION)
    vip = OperatorSpecSpec(operator=Operator.VIP, link_name="eth0", vip=VIPOperatorSpec(ip="10.0.0.9"))
    async with running(OperatorMergeController()) as node:
        await put(node, OperatorSpec, "default/dhcp4/eth0", default)
        await put(node, OperatorSpec, "configuration/dhcp4/eth0", configured)
        await put(node, OperatorSpec, "configuration/vip/eth0/10.0.0.9", vip)
        await node.eventually(OperatorSpec, "dhcp4/eth0", spec=configured)
        await node.eventually(OperatorSpec, "vip/eth0/10.0.0.9", spec=vip)
        await drop(node, OperatorSpec, "configuration/dhcp4/eth0")
        await node.eventually(OperatorSpec, "dhcp4/eth0", spec=default)
