"""The controllers that show the kernel's network, run by the engine in a namespace."""

import contextlib
import sys
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
import trio

from nodespan.controllers.network.status.address_status import AddressStatusController
from nodespan.controllers.network.status.hardware_addr import HardwareAddrController
from nodespan.controllers.network.status.link_status import LinkStatusController
from nodespan.controllers.network.status.node_address import NodeAddressController
from nodespan.controllers.network.status.route_status import RouteStatusController
from nodespan.controllers.network.status.routing_rule_status import RoutingRuleStatusController
from nodespan.resources.network import (
    AddressStatus,
    LinkStatus,
    NodeAddress,
    NodeAddressFilter,
    NodeAddressFilterSpec,
    RouteStatus,
    RoutingRuleStatus,
    Veth,
)
from nodespan.runtime.engine import Engine
from nodespan.runtime.resource import ResourceType
from nodespan.runtime.state import MemoryState
from tests.support.deadlines import PATIENCE
from tests.support.netns import Namespace, namespace
from tests.support.process import eventually

pytestmark = [pytest.mark.needs_link("veth")]


@contextlib.asynccontextmanager
async def node() -> AsyncIterator[tuple[Namespace, MemoryState]]:
    """A namespace with one veth pair, and what the controllers show of it."""
    with namespace() as inside:
        inside.run("ip", "link", "add", "v0", "type", "veth", "peer", "name", "v1")
        netns = str(inside.path)
        state = MemoryState()
        engine = Engine(state)
        for controller in (
            LinkStatusController(netns=netns),
            AddressStatusController(netns=netns),
            RouteStatusController(netns=netns),
            RoutingRuleStatusController(netns=netns),
            HardwareAddrController(),
            NodeAddressController(),
        ):
            await engine.register(controller)
        async with trio.open_nursery() as nursery:
            await nursery.start(engine.run)
            await eventually(lambda: {"lo", "v0", "v1"} <= ids(state, LinkStatus))
            yield inside, state
            nursery.cancel_scope.cancel()


def ids(state: MemoryState, type: ResourceType[Any]) -> set[str]:
    return {resource.id for resource in state.view(type).list()}


def within(wanted: set[str], state: MemoryState, type: ResourceType[Any]) -> Callable[[], bool]:
    def check() -> bool:
        assert wanted <= ids(state, type)
        return True

    return check


def addresses(state: MemoryState, id: str) -> tuple[str, ...]:
    found = state.find(NodeAddress, id)
    return () if found is None else found.spec.addresses


async def test_renaming_a_link_renames_the_resources_that_carry_its_name() -> None:
    async with node() as (inside, state):
        for command in (
            "addr add 192.0.2.1/24 dev v0",
            "link set v0 up",
            "link set v1 up",
            "route add 203.0.113.0/24 via 192.0.2.9",
        ):
            inside.run("ip", *command.split())
        await eventually(within({"v0/192.0.2.1/24"}, state, AddressStatus))
        await eventually(within({"inet4/192.0.2.9/203.0.113.0/24/0"}, state, RouteStatus))
        inside.run("ip", "link", "set", "v0", "name", "w0")
        await eventually(within({"w0/192.0.2.1/24"}, state, AddressStatus))
        await eventually(within({"w0"}, state, LinkStatus))
        assert "v0" not in ids(state, LinkStatus)
        assert "v0/192.0.2.1/24" not in ids(state, AddressStatus)
        await eventually(lambda: state.get(LinkStatus, "v1").spec.veth == Veth(peer_name="w0"))
        await eventually(lambda: state.get(RouteStatus, "inet4/192.0.2.9/203.0.113.0/24/0").spec.out_link_name == "w0")


async def test_what_vanishes_from_the_kernel_vanishes_from_the_state() -> None:
    async with node() as (inside, state):
        inside.run("ip", "addr", "add", "192.0.2.1/24", "dev", "v0")
        inside.run("ip", "rule", "add", "priority", "180", "table", "180")
        await eventually(within({"v0/192.0.2.1/24"}, state, AddressStatus))
        await eventually(within({"inet4/00180"}, state, RoutingRuleStatus))
        inside.run("ip", "link", "del", "v0")
        inside.run("ip", "rule", "del", "priority", "180")
        await eventually(lambda: ids(state, LinkStatus) == {"lo"})
        await eventually(lambda: "v0/192.0.2.1/24" not in ids(state, AddressStatus))
        await eventually(lambda: "inet4/00180" not in ids(state, RoutingRuleStatus))


async def test_only_the_link_that_changed_gets_a_new_version() -> None:
    async with node() as (inside, state):
        await eventually(lambda: state.get(LinkStatus, "v0").spec.veth == Veth(peer_name="v1"))
        before = {id: state.get(LinkStatus, id).metadata.version for id in ("lo", "v1")}
        inside.run("ip", "link", "set", "v0", "mtu", "1400")
        await eventually(lambda: state.get(LinkStatus, "v0").spec.mtu == 1400)
        assert {id: state.get(LinkStatus, id).metadata.version for id in ("lo", "v1")} == before


async def test_the_addresses_of_the_node_follow_links_addresses_and_filters() -> None:
    async with node() as (inside, state):
        for command in ("link set v1 up", "addr add 192.0.2.1/24 dev v0", "addr add 10.0.0.1/8 dev v0"):
            inside.run("ip", *command.split())
        await eventually(within({"v0/192.0.2.1/24", "v0/10.0.0.1/8"}, state, AddressStatus))
        assert addresses(state, "current") == ()
        inside.run("ip", "link", "set", "v0", "up")
        await eventually(lambda: addresses(state, "current") == ("10.0.0.1/8", "192.0.2.1/24"))
        assert addresses(state, "default") == ("10.0.0.1/8",)
        rule = NodeAddressFilterSpec(exclude_subnets=("10.0.0.0/8",))
        await state.create(NodeAddressFilter.new("outside", rule))
        await eventually(lambda: addresses(state, "current-outside") == ("192.0.2.1/24",))
        inside.run("ip", "addr", "del", "10.0.0.1/8", "dev", "v0")
        await eventually(lambda: addresses(state, "current") == ("192.0.2.1/24",))
        assert addresses(state, "default") == ("192.0.2.1/24",)
        assert addresses(state, "accumulative") == ("10.0.0.1/8", "192.0.2.1/24")
        await state.destroy(NodeAddressFilter, "outside")
        await eventually(lambda: "current-outside" not in ids(state, NodeAddress))


# Changes names here and in other namespaces, and prints those that are shown.
_RENAMING = """
import subprocess, trio
from nodespan.controllers.network.status.hostname_status import HostnameStatusController
from nodespan.resources.network import HOSTNAME_ID, HostnameStatus
from nodespan.runtime.testing.kit import running

def call(name, *how):
    subprocess.run([*how, "hostname", name], check=True)

async def main():
    async with running(HostnameStatusController()) as node:
        for name in ("one", "two", "three", "four"):
            call(name)
            await node.eventually(HostnameStatus, HOSTNAME_ID, lambda found: found.spec.hostname == name)
            print(name)
            if name == "two":
                # From now on changes are looked for.
                call("other", "unshare", "--uts")

trio.run(main)
"""


@pytest.mark.process
@pytest.mark.needs_program("unshare", "hostname")
async def test_a_change_of_the_host_name_is_shown_also_where_others_change_theirs() -> None:
    with trio.fail_after(PATIENCE):
        done = await trio.run_process(["unshare", "--uts", sys.executable, "-c", _RENAMING], capture_stdout=True)
    assert done.stdout.decode().split() == ["one", "two", "three", "four"]
