"""How often a client may call."""

import pytest

from nodespan.discovery.service.rate_limit import RateLimit
from nodespan.runtime.api.grpc import RPCError

FOREVER = float("inf")


class _Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_a_burst_of_sixty_calls_passes_and_then_fifteen_a_second() -> None:
    limit = RateLimit(15, _Clock())
    assert [limit.reserve("a", FOREVER) for _ in range(60)] == [0] * 60
    assert [limit.reserve("a", FOREVER) for _ in range(3)] == pytest.approx([1 / 15, 2 / 15, 3 / 15])
    assert limit.reserve("b", FOREVER) == 0


def test_a_call_that_would_have_to_wait_beyond_its_deadline_fails_at_once_and_takes_nothing() -> None:
    clock = _Clock()
    limit = RateLimit(15, clock)
    for _ in range(60):
        limit.reserve("a", FOREVER)
    for _ in range(10):
        with pytest.raises(RPCError, match="15 requests a second") as caught:
            limit.reserve("a", clock.now + 0.01)
        assert caught.value.code.name == "RESOURCE_EXHAUSTED"
    assert limit.reserve("a", clock.now + 1) == pytest.approx(1 / 15)


def test_a_call_that_need_not_wait_takes_its_turn_and_one_that_must_takes_none() -> None:
    clock = _Clock()
    limit = RateLimit(15, clock)
    assert [limit.has_turn("a") for _ in range(62)] == [True] * 60 + [False] * 2
    assert limit.reserve("a", FOREVER) == pytest.approx(1 / 15)
    clock.now += 1 / 15
    # The one that was reserved goes before.
    assert not limit.has_turn("a")
    clock.now += 1 / 15 + 1e-6
    assert limit.has_turn("a")
    assert limit.has_turn("b")


def test_idle_clients_are_dropped() -> None:
    clock = _Clock()
    limit = RateLimit(15, clock)
    for _ in range(15):
        limit.reserve("busy", FOREVER)
    limit.reserve("quiet", FOREVER)
    clock.now += 0.5
    limit.drop_idle()
    assert len(limit) == 1
    clock.now += 0.6
    limit.drop_idle()
    assert len(limit) == 0
