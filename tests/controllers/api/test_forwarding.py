"""Streams of several nodes in one call: those that last, and those that do not."""

from types import SimpleNamespace
from typing import Any, cast

import attrs
import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from nodespan.controllers.api import forwarding
from nodespan.controllers.api.forwarding import routed
from nodespan.resources.wire import machine_pb2 as wire
from nodespan.runtime.api.grpc import Call, Code, server_stream

PATH = "/machine.MachineService/Logs"
NAMES = ("a", "b", "c", "d")


@attrs.define
class Client:
    """Where the answers of a call go."""

    found: dict[str, tuple[bytes, int, str]] = attrs.field(factory=dict)

    async def send(self, data: bytes) -> None:
        answer = wire.Data.FromString(data[5:])
        metadata = answer.metadata
        self.found[metadata.hostname] = (answer.data, metadata.status.code, metadata.error)


async def _log(request: wire.LogsRequest, call: Call) -> None:
    await call.send(wire.Data(data=b"line"))
    if request.follow:
        await trio.sleep_forever()


async def ask(client: Client, *, follow: bool) -> None:
    node: Any = SimpleNamespace(is_own=lambda _name: True)
    method = server_stream(PATH, wire.LogsRequest, _log)
    metadata = tuple(("nodes", name) for name in NAMES)
    call = Call(method, cast(Any, None), metadata, float("inf"), cast(Any, client), cast(Any, None))
    await routed(node, {PATH: method}, {PATH: wire.Data})[PATH].handler(wire.LogsRequest(follow=follow), call)


@pytest.fixture(autouse=True)
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forwarding, "_STREAMS_AT_ONCE", 2)


async def test_nodes_above_those_that_are_followed_in_one_call_are_answered_by_an_error() -> None:
    client = Client()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(lambda: ask(client, follow=True))
        await wait_all_tasks_blocked()
        refusal = (b"", Code.RESOURCE_EXHAUSTED, "at most 2 nodes are followed in one call: name the others in another")
        assert client.found == {"a": (b"line", 0, ""), "b": (b"line", 0, ""), "c": refusal, "d": refusal}
        nursery.cancel_scope.cancel()


async def test_streams_that_end_wait_for_each_other() -> None:
    client = Client()
    await ask(client, follow=False)
    assert client.found == dict.fromkeys(NAMES, (b"line", 0, ""))
