"""The JSON gateway of one etcd member: a request or a stream over HTTP, and its failures in words."""

import contextlib
import json
import os
import re
import ssl
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

import attrs
import httpcore
import trio

from nodespan.etcd.errors import EndpointError, MemberFailedError, TLSFilesError, answer_error, object_error
from nodespan.etcd.values import Json
from nodespan.runtime.pem import PEMError, check_certificate_file

_PORT = 2379
# Since 1.14; the client port speaks only gRPC then.
_TALOS_HTTP_PORT = 2383
# What HTTP/2 servers say first: a SETTINGS frame of the connection.
_SETTINGS_FRAME = re.compile(rb"\x00..\x04.\x00\x00\x00\x00", re.DOTALL)
_OK = 200
# Failures after which it is certain that the member has not got the request.
_BEFORE_SENDING = (httpcore.ConnectError, httpcore.ConnectTimeout)
_FAILURES = (httpcore.NetworkError, httpcore.ProtocolError, httpcore.TimeoutException)

Parsed = TypeVar("Parsed")


@attrs.frozen(kw_only=True)
class TLSFiles:
    """PEM files. Without `ca` the system's authorities are trusted; `certificate`, `key` authenticate this client."""

    ca: Path | None = None
    certificate: Path | None = None
    key: Path | None = None

    def context(self) -> ssl.SSLContext:
        """What TLS needs of them. Reads the files; raises TLSFilesError."""
        try:
            if self.ca is not None:
                check_certificate_file(self.ca)
            context = ssl.create_default_context(cafile=self.ca)
        except (OSError, PEMError) as error:
            raise TLSFilesError(f"{self.ca} cannot be used as etcd's certificate authority: {_words(error)}") from None
        if self.certificate is None:
            return context
        try:
            check_certificate_file(self.certificate)
            context.load_cert_chain(self.certificate, self.key)
        except (OSError, PEMError) as error:
            both = f"{self.certificate} with the key {self.key or 'in it'}"
            raise TLSFilesError(f"{both} cannot be used as etcd's client certificate: {_words(error)}") from None
        return context


def parse_endpoint(text: str) -> str:
    """The endpoint in its one form, `https://HOST:PORT`. Raises EndpointError."""
    try:
        parts = urlsplit(text if "://" in text else f"http://{text}")
        port = parts.port or _PORT
    except ValueError as error:
        raise EndpointError(f"{text!r} is not an etcd endpoint: {error}") from None
    if parts.scheme not in ("http", "https"):
        raise EndpointError(f"{text!r} is not an etcd endpoint: write http:// or https:// before the host")
    if not parts.hostname or parts.username or parts.path.strip("/") or parts.query or parts.fragment:
        raise EndpointError(f"{text!r} is not an etcd endpoint: write it as https://HOST:{_PORT}")
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return f"{parts.scheme}://{host}:{port}"


class Gateway:
    """The connections to members; an async context manager without a task of its own. Nothing in it has a time-out.

    Both calls raise MemberFailedError, or what the answer says.
    """

    def __init__(self, tls: TLSFiles) -> None:
        self._tls = tls
        self._resources = contextlib.AsyncExitStack()

    async def __aenter__(self) -> "Gateway":
        # A stream takes a connection for itself, so only those that are idle are limited.
        self._http = await self._resources.enter_async_context(
            httpcore.AsyncConnectionPool(
                ssl_context=self._tls.context(),
                max_connections=None,
                max_keepalive_connections=16,
                keepalive_expiry=30,
                network_backend=_Backend(),
            )
        )
        return self

    async def __aexit__(self, *raised: object) -> None:
        await self._resources.aclose()

    async def ask(self, endpoint: str, path: str, request: Json, parse: Callable[[Json], Parsed]) -> Parsed:
        """Post a request, and read the answer."""
        async with self._post(endpoint, path, request) as answer:
            return _read(await answer.aread(), parse)

    async def stream(self, endpoint: str, path: str, request: Json, take: Callable[[bytes], None]) -> None:
        """Post a request, and pass the lines of the answer on until it ends.

        `take` must not raise; to end the stream it cancels.
        """
        # Nothing is awaited between two lines: a cancelled reader so always ends inside of httpcore, which then closes
        # its chain of generators in order.
        async with self._post(endpoint, path, request) as answer:
            begun = b""
            async for chunk in answer.aiter_stream():
                *lines, begun = (begun + chunk).split(b"\n")
                for line in filter(None, lines):
                    take(line)

    @contextlib.asynccontextmanager
    async def _post(self, endpoint: str, path: str, request: Json) -> AsyncIterator[httpcore.Response]:
        body = json.dumps(request).encode()
        given = [
            ("Host", urlsplit(endpoint).netloc),
            ("Content-Type", "application/json"),
            ("Content-Length", str(len(body))),
        ]
        sent = self._http.stream("POST", f"{endpoint}/v3/{path}", headers=given, content=_Body(body))
        with self._failures_told(endpoint):
            async with sent as answer:
                if answer.status != _OK:
                    headers = {name.lower(): value.decode(errors="replace") for name, value in answer.headers}
                    raise answer_error(answer.status, headers.get(b"content-type", ""), await answer.aread())
                yield answer

    @contextlib.contextmanager
    def _failures_told(self, endpoint: str) -> Iterator[None]:
        try:
            yield
        except _FAILURES as error:
            reason = _reason(error)
            if _speaks_grpc_only(error):
                raise MemberFailedError(_grpc_only(endpoint), was_sent=False) from None
            # TLS 1.3 lets a client find out only after its handshake, and not always by a proper alert.
            broke = isinstance(error, httpcore.ReadError | httpcore.WriteError)
            if broke and endpoint.startswith("https:") and self._tls.certificate is None:
                reason += " (it may want a client certificate, and none is given)"
            raise MemberFailedError(reason, was_sent=not isinstance(error, _BEFORE_SENDING)) from None


def read_result(line: bytes, parse: Callable[[Json], Parsed]) -> Parsed:
    """What a line of a stream says. Raises MemberFailedError for nonsense, or what its error says."""
    return _read(line, lambda answer: parse(result_of(answer)))


def result_of(answer: Json) -> Json:
    """The result in an object of a stream. Raises KeyError if there is none, or what its error says."""
    if "error" in answer:
        raise object_error(answer)
    result: Json = answer["result"]
    return result


def _read(text: bytes, parse: Callable[[Json], Parsed]) -> Parsed:
    try:
        return parse(json.loads(text))
    except (KeyError, TypeError, ValueError, AttributeError):
        raise MemberFailedError("it does not answer like etcd") from None


class _Body:
    """What httpcore sends; it makes a generator of bytes, and does not close that when sending fails."""

    def __init__(self, body: bytes) -> None:
        self._parts = iter((body,))

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        for part in self._parts:
            return part
        raise StopAsyncIteration


class _Backend(httpcore.TrioBackend):
    """httpcore's own leaves a connection that is cancelled in its TLS handshake to the garbage collector."""

    async def connect_tcp(self, *arguments: Any, **named: Any) -> httpcore.AsyncNetworkStream:
        return _Stream(await super().connect_tcp(*arguments, **named))


class _Stream(httpcore.AsyncNetworkStream):
    def __init__(self, inner: httpcore.AsyncNetworkStream) -> None:
        self._inner = inner
        self._has_read = False

    async def read(self, *arguments: Any, **named: Any) -> bytes:
        data = await self._inner.read(*arguments, **named)
        if not self._has_read:
            self._has_read = True
            if _SETTINGS_FRAME.match(data):
                raise _GrpcOnlyError
        return data

    async def write(self, *arguments: Any, **named: Any) -> None:
        await self._inner.write(*arguments, **named)

    async def start_tls(self, *arguments: Any, **named: Any) -> httpcore.AsyncNetworkStream:
        try:
            return _Stream(await self._inner.start_tls(*arguments, **named))
        except trio.Cancelled:
            await self._inner.aclose()
            raise

    async def aclose(self) -> None:
        await self._inner.aclose()

    def get_extra_info(self, info: str) -> Any:
        return self._inner.get_extra_info(info)


class _GrpcOnlyError(httpcore.ProtocolError):
    """The server speaks HTTP/2 without being asked to."""


def _speaks_grpc_only(error: BaseException) -> bool:
    """Whether the server has answered HTTP/1.1 by HTTP/2, or refused it in the TLS handshake."""
    return any(
        isinstance(cause, _GrpcOnlyError)
        or (isinstance(cause, ssl.SSLError) and "no application protocol" in str(cause).lower().replace("_", " "))
        for cause in _causes(error)
    )


def _grpc_only(endpoint: str) -> str:
    parts = urlsplit(endpoint)
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
    return (
        "it speaks only gRPC at this port: give the port of its HTTP gateway "
        f"(etcd of Talos 1.14 and later: {parts.scheme}://{host}:{_TALOS_HTTP_PORT})"
    )


def _reason(error: BaseException) -> str:
    """What lies at the bottom of an error: httpcore and trio wrap it several times."""
    causes = list(_causes(error))
    for cause in causes:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return f"its certificate is not trusted ({cause.verify_message}): is the CA given its issuer?"
    for cause in causes:
        if isinstance(cause, ssl.SSLError):
            return f"TLS failed: {_words(cause)}"
    for cause in causes:
        if isinstance(cause, OSError) and cause.errno:
            return os.strerror(cause.errno).lower()
    return str(error) or "the connection broke"


def _causes(error: BaseException) -> Iterator[BaseException]:
    yield error
    if isinstance(error, BaseExceptionGroup):
        for member in error.exceptions:
            yield from _causes(member)
    further = error.__cause__ or error.__context__
    if further is not None:
        yield from _causes(further)


def _words(error: OSError | PEMError) -> str:
    if isinstance(error, PEMError):
        return str(error)
    if isinstance(error, ssl.SSLError):
        return (error.reason or str(error)).lower().replace("_", " ")
    return (error.strerror or str(error)).lower()
