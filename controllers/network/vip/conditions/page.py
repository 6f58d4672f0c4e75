"""The status by which a page answers: one request of HTTP/1.1, of which only the head of the answer is read."""

import ssl
import urllib.parse

import h11
import trio

from nodespan.controllers.common.http_client import host_field, in_ascii, target_of

_CHUNK = 16 * 1024
_PORTS = {"http": 80, "https": 443}


class NoAnswerError(Exception):
    """The server does not answer by HTTP; the text says what it does instead."""


async def status_of(url: str, context: "ssl.SSLContext") -> int:
    """The status of a page.

    Raises NoAnswerError, OSError, trio.BrokenResourceError, and ValueError for a host that is not a valid name.
    """
    parts = urllib.parse.urlsplit(url)
    host, port = in_ascii(parts.hostname or ""), parts.port or _PORTS.get(parts.scheme, 0)
    if not host or not port:
        raise NoAnswerError(f"{url} is not a URL of http or https")
    stream: trio.abc.Stream = await trio.open_tcp_stream(host, port)
    try:
        if parts.scheme == "https":
            stream = trio.SSLStream(stream, context, server_hostname=host, https_compatible=True)
        return await _ask(stream, host_field(parts), target_of(parts))
    finally:
        await trio.aclose_forcefully(stream)


async def _ask(stream: trio.abc.Stream, host: str, target: str) -> int:
    machine = h11.Connection(h11.CLIENT)
    request = h11.Request(method="GET", target=target, headers=[("Host", host), ("Connection", "close")])
    end = h11.EndOfMessage()
    await stream.send_all((machine.send(request) or b"") + (machine.send(end) or b""))
    while True:
        try:
            event = machine.next_event()
        except h11.RemoteProtocolError as error:
            raise NoAnswerError(str(error)) from error
        if isinstance(event, h11.Response):
            return event.status_code
        if event is h11.NEED_DATA:
            data = await stream.receive_some(_CHUNK)
            if not data:
                raise NoAnswerError("the server closed the connection without an answer")
            machine.receive_data(bytes(data))
