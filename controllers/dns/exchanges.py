"""One question and its answer, by the protocol of a server: plain, over TLS (RFC 7858), over HTTPS (RFC 8484).

Plain questions go out from a port of their own, which the kernel chooses at random as the id is chosen here, from a
socket that takes nothing from elsewhere: who wants to forge an answer has to guess both.
"""

import secrets
import socket
import ssl
from collections.abc import Callable

import trio

from nodespan.controllers.common.connection_errors import connection_fault
from nodespan.controllers.dns.connections import Connect, Connection, ExchangeError, Pool, StreamConnection
from nodespan.controllers.dns.queries import LARGEST, Query, forwarded, is_truncated, matches
from nodespan.resources.network import DNSProtocol, NameServer

PORTS = {DNSProtocol.DO53: 53, DNSProtocol.DOT: 853, DNSProtocol.DOH: 443}
# What gets through everywhere without fragments, which could be forged.
PAYLOAD = 1232
# Answers that do not match, until the question is asked over a connection: somebody is guessing.
_MOST_FORGED = 8
_SHORTEST_ANSWER = 12


# The settings of connections over TLS that carry this protocol.
TLS = Callable[[str], ssl.SSLContext]


class Exchanges:
    """Asks one server. `tls` makes the settings of connections over TLS, in a worker thread."""

    def __init__(self, server: NameServer, tls: TLS, *, port: int | None = None) -> None:
        self.server = server
        self.port = PORTS[server.protocol] if port is None else port
        self._tls = tls
        match server.protocol:
            case DNSProtocol.DO53:
                connect: Connect = self._connect_plain
            case DNSProtocol.DOT:
                connect = self._connect_tls
            case DNSProtocol.DOH:
                connect = self._connect_https
        self._pool = Pool(connect, _is_answer)

    @property
    def address(self) -> str:
        """Where the server is asked, as `address:port`."""
        host = self.server.addr
        return f"[{host}]:{self.port}" if ":" in host else f"{host}:{self.port}"

    async def ask(self, query: Query, *, over_stream: bool) -> bytes:
        """The answer to a question, with the right id and question. Raises ExchangeError."""
        # Over HTTPS the id is 0, so that caches there see equal questions as such.
        number = 0 if self.server.protocol is DNSProtocol.DOH else secrets.randbits(16)
        question = forwarded(query, number, PAYLOAD)
        try:
            if self.server.protocol is DNSProtocol.DO53 and not over_stream:
                answer = await self._ask_by_datagram(question)
                if answer is not None and not is_truncated(answer):
                    return answer
            answer = await self._pool.exchange(question)
        except (OSError, trio.BrokenResourceError, trio.ClosedResourceError, ssl.SSLError) as error:
            raise ExchangeError(connection_fault(error) or type(error).__name__) from error
        except ValueError as error:
            # Of TLS, which takes fewer names than the configuration.
            raise ExchangeError("its address or the name in its certificate is invalid") from error
        return answer

    async def sweep(self) -> None:
        """Close connections that nobody used for long."""
        await self._pool.sweep()

    async def aclose(self) -> None:
        """Close the connections."""
        await self._pool.aclose()

    async def _ask_by_datagram(self, question: bytes) -> bytes | None:
        """The answer, or None if somebody seems to guess at it."""
        family = socket.AF_INET6 if ":" in self.server.addr else socket.AF_INET
        with trio.socket.socket(family, socket.SOCK_DGRAM) as opened:
            await opened.connect((self.server.addr, self.port))
            await opened.send(question)
            for _ in range(_MOST_FORGED):
                answer = await opened.recv(LARGEST)
                if _is_answer(answer, question):
                    return answer
        return None

    async def _connect_plain(self) -> Connection:
        return StreamConnection(await self._open())

    async def _connect_tls(self) -> Connection:
        return StreamConnection(await self._over_tls("dot"))

    async def _connect_https(self) -> Connection:
        from nodespan.controllers.dns.over_https import HTTPSConnection

        stream = await self._over_tls("h2")
        if stream.selected_alpn_protocol() != "h2":
            await trio.aclose_forcefully(stream)
            raise ExchangeError("the server does not speak HTTP/2")
        return HTTPSConnection(stream, self.server.tls_server_name)

    async def _open(self) -> trio.SocketStream:
        return await trio.open_tcp_stream(self.server.addr, self.port)

    async def _over_tls(self, protocol: str) -> trio.SSLStream[trio.SocketStream]:
        context = await trio.to_thread.run_sync(self._tls, protocol, abandon_on_cancel=True)
        opened = await self._open()
        try:
            # Neither may fail and leave the connection: not for a name that TLS does not take, nor for a wrong one.
            stream = trio.SSLStream(opened, context, server_hostname=self.server.tls_server_name, https_compatible=True)
            await stream.do_handshake()
        except BaseException:
            with trio.CancelScope(shield=True):
                await trio.aclose_forcefully(opened)
            raise
        return stream


def _is_answer(message: bytes, question: bytes) -> bool:
    return len(message) >= _SHORTEST_ANSWER and matches(message, question)
