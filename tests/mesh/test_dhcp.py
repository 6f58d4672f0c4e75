"""DHCP on real links: a real dnsmasq, and servers that behave as real ones sometimes do."""

import contextlib
import json
from collections.abc import AsyncIterator, Iterator
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import attrs
import pytest

from nodespan.controllers.network.apply.address_spec import AddressSpecController
from nodespan.controllers.network.apply.link_spec import LinkSpecController
from nodespan.controllers.network.apply.route_spec import RouteSpecController
from nodespan.controllers.network.dhcp.factories import dhcp_factories
from nodespan.controllers.network.dhcp.message4 import Code
from nodespan.controllers.network.merge.controllers import (
    AddressMergeController,
    LinkMergeController,
    RouteMergeController,
)
from nodespan.controllers.network.operators.operator_spec import CARRIER_PATIENCE, OperatorSpecController
from nodespan.controllers.network.status.link_status import LinkStatusController
from nodespan.resources.network import (
    CONFIG_NAMESPACE,
    HOSTNAME_ID,
    ConfigLayer,
    DHCP4OperatorSpec,
    DHCP6OperatorSpec,
    DHCPLease,
    DHCPLeaseSpec,
    HostnameSpec,
    HostnameSpecSpec,
    HostnameStatus,
    HostnameStatusSpec,
    NetworkProblem,
    Operator,
    OperatorSpec,
    OperatorSpecSpec,
    ResolverSpec,
    TimeServerSpec,
    operator_id,
)
from nodespan.runtime.testing.kit import Node, running
from tests.support.deadlines import PATIENCE
from tests.support.dhcp_server import (
    DECLINE,
    DISCOVER,
    EXTEND,
    REBOOT,
    RELEASE,
    SELECT,
    ScriptedServer,
    dnsmasq,
    serving,
)
from tests.support.monitor import watching
from tests.support.netns import Namespace, connect, namespaces
from tests.support.process import eventually

pytestmark = [pytest.mark.needs_link("veth")]

DHCP4 = OperatorSpecSpec(operator=Operator.DHCP4, link_name="eth0", dhcp4=DHCP4OperatorSpec())
DHCP6 = OperatorSpecSpec(operator=Operator.DHCP6, link_name="eth0", dhcp6=DHCP6OperatorSpec())
HOSTNAMES = HostnameSpec.within(CONFIG_NAMESPACE)
RESOLVERS = ResolverSpec.within(CONFIG_NAMESPACE)
TIME_SERVERS = TimeServerSpec.within(CONFIG_NAMESPACE)
MAC = "02:00:00:00:00:07"


@attrs.frozen
class Lab:
    """A client's namespace, and a server's with 192.0.2.1/24 at the other end of the cable."""

    inside: Namespace
    far: Namespace
    state_dir: Path

    def ip(self, *arguments: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = json.loads(self.inside.run("ip", "-json", "-details", *arguments) or "[]")
        return [each for each in found if each]

    def addresses(self, option: str = "-4") -> set[str]:
        found = self.ip(option, "addr", "show", "dev", "eth0", "scope", "global")
        # What the filter hides comes as an empty object.
        return {f"{each['local']}/{each['prefixlen']}" for link in found for each in link["addr_info"] if each}

    def routes(self) -> set[tuple[str, str]]:
        """Destinations and gateways of the routes that came with leases."""
        found = self.ip("-4", "route", "show", "dev", "eth0", "proto", "boot")
        return {(each["dst"], each.get("gateway", "")) for each in found}


@contextlib.contextmanager
def lab(tmp_path: Path) -> Iterator[Lab]:
    with namespaces("client", "server") as (inside, far):
        connect(inside, "eth0", far, "eth0")
        inside.run("ip", "link", "set", "eth0", "address", MAC)
        far.run("ip", "addr", "add", "192.0.2.1/24", "dev", "eth0")
        yield Lab(inside, far, tmp_path)


@contextlib.asynccontextmanager
async def agent(here: Lab, *specs: OperatorSpecSpec) -> AsyncIterator[Node]:
    """What of an agent a lease goes through; it ends without a word, as a killed one does."""
    netns = str(here.inside.path)
    controllers = (
        LinkStatusController(netns=netns),
        OperatorSpecController(dhcp_factories(here.state_dir, netns=netns)),
        AddressMergeController(),
        LinkMergeController(),
        RouteMergeController(),
        AddressSpecController(netns=netns),
        LinkSpecController(netns=netns),
        RouteSpecController(netns=netns),
    )
    async with running(*controllers) as node:
        for spec in specs:
            await node.create(OperatorSpec.new(operator_id(spec), spec))
        yield node


async def bound(node: Node, id: str = "dhcp4/eth0", *, within: float = PATIENCE) -> DHCPLeaseSpec:
    return (await node.eventually(DHCPLease, id, lambda lease: lease.spec.state == "bound", within=within)).spec


async def holds(here: Lab, *addresses: str, within: float = PATIENCE) -> None:
    await eventually(lambda: here.addresses() == set(addresses), within=within)


# A real server.


@pytest.mark.needs_program("dnsmasq")
async def test_a_lease_from_dnsmasq_applies_all_its_options(tmp_path: Path) -> None:
    with lab(tmp_path) as here:
        options = (
            "--dhcp-range=192.0.2.50,192.0.2.60,255.255.255.0,2m",
            "--dhcp-option=option:router,192.0.2.1",
            "--dhcp-option=option:mtu,1400",
            "--dhcp-option=option:dns-server,192.0.2.53,198.51.100.53",
            "--dhcp-option=option:ntp-server,192.0.2.123",
            "--dhcp-option=option:domain-search,one.example,two.example",
            "--domain=example.org",
            f"--dhcp-host={MAC},node7,192.0.2.57",
        )
        async with dnsmasq(here.far, here.state_dir, *options), agent(here, DHCP4) as node:
            lease = await bound(node)
            assert (lease.addresses, lease.server, lease.routes) == (("192.0.2.57/24",), "192.0.2.1", 1)
            await holds(here, "192.0.2.57/24")
            await eventually(lambda: here.routes() == {("default", "192.0.2.1")})
            await eventually(lambda: here.ip("link", "show", "dev", "eth0")[0]["mtu"] == 1400)
            (route,) = here.ip("-4", "route", "show", "default")
            assert route["metric"] == 1024
            hostname = (await node.eventually(HOSTNAMES, "dhcp4/eth0/hostname")).spec
            assert (hostname.hostname, hostname.domainname) == ("node7", "example.org")
            resolvers = (await node.eventually(RESOLVERS, "dhcp4/eth0/resolvers")).spec
            assert resolvers.dns_servers == ("192.0.2.53", "198.51.100.53")
            assert resolvers.search_domains == ("one.example", "two.example")
            times = (await node.eventually(TIME_SERVERS, "dhcp4/eth0/timeservers")).spec
            assert times.time_servers == ("192.0.2.123",)


@pytest.mark.needs_program("dnsmasq")
async def test_dnsmasq_learns_the_nodes_own_hostname(tmp_path: Path) -> None:
    with lab(tmp_path) as here:

        async def is_known_as(name: str) -> None:
            await eventually(lambda: f" {name} " in (here.state_dir / "leases").read_text())

        async with (
            dnsmasq(here.far, here.state_dir, "--dhcp-range=192.0.2.50,192.0.2.60,255.255.255.0,2m"),
            agent(here, DHCP4) as node,
        ):
            await node.put(HostnameStatus, HOSTNAME_ID, HostnameStatusSpec(hostname="by-hand"))
            await bound(node)
            await is_known_as("by-hand")
            configured = HostnameSpecSpec(hostname="configured", layer=ConfigLayer.CONFIGURATION)
            await node.put(HostnameSpec, HOSTNAME_ID, configured)
            await is_known_as("configured")
            assert node.state.find(HOSTNAMES, "dhcp4/eth0/hostname") is None


@pytest.mark.needs_program("dnsmasq")
async def test_an_address_from_dnsmasq_over_dhcpv6(tmp_path: Path) -> None:
    with lab(tmp_path) as here:
        here.far.run("ip", "addr", "add", "2001:db8::1/64", "dev", "eth0", "nodad")
        options = (
            "--dhcp-range=2001:db8::50,2001:db8::60,64,2m",
            "--dhcp-option=option6:dns-server,[2001:db8::53]",
            "--dhcp-option=option6:domain-search,example.org",
            "--dhcp-option=option6:ntp-server,[2001:db8::123]",
        )
        async with dnsmasq(here.far, here.state_dir, *options), agent(here, DHCP6) as node:
            lease = await bound(node, "dhcp6/eth0")
            (address,) = lease.addresses
            assert address.startswith("2001:db8::5")
            await eventually(lambda: here.addresses("-6") == {address})
            resolvers = (await node.eventually(RESOLVERS, "dhcp6/eth0/resolvers")).spec
            assert (resolvers.dns_servers, resolvers.search_domains) == (("2001:db8::53",), ("example.org",))


@pytest.mark.needs_program("dnsmasq")
async def test_dnsmasq_renews_and_a_nak_from_another_server_leads_to_its_address(tmp_path: Path) -> None:
    # It lends for no less than two minutes, but lets itself be asked sooner.
    often = ("--dhcp-option=option:T1,5", "--dhcp-authoritative")
    with lab(tmp_path) as here:
        async with agent(here, DHCP4) as node:
            async with dnsmasq(here.far, here.state_dir, "--dhcp-range=192.0.2.50,192.0.2.50,255.255.255.0,2m", *often):
                first = await bound(node)
                await node.eventually(DHCPLease, "dhcp4/eth0", lambda lease: lease.spec.obtained > first.obtained)
                await holds(here, "192.0.2.50/24")
            (tmp_path / "leases").unlink()
            async with dnsmasq(here.far, here.state_dir, "--dhcp-range=192.0.2.60,192.0.2.60,255.255.255.0,2m", *often):
                await holds(here, "192.0.2.60/24")


@pytest.mark.needs_program("dnsmasq")
async def test_classless_routes_may_use_a_gateway_outside_the_subnet(tmp_path: Path) -> None:
    with lab(tmp_path) as here:
        options = (
            "--dhcp-range=192.0.2.50,192.0.2.60,255.255.255.0,2m",
            "--dhcp-option=option:router,192.0.2.1",
            "--dhcp-option=121,198.51.100.0/24,192.0.2.254,0.0.0.0/0,203.0.113.1",
        )
        async with dnsmasq(here.far, here.state_dir, *options), agent(here, DHCP4) as node:
            assert (await bound(node)).routes == 3
            expected = {("198.51.100.0/24", "192.0.2.254"), ("203.0.113.1", ""), ("default", "203.0.113.1")}
            await eventually(lambda: here.routes() == expected)


# A server that is controlled by the test. Its address is 192.0.2.1, and it lends 192.0.2.100 for ten seconds.

LEASED = "192.0.2.100/24"


def lifetime(here: Lab) -> int:
    """For how many seconds the kernel lets the address live."""
    (link,) = here.ip("-4", "addr", "show", "dev", "eth0")
    return int(link["addr_info"][0]["valid_life_time"])


@contextlib.asynccontextmanager
async def leased(tmp_path: Path, script: ScriptedServer) -> AsyncIterator[tuple[Lab, Node]]:
    """A client that has got its lease."""
    with lab(tmp_path) as here:
        async with serving(script, here.far, "eth0"), agent(here, DHCP4) as node:
            await bound(node)
            await holds(here, LEASED)
            yield here, node


async def test_a_short_lease_is_renewed_by_a_server_that_broadcasts_its_answers(tmp_path: Path) -> None:
    script = ScriptedServer(broadcasts=True, delay=0.2)
    async with leased(tmp_path, script) as (here, node):
        first = (await bound(node)).expires
        await eventually(lambda: EXTEND in script.kinds)
        await node.eventually(DHCPLease, "dhcp4/eth0", lambda lease: lease.spec.expires > first)
        await holds(here, LEASED)
        # An agent that dies cannot take the address away: so the kernel counts too.
        assert 0 < lifetime(here) <= 10


async def test_an_address_expires_with_its_lease_and_returns_with_the_server(tmp_path: Path) -> None:
    script = ScriptedServer(seconds=6, options={Code.ROUTERS: bytes([192, 0, 2, 1])})
    async with leased(tmp_path, script) as (here, node):
        await eventually(lambda: here.routes() == {("default", "192.0.2.1")})
        script.silent_on = frozenset({DISCOVER, SELECT, REBOOT, EXTEND})
        problem = await node.eventually(NetworkProblem, "OperatorSpecs/dhcp4/eth0")
        assert "192.0.2.1 does not renew the lease" in problem.spec.message
        await holds(here)
        await eventually(lambda: not here.routes())
        await node.eventually(NetworkProblem, "OperatorSpecs/dhcp4/eth0", lambda it: "has expired" in it.spec.message)
        script.silent_on = frozenset()
        await bound(node)
        await holds(here, LEASED)
        await node.gone(NetworkProblem, "OperatorSpecs/dhcp4/eth0")


async def test_another_server_takes_over_while_the_address_stays(tmp_path: Path) -> None:
    one, two = ScriptedServer(seconds=6), ScriptedServer(server=IPv4Address("192.0.2.2"), seconds=600)
    with lab(tmp_path) as here:
        async with agent(here, DHCP4) as node:
            async with serving(one, here.far, "eth0"):
                await bound(node)
                await holds(here, LEASED)
            here.far.run("ip", "addr", "del", "192.0.2.1/24", "dev", "eth0")
            here.far.run("ip", "addr", "add", "192.0.2.2/24", "dev", "eth0")
            async with watching(here.inside, "address") as seen, serving(two, here.far, "eth0"):
                await node.eventually(DHCPLease, "dhcp4/eth0", lambda lease: lease.spec.server == "192.0.2.2")
                await eventually(lambda: lifetime(here) > 10)
        assert "192.0.2.100/24" in seen()
        assert "Deleted" not in seen()


async def test_a_rejected_renewal_leads_to_a_new_address_at_once(tmp_path: Path) -> None:
    script = ScriptedServer()
    async with leased(tmp_path, script) as (here, _):
        script.refuses, script.lends = frozenset({EXTEND}), IPv4Address("192.0.2.101")
        await holds(here, "192.0.2.101/24")


async def test_a_restarted_agent_requests_the_same_address_and_keeps_it_meanwhile(tmp_path: Path) -> None:
    script = ScriptedServer(seconds=600)
    with lab(tmp_path) as here:
        async with serving(script, here.far, "eth0"):
            async with agent(here, DHCP4) as node:
                await bound(node)
                await holds(here, LEASED)
            assert here.addresses() == {LEASED}
            script.seen.clear()
            script.delay = 0.3
            async with watching(here.inside, "address") as seen, agent(here, DHCP4) as node:
                rebooting = await node.eventually(DHCPLease, "dhcp4/eth0")
                assert (rebooting.spec.state, rebooting.spec.addresses) == ("rebooting", (LEASED,))
                await bound(node)
                await holds(here, LEASED)
            assert script.kinds == [REBOOT]
            assert "Deleted" not in seen()


async def test_an_agent_restarted_on_another_network_removes_the_old_address(tmp_path: Path) -> None:
    script = ScriptedServer(seconds=600)
    with lab(tmp_path) as here:
        async with serving(script, here.far, "eth0"):
            async with agent(here, DHCP4) as node:
                await bound(node)
                await holds(here, LEASED)
            script.refuses, script.lends = frozenset({REBOOT}), IPv4Address("192.0.2.101")
            async with agent(here, DHCP4):
                await holds(here, "192.0.2.101/24")


async def test_a_link_that_comes_back_up_requests_the_same_address(tmp_path: Path) -> None:
    script = ScriptedServer(seconds=600)
    async with leased(tmp_path, script) as (here, node):
        here.far.run("ip", "link", "set", "eth0", "down")
        await holds(here, within=2 * CARRIER_PATIENCE)
        await node.gone(DHCPLease, "dhcp4/eth0")
        script.seen.clear()
        here.far.run("ip", "link", "set", "eth0", "up")
        await bound(node)
        await holds(here, LEASED)
        assert set(script.kinds) == {REBOOT}


async def test_a_lease_no_longer_desired_is_released_and_leaves_nothing_behind(tmp_path: Path) -> None:
    script = ScriptedServer(seconds=600, options={Code.ROUTERS: bytes([192, 0, 2, 1])})
    async with leased(tmp_path, script) as (here, node):
        await eventually(lambda: here.routes() == {("default", "192.0.2.1")})
        here.inside.run("ip", "addr", "add", "198.51.100.7/24", "dev", "eth0")
        (file,) = (here.state_dir / "dhcp").iterdir()
        assert (file.name, file.stat().st_mode & 0o777) == ("dhcp4-eth0.json", 0o600)
        await node.destroy(OperatorSpec, "dhcp4/eth0")
        await eventually(lambda: script.kinds[-1] == RELEASE)
        assert str(script.seen[-1].client_address) == "192.0.2.100"
        await holds(here, "198.51.100.7/24")
        await eventually(lambda: not here.routes())
        await node.gone(DHCPLease, "dhcp4/eth0")
        assert not file.exists()


async def test_an_address_in_use_elsewhere_is_declined(tmp_path: Path) -> None:
    script = ScriptedServer()
    with lab(tmp_path) as here:
        here.far.run("ip", "addr", "add", LEASED, "dev", "eth0")
        async with serving(script, here.far, "eth0"), agent(here, DHCP4) as node:
            problem = await node.eventually(NetworkProblem, "OperatorSpecs/dhcp4/eth0")
            assert "192.0.2.100, which the DHCP server 192.0.2.1 leases, is in use" in problem.spec.message
            await eventually(lambda: script.kinds[-1] == DECLINE)
            assert not here.addresses()


async def test_a_missing_server_is_reported_with_time_and_reason(tmp_path: Path) -> None:
    with lab(tmp_path) as here:
        async with agent(here, DHCP4) as node:
            problem = await node.eventually(NetworkProblem, "OperatorSpecs/dhcp4/eth0")
            assert "no DHCP server answers" in problem.spec.message
            assert "(since 20" in problem.spec.message
            assert node.state.get(DHCPLease, "dhcp4/eth0").spec.state == "selecting"
