import itertools
import math
import random
from typing import Any

import attrs
import pytest

from nodespan.controllers.kubespan import peer_state as rules
from nodespan.controllers.kubespan.peer_state import ObservedPeer, Path, host_prefix, next_endpoint, peer_state, step
from nodespan.kernel.net_counts import Traffic
from nodespan.kernel.wireguard.handshake import Handshake
from nodespan.resources.kubespan import PeerState
from tests.support.transitions import documented_rows
from tests.support.vectors import each, load

NOW = 1_000_000.0
# Where this implementation is faster than the original: see the module's docstring.
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
        handshake=Handshake(at=_at(before["since_last_handshake_s"])),
        last_change=_at(before["since_endpoint_change_s"]),
    )
    seen = None
    if device is not None:
        seen = ObservedPeer(endpoint=device["endpoint"] or "", last_handshake=_at(device["since_last_handshake_s"]))
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
    assert path.desired_endpoint == after["link_peer_endpoint"]


@pytest.mark.parametrize("name", FASTER)
def test_a_look_is_faster_than_a_tick(name: str) -> None:
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
        path, _ = step(path, ENDPOINTS, ObservedPeer(endpoint="10.0.0.1:1", sent=148), NOW + later)
        assert path.last_used == "10.0.0.1:1"
    path, _ = step(path, ENDPOINTS, ObservedPeer(endpoint="10.0.0.1:1", sent=296), NOW + 6)
    assert path.last_used == "10.0.0.2:1"


def _up() -> Path:
    path, state = step(
        Path(
            last_used="10.0.0.1:1",
            last_change=NOW - 400,
            handshake=Handshake(read=NOW - 1),
            received=900,
            is_asked=True,
        ),
        ENDPOINTS,
        ObservedPeer(endpoint="10.0.0.1:1", last_handshake=NOW - 100, received=1000, sent=1000),
        NOW,
    )
    assert state is PeerState.UP
    return path


def test_a_peer_that_becomes_silent_moves_to_its_next_endpoint() -> None:
    path = _up()
    seen = ObservedPeer(endpoint="10.0.0.1:1", last_handshake=NOW - 100, received=1000, sent=1200)
    path, state = step(path, ENDPOINTS, seen, NOW + 1)
    assert state is PeerState.UP
    assert path.probed == NOW + 1
    path, state = step(path, ENDPOINTS, seen, NOW + 11)
    assert state is PeerState.UP
    path, state = step(path, ENDPOINTS, seen, NOW + 12)
    assert (path.last_used, state) == ("10.0.0.2:1", PeerState.UNKNOWN)


def test_a_peer_that_became_silent_on_an_endpoint_that_the_device_chose_is_not_sent_there_again() -> None:
    path = Path(
        endpoint="10.0.0.1:1", handshake=Handshake(at=NOW - 10, read=NOW - 1), received=1, sent=100, probed=NOW - 20
    )
    seen = ObservedPeer(endpoint="10.0.0.1:1", last_handshake=NOW - 10, received=1, sent=200)
    path, _ = step(path, ENDPOINTS, seen, NOW)
    assert path.last_used == "10.0.0.2:1"


def test_a_packet_received_on_the_new_endpoint_makes_the_peer_up_without_a_handshake() -> None:
    path = _up().to("10.0.0.2:1", NOW)
    seen = ObservedPeer(endpoint="10.0.0.2:1", last_handshake=NOW - 100, received=1500, sent=1500)
    path, state = step(path, ENDPOINTS, seen, NOW + 1)
    assert (state, path.probed) == (PeerState.UP, NOW + 1)
    seen = attrs.evolve(seen, received=1600, answered=True)
    path, state = step(path, ENDPOINTS, seen, NOW + 2)
    path, state = step(path, ENDPOINTS, attrs.evolve(seen, answered=False), NOW + 20)
    assert (path.last_used, state, path.answers) == ("10.0.0.2:1", PeerState.UP, True)


def test_an_answer_ends_the_probing() -> None:
    path, _ = step(
        _up(), ENDPOINTS, ObservedPeer(endpoint="10.0.0.1:1", last_handshake=NOW, received=1000, sent=1200), NOW + 1
    )
    path, state = step(
        path, ENDPOINTS, ObservedPeer(endpoint="10.0.0.1:1", last_handshake=NOW, received=1100, sent=1300), NOW + 2
    )
    assert (state, path.probed) == (PeerState.UP, None)


def _moved() -> Path:
    """The peer of `_up` announces another address."""
    seen = ObservedPeer(endpoint="10.0.0.1:1", last_handshake=NOW - 100, received=1000, sent=1000)
    path, state = step(_up(), MOVED, seen, NOW, allowed_ips=("10.0.0.1/32",))
    assert (state, path.probed) == (PeerState.UP, None)
    path, state = step(path, MOVED, seen, NOW + 1, allowed_ips=NEW_ADDRESS)
    assert (state, path.probed) == (PeerState.UP, NOW + 1)
    return path


def test_a_peer_that_has_withdrawn_its_address_is_followed_if_it_does_not_answer() -> None:
    seen = ObservedPeer(endpoint="10.0.0.1:1", last_handshake=NOW - 100, received=1000, sent=1300)
    path, state = step(_moved(), MOVED, seen, NOW + 3, allowed_ips=NEW_ADDRESS)
    assert (path.endpoint, state) == ("10.0.0.1:1", PeerState.UP)
    path, state = step(path, MOVED, seen, NOW + 4, allowed_ips=NEW_ADDRESS)
    assert (path.last_used, state) == ("10.0.0.7:1", PeerState.UNKNOWN)
    assert not path.is_withdrawn


def test_a_withdrawn_address_at_which_the_peer_answers_is_kept() -> None:
    answered = ObservedPeer(endpoint="10.0.0.1:1", last_handshake=NOW - 100, received=1100, sent=1100)
    path, state = step(_moved(), MOVED, answered, NOW + 2, allowed_ips=NEW_ADDRESS)
    assert (state, path.probed, path.is_withdrawn) == (PeerState.UP, None, False)
    path, state = step(path, MOVED, answered, NOW + 30, allowed_ips=NEW_ADDRESS)
    assert (path.endpoint, state) == ("10.0.0.1:1", PeerState.UP)


def test_a_peer_that_the_device_finds_behind_a_router_has_withdrawn_nothing() -> None:
    roamed = ObservedPeer(endpoint="198.51.100.7:4242", last_handshake=NOW, received=1100, sent=1000)
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


def test_a_keepalive_alone_is_no_reason_to_probe() -> None:
    path, _ = step(
        _up(), ENDPOINTS, ObservedPeer(endpoint="10.0.0.1:1", last_handshake=NOW, received=1000, sent=1032), NOW + 25
    )
    assert path.probed is None


def test_a_roamed_endpoint_is_kept_and_never_written_back() -> None:
    path, state = step(
        _up(),
        ENDPOINTS,
        ObservedPeer(endpoint="198.51.100.7:4242", last_handshake=NOW, received=1100, sent=1100),
        NOW + 30,
    )
    assert (state, path.endpoint, path.desired_endpoint) == (PeerState.UP, "198.51.100.7:4242", "")


def test_the_docstring_has_the_rules_of_the_data() -> None:
    data = [(rule.age, rule.evidence.value, rule.otherwise.value) for rule in (*rules.RULES, rules.SILENCE_RULE)]
    assert documented_rows(rules.__doc__, "age of the endpoint change") == data
    ages = [rule.age.split() for rule in rules.RULES]
    youngest, oldest = rules.ENDPOINT_CONNECTION_TIMEOUT, rules.PEER_DOWN_INTERVAL
    assert [float(age[2 if "than" in age else 0]) for age in ages] == [youngest, youngest, oldest]
    assert rules.Evidence.FRESH_HANDSHAKE.split()[-3] == f"{oldest:g}"


# From the last sign of life: quiet, probed, silent; and the interval of the looks.
LIMIT = rules.QUIET_TIMEOUT + rules.SILENCE_TIMEOUT + 1


@pytest.mark.parametrize("endpoints", [(), ENDPOINTS[:1], ENDPOINTS], ids=["no endpoint", "one", "two"])
@pytest.mark.parametrize(
    ("sent", "is_known"),
    [(148, True), (32, True), (0, True), (0, False)],
    ids=["packets are lost", "keepalives are lost", "not even sending works", "the device is gone"],
)
@pytest.mark.parametrize("used", ["", ENDPOINTS[0]], ids=["inbound", "outbound"])
def test_up_is_never_older_than_its_evidence(endpoints: tuple[str, ...], sent: int, is_known: bool, used: str) -> None:
    path = Path(last_used=used, last_change=NOW - 400 if used else None)
    for age in range(3):
        observed = ObservedPeer(endpoint=ENDPOINTS[0], last_handshake=NOW, received=1000 * age, sent=1000)
        path, state = step(path, endpoints, observed, NOW + age)
        assert state is PeerState.UP
    lost = attrs.evolve(observed)
    for age in range(3, 600):
        if age % 25 == 0:
            lost = attrs.evolve(lost, sent=lost.sent + sent, endpoint=path.endpoint)
        path, state = step(path, endpoints, lost if is_known else None, NOW + age)
        assert state is not PeerState.UP or age < LIMIT + 2


def test_a_silent_peer_without_another_endpoint_is_down_until_it_answers() -> None:
    path = _up()
    lost = ObservedPeer(endpoint="10.0.0.1:1", last_handshake=NOW - 100, received=1000, sent=1200)
    states = []
    for age in range(1, 40):
        path, state = step(path, ENDPOINTS[:1], lost, NOW + age)
        states.append(state)
    assert [(state, len(list(run))) for state, run in itertools.groupby(states)] == [
        (PeerState.UP, 11),
        (PeerState.DOWN, 28),
    ]
    path, state = step(path, ENDPOINTS[:1], attrs.evolve(lost, received=1100), NOW + 40)
    assert (state, path.last_used) == (PeerState.UP, "10.0.0.1:1")


def test_what_the_counters_say_at_the_first_look_is_no_sign_of_life() -> None:
    found = ObservedPeer(endpoint="10.0.0.1:1", last_handshake=NOW - 200, received=10**6, sent=10**6)
    path, state = step(Path(), ENDPOINTS[:1], found, NOW)
    assert (state, path.heard, path.probed) == (PeerState.UP, NOW - 200, NOW)
    path, state = step(path, ENDPOINTS[:1], found, NOW + rules.SILENCE_TIMEOUT)
    assert state is not PeerState.UP


def test_a_device_that_counts_from_zero_again_is_no_sign_of_life() -> None:
    path, _ = step(_up(), ENDPOINTS, ObservedPeer(endpoint="10.0.0.1:1", last_handshake=NOW - 100), NOW + 50)
    assert (path.heard, path.probed) == (NOW, NOW + 50)


@pytest.mark.parametrize("seed", range(20))
def test_up_follows_evidence_on_random_histories(seed: int) -> None:
    chance = random.Random(seed)
    path, observed, now, evidence = Path(), ObservedPeer(), NOW, -math.inf
    for _ in range(2000):
        now += chance.choice((1.0, 1.0, 1.0, 2.5))
        if chance.random() < 0.02:
            observed = attrs.evolve(observed, last_handshake=now, received=observed.received + 92)
            evidence = now
        if chance.random() < 0.05:
            observed = attrs.evolve(observed, received=observed.received + 32)
            evidence = now
        if chance.random() < 0.3:
            observed = attrs.evolve(observed, sent=observed.sent + chance.choice((32, 148)))
        path, state = step(path, chance.choice((ENDPOINTS, ENDPOINTS[:1])), observed, now)
        observed = attrs.evolve(observed, endpoint=path.endpoint)
        assert state is not PeerState.UP or now - evidence < LIMIT + 2.5


@pytest.mark.parametrize("field", attrs.fields(ObservedPeer), ids=lambda field: str(field.name))
def test_of_a_probed_peer_everything_but_more_bytes_sent_is_news(field: "attrs.Attribute[object]") -> None:
    before = ObservedPeer(endpoint="192.0.2.1:1", last_handshake=NOW, received=100, sent=100)
    others: dict[str, Any] = {"endpoint": "192.0.2.2:1", "relay": "relay", "last_handshake": NOW + 1}
    changes: dict[str, Any] = {field.name: others.get(field.name, 148)}
    after = attrs.evolve(before, **changes)
    assert rules.is_the_same(Path(probed=NOW), before, after) is (field.name == "sent")
    assert not rules.is_the_same(Path(), before, after)
    assert not rules.is_the_same(Path(probed=NOW), after, before)
    assert rules.is_the_same(Path(), before, attrs.evolve(before))


@pytest.mark.parametrize("seed", range(20))
def test_looks_that_are_left_out_while_nothing_changes_would_have_found_nothing(seed: int) -> None:
    """Against a look every second, over ten minutes of a device that shows changes now and then."""
    chance = random.Random(seed)
    endpoints = tuple(f"10.0.0.{number}:1" for number in range(chance.choice((0, 1, 1, 2, 3))))
    observed: ObservedPeer | None = ObservedPeer()
    each = seldom = Path()
    looked, left_out = -math.inf, 0
    # What the last look was made of, if it found nothing new.
    shown: ObservedPeer | tuple[()] | None = ()
    read = -math.inf
    for second in range(600):
        now = NOW + second + chance.choice((0.0, 0.25))
        if observed is not None and chance.random() < 0.02:
            handshake = now - chance.random() if chance.random() < 0.5 else observed.last_handshake
            observed = ObservedPeer(
                endpoint=chance.choice(("", "10.0.0.0:1", "10.9.9.9:9")),
                last_handshake=handshake,
                received=observed.received + chance.choice((0, 0, 32, 148)),
                sent=observed.sent + chance.choice((0, 32, 148, 1480)),
                answered=chance.random() < 0.3,
            )
        elif observed is not None:
            observed = attrs.evolve(observed, answered=False)
        each, state = step(each, endpoints, observed, now)
        is_known = not isinstance(shown, tuple) and rules.is_the_same(seldom, shown, observed)
        if is_known and now < rules.changes_at(seldom, looked):
            left_out, read = left_out + 1, now
        else:
            before = seldom.read_again(read) if read > looked else seldom
            seldom, _ = step(before, endpoints, observed, now)
            looked, shown = now, observed if rules.found_nothing(before, seldom, now) else ()
        # What has been sent to a peer that does not answer is no reason for a look.
        assert attrs.evolve(seldom, handshake=each.handshake, sent=each.sent) == each
        assert seldom.last_handshake == each.last_handshake
        assert seldom.state(now) is each.state(now), state
    assert left_out > 300


@pytest.mark.parametrize("stepped", [3600.0, -3600.0])
def test_a_step_of_the_wall_clock_changes_no_state_and_no_endpoint(stepped: float) -> None:
    """The same history with and without a step in the middle of it; the device tells handshakes by the wall clock."""
    outcomes = []
    for offset in (0.0, stepped):
        path, states = Path(), []
        observed = ObservedPeer()
        for age in range(1200):
            wall_offset = offset if age >= 300 else 0.0
            # Handshakes every two minutes until the path dies.
            if age % 120 == 10 and age < 700:
                observed = attrs.evolve(
                    observed, last_handshake=NOW + age + wall_offset, received=observed.received + 92
                )
            if age < 700:
                observed = attrs.evolve(observed, received=observed.received + 32)
            observed = attrs.evolve(observed, sent=observed.sent + 148, endpoint=path.endpoint)
            path, state = step(path, ENDPOINTS, observed, NOW + age, wall_offset=wall_offset)
            states.append((state, path.endpoint))
        outcomes.append(states)
    assert outcomes[0] == outcomes[1]


@pytest.mark.parametrize(("stepped", "state"), [(3600.0, PeerState.UP), (-3600.0, PeerState.UNKNOWN)])
def test_an_agent_that_starts_after_a_step_is_doubtful_of_old_handshakes(stepped: float, state: PeerState) -> None:
    """`stepped` is what the handshake is in the future: it counts until a probe has had its time, and no longer."""
    observed = ObservedPeer(endpoint="10.0.0.1:1", last_handshake=NOW + stepped, received=1000, sent=1000)
    path, found = step(Path(), ENDPOINTS, observed, NOW)
    assert found is state
    path, found = step(path, ENDPOINTS, observed, NOW + rules.SILENCE_TIMEOUT)
    assert found is not PeerState.UP
    assert path.last_used


def look(path: Path, at: float, *, received: int, sent: int, answered: bool = False, handshake: float = -1.0) -> Path:
    seen = ObservedPeer(endpoint="a:1", last_handshake=handshake, received=received, sent=sent, answered=answered)
    return path.observed(seen, at)


def _asked(*, answered: bool) -> Path:
    """A peer that has come up, was asked, and has sent something."""
    path = look(Path(), 0.0, received=100, sent=100)
    assert path.state(0.0) is PeerState.UP
    assert path.probed == 0.0
    path = look(path, 1.0, received=200, sent=200, answered=answered)
    assert (path.probed, path.answers) == (None, answered)
    return path


@pytest.mark.parametrize("answers", [True, False])
def test_what_a_peer_sends_of_its_own_accord_is_no_sign_that_it_is_reached(answers: bool) -> None:
    path = look(_asked(answered=answers), 2.0, received=200, sent=400)
    assert path.probed == 2.0
    # From here on nothing gets to it. It sends keepalives, data, and handshakes that it begins.
    for second in range(3, 20):
        path = look(path, second, received=200 + 148 * second, sent=400 + 96 * second)
        assert path.is_deaf(second) is (answers and second - 2.0 >= rules.SILENCE_TIMEOUT)
        assert not path.is_silent(second)
    assert path.state(20.0) is PeerState.UP
    # Both ends try a handshake meanwhile, and none is completed.
    for second in range(20, 200):
        path = look(path, second, received=200 + 148 * second, sent=400 + 96 * second)
        assert path.is_silent(second) is (answers and second + 1.0 >= rules.HANDSHAKE_DUE)


def test_a_peer_that_answers_is_heard_however_much_else_it_sends() -> None:
    path = _asked(answered=True)
    for second in range(2, 60):
        path = look(path, second, received=200 + 148 * second, sent=400 + 96 * second, answered=second % 4 == 0)
        assert not path.is_silent(second)
    assert path.answers


def test_a_completed_handshake_shows_that_a_peer_answers_no_echoes_any_more() -> None:
    path = look(_asked(answered=True), 3.0, received=200, sent=500)
    path = look(path, 4.0, received=300, sent=600)
    assert path.probed == 3.0
    path = look(path, 5.0, received=400, sent=700, handshake=4.5)
    assert (path.probed, path.answers) == (None, False)
    for second in range(6, 30):
        path = look(path, second, received=400 + 100 * second, sent=700 + 100 * second, handshake=4.5)
        assert not path.is_silent(second)


def test_a_device_that_roams_back_to_a_path_cut_one_way_leaves_it_again() -> None:
    """What the peer sends from there takes the device back: that it answers is known of the peer, not of the path."""
    endpoints = ("a:1", "b:1")
    path = _asked(answered=True)
    tried = []
    for second in range(2, 160):
        seen = ObservedPeer(endpoint="a:1", last_handshake=-1.0, received=200 + 148 * second, sent=400 + 96 * second)
        path, _ = step(path, endpoints, seen, second)
        tried.append(path.endpoint)
    # Once, and once a handshake was due that did not come, again and again.
    assert tried.count("b:1") == 4


@pytest.mark.parametrize("endpoints", [("a:1",), ("a:1", "b:1")], ids=["one endpoint", "two"])
def test_a_peer_whose_answers_are_lost_while_data_passes_both_ways_is_up_and_hardly_moved(
    endpoints: tuple[str, ...],
) -> None:
    """A firewall or a limit drops its echoes from some moment on; it is reached at both endpoints, and shakes hands."""
    path, handshake, moves, used = Path(), 0.0, 0, "a:1"
    for second in range(1200):
        if second % 120 == 0:
            handshake = float(second)
        seen = ObservedPeer(
            endpoint=used,
            last_handshake=handshake,
            received=100 + 1000 * second,
            sent=100 + 1000 * second,
            answered=second < 20,
        )
        path, state = step(path, endpoints, seen, second)
        moves += path.endpoint != used
        used = path.endpoint
        # What it was given just now is tried, and answers within a second.
        assert state is PeerState.UP or path.last_change == second
    assert moves == len(endpoints) - 1
    assert not path.answers


@pytest.mark.parametrize(
    ("carried", "are"),
    [
        ((0, 0, 0, 0), True),
        ((1, 0, 32, 0), True),
        ((0, 1, 0, 16), True),
        ((7, 4, 7 * 32, 4 * 16), True),
        # The smallest packets of users, 20 bytes that are padded to 32.
        ((1, 0, 64, 0), False),
        ((0, 1, 0, 48), False),
        ((8, 4, 7 * 32 + 64, 4 * 16), False),
        ((7, 5, 7 * 32, 4 * 16 + 48), False),
        # Parts of handshakes: the first, the second, and a cookie.
        ((1, 0, 148, 0), False),
        ((0, 1, 0, 148), False),
        ((2, 1, 92 + 32, 16), False),
        ((1, 0, 64, 16), False),
        # What does not fit is none of them: a link that counts otherwise, or another link of this name.
        ((1, 0, 0, 0), False),
        ((0, 1, 0, 32), False),
        ((-1, 0, -32, 0), False),
        ((0, -2, 0, -32), False),
    ],
)
def test_keepalives_alone_are_told_by_what_a_link_counts(carried: tuple[int, int, int, int], are: bool) -> None:
    before = Traffic(1000, 2000, 123_456, 234_567)
    now = Traffic(1000 + carried[0], 2000 + carried[1], 123_456 + carried[2], 234_567 + carried[3])
    assert rules.are_keepalives(before, now) is are
