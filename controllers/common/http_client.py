"""One request of HTTP/1.1 on a connection of its own: h11 on trio's streams, with TLS and a proxy where needed.

The answer is bounded: its head by h11, its body by the caller. Redirects are not followed.
"""

import ssl
import string
import urllib.parse
from collections.abc import Mapping

import attrs
import h11
import trio

from nodespan.controllers.common.connection_errors import connection_fault
from nodespan.runtime.host_names import for_lookup
from nodespan.runtime.text.escaping import bounded

PORTS = {"http": 80, "https": 443}
_CHUNK = 16 * 1024
# How many interim answers (100 Continue) may come before the answer.
_MOST_INTERIM = 8
_TO_CLOSE = 1.0


class FetchError(Exception):
    """There is no answer, or none that can be used; the text says why, without the URL."""


@attrs.frozen(kw_only=True)
class Answer:
    """What a server answered. `body` is empty unless it was asked for."""

    status: int
    reason: str = ""
    headers: Mapping[str, str] = attrs.field(factory=dict)
    body: bytes = b""


@attrs.frozen(kw_only=True)
class Request:
    """A request. `most` is how much of a body is taken, 0 to take none, and then only the head is waited for."""

    url: str = attrs.field(repr=False)
    method: str = "GET"
    headers: Mapping[str, str] = attrs.field(factory=dict, repr=False)
    body: bytes = b""
    most: int = 0


def host_and_port(url: str) -> tuple[str, int]:
    """Where the server of a URL is. Raises FetchError."""
    try:
        parts = urllib.parse.urlsplit(url)
        host, port = in_ascii(parts.hostname or ""), parts.port or PORTS.get(parts.scheme, 0)
    except ValueError as error:
        raise FetchError("the URL is invalid") from error
    if not host or not port:
        raise FetchError("the URL is not one of http or https")
    return host, port


def in_ascii(host: str) -> str:
    """The name of a host, or that and a port, as DNS and HTTP have it. Raises ValueError."""
    return host if host.isascii() else host.encode("idna").decode()


def target_of(parts: urllib.parse.SplitResult) -> str:
    """What a server is asked for, for a URL; what may not stand in a request is escaped."""
    target = urllib.parse.urlunsplit(("", "", parts.path or "/", parts.query, ""))
    return urllib.parse.quote(target, safe=string.punctuation)


def host_field(parts: urllib.parse.SplitResult) -> str:
    """The host as a request names it. Raises ValueError."""
    return in_ascii(parts.netloc.rpartition("@")[2])


async def fetch(request: Request, tls: "ssl.SSLContext | None", *, proxy: str = "") -> Answer:
    """The answer to a request. `tls` is for https, `proxy` the URL of a proxy. Cancellable; raises FetchError."""
    host, port = host_and_port(request.url)
    try:
        stream = await _connected(host, port, proxy)
        try:
            if request.url.startswith("https:"):
                stream = trio.SSLStream(stream, tls, server_hostname=host, https_compatible=True)  # type: ignore[arg-type]
            return await _exchange(stream, request)
        finally:
            await trio.aclose_forcefully(stream)
    except (OSError, trio.BrokenResourceError, h11.RemoteProtocolError) as error:
        raise FetchError(connection_fault(error) or type(error).__name__) from error
    except ValueError as error:  # of what looks names up, and of TLS: an empty label, or one that is too long
        raise FetchError("the host is not a valid name") from error


async def _connected(host: str, port: int, proxy: str) -> trio.abc.Stream:
    if not proxy:
        return await trio.open_tcp_stream(host, port)
    from nodespan.runtime.api.grpc.client.errors import CallError
    from nodespan.runtime.api.grpc.client.proxies import Proxy, lead_on

    parsed = Proxy.parse(proxy)
    stream = await trio.open_tcp_stream(parsed.host, parsed.port)
    try:
        await lead_on(stream, parsed, host, port, _look_up)
    except CallError as error:
        await trio.aclose_forcefully(stream)
        raise FetchError(str(error)) from error
    except BaseException:
        await trio.aclose_forcefully(stream)
        raise
    return stream


async def _look_up(host: str, port: int) -> list[tuple[str, int]]:
    found = await trio.socket.getaddrinfo(for_lookup(host), port, type=trio.socket.SOCK_STREAM)
    return [(str(address[4][0]), port) for address in found]


async def _exchange(stream: trio.abc.Stream, request: Request) -> Answer:
    parts = urllib.parse.urlsplit(request.url)
    headers = {"Host": host_field(parts), "Connection": "close", **request.headers}
    if request.body or request.method not in ("GET", "DELETE"):
        headers["Content-Length"] = str(len(request.body))
    machine = h11.Connection(h11.CLIENT)
    try:
        head = h11.Request(method=request.method, target=target_of(parts), headers=list(headers.items()))
    except h11.LocalProtocolError as error:
        raise FetchError(f"the request cannot be written: {error}") from error
    data = machine.send(head) or b""
    data += machine.send(h11.Data(data=request.body)) or b"" if request.body else b""
    await stream.send_all(data + (machine.send(h11.EndOfMessage()) or b""))
    return await _answer(machine, stream, request.most)


async def _answer(machine: h11.Connection, stream: trio.abc.Stream, most: int) -> Answer:
    answer: Answer | None = None
    body = bytearray()
    interim = 0
    while True:
        event = machine.next_event()
        if event is h11.NEED_DATA:
            data = await stream.receive_some(_CHUNK)
            machine.receive_data(bytes(data))
            if not data and answer is None:
                raise FetchError("the server closed the connection without an answer")
        elif isinstance(event, h11.InformationalResponse):
            interim += 1
            if interim > _MOST_INTERIM:
                raise FetchError("the server keeps announcing an answer that does not come")
        elif isinstance(event, h11.Response):
            fields = {name.decode("ascii"): value.decode("latin-1") for name, value in event.headers}
            answer = Answer(status=event.status_code, reason=bounded(event.reason.decode("latin-1")), headers=fields)
            if not most:
                return answer
        elif isinstance(event, h11.Data):
            body += event.data
            if len(body) > most:
                raise FetchError(f"the answer has more than {most} bytes")
        elif answer is None:
            raise FetchError("the server closed the connection without an answer")
        else:
            return attrs.evolve(answer, body=bytes(body))
