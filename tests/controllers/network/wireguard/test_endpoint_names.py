"""Endpoints by name: when they are looked up, what comes of it, and when a peer counts as silent."""

import contextlib
import datetime
import math
from collections.abc import AsyncIterator, Sequence

import pytest
import trio

from nodespan.controllers.network.wireguard.endpoint_names import EndpointNames, Silence, is_silent, next_endpoint
from nodespan.kernel.wireguard.device import PeerConfig, PeerState
from nodespan.kernel.wireguard.handshake import Handshake

NOW = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
SILENCE = Silence()


def peer(*, handshake: float | None, sent: int = 0, received: int = 0, keepalive: int = 0) -> PeerState:
    return PeerState(
        config=PeerConfig(public_key="k", persistent_keepalive=keepalive),
        last_handshake_time=None if handshake is None else NOW - datetime.timedelta(seconds=handshake),
        transmit_bytes=sent,
        receive_bytes=received,
    )


@pytest.mark.parametrize(
    ("before", "now", "known_for", "silent"),
    [
        # Nobody speaks to it.
        (None, peer(handshake=None), 1000, False),
        (peer(handshake=900, sent=7), peer(handshake=900, sent=7), 1000, False),
        # Spoken to, and never heard of.
        (None, peer(handshake=None, keepalive=25), 20, True),
        (None, peer(handshake=None, keepalive=25), 10, False),
        (peer(handshake=None), peer(handshake=None, sent=148), 20, True),
        # Heard of, and no more.
        (peer(handshake=130), peer(handshake=130, keepalive=5, sent=1), 1000, False),
        (peer(handshake=140), peer(handshake=140, sent=1), 1000, True),
        (None, peer(handshake=140, keepalive=5), 1000, True),
        (None, peer(handshake=140), 1000, False),
        # The session is old, and something comes still.
        (peer(handshake=140), peer(handshake=140, sent=1, received=1), 1000, False),
        # Its address is new.
        (None, peer(handshake=500, keepalive=5), 5, False),
    ],
)
def test_a_peer_is_silent_if_it_is_sent_to_and_does_not_answer(
    before: PeerState | None, now: PeerState, known_for: float, silent: bool
) -> None:
    told = now.last_handshake_time
    since_handshake = math.inf if told is None else (NOW - told).total_seconds()
    assert is_silent(now, before, known_for=known_for, since_handshake=since_handshake, silence=SILENCE) is silent


@pytest.mark.parametrize("stepped", [3600.0, -3600.0])
def test_a_step_of_the_wall_clock_makes_no_peer_silent_and_hides_no_silent_one(stepped: float) -> None:
    outcomes = []
    for step in (0.0, stepped):
        handshake, told, silent = Handshake(), 0.0, []
        for now in range(0, 1200, 10):
            wall_offset = step if now >= 300 else 0.0
            if now % 120 == 0 and now < 700:
                told = now + wall_offset
            handshake = handshake.observed(told, now, wall_offset)
            assert handshake.at is not None
            spoken_to = peer(handshake=None, keepalive=25)
            silent.append(
                is_silent(spoken_to, None, known_for=1000, since_handshake=now - handshake.at, silence=SILENCE)
            )
        outcomes.append(silent)
    assert outcomes[0] == outcomes[1]
    assert outcomes[0].index(True) == 74


@pytest.mark.parametrize(
    ("told", "seen", "found", "expected"),
    [
        ("a", "a", ["a"], "a"),
        ("a", "a", ["b"], "b"),
        ("a", "a", ["b", "c"], "b"),
        ("a", "a", ["a", "b"], "b"),
        ("b", "b", ["a", "b"], "a"),
        ("b", "", ["a", "b"], "a"),
        # It moved by itself, and its name means what it meant: it stays where it was heard last.
        ("a", "elsewhere", ["a", "b"], "a"),
        ("a", "elsewhere", ["b"], "b"),
    ],
)
def test_a_silent_peer_is_looked_for_where_its_name_points(
    told: str, seen: str, found: list[str], expected: str
) -> None:
    assert next_endpoint(told, seen, found) == expected


class Resolver:
    """Answers by what is set, and notes when it was asked."""

    def __init__(self, *answer: str) -> None:
        self.answer: Sequence[str] | OSError | None = answer
        self.asked: list[float] = []

    async def __call__(self, host: str) -> Sequence[str]:
        assert host == "vpn.example"
        self.asked.append(trio.current_time())
        await trio.lowlevel.checkpoint()
        if self.answer is None:
            await trio.sleep_forever()
        if isinstance(self.answer, OSError):
            raise self.answer
        assert self.answer is not None
        return self.answer


@contextlib.asynccontextmanager
async def looked_up(resolver: Resolver) -> AsyncIterator[tuple[EndpointNames, list[str]]]:
    changed: list[str] = []
    names = EndpointNames(changed.append, lookup=resolver)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(names.run)
        names.want("k", "vpn.example:7")
        yield names, changed
        nursery.cancel_scope.cancel()


@pytest.mark.virtual_clock
async def test_a_name_is_looked_up_once_while_all_is_well() -> None:
    resolver = Resolver("192.0.2.1", "2001:db8::1", "192.0.2.1")
    async with looked_up(resolver) as (names, changed):
        assert names.address("k") == ""
        await trio.sleep(1000)
        assert (names.address("k"), names.problem("k")) == ("192.0.2.1:7", "")
        assert names.known_for("k", trio.current_time()) == 1000
        names.want("k", "vpn.example:7")
        await trio.sleep(1000)
        assert (len(resolver.asked), changed) == (1, ["k"])
        names.want("k", "vpn.example:8")
        await trio.sleep(1)
        assert names.address("k") == "192.0.2.1:8"
        names.forget("k")
        assert "k" not in names


@pytest.mark.virtual_clock
async def test_a_name_that_cannot_be_looked_up_is_tried_less_and_less_often() -> None:
    resolver = Resolver()
    resolver.answer = OSError(-3, "Temporary failure in name resolution")
    async with looked_up(resolver) as (names, changed):
        await trio.sleep(190)
        waits = [round(later - sooner, 3) for sooner, later in zip(resolver.asked, resolver.asked[1:], strict=False)]
        assert waits == [1, 2, 4, 8, 16, 32, 60, 60]
        assert names.problem("k") == (
            "endpoint vpn.example:7: its name cannot be looked up: Temporary failure in name resolution"
        )
        resolver.answer = ("192.0.2.1",)
        await trio.sleep(60)
        assert (names.address("k"), names.problem("k")) == ("192.0.2.1:7", "")
        assert set(changed) == {"k"}


@pytest.mark.virtual_clock
@pytest.mark.parametrize(
    ("answer", "problem"), [(None, "takes too long"), ((), "means nothing"), (("nonsense",), "'nonsense'")]
)
async def test_a_name_without_a_meaning_is_a_problem(answer: Sequence[str] | None, problem: str) -> None:
    resolver = Resolver()
    resolver.answer = answer
    async with looked_up(resolver) as (names, _):
        await trio.sleep(6)
        assert problem in names.problem("k")


@pytest.mark.virtual_clock
async def test_one_name_that_takes_long_holds_up_no_other() -> None:
    async def lookup(host: str) -> Sequence[str]:
        if host == "slow.example":
            await trio.sleep_forever()
        return ("192.0.2.1",)

    changed: list[str] = []
    names = EndpointNames(changed.append, lookup=lookup)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(names.run)
        names.want("slow", "slow.example:7")
        names.want("fast", "fast.example:7")
        await trio.sleep(1)
        assert changed == ["fast"]
        nursery.cancel_scope.cancel()


@pytest.mark.virtual_clock
async def test_a_silent_peer_has_its_name_looked_up_again_but_not_all_the_time() -> None:
    resolver = Resolver("192.0.2.1")
    async with looked_up(resolver) as (names, _):
        await trio.sleep(1)
        names.heard_nothing("k", "192.0.2.1:7")
        await trio.sleep(1)
        assert len(resolver.asked) == 1
        await trio.sleep(30)
        resolver.answer = ("192.0.2.2",)
        names.heard_nothing("k", "192.0.2.1:7")
        await trio.sleep(1)
        assert names.address("k") == "192.0.2.2:7"
        assert names.known_for("k", trio.current_time()) == 1
        # A name that meant something once is taken to mean that still.
        await trio.sleep(30)
        resolver.answer = OSError(-2, "Name or service not known")
        names.heard_nothing("k", "192.0.2.2:7")
        await trio.sleep(1)
        assert (names.address("k"), names.problem("k")) == ("192.0.2.2:7", "")


def test_invalid_endpoints_are_rejected() -> None:
    async def lookup(host: str) -> Sequence[str]:
        raise AssertionError(host)

    async def refuse() -> None:
        with pytest.raises(ValueError, match="is not an endpoint"):
            EndpointNames(lambda _: None, lookup=lookup).want("k", "vpn.example")

    trio.run(refuse)
