"""Events come from differences between states of resources, form a bounded ring, and outlive the agent."""

import datetime
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypeVar

import attrs
import pytest
import trio

from nodespan.runtime.errors import RegistrationError
from nodespan.runtime.events import Event, EventController, EventRule, EventSpec, Happening, Severity
from nodespan.runtime.events.observer import agent_rule
from nodespan.runtime.lifecycle import AGENT_ID, AgentLifecycle, AgentLifecycleSpec
from nodespan.runtime.resource import Resource, ResourceType
from nodespan.runtime.state import State
from nodespan.runtime.testing import Node, running

T = TypeVar("T")
NOON = datetime.datetime(2026, 1, 2, 12, tzinfo=datetime.UTC)


@attrs.frozen(kw_only=True)
class LampSpec:
    """A lamp."""

    is_on: bool = False
    watts: int = 0


Lamp = ResourceType("Lamps.test.dev", LampSpec, namespace="test")


def describe(before: Resource[LampSpec] | None, now: Resource[LampSpec] | None) -> Iterable[Happening]:
    if now is None:
        assert before is not None
        yield Happening("lamp", f"{before.id} is gone", Severity.WARNING)
    elif before is None or before.spec.is_on != now.spec.is_on:
        yield Happening("lamp", f"{now.id} is {'on' if now.spec.is_on else 'off'}")


def ended(last: EventSpec) -> Happening | None:
    return None if last.text.endswith(("gone", "looked")) else Happening("lamp", f"{last.id} went while nobody looked")


def observer(path: Path | None = None, *, capacity: int = 100, first_look: bool = False) -> EventController:
    async def settled(_within: float) -> bool:
        await trio.sleep(1)
        return True

    return EventController(
        [EventRule(type=Lamp, describe=describe, ended=ended)],
        path=path,
        capacity=capacity,
        settled=settled if first_look else None,
        now=lambda: NOON,
        blocking=directly,
    )


async def directly(function: Callable[..., T], *arguments: Any) -> T:
    """A virtual clock does not wait for threads."""
    return function(*arguments)


def texts(state: State) -> list[str]:
    return [event.spec.text for event in state.list(Event)]


async def lamp(node: Node, id: str, *, is_on: bool = True, watts: int = 0) -> None:
    await node.put(Lamp, id, LampSpec(is_on=is_on, watts=watts))
    await node.settled()


@pytest.mark.virtual_clock
async def test_a_difference_that_a_rule_names_is_an_event_and_any_other_is_none() -> None:
    async with running(observer()) as node:
        await lamp(node, "a")
        await lamp(node, "a", watts=40)
        await lamp(node, "a", is_on=False, watts=40)
        await node.destroy(Lamp, "a")
        await node.settled()
        assert texts(node.state) == ["a is on", "a is off", "a is gone"]
        last = node.state.list(Event)[-1].spec
    expected = EventSpec(
        time=NOON,
        severity=Severity.WARNING,
        kind="lamp",
        text="a is gone",
        namespace="test",
        type="Lamps.test.dev",
        id="a",
    )
    assert last == expected


@pytest.mark.virtual_clock
async def test_the_oldest_events_make_room_and_ids_are_in_the_order_of_time() -> None:
    async with running(observer(capacity=12)) as node:
        for number in range(30):
            await lamp(node, f"{number}")
        events = node.state.list(Event)
    assert [event.spec.id for event in events] == [str(number) for number in range(18, 30)]
    assert [int(event.id) for event in events] == list(range(19, 31))


@pytest.mark.virtual_clock
async def test_texts_of_others_are_one_line_without_control_characters_and_not_endless() -> None:
    async with running(observer()) as node:
        await lamp(node, "a\nb\x1b[31m\u202e" + "x" * 400)
        (text,) = texts(node.state)
    assert text.startswith("a\\nb\\x1b[31m\\u202exxx")
    assert len(text) <= 300


@pytest.mark.virtual_clock
async def test_a_restart_of_the_agent_that_changed_nothing_is_no_event(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    async with running(observer(path)) as node:
        await lamp(node, "a")
        await lamp(node, "b")
    async with running(observer(path)) as node:
        await lamp(node, "a")
        await lamp(node, "b", is_on=False)
        assert texts(node.state) == ["a is on", "b is on", "b is off"]
        await node.destroy(Lamp, "a")
        await node.settled()
        await lamp(node, "a")
        assert texts(node.state)[3:] == ["a is gone", "a is on"]


@pytest.mark.virtual_clock
async def test_what_ended_while_no_agent_ran_is_said_once_after_the_first_look(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    async with running(observer(path)) as node:
        await lamp(node, "a")
        await lamp(node, "b")
    for _ in range(2):
        async with running(observer(path, first_look=True)) as node:
            await lamp(node, "b")
            await trio.sleep(2)
            await node.settled()
            found = texts(node.state)
        assert found == ["a is on", "b is on", "a went while nobody looked"]


@pytest.mark.virtual_clock
async def test_starts_and_stops_of_the_agent_are_events_each_time(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    for _ in range(2):
        async with running(EventController([agent_rule("1.2.3")], path=path, blocking=directly)) as node:
            await node.create(AgentLifecycle.new(AGENT_ID, AgentLifecycleSpec(pid=7)))
            await node.settled()
            await node.teardown(AgentLifecycle, AGENT_ID)
            await node.settled()
            found = texts(node.state)
    assert found == ["the agent starts: version 1.2.3, process 7", "the agent stops"] * 2


@pytest.mark.virtual_clock
async def test_events_that_cannot_be_written_are_shown_and_written_as_soon_as_that_works(tmp_path: Path) -> None:
    path = tmp_path / "missing" / "events.jsonl"
    async with running(observer(path)) as node:
        await lamp(node, "a")
        await trio.sleep(100)
        assert texts(node.state) == ["a is on"]
        path.parent.mkdir()
    async with running(observer(path)) as node:
        await lamp(node, "b")
        assert texts(node.state) == ["a is on", "b is on"]


@pytest.mark.virtual_clock
@pytest.mark.parametrize("until", ["later", "the stop"])
async def test_a_file_that_cannot_be_read_at_first_is_not_replaced_and_its_events_come_first(
    tmp_path: Path, until: str
) -> None:
    path, away = tmp_path / "events.jsonl", tmp_path / "away"
    async with running(observer(path)) as node:
        await lamp(node, "a")
        await lamp(node, "b")
    path.rename(away)
    path.mkdir()
    expected = ["a is on", "b is on", "c is on", "d is on"]
    async with running(observer(path)) as node:
        await lamp(node, "c")
        await trio.sleep(1)
        await lamp(node, "d")
        assert texts(node.state) == ["c is on", "d is on"]
        path.rmdir()
        away.rename(path)
        if until == "later":
            await trio.sleep(200)
            assert texts(node.state) == expected
            assert [int(found.id) for found in node.state.list(Event)] == [1, 2, 3, 4]
            await lamp(node, "e")
            expected.append("e is on")
            assert texts(node.state) == expected
    async with running(observer(path)) as node:
        await node.settled()
        assert texts(node.state) == expected


@pytest.mark.virtual_clock
async def test_changes_of_types_without_a_rule_wake_nothing() -> None:
    other = ResourceType("Others.test.dev", LampSpec, namespace="test")
    async with running(observer()) as node:
        await lamp(node, "a")
        before = node.engine.runners["runtime.EventController"].status().wakeups
        for number in range(20):
            await node.put(other, f"{number}", LampSpec())
        await node.settled()
        assert node.engine.runners["runtime.EventController"].status().wakeups == before


@pytest.mark.virtual_clock
async def test_changes_of_nothing_but_what_all_rules_of_a_type_ignore_wake_nothing() -> None:
    def watts(before: Resource[LampSpec] | None, now: Resource[LampSpec] | None) -> Iterable[Happening]:
        if before is not None and now is not None and now.spec.watts > before.spec.watts:
            yield Happening("lamp", f"{now.id} takes {now.spec.watts} W")

    careless = EventRule(type=Lamp, describe=describe, ignoring=("watts",))
    for rules, wakes in (([careless], 0), ([careless, EventRule(type=Lamp, describe=watts)], 1)):
        async with running(EventController(rules, now=lambda: NOON, blocking=directly)) as node:
            await lamp(node, "a")
            before = node.engine.runners["runtime.EventController"].status().wakeups
            await lamp(node, "a", watts=40)
            assert node.engine.runners["runtime.EventController"].status().wakeups == before + wakes
            assert texts(node.state) == ["a is on", "a takes 40 W"][: 1 + wakes]
    with pytest.raises(RegistrationError, match="cannot ignore colour"):
        EventRule(type=Lamp, describe=describe, ignoring=("colour",))


@pytest.mark.virtual_clock
async def test_what_has_to_settle_is_an_event_only_if_it_is_still_so() -> None:
    rule = EventRule(type=Lamp, describe=describe, settle=3.0)
    async with running(EventController([rule], now=lambda: NOON, blocking=directly)) as node:
        await lamp(node, "short")
        await lamp(node, "long")
        await trio.sleep(1)
        await node.destroy(Lamp, "short")
        await lamp(node, "long", watts=5)
        await trio.sleep(1.5)
        assert texts(node.state) == []
        await trio.sleep(1)
        assert texts(node.state) == ["long is on"]
        await lamp(node, "long", is_on=False)
        await lamp(node, "long")
        await trio.sleep(10)
        assert texts(node.state) == ["long is on"]
        await node.destroy(Lamp, "long")
        await trio.sleep(10)
        assert texts(node.state) == ["long is on", "long is gone"]
