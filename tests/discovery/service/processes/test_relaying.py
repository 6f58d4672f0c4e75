"""A relay in several processes: here as tasks of one process, each with a port of its own for the nodes."""

from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from functools import partial
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path
from typing import Any

import attrs
import pytest
import trio
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from nodespan.discovery.endpoint_url import DialAddress
from nodespan.discovery.relay.client import measure
from nodespan.discovery.relay.parts import Part, owner_of_key
from nodespan.discovery.relay.relay import RelayOptions
from nodespan.discovery.service.processes.passing import Passing
from nodespan.discovery.service.processes.team import Team
from nodespan.discovery.service.server import DiscoveryOptions, serve_discovery
from nodespan.runtime.state import MemoryState
from tests.discovery.relay.test_relay import HOST, House, heard, packet, world
from tests.discovery.service.processes.test_team import _value
from tests.support.certificates import Authority
from tests.support.process import eventually

PORTS = (24300, 24399)
RELAY = RelayOptions(ports=PORTS, addresses=(ip_address(HOST),))
HERE = DiscoveryOptions(listen=(HOST, 0), metrics=(HOST, 0), rate=0)


def key_of(place: int) -> X25519PrivateKey:
    """A key that belongs to one of two processes."""
    while True:
        key = X25519PrivateKey.generate()
        if owner_of_key(key.public_key().public_bytes_raw(), 2) == place:
            return key


@attrs.frozen
class Team2:
    """Two processes as nodes reach them, and where their metrics are."""

    houses: tuple[House, ...]
    bounds: tuple[Any, ...]


@asynccontextmanager
async def relaying(
    folder: Path,
    *,
    shares: bool = False,
    tls: bool = False,
    addresses: tuple[IPv4Address | IPv6Address, ...] = RELAY.addresses,
) -> AsyncIterator[Team2]:
    state = MemoryState() if shares else None
    authority = Authority("test")
    certificate = authority.issue(folder, HOST) if tls else None
    async with trio.open_nursery() as nursery:
        bounds = []
        for place in range(2):
            relays = attrs.evolve(RELAY, part=Part(place, 2), addresses=addresses)
            listen = (HOST if addresses else "0.0.0.0", 0)
            options = attrs.evolve(HERE, relay=relays, certificate=certificate, listen=listen)
            serve = partial(serve_discovery, options, state=state, team=Team(place, 2, folder, shares))
            bounds.append(await nursery.start(serve))
        relay: Any = None
        houses = [
            House(
                relay, DialAddress(f"{HOST}:{bound.port}", not tls), nursery, nursery.cancel_scope.cancel, authority.pem
            )
            for bound in bounds
        ]
        yield Team2(tuple(houses), tuple(bounds))
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize(
    ("shares", "tls"), [(False, False), (True, False), (False, True)], ids=["memory", "one state", "TLS"]
)
async def test_nodes_of_different_processes_meet_whichever_process_they_have_reached(
    tmp_path: Path, shares: bool, tls: bool
) -> None:
    async with relaying(tmp_path, shares=shares, tls=tls) as at:
        keys = [key_of(0), key_of(1)]
        # Each has reached the process that it does not belong to.
        one, two = at.houses[1].node(keys[0]), at.houses[0].node(keys[1])
        await eventually(lambda: one.client.is_connected and two.client.is_connected)
        assert 24300 <= one.port < 24350 <= two.port < 24400
        one.send(two.port, "hello")
        await eventually(lambda: two.received == [(f"{HOST}:{one.port}", "hello")])
        two.send(one.port, "welcome", "to you")
        await eventually(lambda: [text for _, text in one.received] == ["welcome", "to you"])
        assert {source for source, _ in one.received} == {f"{HOST}:{two.port}"}
        with world() as peer:
            peer.sendto(packet("outside"), (HOST, two.port))
            await eventually(lambda: len(two.received) == 2)
            two.send(peer.getsockname()[1], "answer")
            assert await heard(peer) == ("answer", two.port)
        # A port of the other process that nobody has.
        one.send(two.port - 1 if two.port > 24350 else two.port + 1, "nobody")
        one.send(two.port, "again")
        await eventually(lambda: two.received[-1][1] == "again")
        for house in at.houses:
            _, described = await measure(house.target, house.transport())
            assert (described.ports, described.free) == (PORTS, 49)
        assert [await _value(bound, "relay_clients") for bound in at.bounds] == [2, 2]
        # It comes again by the other process, and has the port that it had.
        again = at.houses[0].node(keys[0])
        await eventually(lambda: again.client.is_connected)
        assert again.port == one.port


async def test_a_burst_for_a_node_of_another_process_arrives(tmp_path: Path) -> None:
    async with relaying(tmp_path) as at:
        one, two = at.houses[0].node(key_of(0)), at.houses[1].node(key_of(1))
        await eventually(lambda: one.client.is_connected and two.client.is_connected)
        texts = [f"packet {number}" for number in range(64)]
        for text in texts:
            one.send(two.port, text)
        one.send(two.port, "the", "end")
        await eventually(lambda: [text for _, text in two.received][-1:] == ["end"])
        assert [text for _, text in two.received] == [*texts, "the", "end"]


async def test_nodes_that_have_dialled_different_addresses_of_a_relay_meet(tmp_path: Path) -> None:
    # Each process knows the address that its own node has dialled, and no other.
    other = "127.0.0.2"
    async with relaying(tmp_path, addresses=()) as at:
        second = at.houses[1]
        there = attrs.evolve(second, target=DialAddress(f"{other}:{second.target.port}", insecure=True))
        one, two = at.houses[0].node(key_of(0)), there.node(key_of(1))
        await eventually(lambda: one.client.is_connected and two.client.is_connected)
        # An address of neither.
        one.send(two.port, "stray", host="127.0.0.3")
        one.send(two.port, "hello", host=other)
        await eventually(lambda: bool(two.received))
        assert two.received == [(f"{HOST}:{one.port}", "hello")]
        two.send(one.port, "welcome")
        await eventually(lambda: one.received == [(f"{other}:{two.port}", "welcome")])


async def test_packets_for_a_process_that_is_gone_or_busy_are_lost_and_counted(tmp_path: Path) -> None:
    with Passing(Team(0, 2, tmp_path)) as passing:
        assert not passing.send(1, b"x")
        with Passing(Team(1, 2, tmp_path)) as other:
            other._receiver.bind(str(Team(1, 2, tmp_path).packets_at(1)))
            taken = [passing.send(1, bytes(60_000)) for _ in range(1000)]
            # The kernel keeps some, and the one who sends waits for none.
            assert taken[0]
            assert not taken[-1]
        assert not passing.send(1, b"x")


async def test_what_one_process_does_not_read_takes_no_room_of_the_others(tmp_path: Path) -> None:
    with ExitStack() as stack:
        passing, idle, busy = (stack.enter_context(Passing(Team(place, 3, tmp_path))) for place in range(3))
        for place, other in ((1, idle), (2, busy)):
            other._receiver.bind(str(Team(place, 3, tmp_path).packets_at(place)))
        while passing.send(1, bytes(44_000)):
            pass
        assert passing.send(2, b"packet")
        assert busy._receiver.recv(100) == b"packet"
        # What no socket takes is lost too, and ends nothing.
        assert not passing.send(2, bytes(16 << 20))
