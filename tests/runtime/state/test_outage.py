"""Since when a state is out of reach, on a machine whose wall clock is set meanwhile."""

import pytest

from nodespan.runtime.state import Outage

_SECOND = 10**9
_HOUR = 3600 * _SECOND


@pytest.mark.parametrize("step", [0, _HOUR, -_HOUR])
def test_an_outage_began_so_long_ago_however_the_wall_clock_was_set(step: int) -> None:
    wall, boot = 1_700_000_000 * _SECOND, 500 * _SECOND
    outage = Outage(boot, "the cable")
    now = wall + 60 * _SECOND + step
    since = outage.since(lambda: now, lambda: boot + 60 * _SECOND)
    assert now - since == 60 * _SECOND


@pytest.mark.parametrize("step", [_HOUR, -_HOUR])
def test_of_two_outages_the_earlier_one_stays_so_when_the_wall_clock_is_set_between_them(step: int) -> None:
    boot = 500 * _SECOND
    first, second = Outage(boot, "one"), Outage(boot + _SECOND, "two")
    now = 1_700_000_000 * _SECOND + step
    assert first.since(lambda: now, lambda: boot + 9 * _SECOND) < second.since(lambda: now, lambda: boot + 9 * _SECOND)
