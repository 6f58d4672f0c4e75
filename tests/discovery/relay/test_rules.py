import pytest

from nodespan.discovery.relay.choice import AVOIDED, PATIENCE, Candidate, choose
from nodespan.discovery.relay.rules import DOOR_LIFETIME, KEPT, Census, Doors, Ports, RelayLimits

PEER, OTHER = ("192.0.2.7", 51820), ("192.0.2.8", 51820)


def test_only_a_source_that_has_sent_may_be_answered() -> None:
    doors = Doors(8)
    assert doors.for_answer(b"peer", 0) is None
    assert doors.find(PEER, 0) is None
    opened = doors.open(PEER, b"peer", 0)
    assert doors.find(PEER, 1) is opened
    assert doors.for_answer(b"peer", 1 + DOOR_LIFETIME) is opened
    assert doors.for_answer(b"other", 1) is None


def test_a_source_that_is_quiet_for_long_may_not_be_answered_any_more() -> None:
    doors = Doors(8)
    doors.open(PEER, b"peer", 0)
    assert doors.for_answer(b"peer", DOOR_LIFETIME + 1) is None
    assert len(doors) == 0


def test_made_up_sources_do_not_drive_out_one_that_was_answered() -> None:
    doors = Doors(4)
    peer = doors.open(PEER, b"peer", 0)
    assert doors.for_answer(b"peer", 0) is peer
    for number in range(100):
        assert doors.open(("198.51.100.1", number), b"%d" % number, 1 + number / 100)
    assert len(doors) == 4
    assert doors.for_answer(b"peer", 2) is peer


def test_sources_that_are_all_in_use_leave_no_room() -> None:
    doors = Doors(2)
    for where, address in ((PEER, b"peer"), (OTHER, b"other")):
        doors.open(where, address, 0)
        doors.for_answer(address, 0)
    assert doors.open(("192.0.2.9", 1), b"third", 1) is None
    assert doors.open(("192.0.2.9", 1), b"third", 100) is not None


def test_an_address_that_sends_on_two_links_has_one_door() -> None:
    doors = Doors(2)
    doors.open(("fe80::1", 9, 0, 2), b"link-local", 0)
    second = doors.open(("fe80::1", 9, 0, 3), b"link-local", 0)
    assert doors.for_answer(b"link-local", 1) is second
    assert len(doors) == 1
    assert doors.for_answer(b"link-local", DOOR_LIFETIME + 1) is None
    assert len(doors) == 0


def test_a_key_gets_its_port_again_and_nobody_else_does() -> None:
    ports = Ports(21000, 21003)
    first = ports.take(b"one", 0, 0)
    assert first is not None
    ports.leave(b"one", 0)
    assert {ports.take(bytes((number,)), first, 1) for number in range(3)} == {21000, 21001, 21002, 21003} - {first}
    assert ports.take(b"one", 0, 2) == first


def test_a_port_that_is_asked_for_is_given_if_nobody_has_it() -> None:
    ports = Ports(21000, 21003)
    assert ports.take(b"one", 21002, 0) == 21002
    assert ports.take(b"two", 21002, 0) != 21002
    assert ports.take(b"three", 80, 0) in (21000, 21001, 21003)


def test_a_full_range_gives_away_the_port_that_was_left_first() -> None:
    ports = Ports(21000, 21001)
    ports.take(b"one", 21000, 0)
    ports.take(b"two", 21001, 0)
    assert ports.take(b"three", 0, 0) is None
    ports.leave(b"two", 1)
    ports.leave(b"one", 2)
    assert ports.free == 2
    assert ports.take(b"three", 0, 3) == 21001
    assert ports.take(b"two", 0, 3) == 21000
    assert ports.free == 0


def test_ports_are_free_again_when_they_were_kept_for_long_enough() -> None:
    ports = Ports(21000, 21001)
    ports.take(b"one", 21000, 0)
    ports.leave(b"one", 0)
    assert ports.take(b"two", 21000, KEPT - 1) == 21001
    ports.leave(b"two", KEPT - 1)
    assert ports.take(b"three", 21000, KEPT + 1) == 21000


def test_a_port_of_another_program_is_passed_over() -> None:
    ports = Ports(21000, 21001)
    ports.take(b"one", 21000, 0)
    ports.spoil(b"one")
    assert ports.take(b"one", 21000, 0) == 21001
    ports.spoil(b"one")
    assert ports.take(b"one", 0, 0) is None
    ports.retry_spoiled()
    assert ports.take(b"one", 21000, 0) == 21000


def test_limits_count_all_clients_those_of_a_cluster_and_of_a_source() -> None:
    census = Census(RelayLimits(clients=4, clients_per_cluster=2, clients_per_source=2, beginnings_per_source=1))
    census.add(b"a", "here")
    census.add(b"a", "there")
    assert "cluster" in census.refusal(b"a", "elsewhere")
    assert census.refusal(b"b", "here") == ""
    census.add(b"b", "here")
    assert "from this address" in census.refusal(b"b", "here")
    census.add(b"c", "elsewhere")
    assert "full" in census.refusal(b"d", "far")
    census.remove(b"a", "here")
    assert census.refusal(b"a", "here") == ""
    assert (census.clients, census.clusters) == (3, 3)
    assert census.begin("here") == ""
    assert census.begin("here") != ""
    census.begun("here")
    assert census.begin("here") == ""


NEAR, FAR = Candidate(0.010), Candidate(0.200)


@pytest.mark.parametrize(
    ("candidates", "current", "unusable_since", "chosen"),
    [
        ({}, "", None, ""),
        ({"far": FAR, "near": NEAR}, "", None, "near"),
        ({"one": Candidate(), "two": Candidate()}, "", None, "one"),
        ({"far": FAR, "near": NEAR}, "far", None, "near"),
        # Not worth a new address.
        ({"mine": Candidate(0.030), "other": Candidate(0.015)}, "mine", None, "mine"),
        ({"mine": Candidate(0.150), "other": Candidate(0.120)}, "mine", None, "mine"),
        ({"far": FAR, "near": NEAR}, "near", 1000 - PATIENCE / 2, "near"),
        ({"far": FAR, "near": NEAR}, "near", 1000 - PATIENCE, "far"),
        ({"only": NEAR}, "only", 0, "only"),
        # One that has just failed is not gone back to, however near it is.
        ({"far": FAR, "near": Candidate(0.010, 1000 - AVOIDED / 2)}, "far", None, "far"),
        ({"far": FAR, "near": Candidate(0.010, 1000 - AVOIDED)}, "far", None, "near"),
        ({"far": FAR}, "gone", None, "far"),
        # All have failed: it stays, rather than have the mesh learn another useless address.
        ({"mine": NEAR, "other": Candidate(0.010, 1000 - AVOIDED / 2)}, "mine", 0, "mine"),
        ({"mine": NEAR, "other": Candidate(0.010, is_connected=False)}, "mine", 0, "mine"),
        ({"mine": Candidate(0.200), "near": Candidate(0.010, is_connected=False)}, "mine", None, "mine"),
        # One that has failed and is connected again is as good as any; it is not preferred to one that works.
        ({"mine": NEAR, "other": Candidate(0.2, 1000 - AVOIDED / 2, is_connected=True)}, "mine", 0, "other"),
        ({"far": FAR, "near": Candidate(0.010, 1000 - AVOIDED / 2, is_connected=True)}, "far", None, "far"),
    ],
)
def test_the_relay_that_is_chosen(
    candidates: dict[str, Candidate], current: str, unusable_since: float | None, chosen: str
) -> None:
    assert choose(candidates, current, 1000, unusable_since=unusable_since) == chosen


def test_relays_that_fail_in_turn_are_not_changed_faster_than_patience_allows() -> None:
    """Both fail all the time: the node goes from one to the other, and no more often than once in PATIENCE."""
    failed, current, unusable_since, changes = {"a": -1e9, "b": -1e9}, "a", 0.0, 0
    for now in range(600):
        candidates = {name: Candidate(0.01, at) for name, at in failed.items()}
        chosen = choose(candidates, current, float(now), unusable_since=unusable_since)
        if chosen != current:
            failed[current], current, unusable_since = float(now), chosen, float(now)
            changes += 1
    assert 1 <= changes <= 600 / PATIENCE
