"""A server that follows its settings."""

from typing import Any

import attrs
import pytest
import trio

from nodespan.controllers.common.followed_server import CannotListenError, FollowedServer
from nodespan.runtime.errors import leaves

pytestmark = pytest.mark.virtual_clock


@attrs.define
class Scene:
    """A server that is opened and closed, unless it is told to fail; and the wake-ups of its controller."""

    failure: str = ""
    log: list[str] = attrs.field(factory=list)
    woken: list[float] = attrs.field(factory=list)

    def wake(self) -> None:
        self.woken.append(trio.current_time())

    async def open(self, settings: str, nursery: trio.Nursery) -> None:
        if self.failure:
            raise CannotListenError(self.failure)

        async def serve(*, task_status: trio.TaskStatus[None]) -> None:
            self.log.append(f"+{settings}")
            task_status.started()
            try:
                await trio.sleep_forever()
            finally:
                self.log.append(f"-{settings}")

        await nursery.start(serve)

    def server(self, nursery: trio.Nursery) -> FollowedServer[str]:
        ctx: Any = self
        return FollowedServer(ctx, nursery, self.open)


async def test_it_is_opened_closed_and_replaced_as_its_settings_ask() -> None:
    scene = Scene()
    async with trio.open_nursery() as nursery:
        server = scene.server(nursery)
        for settings in (None, "a", "a", "b", None, None, "b"):
            assert await server.follow(settings) == ""
        assert scene.log == ["+a", "-a", "+b", "-b", "+b"]
        nursery.cancel_scope.cancel()
    assert scene.log[-1] == "-b"
    assert scene.woken == []


async def test_one_that_cannot_listen_says_why_and_is_tried_again_ever_later() -> None:
    scene = Scene(failure="the port is taken")
    async with trio.open_nursery() as nursery:
        server = scene.server(nursery)
        for _ in range(4):
            woken = len(scene.woken)
            assert await server.follow("a") == "the port is taken"
            await trio.sleep(100)
            assert len(scene.woken) == woken + 1
        waits = [at - 100 * number for number, at in enumerate(scene.woken)]
        assert waits == sorted(set(waits))
        scene.failure = ""
        assert await server.follow("a") == ""
        assert scene.log == ["+a"]
        scene.failure = "again"
        assert await server.follow("b") == "again"
        assert scene.log == ["+a", "-a"]
        began = trio.current_time()
        await trio.sleep(100)
        # The server had run: it begins with short waits.
        assert scene.woken[-1] - began == waits[0]
        nursery.cancel_scope.cancel()


async def test_the_error_of_a_running_server_ends_its_controller() -> None:
    async def open(_settings: str, nursery: trio.Nursery) -> None:
        async def fail() -> None:
            await trio.sleep(1)
            raise RuntimeError("a mistake")

        nursery.start_soon(fail)

    ctx: Any = Scene()
    with pytest.raises(BaseExceptionGroup) as caught:
        async with trio.open_nursery() as nursery:
            assert await FollowedServer(ctx, nursery, open).follow("a") == ""
    assert [str(error) for error in leaves(caught.value)] == ["a mistake"]
