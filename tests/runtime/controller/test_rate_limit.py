"""The limit on writes: a burst at once, then so many a second; reads are free."""

import pytest
import structlog
import trio

from nodespan.runtime.controller import Access, exclusive, strong
from nodespan.runtime.controller.context import RateLimit
from nodespan.runtime.errors import AccessError
from nodespan.runtime.state import MemoryState
from nodespan.runtime.testing.engine_suite import Integer, IntegerSpec, Text, TextSpec
from tests.runtime.parts import integer

pytestmark = pytest.mark.virtual_clock


def limited(rate: float, burst: int) -> Access:
    inputs, outputs = [strong(Integer)], [exclusive(Integer)]
    return Access("C", MemoryState(), inputs, outputs, structlog.get_logger(), RateLimit(rate, burst))


async def test_a_burst_is_free_and_the_rest_takes_its_time() -> None:
    ctx = limited(10, 20)
    started = trio.current_time()
    for count in range(20):
        await ctx.put(Integer, str(count), IntegerSpec(0))
    assert trio.current_time() == started
    for count in range(30):
        await ctx.put(Integer, str(count), IntegerSpec(1))
    assert trio.current_time() - started == pytest.approx(3.0)


async def test_no_more_than_a_burst_is_saved_up() -> None:
    ctx = limited(10, 2)
    await ctx.put(Integer, "one", IntegerSpec(0))
    await trio.sleep(1000)
    started = trio.current_time()
    for value in range(1, 5):
        await ctx.put(Integer, "one", IntegerSpec(value))
    assert trio.current_time() - started == pytest.approx(0.2)


async def test_every_writing_call_takes_a_token_whatever_comes_of_it_and_reading_none() -> None:
    ctx = limited(1, 1)
    started = trio.current_time()
    await ctx.create(integer(Integer.kind, "one"))
    for _ in range(100):
        ctx.get(Integer, "one")
        ctx.list(Integer)
    await ctx.modify(integer(Integer.kind, "one"), lambda it: it)
    await ctx.put(Integer, "one", IntegerSpec(0))
    await ctx.add_finalizer(Integer, "one")
    await ctx.remove_finalizer(Integer, "one")
    with pytest.raises(AccessError):
        await ctx.put(Text, "one", TextSpec(""))
    await ctx.teardown(Integer, "one")
    await ctx.destroy(Integer, "one")
    assert trio.current_time() - started == pytest.approx(7.0)


async def test_waiting_for_a_token_can_be_cancelled() -> None:
    ctx = limited(0.001, 1)
    await ctx.put(Integer, "one", IntegerSpec(0))
    with trio.move_on_after(1) as scope:
        await ctx.put(Integer, "one", IntegerSpec(1))
    assert scope.cancelled_caught
    assert ctx.get(Integer, "one").spec == IntegerSpec(0)


@pytest.mark.parametrize(("rate", "burst", "text"), [(1, 0, "burst of at least 1"), (0, 1, "a rate above 0")])
def test_a_limit_of_zero_is_refused(rate: float, burst: int, text: str) -> None:
    with pytest.raises(ValueError, match=text):
        RateLimit(rate, burst)
