"""One question and its answer, by the protocol of a server: plain, over TLS (RFC 7858), over HTTPS (RFC 8484).

Plain questions go out from a port of their own, which the kernel chooses at random as the id is chosen here, from a
socket that takes nothing from elsewhere: who wants to forge an answer has to guess both.
"""

import contextlib
import secrets
import socket
import ssl
from collections.abc import Awaitable, Callable, Iterator
from typing import TYPE_CHECKING

import trio

from nodespan.controllers.common.ip.notation import parse_ip
from nodespan.controllers.dns.connections import Connect, ExchangeError, Framing, Pool, StreamFraming, fault_of
from nodespan.controllers.dns.queries import LARGEST, Query, forwarded, is_truncated, matches
from nodespan.resources.network import DNSProtocol, NameServer

PORTS = {DNSProtocol.DO53: 53, DNSProtocol.DOT: 853, DNSProtocol.DOH: 443}
# What gets through everywhere without fragments, which could be forged.
PAYLOAD = 1232
# Answers that do not match, until the question is asked over a connection: somebody is guessing.
_MOST_FORGED = 8


if TYPE_CHECKING:
    # The settings of connections over TLS that carry this protocol. For the checks only: to evaluate it loads ssl.
    TLS = Callable[[str], ssl.SSLContext]


class Exchanges:
    """Asks one server. `tls` makes the settings of connections over TLS, in a worker thread.

    `variables` are those of the environment, which may name a proxy for HTTPS.
    """

    def __init__(
        self, server: NameServer, tls: "TLS", *, port: int | None = None, variables: tuple[str, ...] = ()
    ) -> None:
        self.server = server
        self.port = PORTS[server.protocol] if port is None else port
        # Other servers are reached as if there were no proxies.
        self.variables = variables if server.protocol is DNSProtocol.DOH else ()
        self._tls = tls
        match server.protocol:
            case DNSProtocol.DO53:
                connect: Connect = self._connect_plain
            case DNSProtocol.DOT:
                connect = self._connect_tls
            case DNSProtocol.DOH:
                connect = self._connect_https
        self._pool = Pool(connect, shares=server.protocol is DNSProtocol.DOH)

    @property
    def address(self) -> str:
        """Where the server is asked, as `address:port`."""
        host = self.server.addr
        return f"[{host}]:{self.port}" if ":" in host else f"{host}:{self.port}"

    @property
    def is_open(self) -> bool:
        """Whether a question can be sent at once: over a connection, or without one."""
        return self.server.protocol is DNSProtocol.DO53 or self._pool.is_open

    def is_like(self, other: "Exchanges") -> bool:
        """Whether the other one asks the same server in the same way."""
        return (self.server, self.variables) == (other.server, other.variables)

    async def ask(self, query: Query, *, over_stream: bool) -> bytes:
        """The answer to a question, with the right id and question. Raises ExchangeError."""
        # Over HTTPS the id is 0, so that caches there see equal questions as such.
        number = 0 if self.server.protocol is DNSProtocol.DOH else secrets.randbits(16)
        question = forwarded(query, number, PAYLOAD)
        if self.server.protocol is DNSProtocol.DO53 and not over_stream:
            with _faults():
                answer = await self._ask_by_datagram(question)
            if answer is not None and not is_truncated(answer):
                return answer
        return await self._pool.exchange(question)

    def open_in(self, nursery: trio.Nursery | None) -> None:
        """Where connections that are shared are opened, None for the tasks of those who ask."""
        self._pool.open_in(nursery)

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
                if matches(answer, question):
                    return answer
        return None

    async def _connect_plain(self) -> tuple[trio.abc.Stream, Framing]:
        with _faults():
            return await trio.open_tcp_stream(self.server.addr, self.port), StreamFraming()

    async def _connect_tls(self) -> tuple[trio.abc.Stream, Framing]:
        with _faults():
            return await self._over_tls("dot", self._direct), StreamFraming()

    async def _connect_https(self) -> tuple[trio.abc.Stream, Framing]:
        from nodespan.controllers.dns.over_https import HTTPSFraming

        with _faults():
            stream = await self._over_tls("h2", self._direct_or_by_proxy)
        if stream.selected_alpn_protocol() != "h2":
            await trio.aclose_forcefully(stream)
            raise ExchangeError("the server does not speak HTTP/2")
        return stream, HTTPSFraming(self.server.tls_server_name)

    async def _direct(self) -> trio.SocketStream:
        return await trio.open_tcp_stream(self.server.addr, self.port)

    async def _direct_or_by_proxy(self) -> trio.SocketStream:
        """A connection to the server, by the proxy of the environment if it has one for it."""
        if not self.variables:
            return await self._direct()
        from nodespan.controllers.common.http_client import FetchError
        from nodespan.controllers.common.web_access import WebAccess
        from nodespan.runtime.api.grpc.client.errors import CallError
        from nodespan.runtime.api.grpc.client.proxies import Proxy, lead_on

        try:
            url = WebAccess(variables=self.variables).proxy(f"https://{self.address}/")
            proxy = Proxy.parse(url) if url else None
        except (FetchError, ValueError) as error:
            raise ExchangeError(f"the proxy cannot be used: {error}") from error
        if proxy is None:
            return await self._direct()
        if parse_ip(proxy.host) is None:
            # Its name would be looked up here, by the servers behind it.
            try:
                return await self._direct()
            except OSError as error:
                raise ExchangeError(
                    f"{fault_of(error)}; {proxy} is not used, for its name is looked up here: name it by its address"
                ) from error
        try:
            stream = await trio.open_tcp_stream(proxy.host, proxy.port)
        except OSError as error:
            raise ExchangeError(f"{proxy} cannot be reached: {fault_of(error)}") from error
        try:
            await lead_on(stream, proxy, self.server.addr, self.port, _as_it_is)
        except BaseException as error:
            await trio.aclose_forcefully(stream)
            if isinstance(error, CallError):
                raise ExchangeError(str(error)) from error
            raise
        return stream

    async def _over_tls(
        self, protocol: str, open_stream: Callable[[], Awaitable[trio.SocketStream]]
    ) -> trio.SSLStream[trio.SocketStream]:
        context = await trio.to_thread.run_sync(self._tls, protocol, abandon_on_cancel=True)
        opened = await open_stream()
        try:
            # Neither may fail and leave the connection: not for a name that TLS does not take, nor for a wrong one.
            stream = trio.SSLStream(opened, context, server_hostname=self.server.tls_server_name, https_compatible=True)
            await stream.do_handshake()
        except BaseException:
            with trio.CancelScope(shield=True):
                await trio.aclose_forcefully(opened)
            raise
        return stream


@contextlib.contextmanager
def _faults() -> Iterator[None]:
    """Have all that a connection fails by raise ExchangeError."""
    try:
        yield
    except (OSError, trio.BrokenResourceError, trio.ClosedResourceError) as error:
        raise ExchangeError(fault_of(error)) from error
    except ValueError as error:
        # Of TLS, which takes fewer names than the configuration.
        raise ExchangeError("its address or the name in its certificate is invalid") from error


async def _as_it_is(host: str, port: int) -> list[tuple[str, int]]:
    """Servers are named by their addresses."""
    return [(host, port)]
