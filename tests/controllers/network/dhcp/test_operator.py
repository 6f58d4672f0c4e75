"""The DHCP operators without a network: with a server behind a fake transport."""

import contextlib
import errno
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from ipaddress import IPv4Address
from pathlib import Path

import attrs
import pytest
import trio

from nodespan.controllers.network.dhcp.dhcp_sockets import Transport
from nodespan.controllers.network.dhcp.environment import DHCPEnvironment
from nodespan.controllers.network.dhcp.lease_file import Moment
from nodespan.controllers.network.dhcp.message4 import Code, decode, encode
from nodespan.controllers.network.dhcp.operator4 import DHCP4Operator, requested_options
from nodespan.controllers.network.operators.operator_spec import OperatorSpecController
from nodespan.resources.config.network import ClientIdentifier
from nodespan.resources.network import (
    CONFIG_NAMESPACE,
    AddressSpec,
    ClientIdentifierSpec,
    ConfigLayer,
    DHCP4OperatorSpec,
    DHCPLease,
    HostnameSpec,
    LinkSpec,
    LinkStatus,
    LinkStatusSpec,
    NetworkProblem,
    OperationalState,
    Operator,
    OperatorSpec,
    OperatorSpecSpec,
    RouteSpec,
)
from nodespan.runtime.codec.plain import parse_time
from nodespan.runtime.testing.kit import Node, running
from tests.support.dhcp_server import DISCOVER, REBOOT, RELEASE, SELECT, ScriptedServer

ID, ADDRESS_ID = "dhcp4/eth0", "dhcp4/eth0/eth0/192.0.2.100/24"
ADDRESSES = AddressSpec.within(CONFIG_NAMESPACE)
LINK = LinkStatusSpec(
    index=7,
    hardware_addr="02:00:00:00:00:07",
    broadcast_addr="ff:ff:ff:ff:ff:ff",
    operational_state=OperationalState.UP,
)


class FakeTransport:
    """A cable to a server."""

    def __init__(self, server: ScriptedServer) -> None:
        self.server = server
        self._answers, self._inbox = trio.open_memory_channel[bytes](100)

    async def send(self, payload: bytes, *, source: str, destination: str) -> None:
        answer = self.server.answer(decode(payload))
        if answer is not None:
            await self._answers.send(encode(answer))

    async def receive(self) -> bytes:
        return await self._inbox.receive()


class Fake(DHCP4Operator):
    """The operator, but for what touches the network."""

    transport: FakeTransport
    open_error: OSError | None = None
    check_error: OSError | None = None

    def open_transport(self, link: LinkStatusSpec) -> AbstractAsyncContextManager[Transport]:
        return self._opened()

    @contextlib.asynccontextmanager
    async def _opened(self) -> AsyncIterator[Transport]:
        if self.open_error is not None:
            raise self.open_error
        yield self.transport

    async def is_taken(self, address: str, link: LinkStatusSpec) -> bool:
        error, self.check_error = self.check_error, None
        if error is not None:
            raise error
        return False


@contextlib.asynccontextmanager
async def node(
    state_dir: Path,
    server: ScriptedServer,
    *,
    link: LinkStatusSpec = LINK,
    open_error: OSError | None = None,
    check_error: OSError | None = None,
    options: DHCP4OperatorSpec | None = None,
    now: Callable[[], Moment] | None = None,
) -> AsyncIterator[Node]:
    spec = OperatorSpecSpec(operator=Operator.DHCP4, link_name="eth0", dhcp4=options)

    def make(spec: OperatorSpecSpec) -> Fake:
        environment = DHCPEnvironment(state_dir=state_dir)
        operator = Fake(spec, environment if now is None else attrs.evolve(environment, now=now))
        operator.transport, operator.open_error = FakeTransport(server), open_error
        operator.check_error = check_error
        return operator

    async with running(OperatorSpecController({Operator.DHCP4: make})) as runtime:
        await runtime.create(LinkStatus.new("eth0", link))
        await runtime.create(OperatorSpec.new(ID, spec))
        yield runtime


async def bound(runtime: Node) -> None:
    await runtime.eventually(DHCPLease, ID, lambda lease: lease.spec.state == "bound")


async def problem(runtime: Node) -> str:
    return (await runtime.eventually(NetworkProblem, f"OperatorSpecs/{ID}")).spec.message


async def test_a_lease_becomes_specs_of_the_layer_of_operators(tmp_path: Path) -> None:
    told = {Code.ROUTERS: bytes([192, 0, 2, 1]), Code.HOST_NAME: b"node7", Code.MTU: bytes([5, 120])}
    server = ScriptedServer(seconds=600, options={int(code): data for code, data in told.items()})
    async with node(tmp_path, server, options=DHCP4OperatorSpec(route_metric=512)) as runtime:
        await bound(runtime)
        address = (await runtime.eventually(ADDRESSES, ADDRESS_ID)).spec
        assert (address.layer, address.priority) == (ConfigLayer.OPERATOR, 512)
        lease = runtime.state.get(DHCPLease, ID).spec
        assert (lease.link_name, lease.addresses, lease.server) == ("eth0", ("192.0.2.100/24",), "192.0.2.1")
        assert lease.obtained < lease.renew_at < lease.expires
        assert lease.routes == 1
        assert runtime.state.find(RouteSpec.within(CONFIG_NAMESPACE), f"{ID}/inet4/192.0.2.1//512") is not None
        assert runtime.state.get(HostnameSpec.within(CONFIG_NAMESPACE), f"{ID}/hostname").spec.hostname == "node7"
        link = runtime.state.get(LinkSpec.within(CONFIG_NAMESPACE), f"{ID}/eth0").spec
        assert (link.mtu, link.layer) == (1400, ConfigLayer.DEFAULT)


async def test_a_link_that_goes_down_while_neighbours_are_probed_fails_nothing(tmp_path: Path) -> None:
    error = OSError(errno.ENETDOWN, "Network is down")
    async with node(tmp_path, server := ScriptedServer(seconds=600), check_error=error) as runtime:
        await bound(runtime)
        assert not runtime.state.list(NetworkProblem)
    assert server.kinds == [DISCOVER, SELECT]


@pytest.mark.parametrize(
    ("spec", "missing"),
    [
        (DHCP4OperatorSpec(), set()),
        (DHCP4OperatorSpec(skip_routes=True), {Code.ROUTERS, Code.CLASSLESS_ROUTES}),
        (DHCP4OperatorSpec(skip_hostname_request=True), {Code.HOST_NAME}),
    ],
)
def test_skipped_options_are_not_requested(spec: DHCP4OperatorSpec, missing: set[Code]) -> None:
    assert set(requested_options(DHCP4OperatorSpec())) - set(requested_options(spec)) == missing


async def test_the_lease_of_a_removed_operator_is_released(tmp_path: Path) -> None:
    server = ScriptedServer(seconds=600)
    async with node(tmp_path, server) as runtime:
        await bound(runtime)
        assert (tmp_path / "dhcp" / "dhcp4-eth0.json").exists()
        await runtime.destroy(OperatorSpec, ID)
        await runtime.gone(ADDRESSES, ADDRESS_ID)
        assert server.kinds[-1] == RELEASE
        assert not (tmp_path / "dhcp" / "dhcp4-eth0.json").exists()


async def test_a_link_that_goes_down_or_an_agent_that_ends_gives_nothing_back(tmp_path: Path) -> None:
    server = ScriptedServer(seconds=600)
    async with node(tmp_path, server) as runtime:
        await bound(runtime)
        await runtime.put(LinkStatus, "eth0", attrs.evolve(LINK, operational_state=OperationalState.DOWN))
        await runtime.gone(ADDRESSES, ADDRESS_ID)
        await runtime.put(LinkStatus, "eth0", LINK)
        await bound(runtime)
    async with node(tmp_path, server) as runtime:
        await bound(runtime)
    assert server.kinds == [DISCOVER, SELECT, REBOOT, REBOOT]


async def test_another_hardware_address_is_another_client(tmp_path: Path) -> None:
    server = ScriptedServer(seconds=600)
    async with node(tmp_path, server) as runtime:
        await bound(runtime)
        server.lends = IPv4Address("192.0.2.101")
        await runtime.put(LinkStatus, "eth0", attrs.evolve(LINK, hardware_addr="02:00:00:00:00:08"))
        await runtime.gone(ADDRESSES, ADDRESS_ID)
        await runtime.eventually(ADDRESSES, "dhcp4/eth0/eth0/192.0.2.101/24")
        assert server.seen[-1].hardware_address.hex() == "020000000008"
        assert RELEASE not in server.kinds


@pytest.mark.parametrize("stepped", [3600, -3600])
async def test_a_step_of_the_wall_clock_moves_the_times_shown_and_nothing_else(tmp_path: Path, stepped: int) -> None:
    offset = 1_700_000_000

    def now() -> Moment:
        return Moment(boot_id="one", since_boot=50.0, calendar=(offset + 50) * 1_000_000_000)

    server = ScriptedServer(seconds=600)
    async with node(tmp_path, server, now=now) as runtime:
        await bound(runtime)
        before = runtime.state.get(DHCPLease, ID).spec
        offset += stepped
        await runtime.put(LinkStatus, "eth0", attrs.evolve(LINK, mtu=1400))
        after = (await runtime.eventually(DHCPLease, ID, lambda lease: lease.spec != before)).spec
        moved = (parse_time(after.expires) - parse_time(before.expires)) / 1_000_000_000
        assert moved == stepped
        assert (after.state, after.addresses) == (before.state, before.addresses)
    assert server.kinds == [DISCOVER, SELECT]


async def test_a_damaged_file_is_ignored(tmp_path: Path) -> None:
    (tmp_path / "dhcp").mkdir()
    (tmp_path / "dhcp" / "dhcp4-eth0.json").write_text("{")
    server = ScriptedServer(seconds=600)
    async with node(tmp_path, server) as runtime:
        await bound(runtime)
    assert server.kinds == [DISCOVER, SELECT]


async def test_a_lease_that_cannot_be_kept_is_used_all_the_same(tmp_path: Path) -> None:
    (tmp_path / "dhcp").write_text("in the way of the directory")
    async with node(tmp_path, ScriptedServer(seconds=600)) as runtime:
        await bound(runtime)


async def test_missing_privileges_are_reported_once_and_nothing_is_retried(tmp_path: Path) -> None:
    server = ScriptedServer()
    async with node(tmp_path, server, open_error=PermissionError(1, "Operation not permitted")) as runtime:
        assert "start it as root" in await problem(runtime)
        await runtime.destroy(OperatorSpec, ID)
        await runtime.gone(NetworkProblem, f"OperatorSpecs/{ID}")
        assert not server.seen


@pytest.mark.parametrize(
    ("client", "link", "expected"),
    [
        (
            ClientIdentifierSpec(client_identifier=ClientIdentifier.DUID, duid_raw="not a duid"),
            LINK,
            "the DUID 'not a duid' is not made of hexadecimal digits",
        ),
        (
            ClientIdentifierSpec(),
            attrs.evolve(LINK, hardware_addr=""),
            "link eth0 has no hardware address, DHCP needs one",
        ),
    ],
)
async def test_a_permanent_failure_is_reported_with_its_reason(
    tmp_path: Path, client: ClientIdentifierSpec, link: LinkStatusSpec, expected: str
) -> None:
    options = DHCP4OperatorSpec(client_identifier=client)
    async with node(tmp_path, ScriptedServer(), link=link, options=options) as runtime:
        assert expected in await problem(runtime)
