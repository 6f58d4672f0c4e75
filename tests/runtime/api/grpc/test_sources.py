"""Whoever takes more than its share loses before others do."""

from ipaddress import ip_address

import attrs
import pytest
import trio

from nodespan.runtime.api.grpc import Bounds, Limits, Sources, source_of
from nodespan.runtime.api.grpc.sources import Seat
from tests.runtime.api.grpc.frames import steps

pytestmark = pytest.mark.virtual_clock

A, B, C = (ip_address(f"192.0.2.{number}") for number in (1, 2, 3))


def _admit(sources: Sources, address: object = A) -> Seat:
    seat = sources.admit(address)  # type: ignore[arg-type]
    assert seat is not None
    return seat


def _busy(sources: Sources, address: object = A) -> Seat:
    seat = _admit(sources, address)
    sources.became_busy(seat)
    return seat


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("192.0.2.1", "192.0.2.2", False),
        ("2001:db8::1", "2001:db8::ffff:1", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
    ],
)
def test_an_ipv6_machine_has_a_whole_network_of_addresses(one: str, other: str, same: bool) -> None:
    assert (source_of(ip_address(one)) == source_of(ip_address(other))) is same


async def test_idle_connections_of_a_source_are_closed_oldest_first() -> None:
    sources = Sources(Limits(idle_per_source=2))
    seats = []
    for _ in range(4):
        seats.append(_admit(sources))
        await trio.sleep(1)
    other = _admit(sources, B)
    assert [seat.scope.cancel_called for seat in seats] == [True, True, False, False]
    assert not other.scope.cancel_called
    assert (sources.connections, sources.idle, sources.turned_away["idle_of_source"]) == (3, 3, 2)


async def test_a_connection_costs_the_same_however_many_there_are_from_its_address() -> None:
    def come_and_go(sources: Sources) -> None:
        seat = _admit(sources)
        sources.became_busy(seat)
        sources.became_idle(seat)
        sources.leave(seat)

    costs = []
    for connections in (20, 2000):
        sources = Sources(Limits(idle_per_source=10))
        for _ in range(connections):
            _busy(sources)
        for _ in range(10):
            _admit(sources)
        costs.append(steps(lambda _, sources=sources: come_and_go(sources), b""))  # type: ignore[misc]
    assert costs[0] == costs[1]


async def test_a_connection_that_was_busy_in_between_is_not_the_oldest_idle() -> None:
    sources = Sources(Limits(idle_per_source=1))
    first = _busy(sources)
    second = _admit(sources)
    await trio.sleep(1)
    sources.became_idle(first)
    assert (first.scope.cancel_called, second.scope.cancel_called) == (False, True)


async def test_a_source_with_all_its_connections_busy_gets_no_more() -> None:
    sources = Sources(Limits(connections=Bounds(source=2)))
    for _ in range(2):
        _busy(sources)
    assert sources.admit(A) is None
    _admit(sources, B)
    assert sources.turned_away["source"] == 1


async def test_a_full_server_takes_from_the_source_that_has_most() -> None:
    sources = Sources(Limits(connections=Bounds(total=6)))
    greedy = [_busy(sources) for _ in range(4)]
    modest = [_busy(sources, B) for _ in range(2)]
    _busy(sources, C)
    assert [seat.scope.cancel_called for seat in greedy] == [True, False, False, False]
    assert sources.admit(A) is None
    assert sources.admit(B) is None
    _busy(sources, C)
    assert not any(seat.scope.cancel_called for seat in modest)
    assert sources.connections == 6


async def test_behind_a_proxy_connections_are_no_source() -> None:
    sources = Sources(Limits(by_source=False, connections=Bounds(source=1), idle_per_source=1))
    for _ in range(5):
        _admit(sources)
    _admit(sources, None)
    assert (sources.connections, len(sources)) == (6, 6)


async def test_a_connection_that_another_process_serves_counts_there_for_its_source_and_here_in_all() -> None:
    sources = Sources(Limits(connections=Bounds(source=1, total=3)))
    seats = [_admit(sources)]
    sources.carry(seats[0])
    seats.append(_admit(sources))
    assert (sources.connections, sources.carried, sources.idle, len(sources)) == (2, 1, 1, 1)
    sources.carry(seats[1])
    assert len(sources) == 0
    _busy(sources)
    assert sources.admit(A) is None
    assert sources.admit(B) is not None  # the oldest of the one that has most is closed for it
    for seat in seats:
        sources.leave(seat)
        sources.carry(seat)
    assert (sources.connections, sources.carried) == (2, 0)


async def test_what_left_counts_no_more() -> None:
    sources = Sources(Limits(connections=Bounds(source=1)))
    for _ in range(3):
        seat = _busy(sources)
        sources.leave(seat)
        sources.leave(seat)
    assert (sources.connections, len(sources)) == (0, 0)


async def test_connecting_again_does_not_make_up_for_work_done() -> None:
    sources = Sources(Limits(work=Bounds(source=100)))
    waits = []
    for _ in range(40):
        seat = _busy(sources)
        waits.append(seat.spend(39))  # too little to be accounted for at once
        sources.leave(seat)
        sources.drop_idle()
    assert (waits[0], len(sources)) == (0.0, 0)
    seat = _busy(sources)
    assert seat.spend(40) == pytest.approx((40 * 39 + 40 - 1000) / 100)
    sources.leave(seat)
    await trio.sleep(20)
    sources.drop_idle()
    seat = _busy(sources)
    assert seat.spend(1000) == 0


async def test_nothing_is_remembered_of_a_source_that_has_done_little_or_cannot_come_again() -> None:
    for address, work in ((A, 0.0), (None, 500.0)):
        sources = Sources(Limits(work=Bounds(source=100)))
        seat = _busy(sources, address)
        seat.spend(work)
        sources.leave(seat)
        assert not sources._sources


async def test_when_too_much_waits_the_source_that_holds_most_gives_way() -> None:
    sources = Sources(Limits(held=Bounds(70, 90, 100)))
    given_up: list[str] = []

    def hold(seat: Seat, size: int, name: str) -> bool:
        return sources.hold(seat, bytearray(size), lambda: given_up.append(name)) is not None

    greedy, more, modest = _admit(sources), _admit(sources), _admit(sources, B)
    assert hold(greedy, 40, "first")
    assert hold(greedy, 30, "second")
    assert not hold(greedy, 10, "beyond the connection")
    assert not hold(more, 25, "beyond the source")
    assert hold(more, 20, "third")
    assert hold(modest, 20, "modest")
    assert given_up == ["first"]
    assert not hold(more, 35, "beyond all, and nobody holds more")
    assert sources.held == 70


async def test_an_unlimited_server_never_turns_anybody_away() -> None:
    sources = Sources(attrs.evolve(Limits(), held=Bounds(), connections=Bounds()))
    seat = _admit(sources)
    waiting = sources.hold(seat, bytes(1000), lambda: None)
    assert waiting is not None
    waiting.release()
    waiting.release()
    assert (sources.held, sources.turned_away.total()) == (0, 0)
