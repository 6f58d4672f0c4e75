"""Controllers for agents under test, named to them as `--controllers tests.runtime.cli.fixtures:...`."""

import json
import os
import time

import attrs
import trio

from nodespan.runtime.controller import Controller, ControllerContext, exclusive
from nodespan.runtime.resource import ResourceType


@attrs.frozen(kw_only=True)
class ThingSpec:
    text: str = ""


Thing = ResourceType("Things.test.dev", ThingSpec, namespace="test", columns={"Text": ".text"})
Secret = ResourceType("Secrets.test.dev", ThingSpec, namespace="test", sensitive=True)


class ThingController(Controller):
    """Keeps the things as the file named by $NODESPAN_TEST_THINGS says, slow to see it as real ones are."""

    name = "test.ThingController"
    outputs = (exclusive(Thing), exclusive(Secret))

    async def run(self, ctx: ControllerContext) -> None:
        await trio.to_thread.run_sync(time.sleep, 0.3)
        async for _ in ctx:
            things = json.loads(await trio.Path(os.environ["NODESPAN_TEST_THINGS"]).read_text())
            async with ctx.tracked_outputs(Thing, Secret):
                for id, text in things.items():
                    await ctx.put(Thing, id, ThingSpec(text=text))
                await ctx.put(Secret, "one", ThingSpec(text="hush"))
