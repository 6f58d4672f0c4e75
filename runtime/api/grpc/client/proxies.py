"""What is said to a proxy so that it connects to a server: CONNECT of HTTP, and SOCKS 5 (RFC 1928, 1929).

http://[user:password@]host:port       CONNECT; the proxy looks the server's name up
socks5h://[user:password@]host:port    the same by SOCKS
socks5://[user:password@]host:port     the name is looked up here
"""

import base64
import ipaddress
import re
import urllib.parse
from collections.abc import Awaitable, Callable

import attrs
import trio

from nodespan.runtime.api.grpc.client.endpoint import Endpoint
from nodespan.runtime.api.grpc.client.errors import Stage, unreachable

_PORTS = {"http": 80, "socks5": 1080, "socks5h": 1080}
_LARGEST_HEAD = 16 << 10
_STATUS = re.compile(rb"HTTP/1\.[01] (\d{3})[ \r]")
_LONGEST_NAME = 255

_VERSION, _CONNECT = 5, 1
_OPEN, _PASSWORD = 0, 2
_IPV4, _NAME, _IPV6 = 1, 3, 4
_REFUSALS = {
    1: "general failure",
    2: "not allowed by its rules",
    3: "network unreachable",
    4: "host unreachable",
    5: "connection refused",
    6: "the time to live is over",
    7: "it does not connect",
    8: "not this kind of address",
}

LookUp = Callable[[str, int], Awaitable[list[tuple[str, int]]]]


@attrs.frozen
class Proxy:
    """A proxy, as its URL says."""

    scheme: str
    host: str
    port: int
    user: str | None = None
    password: str = attrs.field(default="", repr=False)

    @classmethod
    def parse(cls, url: str) -> "Proxy":
        """The proxy of a URL. Raises ValueError, without the URL: it may have a password in it."""
        try:
            parts = urllib.parse.urlsplit(url)
            host, port = parts.hostname, parts.port
        except ValueError as error:
            raise ValueError("it is not a URL") from error
        if parts.scheme not in _PORTS:
            raise ValueError(f"it is of type {parts.scheme or 'none'}, not one of {', '.join(_PORTS)}")
        if not host:
            raise ValueError("it names no host")
        user = None if parts.username is None else urllib.parse.unquote(parts.username)
        password = urllib.parse.unquote(parts.password or "")
        return cls(parts.scheme, host, port or _PORTS[parts.scheme], user, password)

    def __str__(self) -> str:
        return f"the proxy {self.host}"


async def lead_on(stream: trio.abc.Stream, proxy: Proxy, host: str, port: int, look_up: LookUp) -> None:
    """Have the proxy at the other end of the stream connect to a server. Raises CallError."""
    try:
        if proxy.scheme == "http":
            await _connect_by_http(stream, proxy, str(Endpoint(host, port)))
        else:
            name = host if proxy.scheme == "socks5h" else (await look_up(host, port))[0][0]
            await _connect_by_socks(stream, proxy, name, port)
    except trio.BrokenResourceError as error:
        raise unreachable(Stage.PROXY, f"{proxy} has closed the connection") from error


async def _connect_by_http(stream: trio.abc.Stream, proxy: Proxy, address: str) -> None:
    request = f"CONNECT {address} HTTP/1.1\r\nHost: {address}\r\n"
    if proxy.user is not None:
        credentials = base64.b64encode(f"{proxy.user}:{proxy.password}".encode()).decode()
        request += f"Proxy-Authorization: Basic {credentials}\r\n"
    await stream.send_all(f"{request}\r\n".encode())
    # Byte by byte at the end: what comes after the head belongs to the server.
    answer = bytearray()
    while not answer.endswith(b"\r\n\r\n") and len(answer) < _LARGEST_HEAD:
        data = await stream.receive_some(1)
        if not data:
            break
        answer += data
    status = _STATUS.match(answer)
    if status is None:
        raise unreachable(Stage.PROXY, f"{proxy} does not answer like an HTTP proxy")
    if status[1] == b"407":
        said = "wants a user and password" if proxy.user is None else "refuses the user and password"
        raise unreachable(Stage.PROXY, f"{proxy} {said}")
    if not status[1].startswith(b"2"):
        raise unreachable(Stage.PROXY, f"{proxy} refuses to connect: HTTP status {status[1].decode()}")


async def _connect_by_socks(stream: trio.abc.Stream, proxy: Proxy, host: str, port: int) -> None:
    methods = bytes((_OPEN,)) if proxy.user is None else bytes((_OPEN, _PASSWORD))
    await stream.send_all(bytes((_VERSION, len(methods))) + methods)
    version, method = await _receive(stream, proxy, 2)
    if version != _VERSION:
        raise unreachable(Stage.PROXY, f"{proxy} does not answer like a SOCKS 5 proxy")
    if method == _PASSWORD and proxy.user is not None:
        user, password = proxy.user.encode()[:_LONGEST_NAME], proxy.password.encode()[:_LONGEST_NAME]
        await stream.send_all(bytes((1, len(user))) + user + bytes((len(password),)) + password)
        _, status = await _receive(stream, proxy, 2)
        if status:
            raise unreachable(Stage.PROXY, f"{proxy} refuses the user and password")
    elif method != _OPEN:
        raise unreachable(Stage.PROXY, f"{proxy} wants a user and password")
    await stream.send_all(bytes((_VERSION, _CONNECT, 0)) + _address(host) + port.to_bytes(2, "big"))
    version, reply, _, kind = await _receive(stream, proxy, 4)
    if version != _VERSION:
        raise unreachable(Stage.PROXY, f"{proxy} does not answer like a SOCKS 5 proxy")
    if reply:
        reason = _REFUSALS.get(reply, f"error {reply}")
        raise unreachable(Stage.PROXY, f"{proxy} refuses to connect: {reason}")
    # The address that it connects from, which is of no interest.
    size = {_IPV4: 4, _IPV6: 16}.get(kind)
    if size is None:
        (size,) = await _receive(stream, proxy, 1)
    await _receive(stream, proxy, size + 2)


def _address(host: str) -> bytes:
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        name = host.encode("idna" if not host.isascii() else "ascii")[:_LONGEST_NAME]
        return bytes((_NAME, len(name))) + name
    return bytes((_IPV4 if address.version == 4 else _IPV6,)) + address.packed


async def _receive(stream: trio.abc.Stream, proxy: Proxy, size: int) -> bytes:
    data = bytearray()
    while len(data) < size:
        more = await stream.receive_some(size - len(data))
        if not more:
            raise unreachable(Stage.PROXY, f"{proxy} has closed the connection")
        data += more
    return bytes(data)
