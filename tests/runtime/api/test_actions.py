"""Actions over the local socket: their answers arrive, and their failures are reported."""

from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgpack
import pytest
import structlog
import trio
from structlog.testing import LogCapture

from nodespan.runtime.actions import ActionCall, ActionError, OffersActions
from nodespan.runtime.api import local, protocol
from nodespan.runtime.api.local import LocalServer, listen
from nodespan.runtime.cli.client import Connection, ask
from nodespan.runtime.cli.errors import CommandError
from nodespan.runtime.engine import Engine
from nodespan.runtime.state import MemoryState
from tests.support.deadlines import PATIENCE

_Answers = AsyncGenerator[Mapping[str, Any], None]


class Served:
    """A server with actions, and what became of them."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.state = MemoryState()
        self.cancelled = trio.Event()
        self.log = LogCapture()
        self.actions = {
            "test.echo": self.echo,
            "test.refuse": self.refuse,
            "test.fail": self.fail,
            "test.hang": self.hang,
            "test.settle": self.settle,
        }

    async def echo(self, call: ActionCall) -> _Answers:
        assert call.state is self.state
        for part in call.arguments["parts"]:
            yield {"part": part}

    async def refuse(self, _call: ActionCall) -> _Answers:
        yield {"part": 1}
        raise ActionError("not now")

    async def fail(self, _call: ActionCall) -> _Answers:
        yield {"part": 1}
        raise RuntimeError("it broke")

    async def hang(self, _call: ActionCall) -> _Answers:
        yield {"part": 1}
        try:
            await trio.sleep_forever()
        finally:
            self.cancelled.set()

    async def settle(self, call: ActionCall) -> _Answers:
        yield {"settled": await call.settle(5)}

    async def ask(self, name: object, **arguments: Any) -> list[dict[str, Any]]:
        request = {"call": "action", "name": name, "arguments": arguments}
        return await trio.to_thread.run_sync(ask, str(self.path), request)


@asynccontextmanager
async def serving(directory: Path) -> AsyncIterator[Served]:
    served = Served(directory / "agent.sock")
    log = structlog.wrap_logger(structlog.PrintLogger(), processors=[served.log])
    server = LocalServer(served.state, Engine(served.state), log, version="1.2.3", actions=served.actions)
    async with listen(served.path) as listener, trio.open_nursery() as nursery:
        nursery.start_soon(server.serve, listener)
        yield served
        nursery.cancel_scope.cancel()


async def test_the_answers_come_in_their_order(tmp_path: Path) -> None:
    async with serving(tmp_path) as served:
        assert await served.ask("test.echo", parts=[1, "b", b"\xff"]) == [{"part": 1}, {"part": "b"}, {"part": b"\xff"}]


async def test_a_request_may_be_as_long_as_a_configuration(tmp_path: Path) -> None:
    async with serving(tmp_path) as served:
        (answer,) = await served.ask("test.echo", parts=["x" * 4 * 2**20])
        assert len(answer["part"]) == 4 * 2**20


async def test_an_action_can_wait_for_quiescence(tmp_path: Path) -> None:
    async with serving(tmp_path) as served:
        request = {"call": "action", "name": "test.settle", "arguments": {}}
        # The thread of a client in this process would be something that goes on.
        stream = await trio.open_unix_socket(served.path)
        async with stream:
            await stream.send_all(msgpack.packb(request))
            unpacker = msgpack.Unpacker()
            async for data in stream:
                unpacker.feed(data)
            assert list(unpacker) == [{"settled": True}, {"end": True}]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("test.none", "no such action: 'test.none'; is the agent .version 1.2.3. too old"),
        ("test.refuse", "not now"),
        ("test.fail", "the agent failed to answer, its log tells why"),
        (5, "must be text"),
    ],
)
async def test_failures_of_actions_are_reported(tmp_path: Path, name: object, words: str) -> None:
    async with serving(tmp_path) as served:
        with pytest.raises(CommandError, match=words):
            await served.ask(name)
        assert bool(served.log.entries) == (name == "test.fail")


async def test_arguments_must_be_a_map(tmp_path: Path) -> None:
    async with serving(tmp_path) as served:
        request = {"call": "action", "name": "test.echo", "arguments": ["parts"]}
        with pytest.raises(CommandError, match="must be a map"):
            await trio.to_thread.run_sync(ask, str(served.path), request)


async def test_an_action_ends_with_its_client(tmp_path: Path) -> None:
    async with serving(tmp_path) as served:
        connection = Connection(str(served.path), {"call": "action", "name": "test.hang", "arguments": {}})
        with connection:
            answers = iter(connection)
            assert await trio.to_thread.run_sync(next, answers) == {"part": 1}
        with trio.fail_after(PATIENCE):
            await served.cancelled.wait()
        assert served.log.entries == []


async def test_only_the_user_of_the_agent_and_root_may_ask(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local, "_peer_of", lambda _: local.Peer(pid=1, uid=12345))
    async with serving(tmp_path) as served:
        with pytest.raises(CommandError, match="only the user that runs the agent"):
            await served.ask("test.echo", parts=[1])


def test_a_controller_offers_actions_by_an_attribute() -> None:
    class Offering:
        actions: Mapping[str, Any] = {}

    assert isinstance(Offering(), OffersActions)
    assert not isinstance(object(), OffersActions)
    assert protocol.MAX_REQUEST > 4 * 2**20
