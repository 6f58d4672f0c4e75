"""What the proxies of the tests have in common: they listen in a namespace, and pass on what two ends send."""

import contextlib
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractContextManager
from typing import Protocol

import trio


class Proxy(Protocol):
    """`inside` enters the namespace that it is in; `handle` serves one connection of a client."""

    @property
    def inside(self) -> Callable[[], AbstractContextManager[None]]: ...

    async def handle(self, client: trio.SocketStream) -> None: ...


@contextlib.asynccontextmanager
async def serving(proxy: Proxy, address: str, port: int) -> AsyncIterator[None]:
    """Have the proxy listen in its namespace for as long as the block lasts."""
    with proxy.inside():
        listening = socket.create_server((address, port))
    listener = trio.SocketListener(trio.socket.from_stdlib_socket(listening))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.serve_listeners, proxy.handle, [listener])
        yield
        nursery.cancel_scope.cancel()


async def pass_on(near: trio.abc.Stream, far: trio.abc.Stream, seen: Callable[[bytes], None] = lambda _: None) -> None:
    """Give each end what the other one sends, and `seen` too, until one of them has ended."""
    async with trio.open_nursery() as nursery:
        for source, sink in ((near, far), (far, near)):
            nursery.start_soon(_copy, source, sink, seen, nursery.cancel_scope)


async def _copy(
    source: trio.abc.Stream, sink: trio.abc.Stream, seen: Callable[[bytes], None], scope: trio.CancelScope
) -> None:
    with contextlib.suppress(trio.BrokenResourceError, trio.ClosedResourceError):
        while data := await source.receive_some():
            seen(bytes(data))
            await sink.send_all(data)
    scope.cancel()
