"""Servers made of frames, on streams in memory: for virtual time, and for what no server does on purpose."""

import contextlib
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Generic, TypeVar

import attrs
import h2.config
import h2.connection
import h2.events
import h2.exceptions
import trio
import trio.testing

from nodespan.runtime.api.grpc import frame
from nodespan.runtime.api.grpc.client import CallError, Channel, ChannelOptions, Endpoint, Stage
from nodespan.runtime.api.grpc.client.errors import unreachable
from nodespan.runtime.background import background_tasks

PATH = "/test.Greeter/Echo"
HEAD = ((":status", "200"), ("content-type", "application/grpc"))
OK = (("grpc-status", "0"),)

Item = TypeVar("Item")


class _Each(Generic[Item]):
    """Iterates by a function that returns None at the end: generators of their own would outlive their test."""

    def __init__(self, step: Callable[[], Awaitable[Item | None]]) -> None:
        self._step = step

    def __aiter__(self) -> "_Each[Item]":
        return self

    async def __anext__(self) -> Item:
        item = await self._step()
        if item is None:
            raise StopAsyncIteration
        return item


Serve = Callable[["FakeServer"], Awaitable[None]]


class FakeServer:
    """The server's side of one connection."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self.stream = stream
        config = h2.config.H2Configuration(
            client_side=False,
            header_encoding="utf-8",
            validate_outbound_headers=False,
            normalize_outbound_headers=False,
        )
        self.machine = h2.connection.H2Connection(config)
        self.seen: list[h2.events.Event] = []
        self.bodies: dict[int, bytearray] = {}
        # Whether it has ended, by itself or because the client has left.
        self.is_left = False
        self._sending = trio.Lock()
        self._waiting: deque[h2.events.Event] = deque()

    async def flush(self) -> None:
        """Send what the machine has to send."""
        async with self._sending:
            await self.stream.send_all(self.machine.data_to_send())

    async def greet(self) -> None:
        """Begin with HTTP/2."""
        self.machine.initiate_connection()
        await self.flush()

    def events(self) -> "_Each[h2.events.Event]":
        """What the client does, until it leaves."""
        return _Each(self._next)

    def requests(self) -> "_Each[int]":
        """The streams of complete requests, until the client leaves."""
        return _Each(self._next_request)

    async def _next(self) -> h2.events.Event | None:
        while not self._waiting:
            await self.flush()
            data = await self.stream.receive_some(65536)
            if not data:
                return None
            self._waiting.extend(self.machine.receive_data(data))
        event = self._waiting.popleft()
        self.seen.append(event)
        if isinstance(event, h2.events.DataReceived):
            self.bodies.setdefault(event.stream_id, bytearray()).extend(event.data)
            if event.flow_controlled_length:
                self.machine.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        return event

    async def _next_request(self) -> int | None:
        while event := await self._next():
            if isinstance(event, h2.events.StreamEnded):
                return event.stream_id
        return None

    async def answer(self, id: int, body: bytes = frame(b""), trailers: tuple[tuple[str, str], ...] = OK) -> None:
        """Answer a call."""
        self.machine.send_headers(id, HEAD)
        self.machine.send_data(id, body)
        self.machine.send_headers(id, trailers, end_stream=True)
        await self.flush()

    def has_seen(self, kind: type[h2.events.Event]) -> bool:
        """Whether the client has done something of this kind."""
        return any(isinstance(event, kind) for event in self.seen)


async def echoing(server: FakeServer) -> None:
    """Answers each call with its request."""
    await server.greet()
    async for id in server.requests():
        await server.answer(id, bytes(server.bodies.get(id, b"")))


async def silent(_server: FakeServer) -> None:
    """Takes the connection, and says nothing: what a black hole behind a load balancer is."""
    await trio.sleep_forever()


@attrs.define
class Net:
    """Servers by host. A host that has none refuses connections; `dialled` are the hosts that were tried."""

    servers: dict[str, Serve] = attrs.field(factory=dict)
    dialled: list[str] = attrs.field(factory=list)
    made: list[FakeServer] = attrs.field(factory=list)
    nursery: trio.Nursery | None = None

    async def dial(self, endpoint: Endpoint, within: float) -> trio.abc.Stream:
        """Connect to a host's server."""
        await trio.lowlevel.checkpoint()
        self.dialled.append(endpoint.host)
        serve = self.servers.get(endpoint.host)
        if serve is None:
            raise unreachable(Stage.TCP, "Connection refused", endpoint)
        ours, theirs = trio.testing.memory_stream_pair()
        server = FakeServer(theirs)
        self.made.append(server)
        assert self.nursery is not None
        self.nursery.start_soon(self._serve, serve, server)
        return ours

    async def _serve(self, serve: Serve, server: FakeServer) -> None:
        with contextlib.suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            await serve(server)
        server.is_left = True
        await server.stream.aclose()


def plain(*hosts: str) -> list[Endpoint]:
    """Endpoints for plain text."""
    return [Endpoint(host, 1, secure=False) for host in hosts]


@contextlib.asynccontextmanager
async def channel_to(net: Net, *hosts: str, options: ChannelOptions | None = None) -> AsyncIterator[Channel]:
    """A channel to some hosts of a net, which lives as long."""
    async with background_tasks() as net.nursery, background_tasks() as nursery:
        channel = Channel(plain(*hosts), net, options or ChannelOptions(), nursery, None)
        yield channel
        channel.close()


async def echo(channel: Channel, text: bytes = b"hello", *, wait: bool = False, within: float | None = None) -> bytes:
    """Call the one method; the answer as bytes."""
    return await channel.unary(PATH, text, bytes, wait=wait, timeout=within)


async def failure_of(call: Awaitable[object]) -> CallError:
    """The error that a call fails with."""
    try:
        await call
    except CallError as error:
        return error
    raise AssertionError("it has not failed")
