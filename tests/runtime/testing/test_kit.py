"""The kit: waits return what they waited for, and say what is there instead; a crash fails the test."""

import math
import time
from collections.abc import Awaitable, Callable

import pytest
import trio
import trio.testing

from nodespan.runtime.controller import Controller, ControllerContext, QueueContext, exclusive, primary, weak
from nodespan.runtime.resource import Pointer
from nodespan.runtime.state import MemoryState
from nodespan.runtime.testing import kit
from nodespan.runtime.testing.engine_suite import Integer, IntegerSpec, Text, TextSpec, in_digits
from nodespan.runtime.testing.kit import ControllerCrashedError, running
from tests.runtime.parts import Jobs, Routine, Turns, integer

pytestmark = pytest.mark.virtual_clock


class Digits(Controller):
    name = "test.Digits"
    inputs = (weak(Integer),)
    outputs = (exclusive(Text),)

    async def run(self, ctx: ControllerContext) -> None:
        async for _ in ctx:
            async with ctx.tracked_outputs(Text):
                for number in ctx.list(Integer):
                    if number.spec.value == 13:
                        raise ValueError("unlucky")
                    await trio.sleep(1)
                    await ctx.put(Text, number.id, in_digits(number.spec))


async def test_a_controller_is_tested_in_ten_lines() -> None:
    async with running(Digits()) as node:
        await node.create(Integer.new("one", IntegerSpec(1)))
        output = await node.eventually(Text, "one")
        assert output.spec == TextSpec("1")
        await node.put(Integer, "one", IntegerSpec(2))
        await node.eventually(Text, "one", spec=TextSpec("2"))
        await node.destroy(Integer, "one")
        await node.gone(Text, "one")


async def test_what_is_so_already_is_not_waited_for() -> None:
    async with running(Digits()) as node:
        await node.create(Integer.new("one", IntegerSpec(1)))
        before = trio.current_time()
        await node.eventually(Integer, "one", lambda it: it.spec.value == 1, spec=IntegerSpec(1))
        await node.gone(Integer, "two")
        assert trio.current_time() == before


async def test_settled_waits_for_turns_and_jobs_that_take_their_time() -> None:
    async def slowly(_ctx: QueueContext, _item: Pointer[IntegerSpec]) -> None:
        await trio.sleep(4)

    jobs = Jobs("jobs", primary(Integer), reconcile=slowly)
    async with running(Digits(), jobs) as node:
        await node.settled()
        started = trio.current_time()
        await node.create(Integer.new("one", IntegerSpec(1)))
        await node.create(Integer.new("two", IntegerSpec(1)))
        await node.settled()
        assert trio.current_time() - started == pytest.approx(8, abs=0.1)
        assert len(node.state.list(Text)) == len(jobs.done) == 2


async def test_put_creates_and_updates_and_keeps_the_labels_that_it_is_not_given() -> None:
    async with running() as node:
        await node.put(Integer, "one", IntegerSpec(1), labels={"a": "b"})
        await node.put(Integer, "one", IntegerSpec(2))
        resource = node.state.get(Integer, "one")
        assert (resource.spec, resource.metadata.labels) == (IntegerSpec(2), {"a": "b"})


async def test_a_state_may_be_given_and_outlives_the_engine() -> None:
    state = MemoryState()
    async with running(Digits(), state=state) as node:
        await node.create(Integer.new("one", IntegerSpec(1)))
        await node.settled()
    assert state.get(Text, "one").spec == TextSpec("1")


# What the failures say.


async def test_a_wait_that_fails_reports_the_condition_the_observed_state_and_the_controllers() -> None:
    async with running(Digits(), Jobs("jobs", primary(Integer))) as node:
        await node.create(Integer.new("one", IntegerSpec(1)))
        await node.settled()
        started = trio.current_time()
        with pytest.raises(AssertionError) as raised:
            await node.eventually(Text, "two", within=3.0)
        assert trio.current_time() - started == pytest.approx(3)
        assert str(raised.value).splitlines() == [
            "waited 3 s for Texts.test.nodespan.dev(default/two) to exist, but of its kind there is only one",
            "  test.Digits: running, 1 wake-ups, 1 writes, 0 crashes",
            "  jobs: running, 1 wake-ups, 0 writes, 0 crashes",
        ]


async def test_a_wait_for_a_spec_shows_the_one_that_is_there() -> None:
    async with running() as node:
        await node.create(integer(Integer.kind, "one", 1, labels={"a": "b"}, finalizers=("holder",)), owner="me")
        await node.teardown(Integer, "one", owner="me")
        with pytest.raises(AssertionError) as raised:
            await node.eventually(Integer, "one", spec=IntegerSpec(2))
        assert str(raised.value) == (
            "waited 30 s for Integers.test.nodespan.dev(default/one) to have the spec IntegerSpec(value=2), but it is "
            "there (tearingDown, version 2, owner me; labels {'a': 'b'}; finalizers holder) with IntegerSpec(value=1)"
        )
        with pytest.raises(AssertionError, match="to be gone, but it is there"):
            await node.gone(Integer, "one")


def is_large(number: object) -> bool:
    return False


async def test_a_wait_for_a_condition_names_it() -> None:
    async with running() as node:
        with pytest.raises(
            AssertionError, match="to exist and satisfy is_large, but it is not there, nor is any other"
        ):
            await node.eventually(Integer, "one", is_large)


async def test_of_many_others_a_few_are_named() -> None:
    async with running() as node:
        for id in range(100, 150):
            await node.create(Integer.new(str(id), IntegerSpec(1)))
        with pytest.raises(AssertionError, match=r"there is only 100, 101, .* 109, \.\.\.$"):
            await node.eventually(Integer, "one")


async def test_settling_that_fails_names_the_controllers_at_work() -> None:
    async def never(ctx: ControllerContext) -> None:
        async for _ in ctx:
            await trio.sleep_forever()

    async with running(Routine("busy", never), Turns("idle", weak(Integer))) as node:
        with pytest.raises(AssertionError, match="these are in a turn still: busy\n"):
            await node.settled()


async def spin(ctx: ControllerContext) -> None:
    async for _ in ctx:
        ctx.wake()


@pytest.mark.parametrize("wait", ["eventually", "gone", "settled", "crashed"])
async def test_a_controller_that_never_waits_fails_the_wait_also_where_time_stands_still(
    wait: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kit, "STANDSTILL", 0.05)
    async with running(Routine("spinning", spin)) as node:
        await node.create(integer(Integer.kind, "one"))
        waits: dict[str, Callable[[], Awaitable[object]]] = {
            "eventually": lambda: node.eventually(Text, "one"),
            "gone": lambda: node.gone(Integer, "one"),
            "settled": node.settled,
            "crashed": node.crashed,
        }
        with pytest.raises(AssertionError, match=r"spinning: running, \d\d+ wake-ups"):
            await waits[wait]()


async def test_a_wait_that_lasts_longer_than_a_standstill_is_let_be(monkeypatch: pytest.MonkeyPatch) -> None:
    # Long enough for a busy machine: within it the clock has to tick once.
    monkeypatch.setattr(kit, "STANDSTILL", 0.2)
    ends = time.monotonic() + 0.5

    async def tick(ctx: ControllerContext) -> None:
        while time.monotonic() < ends:  # noqa: ASYNC110  # it is real time that has to pass
            await trio.sleep(1)
        await ctx.put(Text, "one", TextSpec(""))

    async with running(Routine("ticking", tick, outputs=[exclusive(Text)])) as node:
        await node.eventually(Text, "one", within=math.inf)


async def test_a_machine_that_stands_still_for_as_long_as_a_wait_does_not_end_it() -> None:
    clock = trio.lowlevel.current_clock()
    assert isinstance(clock, trio.testing.MockClock)
    async with running() as node, trio.open_nursery() as nursery:
        nursery.start_soon(node.eventually, Integer, "one")
        await trio.testing.wait_all_tasks_blocked()
        clock.jump(kit.PATIENCE)
        await trio.lowlevel.checkpoint()
        await node.create(integer(Integer.kind, "one"))


# Crashes.


async def test_a_crash_fails_the_wait_that_is_under_way_with_the_error_as_its_cause() -> None:
    async def waiting() -> None:
        async with running(Digits()) as node:
            await node.create(Integer.new("one", IntegerSpec(13)))
            await node.eventually(Text, "one")

    started = trio.current_time()
    with pytest.raises(ControllerCrashedError, match=r"'test\.Digits' failed: ValueError\('unlucky'\)") as raised:
        await waiting()
    assert isinstance(raised.value.__cause__, ValueError)
    assert trio.current_time() == started


async def test_an_unexpected_crash_fails_the_test_at_the_end() -> None:
    async def sleeping() -> None:
        async with running(Digits()) as node:
            await node.create(Integer.new("one", IntegerSpec(13)))
            await trio.sleep(60)

    with pytest.raises(ControllerCrashedError):
        await sleeping()


async def test_an_expected_crash_does_not() -> None:
    async with running(Digits()) as node:
        await node.create(Integer.new("one", IntegerSpec(13)))
        error = await node.crashed("test.Digits")
        assert str(error) == "unlucky"
        await node.put(Integer, "one", IntegerSpec(1))
        await node.eventually(Text, "one")
        assert [crash.error for crash in node.crashes] == [error]


async def test_a_crash_of_another_controller_than_the_expected_one_does() -> None:
    async def expecting_another() -> None:
        async with running(Digits(), Turns("other")) as node:
            await node.create(Integer.new("one", IntegerSpec(13)))
            await node.crashed("other")

    with pytest.raises(ControllerCrashedError, match=r"test\.Digits"):
        await expecting_another()


async def test_a_crash_that_does_not_come_is_missed() -> None:
    async with running(Digits()) as node:
        with pytest.raises(AssertionError, match=r"waited 30 s for test\.Digits to fail"):
            await node.crashed("test.Digits")


async def test_crashes_may_be_allowed() -> None:
    async with running(Digits(), allow_crashes=True) as node:
        await node.create(Integer.new("one", IntegerSpec(13)))
        await node.settled()
        with pytest.raises(AssertionError, match="last error ValueError: unlucky"):
            await node.eventually(Text, "one")
        assert {crash.controller for crash in node.crashes} == {"test.Digits"}


async def test_a_failed_assertion_of_the_test_is_raised_as_it_is_with_a_note_of_the_crashes() -> None:
    async def failing() -> None:
        async with running(Digits()) as node:
            await node.create(Integer.new("one", IntegerSpec(13)))
            await trio.sleep(0.1)
            raise AssertionError("the test's own")

    with pytest.raises(AssertionError, match="the test's own") as raised:
        await failing()
    assert raised.value.__notes__ == ["controller 'test.Digits' had failed: ValueError('unlucky')"]


async def test_skips_and_timeouts_pass_through() -> None:
    with pytest.raises(pytest.skip.Exception):
        async with running():
            pytest.skip("not here")
    with trio.move_on_after(1) as scope:
        async with running(Digits()):
            await trio.sleep_forever()
    assert scope.cancelled_caught
