"""Long work of several tasks shares the slice of each round of the loop."""

import math

import pytest
import trio
import trio.testing

from nodespan.runtime import slices
from nodespan.runtime.slices import Slices

# A power of two: times are exact, whatever they are added up of. A slice is five of them.
UNIT = 1 / 1024


@pytest.fixture(autouse=True)
def slice_of_units(monkeypatch: pytest.MonkeyPatch) -> None:
    """Slices of whole units."""
    monkeypatch.setattr(slices, "SLICE", 5 * UNIT)


class Rounds(trio.abc.Instrument):
    """How long each round of the loop took, by a clock that only the test moves."""

    def __init__(self) -> None:
        clock = trio.lowlevel.current_clock()
        assert isinstance(clock, trio.testing.MockClock)
        clock.autojump_threshold = math.inf
        self._clock = clock
        self._began = clock.current_time()
        self.units: list[int] = []
        trio.lowlevel.add_instrument(self)

    def work(self) -> None:
        """Something takes one unit."""
        self._clock.jump(UNIT)

    def after_io_wait(self, timeout: float) -> None:
        self._began = self._clock.current_time()

    def before_io_wait(self, timeout: float) -> None:
        self.units.append(int((self._clock.current_time() - self._began) / UNIT))


async def _long_work(rounds: Rounds, items: int) -> None:
    slicing = Slices()
    for _ in range(items):
        rounds.work()
        await slicing.rest()


@pytest.mark.virtual_clock
@pytest.mark.parametrize("tasks", [1, 2, 5])
async def test_what_becomes_ready_waits_for_one_slice_and_half_of_one_of_each_other_task(tasks: int) -> None:
    rounds = Rounds()
    async with trio.open_nursery() as nursery:
        for _ in range(tasks):
            nursery.start_soon(_long_work, rounds, 40)
    # 5 units, and half of that, in whole objects, of each task that finds them used up.
    assert max(rounds.units) == 5 + (tasks - 1) * 3
    assert sum(rounds.units) == tasks * 40


@pytest.mark.virtual_clock
async def test_long_work_goes_on_beside_any_other() -> None:
    rounds = Rounds()
    done: list[int] = []

    async def work(number: int, items: int) -> None:
        await _long_work(rounds, items)
        done.append(number)

    async with trio.open_nursery() as nursery:
        for number in range(3):
            nursery.start_soon(work, number, 1000 if number < 2 else 20)
    # It has at least half of a slice in each round, so 20 rounds are enough.
    assert done[0] == 2


@pytest.mark.virtual_clock
async def test_work_in_parts_has_a_slice_and_a_half_in_a_round() -> None:
    """Each part begins its own slices, as functions do that are called one after the other."""
    rounds = Rounds()
    for _ in range(20):
        await _long_work(rounds, 4)
    await trio.lowlevel.checkpoint()
    assert max(rounds.units) <= 8
    assert sum(rounds.units) == 80


@pytest.mark.virtual_clock
async def test_work_that_takes_no_time_is_done_in_one_piece() -> None:
    rounds = Rounds()
    slicing = Slices()
    for _ in range(10_000):
        await slicing.rest()
    assert not slicing.is_over
    assert rounds.units == []
