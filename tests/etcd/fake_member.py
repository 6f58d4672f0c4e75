"""Servers in the place of a member of etcd: healthy ones, and such as are not."""

import contextlib
import functools
from collections.abc import AsyncIterator, Awaitable, Callable

import trio
from google.protobuf.message import Message

from nodespan.etcd.wire import etcd_pb2 as wire
from nodespan.runtime.api.grpc import frame
from tests.runtime.api.grpc.client.fake_server import HEAD, FakeServer

HEADER = wire.ResponseHeader(cluster_id=1, member_id=2, revision=3, raft_term=4)
ONE_KEY = wire.RangeResponse(header=HEADER, count=1)

Talk = Callable[[trio.SocketStream], Awaitable[None]]


@contextlib.asynccontextmanager
async def serving(*talks: Talk) -> AsyncIterator[str]:
    """A server that has these talks, one per connection, the last one again and again; its endpoint."""
    remaining = list(talks)

    async def serve(stream: trio.SocketStream) -> None:
        async with stream:
            with contextlib.suppress(trio.BrokenResourceError, trio.ClosedResourceError):
                await (remaining.pop(0) if len(remaining) > 1 else remaining[0])(stream)

    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(functools.partial(trio.serve_tcp, serve, 0, host="127.0.0.1"))
        yield f"http://127.0.0.1:{listeners[0].socket.getsockname()[1]}"
        nursery.cancel_scope.cancel()


def saying(text: bytes) -> Talk:
    """Answers a first word with this, and closes."""

    async def talk(stream: trio.SocketStream) -> None:
        await stream.receive_some(65536)
        if text:
            await stream.send_all(text)

    return talk


async def hanging(stream: trio.SocketStream) -> None:
    """Takes connections and says nothing."""
    await stream.receive_some(65536)
    await trio.sleep_forever()


def answering(answer: Message | bytes = ONE_KEY, *, code: int = 0, text: str = "", kind: str = "") -> Talk:
    """Answers each request, when it has ended, with one message and a status; `kind` is its content type."""
    body = answer if isinstance(answer, bytes) else answer.SerializeToString()

    async def talk(stream: trio.SocketStream) -> None:
        server = FakeServer(stream)
        await server.greet()
        async for id in server.requests():
            if kind:
                server.machine.send_headers(id, ((":status", "404"), ("content-type", kind)), end_stream=True)
                await server.flush()
                continue
            trailers = (("grpc-status", str(code)), ("grpc-message", text))
            if code:
                server.machine.send_headers(id, (*HEAD, *trailers), end_stream=True)
                await server.flush()
            else:
                await server.answer(id, frame(body))

    return talk
