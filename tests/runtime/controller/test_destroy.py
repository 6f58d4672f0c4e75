"""The generic destroy controller: what was torn down, belongs to nobody and is held by nobody goes; all else stays."""

import pytest

from nodespan.runtime.controller.destroy import DestroyController
from nodespan.runtime.graph import EdgeKind
from nodespan.runtime.testing.engine_suite import Integer
from nodespan.runtime.testing.kit import running
from tests.runtime.parts import integer

pytestmark = pytest.mark.virtual_clock


@pytest.mark.parametrize("concurrency", [1, 4])
async def test_torn_down_resources_without_owner_are_destroyed_when_they_have_no_finalizers(concurrency: int) -> None:
    async with running(DestroyController(Integer, concurrency=concurrency)) as node:
        await node.create(integer(Integer.kind, "before"))
        await node.teardown(Integer, "before")
        for id in ("running", "torn down", "held"):
            await node.create(integer(Integer.kind, id))
        await node.create(integer(Integer.kind, "owned"), owner="owner")
        await node.state.add_finalizer(Integer, "held", "holder")
        await node.settled()
        await node.teardown(Integer, "torn down")
        await node.teardown(Integer, "held")
        await node.teardown(Integer, "owned", owner="owner")
        await node.settled()
        assert [it.id for it in node.state.list(Integer)] == ["held", "owned", "running"]
        await node.state.remove_finalizer(Integer, "held", "holder")
        await node.settled()
        assert [it.id for it in node.state.list(Integer)] == ["owned", "running"]


async def test_it_destroys_what_was_torn_down_before_it_started() -> None:
    async with running() as node:
        await node.create(integer(Integer.kind, "one"))
        await node.teardown(Integer, "one")
        await node.engine.register(DestroyController(Integer))
        await node.gone(Integer, "one")


async def test_it_is_named_after_the_type_and_shares_it() -> None:
    async with running(DestroyController(Integer)) as node:
        assert [(edge.controller, edge.kind) for edge in node.engine.graph.edges] == [
            (f"Destroy[{Integer.name}]", EdgeKind.OUTPUT_SHARED),
            (f"Destroy[{Integer.name}]", EdgeKind.INPUT_PRIMARY),
        ]
