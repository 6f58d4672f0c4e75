import math
from typing import Any

import attrs
import pytest

from nodespan.controllers.kubespan.peer_state import Path, Seen, host_prefix, next_endpoint, peer_state, step
from nodespan.resources.kubespan import PeerState
from tests.support.vectors import each, load

NOW = 1_000_000.0
# Where we do better than the original: see the module's head.
FASTER = {
    # After 8 s without a handshake one has certainly failed; the original waits for 15 s.
    "fresh-unknown": (PeerState.UNKNOWN, "10.0.0.2:1"),
    # A path that works is not given up for one that may work.
    "inbound-then-endpoints": (PeerState.UP, ""),
}


def _age(seconds: float | None) -> float:
    return math.inf if seconds is None else seconds


@each("peer_state")
def test_the_state_follows_from_two_ages(vector: dict[str, Any]) -> None:
    assert (
        peer_state(
            since_handshake=_age(vector["since_last_handshake_s"]),
            since_endpoint_change=_age(vector["since_endpoint_change_s"]),
            has_used_endpoint=vector["has_last_used_endpoint"],
            handshake_after_change=vector["handshake_after_change"],
        )
        == vector["state"]
    )


@each("endpoint_rotation")
def test_endpoints_are_tried_in_turn(vector: dict[str, Any]) -> None:
    for rotation in vector["steps"]:
        picked = next_endpoint(
            tuple(rotation["endpoints"]),
            last_used=rotation["last_used_before"] or "",
            observed=rotation["observed_before"] or "",
        )
        assert picked == rotation["picked"]


def _at(age: float | None) -> float | None:
    return None if age is None else NOW - age


def _step(vector: dict[str, Any]) -> tuple[Path, PeerState]:
    before, device = vector["before"], vector["device"]
    path = Path(
        endpoint=before["endpoint"] or "",
        last_used=before["last_used"] or "",
        last_handshake=_at(before["since_last_handshake_s"]),
        last_change=_at(before["since_endpoint_change_s"]),
    )
    seen = None
    if device is not None:
        seen = Seen(endpoint=device["endpoint"] or "", last_handshake=_at(device["since_last_handshake_s"]))
    return step(path, tuple(vector["spec_endpoints"]), seen, NOW)


@pytest.mark.parametrize(
    "vector", [v for v in load("manager_tick") if v["name"] not in FASTER], ids=lambda vector: vector["name"]
)
def test_a_look_does_what_a_tick_of_the_original_does(vector: dict[str, Any]) -> None:
    path, state = _step(vector)
    after = vector["after"]
    assert state == after["state"]
    assert path.endpoint == (after["status_endpoint"] or "")
    assert path.last_used == (after["last_used"] or "")
    assert path.wanted_endpoint == after["link_peer_endpoint"]


@pytest.mark.parametrize("name", FASTER)
def test_where_a_look_does_better(name: str) -> None:
    (vector,) = [v for v in load("manager_tick") if v["name"] == name]
    path, state = _step(vector)
    assert (state, path.last_used) == FASTER[name]


ENDPOINTS = ("10.0.0.1:1", "10.0.0.2:1")
MOVED = ("10.0.0.1:1", "10.0.0.7:1")
NEW_ADDRESS = ("10.0.0.7/32",)


def test_a_peer_moves_on_after_one_handshake_timeout() -> None:
    path, state = step(Path(), ENDPOINTS, None, NOW)
    assert (path.last_used, state) == ("10.0.0.1:1", PeerState.UNKNOWN)
    for later in (1, 5.9):
        path, _ = step(path, ENDPOINTS, Seen(endpoint="10.0.0.1:1", sent=148), NOW + later)
        assert path.last_used == "10.0.0.1:1"
    path, _ = step(path, ENDPOINTS, Seen(endpoint="10.0.0.1:1", sent=296), NOW + 6)
    assert path.last_used == "10.0.0.2:1"


def _up() -> Path:
    path, state = step(
        Path(last_used="10.0.0.1:1", last_change=NOW - 400),
        ENDPOINTS,
        Seen(endpoint="10.0.0.1:1", last_handshake=NOW - 100, received=1000, sent=1000),
        NOW,
    )
    assert state is PeerState.UP
    return path


def test_a_peer_that_falls_silent_is_left_for_its_next_endpoint() -> None:
    path = _up()
    seen = Seen(endpoint="10.0.0.1:1", last_handshake=NOW - 100, received=1000, sent=1200)
    path, state = step(path, ENDPOINTS, seen, NOW + 1)
    assert state is PeerState.UP
    assert path.probed == NOW + 1
    path, state = step(path, ENDPOINTS, seen, NOW + 11)
    assert state is PeerState.UP
    path, state = step(path, ENDPOINTS, seen, NOW + 12)
    assert (path.last_used, state) == ("10.0.0.2:1", PeerState.UNKNOWN)


def test_one_that_fell_silent_on_an_endpoint_of_the_device_s_own_choice_is_not_sent_there_again() -> None:
    path = Path(endpoint="10.0.0.1:1", last_handshake=NOW - 10, received=1, sent=100, probed=NOW - 20)
    seen = Seen(endpoint="10.0.0.1:1", last_handshake=NOW - 10, received=1, sent=200)
    path, _ = step(path, ENDPOINTS, seen, NOW)
    assert path.last_used == "10.0.0.2:1"


def test_what_is_heard_on_the_new_endpoint_makes_the_peer_up_without_a_handshake() -> None:
    path = _up().to("10.0.0.2:1", NOW)
    seen = Seen(endpoint="10.0.0.2:1", last_handshake=NOW - 100, received=1500, sent=1500)
    path, state = step(path, ENDPOINTS, seen, NOW + 1)
    assert state is PeerState.UP
    path, state = step(path, ENDPOINTS, seen, NOW + 20)
    assert (path.last_used, state) == ("10.0.0.2:1", PeerState.UP)


def test_an_answer_clears_the_doubt() -> None:
    path, _ = step(_up(), ENDPOINTS, Seen(endpoint="10.0.0.1:1", last_handshake=NOW, received=1000, sent=1200), NOW + 1)
    path, state = step(
        path, ENDPOINTS, Seen(endpoint="10.0.0.1:1", last_handshake=NOW, received=1100, sent=1300), NOW + 2
    )
    assert (state, path.probed) == (PeerState.UP, None)


def _moved() -> Path:
    """The peer of `_up` has just told that it is somewhere else."""
    seen = Seen(endpoint="10.0.0.1:1", last_handshake=NOW - 100, received=1000, sent=1000)
    path, state = step(_up(), MOVED, seen, NOW, allowed_ips=("10.0.0.1/32",))
    assert (state, path.probed) == (PeerState.UP, None)
    path, state = step(path, MOVED, seen, NOW + 1, allowed_ips=NEW_ADDRESS)
    assert (state, path.probed) == (PeerState.UP, NOW + 1)
    return path


def test_a_peer_that_has_withdrawn_its_address_is_followed_if_it_does_not_answer() -> None:
    seen = Seen(endpoint="10.0.0.1:1", last_handshake=NOW - 100, received=1000, sent=1300)
    path, state = step(_moved(), MOVED, seen, NOW + 3, allowed_ips=NEW_ADDRESS)
    assert (path.endpoint, state) == ("10.0.0.1:1", PeerState.UP)
    path, state = step(path, MOVED, seen, NOW + 4, allowed_ips=NEW_ADDRESS)
    assert (path.last_used, state) == ("10.0.0.7:1", PeerState.UNKNOWN)
    assert not path.is_withdrawn


def test_a_withdrawn_address_at_which_the_peer_answers_is_kept() -> None:
    answered = Seen(endpoint="10.0.0.1:1", last_handshake=NOW - 100, received=1100, sent=1100)
    path, state = step(_moved(), MOVED, answered, NOW + 2, allowed_ips=NEW_ADDRESS)
    assert (state, path.probed, path.is_withdrawn) == (PeerState.UP, None, False)
    path, state = step(path, MOVED, answered, NOW + 30, allowed_ips=NEW_ADDRESS)
    assert (path.endpoint, state) == ("10.0.0.1:1", PeerState.UP)


def test_a_peer_that_the_device_finds_behind_a_router_has_withdrawn_nothing() -> None:
    roamed = Seen(endpoint="198.51.100.7:4242", last_handshake=NOW, received=1100, sent=1000)
    path, _ = step(_moved(), MOVED, roamed, NOW + 2, allowed_ips=NEW_ADDRESS)
    assert (path.endpoint, path.probed, path.is_withdrawn) == ("198.51.100.7:4242", None, False)
    at_home = attrs.evolve(_up(), is_announced=True)
    path, _ = step(at_home, MOVED, roamed, NOW + 1, allowed_ips=NEW_ADDRESS)
    assert (path.endpoint, path.probed, path.is_withdrawn) == ("198.51.100.7:4242", None, False)


@pytest.mark.parametrize(
    ("endpoint", "prefix"),
    [("192.0.2.1:51820", "192.0.2.1/32"), ("[2001:db8::1]:51820", "2001:db8::1/128"), ("", "/32")],
)
def test_the_address_of_an_endpoint_is_a_prefix(endpoint: str, prefix: str) -> None:
    assert host_prefix(endpoint) == prefix


def test_keepalives_that_nobody_answers_cast_no_doubt() -> None:
    path, _ = step(
        _up(), ENDPOINTS, Seen(endpoint="10.0.0.1:1", last_handshake=NOW, received=1000, sent=1032), NOW + 25
    )
    assert path.probed is None


def test_a_roamed_endpoint_is_kept_and_never_written_back() -> None:
    path, state = step(
        _up(), ENDPOINTS, Seen(endpoint="198.51.100.7:4242", last_handshake=NOW, received=1100, sent=1100), NOW + 30
    )
    assert (state, path.endpoint, path.wanted_endpoint) == (PeerState.UP, "198.51.100.7:4242", "")
