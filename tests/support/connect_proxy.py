"""An ordinary HTTP proxy, of the kind that CONNECT asks for a connection: it passes on bytes that it does not read."""

import contextlib
import socket
from collections.abc import Callable
from contextlib import AbstractContextManager

import attrs
import trio

from tests.support.proxying import pass_on

_MOST_HEAD = 8192


@attrs.define(eq=False)
class ConnectProxy:
    """`inside` enters the namespace that it is in; `asked` are the hosts and ports that it was asked for."""

    inside: Callable[[], AbstractContextManager[None]]
    asked: list[str] = attrs.field(factory=list)

    async def handle(self, client: trio.SocketStream) -> None:
        """One connection of a client."""
        with contextlib.suppress(trio.BrokenResourceError):
            async with client:
                await self._serve(client)

    async def _serve(self, client: trio.SocketStream) -> None:
        head = b""
        while b"\r\n\r\n" not in head:
            data = await client.receive_some(_MOST_HEAD)
            if not data or len(head) > _MOST_HEAD:
                return
            head += data
        method, target, *_ = head.decode().split()
        if method != "CONNECT":
            await client.send_all(b"HTTP/1.1 405 Method Not Allowed\r\n\r\n")
            return
        self.asked.append(target)
        host, _, port = target.rpartition(":")
        with self.inside():
            family = socket.AF_INET6 if host.startswith("[") else socket.AF_INET
            made = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        connection = trio.socket.from_stdlib_socket(made)
        async with trio.SocketStream(connection) as far:
            try:
                await connection.connect((host.strip("[]"), int(port)))
            except OSError as error:
                await client.send_all(f"HTTP/1.1 502 {error.strerror}\r\n\r\n".encode())
                return
            await client.send_all(b"HTTP/1.1 200 Connection established\r\n\r\n")
            await pass_on(client, far)
