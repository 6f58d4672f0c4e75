"""kubespan.PortMappingController with a router in memory, and who asks routers with one on loopback."""

import contextlib
import socket
from collections.abc import AsyncIterator, Callable, Iterable
from datetime import timedelta
from functools import partial
from ipaddress import IPv4Address
from pathlib import Path

import attrs
import pytest
import trio
import trio.lowlevel

from nodespan.controllers.kubespan.mapping.mapping import (
    Granted,
    MappingError,
    PortMapping,
    TakenError,
    UnsupportedError,
)
from nodespan.controllers.kubespan.mapping.record import MOST, Record
from nodespan.controllers.kubespan.mapping.requests import Requests
from nodespan.controllers.kubespan.port_mapping import FILE_NAME, RETRY, PortMappingController
from nodespan.resources.cluster import NAMESPACE, PUBLIC_ADDRESS_ID
from nodespan.resources.config import MACHINE_CONFIG_ID, MachineConfig, MachineConfigSpec
from nodespan.resources.kubespan import (
    KUBESPAN_CONFIG_ID,
    LOCAL,
    KubeSpanConfig,
    KubeSpanConfigSpec,
    KubeSpanPortMapping,
    KubeSpanPortMappingSpec,
    MappingProtocol,
    MappingState,
)
from nodespan.resources.network import AddressStatus, AddressStatusSpec, RouteStatus, RouteStatusSpec
from nodespan.runtime.lifecycle import AGENT_ID, AgentLifecycle, AgentLifecycleSpec
from nodespan.runtime.testing.kit import Node, running

GATEWAY = "192.0.2.1"
CLIENT = "192.0.2.7"
CONFIG = KubeSpanConfigSpec(enabled=True, cluster_id="cluster", port_mapping=True)
PCP, NAT_PMP, UPNP = MappingProtocol.PCP, MappingProtocol.NAT_PMP, MappingProtocol.UPNP


@attrs.define
class Router:
    """Who asks, and the router that answers: what it speaks, and the mappings that it has."""

    speaks: set[MappingProtocol] = attrs.field(factory=lambda: {PCP})
    taken: set[int] = attrs.field(factory=set)
    # One table for all protocols, as most routers have.
    mappings: list[PortMapping] = attrs.field(factory=list)
    asked: list[tuple[float, MappingProtocol]] = attrs.field(factory=list)
    is_silent: bool = False
    lifetime: int = 600
    here: str = CLIENT
    # Protocols that it does not answer to, or whose answers are lost after it has done what was asked.
    deaf: set[MappingProtocol] = attrs.field(factory=set)
    loses: bool = False
    url: str = ""
    nonces: list[str] = attrs.field(factory=list)
    on_map: Callable[[PortMapping], None] = lambda _: None

    async def client(self, gateway: str) -> str:
        return self.here

    async def prepare(self, protocol: MappingProtocol, gateway: str, client: str, port: int) -> PortMapping:
        if protocol is UPNP and UPNP not in self.speaks:
            raise UnsupportedError("no router answers a search")
        mapping = PortMapping(protocol=protocol, gateway=gateway, client=client, internal_port=port, external_port=port)
        if protocol is PCP:
            self.nonces.append(f"{len(self.nonces):024x}")
            return attrs.evolve(mapping, nonce=self.nonces[-1])
        return attrs.evolve(mapping, control_url=self.url) if protocol is UPNP else mapping

    def _hears(self, mapping: PortMapping) -> bool:
        is_there = mapping.protocol is not UPNP or mapping.control_url == self.url
        return is_there and not self.is_silent and mapping.protocol not in self.deaf

    async def map(self, mapping: PortMapping) -> Granted:
        await trio.lowlevel.checkpoint()
        self.asked.append((trio.current_time(), mapping.protocol))
        self.on_map(mapping)
        if not self._hears(mapping):
            raise MappingError("it does not answer", is_certain=False)
        if mapping.protocol not in self.speaks:
            raise UnsupportedError("not spoken")
        if mapping.external_port in self.taken:
            raise TakenError("the external port is taken")
        self.mappings = [*(each for each in self.mappings if hole(each) != hole(mapping)), mapping]
        if self.loses:
            raise MappingError("it does not answer", is_certain=False)
        return Granted(mapping=mapping, address=IPv4Address("11.0.0.1"), lifetime=self.lifetime)

    async def give_back(self, mapping: PortMapping) -> None:
        await trio.lowlevel.checkpoint()
        if not self._hears(mapping):
            raise MappingError("it does not answer", is_certain=False)
        self.mappings = [each for each in self.mappings if hole(each) != hole(mapping)]


def hole(mapping: PortMapping) -> tuple[str, int, int]:
    return mapping.client, mapping.internal_port, mapping.external_port


@attrs.frozen
class Memory(Record):
    """A record without a file, for threads have no virtual time."""

    kept: list[PortMapping] = attrs.field(factory=list)
    failures: list[OSError] = attrs.field(factory=list)

    async def read(self) -> tuple[PortMapping, ...]:
        return tuple(self.kept)

    async def write(self, mappings: Iterable[PortMapping]) -> None:
        if self.failures:
            raise self.failures.pop()
        self.kept[:] = mappings


def controller(directory: Path, router: Router, memory: Memory) -> PortMappingController:
    return PortMappingController(
        directory,
        new_requests=lambda: router,
        new_record=lambda _: memory,
        now=trio.current_time,
        until=trio.sleep_until,
    )


async def set_up(node: Node, config: KubeSpanConfigSpec = CONFIG) -> None:
    await node.put(KubeSpanConfig, KUBESPAN_CONFIG_ID, config)
    await node.put(RouteStatus, "default", RouteStatusSpec(gateway=GATEWAY, priority=100))


async def eventually(node: Node, state: MappingState) -> KubeSpanPortMappingSpec:
    found = await node.eventually(KubeSpanPortMapping, LOCAL, lambda found: found.spec.state is state)
    return found.spec


@pytest.fixture
def memory(tmp_path: Path) -> Memory:
    return Memory(tmp_path / FILE_NAME)


@pytest.mark.virtual_clock
async def test_a_mapping_is_published_renewed_at_half_of_its_time_and_given_back_at_the_end(
    tmp_path: Path, memory: Memory
) -> None:
    router = Router()
    async with running(controller(tmp_path, router, memory)) as node:
        await set_up(node)
        assert await eventually(node, MappingState.MAPPED) == KubeSpanPortMappingSpec(
            state=MappingState.MAPPED,
            gateway=GATEWAY,
            protocol=PCP,
            internal=f"{CLIENT}:51820",
            external="11.0.0.1:51820",
            lifetime=timedelta(seconds=600),
        )
        assert memory.kept == router.mappings
        began = trio.current_time()
        await trio.sleep(601)
        assert [round(at - began) for at, _ in router.asked] == [0, 300, 600]
    assert (router.mappings, memory.kept) == ([], [])


@pytest.mark.virtual_clock
@pytest.mark.parametrize("protocol", [NAT_PMP, UPNP])
async def test_protocols_are_tried_in_turn_and_the_one_that_works_is_kept_to(
    tmp_path: Path, memory: Memory, protocol: MappingProtocol
) -> None:
    router = Router(speaks={protocol})
    async with running(controller(tmp_path, router, memory)) as node:
        await set_up(node)
        status = await eventually(node, MappingState.MAPPED)
        assert status.protocol is protocol
        tried = [each for _, each in router.asked]
        await trio.sleep(301)
        assert [each for _, each in router.asked] == [*tried, protocol]
        assert [each.protocol for each in memory.kept] == [protocol]


@pytest.mark.virtual_clock
async def test_a_router_that_refuses_is_asked_again_more_and_more_rarely(tmp_path: Path, memory: Memory) -> None:
    router = Router(speaks=set())
    async with running(controller(tmp_path, router, memory)) as node:
        await set_up(node)
        status = await eventually(node, MappingState.FAILED)
        assert status.message == "PCP: not spoken; NAT-PMP: not spoken; UPnP: no router answers a search"
        assert not status.external
        began = trio.current_time()
        await trio.sleep(8 * RETRY)
        assert [round(at - began) for at, each in router.asked if each is PCP] == [0, 30, 90, 210]
        assert memory.kept == []


@pytest.mark.virtual_clock
async def test_a_mapping_that_is_not_renewed_counts_until_its_time_is_over(tmp_path: Path, memory: Memory) -> None:
    router = Router()
    async with running(controller(tmp_path, router, memory)) as node:
        await set_up(node)
        await eventually(node, MappingState.MAPPED)
        router.is_silent = True
        found = await node.eventually(KubeSpanPortMapping, LOCAL, lambda found: bool(found.spec.message), within=400)
        assert (found.spec.state, found.spec.external) == (MappingState.MAPPED, "11.0.0.1:51820")
        began = trio.current_time()
        found = await node.eventually(
            KubeSpanPortMapping, LOCAL, lambda found: found.spec.state is MappingState.FAILED, within=400
        )
        assert not found.spec.external
        assert 295 <= trio.current_time() - began <= 305
        # It may be there still, and is asked for again as the same one.
        router.is_silent = False
        await node.eventually(
            KubeSpanPortMapping, LOCAL, lambda found: found.spec.state is MappingState.MAPPED, within=1000
        )
        assert len(router.mappings) == 1


@pytest.mark.virtual_clock
async def test_an_external_port_that_is_taken_is_left_to_whoever_has_it(tmp_path: Path, memory: Memory) -> None:
    router = Router(taken={51820})
    async with running(controller(tmp_path, router, memory)) as node:
        await set_up(node)
        status = await eventually(node, MappingState.MAPPED)
        (mapping,) = router.mappings
        assert mapping.external_port != 51820
        assert status.external == f"11.0.0.1:{mapping.external_port}"
        assert memory.kept == [mapping]


@pytest.mark.virtual_clock
async def test_switching_it_off_gives_back_and_a_change_of_the_port_moves_the_mapping(
    tmp_path: Path, memory: Memory
) -> None:
    router = Router()
    async with running(controller(tmp_path, router, memory)) as node:
        await set_up(node)
        await eventually(node, MappingState.MAPPED)
        await node.put(KubeSpanConfig, KUBESPAN_CONFIG_ID, attrs.evolve(CONFIG, listen_port=4500))
        await node.eventually(KubeSpanPortMapping, LOCAL, lambda found: found.spec.external == "11.0.0.1:4500")
        assert [each.internal_port for each in router.mappings] == [4500]
        await node.put(KubeSpanConfig, KUBESPAN_CONFIG_ID, attrs.evolve(CONFIG, port_mapping=False))
        await node.gone(KubeSpanPortMapping, LOCAL)
        await trio.testing.wait_all_tasks_blocked()
        assert (router.mappings, memory.kept) == ([], [])


@pytest.mark.virtual_clock
async def test_what_an_agent_that_was_killed_has_left_is_given_back(tmp_path: Path, memory: Memory) -> None:
    router = Router(speaks={UPNP})
    left = await router.prepare(UPNP, GATEWAY, CLIENT, 51820)
    elsewhere = attrs.evolve(left, gateway="192.0.2.99")
    others = attrs.evolve(left, external_port=7, foreign=True)
    router.mappings = [left, others]
    memory.kept[:] = [elsewhere, left, others]
    memory.path.touch()
    async with running(controller(tmp_path, router, memory)) as node:
        # Before the configuration is read nothing says that it is not wanted.
        await trio.sleep(1)
        assert left in router.mappings
        await set_up(node, attrs.evolve(CONFIG, port_mapping=False))
        await trio.sleep(1)
        # What was there before is left as it is, and what is at another router waits until this node is there again.
        assert router.mappings == [others]
        assert memory.kept == [elsewhere]


@pytest.mark.virtual_clock
async def test_the_gateway_with_the_lowest_metric_is_asked_and_one_that_appears_too(
    tmp_path: Path, memory: Memory
) -> None:
    router = Router()
    async with running(controller(tmp_path, router, memory)) as node:
        await set_up(node)
        await eventually(node, MappingState.MAPPED)
        await node.put(RouteStatus, "worse", RouteStatusSpec(gateway="192.0.2.3", priority=300))
        await node.put(RouteStatus, "inner", RouteStatusSpec(dst="10.0.0.0/8", gateway="192.0.2.4", priority=1))
        await trio.sleep(1)
        assert len(router.asked) == 1
        await node.put(RouteStatus, "better", RouteStatusSpec(gateway="192.0.2.2", priority=50))
        found = await node.eventually(KubeSpanPortMapping, LOCAL, lambda found: found.spec.gateway == "192.0.2.2")
        assert found.spec.gateway == "192.0.2.2"
        await node.destroy(RouteStatus, "better")
        await node.destroy(RouteStatus, "default")
        await node.destroy(RouteStatus, "worse")
        await node.gone(KubeSpanPortMapping, LOCAL)


@pytest.mark.virtual_clock
@pytest.mark.parametrize("is_configured", [True, False])
async def test_an_agent_that_leaves_gives_back_while_there_is_a_way_to_the_router(
    tmp_path: Path, memory: Memory, *, is_configured: bool
) -> None:
    router = Router(speaks={UPNP})
    mapping = controller(tmp_path, router, memory)
    router.mappings = [left := await router.prepare(UPNP, GATEWAY, CLIENT, 51820)]
    memory.kept[:] = [left]
    memory.path.touch()
    async with running(mapping) as node:
        await node.create(AgentLifecycle.new(AGENT_ID, AgentLifecycleSpec(pid=1)))
        # An agent that only cleans up has no configuration.
        await node.put(RouteStatus, "default", RouteStatusSpec(gateway=GATEWAY, priority=100))
        if is_configured:
            await node.put(KubeSpanConfig, KUBESPAN_CONFIG_ID, CONFIG)
            await eventually(node, MappingState.MAPPED)
        await trio.testing.wait_all_tasks_blocked()
        await node.state.teardown_and_destroy(AgentLifecycle, AGENT_ID)
        # The routes of the agent are reverted after this.
        assert (router.mappings, memory.kept, mapping.left_behind()) == ([], [], [])
        await node.destroy(RouteStatus, "default")
        await trio.sleep(1000)
        assert node.state.find(KubeSpanPortMapping, LOCAL) is None
    assert router.mappings == []


@pytest.mark.virtual_clock
async def test_an_agent_that_leaves_names_what_the_router_has_still(tmp_path: Path, memory: Memory) -> None:
    router = Router(speaks={UPNP})
    mapping = controller(tmp_path, router, memory)
    async with running(mapping) as node:
        await node.create(AgentLifecycle.new(AGENT_ID, AgentLifecycleSpec(pid=1)))
        await set_up(node)
        await eventually(node, MappingState.MAPPED)
        router.is_silent = True
        await node.state.teardown_and_destroy(AgentLifecycle, AGENT_ID)
        assert mapping.left_behind() == [f"the router {GATEWAY} still maps its UDP port 51820 to this machine"]


async def test_what_an_earlier_agent_left_is_named_by_the_record(tmp_path: Path) -> None:
    mapping = PortMappingController(tmp_path)
    assert mapping.left_behind() == []
    left = await Router(speaks={UPNP}).prepare(UPNP, GATEWAY, CLIENT, 51820)
    await Record(tmp_path / FILE_NAME).write((left, attrs.evolve(left, external_port=7, foreign=True)))
    assert mapping.left_behind() == [f"the router {GATEWAY} still maps its UDP port 51820 to this machine"]


@pytest.mark.virtual_clock
async def test_a_configuration_that_goes_gives_back(tmp_path: Path, memory: Memory) -> None:
    router = Router()
    async with running(controller(tmp_path, router, memory)) as node:
        await node.put(MachineConfig, MACHINE_CONFIG_ID, MachineConfigSpec())
        await set_up(node)
        await eventually(node, MappingState.MAPPED)
        await node.destroy(MachineConfig, MACHINE_CONFIG_ID)
        await node.destroy(KubeSpanConfig, KUBESPAN_CONFIG_ID)
        await node.gone(KubeSpanPortMapping, LOCAL)
        await trio.testing.wait_all_tasks_blocked()
        assert router.mappings == []


@pytest.mark.virtual_clock
@pytest.mark.parametrize(
    ("first", "second", "recorded"),
    [(PCP, NAT_PMP, {NAT_PMP}), (NAT_PMP, PCP, {PCP}), (PCP, UPNP, {UPNP}), (UPNP, PCP, {UPNP, PCP})],
)
async def test_what_another_protocol_had_asked_for_is_not_closed_under_what_is_granted_now(
    tmp_path: Path, memory: Memory, first: MappingProtocol, second: MappingProtocol, recorded: set[MappingProtocol]
) -> None:
    router = Router(speaks={first})
    async with running(controller(tmp_path, router, memory)) as node:
        await set_up(node)
        await eventually(node, MappingState.MAPPED)
        router.speaks, router.deaf = {first, second}, {first}
        await node.eventually(KubeSpanPortMapping, LOCAL, lambda found: found.spec.protocol is second, within=400)
        router.deaf = set()
        await trio.sleep(301)
        assert [hole(each) for each in router.mappings] == [(CLIENT, 51820, 51820)]
        # Only UPnP's may be permanent, and is given back at the end.
        assert {each.protocol for each in memory.kept} == recorded
        assert node.state.get(KubeSpanPortMapping, LOCAL).spec.protocol is second
    assert (router.mappings, memory.kept) == ([], [])


@pytest.mark.virtual_clock
async def test_a_mapping_of_another_external_port_is_given_back_once_the_router_answers(
    tmp_path: Path, memory: Memory
) -> None:
    router = Router(speaks={PCP, UPNP}, deaf={UPNP})
    left = attrs.evolve(await router.prepare(UPNP, GATEWAY, CLIENT, 51820), external_port=7)
    router.mappings = [left]
    memory.kept[:] = [left]
    memory.path.touch()
    async with running(controller(tmp_path, router, memory)) as node:
        await set_up(node)
        await eventually(node, MappingState.MAPPED)
        await trio.testing.wait_all_tasks_blocked()
        assert left in memory.kept
        router.deaf = set()
        await trio.sleep(301)
        assert memory.kept == router.mappings
        assert [(each.protocol, each.external_port) for each in memory.kept] == [(PCP, 51820)]


@pytest.mark.virtual_clock
async def test_a_router_with_another_url_after_each_restart_leaves_one_record(tmp_path: Path, memory: Memory) -> None:
    router = Router(speaks={UPNP}, url="a")
    async with running(controller(tmp_path, router, memory)) as node:
        await set_up(node)
        await eventually(node, MappingState.MAPPED)
        for url in "bcd":
            router.url = url
            await trio.sleep(301)
            assert [each.control_url for each in memory.kept] == [url]
    assert (router.mappings, memory.kept) == ([], [])


@pytest.mark.virtual_clock
async def test_a_mapping_whose_answer_was_lost_is_asked_for_by_the_same_nonce_and_given_back(
    tmp_path: Path, memory: Memory
) -> None:
    router = Router(loses=True)
    async with running(controller(tmp_path, router, memory)) as node:
        await set_up(node)
        await eventually(node, MappingState.FAILED)
        assert memory.kept == router.mappings
        await trio.sleep(3 * RETRY)
        assert len(router.nonces) == 1
        router.loses = False
        await node.eventually(KubeSpanPortMapping, LOCAL, lambda found: bool(found.spec.external), within=1000)
        assert len(router.nonces) == 1
        router.loses = True
    assert router.mappings == []


@pytest.mark.virtual_clock
async def test_nothing_is_asked_for_before_it_is_recorded(tmp_path: Path, memory: Memory) -> None:
    unrecorded = []
    router = Router(
        speaks={UPNP}, on_map=lambda mapping: None if mapping in memory.kept else unrecorded.append(mapping)
    )
    async with running(controller(tmp_path, router, memory)) as node:
        memory.failures.append(OSError(28, "No space left on device"))
        await set_up(node)
        await node.crashed(PortMappingController.name)
        await eventually(node, MappingState.MAPPED)
        assert unrecorded == []


@pytest.mark.virtual_clock
async def test_a_router_that_did_not_answer_when_it_was_switched_off_is_asked_again(
    tmp_path: Path, memory: Memory
) -> None:
    router = Router(speaks={UPNP})
    async with running(controller(tmp_path, router, memory)) as node:
        await set_up(node)
        await eventually(node, MappingState.MAPPED)
        router.is_silent = True
        await node.put(KubeSpanConfig, KUBESPAN_CONFIG_ID, attrs.evolve(CONFIG, port_mapping=False))
        await node.gone(KubeSpanPortMapping, LOCAL)
        await trio.sleep(RETRY / 2)
        assert memory.kept == router.mappings != []
        router.is_silent = False
        await trio.sleep(RETRY)
        assert (router.mappings, memory.kept) == ([], [])


@pytest.mark.virtual_clock
async def test_a_mapping_is_renewed_every_five_minutes_however_long_it_is_granted_for(
    tmp_path: Path, memory: Memory
) -> None:
    router = Router(lifetime=86400)
    async with running(controller(tmp_path, router, memory)) as node:
        await set_up(node)
        await eventually(node, MappingState.MAPPED)
        began = trio.current_time()
        await trio.sleep(601)
        assert [round(at - began) for at, _ in router.asked] == [0, 300, 600]


@pytest.mark.virtual_clock
async def test_a_node_that_is_seen_at_another_address_asks_again_but_not_all_the_time(
    tmp_path: Path, memory: Memory
) -> None:
    router = Router()
    seen = AddressStatus.within(NAMESPACE)
    async with running(controller(tmp_path, router, memory)) as node:

        async def see(address: str) -> None:
            await node.create(
                AddressStatus.new(PUBLIC_ADDRESS_ID, AddressStatusSpec(address=address), namespace=NAMESPACE)
            )

        await see("11.0.0.1/32")
        await set_up(node)
        await eventually(node, MappingState.MAPPED)
        began = trio.current_time()
        await trio.sleep(100)
        # It is seen nowhere, and then where it was.
        await node.destroy(seen, PUBLIC_ADDRESS_ID)
        await see("11.0.0.1/32")
        await trio.sleep(1)
        for number in range(2, 62):
            await node.destroy(seen, PUBLIC_ADDRESS_ID)
            await see(f"11.0.0.{number}/32")
            await trio.sleep(1)
        await trio.sleep(1000)
        assert [round(at - began) for at, _ in router.asked][:4] == [0, 101, 131, 161]
        assert [round(at - began) for at, _ in router.asked][4:6] == [461, 761]


async def test_a_full_record_drops_what_ends_by_itself_first(tmp_path: Path) -> None:
    record = Record(tmp_path / FILE_NAME)
    permanent = await Router(speaks={UPNP}).prepare(UPNP, GATEWAY, CLIENT, 51820)
    passing = [
        attrs.evolve(await Router().prepare(PCP, GATEWAY, CLIENT, 1), internal_port=n) for n in range(1, MOST + 1)
    ]
    await record.write((permanent, *passing))
    assert await record.read() == (permanent, *passing[1:])
    lasting = [attrs.evolve(permanent, internal_port=port) for port in range(1, MOST + 2)]
    await record.write((*lasting, attrs.evolve(permanent, foreign=True)))
    assert await record.read() == tuple(lasting[1:])


async def test_the_record_is_a_file_of_this_user_and_bounded(tmp_path: Path) -> None:
    record = Record(tmp_path / FILE_NAME)
    assert await record.read() == ()
    mapping = await Router().prepare(PCP, GATEWAY, CLIENT, 51820)
    many = [attrs.evolve(mapping, internal_port=port) for port in range(1, MOST + 3)]
    await record.write(many)
    assert await record.read() == tuple(many[2:])
    assert record.path.stat().st_mode & 0o777 == 0o600
    await record.write(())
    assert not record.path.exists()
    for text in ("{", "{}", "[1]", "[{}]", "[" + " " * 70000 + "]"):
        record.path.write_text(text)
        with pytest.raises(ValueError, match=r".+"):
            await record.read()


@attrs.define
class Box:
    """A router on loopback: what it answers to UDP, and over HTTP to each action."""

    control: socket.socket
    http_port: int = 0
    answers: list[bytes] = attrs.field(factory=list)
    bodies: dict[str, tuple[int, str]] = attrs.field(factory=dict)
    called: list[str] = attrs.field(factory=list)

    async def serve_datagrams(self) -> None:
        served = trio.socket.from_stdlib_socket(self.control)
        while True:
            _, source = await served.recvfrom(2048)
            for answer in self.answers:
                await served.sendto(answer, source)

    async def serve_http(self, stream: trio.SocketStream) -> None:
        data = b""
        while b"\r\n\r\n" not in data:
            received = bytes(await stream.receive_some(4096))
            if not received:
                return
            data += received
        head = data.partition(b"\r\n\r\n")[0].decode()
        action = next((name for name in self.bodies if f"#{name}" in head), "description")
        self.called.append(action)
        status, body = self.bodies[action]
        answer = f"HTTP/1.1 {status} x\r\nContent-Length: {len(body)}\r\n\r\n{body}"
        with contextlib.suppress(trio.BrokenResourceError):  # the other end may have read enough
            await stream.send_all(answer.encode())
            await stream.aclose()


@contextlib.asynccontextmanager
async def box() -> AsyncIterator[tuple[Box, Requests]]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        control.bind(("127.0.0.1", 0))
        control.settimeout(0)
        made = Box(control)
        async with trio.open_nursery() as nursery:
            (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
            made.http_port = listener.socket.getsockname()[1]
            nursery.start_soon(made.serve_datagrams)
            nursery.start_soon(partial(trio.serve_listeners, made.serve_http, [listener]))
            port = control.getsockname()[1]
            yield made, Requests(control_port=port, search_port=port, search_address="127.0.0.1", patience=10)
            nursery.cancel_scope.cancel()


def soap(action: str, **values: str) -> str:
    inner = "".join(f"<{name}>{value}</{name}>" for name, value in values.items())
    answer = f"<u:{action}Response xmlns:u='y'>{inner}</u:{action}Response>"
    return f"<s:Envelope xmlns:s='x'><s:Body>{answer}</s:Body></s:Envelope>"


def fault(code: int) -> str:
    return f"<s:Envelope xmlns:s='x'><s:Body><s:Fault><errorCode>{code}</errorCode></s:Fault></s:Body></s:Envelope>"


async def test_a_mapping_without_an_address_yet_may_be_there() -> None:
    async with box() as (made, requests):
        mapping = await requests.prepare(PCP, "127.0.0.1", "127.0.0.1", 51820)
        head = "02 81 00 00 00000258 00000007" + "00" * 12
        made.answers = [bytes.fromhex(head + mapping.nonce + "11 000000 ca6c ca6c" + "00" * 10 + "ffff 00000000")]
        with pytest.raises(MappingError, match="no address") as unclear:
            await requests.map(mapping)
        assert not unclear.value.is_certain


async def test_a_router_that_speaks_of_something_else_is_not_listened_to_for_long() -> None:
    async with box() as (made, requests):
        made.answers = [b"\x02\x81" + bytes(58)] * 64
        mapping = await requests.prepare(PCP, "127.0.0.1", "127.0.0.1", 51820)
        with pytest.raises(MappingError, match="something else"):
            await requests.map(mapping)
        # The answer of a router that speaks the older protocol ends the trial at once.
        made.answers = [bytes.fromhex("0081000100000000")]
        with pytest.raises(UnsupportedError):
            await requests.map(mapping)


async def test_upnp_takes_the_address_of_a_router_and_falls_back_to_a_permanent_mapping() -> None:
    async with box() as (made, requests):
        url = f"http://127.0.0.1:{made.http_port}"
        made.answers = [
            b"HTTP/1.1 200 OK\r\nLOCATION: http://10.0.0.1/elsewhere\r\n\r\n",
            f"HTTP/1.1 200 OK\r\nLOCATION: {url}/desc.xml\r\n\r\n".encode(),
        ]
        kind = "urn:schemas-upnp-org:service:WANIPConnection:1"
        made.bodies = {
            "description": (
                200,
                f"<r><service><serviceType>{kind}</serviceType><controlURL>/c</controlURL></service></r>",
            ),
            "GetExternalIPAddress": (200, soap("GetExternalIPAddress", NewExternalIPAddress="11.0.0.1")),
            "GetSpecificPortMappingEntry": (500, fault(714)),
            "AddPortMapping": (500, fault(725)),
        }
        mapping = await requests.prepare(UPNP, "127.0.0.1", "127.0.0.1", 51820)
        assert mapping.control_url == f"{url}/c"
        with pytest.raises(MappingError, match="only permanent"):
            await requests.map(mapping)
        assert made.called[-2:] == ["AddPortMapping", "AddPortMapping"]
        made.bodies["AddPortMapping"] = (200, soap("AddPortMapping"))
        assert (await requests.map(mapping)).endpoint == "11.0.0.1:51820"
        # One that somebody else has made for this node is used as it is, and for another node left alone.
        entry = {"NewInternalClient": "127.0.0.1", "NewInternalPort": "51820", "NewPortMappingDescription": "mine"}
        made.bodies["GetSpecificPortMappingEntry"] = (200, soap("GetSpecificPortMappingEntry", **entry))
        made.called.clear()
        assert (await requests.map(mapping)).mapping.foreign
        entry["NewInternalClient"] = "192.0.2.9"
        made.bodies["GetSpecificPortMappingEntry"] = (200, soap("GetSpecificPortMappingEntry", **entry))
        with pytest.raises(TakenError):
            await requests.map(mapping)
        await requests.give_back(mapping)
        assert not {"AddPortMapping", "DeletePortMapping"} & set(made.called)
        # One that this node was granted is its own, whatever the router has made of the description.
        entry["NewInternalClient"] = "127.0.0.1"
        made.bodies["GetSpecificPortMappingEntry"] = (200, soap("GetSpecificPortMappingEntry", **entry))
        made.bodies["DeletePortMapping"] = (200, soap("DeletePortMapping"))
        granted = attrs.evolve(mapping, granted=True)
        assert not (await requests.map(granted)).mapping.foreign
        await requests.give_back(granted)
        assert {"AddPortMapping", "DeletePortMapping"} <= set(made.called)
        # One of somebody else that has gone is not made without a record of that.
        made.bodies["GetSpecificPortMappingEntry"] = (500, fault(714))
        made.called.clear()
        with pytest.raises(MappingError, match="gone"):
            await requests.map(attrs.evolve(mapping, foreign=True))
        assert "AddPortMapping" not in made.called
        # A router whose answer has no end is read for so long.
        made.bodies["GetExternalIPAddress"] = (200, "x" * 200_000)
        with pytest.raises(MappingError, match="more than"):
            await requests.map(mapping)
        for address in ("", "0.0.0.0", "127.0.0.1", "11.0.0.1.2", "fe80::1"):
            made.bodies["GetExternalIPAddress"] = (200, soap("GetExternalIPAddress", NewExternalIPAddress=address))
            with pytest.raises(MappingError):
                await requests.map(mapping)
