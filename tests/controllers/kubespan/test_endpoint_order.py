"""In which order the endpoints of a peer are tried, and that both ends are at their likely ones at the same time."""

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nodespan.controllers.common.ip.blocks import IPSet
from nodespan.controllers.kubespan.endpoint_order import (
    HEAD,
    MOST_AT_A_TIME,
    PERIOD,
    RelayPorts,
    Whereabouts,
    due,
    networks_of,
    ordered,
    ordered_without_relays,
)
from nodespan.controllers.kubespan.peer_state import HANDSHAKE_TIMEOUT
from nodespan.controllers.kubespan.peer_status import ATTENTIVE_INTERVAL

HOME = Whereabouts(
    networks=networks_of(["192.168.1.5/24", "2001:db8:1::5/64", "198.51.100.1/32"]),
    public="203.0.113.1",
    relays=(RelayPorts(frozenset({"203.0.113.99"}), (40000, 40999)),),
)
LAN, OTHER_LAN, PUBLIC, RELAY = "192.168.1.7:1", "10.0.0.7:1", "203.0.113.7:1", "203.0.113.99:40001"


@pytest.mark.parametrize(
    ("announced", "expected"),
    [
        # A peer elsewhere: what is private there is tried after what is public, and before the relay.
        ((OTHER_LAN, "172.16.0.7:1", PUBLIC, RELAY), (PUBLIC, OTHER_LAN, "172.16.0.7:1", RELAY)),
        # On the same wire, and behind the same router on another one.
        ((OTHER_LAN, LAN, PUBLIC), (LAN, PUBLIC, OTHER_LAN)),
        ((OTHER_LAN, "203.0.113.1:1"), (OTHER_LAN, "203.0.113.1:1")),
        # No public address: a private network may reach over several sites.
        ((OTHER_LAN, "172.16.0.7:1"), (OTHER_LAN, "172.16.0.7:1")),
        # A relay is no public address of the peer, and another port of the same machine is no relay.
        ((RELAY, OTHER_LAN), (OTHER_LAN, RELAY)),
        ((RELAY, "203.0.113.99:1"), ("203.0.113.99:1", RELAY)),
        # Others see it at another port than it guesses: that one is right for everybody.
        ((OTHER_LAN, PUBLIC, "203.0.113.7:6000"), ("203.0.113.7:6000", PUBLIC, OTHER_LAN)),
        # The first one is no guess if it has not the port that the peer listens on: its router or operator told it.
        (
            ("10.0.0.7:51820", "203.0.113.7:6000", "203.0.113.7:51820"),
            ("203.0.113.7:6000", "203.0.113.7:51820", "10.0.0.7:51820"),
        ),
        (("203.0.113.7:51820", "203.0.113.7:6000"), ("203.0.113.7:51820", "203.0.113.7:6000")),
        # They see it at several: none is right for this node.
        (
            (PUBLIC, OTHER_LAN, RELAY, "203.0.113.7:6000", "203.0.113.7:6001"),
            (PUBLIC, OTHER_LAN, RELAY, "203.0.113.7:6000", "203.0.113.7:6001"),
        ),
        # IPv6: on the same link first, private last.
        (
            ("[fd00::7]:1", "[2001:db8:2::7]:1", PUBLIC, "[2001:db8:1::7]:1"),
            ("[2001:db8:1::7]:1", "[2001:db8:2::7]:1", PUBLIC, "[fd00::7]:1"),
        ),
    ],
)
def test_the_endpoints_that_are_likely_to_work_come_first(
    announced: tuple[str, ...], expected: tuple[str, ...]
) -> None:
    assert ordered(announced, HOME) == expected


def test_a_node_that_does_not_know_where_it_is_keeps_the_order_of_the_peer() -> None:
    assert ordered((OTHER_LAN, PUBLIC, "203.0.113.7:6000"), Whereabouts()) == (OTHER_LAN, PUBLIC, "203.0.113.7:6000")
    behind_nothing = Whereabouts(networks=IPSet.parse(["192.168.1.0/24"]))
    assert ordered((OTHER_LAN, PUBLIC), behind_nothing) == (OTHER_LAN, PUBLIC)
    # Nor does one that is reached over IPv6 say where this node is in IPv4.
    assert ordered((OTHER_LAN, PUBLIC), Whereabouts(public="2001:db8::5")) == (OTHER_LAN, PUBLIC)
    # A discovery service on the same private network knows no public address.
    assert ordered((OTHER_LAN, PUBLIC), Whereabouts(public="10.0.0.2")) == (OTHER_LAN, PUBLIC)


@pytest.mark.parametrize(
    ("announced", "expected"),
    [
        # The relay is down: a peer elsewhere is tried at its public address all the same, and what may be at it last.
        ((OTHER_LAN, PUBLIC, RELAY), (PUBLIC, OTHER_LAN, RELAY)),
        ((OTHER_LAN, "203.0.113.7:6000", PUBLIC, RELAY), (PUBLIC, OTHER_LAN, "203.0.113.7:6000", RELAY)),
        ((OTHER_LAN, LAN, PUBLIC, RELAY), (LAN, PUBLIC, OTHER_LAN, RELAY)),
        # What the peer listens on is not known.
        ((PUBLIC, "198.51.100.7:1", RELAY), (PUBLIC, "198.51.100.7:1", RELAY)),
    ],
)
def test_until_relays_are_known_what_may_be_at_one_is_last(
    announced: tuple[str, ...], expected: tuple[str, ...]
) -> None:
    assert ordered_without_relays(announced, attrs.evolve(HOME, relays=())) == expected


_ADDRESSES = st.sampled_from(["192.168.1.7", "10.0.0.7", "203.0.113.7", "203.0.113.99", "[fd00::7]", "[2001:db8::7]"])


@given(st.lists(st.builds("{}:{}".format, _ADDRESSES, st.integers(1, 65535)), unique=True, max_size=12))
def test_no_endpoint_is_lost_or_invented(endpoints: list[str]) -> None:
    assert sorted(ordered(tuple(endpoints), HOME)) == sorted(endpoints)


@pytest.mark.parametrize("count", [1, MOST_AT_A_TIME, MOST_AT_A_TIME + 1, 9, 64])
def test_each_endpoint_has_its_turn_and_the_likely_ones_in_each_period(count: int) -> None:
    endpoints = tuple(f"192.0.2.{number}:1" for number in range(count))
    periods = [due(endpoints, 1_000_000 * PERIOD + number * PERIOD) for number in range(count)]
    assert {each for period in periods for each in period} == set(endpoints)
    for period in periods:
        assert period[:HEAD] == endpoints[:HEAD]
        assert len(period) * (HANDSHAKE_TIMEOUT + ATTENTIVE_INTERVAL) <= PERIOD
    # A few endpoints are tried in turn, as ever.
    assert (periods[0] == endpoints) is (count <= MOST_AT_A_TIME)


def test_a_period_begins_for_both_ends_at_the_same_time() -> None:
    endpoints = tuple(f"192.0.2.{number}:1" for number in range(20))
    begins = 1_000_000 * PERIOD
    assert due(endpoints, begins - 0.1) != due(endpoints, begins) == due(endpoints, begins + PERIOD - 0.1)
