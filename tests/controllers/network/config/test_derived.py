"""Outputs that several parts ask for."""

from collections.abc import Mapping, Sequence

import structlog

from nodespan.controllers.network.config.derived import Asked, Derived
from nodespan.resources.network import HostnameStatus, HostnameStatusSpec, NetworkProblem
from nodespan.runtime.controller import ControllerContext, shared
from nodespan.runtime.state import MemoryState

NAME = "test.DerivedController"

Part = Mapping[str, str]


def joined(wishes: Sequence[str]) -> HostnameStatusSpec:
    return HostnameStatusSpec(hostname="+".join(wishes))


class Bench:
    """Parts that are what they ask for; `asked` are those that were looked at."""

    def __init__(self, state: MemoryState) -> None:
        ctx = ControllerContext(
            NAME, state, (), (shared(HostnameStatus), shared(NetworkProblem)), structlog.get_logger()
        )
        self._derived: Derived[str, HostnameStatusSpec] = Derived(ctx, HostnameStatus, "network", joined)
        self._state = state
        self.asked: list[Part] = []

    def ask(self, part: Part) -> Asked[str]:
        self.asked.append(part)
        wishes = tuple((id, text) for id, text in part.items() if text != "bad")
        return Asked(wishes=wishes, problems=tuple((id, text) for id, text in part.items() if text == "bad"))

    async def follow(self, *parts: Part, context: str = "") -> dict[str, str]:
        self.asked.clear()
        await self._derived.follow({(number,): part for number, part in enumerate(parts)}, self.ask, context=context)
        return {each.id: each.spec.hostname for each in self._state.list(HostnameStatus)}

    def problems(self) -> list[str]:
        return [each.spec.id for each in self._state.list(NetworkProblem)]


async def test_several_parts_are_heard_in_their_order() -> None:
    bench = Bench(MemoryState())
    assert await bench.follow({"a": "1"}, {"a": "2", "b": "x"}) == {"a": "1+2", "b": "x"}
    assert await bench.follow({"a": "3"}, {"a": "2"}) == {"a": "3+2"}
    assert await bench.follow({}, {"a": "2"}) == {"a": "2"}
    assert await bench.follow() == {}


async def test_only_parts_that_changed_are_looked_at() -> None:
    bench = Bench(MemoryState())
    await bench.follow({"a": "1"}, {"b": "2"})
    assert len(bench.asked) == 2
    await bench.follow({"a": "1"}, {"b": "3"})
    assert bench.asked == [{"b": "3"}]
    await bench.follow({"a": "1"}, {"b": "3"}, context="another")
    assert len(bench.asked) == 2


async def test_problems_come_and_go_with_their_parts() -> None:
    bench = Bench(MemoryState())
    await bench.follow({"a": "bad"}, {"b": "2"})
    assert bench.problems() == ["a"]
    await bench.follow({"a": "bad"}, {"b": "bad"})
    assert bench.problems() == ["a", "b"]
    await bench.follow({"a": "1"})
    assert bench.problems() == []


async def test_what_an_earlier_run_left_goes() -> None:
    state = MemoryState()
    await Bench(state).follow({"a": "1"}, {"b": "bad"})
    bench = Bench(state)
    assert await bench.follow({"c": "1"}) == {"c": "1"}
    assert bench.problems() == []


async def test_an_output_that_is_held_goes_or_comes_back_when_it_is_let_go() -> None:
    state = MemoryState()
    bench = Bench(state)
    await bench.follow({"a": "1", "b": "1"})
    for id in ("a", "b"):
        await state.add_finalizer(HostnameStatus, id, "somebody")
    assert await bench.follow({}) == {"a": "1", "b": "1"}
    assert await bench.follow({"b": "2"}) == {"a": "1", "b": "1"}
    for id in ("a", "b"):
        await state.remove_finalizer(HostnameStatus, id, "somebody")
    assert await bench.follow({"b": "2"}) == {"b": "2"}
