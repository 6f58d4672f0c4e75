"""kubespan.RelayController with a relay on loopback, and a UDP socket that stands for WireGuard."""

import contextlib
import errno
import socket
from base64 import b64encode
from collections.abc import AsyncIterator, Callable
from ipaddress import ip_address
from types import SimpleNamespace
from typing import Any

import attrs
import pytest
import structlog
import trio
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from nodespan.controllers.kubespan import local_sockets, relaying
from nodespan.controllers.kubespan.local_sockets import LocalSocket, LocalSockets
from nodespan.controllers.kubespan.relay import RelayController
from nodespan.discovery.client import TransportError
from nodespan.discovery.endpoint_url import DialAddress
from nodespan.discovery.relay.choice import MEASURE_INTERVAL
from nodespan.discovery.relay.client import RelayClient, RelayClientOptions
from nodespan.discovery.relay.datagrams import Datagrams
from nodespan.discovery.relay.rules import RelayLimits
from nodespan.discovery.relay.wire import Description, encode_address
from nodespan.resources.kubespan import (
    KUBESPAN_CONFIG_ID,
    LOCAL,
    KubeSpanConfig,
    KubeSpanConfigSpec,
    KubeSpanIdentity,
    KubeSpanIdentitySpec,
    KubeSpanPeerSpec,
    KubeSpanPeerSpecSpec,
    KubeSpanPeerStatus,
    KubeSpanPeerStatusSpec,
    KubeSpanRelayedEndpoint,
    KubeSpanRelayStatus,
    PeerState,
    RelayState,
)
from nodespan.resources.network import NetworkProblem
from nodespan.resources.network.problem import network_problem_id
from nodespan.resources.runtime import ENVIRONMENT_ID, Environment, EnvironmentSpec
from nodespan.runtime.testing.kit import Node, running
from tests.controllers.kubespan.direct_answers import found_while_down
from tests.discovery.relay.test_relay import HOST, House, heard, hears_nothing, house, packet, world
from tests.support.process import eventually


@attrs.define
class Tried:
    """Trials without a kernel: what was asked for."""

    probed: list[str] = attrs.field(factory=list)
    sent: list[tuple[bytes, str]] = attrs.field(factory=list)
    on_probe: Callable[[], None] = lambda: None
    is_possible: bool = True

    def probe(self, address: str) -> None:
        self.probed.append(address)
        self.on_probe()

    def send(self, packet: bytes, port: int, endpoint: str) -> bool:
        if self.is_possible:
            self.sent.append((packet, endpoint))
        return self.is_possible

    async def is_tunnelled(self, endpoint: str) -> bool:
        return endpoint.startswith("10.")

    def close(self) -> None:
        pass


@attrs.define
class Machine:
    """A node with its controller, and the socket that stands for its WireGuard."""

    node: Node
    wireguard: socket.socket
    tried: Tried

    async def relayed(self, endpoint: str) -> int:
        """The local port of an endpoint, once there is one."""

        def ports() -> list[int]:
            found = self.node.state.list(KubeSpanRelayedEndpoint)
            return [int(each.id.rpartition(":")[2]) for each in found if each.spec.endpoint == endpoint]

        await eventually(lambda: bool(ports()))
        return ports()[0]

    async def endpoint(self) -> str:
        """The node's own address at the relay."""

        def own() -> list[str]:
            statuses = self.node.state.list(KubeSpanRelayStatus)
            return [each for status in statuses if status.spec.announced for each in status.spec.endpoints]

        await eventually(lambda: bool(own()))
        return own()[0]


@contextlib.asynccontextmanager
async def machine(*relays: House) -> AsyncIterator[Machine]:
    tried = Tried()
    with world() as wireguard:
        async with running(RelayController(tried)) as node:
            await node.put(Environment, ENVIRONMENT_ID, EnvironmentSpec())
            private = X25519PrivateKey.generate()
            identity = KubeSpanIdentitySpec(
                private_key=b64encode(private.private_bytes_raw()).decode(),
                public_key=b64encode(private.public_key().public_bytes_raw()).decode(),
            )
            await node.put(KubeSpanIdentity, LOCAL, identity)
            await configure(node, wireguard, *relays)
            yield Machine(node, wireguard, tried)


async def configure(node: Node, wireguard: socket.socket, *relays: House) -> None:
    urls = tuple(f"http://{relay.target.address}" for relay in relays)
    port = wireguard.getsockname()[1]
    config = KubeSpanConfigSpec(enabled=True, cluster_id="cluster", listen_port=port, relays=urls)
    await node.put(KubeSpanConfig, KUBESPAN_CONFIG_ID, config)


def port_of(endpoint: str) -> int:
    return int(endpoint.rpartition(":")[2])


async def test_what_comes_at_the_nodes_address_gets_to_wireguard_from_a_local_one_and_back() -> None:
    async with house() as at, machine(at) as here:
        endpoint = await here.endpoint()
        with world() as peer:
            source = f"{HOST}:{peer.getsockname()[1]}"
            peer.sendto(packet("hello"), (HOST, port_of(endpoint)))
            text, local = await heard(here.wireguard)
            assert text == "hello"
            assert await here.relayed(source) == local
            relayed = here.node.state.find(KubeSpanRelayedEndpoint, f"{HOST}:{local}")
            assert relayed is not None
            assert relayed.spec.relay == at.target.address
            here.wireguard.sendto(packet("welcome"), (HOST, local))
            assert await heard(peer) == ("welcome", port_of(endpoint))
            # Nobody else on this machine is heard at the local address.
            with world() as stranger:
                stranger.sendto(packet("me too"), (HOST, local))
            here.wireguard.sendto(packet("once more"), (HOST, local))
            assert await heard(peer) == ("once more", port_of(endpoint))
            assert hears_nothing(peer)


async def test_two_nodes_whose_peers_are_at_the_relay_meet_there() -> None:
    async with house() as at, machine(at) as one, machine(at) as two:
        there = await two.endpoint()
        status = KubeSpanPeerStatusSpec(endpoint=there, last_used_endpoint=there)
        await one.node.put(KubeSpanPeerSpec, "two", KubeSpanPeerSpecSpec(endpoints=(there,)))
        await one.node.put(KubeSpanPeerStatus, "two", status)
        local = await one.relayed(there)
        one.wireguard.sendto(packet("hello"), (HOST, local))
        text, back = await heard(two.wireguard)
        assert text == "hello"
        assert await two.relayed(await one.endpoint()) == back
        two.wireguard.sendto(packet("welcome"), (HOST, back))
        assert await heard(one.wireguard) == ("welcome", local)


async def test_a_peer_at_another_relay_is_reached_by_a_stream_to_that_one() -> None:
    async with house() as first, house(ports=(24100, 24199)) as second, machine(first) as one, machine(second) as two:
        mine, there = await one.endpoint(), await two.endpoint()
        await configure(one.node, one.wireguard, first, second)
        assert await one.endpoint() == mine
        await one.node.put(KubeSpanPeerSpec, "two", KubeSpanPeerSpecSpec(endpoints=(there,)))
        status = KubeSpanPeerStatusSpec(endpoint=there, last_used_endpoint=there)

        def visited() -> bool:
            found = one.node.state.find(KubeSpanRelayStatus, second.target.address)
            return found is not None and bool(found.spec.ports)

        await eventually(visited)
        await one.node.put(KubeSpanPeerStatus, "two", status)
        local = await one.relayed(there)
        one.wireguard.sendto(packet("hello"), (HOST, local))
        assert (await heard(two.wireguard))[0] == "hello"


async def test_without_relays_nothing_is_left() -> None:
    async with house() as at, machine(at) as here:
        with world() as peer:
            peer.sendto(packet("hello"), (HOST, port_of(await here.endpoint())))
            await heard(here.wireguard)
            await eventually(lambda: len(here.node.state.list(KubeSpanRelayedEndpoint)) == 1)
        await configure(here.node, here.wireguard)
        await eventually(lambda: not here.node.state.list(KubeSpanRelayStatus))
        assert not here.node.state.list(KubeSpanRelayedEndpoint)
        await eventually(lambda: at.relay.census.clients == 0)


async def test_a_relay_that_cannot_be_reached_is_shown_with_its_reason() -> None:
    with world() as nobody:
        closed = nobody.getsockname()[1]
    async with house() as at, machine(at) as here:
        await here.endpoint()
        config = KubeSpanConfigSpec(
            enabled=True, cluster_id="c", relays=(f"http://{HOST}:{closed}", f"http://{at.target.address}")
        )
        await here.node.put(KubeSpanConfig, KUBESPAN_CONFIG_ID, config)

        def failed() -> bool:
            status = here.node.state.find(KubeSpanRelayStatus, f"{HOST}:{closed}")
            return status is not None and status.spec.state is RelayState.FAILED and bool(status.spec.message)

        await eventually(failed)
        # The one that can be is used.
        await here.endpoint()


async def test_a_full_relay_is_a_problem_that_says_what_to_do_until_it_has_room() -> None:
    def problem() -> str:
        found = here.node.state.find(NetworkProblem, network_problem_id(KubeSpanRelayStatus.name, full.target.address))
        return "" if found is None else found.spec.message

    async with house(RelayLimits(clients=1)) as full, machine(full) as first:
        await first.endpoint()
        async with machine(full) as here:
            await eventually(lambda: bool(problem()))
            assert problem() == (
                f"the relay {full.target.address} has no address for this node: the relay is full: it has 1 clients. "
                "Give it more room by --relay-ports, --relay-clients or --relay-cluster-clients, "
                "or name another one in relays"
            )
            # Not even while it is asked again and again.
            await eventually(lambda: full.relay.refused["full"] > 1)
            assert problem()
            # Its only other node leaves.
            await configure(first.node, first.wireguard)
            await here.endpoint()
            await eventually(lambda: not problem())


async def test_a_problem_of_a_relay_goes_with_the_relay() -> None:
    async with house(RelayLimits(clients=1)) as full, machine(full) as first:
        await first.endpoint()
        async with machine(full) as here:
            await eventually(lambda: len(here.node.state.list(NetworkProblem)) == 1)
            await configure(here.node, here.wireguard)
            await eventually(lambda: not here.node.state.list(NetworkProblem))


async def test_a_direct_path_is_tried_by_one_probe_and_the_next_goes_over_the_relay_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(relaying, "CONFIRM", 0.05)
    monkeypatch.setattr(relaying, "_ANSWER", 0.01)
    monkeypatch.setattr(relaying, "_LOOK_INTERVAL", 0.02)
    monkeypatch.setattr("nodespan.controllers.kubespan.direct_path.FIRST", 0.0)
    async with house() as at, machine(at) as here:
        endpoint = await here.endpoint()
        with world() as peer:
            source = f"{HOST}:{peer.getsockname()[1]}"
            peer.sendto(packet("hello"), (HOST, port_of(endpoint)))
            _, local = await heard(here.wireguard)
            probes = iter(range(100))

            def probe() -> None:
                here.wireguard.sendto(packet(f"probe {next(probes)}"), (HOST, local))

            here.tried.on_probe = probe
            direct, tunnelled = "192.0.2.7:51820", "10.0.0.7:51820"
            spec = KubeSpanPeerSpecSpec(address="fd00::7", endpoints=(tunnelled, direct, endpoint))
            await here.node.put(KubeSpanPeerSpec, "peer", spec)
            status = KubeSpanPeerStatusSpec(endpoint=source, relay=at.target.address, state=PeerState.UP)
            await here.node.put(KubeSpanPeerStatus, "peer", status)
            assert await heard(peer) == ("probe 1", port_of(endpoint))
            assert [(data[4:11], to) for data, to in here.tried.sent] == [(b"probe 0", direct)]
            assert set(here.tried.probed) == {"fd00::7"}


class _Client:
    """Stands for the client of a relay."""

    def __init__(self, relay: str = "relay:1") -> None:
        self.options = SimpleNamespace(target=DialAddress(relay))
        self.sent: list[tuple[bytes, bytes]] = []

    def send(self, address: bytes, packets: list[bytes]) -> None:
        self.sent.extend((address, each) for each in packets)


class _Connected(_Client):
    """Stands for the client of a relay that answers."""

    is_connected, is_refused, failure, endpoints = True, False, "", ("203.0.113.9:51001",)

    async def run(self) -> None:
        await trio.sleep_forever()


@pytest.mark.virtual_clock
async def test_a_peer_that_is_down_is_looked_for_at_a_relay_though_only_bytes_sent_are_counted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    own = "192.0.2.7:51820"

    async def measured(*_: object) -> tuple[float, Description]:
        return 0.01, Description(1, (51000, 51999), (ip_address("192.0.2.7"),))

    def client(options: RelayClientOptions, *_: object, **__: object) -> _Connected:
        return _Connected(options.target.address)

    monkeypatch.setattr(relaying, "measure", measured)
    monkeypatch.setattr(relaying, "RelayClient", client)
    monkeypatch.setattr(relaying, "_LOOK_INTERVAL", 30.0)
    async with running(RelayController(Tried())) as node:
        key = b64encode(bytes(32)).decode()
        await node.put(KubeSpanIdentity, LOCAL, KubeSpanIdentitySpec(private_key=key, public_key=key))
        config = KubeSpanConfigSpec(enabled=True, cluster_id="c", relays=("http://relay.example.org:1",))
        await node.put(KubeSpanConfig, KUBESPAN_CONFIG_ID, config)
        await node.put(KubeSpanPeerSpec, "peer", KubeSpanPeerSpecSpec(endpoints=(own,)))
        # A measurement looks at all peers, too: none is to come when the endpoint expires.
        await trio.sleep(MEASURE_INTERVAL / 2)
        up = KubeSpanPeerStatusSpec(endpoint=own, last_used_endpoint="192.0.2.8:51820", state=PeerState.UP)
        down = attrs.evolve(up, last_used_endpoint=own, state=PeerState.DOWN)
        found = await found_while_down(node, up, down, lambda: len(node.state.list(KubeSpanRelayedEndpoint)))
    assert set(found[:-2]) == {0}
    assert found[-1] == 1


@pytest.mark.virtual_clock
async def test_a_relay_that_claims_the_address_of_a_peer_that_answers_directly_is_not_believed() -> None:
    ctx = SimpleNamespace(log=structlog.get_logger())
    settings = SimpleNamespace(relays=("http://evil.example.org:1", "http://203.0.113.9:1"), port=51820)
    work: Any = relaying.Relaying(ctx, settings, None, None, wall=lambda: 0.0, random=None)  # type: ignore[arg-type]
    evil, honest = work._relays.values()
    own, at_relay = "192.0.2.7:51820", "203.0.113.9:51820"
    spec = KubeSpanPeerSpecSpec(endpoints=(own,))
    status = KubeSpanPeerStatusSpec(endpoint=own, last_used_endpoint=own, state=PeerState.UP, receive_bytes=1)
    with work._datagrams:
        for endpoint in (own, at_relay):
            for received in (1, 2):
                seen = attrs.evolve(status, endpoint=endpoint, last_used_endpoint=endpoint, receive_bytes=received)
                work.note("peer", spec, seen)
        evil.description = Description(1, (1024, 65535), (ip_address("192.0.2.7"),))
        honest.description = Description(1, (51000, 51999), (ip_address("203.0.113.9"),))
        # One that was dialled at an address does have it: a peer that was reached there by UDP is so by the stream now.
        assert work.relay_of(at_relay) == "203.0.113.9:1"
        assert work.relay_of("192.0.2.7:51821") == "evil.example.org:1"
        assert work.relay_of(own) == ""
        await trio.sleep(599)
        assert work.relay_of(own) == ""
        await trio.sleep(2)
        # It has not answered for long: where it is may be at a relay by now.
        assert work.relay_of(own) == "evil.example.org:1"


@pytest.mark.virtual_clock
async def test_a_peer_waits_for_its_address_at_a_relay_while_the_device_has_another(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ctx = SimpleNamespace(log=structlog.get_logger())
    settings = SimpleNamespace(relays=("http://relay.example.org:1",), port=51820)
    work: Any = relaying.Relaying(ctx, settings, None, None, wall=lambda: 0.0, random=None)  # type: ignore[arg-type]
    at_relay, direct = "203.0.113.9:51820", "192.0.2.7:51820"

    async def measured(*_: object) -> tuple[float, Description]:
        return 0.01, Description(1, (51000, 51999), (ip_address("203.0.113.9"),))

    monkeypatch.setattr(relaying, "measure", measured)
    spec = KubeSpanPeerSpecSpec(endpoints=(direct, at_relay))
    status = KubeSpanPeerStatusSpec(endpoint=direct, last_used_endpoint=at_relay, state=PeerState.UNKNOWN)
    with work._datagrams:
        work.note("peer", spec, status)
        assert work._waiting == set()
        # Nothing of the peer changes when the relay says which addresses it has.
        await work._measure(work._relays["relay.example.org:1"])
        assert work._waiting == {"peer"}
        work.note("peer", spec, attrs.evolve(status, state=PeerState.DOWN))
        assert work._waiting == {"peer"}
        work.note("peer", spec, attrs.evolve(status, state=PeerState.UP))
        assert work._waiting == set()


def test_an_address_is_requested_by_this_node_only() -> None:
    changed, client = list[str](), _Client()
    datagrams: Datagrams[LocalSocket] = Datagrams(connected=True)
    relay: RelayClient = client  # type: ignore[assignment]
    with world() as wireguard, datagrams:
        sockets = LocalSockets(datagrams, wireguard.getsockname()[1], lambda: 0.0, changed.append, lambda _: None)
        peer = encode_address(("192.0.2.7", 51820))
        sockets.receive(relay, peer, [packet("from there, it says")])
        found = sockets.find("192.0.2.7:51820", "relay:1")
        assert found is not None
        assert not found.is_requested
        sockets.request(relay, peer)
        sockets.request(relay, peer)
        assert found.is_requested
        assert changed == [found.local] * 2


def test_local_addresses_are_bounded_and_one_that_is_answered_is_not_driven_out() -> None:
    now, changed, failures = 0.0, list[str](), list[OSError]()
    stand_in = _Client()
    client: RelayClient = stand_in  # type: ignore[assignment]
    datagrams: Datagrams[LocalSocket] = Datagrams(connected=True)
    with world() as wireguard, datagrams:
        sockets = LocalSockets(
            datagrams, wireguard.getsockname()[1], lambda: now, changed.append, failures.append, most=4
        )
        peer = encode_address(("192.0.2.7", 51820))
        sockets.receive(client, peer, [packet("hello")])
        used = sockets.find("192.0.2.7:51820", "relay:1")
        assert used is not None
        used.received([packet("welcome")])
        for number in range(1, 50):
            now += 0.1
            sockets.receive(client, encode_address(("198.51.100.1", number)), [packet("made up")])
        assert len(sockets.by_local) == 4
        assert sockets.find("192.0.2.7:51820", "relay:1") is used
        now += 1000
        sockets.reclaim()
        assert not sockets.by_local
        assert sockets.find("192.0.2.7:51820", "relay:1") is None
        assert len(changed) == 100
        assert not failures
        assert stand_in.sent == [(peer, packet("welcome"))]


def test_strangers_do_not_make_more_than_so_many_local_addresses_a_second() -> None:
    now, changed = 0.0, list[str]()
    client: RelayClient = _Client()  # type: ignore[assignment]
    datagrams: Datagrams[LocalSocket] = Datagrams(connected=True)
    with world() as wireguard, datagrams:
        sockets = LocalSockets(
            datagrams, wireguard.getsockname()[1], lambda: now, changed.append, lambda _: None, most=4
        )
        for number in range(1, 401):
            sockets.receive(client, encode_address(("198.51.100.1", number)), [packet("made up")])
        assert (sockets.refused, len(changed)) == (144, 256 + 252)
        # One that this node wants is opened all the same, and a second later there is room for others.
        assert sockets.open(client, encode_address(("192.0.2.7", 51820))) is not None
        now += 1
        sockets.receive(client, encode_address(("198.51.100.2", 1)), [packet("made up")])
        assert sockets.refused == 144


def test_an_endpoint_that_is_reached_over_two_relays_has_a_local_address_for_each() -> None:
    former: RelayClient = _Client("former:1")  # type: ignore[assignment]
    home: RelayClient = _Client("home:1")  # type: ignore[assignment]
    datagrams: Datagrams[LocalSocket] = Datagrams(connected=True)
    with world() as wireguard, datagrams:
        sockets = LocalSockets(datagrams, wireguard.getsockname()[1], lambda: 0.0, lambda _: None, lambda _: None)
        peer = encode_address(("192.0.2.7", 51820))
        opened = [sockets.open(client, peer) for client in (former, home)]
        assert [sockets.find("192.0.2.7:51820", relay) for relay in ("former:1", "home:1", "else:1")] == [*opened, None]


@pytest.mark.virtual_clock
async def test_relays_that_are_all_down_do_not_have_a_node_announce_one_after_the_other() -> None:
    ctx = SimpleNamespace(log=structlog.get_logger())
    settings = SimpleNamespace(relays=("http://a:1", "http://b:1"), port=51820)
    work: Any = relaying.Relaying(ctx, settings, None, None, wall=lambda: 0.0, random=None)  # type: ignore[arg-type]
    began = trio.current_time()
    down = SimpleNamespace(is_connected=False, since=began)
    homes = []

    def client_of(name: str) -> None:
        # Neither connects.
        work._relays[name].client = work._relays[name].client or down

    work._client_of = client_of
    with work._datagrams:
        for _ in range(120):
            work._choose()
            homes.append(work._home)
            await trio.sleep(1)
        assert homes == ["a:1"] * 10 + ["b:1"] * 110
        # One that is there again is used, and then it is home.
        work._relays["a:1"].client = SimpleNamespace(is_connected=True, since=trio.current_time())
        work._choose()
        assert work._home == "a:1"


@pytest.mark.virtual_clock
async def test_a_relay_that_came_late_is_a_reserve_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    ctx = SimpleNamespace(log=structlog.get_logger())
    settings = SimpleNamespace(relays=("http://a:1", "http://b:1"), port=51820)
    work: Any = relaying.Relaying(ctx, settings, None, None, wall=lambda: 0.0, random=None)  # type: ignore[arg-type]
    running_relays = {"a:1"}

    async def measured(target: DialAddress, _channels: object) -> tuple[float, Description]:
        if target.address not in running_relays:
            raise TransportError("UNAVAILABLE", "connection refused")
        return 0.01, Description(1, (21000, 24999), ())

    def client_of(name: str) -> None:
        work._relays[name].client = SimpleNamespace(is_connected=name in running_relays, since=trio.current_time())

    monkeypatch.setattr(relaying, "measure", measured)
    work._client_of = client_of
    with work._datagrams:
        for relay in work._relays.values():
            await work._measure(relay)
        work._choose()
        assert work._home == "a:1"
        running_relays.add("b:1")
        await trio.sleep(30)
        await work._measure(work._relays["b:1"])
        client_of("a:1")
        work._relays["a:1"].client.is_connected = False
        await trio.sleep(10)
        work._choose()
        assert work._home == "b:1"


def test_a_machine_without_a_free_file_is_told_and_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    changed, failures = list[str](), list[OSError]()
    client: RelayClient = _Client()  # type: ignore[assignment]
    datagrams: Datagrams[LocalSocket] = Datagrams(connected=True)
    with datagrams:
        sockets = LocalSockets(datagrams, 51820, lambda: 0.0, changed.append, failures.append)

        def refuse(_port: int) -> socket.socket:
            raise OSError(24, "Too many open files")

        monkeypatch.setattr(local_sockets, "_open", refuse)
        sockets.receive(client, encode_address(("192.0.2.7", 51820)), [packet("hello")])
        assert [error.errno for error in failures] == [24]
        assert (sockets.refused, changed) == (1, [])


def test_a_socket_that_the_kernel_does_not_watch_is_closed_and_not_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    changed, failures = list[str](), list[OSError]()
    client: RelayClient = _Client()  # type: ignore[assignment]
    datagrams: Datagrams[LocalSocket] = Datagrams(connected=True)
    with world() as wireguard, datagrams:
        sockets = LocalSockets(datagrams, wireguard.getsockname()[1], lambda: 0.0, changed.append, failures.append)
        opened: list[socket.socket] = []
        open_really = local_sockets._open

        def note(port: int) -> socket.socket:
            opened.append(open_really(port))
            # A descriptor that epoll takes no second time.
            datagrams._epoll.register(opened[-1].fileno())
            return opened[-1]

        monkeypatch.setattr(local_sockets, "_open", note)
        sockets.receive(client, encode_address(("192.0.2.7", 51820)), [packet("hello")])
        assert [error.errno for error in failures] == [errno.EEXIST]
        assert (sockets.by_local, changed, opened[0].fileno()) == ({}, [], -1)
