"""A relay on loopback, its clients, and the world around: plain UDP sockets that send what looks like WireGuard."""

import contextlib
import itertools
import random
import socket
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from ipaddress import ip_address

import attrs
import pytest
import structlog
import trio
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from nodespan.discovery.endpoint_url import DialAddress
from nodespan.discovery.relay import wire
from nodespan.discovery.relay.client import RelayClient, RelayClientOptions, measure
from nodespan.discovery.relay.proof import Challenger, prove
from nodespan.discovery.relay.relay import Relay, RelayOptions
from nodespan.discovery.relay.rules import RelayLimits
from nodespan.discovery.relay.turns import Turns
from nodespan.discovery.transport import GrpcTransport
from nodespan.runtime.api.grpc import Call as ServedCall
from nodespan.runtime.api.grpc import Code, Inbox, Limits, RPCError, Server, Service, duplex, frame, methods
from nodespan.runtime.api.grpc.client import Call, CallError, ChannelOptions
from tests.support.deadlines import PATIENCE
from tests.support.process import eventually

HOST = "127.0.0.1"
PORTS = (24000, 24099)


def packet(text: str, size: int = 64) -> bytes:
    return b"\x04\0\0\0" + text.encode().ljust(size - 4, b"\0")


def text_of(data: bytes) -> str:
    return data[4:].rstrip(b"\0").decode()


@attrs.define
class Node:
    """A client of the relay and what it received: (source, text)."""

    client: RelayClient
    received: list[tuple[str, str]]
    changed: int = 0

    @property
    def port(self) -> int:
        assert self.client.grant is not None
        return self.client.grant.port

    def send(self, port: int, *texts: str, host: str = HOST) -> None:
        self.client.send(wire.encode_address((host, port)), [packet(text) for text in texts])


@attrs.define
class House:
    """A relay that runs."""

    relay: Relay
    target: DialAddress
    nursery: trio.Nursery
    stop: Callable[[], None]
    roots: bytes = b""

    def transport(self) -> GrpcTransport:
        """What nodes dial it with."""
        return GrpcTransport(lambda: self.roots, dict)

    def node(self, private: X25519PrivateKey | None = None, *, port: int = 0, cluster: str = "cluster") -> Node:
        private = private or X25519PrivateKey.generate()
        received: list[tuple[str, str]] = []

        def receive(address: bytes, packets: Sequence[bytes]) -> None:
            host, number = wire.decode_address(address)
            received.extend((f"{host}:{number}", text_of(each)) for each in packets)

        options = RelayClientOptions(
            target=self.target,
            private_key=private.private_bytes_raw(),
            public_key=private.public_key().public_bytes_raw(),
            cluster_id=cluster,
        )
        client = RelayClient(
            options,
            self.transport(),
            receive,
            on_change=lambda: None,
            log=structlog.get_logger(),
            random=random.Random(0),
            port=port,
        )
        self.nursery.start_soon(client.run)
        return Node(client, received)

    async def connected(self, *nodes: Node) -> None:
        await eventually(lambda: all(node.client.is_connected for node in nodes))


@contextlib.asynccontextmanager
async def house(
    limits: RelayLimits | None = None, port: int = 0, ports: tuple[int, int] = PORTS
) -> AsyncIterator[House]:
    settings = RelayOptions(ports=ports, addresses=(ip_address(HOST),), limits=limits or RelayLimits())
    relay = Relay(settings, structlog.get_logger())
    service = Service(methods=methods(*relay.methods()), log=structlog.get_logger(), limits=Limits(max_message=1 << 18))
    async with trio.open_nursery() as nursery:
        listeners = await trio.open_tcp_listeners(port, host=HOST)
        number = listeners[0].socket.getsockname()[1]
        serving = trio.CancelScope()

        async def serve(task_status: trio.TaskStatus[None]) -> None:
            with serving:
                async with trio.open_nursery() as inner:
                    await inner.start(lambda task_status: relay.run(both_families=False, task_status=task_status))
                    server = Server(service)
                    await inner.start(lambda task_status: server.serve(listeners, grace=0, task_status=task_status))
                    task_status.started()

        await nursery.start(serve)
        yield House(relay, DialAddress(f"{HOST}:{number}", insecure=True), nursery, serving.cancel)
        nursery.cancel_scope.cancel()


@contextlib.contextmanager
def world() -> Iterator[socket.socket]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as opened:
        opened.bind((HOST, 0))
        opened.settimeout(0)
        yield opened


async def heard(opened: socket.socket) -> tuple[str, int]:
    with trio.fail_after(PATIENCE):
        await trio.lowlevel.wait_readable(opened)
    data, where = opened.recvfrom(10_000)
    return text_of(data), where[1]


def hears_nothing(opened: socket.socket) -> bool:
    try:
        opened.recv(10_000)
    except BlockingIOError:
        return True
    return False


async def test_what_comes_in_at_a_clients_port_goes_down_its_stream_and_the_answer_out_from_there() -> None:
    async with house() as at:
        node = at.node()
        await at.connected(node)
        with world() as peer:
            mine = peer.getsockname()[1]
            peer.sendto(packet("hello"), (HOST, node.port))
            await eventually(lambda: node.received == [(f"{HOST}:{mine}", "hello")])
            node.send(mine, "welcome")
            assert await heard(peer) == ("welcome", node.port)
        assert at.relay.packets == {"in": 1, "out": 1}


async def test_nobody_is_sent_a_packet_who_did_not_send_one_before() -> None:
    async with house() as at:
        node, other = at.node(), at.node()
        await at.connected(node, other)
        with world() as victim, world() as peer:
            node.send(victim.getsockname()[1], "unasked")
            await eventually(lambda: at.relay.dropped["unknown"] == 1)
            # That it has sent to another client's port changes nothing, nor does what is not WireGuard.
            victim.sendto(packet("to the other"), (HOST, other.port))
            victim.sendto(b"GET / HTTP/1.1\r\n" + bytes(64), (HOST, node.port))
            await eventually(lambda: len(other.received) == 1 and at.relay.dropped["foreign"] == 1)
            node.send(victim.getsockname()[1], "unasked again")
            await eventually(lambda: at.relay.dropped["unknown"] == 2)
            peer.sendto(packet("ping"), (HOST, node.port))
            await eventually(lambda: bool(node.received))
            node.send(peer.getsockname()[1], "pong")
            assert await heard(peer) == ("pong", node.port)
            assert hears_nothing(victim)


async def test_two_clients_meet_inside_the_relay() -> None:
    async with house() as at:
        one, two = at.node(), at.node()
        await at.connected(one, two)
        one.send(two.port, "a", "b")
        await eventually(lambda: two.received == [(f"{HOST}:{one.port}", "a"), (f"{HOST}:{one.port}", "b")])
        two.send(one.port, "c")
        await eventually(lambda: one.received == [(f"{HOST}:{two.port}", "c")])
        assert at.relay.packets == {"across": 3}
        # Neither to itself, nor to a port that nobody has.
        one.send(one.port, "echo")
        one.send(PORTS[1] + 1, "void")
        await eventually(lambda: at.relay.dropped == {"absent": 1, "unknown": 1})


async def test_a_client_keeps_its_port_when_it_comes_again_and_its_former_stream_ends() -> None:
    key = X25519PrivateKey.generate()
    async with house() as at:
        first = at.node(key)
        await at.connected(first)
        port = first.port
        again = at.node(key)
        await at.connected(again)
        assert again.port == port
        assert at.relay.census.clients == 1
        assert at.relay.census.clusters == 1


async def test_a_relay_that_was_restarted_gives_the_same_port_again() -> None:
    async with house() as at:
        node = at.node()
        await at.connected(node)
        port, number = node.port, int(at.target.port)
        at.stop()
        await eventually(lambda: not node.client.is_connected)
        assert node.client.endpoints == (f"{HOST}:{port}",)
        async with house(port=number) as restarted:
            await at.connected(node)
            assert node.port == port
            await eventually(lambda: restarted.relay.census.clients == 1)
        at.nursery.cancel_scope.cancel()


async def _ask(at: House, hello: wire.Hello, proof: Callable[[wire.Challenge], bytes]) -> Code:
    async def talk(call: Call[bytes]) -> None:
        await call.send(hello.encode())
        challenge = wire.Challenge.decode(await call.receive() or b"")
        await call.send(wire.encode_proof(proof(challenge)))
        await call.receive()

    async with GrpcTransport(environment=dict).channel(at.target, ChannelOptions()) as channel:
        try:
            async with channel.open(wire.METHOD, bytes, timeout=PATIENCE) as call:
                await talk(call)
        except CallError as error:
            return error.code
    return Code.OK


async def test_a_client_without_the_private_key_is_granted_nothing() -> None:
    async with house() as at:
        key = X25519PrivateKey.generate().public_key().public_bytes_raw()
        hello = wire.Hello(key=key, cluster=wire.cluster_tag("c"), name=at.target.address)
        assert await _ask(at, hello, lambda _: bytes(32)) is Code.UNAUTHENTICATED
        elsewhere = attrs.evolve(hello, name="another.example.org:443")
        assert await _ask(at, elsewhere, lambda _: bytes(32)) is Code.PERMISSION_DENIED
        assert at.relay.census.clients == 0


@pytest.mark.parametrize(
    "message",
    [
        b"",
        b"\x10",
        b"\x10\x09abc",
        wire.packets_message(bytes(7), [b"x" * 40]),
        # More than any client takes: it must not be passed on as it is.
        wire.packets_message(wire.encode_address((HOST, PORTS[0])), [packet("large", 9000)] * 12),
        # The least that a packet takes of a message, as often as there is room for.
        wire.packets_message(wire.encode_address((HOST, PORTS[0])), [packet("", 32)] * 1900),
    ],
    ids=["empty", "no address", "family 9", "no WireGuard", "too large", "too many"],
)
async def test_a_client_that_sends_nonsense_loses_its_stream_and_no_other_does(message: bytes) -> None:
    async with house() as at:
        node = at.node()
        await at.connected(node)
        key = X25519PrivateKey.generate()
        hello = wire.Hello(
            key=key.public_key().public_bytes_raw(), cluster=wire.cluster_tag("c"), name=at.target.address
        )
        async with (
            GrpcTransport(environment=dict).channel(at.target, ChannelOptions()) as channel,
            channel.open(wire.METHOD, bytes, timeout=PATIENCE) as call,
        ):
            await call.send(hello.encode())
            challenge = wire.Challenge.decode(await call.receive() or b"")
            await call.send(wire.encode_proof(prove(key.private_bytes_raw(), hello, challenge)))
            assert wire.Grant.decode(await call.receive() or b"").port != node.port
            await call.send(message)
            with pytest.raises(CallError) as caught:
                await call.receive()
        assert caught.value.code is Code.INVALID_ARGUMENT
        await eventually(lambda: at.relay.census.clients == 1)
        assert node.client.is_connected


async def test_a_burst_of_jumbo_packets_from_the_world_breaks_no_stream() -> None:
    async with house() as at:
        node = at.node()
        await at.connected(node)
        with world() as peer:
            # All lie in the socket when the relay reads it.
            for number in range(10):
                peer.sendto(packet(str(number), 9000), (HOST, node.port))
            await eventually(lambda: [text for _, text in node.received] == [str(number) for number in range(10)])
        assert (node.client.is_connected, node.client.failure) == (True, "")


async def test_a_node_sends_jumbo_packets_in_several_messages_and_none_that_the_relay_refuses() -> None:
    async with house() as at:
        one, two = at.node(), at.node()
        await at.connected(one, two)
        jumbo = [packet(str(number), 9000) for number in range(32)]
        one.client.send(wire.encode_address((HOST, two.port)), [*jumbo, packet("huge", 9217), b"GET /".ljust(64)])
        await eventually(lambda: len(two.received) == 32)
        assert [text for _, text in two.received] == [str(number) for number in range(32)]
        assert one.client.dropped == 2
        assert one.client.is_connected
        assert two.client.is_connected


async def test_what_a_client_sends_at_once_is_carried_in_pieces_and_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    async with house() as at:
        one, two = at.node(), at.node()
        await at.connected(one, two)
        served = next(client for client in at.relay.clients if client.port == one.port)
        carried: list[int] = []
        between = Turns.next

        async def turn(turns: Turns) -> None:
            carried.append(at.relay.packets.total())
            await between(turns)

        monkeypatch.setattr(Turns, "next", turn)
        with world() as peer:
            peer.sendto(packet("first", 32), (HOST, one.port))
            await eventually(lambda: len(one.received) == 1)
            # As a read brings it, of a client that makes as much work of 64 KiB as it can.
            texts = [str(number) for number in range(500)]
            other, outside = wire.encode_address((HOST, two.port)), wire.encode_address(peer.getsockname())
            for text in texts:
                served.unread.append(wire.packets_message(other, [packet(text, 32)]))
                if int(text) < 100:  # as many as the socket keeps
                    served.unread.append(wire.packets_message(outside, [packet(text, 32)]))
            carried.append(at.relay.packets.total())
            await at.relay.pace(served, 0)
            await eventually(lambda: len(two.received) == 500)
            assert [text for _, text in two.received] == texts
            assert [text_of(peer.recv(100)) for _ in range(100)] == texts[:100]
    steps = [after - before for before, after in itertools.pairwise(carried)]
    assert max(steps) <= 65
    assert sum(steps) > 500


async def test_a_node_may_send_as_much_in_a_round_trip_as_the_relay_takes_of_it_in_a_moment() -> None:
    def window(node: Node) -> int:
        assert node.client._call is not None
        connection, stream = node.client._call._opened or pytest.fail("the call has not begun")
        return connection._machine.local_flow_control_window(stream.id)

    for rate, expected in ((12.5e6, 1 << 20), (2e6, 200_000), (1e5, 65_535)):
        async with house(RelayLimits(rate=rate)) as at:
            node = at.node()
            await at.connected(node)
            await eventually(lambda: window(node) > expected - 1000)  # noqa: B023
            assert window(node) <= expected


async def test_what_all_may_have_under_way_is_bounded_and_given_back() -> None:
    async with house(RelayLimits(total_window=2 << 20)) as at:
        nodes = []
        for expected in (256 << 10, 224 << 10, 196 << 10):
            nodes.append(at.node())
            await at.connected(*nodes)
            assert at.relay.clients[-1].window == expected
        before = at.relay.windows
        assert before == (256 + 224 + 196) << 10
        # One that comes again has given back what it had.
        first = at.relay.clients[0]
        at.node(X25519PrivateKey.from_private_bytes(nodes[0].client.options.private_key))
        await eventually(lambda: first not in at.relay.clients and len(at.relay.clients) == 3)
        assert at.relay.windows == sum(client.window for client in at.relay.clients) < 2 << 20
    assert at.relay.windows == 0


@pytest.mark.parametrize(("used", "window"), [(0, 1 << 20), (58 << 20, 786432), (64 << 20, 0), (63 << 20, 131072)])
def test_a_late_client_has_the_usual_window(used: int, window: int) -> None:
    relay = Relay(RelayOptions(), structlog.get_logger(), now=lambda: 0.0)
    relay.windows = used
    assert relay._free_window() == window


async def test_a_relay_that_sends_nonsense_with_the_grant_is_one_that_fails() -> None:
    async def carry(inbox: Inbox, call: ServedCall) -> None:
        await inbox.receive()
        await call.send_framed(frame(Challenger().challenge.encode()))
        await inbox.receive()
        grant = wire.Grant(PORTS[0], (ip_address(HOST),), 1000)
        # Both are there when the node takes the first.
        await call.send_framed(frame(grant.encode()) + frame(b"\x20"))
        await inbox.receive()

    async with house() as at, trio.open_nursery() as nursery:
        server = Server(Service(methods=methods(duplex(wire.METHOD, carry)), log=structlog.get_logger()))
        listeners = await trio.open_tcp_listeners(0, host=HOST)
        await nursery.start(lambda task_status: server.serve(listeners, grace=0, task_status=task_status))
        number = listeners[0].socket.getsockname()[1]
        node = attrs.evolve(at, target=DialAddress(f"{HOST}:{number}", insecure=True)).node()
        await eventually(lambda: "unknown kind" in node.client.failure)
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize(
    ("is_granted", "too_much"), [(True, b""), (False, bytes(wire.LARGEST_MESSAGE + 2048))], ids=["granted", "too large"]
)
async def test_what_else_is_too_much_does_not_say_that_the_relay_has_no_address(
    is_granted: bool, too_much: bytes
) -> None:
    calls = itertools.count(1)

    async def carry(inbox: Inbox, call: ServedCall) -> None:
        await inbox.receive()
        if next(calls) > 1:
            # What was said of the first stays.
            await trio.sleep_forever()
        if not is_granted:
            await call.send_framed(frame(too_much))
            await inbox.receive()
            return
        await call.send_framed(frame(Challenger().challenge.encode()))
        await inbox.receive()
        await call.send_framed(frame(wire.Grant(PORTS[0], (ip_address(HOST),), 1000).encode()))
        raise RPCError(Code.RESOURCE_EXHAUSTED, "the server has too much to do")

    async with house() as at, trio.open_nursery() as nursery:
        limits = Limits(max_message=1 << 18)
        server = Server(Service(methods=methods(duplex(wire.METHOD, carry)), log=structlog.get_logger(), limits=limits))
        listeners = await trio.open_tcp_listeners(0, host=HOST)
        await nursery.start(lambda task_status: server.serve(listeners, grace=0, task_status=task_status))
        number = listeners[0].socket.getsockname()[1]
        node = attrs.evolve(at, target=DialAddress(f"{HOST}:{number}", insecure=True)).node()
        await eventually(lambda: bool(node.client.failure))
        assert ("too much to do" if is_granted else "are taken") in node.client.failure
        assert not node.client.is_refused
        nursery.cancel_scope.cancel()


async def test_a_full_relay_says_so_and_takes_the_next_when_one_has_left() -> None:
    async with house(RelayLimits(clients=1)) as at:
        async with trio.open_nursery() as nursery:
            first = attrs.evolve(at, nursery=nursery).node()
            await at.connected(first)
            second = at.node()
            await eventually(lambda: "full" in second.client.failure)
            assert second.client.is_refused
            assert at.relay.refused["full"] >= 1
            nursery.cancel_scope.cancel()
        second.client.reconnect()
        await at.connected(second)


async def test_what_waits_for_a_client_that_does_not_read_is_bounded_and_the_oldest_is_dropped() -> None:
    limits = RelayLimits(queue=64 << 10, rate=1e9, cluster_rate=1e9, total_rate=1e9)
    async with house(limits) as at:
        private = X25519PrivateKey.generate()
        hello = wire.Hello(
            key=private.public_key().public_bytes_raw(), cluster=wire.cluster_tag("c"), name=at.target.address
        )
        sender = at.node()
        await at.connected(sender)
        async with (
            GrpcTransport(environment=dict).channel(at.target, ChannelOptions(window=64 << 10)) as channel,
            channel.open(wire.METHOD, bytes) as call,
        ):
            await call.send(hello.encode())
            challenge = wire.Challenge.decode(await call.receive() or b"")
            await call.send(wire.encode_proof(prove(private.private_bytes_raw(), hello, challenge)))
            port = wire.Grant.decode(await call.receive() or b"").port
            number = 0
            with trio.fail_after(PATIENCE):
                while at.relay.dropped["queue"] < 20:
                    sender.client.send(
                        wire.encode_address((HOST, port)), [packet(str(number + each), 1400) for each in range(20)]
                    )
                    number += 20
                    await trio.lowlevel.checkpoint()
            assert at.relay.queued <= 64 << 10
            # Once it reads, what it finds at the end is what was sent last.
            last = b""
            with trio.fail_after(PATIENCE):
                while str(number - 1) != text_of(last):
                    message = await call.receive()
                    assert message is not None
                    last = wire.packets_of(message, 8)[-1]
            await eventually(lambda: at.relay.queued == 0)


async def test_a_client_is_slowed_down_to_its_rate_and_a_flood_from_the_world_is_dropped() -> None:
    limits = RelayLimits(rate=20_000, burst=0.5)
    async with house(limits) as at:
        one, two = at.node(), at.node()
        await at.connected(one, two)
        with world() as flood:
            for number in range(200):
                flood.sendto(packet(str(number), 1000), (HOST, one.port))
            await eventually(lambda: at.relay.dropped["rate"] > 0)
            came = len(one.received)
        assert came * 1000 <= 20_000
        # The flood has used nothing of what the client may send.
        one.send(two.port, "still here")
        await eventually(lambda: [text for _, text in two.received] == ["still here"])


async def test_the_round_trip_to_a_relay_is_measured() -> None:
    async with house() as at:
        round_trip, described = await measure(at.target, GrpcTransport(environment=dict))
        assert 0 < round_trip < PATIENCE
        assert described == wire.Description(100, PORTS, (ip_address(HOST),))
        assert described.has((HOST, PORTS[0]))
        assert not described.has((HOST, PORTS[1] + 1))
        assert not described.has(("192.0.2.1", PORTS[0]))
        assert at.relay.census.clients == 0


async def test_small_packets_of_a_client_are_not_for_free() -> None:
    async with house() as at:
        one, two = at.node(), at.node()
        await at.connected(one, two)
        served = next(client for client in at.relay.clients if client.port == one.port)
        address = wire.encode_address((HOST, two.port))
        before = served.unspent
        at.relay._from_client(served, wire.packets_message(address, [packet(str(each), 32) for each in range(9)]), {})
        assert served.unspent - before == 10 * 64


async def test_what_clients_send_takes_nothing_of_what_comes_for_them_from_the_world() -> None:
    limits = RelayLimits(rate=1e6, cluster_rate=1e6, total_rate=1e6)
    async with house(limits) as at:
        node = at.node()
        await at.connected(node)
        served = at.relay.clients[0]
        # Others of the cluster have sent so much that they wait for an hour.
        for rates in at.relay._rates(served):
            rates.outward.spend(3.6e9, trio.current_time())
        with world() as peer:
            peer.sendto(packet("hello"), (HOST, node.port))
            await eventually(lambda: [text for _, text in node.received] == ["hello"])


async def _settled(at: House, node: Node) -> None:
    await eventually(lambda: at.relay.dropped["rate"] + at.relay.packets["in"] == 32)
    await eventually(lambda: len(node.received) == at.relay.packets["in"])


async def test_of_a_read_above_a_low_rate_some_packets_are_carried() -> None:
    # A quarter of a second is less than one read, and at the lowest rates than one packet.
    async with house(RelayLimits(rate=125_000)) as at, house(RelayLimits(rate=10), ports=(24100, 24109)) as slow:
        for relay, most in ((at, 24), (slow, 7)):
            node = relay.node()
            await relay.connected(node)
            with world() as peer:
                for number in range(32):
                    peer.sendto(packet(str(number), 1200), (HOST, node.port))
                await _settled(relay, node)
            assert most <= len(node.received) < 32
            assert [text for _, text in node.received] == [str(number) for number in range(len(node.received))]


@pytest.mark.parametrize("is_given", [True, False], ids=["names", "certificate"])
async def test_a_proof_that_another_relay_passes_on_is_refused(is_given: bool) -> None:
    """Both the call and the hello name the other one, which has chosen them."""
    async with house() as at:
        elsewhere = attrs.evolve(at, target=DialAddress(f"localhost:{at.target.port}", insecure=True))
        names: tuple[str, ...] = (HOST,)
        if is_given:
            at.relay.options = attrs.evolve(at.relay.options, names=names)
        else:
            at.relay._certificate_names = lambda: names
        key = X25519PrivateKey.generate()
        before, other = at.node(key), elsewhere.node(key)
        await at.connected(before)
        await eventually(lambda: "does not have" in other.client.failure)
        assert before.client.is_connected
        assert at.relay.census.clients == 1


async def _describe(at: House, times: int) -> None:
    async with (
        GrpcTransport(environment=dict).channel(at.target, ChannelOptions()) as channel,
        channel.open(wire.DESCRIBE_METHOD, bytes, timeout=PATIENCE) as call,
    ):
        for _ in range(times):
            await call.send(b"?")
            wire.Description.decode(await call.receive() or b"")
        await call.receive()


async def test_a_relay_describes_itself_a_few_times_a_call_each_in_its_turn() -> None:
    async with house() as at:
        with pytest.raises(CallError) as caught:
            await _describe(at, 100)
        assert caught.value.code is Code.RESOURCE_EXHAUSTED
        # As what is carried, an answer waits while others have the turn.
        at.relay._turns._is_taken = True
        described = trio.Event()

        async def once() -> None:
            await measure(at.target, GrpcTransport(environment=dict))
            described.set()

        at.nursery.start_soon(once)
        await eventually(lambda: bool(at.relay._turns._waiting))
        assert not described.is_set()
        at.relay._turns._is_taken = False
        at.relay._turns._waiting.unpark()
        with trio.fail_after(PATIENCE):
            await described.wait()


async def test_a_call_that_measures_the_way_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nodespan.discovery.relay.relay._PATIENCE", 0.0)
    async with house() as at:
        with pytest.raises(CallError) as caught:
            await _describe(at, 0)
        assert caught.value.code is Code.DEADLINE_EXCEEDED


async def test_nothing_is_left_when_all_clients_have_left() -> None:
    async with house() as at:
        async with trio.open_nursery() as nursery:
            nodes = [attrs.evolve(at, nursery=nursery).node(cluster=str(number)) for number in range(3)]
            await at.connected(*nodes)
            nursery.cancel_scope.cancel()
        await eventually(lambda: at.relay.census.clients == 0)
        assert at.relay.census.clusters == 0
        assert at.relay.clients == ()
        assert at.relay.ports.free == at.relay.ports.size
        assert not at.relay.datagrams._sockets


async def test_one_of_those_who_take_turns_goes_on_in_each_pass_of_the_loop() -> None:
    turns, passes, at = Turns(), 0, []
    order = []

    async def work(name: int) -> None:
        for _ in range(3):
            await turns.next()
            order.append(name)
            at.append(passes)

    async with trio.open_nursery() as nursery:
        for name in range(4):
            nursery.start_soon(work, name)
        while len(order) < 12:
            await trio.lowlevel.checkpoint()
            passes += 1
    assert all(order.count(name) == 3 for name in range(4))
    # Each in its turn, and never two in one pass.
    assert sorted(order[:4]) == [0, 1, 2, 3]
    assert max(at.count(number) for number in at) == 1


async def test_a_turn_that_is_cancelled_is_passed_on() -> None:
    turns = Turns()
    async with trio.open_nursery() as nursery:
        scopes = [trio.CancelScope() for _ in range(3)]

        async def work(scope: trio.CancelScope) -> None:
            with scope:
                await turns.next()

        for scope in scopes:
            nursery.start_soon(work, scope)
        await trio.lowlevel.checkpoint()
        scopes[0].cancel()
        scopes[1].cancel()
    with trio.fail_after(PATIENCE):
        await turns.next()
