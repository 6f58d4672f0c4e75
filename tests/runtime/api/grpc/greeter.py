"""A small service for tests of the server, and clients of it."""

import contextlib
import ssl
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import attrs
import grpc
import h2.config
import h2.connection
import h2.events
import structlog
import trio
from google.protobuf.wrappers_pb2 import BytesValue, Int32Value

from nodespan.runtime.api.grpc import (
    Call,
    Code,
    Limits,
    RPCError,
    Server,
    Service,
    Sources,
    Status,
    methods,
    server_stream,
    unary,
)
from nodespan.runtime.api.pages import Page
from tests.support.certificates import Authority

Event = TypeVar("Event", bound=h2.events.Event)

PATH = "/test.Greeter"


@attrs.define(slots=False)
class Greeter:
    """The service, and what its handlers saw."""

    calls: list[Call] = attrs.field(factory=list)
    cancelled: trio.Event = attrs.field(factory=trio.Event)
    finished: list[tuple[str, Status]] = attrs.field(factory=list)
    port: int = 0
    # How its clients shake hands with it; None for plain text.
    trust: ssl.SSLContext | None = None
    scope: trio.CancelScope = attrs.field(factory=trio.CancelScope)
    sources: Sources = attrs.field(init=False)
    large: bytes = bytes(1 << 20)
    pages: int = 0

    def page(self, target: str) -> Page:
        self.pages += 1
        return Page(body=self.large if target == "/large" else f"page {target}".encode())

    async def echo(self, request: BytesValue, call: Call) -> BytesValue:
        self.calls.append(call)
        return request

    async def fail(self, request: BytesValue, _call: Call) -> BytesValue:
        if not request.value:
            raise KeyError("a secret of the handler")
        raise RPCError(Code(request.value[0]), "100% größer\n")

    async def hang(self, _request: BytesValue, call: Call) -> BytesValue:
        self.calls.append(call)
        try:
            await trio.sleep_forever()
        except trio.Cancelled:
            self.cancelled.set()
            raise
        raise AssertionError

    async def wait(self, request: Int32Value, call: Call) -> BytesValue:
        self.calls.append(call)
        await trio.sleep(request.value / 1000)
        return BytesValue()

    async def count(self, request: Int32Value, call: Call) -> None:
        self.calls.append(call)
        try:
            number = 0
            while request.value == 0 or number < request.value:
                await call.send(Int32Value(value=number))
                number += 1
        except trio.Cancelled:
            self.cancelled.set()
            raise

    async def blocks(self, request: Int32Value, call: Call) -> None:
        self.calls.append(call)
        for _ in range(request.value):
            await call.send(BytesValue(value=bytes(1 << 20)))

    async def quiet(self, _request: BytesValue, call: Call) -> None:
        await call.send(BytesValue())
        await self.hang(_request, call)

    def done(self, call: Call, status: Status, _seconds: float) -> None:
        self.finished.append((call.method.name, status))

    def service(self, limits: Limits) -> Service:
        return Service(
            methods=methods(
                unary(f"{PATH}/Echo", BytesValue, self.echo),
                unary(f"{PATH}/Fail", BytesValue, self.fail),
                unary(f"{PATH}/Hang", BytesValue, self.hang),
                unary(f"{PATH}/Wait", Int32Value, self.wait),
                server_stream(f"{PATH}/Count", Int32Value, self.count),
                server_stream(f"{PATH}/Blocks", Int32Value, self.blocks),
                server_stream(f"{PATH}/Quiet", BytesValue, self.quiet),
            ),
            log=structlog.get_logger(),
            limits=limits,
            finished=self.done,
            respond=self.page,
        )


@attrs.frozen
class Secured:
    """What both sides need to speak TLS; the name is localhost."""

    server: ssl.SSLContext
    client: ssl.SSLContext
    root: bytes

    @classmethod
    def made(cls, directory: Path) -> "Secured":
        """With a new authority."""
        authority = Authority("test")
        server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        server.load_cert_chain(*authority.issue(directory, "localhost"))
        server.set_alpn_protocols(["h2"])
        client = ssl.create_default_context(cadata=authority.pem.decode())
        client.set_alpn_protocols(["h2"])
        return cls(server, client, authority.pem)


# Set it for a test that is to be over TLS.
secured: Secured | None = None


@contextlib.asynccontextmanager
async def serving(
    limits: Limits | None = None,
    tls: Callable[[], ssl.SSLContext] | None = None,
    greeter: Greeter | None = None,
) -> AsyncIterator[Greeter]:
    """Serve on a port of this machine for as long as the block runs, or until the greeter's scope is cancelled.

    In plain text without `tls`, unless `secured` says otherwise.
    """
    greeter = Greeter() if greeter is None else greeter
    if tls is None and secured is not None:
        tls, greeter.trust = lambda: secured.server, secured.client
    server = Server(greeter.service(limits or Limits()))
    greeter.sources = server.sources
    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    greeter.port = listeners[0].socket.getsockname()[1]

    async def serve(*, task_status: trio.TaskStatus[None]) -> None:
        with greeter.scope:
            await server.serve(listeners, tls=tls, grace=1, task_status=task_status)

    async with trio.open_nursery() as nursery:
        await nursery.start(serve)
        yield greeter
        greeter.scope.cancel()


class Client:
    """The reference client, to be used from a thread."""

    def __init__(self, channel: grpc.Channel) -> None:
        self._channel = channel

    def start(self, name: str, request: Any = None, *, response: Any = BytesValue, **named: Any) -> Any:
        """A unary call that is under way."""
        return self._unary(name, response).future(request or BytesValue(), **{"timeout": 20, **named})

    def call(self, name: str, request: Any = None, *, response: Any = BytesValue, **named: Any) -> Any:
        """A unary call."""
        return self._unary(name, response)(request or BytesValue(), **{"timeout": 20, **named})

    def stream(self, name: str, request: Any = None, *, response: Any = Int32Value, **named: Any) -> Any:
        """A stream of responses."""
        method = self._channel.unary_stream(
            f"{PATH}/{name}", request_serializer=_serialize, response_deserializer=response.FromString
        )
        return method(request or Int32Value(), **{"timeout": 20, **named})

    def _unary(self, name: str, response: Any) -> Any:
        return self._channel.unary_unary(
            f"{PATH}/{name}", request_serializer=_serialize, response_deserializer=response.FromString
        )


def _serialize(message: Any) -> bytes:
    return bytes(message.SerializeToString())


@contextlib.contextmanager
def connected(greeter: Greeter, **options: int) -> Iterator[Client]:
    """A client with a connection of its own."""
    settings = [("grpc.use_local_subchannel_pool", 1), *((f"grpc.{key}", value) for key, value in options.items())]
    if greeter.trust is None:
        channel = grpc.insecure_channel(f"127.0.0.1:{greeter.port}", settings)
    else:
        assert secured is not None
        channel = grpc.secure_channel(f"localhost:{greeter.port}", grpc.ssl_channel_credentials(secured.root), settings)
    with channel:
        yield Client(channel)


async def opened(greeter: Greeter) -> trio.abc.HalfCloseableStream | trio.SSLStream[trio.SocketStream]:
    """A connection on which nothing was said yet."""
    stream = await trio.open_tcp_stream("127.0.0.1", greeter.port)
    if greeter.trust is None:
        return stream
    over_tls = trio.SSLStream(stream, greeter.trust, server_hostname="localhost", https_compatible=True)
    try:
        await over_tls.do_handshake()
    except BaseException:
        await trio.aclose_forcefully(stream)
        raise
    return over_tls


class RawClient:
    """A client that can misbehave."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self.stream = stream
        self.machine = h2.connection.H2Connection(h2.config.H2Configuration(header_encoding="utf-8"))
        self.machine.initiate_connection()
        self._events: deque[Any] = deque()

    async def flush(self) -> None:
        await self.stream.send_all(self.machine.data_to_send())

    def request(
        self,
        path: str,
        body: bytes,
        *,
        end: bool = True,
        content_type: str = "application/grpc",
        method: str = "POST",
    ) -> int:
        """Put a request into the machine."""
        id = self.machine.get_next_available_stream_id()
        fields = ((":method", method), (":scheme", "http"), (":authority", "x"), (":path", path))
        self.machine.send_headers(id, (*fields, ("content-type", content_type)), end_stream=end and not body)
        if body:
            self.machine.send_data(id, body, end_stream=end)
        return id

    async def until(self, kind: type[Event]) -> Event:
        """The next event of a kind. Raises AssertionError if the server closes the connection first."""
        while True:
            while self._events:
                event = self._events.popleft()
                if isinstance(event, kind):
                    return event
            data = await self.stream.receive_some(65536)
            assert data, "the server has closed the connection"
            self._events.extend(self.machine.receive_data(data))
            await self.flush()


@contextlib.asynccontextmanager
async def raw(greeter: Greeter) -> AsyncIterator[RawClient]:
    """A connection to misbehave on."""
    async with await opened(greeter) as stream:
        yield RawClient(stream)
