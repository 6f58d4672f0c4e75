"""What the waits of tests do on a machine that is slow, or stands still."""

import itertools

import pytest
import trio
import trio.testing

from tests.support.deadlines import PATIENCE
from tests.support.process import eventually

pytestmark = pytest.mark.virtual_clock


async def test_a_machine_that_stands_still_for_as_long_as_a_wait_does_not_end_it() -> None:
    clock = trio.lowlevel.current_clock()
    assert isinstance(clock, trio.testing.MockClock)
    looks = itertools.count()

    def check() -> bool:
        clock.jump(0.0 if next(looks) else PATIENCE)
        return next(looks) > 1

    assert await eventually(check)


async def test_what_takes_long_is_looked_at_less_often() -> None:
    began, looks = trio.current_time(), itertools.count()
    with pytest.raises(AssertionError, match="still returns False"):
        await eventually(lambda: next(looks) < 0)
    assert PATIENCE <= trio.current_time() - began < 1.1 * PATIENCE
    assert next(looks) < 200
