"""The parts of a relay in several processes."""

import pytest

from nodespan.discovery.relay.parts import Part, decode_passed, owner_of_key, passed_head
from nodespan.discovery.relay.rules import RelayLimits


@pytest.mark.parametrize(("first", "last"), [(21000, 24999), (21000, 21006), (21000, 21003)])
@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_every_port_is_of_one_process_which_the_others_know(first: int, last: int, count: int) -> None:
    of: dict[int, int] = {}
    for place in range(count):
        low, high = Part(place, count).ports(first, last)
        assert low <= high
        for port in range(low, high + 1):
            assert of.setdefault(port, place) == place
    assert sorted(of) == list(range(first, last + 1))
    assert {port: Part(0, count).place_of_port(port, first, last) for port in of} == of
    assert Part(0, count).place_of_port(first - 1, first, last) is None
    assert Part(0, count).place_of_port(last + 1, first, last) is None


def test_clients_are_spread_over_the_processes() -> None:
    keys = [bytes((number,)) * 32 for number in range(100)]
    assert {owner_of_key(key, 3) for key in keys} == {0, 1, 2}


def test_what_there_is_in_all_is_divided_and_what_a_client_may_is_not() -> None:
    limits = RelayLimits()
    assert Part().limits(limits) is limits
    part = Part(1, 3).limits(limits)
    assert (part.clients, part.clients_per_cluster, part.clients_per_source) == (1334, 334, 84)
    assert (part.rate, part.sources, part.queue) == (limits.rate, limits.sources, limits.queue)
    assert part.total_rate == limits.total_rate / 3
    assert (part.total_queue, part.total_window) == (limits.total_queue // 3, limits.total_window // 3)
    # One client may always have its rate.
    assert Part(1, 64).limits(limits).total_rate == limits.rate


def test_what_is_passed_survives_the_way() -> None:
    passed = (
        passed_head(21005, 7, 7) + b"message" + passed_head(21006, 1, 0, b"\4host") + passed_head(21005, 2, 1) + b"x"
    )
    found = [(*rest, bytes(message)) for *rest, message in decode_passed(passed)]
    assert found == [(21005, 7, b"", b"message"), (21006, 1, b"\4host", b""), (21005, 2, b"", b"x")]
    assert list(decode_passed(b"")) == []
