"""Controllers of a namespace that is out of reach wait for it; the others go on."""

import attrs
import pytest
import trio

from nodespan.runtime.controller import (
    Controller,
    ControllerContext,
    Input,
    QueueContext,
    QueueController,
    exclusive,
    primary,
)
from nodespan.runtime.controller.declarations import weak
from nodespan.runtime.engine.status import ControllerState, ControllerStatus
from nodespan.runtime.errors import UnavailableError
from nodespan.runtime.resource import Kind, Phase, Pointer, Resource, ResourceType
from nodespan.runtime.state import MemoryState, Outage
from nodespan.runtime.state.base import ExpectedPhase
from nodespan.runtime.state.mounted import MountedState
from nodespan.runtime.testing import running
from nodespan.runtime.testing.engine_suite import Integer, IntegerSpec, Text, TextSpec

pytestmark = pytest.mark.virtual_clock

FAR: Kind[IntegerSpec] = Integer.within("far")
FarText = ResourceType("FarTexts.test.nodespan.dev", TextSpec, namespace="far")


@attrs.define(eq=False)
class _Reach:
    """Whether the state is within reach, and what was read of it."""

    lost: Outage | None = None
    back: trio.lowlevel.ParkingLot = attrs.field(factory=trio.lowlevel.ParkingLot)

    def lose(self, *, is_loaded: bool) -> None:
        self.lost = Outage(0, "the cable", is_loaded)

    def regain(self) -> None:
        self.lost = None
        self.back.unpark_all()


class _Far(MemoryState):
    """A state that is out of reach from time to time."""

    def __init__(self, reach: _Reach) -> None:
        super().__init__()
        self._reach = reach

    def outage(self, namespace: str) -> Outage | None:
        return self._reach.lost

    async def until_available(self, namespace: str) -> None:
        while self._reach.lost is not None:
            await self._reach.back.park()

    def _check(self, namespace: str) -> None:
        if self._reach.lost is not None:
            raise UnavailableError("the cable", namespace=namespace)

    async def create(self, resource: Resource[TextSpec], *, owner: str = "") -> Resource[TextSpec]:  # type: ignore[override]
        self._check(resource.metadata.namespace)
        return await super().create(resource, owner=owner)

    async def update(  # type: ignore[override]
        self, resource: Resource[TextSpec], *, owner: str = "", expected_phase: ExpectedPhase = Phase.RUNNING
    ) -> Resource[TextSpec]:
        self._check(resource.metadata.namespace)
        return await super().update(resource, owner=owner, expected_phase=expected_phase)


class _Count(Controller):
    """How many numbers there are far away, as a text here."""

    name = "test.Count"
    inputs: tuple[Input, ...] = (weak(FAR),)
    outputs = (exclusive(Text),)

    async def run(self, ctx: ControllerContext) -> None:
        async for _ in ctx:
            await ctx.put(Text, "count", TextSpec(str(len(ctx.list(FAR)))))


class _ToFar(Controller):
    """Numbers here, as texts far away."""

    name = "test.ToFar"
    inputs = (weak(Integer),)
    outputs = (exclusive(FarText),)

    async def run(self, ctx: ControllerContext) -> None:
        async for _ in ctx:
            for number in ctx.list(Integer):
                await ctx.put(FarText, number.id, TextSpec(str(number.spec.value)))


class _QueueToFar(QueueController):
    """The same, number by number."""

    name = "test.QueueToFar"
    inputs = (primary(Integer),)
    outputs = (exclusive(FarText),)

    async def reconcile(self, ctx: QueueContext, item: Pointer[IntegerSpec]) -> None:
        await ctx.put(FarText, item.id, TextSpec(str(ctx.get(Integer, item.id).spec.value)))


class _Here(Controller):
    """Needs nothing from far away."""

    name = "test.Here"
    inputs = (weak(Integer),)
    outputs = (exclusive(Text),)

    async def run(self, ctx: ControllerContext) -> None:
        async for _ in ctx:
            for number in ctx.list(Integer):
                await ctx.put(Text, number.id, TextSpec("here"))


def _mounted(reach: _Reach) -> tuple[MountedState, _Far]:
    state, far = MountedState(MemoryState()), _Far(reach)
    state.mount("far", far)
    return state, far


@pytest.mark.parametrize("dynamic", [False, True])
async def test_a_controller_does_not_take_for_empty_what_was_not_read_yet(*, dynamic: bool) -> None:
    class Late(_Count):
        inputs = ()

        async def run(self, ctx: ControllerContext) -> None:
            ctx.set_inputs([weak(FAR)])
            await super().run(ctx)

    reach = _Reach()
    reach.lose(is_loaded=False)
    state, far = _mounted(reach)
    async with running(Late() if dynamic else _Count(), state=state) as node:
        await node.eventually(ControllerStatus, _Count.name, lambda found: found.spec.state is ControllerState.WAITING)
        assert node.state.find(Text, "count") is None
        reach.regain()
        await far.create(FarText.new("t", TextSpec("")))
        await node.eventually(Text, "count", spec=TextSpec("0"))
        await node.eventually(ControllerStatus, _Count.name, lambda found: found.spec.state is ControllerState.RUNNING)
        assert node.engine.runners[_Count.name].access.counters.crashes == 0


@pytest.mark.parametrize("controller", [_ToFar, _QueueToFar])
async def test_a_controller_waits_for_what_it_writes_and_the_others_go_on(
    controller: type[_ToFar] | type[_QueueToFar],
) -> None:
    reach = _Reach()
    state, _ = _mounted(reach)
    async with running(controller(), _Here(), state=state) as node:
        await node.create(Integer.new("a", IntegerSpec(1)))
        await node.eventually(FarText, "a", spec=TextSpec("1"))
        reach.lose(is_loaded=True)
        await node.create(Integer.new("b", IntegerSpec(2)))
        await node.eventually(Text, "b", spec=TextSpec("here"))
        await trio.sleep(3600)
        assert node.state.find(FarText, "b") is None
        reach.regain()
        await node.eventually(FarText, "b", spec=TextSpec("2"))
        assert node.engine.runners[controller.name].access.counters.crashes == 0
