"""Why a service cannot be reached: each step of a connection is tried, and the first that fails is the cause.

    lookup   the name of the service, or of its proxy, has an address
    tcp      one of the addresses takes a connection
    proxy    the proxy connects to the service
    tls      the certificate is valid for the name, by the authorities that are trusted, and HTTP/2 is agreed upon

This is done after a failure only. A connection of its own is opened for it, and closed without a request.
"""

import base64
import os
import re
import socket
import ssl
import urllib.parse

import attrs
import trio

from nodespan.discovery.client import Stage
from nodespan.discovery.endpoint_url import DialAddress
from nodespan.discovery.message_limits import cut

# How long each step may take, in seconds.
_STEP = 5.0
_LARGEST_HEAD = 16 << 10
_STATUS = re.compile(rb"HTTP/1\.[01] (\d{3})[ \r]")
_MOST_NAMED = 3


@attrs.frozen
class Cause:
    """The step that fails, and how."""

    stage: Stage
    message: str


class _StepError(Exception):
    def __init__(self, stage: Stage, message: str) -> None:
        super().__init__(message)
        self.cause = Cause(stage, cut(message))


async def find_cause(target: DialAddress, proxy: str | None, roots: bytes) -> Cause | None:
    """What keeps a connection from being made, None if nothing does. `proxy` is a URL, `roots` are PEM."""
    try:
        await _go(target, proxy, roots)
    except _StepError as failed:
        return failed.cause
    return None


async def _go(target: DialAddress, proxy: str | None, roots: bytes) -> None:
    host, port = target.host, int(target.address.rpartition(":")[2])
    if proxy is None:
        stream = await _connect(host, port, await _look_up(host, port, ""))
    else:
        parts = urllib.parse.urlsplit(proxy)
        # proxy_for has checked that there is a host.
        name, proxy_port = parts.hostname or "", parts.port or 80
        stream = await _connect(name, proxy_port, await _look_up(name, proxy_port, "of the proxy "))
    try:
        if proxy is not None:
            await _ask_proxy(stream, target.address, urllib.parse.urlsplit(proxy))
        if not target.insecure:
            context = await trio.to_thread.run_sync(_context, roots)
            await _shake_hands(stream, host, context)
    finally:
        await trio.aclose_forcefully(stream)


async def _look_up(host: str, port: int, whose: str) -> list[tuple[str, int]]:
    try:
        with trio.fail_after(_STEP):
            found = await trio.socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except socket.gaierror as error:
        raise _StepError(Stage.LOOKUP, f"the name {whose}{host} cannot be looked up: {error.strerror}") from error
    except UnicodeError as error:
        raise _StepError(Stage.LOOKUP, f"the name {whose}{host} cannot be a host's") from error
    except trio.TooSlowError:
        text = f"the lookup of the name {whose}{host} took longer than {_STEP:g} s"
        raise _StepError(Stage.LOOKUP, text) from None
    return [(str(sockaddr[0]), int(sockaddr[1])) for _, _, _, _, sockaddr in found]


async def _connect(host: str, port: int, addresses: list[tuple[str, int]]) -> trio.SocketStream:
    try:
        with trio.fail_after(_STEP):
            return await trio.open_tcp_stream(host, port)
    except OSError as error:
        reason = _reason(error)
    except trio.TooSlowError:
        reason = f"no answer within {_STEP:g} s"
    tried = ", ".join(f"[{address}]:{port}" if ":" in address else f"{address}:{port}" for address, port in addresses)
    raise _StepError(Stage.TCP, f"no connection to {tried}: {reason}")


def _reason(error: OSError) -> str:
    """The reasons of all attempts: trio wraps those of several addresses."""
    cause = error.__cause__
    errors = cause.exceptions if isinstance(cause, BaseExceptionGroup) else (cause or error,)
    codes = (each.errno if isinstance(each, OSError) else None for each in errors)
    reasons = dict.fromkeys(os.strerror(code) if code else str(error) for code in codes)
    return ", ".join(list(reasons)[:_MOST_NAMED])


async def _ask_proxy(stream: trio.SocketStream, address: str, proxy: urllib.parse.SplitResult) -> None:
    request = f"CONNECT {address} HTTP/1.1\r\nHost: {address}\r\n"
    if proxy.username is not None:
        user = urllib.parse.unquote(proxy.username), urllib.parse.unquote(proxy.password or "")
        request += f"Proxy-Authorization: Basic {base64.b64encode(':'.join(user).encode()).decode()}\r\n"
    where = f"the proxy {proxy.hostname}"
    answer = b""
    try:
        with trio.fail_after(_STEP):
            await stream.send_all(f"{request}\r\n".encode())
            while b"\r\n\r\n" not in answer and len(answer) < _LARGEST_HEAD:
                data = await stream.receive_some(_LARGEST_HEAD)
                if not data:
                    break
                answer += data
    except trio.TooSlowError:
        raise _StepError(Stage.PROXY, f"{where} has not answered within {_STEP:g} s") from None
    except trio.BrokenResourceError as error:
        raise _StepError(Stage.PROXY, f"{where} has closed the connection") from error
    status = _STATUS.match(answer)
    if status is None:
        raise _StepError(Stage.PROXY, f"{where} does not answer like an HTTP proxy")
    if not status[1].startswith(b"2"):
        raise _StepError(Stage.PROXY, f"{where} refuses to connect: HTTP status {status[1].decode()}")


def _context(roots: bytes) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        context.load_verify_locations(cadata=roots.decode("ascii", "replace"))
    except ssl.SSLError as error:
        raise _StepError(Stage.TLS, f"the certificate authorities cannot be read: {error.reason}") from error
    context.set_alpn_protocols(["h2"])
    return context


async def _shake_hands(stream: trio.SocketStream, host: str, context: ssl.SSLContext) -> None:
    secure = trio.SSLStream(stream, context, server_hostname=host)
    try:
        with trio.fail_after(_STEP):
            await secure.do_handshake()
    except trio.TooSlowError:
        raise _StepError(Stage.TLS, f"the TLS handshake took longer than {_STEP:g} s") from None
    except trio.BrokenResourceError as error:
        raise _StepError(Stage.TLS, _tls_reason(host, error.__cause__)) from error
    if secure.selected_alpn_protocol() != "h2":
        raise _StepError(Stage.HTTP, "it does not speak HTTP/2, as gRPC needs")


def _tls_reason(host: str, error: BaseException | None) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"the certificate of {host} is refused: {error.verify_message}"
    if isinstance(error, ssl.SSLError) and error.reason == "WRONG_VERSION_NUMBER":
        return "it does not speak TLS: is it http:// instead of https://?"
    if isinstance(error, ssl.SSLError) and error.reason and "EOF" not in error.reason:
        return f"the TLS handshake failed: {error.reason.lower().replace('_', ' ')}"
    return "the service closed the connection during the TLS handshake"
