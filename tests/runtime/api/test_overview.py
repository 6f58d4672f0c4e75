"""The status for clients: made once, or again after each change of what it is made from."""

import threading
from contextlib import aclosing
from pathlib import Path

import attrs
import pytest
import structlog
import trio
import trio.testing

from nodespan.runtime.api import overview
from nodespan.runtime.api.overview import StatusReports
from nodespan.runtime.controller import Logger
from nodespan.runtime.overview import Fact, Glance, Section, SectionView
from nodespan.runtime.resource import ResourceType
from nodespan.runtime.state import MemoryState
from nodespan.runtime.state.meta import register_types
from tests.runtime.api.test_local import serving


@attrs.frozen(kw_only=True)
class LampSpec:
    """A lamp."""

    is_on: bool = False


Lamp = ResourceType("Lamps.test.dev", LampSpec, namespace="test")
Other = ResourceType("Others.test.dev", LampSpec, namespace="test")


def lamps(glance: Glance) -> SectionView:
    return SectionView(facts=tuple(Fact(lamp.id, str(lamp.spec.is_on)) for lamp in glance.list(Lamp)))


async def load(_log: Logger) -> list[Section]:
    return [Section(name="lamps", title="Lamps", inputs=(Lamp,), view=lamps)]


@pytest.mark.virtual_clock
async def test_a_watch_shows_changes_of_the_inputs_together_and_of_nothing_else() -> None:
    state = MemoryState()
    await register_types(state, [Lamp, Other])
    reports = StatusReports(state, structlog.get_logger(), version="1", load=load).reports(state, watch=True)
    seen: list[list[list[str]]] = []

    async def follow() -> None:
        async for answer in reports:
            seen.append(answer["status"]["sections"][0]["facts"])

    async with trio.open_nursery() as nursery:
        nursery.start_soon(follow)
        await trio.testing.wait_all_tasks_blocked()
        await state.create(Other.new("x", LampSpec()))
        await trio.sleep(10)
        assert seen == [[]]
        await state.create(Lamp.new("a", LampSpec()))
        await state.create(Lamp.new("b", LampSpec(is_on=True)))
        await trio.sleep(10)
        assert seen[1:] == [[["a", "False"], ["b", "True"]]]
        nursery.cancel_scope.cancel()
    await reports.aclose()


@pytest.mark.virtual_clock
@pytest.mark.parametrize("taken", [1, 2])
async def test_what_changes_while_a_client_receives_a_report_is_in_the_next_one(taken: int) -> None:
    state = MemoryState()
    await register_types(state, [Lamp])
    async with aclosing(
        StatusReports(state, structlog.get_logger(), version="1", load=load).reports(state, watch=True)
    ) as reports:
        for number in range(taken):
            await anext(reports)
            await state.create(Lamp.new(f"lamp {number}", LampSpec()))
        with trio.fail_after(10):
            answer = await anext(reports)
    assert len(answer["status"]["sections"][0]["facts"]) == taken


async def test_packages_are_loaded_once_and_not_on_the_event_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    threads: list[threading.Thread] = []

    def noted(_log: Logger) -> list[Section]:
        threads.append(threading.current_thread())
        return []

    monkeypatch.setattr(overview, "load_sections", noted)
    state = MemoryState()
    await register_types(state, [Lamp])
    status = StatusReports(state, structlog.get_logger(), version="1")
    for _ in range(2):
        async with aclosing(status.reports(state, watch=False)) as reports:
            assert [answer async for answer in reports]
    assert len(threads) == 1
    assert threads[0] is not threading.current_thread()


async def test_the_socket_answers_with_the_sections_of_the_installed_packages(tmp_path: Path) -> None:
    async with serving(tmp_path) as served:
        answer, end = await served.ask({"call": "status"})
    assert end == {"end": True}
    status = answer["status"]
    assert (status["version"], status["healthy"]) == ("1.2.3", True)
    assert [section["name"] for section in status["sections"]][:2] == ["node", "mesh"]
