"""The way to a server, step by step: whichever step fails is what the error says.

lookup   the name of the server, or of the proxy, has an address
tcp      one of the addresses takes a connection
proxy    the proxy connects to the server
tls      the certificate is valid for the name, by the authorities that are trusted, and HTTP/2 is agreed upon
"""

import os
import socket
import ssl
from collections.abc import Callable
from typing import Any, Protocol

import attrs
import trio

from nodespan.runtime.api.grpc.client.endpoint import Endpoint
from nodespan.runtime.api.grpc.client.errors import CallError, Stage, unreachable
from nodespan.runtime.api.grpc.client.proxies import Proxy, lead_on
from nodespan.runtime.api.grpc.client.trust import TrustError, client_context
from nodespan.runtime.host_names import for_lookup

TLSContext = Callable[[], "ssl.SSLContext"]
ProxyFor = Callable[[Endpoint], str | None]

# The next address is tried beside those before it after so many seconds (RFC 8305).
_STAGGER = 0.25
_MOST_NAMED = 3


class Dials(Protocol):
    """Makes the streams that connections go over."""

    async def dial(self, endpoint: Endpoint, within: float) -> trio.abc.Stream:
        """A stream to the server, within so many seconds. Raises CallError."""
        ...


def no_proxy(_endpoint: Endpoint) -> str | None:
    """Every server is reached directly."""
    return None


@attrs.frozen(kw_only=True)
class Dialer:
    """How servers are reached. `tls` is asked in a worker thread and `proxy` here, both for each attempt."""

    tls: TLSContext = client_context
    proxy: ProxyFor = no_proxy

    async def dial(self, endpoint: Endpoint, within: float) -> trio.abc.Stream:
        """A stream to the server, over TLS where the endpoint says so. Raises CallError, also after so many seconds."""
        way = _Way(endpoint, within)
        try:
            with trio.fail_after(within):
                return await self._go(endpoint, way)
        except trio.TooSlowError:
            raise unreachable(way.stage, way.too_slow, endpoint) from None
        except CallError as error:
            error.endpoint = endpoint
            raise

    async def _go(self, endpoint: Endpoint, way: "_Way") -> trio.abc.Stream:
        context = await self._context() if endpoint.secure else None
        if endpoint.path:
            return await _open_unix(endpoint.path)
        proxy = self._proxy_for(endpoint)
        first, port, whose = (endpoint.host, endpoint.port, "") if proxy is None else (proxy.host, proxy.port, proxy)
        addresses = await way.look_up(first, port, "of the proxy " if whose else "")
        stream = await way.connect(addresses, f"{proxy} at " if whose else "")
        try:
            if proxy is not None:
                way.at(Stage.PROXY, f"{proxy} has not answered")
                await lead_on(stream, proxy, endpoint.host, endpoint.port, way.look_up)
            if context is None:
                return stream
            way.at(Stage.TLS, "the TLS handshake took longer than")
            return await _shake_hands(stream, endpoint.server_name or endpoint.host, context)
        except BaseException:
            await trio.aclose_forcefully(stream)
            raise

    async def _context(self) -> "ssl.SSLContext":
        try:
            return await trio.to_thread.run_sync(self.tls, abandon_on_cancel=True)
        except (TrustError, OSError) as error:
            raise unreachable(Stage.TLS, str(error)) from error

    def _proxy_for(self, endpoint: Endpoint) -> Proxy | None:
        try:
            url = self.proxy(endpoint)
            return None if url is None else Proxy.parse(url)
        except ValueError as error:
            raise unreachable(Stage.PROXY, f"the proxy cannot be used: {error}") from error


class _Way:
    """How far an attempt has come."""

    def __init__(self, endpoint: Endpoint, timeout: float) -> None:
        self.stage = Stage.LOOKUP
        self.too_slow = ""
        self._timeout = timeout
        self.at(Stage.TCP, f"no connection to {endpoint}: no answer")

    def at(self, stage: Stage, text: str) -> None:
        """The step that is being taken, and what its slowness is called."""
        joint = "" if text.endswith("longer than") else " within"
        self.stage, self.too_slow = stage, f"{text}{joint} {self._timeout:g} s"

    async def look_up(self, host: str, port: int, whose: str = "") -> list[tuple[str, int]]:
        """The addresses of a name, of an address itself."""
        self.at(Stage.LOOKUP, f"the lookup of the name {whose}{host} took longer than")
        try:
            found = await trio.socket.getaddrinfo(for_lookup(host), port, type=socket.SOCK_STREAM)
        except socket.gaierror as error:
            text = f"the name {whose}{host} cannot be looked up: {error.strerror}"
            raise unreachable(Stage.LOOKUP, text) from error
        except UnicodeError as error:
            raise unreachable(Stage.LOOKUP, f"the name {whose}{host} cannot be a host's") from error
        # An address with a scope has four parts: the name of the link goes with the address.
        return [(_scoped(sockaddr), int(sockaddr[1])) for _, _, _, _, sockaddr in found]

    async def connect(self, addresses: list[tuple[str, int]], whose: str = "") -> trio.SocketStream:
        """A connection to the first address that takes one."""
        where = whose + ", ".join(str(Endpoint(address, port)) for address, port in addresses)
        self.at(Stage.TCP, f"no connection to {where}: no answer")
        failures: list[OSError] = []
        connected = await _connect_any(addresses, failures)
        if connected is None:
            codes = dict.fromkeys(os.strerror(error.errno) if error.errno else str(error) for error in failures)
            text = f"no connection to {where}: {', '.join(list(codes)[:_MOST_NAMED])}"
            raise unreachable(Stage.TCP, text) from (failures[0] if failures else None)
        return trio.SocketStream(connected)


def _scoped(sockaddr: tuple[Any, ...]) -> str:
    host, scope = str(sockaddr[0]), sockaddr[3] if len(sockaddr) == 4 else 0
    return f"{host}%{scope}" if scope and "%" not in host else host


async def _connect_any(addresses: list[tuple[str, int]], failures: list[OSError]) -> trio.socket.SocketType | None:
    winner: trio.socket.SocketType | None = None

    async def attempt(address: str, port: int, has_failed: trio.Event) -> None:
        nonlocal winner
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        try:
            made = trio.socket.socket(family, socket.SOCK_STREAM)
        except OSError as error:
            # This machine may have no IPv6.
            failures.append(error)
            has_failed.set()
            return
        try:
            await made.connect((address, port))
            if winner is None:
                winner = made
                nursery.cancel_scope.cancel()
        except OSError as error:
            failures.append(error)
            has_failed.set()
        finally:
            if winner is not made:
                made.close()

    try:
        async with trio.open_nursery() as nursery:
            for address, port in addresses:
                has_failed = trio.Event()
                nursery.start_soon(attempt, address, port, has_failed)
                with trio.move_on_after(_STAGGER):
                    await has_failed.wait()
    except BaseException:
        # The caller was cancelled just as a connection came about.
        if winner is not None:
            winner.close()
        raise
    return winner


async def _open_unix(path: str) -> trio.SocketStream:
    try:
        return await trio.open_unix_socket(path)
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else str(error)
        raise unreachable(Stage.TCP, f"no connection to {path}: {reason}") from error


async def _shake_hands(stream: trio.SocketStream, name: str, context: "ssl.SSLContext") -> trio.abc.Stream:
    secure = trio.SSLStream(stream, context, server_hostname=name, https_compatible=True)
    try:
        await secure.do_handshake()
    except trio.BrokenResourceError as error:
        raise unreachable(Stage.TLS, tls_reason(name, error.__cause__)) from (error.__cause__ or error)
    if secure.selected_alpn_protocol() != "h2":
        raise unreachable(Stage.HTTP, "it does not speak HTTP/2, as gRPC needs")
    return secure


def tls_reason(name: str, error: BaseException | None) -> str:
    """What a TLS handshake failed of."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"the certificate of {name} is refused: {error.verify_message}"
    if isinstance(error, ssl.SSLError) and error.reason == "WRONG_VERSION_NUMBER":
        return "it does not speak TLS: is it http:// instead of https://?"
    if isinstance(error, ssl.SSLError) and error.reason and "EOF" not in error.reason:
        return f"the TLS handshake failed: {error.reason.lower().replace('_', ' ')}"
    return "the service closed the connection during the TLS handshake"
