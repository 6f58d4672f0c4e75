"""What of a node's network is ready."""

import attrs
import pytest

from nodespan.controllers.network.status.network_status import NetworkStatusController, leads_out
from nodespan.resources.files import EtcFileSpec, EtcFileSpecSpec, EtcFileStatus, EtcFileStatusSpec
from nodespan.resources.network import (
    HOSTNAME_ID,
    NETWORK_STATUS_ID,
    Family,
    HostnameSpec,
    HostnameSpecSpec,
    HostnameStatus,
    HostnameStatusSpec,
    NetworkStatus,
    NetworkStatusSpec,
    NextHop,
    NodeAddress,
    NodeAddressSpec,
    RouteStatus,
    RouteStatusSpec,
    RouteType,
    RoutingTable,
    VIPState,
    VIPStatus,
    VIPStatusSpec,
)
from nodespan.runtime.testing.kit import Node, running

NOTHING = NetworkStatusSpec(etc_files_ready=True)


async def becomes(node: Node, **changes: bool) -> None:
    """Wait until the status is that of a node that has nothing, but for this."""
    wanted = attrs.evolve(NOTHING, **changes)
    await node.eventually(NetworkStatus, NETWORK_STATUS_ID, lambda found: found.spec == wanted)


@pytest.mark.virtual_clock
async def test_each_part_is_ready_when_there_is_nothing_left_to_wait_for() -> None:
    async with running(NetworkStatusController()) as node:
        await becomes(node)
        await node.put(NodeAddress, "default", NodeAddressSpec(addresses=("192.0.2.1/24",)))
        await becomes(node, address_ready=True)
        await node.put(NodeAddress, "default", NodeAddressSpec())
        await becomes(node)
        await node.put(RouteStatus, "default", RouteStatusSpec(gateway="192.0.2.254"))
        await becomes(node, connectivity_ready=True)
        await node.destroy(RouteStatus, "default")
        await becomes(node)


@pytest.mark.virtual_clock
async def test_the_host_has_its_name_when_it_is_the_desired_one() -> None:
    async with running(NetworkStatusController()) as node:
        await node.put(HostnameStatus, HOSTNAME_ID, HostnameStatusSpec(hostname="as-it-came"))
        await becomes(node, hostname_ready=True)
        await node.put(HostnameSpec, "hostname", HostnameSpecSpec(hostname="node1"))
        await becomes(node)
        await node.put(HostnameStatus, HOSTNAME_ID, HostnameStatusSpec(hostname="node1"))
        await becomes(node, hostname_ready=True)


@pytest.mark.virtual_clock
async def test_the_files_are_ready_when_each_has_its_desired_content() -> None:
    async with running(NetworkStatusController()) as node:
        await node.put(EtcFileSpec, "hosts", EtcFileSpecSpec(contents=b"1"))
        await becomes(node, etc_files_ready=False)
        await node.put(EtcFileStatus, "hosts", EtcFileStatusSpec(spec_version="1"))
        await becomes(node)
        await node.put(EtcFileSpec, "hosts", EtcFileSpecSpec(contents=b"2"))
        await becomes(node, etc_files_ready=False)


@pytest.mark.parametrize(
    ("route", "leads"),
    [
        (RouteStatusSpec(gateway="192.0.2.254"), True),
        (RouteStatusSpec(family=Family.INET6, gateway="2001:db8::1"), True),
        (RouteStatusSpec(out_link_name="ppp0"), True),
        (RouteStatusSpec(next_hops=(NextHop(gateway="192.0.2.254"), NextHop(gateway="192.0.2.253"))), True),
        (RouteStatusSpec(dst="10.0.0.0/8", gateway="192.0.2.254"), False),
        (RouteStatusSpec(gateway="192.0.2.254", table=RoutingTable.of(180)), False),
        (RouteStatusSpec(type=RouteType.UNREACHABLE), False),
    ],
)
def test_a_default_route_that_packets_go_by_leads_out(route: RouteStatusSpec, leads: bool) -> None:
    assert leads_out(route) is leads


@pytest.mark.virtual_clock
async def test_virtual_ips_are_ready_while_their_elections_can_be_followed() -> None:
    async with running(NetworkStatusController()) as node:
        await becomes(node)
        status = VIPStatusSpec(ip="192.0.2.1", link_name="eth0", state=VIPState.CANDIDATE)
        await node.put(VIPStatus, "eth0/192.0.2.1", status)
        await becomes(node)
        await node.put(VIPStatus, "eth0/192.0.2.1", attrs.evolve(status, trouble="etcd is not available: no leader"))
        await becomes(node, vip_ready=False)
        await node.destroy(VIPStatus, "eth0/192.0.2.1")
        await becomes(node)
