"""Times of day that are shown follow the steps of the wall clock, and nothing else."""

import pytest
import trio

from nodespan.controllers.common.wall_offset import LOOK_INTERVAL, WallOffset, follow_steps


class Clocks:
    """A boot clock and a wall clock."""

    def __init__(self) -> None:
        self.boot, self.ahead = 100.0, 1_000_000.0
        self.offset = WallOffset(lambda: self.boot, lambda: self.boot + self.ahead)


def test_a_clock_that_is_slewed_changes_no_time_that_is_shown() -> None:
    clocks = Clocks()
    for _ in range(10):
        clocks.boot += 60
        clocks.ahead += 0.09
        assert clocks.offset.text(100.0) == "1970-01-12T13:48:20Z"
        assert clocks.offset.time_of_day(100.0).isoformat() == "1970-01-12T13:48:20+00:00"


@pytest.mark.parametrize(("step", "shown"), [(3600, "1970-01-12T14:48:20Z"), (-3600, "1970-01-12T12:48:20Z")])
@pytest.mark.virtual_clock
async def test_each_step_is_noticed_once(step: int, shown: str) -> None:
    clocks, texts = Clocks(), list[str]()

    async def show() -> None:
        texts.append(clocks.offset.text(100.0))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(follow_steps, clocks.offset, show)
        await trio.sleep(5 * LOOK_INTERVAL)
        assert texts == []
        clocks.ahead += step
        # Another reader of the same clock comes first.
        clocks.offset.read()
        await trio.sleep(5 * LOOK_INTERVAL)
        assert texts == [shown]
        nursery.cancel_scope.cancel()
