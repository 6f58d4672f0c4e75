"""A proxy as companies have it: it is asked to CONNECT, takes the place of the other end with a certificate of its own
authority, and speaks to the real one by a second TLS connection. What goes through it in between is plain to it.
"""

import socket
import ssl
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path

import attrs
import trio

from tests.support.certificates import Authority
from tests.support.proxying import pass_on

_MOST_HEAD = 8192


@attrs.define(eq=False)
class InterceptingProxy:
    """Knows the hosts it may connect to, by name, and their addresses; `inside` enters the namespace that it is in.

    `upstream` is the authority that it trusts. `asked` are the hosts and ports it was asked for, `seen` is how many
    bytes it could read, `failed` the handshakes that clients broke off.
    """

    authority: Authority
    upstream: Authority
    hosts: Mapping[str, str]
    directory: Path
    inside: Callable[[], AbstractContextManager[None]]
    asked: list[str] = attrs.field(factory=list)
    seen: int = 0
    failed: int = 0
    _contexts: dict[str, ssl.SSLContext] = attrs.field(factory=dict)

    async def handle(self, client: trio.SocketStream) -> None:
        """One connection of a client."""
        async with client:
            head = await self._head(client)
            method, target, *_ = head.split()
            host, _, port = target.rpartition(":")
            if method != "CONNECT" or host not in self.hosts:
                await client.send_all(b"HTTP/1.1 403 Forbidden\r\n\r\n")
                return
            self.asked.append(target)
            await client.send_all(b"HTTP/1.1 200 Connection established\r\n\r\n")
            near = trio.SSLStream(client, self._context(host), server_side=True, https_compatible=True)
            try:
                await near.do_handshake()
            except trio.BrokenResourceError:
                self.failed += 1
                return
            async with await self._connect(host, int(port)) as far:
                await pass_on(near, far, self._see)

    async def _head(self, client: trio.SocketStream) -> str:
        head = b""
        while b"\r\n\r\n" not in head and len(head) < _MOST_HEAD:
            data = await client.receive_some(_MOST_HEAD)
            if not data:
                return "NOTHING :0"
            head += data
        return head.decode()

    def _context(self, host: str) -> ssl.SSLContext:
        if host not in self._contexts:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*self.authority.issue(self.directory, host))
            context.set_alpn_protocols(["h2"])
            self._contexts[host] = context
        return self._contexts[host]

    async def _connect(self, host: str, port: int) -> trio.SSLStream[trio.SocketStream]:
        with self.inside():
            made = socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        connection = trio.socket.from_stdlib_socket(made)
        await connection.connect((self.hosts[host], port))
        context = ssl.create_default_context(cadata=self.upstream.pem.decode())
        context.set_alpn_protocols(["h2"])
        return trio.SSLStream(trio.SocketStream(connection), context, server_hostname=host, https_compatible=True)

    def _see(self, data: bytes) -> None:
        self.seen += len(data)
