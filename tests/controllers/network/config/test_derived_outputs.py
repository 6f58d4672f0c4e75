"""Outputs that several parts ask for."""

from collections.abc import Mapping, Sequence

import structlog

from nodespan.controllers.network.config.derived_outputs import DerivedOutputs, Requested
from nodespan.resources.network import HostnameStatus, HostnameStatusSpec, NetworkProblem
from nodespan.runtime.controller import ControllerContext, shared
from nodespan.runtime.state import MemoryState

NAME = "test.DerivedController"

Part = Mapping[str, str]


def joined(requests: Sequence[str]) -> HostnameStatusSpec:
    return HostnameStatusSpec(hostname="+".join(requests))


class Bench:
    """Parts that are what they ask for; `requested` are those that were looked at."""

    def __init__(self, state: MemoryState) -> None:
        ctx = ControllerContext(
            NAME, state, (), (shared(HostnameStatus), shared(NetworkProblem)), structlog.get_logger()
        )
        self._outputs: DerivedOutputs[str, HostnameStatusSpec] = DerivedOutputs(ctx, HostnameStatus, "network", joined)
        self._state = state
        self.requested: list[Part] = []

    def request(self, part: Part) -> Requested[str]:
        self.requested.append(part)
        requests = tuple((id, text) for id, text in part.items() if text != "bad")
        return Requested(outputs=requests, problems=tuple((id, text) for id, text in part.items() if text == "bad"))

    async def follow(self, *parts: Part, depends_on: str = "") -> dict[str, str]:
        self.requested.clear()
        await self._outputs.follow(
            {(number,): part for number, part in enumerate(parts)}, self.request, depends_on=depends_on
        )
        return {each.id: each.spec.hostname for each in self._state.list(HostnameStatus)}

    def problems(self) -> list[str]:
        return [each.spec.id for each in self._state.list(NetworkProblem)]


async def test_requests_for_one_output_are_combined_in_the_order_of_parts() -> None:
    bench = Bench(MemoryState())
    assert await bench.follow({"a": "1"}, {"a": "2", "b": "x"}) == {"a": "1+2", "b": "x"}
    assert await bench.follow({"a": "3"}, {"a": "2"}) == {"a": "3+2"}
    assert await bench.follow({}, {"a": "2"}) == {"a": "2"}
    assert await bench.follow() == {}


async def test_only_changed_parts_are_derived_again() -> None:
    bench = Bench(MemoryState())
    await bench.follow({"a": "1"}, {"b": "2"})
    assert len(bench.requested) == 2
    await bench.follow({"a": "1"}, {"b": "3"})
    assert bench.requested == [{"b": "3"}]
    await bench.follow({"a": "1"}, {"b": "3"}, depends_on="another")
    assert len(bench.requested) == 2


async def test_problems_come_and_go_with_their_parts() -> None:
    bench = Bench(MemoryState())
    await bench.follow({"a": "bad"}, {"b": "2"})
    assert bench.problems() == ["a"]
    await bench.follow({"a": "bad"}, {"b": "bad"})
    assert bench.problems() == ["a", "b"]
    await bench.follow({"a": "1"})
    assert bench.problems() == []


async def test_outputs_of_an_earlier_run_are_removed() -> None:
    state = MemoryState()
    await Bench(state).follow({"a": "1"}, {"b": "bad"})
    bench = Bench(state)
    assert await bench.follow({"c": "1"}) == {"c": "1"}
    assert bench.problems() == []


async def test_a_held_output_is_removed_or_recreated_when_it_is_released() -> None:
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
