"""When a failed check is believed, and when a recovered one."""

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nodespan.controllers.network.vip.conditions.health import FIRST_HOLD, FORGIVENESS, LONGEST_HOLD, Health, step


def after(checks: str, *, health: Health | None = None, failures: int = 2, at: float = 0.0) -> Health:
    """The health after one check per second: + succeeded, - failed."""
    health = Health(since=at) if health is None else health
    for index, sign in enumerate(checks):
        health = step(health, succeeded=sign == "+", now=at + index, failures=failures)
    return health


@pytest.mark.parametrize(
    ("checks", "ok"),
    [
        ("+", True),
        ("-", False),
        ("-+", True),
        ("+-", True),
        ("+-+-+-+", True),
        ("+--", False),
        ("+--+", False),
        ("+--++", False),
        ("+--+++", True),
        ("+--+++--+++", False),
        ("+--+++--+++++", True),
        ("+--++-+++", True),
        ("+--++-++", False),
    ],
)
def test_one_failure_is_an_accident_and_a_recovery_must_last(checks: str, ok: bool) -> None:
    assert after(checks).ok is ok


def test_how_many_failures_are_believed_is_configured() -> None:
    assert after("+--", failures=3).ok
    assert not after("+---", failures=3).ok
    assert not after("+-", failures=1).ok


def test_the_wait_doubles_with_each_failure_up_to_a_limit() -> None:
    health, now, holds = Health(), 0.0, []
    for _ in range(9):
        while not health.ok:
            health, now = step(health, succeeded=True, now=now, failures=1), now + 1
        health = step(health, succeeded=False, now=now, failures=1)
        holds.append(health.hold)
    assert holds == [FIRST_HOLD * 2**n if FIRST_HOLD * 2**n < LONGEST_HOLD else LONGEST_HOLD for n in range(9)]


def test_good_times_make_earlier_failures_forgotten() -> None:
    bad = after("+--+++--+++++--")
    assert bad.level == 3
    good = attrs.evolve(bad, ok=True, since=100.0)
    soon = step(good, succeeded=False, now=110.0, failures=1)
    later = step(good, succeeded=False, now=100.0 + 2 * FORGIVENESS, failures=1)
    much_later = step(good, succeeded=False, now=100.0 + 50 * FORGIVENESS, failures=1)
    assert (soon.level, later.level, much_later.level) == (4, 2, 1)


@given(st.lists(st.booleans(), max_size=200), st.integers(1, 4))
def test_it_holds_only_after_a_success_and_fails_only_after_as_many_failures_as_needed(
    checks: list[bool], failures: int
) -> None:
    health = Health()
    in_a_row = 0
    for now, succeeded in enumerate(checks):
        before, health = health, step(health, succeeded=succeeded, now=now, failures=failures)
        in_a_row = 0 if succeeded else in_a_row + 1
        if health.ok and not before.ok:
            assert succeeded
        if before.ok and not health.ok:
            assert in_a_row == failures
